//! Whether methods of a trainer are what a plugin's manifest says that it keeps: the defaults.
//!
//! [`difference`] makes a trainer of its own with the weights of the one that is asked about, since a trainer that panics must not be
//! called again, and one that counts its calls must not notice. It gives that trainer made-up logits, or maps, and looks at every bit of
//! what comes back: on the CPU, where equal numbers give equal bits.

use super::Error;
use super::maps::{features, sizes, waves};
use crate::network::Parameters;
use crate::plugin::{CallError, LoadedTrainer, Plugin};
use plugin_api::manifest::{ACTIVATE, FORWARD};
use plugin_api::{Features, Kind, Outputs, Pass, Task};
use serde_json::Value;
use tch::{Device, Kind as Dtype, Tensor};

/// Methods that a manifest can name in `keeps`.
pub const METHODS: [&str; 2] = [ACTIVATE, FORWARD];

/// A trainer as it is, or would be, in use.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// Its plugin.
    pub plugin: &'a Plugin,
    /// What it was told.
    pub task: &'a Task,
    /// Its options.
    pub options: &'a Value,
    /// Its weights, among others.
    pub parameters: &'a Parameters,
}

/// Finds claims of the manifest that are wrong.
///
/// # Errors
/// When a method that is said to be kept differs from the default.
pub fn check_claims(trained: Trained) -> Result<(), Error> {
    let plugin = trained.plugin;
    for method in METHODS.into_iter().filter(|method| plugin.identity().manifest.keeps(method)) {
        if let Some(difference) = difference(trained, method)? {
            let message =
                format!("{difference}; but its manifest says that it keeps {method}: take that out of `keeps` and build it again");
            return Err(CallError::new(plugin.identity(), method, message).into());
        }
    }
    Ok(())
}

/// How `method` of the trainer differs from the default, if it does, in words that go on from the method's name.
///
/// # Errors
/// When a call fails.
pub fn difference(trained: Trained, method: &'static str) -> Result<Option<String>, Error> {
    if method == ACTIVATE {
        return difference_in_activate(&trained.copy(Device::Cpu)?.0, trained.task.dims);
    }
    let mut refused = None;
    for sizes in sizes(trained.task) {
        let (trainer, parameters) = trained.copy(Device::Cpu)?;
        match difference_in_forward(&trainer, &parameters, trained.task, &sizes) {
            Err(Error::Plugin(error)) => refused = Some(error),
            other => return other,
        }
    }
    let refused = refused.expect("some sizes were tried");
    let message = format!("cannot be compared with the default, since it accepts no maps that were tried: {}", refused.message);
    Err(CallError { message, ..refused }.into())
}

impl Trained<'_> {
    /// A trainer on `device` with the same weights, and what holds them.
    pub fn copy(&self, device: Device) -> Result<(LoadedTrainer, Parameters), Error> {
        let mut parameters = Parameters::new(device, self.task.seed);
        let task = Task { device: crate::device::name(device), ..self.task.clone() };
        let trainer = LoadedTrainer::create(self.plugin, &task, self.options, &mut parameters)?;
        let _no_grad = tch::no_grad_guard();
        for (name, parameter) in parameters.iter() {
            if let Some(original) = self.parameters.get(name) {
                parameter.tensor.shallow_clone().f_copy_(&original.tensor)?;
            }
        }
        Ok((trainer, parameters))
    }
}

/// Compares what `activate` makes of confident logits, of unsure ones, and of such as decide by a hair, with what the host would make of them.
fn difference_in_activate(trainer: &LoadedTrainer, dims: usize) -> Result<Option<String>, Error> {
    // Centre and spread: flat, nearly tied, usual, confident, and nearly tied far from 0.
    for (centre, spread) in [(0.0, 0.0), (0.0, 1e-3), (0.0, 0.5), (0.0, 4.0), (0.0, 40.0), (40.0, 0.0), (-40.0, 1e-3)] {
        let (mut logits, mut expected) = (Outputs::new(), Outputs::new());
        for output in trainer.outputs().iter().filter(|output| output.kind != Kind::Aux) {
            let mut shape = vec![3, output.channels];
            shape.resize(if output.kind == Kind::Class { 2 } else { 2 + dims }, 4);
            let values = waves(&shape, 0, trainer.device())?.f_mul_scalar(spread)?.f_add_scalar(centre)?;
            expected.push(&output.name, output.kind.activate(&values)?);
            logits.push(&output.name, values);
        }
        let active = trainer.activate(&logits)?;
        for (name, levels) in expected.iter() {
            let found = &active.get(name).map_err(|e| CallError::new(trainer.identity(), ACTIVATE, e.to_string()))?[0];
            let off = f64::try_from((found.f_to_kind(Dtype::Float)? - &levels[0]).f_abs()?.f_max()?)?;
            let real = trainer.outputs().iter().any(|output| output.name == name && output.kind == Kind::Regression);
            // Softmax and sigmoid may be computed in another order.
            if off > 1e-5 * if real { 1.0 + centre.abs() + spread } else { 1.0 } {
                return Ok(Some(format!("differs by {off:.1e} from the default on output '{name}', for logits of {centre} ± {spread}")));
            }
        }
    }
    Ok(None)
}

