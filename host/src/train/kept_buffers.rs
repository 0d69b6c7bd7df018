//! Buffers as they were before a step.

use super::StepError;
use crate::network::Parameters;
use tch::Tensor;

/// Copies of buffers: a forward pass over a broken batch spoils running statistics before anything is noticed.
#[derive(Debug)]
pub struct KeptBuffers(Vec<(Tensor, Tensor)>);

impl KeptBuffers {
    /// Copies them.
    pub fn of(parameters: &Parameters) -> Self {
        Self(parameters.buffers().map(|buffer| (buffer.shallow_clone(), buffer.detach().copy())).collect())
    }

    /// Puts them back.
    pub fn restore(self) -> Result<(), StepError> {
        let _no_grad = tch::no_grad_guard();
        self.0.into_iter().try_for_each(|(mut buffer, copy)| Ok(buffer.f_copy_(&copy)?))
    }
}
