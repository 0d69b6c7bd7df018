//! Optimisers, clipping, averaging and schedules against torch's and nnU-Net's. Gradients are given.

use host::config::{Common, Recipe, Schedule};
use host::network::{self, Parameters};
use host::train::{Average, Optimiser};
use plugin_api::Init;
use serde::Deserialize;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};
use tests::golden::{Golden, distance, largest};

/// The tensors `initial.NAME` of `golden` as parameters. `kind` is a plugin's: 0 for heads.
fn parameters(golden: &Golden, names: &[String]) -> Parameters {
    let mut parameters = Parameters::new(Device::Cpu, 0);
    for name in names {
        let initial = golden.tensor(&format!("initial.{name}"));
        let mut tensor =
            parameters.create_for_plugin(name, network::Group::Heads, &initial.size(), Init::Constant(0.0), true).expect("a new name");
        tch::no_grad(|| tensor.copy_(&initial));
    }
    parameters
}

fn tensor<'a>(parameters: &'a Parameters, name: &str) -> &'a Tensor {
    &parameters.get(&format!("plugin.{name}")).expect("just made").tensor
}

/// Adds `gradient` to that of `tensor`: the gradient of Σ gradient · tensor is the gradient.
fn add_gradient(tensor: &Tensor, gradient: &Tensor) {
    (gradient * tensor).sum(Kind::Float).backward();
}

fn assert_near(found: &Tensor, expected: &Tensor, what: &str) {
    let off = distance(found, expected);
    assert!(off <= 1e-6 * largest(expected).max(1.0), "{what} is off by {off:e}");
}

#[derive(Deserialize)]
struct SgdSettings {
    epochs: u64,
    steps_per_epoch: u64,
    initial_lr: f64,
    weight_decay: f64,
    momentum: f64,
    clip: f64,
    parameters: Vec<String>,
    #[serde(default)]
    micro_batches: Option<u64>,
}

fn compare_sgd(file: &str) {
    let golden = Golden::read(file);
    let settings: SgdSettings = golden.metadata("settings");
    let parameters = parameters(&golden, &settings.parameters);
    let nnunets = Recipe::default();
    let recipe = Recipe {
        learning_rate: settings.initial_lr,
        weight_decay: settings.weight_decay,
        common: Common { momentum: settings.momentum, clip_norm: settings.clip, ..nnunets.common },
        ..nnunets
    };
    let mut optimiser = Optimiser::new(&parameters, &recipe);
    let keys = golden.keys();
    let (norms, rates) = (golden.tensor("norm"), golden.tensor("lr"));
    for step in 0..settings.epochs * settings.steps_per_epoch {
        optimiser.clear_gradients().expect("clears");
        for name in &settings.parameters {
            let prefix = format!("grad.{step}.");
            let gradients = keys.iter().filter(|key| key.starts_with(&prefix) && key.ends_with(&format!(".{name}")));
            // As in training: every batch's loss is divided by their number.
            gradients.for_each(|key| {
                add_gradient(tensor(&parameters, name), &(golden.tensor(key) / settings.micro_batches.unwrap_or(1) as f64))
            });
        }
        let at = [step as i64];
        // In float16 the loss is scaled; gradients come out the same.
        let norm = optimiser.clip_gradients(1.0).expect("clips");
        let expected = norms.double_value(&at);
        assert!((norm - expected).abs() <= 1e-5 * expected, "step {step}: norm {norm} instead of {expected}");
        let lr = recipe.schedule.rate(settings.initial_lr, step / settings.steps_per_epoch, settings.epochs);
        assert!((lr - rates.double_value(&at)).abs() <= 1e-15, "step {step}: rate {lr}");
        optimiser.step(lr).expect("steps");
        for name in &settings.parameters {
            assert_near(
                tensor(&parameters, name),
                &golden.tensor(&format!("parameter.{step}.{name}")),
                &format!("{file}, step {step}: {name}"),
            );
        }
    }
}

#[test]
fn sgd_is_nnunets() {
    compare_sgd("optimiser");
}

#[test]
fn batches_of_one_step_count_by_their_mean() {
    compare_sgd("accumulation");
}