/// Finds a level that depends on more than it should: NaN in whatever it must not depend on changes its bits. And one that is not what the layers of
/// its name make of its map.
fn difference_in_forward(
    trainer: &LoadedTrainer,
    parameters: &Parameters,
    task: &Task,
    sizes: &[Vec<i64>],
) -> Result<Option<String>, Error> {
    let features = features(task, sizes, trainer.device())?;
    let levels = features.decoder.len();
    for wanted in [levels, 1] {
        let expected = forward(trainer, &features, wanted)?;
        for level in 0..wanted {
            let found = forward(trainer, &alone(&features, level, true)?, wanted)?;
            let dense = trainer.outputs().iter().filter(|output| !matches!(output.kind, Kind::Aux | Kind::Class));
            for output in dense.filter(|output| level < output.levels) {
                let name = &output.name;
                if !same_bits(&found, &expected, name, level)? {
                    return Ok(Some(format!("computes level {level} of output '{name}' from more than decoder map {level}")));
                }
                if let Some(layer) = by_layer(parameters, name, levels - 1 - level, &features.decoder[level])? {
                    let made = expected.get(name).ok().and_then(|made| made.get(level)).filter(|made| made.size() == layer.size());
                    if !made.is_some_and(|made| made.allclose(&layer, 1e-4, 1e-5, false)) {
                        return Ok(Some(format!(
                            "makes something else of level {level} of output '{name}' than its layer of nnU-Net's name does"
                        )));
                    }
                }
            }
        }
        let found = forward(trainer, &alone(&features, 0, false)?, wanted)?;
        for output in trainer.outputs().iter().filter(|output| output.kind == Kind::Class) {
            if !same_bits(&found, &expected, &output.name, 0)? {
                let name = &output.name;
                return Ok(Some(format!("computes output '{name}' from more than the bottleneck and the finest decoder map")));
            }
        }
    }
    Ok(None)
}

/// What the layer that is called as nnU-Net's segmentation layer number `layer` makes of `map`, if there is one.
fn by_layer(parameters: &Parameters, output: &str, layer: usize, map: &Tensor) -> Result<Option<Tensor>, Error> {
    let get = |part: &str| parameters.get(&format!("plugin.{output}.seg_layers.{layer}.{part}")).map(|parameter| &parameter.tensor);
    let (Some(weight), bias) = (get("weight"), get("bias")) else { return Ok(None) };
    let _no_grad = tch::no_grad_guard();
    Ok(Some(match map.dim() {
        4 => map.f_conv2d(weight, bias, 1, 0, 1, 1)?,
        _ => map.f_conv3d(weight, bias, 1, 0, 1, 1)?,
    }))
}

fn forward(trainer: &LoadedTrainer, features: &Features, levels: usize) -> Result<Outputs, Error> {
    let _no_grad = tch::no_grad_guard();
    Ok(trainer.forward_unchecked(features, &Pass { training: false, levels, amp: false }, 0)?)
}

/// NaN everywhere but in decoder map `level`, and in the bottleneck unless that is to be ruined, too.
fn alone(features: &Features, level: usize, without_bottleneck: bool) -> Result<Features, Error> {
    let ruined = |map: &Tensor| map.f_full_like(f64::NAN);
    let decoder = features.decoder.iter().enumerate();
    let decoder = decoder.map(|(i, map)| if i == level { Ok(map.shallow_clone()) } else { ruined(map) });
    let bottleneck = if without_bottleneck { ruined(&features.bottleneck)? } else { features.bottleneck.shallow_clone() };
    let skips = features.skips.iter().map(ruined);
    Ok(Features { decoder: decoder.collect::<Result<_, _>>()?, bottleneck, skips: skips.collect::<Result<_, _>>()? })
}

fn same_bits(found: &Outputs, expected: &Outputs, output: &str, level: usize) -> Result<bool, Error> {
    let bits = |outputs: &Outputs| {
        let level = outputs.get(output).ok().and_then(|levels| levels.get(level)).filter(|level| level.defined());
        level.map(|level| level.f_to_kind(Dtype::Float)?.f_contiguous()?.f_view_dtype(Dtype::Int)).transpose()
    };
    Ok(match (bits(found)?, bits(expected)?) {
        (Some(found), Some(expected)) => found.size() == expected.size() && found.f_equal(&expected)?,
        (found, expected) => found.is_none() && expected.is_none(),
    })
}
