//! The same again: in another trainer, on another thread, in another step.

use super::given::{Given, Numbers};
use super::rig::Rig;
use super::{Content, Finding, Problem, Subject, World, must};
use crate::plugin::{Child, Ended, Observation};
use serde_json::{Value, json};
use std::time::Duration;

/// Two new trainers, one step.
pub(super) fn same_step(subject: &Subject) -> Result<(), Finding> {
    // One after the other: what they do to each other is another case.
    let given = || -> Result<Vec<Given>, Finding> {
        let mut rig = subject.usual()?;
        (0..3).map(|iteration| Given::of(&mut rig, iteration)).collect()
    };
    for (iteration, (a, b)) in given()?.iter().zip(&given()?).enumerate() {
        must!(a.same_bits(b), "step {iteration} of two new trainers differs; draw from torch's generators, or from `step.seed`");
    }
    Ok(())
}

/// Generators are seeded anew for every step; a plugin that seeds them itself draws the same numbers for ever.
pub(super) fn fresh_draws(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    rig.trainer.observe();
    let first = Given::of(&mut rig, 0)?;
    let of_first = rig.trainer.observe();
    let second = Given::of(&mut rig, 1)?;
    let of_second = rig.trainer.observe();
    for (a, b) in of_first.iter().zip(&of_second) {
        must!(
            !a.drew() || a.generator_left != b.generator_left,
            "{} seeds torch's generator itself: it draws the same numbers in every step",
            a.call
        );
    }
    let drew = of_first.iter().any(Observation::drew);
    must!(!drew || !first.same_bits(&second), "it draws random numbers, but two steps do not differ");
    Ok(())
}

/// One thread, four, and one that the trainer was not made on.
pub(super) fn threads(subject: &Subject) -> Result<(), Finding> {
    let usual = tch::get_num_threads();
    let given = |threads: i32| -> Result<Given, Finding> {
        tch::set_num_threads(threads);
        let mut rig = subject.usual()?;
        Given::of(&mut rig, 0)
    };
    let (one, four) = (given(1)?, given(4)?);
    tch::set_num_threads(usual);
    if let Some(difference) = one.difference(&four)? {
        return Err(Finding::failed(format!("with one thread and with four: {difference}")));
    }
    let mut rig = subject.usual()?;
    let elsewhere = std::thread::spawn(move || Given::of(&mut rig, 0));
    let elsewhere = elsewhere.join().map_err(|_| Finding::failed("it panicked on another thread"))??;
    match elsewhere.difference(&four)? {
        Some(difference) => Err(Finding::failed(format!("on the thread that made it and on another: {difference}"))),
        None => Ok(()),
    }
}

/// A trainer beside another one, and then alone.
pub(super) fn two_trainers(subject: &Subject) -> Result<(), Finding> {
    let given = |beside: Option<&mut Rig>| -> Result<Vec<Given>, Finding> {
        let (mut rig, mut beside) = (subject.usual()?, beside);
        // Made later, and used in between.
        let mut later = beside.is_some().then(|| subject.usual()).transpose()?;
        let step = |iteration| -> Result<Given, Finding> {
            for other in beside.iter_mut().map(|other| &mut **other).chain(later.as_mut()) {
                Given::of(other, iteration + 5)?;
            }
            Given::of(&mut rig, iteration)
        };
        (0..3).map(step).collect()
    };
    let together = given(Some(&mut subject.usual()?))?;
    for (iteration, (alone, together)) in given(None)?.iter().zip(&together).enumerate() {
        if let Some(difference) = alone.difference(together)? {
            return Err(Finding::failed(format!("step {iteration} alone and beside other trainers: {difference}")));
        }
    }
    Ok(())
}

/// A trainer after another one in the same process that was made for another task with other options: it must be what it is alone, in a
/// process that has seen no other.
pub(super) fn after_another(subject: &Subject) -> Result<(), Finding> {
    let given = || -> Result<Numbers, Finding> { Given::of(&mut subject.usual()?, 0)?.numbers() };
    // First, since a static that the first trainer sets would not change any more.
    let alone = Child::start(Duration::from_secs(600), given).and_then(Child::wait);
    let alone = alone.map_err(|e| Finding::Skipped(format!("cannot judge: {e}")))?;
    let Ended::Answered(alone) = alone.ended else { return Err(Finding::failed(format!("alone, it {}", alone.ended))) };
    let another = Subject { options: other_options(&subject.options), seed: subject.seed + 1, ..subject.clone() };
    for (subject, dims) in [(&another, 2), (&another, 3), (subject, 2), (subject, 3)] {
        let problem = Problem { dims, levels: 2, batch: 1, content: Content::Whole, world: World::Regions, wide: true };
        if let Ok(mut other) = subject.rig(problem) {
            let _ = other.train(0..2);
        }
    }
    match alone?.difference(&given()?) {
        Some(difference) => Err(Finding::failed(format!(
            "alone, and after a trainer for another task in the same process (another fold, or arm): {difference}; keep nothing in statics"
        ))),
        None => Ok(()),
    }
}

/// Every number by half, every truth reversed: a trainer that refuses them is tried with its own.
fn other_options(options: &Value) -> Value {
    match options {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), other_options(value))).collect(),
        Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap_or_default() * 0.5),
        Value::Bool(truth) => json!(!truth),
        other => other.clone(),
    }
}
