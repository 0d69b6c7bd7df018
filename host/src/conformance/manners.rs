//! Manners: what a call must leave alone, and how it fails.

use super::numbers::{close, values};
use super::rig::{Rig, evaluate, levels, map};
use super::{Finding, Subject, must};
use crate::plugin::CallError;
use crate::plugin::lent::{self, Lent};
use indexmap::IndexMap;
use plugin_api::{Batch, Epoch, EpochReport, Outputs, Pass, Phase, Step};
use tch::Tensor;

/// Every input of every call, before and after.
pub(super) fn inputs(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let step = rig.step(0);
    unchanged("forward", lent::of_features(&rig.features), || rig.forward(&step).map(drop))?;
    // Not leaves: libtorch itself would refuse to write to those.
    let logits = map(&rig.logits()?, |level| level * 1.0);
    unchanged("loss", lent::of_loss(&logits, &rig.batch), || rig.trainer.loss(&logits, &rig.batch, &step).map(drop))?;
    let logits = map(&logits, Tensor::detach);
    unchanged("activate", lent::of_outputs(&logits), || rig.trainer.activate(&logits).map(drop))?;
    let step = Step { phase: Phase::Validate, ..step };
    unchanged("loss in validation", lent::of_loss(&logits, &rig.batch), || rig.trainer.loss(&logits, &rig.batch, &step).map(drop))?;
    unchanged("metrics", lent::of_loss(&logits, &rig.batch), || rig.trainer.metrics(&logits, &rig.batch, &step).map(drop))
}

/// Compares values: writes that libtorch does not count are writes, too.
fn unchanged(call: &str, lent: Lent, run: impl FnOnce() -> Result<(), CallError>) -> Result<(), Finding> {
    let before: Vec<Tensor> = lent.iter().map(|(_, tensor)| tensor.detach().copy()).collect();
    run()?;
    for ((name, now), before) in lent.iter().zip(&before) {
        must!(now.size() == before.size() && now.equal(before), "{call} wrote to {name}; inputs are read-only: copy first");
    }
    Ok(())
}

/// A run from the first call to the last. Calls that fail are other cases' business.
fn live(rig: &mut Rig) -> Result<(), Finding> {
    let step = rig.step(0);
    let _ = rig.trainer.epoch_start(&Epoch { epoch: step.epoch, epochs: rig.task.epochs });
    let _ = rig.whole_step(&step);
    let logits = map(&rig.logits()?, Tensor::detach);
    let _ = rig.trainer.activate(&logits);
    let _ = validate(rig);
    let _ = rig.trainer.epoch_end(&report(&step, f64::NAN));
    let _ = rig.trainer.epoch_end(&report(&step, 0.5));
    let _ = rig.trainer.save_state().and_then(|state| rig.trainer.load_state(&state));
    Ok(())
}

fn report(step: &Step, value: f64) -> EpochReport {
    let terms = IndexMap::from([("term".to_owned(), value)]);
    EpochReport {
        epoch: step.epoch,
        train: terms.clone(),
        validation: terms.clone(),
        metrics: IndexMap::from([("output".to_owned(), terms)]),
    }
}

fn validate(rig: &mut Rig) -> Result<(), Finding> {
    let _no_grad = tch::no_grad_guard();
    let step = Step { phase: Phase::Validate, ..rig.step(0) };
    let outputs = rig.trainer.forward(&rig.features, &Pass { training: false, ..rig.pass() }, step.seed)?;
    Ok(rig.loss(&outputs, &step).map(drop)?)
}

/// What stands on standard output afterwards is looked at from outside.
pub(super) fn whole_life(subject: &Subject) -> Result<(), Finding> {
    live(&mut subject.usual()?)
}

/// Modes of libtorch after every call.
pub(super) fn modes(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    rig.trainer.observe();
    live(&mut rig)?;
    match rig.trainer.observe().iter().find(|call| call.changed_modes) {
        Some(call) => Err(Finding::failed(format!(
            "{} changed gradient mode, autocast, the number of threads or the choice of deterministic algorithms; use guards, and leave threads to the host",
            call.call
        ))),
        None => Ok(()),
    }
}

/// Calls without what they need, each followed by a good one.
pub(super) fn after_error(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let (step, state) = (rig.step(0), rig.trainer.save_state()?);
    let logits = rig.logits()?;
    let expected = values(&rig.loss(&logits, &step)?)?;
    let no_targets = Batch { image: rig.batch.image.shallow_clone(), cases: rig.batch.cases.clone(), targets: IndexMap::new() };
    let no_outputs = Outputs::new();
    for (what, outputs, batch) in [("a batch without targets", &logits, &no_targets), ("no outputs", &no_outputs, &rig.batch)] {
        if let Err(error) = rig.trainer.loss(outputs, batch, &step) {
            must!(!error.panicked, "loss of {what}: {}; return an error instead", error.message);
        }
        rig.trainer.load_state(&state)?;
        let found = values(&rig.trainer.loss(&logits, &rig.batch, &step)?)?;
        let same = found.iter().zip(&expected).all(|((_, a), (_, b))| close(*a, *b));
        must!(
            same && found.len() == expected.len(),
            "after loss of {what}, the loss of a good batch is another: {found:?} instead of {expected:?}"
        );
    }
    Ok(())
}

/// What happens between epochs of training.
pub(super) fn validation(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    validate(&mut rig)?;
    let step = rig.step(0);
    rig.trainer.epoch_end(&report(&step, f64::NAN))?;
    rig.trainer.epoch_start(&Epoch { epoch: step.epoch + 1, epochs: rig.task.epochs })?;
    let outputs = {
        let _no_grad = tch::no_grad_guard();
        rig.forward(&rig.step(0))?
    };
    must!(!levels(&outputs).any(Tensor::requires_grad), "an output has a graph although gradients are off");
    Ok(())
}

/// The extension `trainer.metrics/1`.
pub(super) fn metrics(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    if !subject.plugin.extensions().contains(&plugin_api::extensions::metrics::ID) {
        return Err(Finding::Skipped("it has no metrics of its own".to_owned()));
    }
    let step = Step { phase: Phase::Validate, ..rig.step(0) };
    let logits = map(&rig.logits()?, Tensor::detach);
    let (training, kept) = (rig.step(1), rig.keep()?);
    let before = evaluate(&mut rig.trainer, &logits, &rig.batch, &training, &kept)?;
    kept.put_back(&mut rig.trainer)?;
    let found = rig.trainer.metrics(&logits, &rig.batch, &step)?;
    let after = values(&rig.loss(&logits, &training)?)?;
    must!(
        before.iter().zip(&after).all(|((_, a), (_, b))| close(*a, *b)),
        "the loss after metrics is another: {after:?}, before {before:?}"
    );
    must!(!found.is_empty(), "it has no metrics for a batch that has all targets; give NaN where there is nothing to measure");
    must!(!found.iter().any(|metric| metric.value.is_infinite()), "a metric is infinite: {found:?}");
    let again = rig.trainer.metrics(&logits, &rig.batch, &step)?;
    let same = found.iter().zip(&again).all(|(a, b)| a.value.to_bits() == b.value.to_bits());
    must!(same, "the same batch has other metrics the second time: {found:?}, then {again:?}");
    Ok(())
}
