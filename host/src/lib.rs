//! The host: owns data loading, augmentation and the training loop of nnU-Net-style networks; heads and loss come from plugins.
//!
//! One module a stage, in the order in which data meets it: [`dataset`] → [`fingerprint`] → [`plan`] → [`preprocess`] →
//! [`loading`] → [`network`] with a [`plugin`]'s trainer → [`train`] → [`model`] → [`predict`] → [`evaluate`] → [`report`].
//! [`session`] puts one fold together, [`cli`] and [`commands`] are the program, [`shim`] is what libtorch offers only to C++.

mod assign;
pub mod cli;
pub mod commands;
pub mod conformance;
pub mod console;
pub mod dataset;
pub mod demo;
pub mod device;
pub mod evaluate;
pub mod fingerprint;
mod hash;
pub mod loading;
mod lock;
mod memory;
pub mod model;
pub mod name;
pub mod network;
pub mod plan;
pub mod plugin;
pub mod predict;
pub mod preprocess;
pub mod report;
mod scratch;
pub mod session;
pub mod shim;
pub mod train;
