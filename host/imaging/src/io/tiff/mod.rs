//! TIFF: stacks of slices and single images, `.tif` and `.tiff`.
//!
//! A stack is read as `Tiff3DIO` reads it and has its spacing in a JSON file beside it (`spacing.rs`); a single image, grey or in colours, as
//! `NaturalImage2DIO` does. That one takes a stack of three or four slices for colours, because scikit-image does; here, a spacing beside
//! the stack says that it is a stack after all. Indices of a palette are values, as tifffile has it.

mod description;
mod directory;
mod disguise;
mod pages;
mod read;
mod spacing;
mod write;

pub use read::{Layout, open};
pub use spacing::spacing_path;
pub use write::write;
