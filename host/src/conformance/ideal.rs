//! Whether what is better is better: outputs that are right beside outputs that are not.

use super::rig::{Rig, evaluate, gradient};
use super::targets::{Where, scribbled};
use super::{Content, Finding, Subject};
use plugin_api::task::Target as Spec;
use plugin_api::{Kind, Outputs, Target};
use tch::{Kind as Dtype, Tensor};

/// Logits of what is right: e⁸ is large beside 1, and far from where f32 ends.
const SURE: f64 = 8.0;

/// Right outputs have a smaller loss than random ones and than those of another sample, and predictions say the same class as logits.
pub(super) fn is_better(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        let (step, state) = (rig.step(0), rig.keep()?);
        let random = rig.logits()?;
        let right = ideal(&rig, &random)?;
        let anothers = super::rig::map(&right, |level| level.roll([1], [0]));
        let elsewhere = scribbled(&rig.task, &rig.batch, Where::Everywhere);
        let mut of = |outputs: &Outputs, batch| evaluate(&mut rig.trainer, outputs, batch, &step, &state);
        let [at_random, at_right, at_anothers] = [of(&random, &rig.batch)?, of(&right, &rig.batch)?, of(&anothers, &rig.batch)?];
        // A term that does not depend on any target knows nothing of right and wrong.
        let of_others = of(&right, &elsewhere)?;
        let beyond = depend_on_more(&mut rig, &random)?;
        for (name, right) in at_right.iter().filter(|(name, _)| !beyond.contains(name)) {
            let find = |terms: &[(String, f64)]| terms.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            if find(&of_others) == Some(*right) {
                continue;
            }
            let margin = 1e-4 * right.abs().max(0.1);
            for (what, value) in [("random ones", find(&at_random)), ("those of another sample", find(&at_anothers))] {
                if value.is_some_and(|value| value < right - margin) {
                    return Err(Finding::Warning(format!(
                        "loss: term '{name}' is {right} for outputs that are exactly right, and {} for {what}: a wrong sign, axis, or class number does that",
                        value.unwrap_or_default()
                    )));
                }
            }
        }
        same_class(&rig, &random)
    })
}

/// Terms that depend on outputs without a target, of which nobody knows what is right.
pub(super) fn depend_on_more(rig: &mut Rig, outputs: &Outputs) -> Result<Vec<String>, Finding> {
    let step = rig.step(0);
    let mut found = Vec::new();
    for term in rig.loss(outputs, &step)? {
        for output in rig.trainer.outputs().iter().filter(|output| output.kind == Kind::Aux) {
            for level in outputs.get(&output.name).map_err(|e| Finding::failed(e.to_string()))? {
                if gradient(&term.value, level)?.is_some() {
                    found.push(term.name.clone());
                }
            }
        }
    }
    Ok(found)
}

/// What every output would be if it were right, in the shapes of `outputs`; outputs without a target stay as they are.
pub(super) fn ideal(rig: &Rig, outputs: &Outputs) -> Result<Outputs, Finding> {
    let mut right = Outputs::new();
    for output in rig.trainer.outputs() {
        let levels = outputs.get(&output.name).map_err(|e| Finding::failed(e.to_string()))?;
        let target = output.target.as_ref().and_then(|name| Some((rig.task.targets.get(name)?, rig.batch.targets.get(name)?)));
        for (i, level) in levels.iter().enumerate() {
            let value = target.and_then(|(spec, target)| right_level(spec, target, i, level));
            right.push(&output.name, value.filter(|value| value.size() == level.size()).unwrap_or_else(|| level.detach()));
        }
    }
    Ok(right)
}

fn right_level(spec: &Spec, target: &Target, index: usize, level: &Tensor) -> Option<Tensor> {
    let values = target.levels.get(index)?;
    let one_hot = |classes: &Tensor| level.zeros_like().scatter_value(1, classes, 1.0);
    Some(match spec.kind {
        Kind::Labels => one_hot(values) * SURE,
        Kind::Class => one_hot(&values.unsqueeze(1)) * SURE,
        Kind::Regions => (values.to_kind(Dtype::Float) * 2.0 - 1.0) * SURE,
        Kind::Regression | Kind::Aux => values.to_kind(Dtype::Float),
    })
}

/// The most likely class is the same before and after `activate`.
fn same_class(rig: &Rig, outputs: &Outputs) -> Result<(), Finding> {
    let logits = super::given::predicting(rig, outputs);
    let active = rig.trainer.activate(&logits)?;
    for output in rig.trainer.outputs().iter().filter(|output| matches!(output.kind, Kind::Labels | Kind::Class | Kind::Regions)) {
        let class = |map: &Tensor, threshold: f64| match output.kind {
            Kind::Regions => map.gt(threshold),
            _ => map.argmax(1, false),
        };
        let name = &output.name;
        let [before, after] =
            [(&logits, 0.0), (&active, 0.5)].map(|(outputs, threshold)| outputs.get(name).map(|levels| class(&levels[0], threshold)));
        if let (Ok(before), Ok(after)) = (before, after)
            && !before.equal(&after)
        {
            return Err(Finding::Warning(format!(
                "activate: the most likely class of output '{name}' is another one than that of its logits: the loss, which sees logits, trains another one \
                 than is predicted"
            )));
        }
    }
    Ok(())
}
