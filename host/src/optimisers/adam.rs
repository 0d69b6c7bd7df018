//! Adam and AdamW, which differ in what weight decay is (Kingma and Ba 2015; Loshchilov and Hutter 2019). Rates unless told otherwise: those of
//! nnUNetTrainerAdam3en4, and of nnU-Net's transformers (`nnUNetTrainer/primus/primus_trainers.py`).

use super::{Hyper, Rule, State};
use crate::shim::{self, AdamState};
use tch::{Device, Kind, Tensor};

pub(super) struct Adam {
    /// Weight decay is no part of the gradient: AdamW.
    pub decoupled: bool,
}

impl Rule for Adam {
    fn name(&self) -> &'static str {
        if self.decoupled { "adamw" } else { "adam" }
    }

    fn about(&self) -> &'static str {
        if self.decoupled { "AdamW: weight decay apart from the gradient" } else { "Adam: weight decay is part of the gradient" }
    }

    fn rates(&self) -> [f64; 2] {
        if self.decoupled { [3e-4, 5e-2] } else { [3e-4, 3e-5] }
    }

    fn settings(&self) -> &'static [&'static str] {
        &["betas", "amsgrad"]
    }

    fn state(&self, hyper: &Hyper, tensors: &[Tensor]) -> State {
        let zeros = || tensors.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        // Counted on the CPU, as torch does.
        let steps = tensors.iter().map(|_| Tensor::zeros([], (Kind::Float, Device::Cpu))).collect();
        let mut state = vec![("steps", steps), ("mean", zeros()), ("square", zeros())];
        state.extend(hyper.amsgrad.then(|| ("largest_square", zeros())));
        state
    }

    fn step(&self, hyper: &Hyper, tensors: &[Tensor], state: &State) -> Result<(), shim::Error> {
        let Hyper { lr, weight_decay, betas: [beta1, beta2], eps, amsgrad, .. } = *hyper;
        let [(_, steps), (_, means), (_, squares), largest @ ..] = &state[..] else { unreachable!("`state` makes these") };
        let options = shim::Adam { lr, beta1, beta2, eps, weight_decay, decoupled: self.decoupled.into(), amsgrad: amsgrad.into() };
        let largest = largest.first().map_or(&[][..], |(_, largest)| largest);
        shim::adam(tensors, AdamState { means, squares, largest, steps }, &options)
    }
}
