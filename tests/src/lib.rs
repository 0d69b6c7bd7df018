//! What the end-to-end tests share.
//!
//! [`artifact`] builds the program and all sorts of plugins, [`native`] compiles plugins in C and C++, [`case`] writes small data sets,
//! [`checkpoint`] reads headers of checkpoints, [`program`] runs the program on them and says how it ended, [`golden`] reads what nnU-Net
//! computes, [`network`] rebuilds its networks, [`pth`] says what is in its checkpoints, [`models`] knows what its models predict, [`peer`]
//! finds nnU-Net itself, [`picture`] looks at pictures, [`random`] decides how files are damaged.

pub mod artifact;
pub mod case;
pub mod checkpoint;
pub mod golden;
pub mod models;
pub mod native;
pub mod network;
pub mod peer;
pub mod picture;
pub mod program;
pub mod pth;
pub mod random;
pub mod snapshot;
