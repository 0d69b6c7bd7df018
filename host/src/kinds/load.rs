//! What a target's patch is made of.

use data::dataset::DeriveMemory;
use data::preprocess::StoredCase;
use imaging::Volume;
use imaging::augment::{Recipe, Scratch};
use std::time::{Duration, Instant};

/// A target of a preprocessed case, and how a patch of it is cut and varied.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Name of the target.
    pub name: &'a str,
    /// The case.
    pub case: &'a StoredCase,
    /// Where the patch lies, and how it is moved.
    pub recipe: &'a Recipe,
    /// Of the voxels (z, y, x) in mm.
    pub spacing: [f64; 3],
    /// Voxels of the patch.
    pub voxels: usize,
}

/// Memory that is used for one patch after the other.
#[derive(Debug, Default)]
pub struct Memory {
    /// Part of a map that was read.
    pub values: Volume<f32>,
    /// The same of a label map.
    pub labels: Volume<i16>,
    /// For moving images and labels.
    pub scratch: Scratch,
    /// For deriving targets.
    pub derive: DeriveMemory,
    /// Labels that were derived.
    pub derived: Vec<i16>,
    /// Time that reading has taken.
    pub decoding: Duration,
}

impl Memory {
    /// Runs `decode` and counts its time.
    pub fn decode<T>(&mut self, decode: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let done = decode(self);
        self.decoding += start.elapsed();
        done
    }
}

/// Why a target cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The store cannot be read.
    Store(Box<data::preprocess::Error>),
    /// It has another number of channels.
    Channels {
        /// Channels in the store.
        found: usize,
        /// Channels that the target has.
        expected: usize,
    },
}

impl From<Box<data::preprocess::Error>> for LoadError {
    fn from(error: Box<data::preprocess::Error>) -> Self {
        Self::Store(error)
    }
}
