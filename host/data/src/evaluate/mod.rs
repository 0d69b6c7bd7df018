//! Predictions of a whole folder measured against references, and runs compared with each other.
//!
//! [`folder`] brings the files of two folders together, case by case, and lets the [kind](crate::kinds) of the target [measure](crate::measure)
//! them on several threads; [`paired`] tells whether one run is better than another.

pub mod folder;
pub mod paired;
