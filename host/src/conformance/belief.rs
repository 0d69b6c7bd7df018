//! What targets say nothing about must teach nothing: where they are not valid, of weight 0, ignored, or absent.

use super::numbers::values;
use super::rig::{Rig, evaluate, gradient};
use super::targets::{Where, scribbled};
use super::{Content, Finding, Problem, Subject, must};
use plugin_api::{Kind, Outputs};
use tch::Tensor;

/// A gradient where nothing may be believed is none below this share of the largest.
const NO_GRADIENT: f64 = 1e-5;

/// Other values of targets where they are not valid, or of weight 0, and gradients there.
pub(super) fn unbelieved(subject: &Subject) -> Result<(), Finding> {
    for content in [Content::HalfInvalid, Content::HalfWeightless] {
        subject.in_every_world(content, |mut rig| {
            same_for_others(
                &mut rig,
                "where it is not valid, or its weight is 0; take means by Level::mean, or multiply by mask and weight map",
            )
        })?;
    }
    let mut warning = Ok(());
    for content in [Content::HalfInvalid, Content::HalfWeightless, Content::HalfIgnored] {
        match subject.in_every_world_like(Problem { wide: true, ..Problem::with(content) }, no_gradient_far_inside) {
            Ok(()) | Err(Finding::Skipped(_)) => {}
            Err(Finding::Warning(words)) => warning = Err(Finding::Warning(words)),
            Err(other) => return Err(other),
        }
    }
    warning
}

/// Other values of targets that cases lack.
pub(super) fn absent(subject: &Subject) -> Result<(), Finding> {
    for content in [Content::SomeMissing, Content::AllMissing] {
        subject.in_every_world(content, |mut rig| {
            same_for_others(&mut rig, "of cases that lack it, which `presence` says; Level::new, and so Base, leaves such cases out")
        })?;
    }
    Ok(())
}

fn same_for_others(rig: &mut Rig, place: &str) -> Result<(), Finding> {
    let (step, state) = (rig.step(0), rig.keep()?);
    let logits = rig.logits()?;
    let others = scribbled(&rig.task, &rig.batch, Where::Unbelieved);
    let expected = evaluate(&mut rig.trainer, &logits, &rig.batch, &step, &state)?;
    let found = evaluate(&mut rig.trainer, &logits, &others, &step, &state)?;
    must!(found.len() == expected.len(), "loss has other terms for other values of a target {place}");
    let judged = judged_by_weight(rig, &logits)?;
    for ((name, expected), (_, found)) in
        expected.iter().zip(&found).filter(|((name, _), _)| judged.as_ref().is_none_or(|judged| judged.contains(name)))
    {
        let same = (found - expected).abs() <= 1e-5 * expected.abs().max(found.abs()) + 1e-7;
        must!(same, "loss: term '{name}' is {expected}, and {found} for other values of a target {place}");
    }
    Ok(())
}

/// Where weights are 0, the terms whose outputs all have a weighed target: other terms may read its labels, which are right there. `None` for all.
fn judged_by_weight(rig: &mut Rig, logits: &Outputs) -> Result<Option<Vec<String>>, Finding> {
    if rig.problem.content != Content::HalfWeightless {
        return Ok(None);
    }
    let step = rig.step(0);
    let mut judged = Vec::new();
    for term in rig.loss(logits, &step)? {
        let mut all = true;
        for output in rig.trainer.outputs() {
            let weighed = rig.task.targets.values().any(|map| map.weighs.is_some() && map.weighs == output.target);
            for level in logits.get(&output.name).map_err(|e| Finding::failed(e.to_string()))?.iter().filter(|_| !weighed) {
                all &= gradient(&term.value, level)?.is_none();
            }
        }
        if all {
            judged.push(term.name);
        }
    }
    Ok(Some(judged))
}

/// Gradients of the finest levels in the eighth of x that is farthest from what may be believed. Terms that do not depend on any target may
/// look where they like.
fn no_gradient_far_inside(mut rig: Rig) -> Result<(), Finding> {
    let (step, state) = (rig.step(0), rig.keep()?);
    let logits = rig.logits()?;
    let elsewhere = scribbled(&rig.task, &rig.batch, Where::Everywhere);
    let others = evaluate(&mut rig.trainer, &logits, &elsewhere, &step, &state)?;
    state.put_back(&mut rig.trainer)?;
    let terms = rig.trainer.loss(&logits, &rig.batch, &step)?;
    for (term, (name, value)) in terms.iter().zip(values(&terms)?) {
        if others.iter().any(|(other, found)| *other == name && *found == value) {
            continue;
        }
        for output in rig.trainer.outputs().iter().filter(|output| !matches!(output.kind, Kind::Class | Kind::Aux)) {
            // Where targets of its own may be believed, the plugin says.
            let made = |target: &String| rig.transform.as_ref().is_some_and(|transform| transform.kinds().contains_key(target));
            if output.target.as_ref().is_some_and(made) {
                continue;
            }
            let weighed = rig.task.targets.iter().any(|(name, map)| map.weighs.is_some() && map.weighs == output.target && !made(name));
            if rig.problem.content == Content::HalfWeightless && !weighed {
                continue;
            }
            let leaf = &logits.get(&output.name).map_err(|e| Finding::failed(e.to_string()))?[0];
            let Some(gradient) = gradient(&term.value, leaf)? else { continue };
            // Farthest from what may be believed, which lies at the smaller x of even samples and at the larger x of odd ones.
            let width = gradient.size()[gradient.dim() - 1];
            let far_of = |sample: i64| gradient.select(0, sample).narrow(-1, if sample % 2 == 0 { width * 7 / 8 } else { 0 }, width / 8);
            let most = |map: Tensor| f64::try_from(map.abs().max());
            let far =
                (0..gradient.size()[0]).map(|sample| most(far_of(sample))).try_fold(0.0, |far: f64, one| one.map(|one| far.max(one)))?;
            let anywhere = most(gradient.shallow_clone())?;
            if far > NO_GRADIENT * anywhere {
                return Err(Finding::Warning(format!(
                    "loss: term '{name}' has a gradient on output '{}' far inside of what may not be believed, where nothing is known: mask it (Level::mean, \
                     Level::mask)",
                    output.name
                )));
            }
        }
    }
    Ok(())
}