#[test]
fn a_scaled_loss_gives_the_same_gradients_and_infinity_is_refused() {
    let run = |scale: f64| {
        let mut parameters = Parameters::new(Device::Cpu, 0);
        for (name, group) in [("a", network::Group::Heads), ("weight", network::Group::LossWeights)] {
            let _handed_out = parameters.create_for_plugin(name, group, &[3], Init::Normal(1.0), true).expect("a new name");
        }
        let optimiser = Optimiser::new(&parameters, &Recipe::default());
        let gradient = Tensor::from_slice(&[30f32, -40.0, 0.5]) * scale;
        ["a", "weight"].iter().for_each(|name| add_gradient(tensor(&parameters, name), &gradient));
        let norm = optimiser.clip_gradients(scale);
        (norm, ["a", "weight"].map(|name| Vec::<f32>::try_from(tensor(&parameters, name).grad()).expect("one dimension")))
    };
    let (plain, gradients) = run(1.0);
    let plain = plain.expect("finite");
    assert!((plain - 50.0025).abs() < 1e-3, "the loss weight is not part of {plain}");
    assert_eq!(gradients[1], [30.0, -40.0, 0.5], "nor is it clipped");
    let scaled = run(65_536.0);
    assert_eq!((scaled.0.expect("finite"), scaled.1), (plain, gradients));
    assert!(run(f64::INFINITY).0.is_err());
}

#[derive(Deserialize)]
struct AdamSettings {
    steps: u64,
    optimisers: BTreeMap<String, Kinds>,
    groups: BTreeMap<String, Group>,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    ema_decay: f64,
}

#[derive(Deserialize)]
struct Kinds {
    decoupled: bool,
    amsgrad: bool,
}

#[derive(Deserialize)]
struct Group {
    lr: f64,
    parameters: Vec<String>,
}

#[test]
fn adam_adamw_and_the_average_of_weights_are_torchs() {
    let golden = Golden::read("optimisers");
    let settings: AdamSettings = golden.metadata("settings");
    let keys = golden.keys();
    for (name, kinds) in &settings.optimisers {
        for group in settings.groups.values() {
            let parameters = parameters(&golden, &group.parameters);
            let recipe = Recipe {
                // The other group's rate is a factor of the first one's.
                eps: settings.eps,
                weight_decay: settings.weight_decay,
                common: Common {
                    optimiser: if kinds.decoupled { "adamw" } else { "adam" }.parse().expect("known"),
                    heads_rate: group.lr / settings.groups["trunk"].lr,
                    betas: settings.betas,
                    amsgrad: kinds.amsgrad,
                    ..Recipe::default().common
                },
                ..Recipe::default()
            };
            let mut optimiser = Optimiser::new(&parameters, &recipe);
            let average = Average::new(&parameters, settings.ema_decay);
            for step in 0..settings.steps {
                optimiser.clear_gradients().expect("clears");
                for parameter in &group.parameters {
                    let key = format!("grad.{step}.{parameter}");
                    if keys.contains(&key) {
                        add_gradient(tensor(&parameters, parameter), &golden.tensor(&key));
                    }
                }
                optimiser.step(settings.groups["trunk"].lr).expect("steps");
                average.update(step == 0).expect("averages");
                let compare = |what: &str| {
                    for parameter in &group.parameters {
                        let expected = golden.tensor(&format!("{name}.{what}.{step}.{parameter}"));
                        assert_near(tensor(&parameters, parameter), &expected, &format!("{name}, step {step}, {what}: {parameter}"));
                    }
                };
                compare("parameter");
                average.swap().expect("swaps");
                compare("ema");
                average.swap().expect("swaps back");
                compare("parameter");
            }
        }
    }
}

#[derive(Deserialize)]
struct Rates {
    epochs: u64,
    warmup: u64,
    initial_lr: f64,
    rates: BTreeMap<String, Vec<f64>>,
}

#[test]
fn learning_rates_are_nnunets() {
    let golden: Rates = serde_json::from_str(include_str!("../../golden/schedule.json")).expect("JSON");
    assert_eq!(golden.rates.len(), 4);
    for (name, rates) in &golden.rates {
        let schedule = match name.as_str() {
            "poly" => Schedule::Poly,
            "cosine" => Schedule::Cosine,
            "warmup" => Schedule::WarmupPoly { epochs: golden.warmup },
            "constant" => Schedule::Constant,
            other => panic!("no schedule for {other}"),
        };
        assert_eq!(rates.len() as u64, golden.epochs);
        for (epoch, expected) in rates.iter().enumerate() {
            let rate = schedule.rate(golden.initial_lr, epoch as u64, golden.epochs);
            assert!((rate - expected).abs() <= 1e-12, "{name}, epoch {epoch}: {rate} instead of {expected}");
        }
    }
}
