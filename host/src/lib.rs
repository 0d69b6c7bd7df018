//! The host: owns data loading, augmentation and the training loop of nnU-Net-style networks; heads and loss come from plugins.
//!
//! One module a stage, in the order in which data meets it: [`dataset`] → [`fingerprint`] → [`plan`] → [`preprocess`] →
//! [`loading`] → [`network`] with a [`plugin`]'s trainer → [`train`] → [`model`] → [`predict`] → [`evaluate`] → [`report`].
//! [`session`] puts one fold together, [`cli`] and [`commands`] are the program, [`shim`] is what libtorch offers only to C++.

pub mod artifact;
mod assign;
pub mod cli;
pub mod commands;
pub mod config;
pub mod conformance;
pub mod console;
pub mod device;
pub mod environment;
pub mod loading;
mod memory;
pub mod model;
pub mod network;
pub mod plugin;
pub mod predict;
pub mod report;
pub mod session;
pub mod shim;
pub mod train;
