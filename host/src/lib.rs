//! The host: owns data loading, augmentation and the training loop of nnU-Net-style networks; heads and loss come from plugins.
//!
//! What is known before a tensor is in the crate [`data`], voxels are in [`imaging`], a plugin before its code runs is in [`gate`], and the CPU
//! engine, which computes trunks in prediction, in [`kernels`].
//! What becomes of each kind of target is a file in [`kinds`].
//! Here is one module a stage: `data`'s store → [`loading`] → [`model`], which joins a [`network`] and a [`plugin`]'s trainer → [`train`] →
//! [`artifact`] → [`predict`] → [`report`]. [`config`] is what a run is asked for, [`optimisers`] move its weights, [`weightings`] balance
//! its losses, [`session`] puts one fold together, [`conformance`]
//! tries a plugin without data; [`commands`] are the program in its [`environment`], [`console`] is how it speaks, [`device`]
//! chooses CPU or GPU, `memory` measures this process, `assign` reads `KEY=VALUE`, and [`shim`] is what libtorch offers only to C++.
//!
//! No module uses one that uses it, not even by way of others: `host/setup/tests/no_circles.rs` reads all `crate::` paths.

pub mod artifact;
mod assign;
pub mod commands;
pub mod config;
pub mod conformance;
pub mod console;
pub mod device;
pub mod environment;
pub mod kinds;
pub mod loading;
mod memory;
pub mod model;
pub mod network;
pub mod optimisers;
pub mod plugin;
pub mod predict;
pub mod report;
pub mod session;
pub mod shim;
pub mod train;
pub mod weightings;
