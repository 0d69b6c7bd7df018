//! What nnU-Net computes by numpy and is to come out the same: random numbers, medians, percentiles.

mod random_state;
mod statistics;

pub use random_state::RandomState;
pub use statistics::{median, per_axis, percentile};
