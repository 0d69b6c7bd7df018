//! Heads to build from: dense ones on the decoder, image-level ones on the bottleneck.

mod dense;
mod image;

pub use dense::DenseHead;
pub use image::ImageHead;
