//! Losses and their gradients against public implementations.

use host::train::deep_supervision_weights;
use plugin_api::losses::{LossList, LossOptions, deep_supervision};
use plugin_api::task::Target as Spec;
use plugin_api::{IndexMap, Kind, Level, Result, Target};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use tch::Tensor;
use tests::artifact::root;
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
        Spec { ignore: self.ignore_label.or(self.ignore_channel.then_some(3)), ..Spec::new(self.kind, 3) }
    }

    fn level(&self, logits: &Tensor, target: &Target, index: usize) -> Level {
        let mut level = Level::new(logits, target, &self.spec(), index).expect("levels fit").expect("the target is present");
        level.batch_dice = self.batch_dice;
        level
    }
}

fn compute(loss: &str, level: &Level) -> Result<Tensor> {
    let list: LossList = serde_json::from_value(json!(loss)).expect("a name");
    list.0[0].loss.criterion().compute(level)
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
        let level = |i: usize| case.level(&logits[i], &target, i);
        let (compound, ce) = if case.kind == Kind::Labels { ("dice_ce", "ce") } else { ("dice_bce", "bce") };
        assert_eq!(deep_supervision_weights(logits.len()), case.weights, "{name}");

        let loss =
            deep_supervision(&case.weights, logits.len(), |i| compute(compound, &level(i)).map(Some)).expect("computes").expect("is there");
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

        for (loss, key) in [("dice", "dice"), (ce, "ce")] {
            for (i, expected) in tensors(&golden, name, key).into_iter().enumerate() {
                let found = compute(loss, &level(i)).expect("computes").double_value(&[]);
                assert!((found - expected).abs() <= 1e-6, "{name}: {loss} of level {i} is {found} instead of {expected}");
            }
        }
    }
}

fn tensors(golden: &Golden, case: &str, part: &str) -> Vec<f64> {
    Vec::try_from(golden.tensor(&format!("{case}.{part}")).to_kind(tch::Kind::Double)).expect("one dimension")
}

/// One loss with one setting on one set of logits and targets: `tests/golden/losses.json`.
#[derive(Deserialize)]
struct Entry {
    case: String,
    loss: LossOptions,
    batch: bool,
    class_weights: Option<Vec<f64>>,
    #[serde(default)]
    spacing: Vec<f64>,
    value: f64,
    reference: String,
    gradient: String,
}

#[test]
fn every_loss_and_its_gradient_is_that_of_a_public_implementation() {
    let entries = std::fs::read(root().join("tests/golden/losses.json")).expect("made by make_losses.py");
    let entries: Vec<Entry> = serde_json::from_slice(&entries).expect("as golden/README.md describes it");
    let golden = Golden::read("losses");
    let keys = golden.keys();
    // By loss and reference: the largest deviation of a value, and of a gradient in relation to its largest element.
    let mut table: BTreeMap<(&str, &str), [f64; 2]> = BTreeMap::new();
    for entry in &entries {
        let kind = match entry.case.split('_').next() {
            Some("regions") => Kind::Regions,
            Some("regression") => Kind::Regression,
            Some("class") => Kind::Class,
            _ => Kind::Labels,
        };
        let logits = golden.tensor(&format!("{}.logits", entry.case)).set_requires_grad(true);
        let mut level = Level::plain(kind, logits.shallow_clone(), golden.tensor(&format!("{}.target", entry.case)));
        level.batch_dice = entry.batch;
        level.spacing = entry.spacing.clone();
        level.class_weights = entry.class_weights.as_ref().map(|weights| Tensor::from_slice(weights));
        let skeleton = format!("{}.skeleton", entry.case);
        level.skeleton = keys.contains(&skeleton).then(|| golden.tensor(&skeleton));

        let loss = entry.loss.criterion().compute(&level).unwrap_or_else(|e| panic!("{:?} on {}: {e}", entry.loss, entry.case));
        loss.backward();
        let expected = golden.tensor(&entry.gradient);
        let off = [(loss.double_value(&[]) - entry.value).abs(), distance(&logits.grad(), &expected) / largest(&expected)];
        let what = format!("{:?} on {} against {}", entry.loss, entry.case, entry.reference);
        assert!(off[0] <= 1e-10 && off[1] <= 1e-9, "{what}: {} instead of {}, gradient off by {:e}", loss, entry.value, off[1]);
        let worst = table.entry((entry.loss.name(), &entry.reference)).or_default();
        (0..2).for_each(|i| worst[i] = worst[i].max(off[i]));
    }
    // Shown in plugin-api/losses.md (`cargo test -p tests --test numbers losses -- --nocapture`).
    for ((loss, reference), [value, gradient]) in &table {
        println!("| `{loss}` | {reference} | {value:.0e} | {gradient:.0e} |");
    }
    for name in LossOptions::NAMES {
        assert!(entries.iter().any(|entry| entry.loss.name() == *name), "{name} is compared with nothing");
    }
}
