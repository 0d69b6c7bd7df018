//! The same again: in another trainer, on another thread, in another step.

use super::numbers::{close, values};
use super::rig::{Rig, levels};
use super::{Finding, Subject, must};
use crate::plugin::Observation;
use plugin_api::Outputs;

/// Everything that a step gives.
struct Given {
    outputs: Outputs,
    terms: Vec<(String, f64)>,
}

impl Given {
    fn of(rig: &mut Rig, iteration: u64) -> Result<Self, Finding> {
        let step = rig.step(iteration);
        let outputs = rig.forward(&step)?;
        let terms = values(&rig.loss(&outputs, &step)?)?;
        Ok(Self { outputs, terms })
    }

    fn same_bits(&self, other: &Self) -> bool {
        let bits = |terms: &[(String, f64)]| terms.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect::<Vec<_>>();
        levels(&self.outputs).zip(levels(&other.outputs)).all(|(a, b)| a.equal(b)) && bits(&self.terms) == bits(&other.terms)
    }

    /// The first difference that is more than rounding.
    fn difference(&self, other: &Self) -> Result<Option<String>, Finding> {
        for (a, b) in levels(&self.outputs).zip(levels(&other.outputs)) {
            let off = f64::try_from((a - b).abs().max())?;
            if off > 1e-4 {
                return Ok(Some(format!("an output differs by {off}")));
            }
        }
        let terms = self.terms.iter().zip(&other.terms);
        let far = terms.filter(|((_, a), (_, b))| !close(*b, *a)).map(|((name, a), (_, b))| format!("term '{name}' is {a}, then {b}"));
        Ok(far.into_iter().next())
    }
}

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
