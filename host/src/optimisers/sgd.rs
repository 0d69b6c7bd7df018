//! Stochastic gradient descent with Nesterov momentum: nnU-Net's (`nnUNetTrainer.configure_optimizers`).

use super::{Hyper, Rule, State};
use crate::shim;
use tch::Tensor;

pub(super) struct Sgd;

impl Rule for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn about(&self) -> &'static str {
        "Stochastic gradient descent with Nesterov momentum: nnU-Net's"
    }

    fn rates(&self) -> [f64; 2] {
        [1e-2, 3e-5]
    }

    fn settings(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn state(&self, _hyper: &Hyper, tensors: &[Tensor]) -> State {
        vec![("velocity", tensors.iter().map(Tensor::zeros_like).collect())]
    }

    fn step(&self, hyper: &Hyper, tensors: &[Tensor], state: &State) -> Result<(), shim::Error> {
        shim::sgd(tensors, &state[0].1, hyper.lr, hyper.momentum, hyper.weight_decay)
    }
}
