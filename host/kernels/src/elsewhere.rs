//! A [`Network`] on processors that have none of the instructions: there is none.

use crate::{Error, Graph, Instructions, Value, View};
use std::time::Duration;

/// Threads that compute a network.
pub struct Pool;

impl Pool {
    /// So many threads.
    ///
    /// # Errors
    /// None.
    pub fn new(_: usize) -> Result<Self, std::convert::Infallible> {
        Ok(Self)
    }
}

/// A [`Graph`] made ready.
pub enum Network {}

impl Network {
    /// Makes nothing ready.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &Pool, _: Graph, _: [usize; 3], _: usize, _: &[Value], instructions: Instructions) -> Result<Self, Error> {
        Err(Error::Processor(instructions))
    }

    /// Channels and (z, y, x) of output number `index`.
    pub fn output_shape(&self, _: usize) -> [usize; 4] {
        match *self {}
    }

    /// What computes every layer.
    pub fn layers(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }

    /// Bytes of its packed weights.
    pub fn bytes(&self) -> usize {
        match *self {}
    }

    /// Gives the memory of maps back.
    pub fn release(&mut self) {}

    /// What every layer took in the last forward pass.
    pub fn times(&self) -> &[Duration] {
        match *self {}
    }

    /// Computes a batch of images.
    ///
    /// # Errors
    /// Never.
    pub fn forward(&mut self, _: &Pool, _: &[View], _: &mut [&mut [f32]]) -> Result<(), Error> {
        match *self {}
    }
}
