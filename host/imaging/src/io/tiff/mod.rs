//! TIFF: stacks of slices and single images, `.tif` and `.tiff`.
//!
//! What nnU-Net makes of them depends on the content. A stack goes to `Tiff3DIO` and has its spacing in a JSON file beside it
//! (`spacing.rs`). A single image, grey or in colours, goes to `NaturalImage2DIO`, and so does a stack of three or four slices whose name
//! ends with `.tif`, because scikit-image takes those for colours; here, a spacing beside it says that it is a stack after all.

mod check;
mod description;
mod pages;
mod read;
mod spacing;
mod write;

pub use read::open;
pub use spacing::spacing_path;
pub use write::write;
