//! What the border between host and plugin costs: a trainer that does nothing, called through the library and directly.
//!
//! `cargo test -p tests --test border -- --nocapture` prints it. Compare it with the time of a training step
//! (`tests/compare/step`): a step makes one call of each kind. Nothing is asserted about time, since machines differ.

use host::network::Parameters;
use host::plugin::{Library, LoadedTrainer};
use plugin_api::{Batch, Features, IndexMap, Outputs, Pass, Phase, Step, Task, Trainer};
use std::time::Instant;
use tch::{Device, Tensor};
use tests::artifact;

#[path = "../fixtures/trivial/src/lib.rs"]
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

#[test]
fn the_border_costs_microseconds() {
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
    let one = || Tensor::from(1.0f32);
    let features = Features { decoder: vec![one().view([1, 1, 1, 1, 1])], bottleneck: one().view([1, 1, 1, 1, 1]), skips: Vec::new() };
    let pass = Pass { training: true, levels: 1, amp: false };
    let mut outputs = Outputs::new();
    outputs.push("same", one());
    let batch = Batch { image: one(), cases: vec!["case".to_owned()], targets: IndexMap::new() };
    let step = Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: vec![1.0] };

    let library = Library::load(&artifact::fixture("trivial")).expect("loads");
    let mut parameters = Parameters::new(Device::Cpu, 0);
    let mut loaded = LoadedTrainer::create(&library, &task, &serde_json::json!({}), &mut parameters).expect("nothing to go wrong");
    let mut linked = trivial::Trivial::default();

    let terms = loaded.loss(&outputs, &batch, &step).expect("nothing to go wrong");
    assert_eq!(terms[0].value.double_value(&[]), 1.0);
    let calls = [
        ("loss", time(|| drop(loaded.loss(&outputs, &batch, &step))), time(|| drop(linked.loss(&outputs, &batch, &step)))),
        ("forward", time(|| drop(loaded.forward(&features, &pass, 0))), time(|| drop(linked.forward(&features, &pass)))),
    ];
    for (call, loaded, linked) in calls {
        println!("border {call} loaded={loaded:.0}ns linked={linked:.0}ns difference={:.0}ns", loaded - linked);
    }
}
