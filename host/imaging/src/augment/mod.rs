//! Cuts training patches out of stored volumes and varies them: nnU-Net's pipelines, as data.
//!
//! ```text
//! Augmentation (ranges, probabilities) ─ draw ─ Recipe (plain numbers) ─ source: the box to read ─ image · labels · regression: the patch
//! ```
//!
//! An [`Augmentation`] is plain data: it can be written as JSON, compared and hashed. For every patch a [`Recipe`] is drawn from
//! it, which fixes all numbers. It says which box of the volume the patch shows, and nothing else need be read; then it makes the
//! patch of the image and of any number of targets, straight into the caller's memory. In this order:
//!
//! 1. [`Spatial`], [`Turn`] and [`Mirror`] are put together into one map from the patch to the volume. A patch that is neither
//!    turned by an odd angle nor scaled is copied, any other sampled once, at the voxels that it shows (nnU-Net first copies a
//!    box large enough for every rotation, then samples that, then flips). What lies beyond the volume is 0 in the image, -1
//!    in labels, and the target's padding value in regression targets, which also get a mask of what lies within.
//! 2. [`Intensity`] steps, on the image alone.
//!
//! Every target moves with the image, since one map serves them all. The image and regression targets are interpolated linearly;
//! labels by a vote of the eight surrounding voxels, weighted as in linear interpolation; vectors turn with the patch ([`Recipe::turn_vectors`]).
//!
//! Order, parameters and probabilities are those of `nnUNetTrainer.get_training_transforms`, of `nnUNetTrainerDA5`, and of
//! batchgeneratorsv2 0.3.6. Differences to nnU-Net:
//!
//! - The corners of turned or shrunk patches show what the volume has there. nnU-Net's show zeros where its box, which is
//!   made for less scaling than is drawn, has ended.
//! - Flips come before the intensities, not after most of them: they commute with them, but for which of two equally near voxels
//!   simulated low resolution picks, and which way a median of even size leans.
//! - All random numbers come from one generator, and independently for each sample. nnU-Net's worker processes inherit equal
//!   states of torch's generator.
//! - Left out: elastic deformation, which no trainer of nnU-Net turns on.

mod check;
mod downsample;
mod intensity;
mod math;
mod pipeline;
mod placement;
mod previous_stage;
mod random;
mod recipe;
mod sample;
mod scratch;
mod spatial;

pub use check::Error;
pub use downsample::downsample_nearest;
pub use intensity::{
    Blur, Brightness, BrightnessGradient, BrightnessShift, BumpRange, Contrast, Gamma, Intensity, LocalGamma, LowResolution, Median, Noise,
    Rectangles, Sharpen,
};
pub use pipeline::{Augmentation, Step};
pub use previous_stage::PreviousStage;
pub use recipe::Recipe;
pub use scratch::Scratch;
pub use spatial::{Interpolation, Mirror, Spatial, Turn};

#[cfg(test)]
mod draws_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
