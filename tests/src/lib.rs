//! What the end-to-end tests share.
//!
//! [`artifact`] builds the program and all sorts of plugins, [`case`] writes small data sets, [`program`] runs the program on them
//! and says how it ended, [`golden`] reads what nnU-Net computes, [`network`] rebuilds its networks.

pub mod artifact;
pub mod case;
pub mod golden;
pub mod network;
pub mod program;
