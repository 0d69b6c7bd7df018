//! Every tensor that is trained or saved, by name.

use super::Error;
use crate::shim::{mix, normal};
use indexmap::IndexMap;
use plugin_api::Init;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Numbers in all parameters of a network: 32 GB of them. What plans or a plugin ask for beyond that is a mistake, or meant to do harm.
const MOST_NUMBERS: i64 = 1 << 33;

/// What the names of a plugin's parameters begin with.
pub const PLUGIN: &str = "plugin.";

/// Optimiser groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What the plan asks for.
    Trunk,
    /// What the plugin created.
    Heads,
    /// Learned loss weights: no decay, outside the clipped gradient norm.
    LossWeights,
    /// Saved, never trained.
    Buffer,
}

/// A tensor and how it is treated.
#[derive(Debug)]
pub struct Parameter {
    /// A leaf; requires gradients unless it is a buffer.
    pub tensor: Tensor,
    /// Its group.
    pub group: Group,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// Parameters and buffers in order of creation. Names are nnU-Net's for the trunk (of a U-Net `encoder.stages.0.0.convs.0.conv.weight`),
/// and `plugin.` + the plugin's own name for the rest.
#[derive(Debug)]
pub struct Parameters {
    entries: IndexMap<String, Parameter>,
    device: Device,
    seed: u64,
    /// In all entries.
    numbers: i64,
    /// The most that there may be.
    most: i64,
    /// What a checkpoint holds, whose network this is going to be.
    stored: Option<HashMap<String, Vec<i64>>>,
}

impl Parameters {
    /// None yet. Initial values depend on `seed` and a tensor's name, not on the order of creation or the device.
    pub fn new(device: Device, seed: u64) -> Self {
        Self { entries: IndexMap::new(), device, seed, numbers: 0, most: MOST_NUMBERS, stored: None }
    }

    /// None yet, of a network whose weights are `stored`, by name and shape: the trunk must ask for these, and all together for no more numbers. What
    /// plans of a stranger ask for beyond that is refused before memory is taken for it.
    pub fn of_stored(device: Device, seed: u64, stored: HashMap<String, Vec<i64>>) -> Self {
        let numbers = |shape: &Vec<i64>| shape.iter().fold(1i64, |numbers, size| numbers.saturating_mul(*size));
        let most = stored.values().map(numbers).fold(0i64, i64::saturating_add).min(MOST_NUMBERS);
        Self { most, stored: Some(stored), ..Self::new(device, seed) }
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Name and parameter, in order of creation.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// Those that are trained.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.iter().filter(|(_, parameter)| parameter.group != Group::Buffer)
    }

    /// Those that are not: running statistics and the plugin's buffers.
    pub fn buffers(&self) -> impl Iterator<Item = &Tensor> {
        self.entries.values().filter(|parameter| parameter.group == Group::Buffer).map(|parameter| &parameter.tensor)
    }

    /// The parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.entries.get(name)
    }

    /// Creates a tensor of the trunk.
    pub(super) fn create(&mut self, name: String, shape: &[i64], init: Init) -> Result<Tensor, Error> {
        self.add(name, shape, init, Group::Trunk, true)
    }

    /// Creates a tensor of the trunk that is saved but not trained, with `value` everywhere.
    pub(super) fn create_buffer(&mut self, name: String, shape: &[i64], value: f64) -> Result<Tensor, Error> {
        self.add(name, shape, Init::Constant(value), Group::Buffer, false)
    }

    /// Creates what a plugin asks for in one of its groups; only heads decay.
    pub fn create_for_plugin(&mut self, name: &str, group: Group, shape: &[i64], init: Init, decay: bool) -> Result<Tensor, Error> {
        self.add(format!("{PLUGIN}{name}"), shape, init, group, decay && group == Group::Heads)
    }

    fn add(&mut self, name: String, shape: &[i64], init: Init, group: Group, decay: bool) -> Result<Tensor, Error> {
        if self.entries.contains_key(&name) {
            return Err(Error::Duplicate(name));
        }
        if shape.iter().any(|size| *size < 1) {
            return Err(Error::Parameter { name, reason: format!("shape {shape:?}; every size must be at least 1") });
        }
        if let (Some(stored), false) = (&self.stored, name.starts_with(PLUGIN)) {
            match stored.get(&name) {
                Some(found) if found == shape => {}
                found => return Err(Error::Stored { name, found: found.cloned(), expected: shape.to_vec() }),
            }
        }
        let numbers = shape.iter().try_fold(1, |numbers: i64, size| numbers.checked_mul(*size));
        let Some(all) = numbers.map(|numbers| self.numbers.saturating_add(numbers)).filter(|all| *all <= self.most) else {
            let reason = format!("shape {shape:?}; all parameters of this network together may have {} numbers", self.most);
            return Err(Error::Parameter { name, reason });
        };
        let tensor = self.initial(&name, shape, init)?.f_to_device(self.device)?.f_set_requires_grad(group != Group::Buffer)?;
        let shared = tensor.shallow_clone();
        self.numbers = all;
        self.entries.insert(name, Parameter { tensor, group, decay });
        Ok(shared)
    }

    fn initial(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, Error> {
        let deviation = match init {
            Init::Constant(value) => return Ok(Tensor::f_full(shape, value, (Kind::Float, Device::Cpu))?),
            Init::Normal(deviation) => deviation,
            // fan_in is the second size times the kernel for convolutions and, as in torch, for transposed ones too.
            Init::KaimingNormal => {
                let fan_in: i64 = shape.iter().skip(1).product();
                (2.0 / ((1.0 + 1e-4) * fan_in as f64)).sqrt()
            }
        };
        Ok(normal(shape, deviation, mix(&[self.seed, hash(name)]))?)
    }
}

/// FNV-1a: names to seeds, the same on every machine.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
