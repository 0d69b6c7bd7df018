//! Losses and their gradients against nnU-Net's.

use host::train::deep_supervision_weights;
use plugin_api::losses::{Activation, binary_cross_entropy, cross_entropy, deep_supervision, dice_bce, dice_ce, soft_dice};
use plugin_api::task::Target as Spec;
use plugin_api::{IndexMap, Kind, Level, Result, Target};
use serde::Deserialize;
use tch::Tensor;
use tests::golden::{Golden, distance, largest};

#[derive(Deserialize)]
struct Case {
    kind: Kind,
    batch_dice: bool,
    ignore_label: Option<i64>,
    ignore_channel: bool,
    weights: Vec<f64>,
}

impl Case {
    /// The target as the host tells a trainer of it. An ignored last channel has the value that dataset.json gives it.
    fn spec(&self) -> Spec {
        Spec {
            kind: self.kind,
            channels: 3,
            classes: Vec::new(),
            ignore: self.ignore_label.or(self.ignore_channel.then_some(3)),
            optional: false,
        }
    }

    fn loss(&self, level: &Level) -> Result<Tensor> {
        match self.kind {
            Kind::Labels => dice_ce(level, self.batch_dice),
            _ => dice_bce(level, self.batch_dice),
        }
    }

    fn parts(&self, level: &Level) -> Result<(Tensor, Tensor)> {
        Ok(match self.kind {
            Kind::Labels => (soft_dice(level, Activation::Softmax, self.batch_dice)?, cross_entropy(level)?),
            _ => (soft_dice(level, Activation::Sigmoid, self.batch_dice)?, binary_cross_entropy(level)?),
        })
    }
}

#[test]
fn compound_losses_and_their_gradients_are_nnunets() {
    let golden = Golden::read("loss");
    let cases: IndexMap<String, Case> = golden.metadata("cases");
    assert_eq!(cases.len(), 18);
    for (name, case) in &cases {
        let logits: Vec<Tensor> = golden.levels(&format!("{name}.logits")).into_iter().map(|level| level.set_requires_grad(true)).collect();
        let target =
            Target { levels: golden.levels(&format!("{name}.target")), valid: Vec::new(), presence: Tensor::from_slice(&[true, true]) };
        let spec = case.spec();
        let level = |i: usize| Level::new(&logits[i], &target, &spec, i).expect("levels fit").expect("the target is present");
        assert_eq!(deep_supervision_weights(logits.len()), case.weights, "{name}");

        let loss = deep_supervision(&case.weights, logits.len(), |i| case.loss(&level(i)).map(Some)).expect("computes").expect("is there");
        let expected = golden.tensor(&format!("{name}.loss"));
        let off = distance(&loss, &expected);
        assert!(off <= 1e-6, "{name}: {loss} instead of {expected}");

        loss.backward();
        for (i, logits) in logits.iter().enumerate() {
            if case.weights[i] == 0.0 {
                assert!(!logits.grad().defined(), "{name}: level {i} has weight 0 and a gradient");
                continue;
            }
            let expected = golden.tensor(&format!("{name}.grad.{i}"));
            let off = distance(&logits.grad(), &expected);
            assert!(off <= 1e-6 * largest(&expected), "{name}: gradient of level {i} is off by {off:e} of {:e}", largest(&expected));
        }

        for (i, (dice, ce)) in tensors(&golden, name, "dice").into_iter().zip(tensors(&golden, name, "ce")).enumerate() {
            let (our_dice, our_ce) = case.parts(&level(i)).expect("computes");
            assert!((our_dice.double_value(&[]) - dice).abs() <= 1e-6, "{name}: Dice of level {i} is {our_dice} instead of {dice}");
            assert!((our_ce.double_value(&[]) - ce).abs() <= 1e-6, "{name}: cross-entropy of level {i} is {our_ce} instead of {ce}");
        }
    }
}

fn tensors(golden: &Golden, case: &str, part: &str) -> Vec<f64> {
    Vec::try_from(golden.tensor(&format!("{case}.{part}")).to_kind(tch::Kind::Double)).expect("one dimension")
}
