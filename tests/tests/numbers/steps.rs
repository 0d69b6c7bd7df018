//! Twenty optimiser steps follow nnU-Net's: the same weights, batches and settings give the same losses.

use host::config::Recipe;
use host::train::{Optimiser, deep_supervision_weights, total};
use plugin_api::{Batch, IndexMap, Phase, Step, Target};
use serde::Deserialize;
use tch::{Kind, Tensor};
use tests::golden::Golden;
use tests::network::Network;

#[derive(Deserialize)]
struct Training {
    #[serde(flatten)]
    network: Network,
    learning_rate: f64,
    momentum: f64,
    weight_decay: f64,
    clip: f64,
    weights: Vec<f64>,
    /// Batch of every step.
    cycle: Vec<u64>,
}

fn follow(file: &str) {
    let golden = Golden::read(file);
    let training: Training = golden.metadata("training");
    let mut model = training.network.model(&golden);
    let recipe = Recipe::default();
    let settings = (training.learning_rate, training.momentum, training.weight_decay, training.clip);
    assert_eq!(
        (recipe.learning_rate, recipe.common.momentum, recipe.weight_decay, recipe.common.clip_norm),
        settings,
        "our defaults are nnU-Net's"
    );
    let mut optimiser = Optimiser::new(&model.parameters, &recipe);
    let weights = deep_supervision_weights(training.weights.len());
    assert_eq!(weights, training.weights);
    let levels = weights.iter().filter(|weight| **weight > 0.0).count();
    let expected = Vec::<f64>::try_from(golden.tensor("loss")).expect("one dimension");

    for (i, (number, expected)) in training.cycle.iter().zip(expected).enumerate() {
        let batch = batch(&golden, *number);
        let step =
            Step { epoch: 0, iteration: i as u64, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: weights.clone() };
        optimiser.clear_gradients().expect("clears");
        let outputs = model.forward(&batch.image, levels, true, 0).expect("runs");
        let terms = model.trainer.loss(&outputs, &batch, &step).expect("has a loss");
        let loss = total(&terms).expect("sums").expect("something to learn");
        loss.backward();
        optimiser.clip_gradients(1.0).expect("clips");
        optimiser.step(recipe.learning_rate).expect("steps");
        let off = (loss.double_value(&[]) - expected).abs();
        assert!(off <= 1e-4, "{file}: the loss of step {i} is off by {off:e}");
    }
}

fn batch(golden: &Golden, number: u64) -> Batch {
    let image = golden.tensor(&format!("image.{number}"));
    let presence = Tensor::ones([image.size()[0]], (Kind::Bool, image.device()));
    let levels = golden.levels(&format!("target.{number}")).iter().map(|level| level.to_kind(Kind::Int64)).collect();
    let targets = IndexMap::from([("segmentation".to_owned(), Target { levels, valid: Vec::new(), presence })]);
    Batch { image, cases: vec!["a".to_owned(), "b".to_owned()], targets }
}

#[test]
fn plain_networks_learn_as_nnunets_do() {
    ["training_2d", "training_3d"].into_iter().for_each(follow);
}

#[test]
fn residual_networks_learn_as_nnunets_do() {
    ["training_residual_2d", "training_residual_3d"].into_iter().for_each(follow);
}
