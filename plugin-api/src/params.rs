//! Parameters: the plugin asks, the host creates, initialises, optimises, averages and saves them.

use crate::abi::{self, HostServices, ParamRequest, Str, TensorHandle};
use crate::{Error, Result};
use tch::Tensor;

/// How a new tensor is filled. Draws depend on the run's seed, the fold and the name alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with deviation √(2 / ((1 + slope²) · fan_in)), slope 0.01: nnU-Net's `InitWeights_He`.
    KaimingNormal,
    /// One value everywhere.
    Constant(f64),
    /// Normal with this standard deviation.
    Normal(f64),
}

/// Creates parameters through the host, while a trainer is made.
#[derive(Debug)]
pub struct Params<'a> {
    host: &'a HostServices,
}

impl<'a> Params<'a> {
    pub(crate) fn new(host: &'a HostServices) -> Self {
        Self { host }
    }

    /// A trained tensor with weight decay. `name` is unique within the plugin, e.g. `whole.fc.weight`.
    pub fn weight(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.request(name, 0, shape, init, true)
    }

    /// A tensor that is saved but not trained.
    pub fn buffer(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.request(name, 1, shape, init, false)
    }

    /// A learned scalar loss weight: its own optimiser group, no weight decay, not part of the clipped gradient norm.
    pub fn loss_weight(&mut self, name: &str, initial: f64) -> Result<Tensor> {
        self.request(name, 2, &[], Init::Constant(initial), false)
    }

    fn request(&mut self, name: &str, kind: u32, shape: &[i64], init: Init, decay: bool) -> Result<Tensor> {
        let (init, init_value) = match init {
            Init::KaimingNormal => (0, 0.0),
            Init::Constant(value) => (1, value),
            Init::Normal(deviation) => (2, deviation),
        };
        let request =
            ParamRequest { name: Str::new(name), kind, shape: shape.as_ptr(), dims: shape.len(), init, init_value, decay: decay.into() };
        let (mut handle, mut message) = (TensorHandle(std::ptr::null_mut()), Vec::new());
        // SAFETY: everything borrowed outlives the call; `ctx` is the host's own.
        let status = unsafe { (self.host.param)(self.host.ctx, &request, &mut handle, abi::Sink::into_buffer(&mut message)) };
        if status != abi::OK {
            return Err(Error::new(String::from_utf8_lossy(&message)));
        }
        // SAFETY: on success the host hands over an owned tensor.
        Ok(unsafe { Tensor::from_ptr(handle.0.cast()) })
    }
}

impl std::fmt::Debug for HostServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostServices").finish_non_exhaustive()
    }
}
