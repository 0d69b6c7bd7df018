//! A plugin before its code runs. Nothing here runs any of it, or needs libtorch.
//!
//! [`search`] finds a library by path or id, `file` reads it, [`manifest`] what it says of itself, [`permissions`] asks who else can write to it,
//! `compatible` whether this host has what it was built for, [`trust`] whether the user wants it, and [`refusal`] says why it is refused: the
//! first reason in this order. [`shell`] is for what people paste.

mod accounts;
mod compatible;
mod file;
mod file_system;
mod identity;
pub mod manifest;
mod nfs4;
pub mod permissions;
pub mod refusal;
pub mod search;
pub mod shell;
pub mod trust;

use std::path::PathBuf;

pub use file::{LibraryFile, read_file};
pub use identity::PluginIdentity;
pub use refusal::{LoadError, Reason};

/// What plugins find in a host.
#[derive(Clone, Debug)]
pub struct Host {
    /// libtorch that it was built with, `major.minor.patch`.
    pub libtorch: &'static str,
    /// Extensions of trainers that it calls.
    pub extensions: &'static [&'static str],
    /// Its folder, in which the plugins lie that ship with it.
    pub folder: Option<PathBuf>,
}
