//! Deep supervision: how much the levels of an output count.

use super::rig::{Kept, Rig, evaluate, gradient};
use super::{Content, Finding, Subject};
use plugin_api::Step;

/// Weights of sum 1, all of them different.
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
/// Relative to what a term is.
const TOLERANCE: f64 = 1e-3;

/// A term is the weighted sum of what it is at its levels, and a level of weight 0 trains nothing.
pub(super) fn weights(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        let (state, logits) = (rig.keep()?, rig.logits()?);
        let with = |rig: &Rig, weights: &[f64]| Step { deep_supervision_weights: weights.to_vec(), ..rig.step(0) };
        let one_hot = |level: usize| -> Vec<f64> { (0..WEIGHTS.len()).map(|i| f64::from(i == level)).collect() };
        let step = with(&rig, &WEIGHTS);
        let whole = evaluate(&mut rig.trainer, &logits, &rig.batch, &step, &state)?;
        let mut alone = Vec::new();
        for level in 0..WEIGHTS.len() {
            let step = with(&rig, &one_hot(level));
            alone.push(evaluate(&mut rig.trainer, &logits, &rig.batch, &step, &state)?);
        }
        for (name, value) in &whole {
            let of = |terms: &[(String, f64)]| terms.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            // An output with fewer levels has no term where only others count.
            let Some(parts) = alone.iter().map(|terms| of(terms)).collect::<Option<Vec<f64>>>() else { continue };
            let sum: f64 = parts.iter().zip(WEIGHTS).map(|(part, weight)| part * weight).sum();
            let scale = parts.iter().fold(value.abs().max(1e-3), |most, part| most.max(part.abs()));
            if (value - sum).abs() > TOLERANCE * scale {
                return Err(Finding::Warning(format!(
                    "loss: with weights {WEIGHTS:?} of the levels, term '{name}' is {value}, but Σ weight · term at each level alone is {sum}: levels count other \
                     than the host says; use Base::supervise or losses::deep_supervision"
                )));
            }
            // One that looks at one level whatever the weights are does so on purpose.
            let mut touched = Vec::new();
            for level in 0..WEIGHTS.len() {
                let step = with(&rig, &one_hot(level));
                touched.push(levels_of(&mut rig, &logits, &step, &state, name)?);
            }
            let on_purpose = touched.iter().all(|levels| levels.len() <= 1 && *levels == touched[0]);
            if let Some(level) = (0..WEIGHTS.len()).find(|level| touched[*level].iter().any(|other| other != level)).filter(|_| !on_purpose) {
                return Err(Finding::Warning(format!(
                    "loss: only level {level} has a weight, but term '{name}' has gradients on levels {:?}; multiply by Step::deep_supervision_weights",
                    touched[level]
                )));
            }
        }
        Ok(())
    })
}

/// Levels, of all outputs that have several, on which term `name` has a gradient.
fn levels_of(rig: &mut Rig, logits: &plugin_api::Outputs, step: &Step, state: &Kept, name: &str) -> Result<Vec<usize>, Finding> {
    state.put_back(&mut rig.trainer)?;
    let terms = rig.trainer.loss(logits, &rig.batch, step)?;
    let mut touched = Vec::new();
    for term in terms.iter().filter(|term| term.name == name) {
        for (_, levels) in logits.iter().filter(|(_, levels)| levels.len() > 1) {
            for (i, level) in levels.iter().enumerate() {
                if !touched.contains(&i)
                    && gradient(&term.value, level)?.is_some_and(|gradient| gradient.count_nonzero(None::<i64>).int64_value(&[]) > 0)
                {
                    touched.push(i);
                }
            }
        }
    }
    touched.sort_unstable();
    Ok(touched)
}
