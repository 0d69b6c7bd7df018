//! The border between host and plugin, with a trainer that does nothing: tensors cross it without being copied, and what a call costs.
//!
//! `cargo test -p tests --test numbers border -- --ignored --nocapture` prints the cost, called through the library and directly. Compare it with the
//! time of a training step (`tests/compare/step`): a step makes one call of each kind. Nothing is asserted about time, since machines differ.

use host::network::Parameters;
use host::plugin::{self, LoadedTrainer};
use plugin_api::{Batch, Features, IndexMap, Outputs, Pass, Phase, Step, Task, Trainer};
use std::time::Instant;
use tch::{Device, Tensor};
use tests::artifact;

#[path = "../../fixtures/trivial/src/lib.rs"]
mod trivial;

const CALLS: u32 = 100_000;

/// Nanoseconds a call.
fn time(mut call: impl FnMut()) -> f64 {
    for _ in 0..CALLS / 100 {
        call();
    }
    let start = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

/// The trainer, loaded, and what its calls get: tensors of one value each.
struct Border {
    loaded: LoadedTrainer,
    features: Features,
    pass: Pass,
    outputs: Outputs,
    batch: Batch,
    step: Step,
}

impl Border {
    fn new() -> Self {
        let task = Task {
            dims: 3,
            patch_size: vec![1; 3],
            spacing: vec![1.0; 3],
            features: vec![1, 1],
            strides: vec![vec![1; 3]; 2],
            targets: IndexMap::new(),
            batch_size: 1,
            batch_dice: false,
            epochs: 1,
            iterations: 1,
            device: "cpu".to_owned(),
            seed: 0,
        };
        let library = plugin::load(&artifact::fixture("trivial"), &artifact::this_host()).expect("loads");
        let mut parameters = Parameters::new(Device::Cpu, 0);
        let loaded = LoadedTrainer::create(&library, &task, &serde_json::json!({}), &mut parameters).expect("nothing to go wrong");
        let one = || Tensor::from(1.0f32);
        let map = || one().view([1, 1, 1, 1, 1]);
        let mut outputs = Outputs::new();
        outputs.push("same", one());
        Self {
            loaded,
            features: Features { decoder: vec![map()], bottleneck: map(), skips: Vec::new() },
            pass: Pass { training: true, levels: 1, amp: false },
            outputs,
            batch: Batch { image: one(), cases: vec!["case".to_owned()], targets: IndexMap::new() },
            step: Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: vec![1.0] },
        }
    }
}

#[test]
fn tensors_cross_the_border_without_being_copied() {
    let Border { mut loaded, features, pass, outputs, batch, step } = Border::new();
    let returned = loaded.forward(&features, &pass, 0).expect("nothing to go wrong");
    assert_eq!(returned.get("same").expect("declared")[0].data_ptr(), features.bottleneck.data_ptr());
    let terms = loaded.loss(&outputs, &batch, &step).expect("nothing to go wrong");
    assert_eq!(terms[0].value.double_value(&[]), 1.0);
    assert_eq!(terms[0].value.data_ptr(), outputs.get("same").expect("pushed")[0].data_ptr());
}

#[test]
#[ignore = "prints a measurement: cargo test -p tests --test numbers border -- --ignored --nocapture"]
fn what_a_call_across_the_border_costs() {
    let Border { mut loaded, features, pass, outputs, batch, step } = Border::new();
    let mut linked = trivial::Trivial::default();
    let calls = [
        ("loss", time(|| drop(loaded.loss(&outputs, &batch, &step))), time(|| drop(linked.loss(&outputs, &batch, &step)))),
        ("forward", time(|| drop(loaded.forward(&features, &pass, 0))), time(|| drop(linked.forward(&features, &pass)))),
    ];
    for (call, loaded, linked) in calls {
        println!("border {call} loaded={loaded:.0}ns linked={linked:.0}ns difference={:.0}ns", loaded - linked);
    }
}
