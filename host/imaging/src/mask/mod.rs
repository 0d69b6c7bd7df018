//! Masks of one bit per voxel, and their connected components.

mod bits;
mod components;

pub use bits::Bits;
pub use components::Components;
