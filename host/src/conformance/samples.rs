//! Samples of a batch: each one counts, and by itself.

use super::ideal::{depend_on_more, ideal};
use super::numbers::values;
use super::rig::{Rig, evaluate, gradient, levels, map};
use super::targets::samples;
use super::{Content, Finding, Subject};
use plugin_api::{Kind, Term, Weight};
use tch::{Kind as Dtype, Tensor};

/// Relative to what a term is.
const TOLERANCE: f64 = 1e-2;

/// The gradient of every sample's outputs, and terms of a batch beside those of its samples.
pub(super) fn each_counts(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        has_gradient(&mut rig)?;
        // Over the batch, overlaps are no means of those of samples; neither are means whose weights differ.
        let judged = !rig.task.batch_dice && rig.task.targets.values().all(|target| target.weighs.is_none());
        if judged { is_the_mean(&mut rig) } else { Ok(()) }
    })
}

fn has_gradient(rig: &mut Rig) -> Result<(), Finding> {
    let (step, logits) = (rig.step(0), rig.logits()?);
    let terms = rig.loss(&logits, &step)?;
    let counts = |term: &&Term| !matches!(term.weight, Weight::Number(0.0)) && term.value.requires_grad();
    let terms: Vec<&Term> = terms.iter().filter(counts).collect();
    if terms.iter().any(|term| term.samples.is_some_and(|samples| 0 < samples && samples < rig.problem.batch as u64)) {
        return Ok(());
    }
    for output in rig.trainer.outputs().iter().filter(|output| output.kind != Kind::Aux) {
        let mut by_sample = Tensor::zeros(rig.task.batch_size, (Dtype::Double, tch::Device::Cpu));
        for level in logits.get(&output.name).map_err(|e| Finding::failed(e.to_string()))? {
            for term in &terms {
                if let Some(gradient) = gradient(&term.value, level)? {
                    by_sample += gradient.abs().flatten(1, -1).sum_dim_intlist(1, false, Dtype::Double);
                }
            }
        }
        let by_sample: Vec<f64> = Vec::try_from(by_sample)?;
        if let (Some(silent), true) = (by_sample.iter().position(|sum| *sum == 0.0), by_sample.iter().any(|sum| *sum > 0.0)) {
            return Err(Finding::failed(format!(
                "loss: output '{}' of sample {silent} gets no gradient, although its target is there: only some samples of a batch are looked at. Give \
                 `samples` if that is meant",
                output.name
            )));
        }
    }
    Ok(())
}

/// Terms of two samples beside the mean of those of each. What cannot be asked about a single sample is not judged.
fn is_the_mean(rig: &mut Rig) -> Result<(), Finding> {
    let (step, state) = (rig.step(0), rig.keep()?);
    // Outputs that know something of their own sample: random ones go with any target equally badly.
    let random = rig.logits()?;
    let right = ideal(rig, &random)?;
    let mut noise = levels(&random);
    let logits = map(&right, |level| (level * 0.25 + noise.next().expect("as many levels")).detach());
    rig.trainer.observe();
    let whole = evaluate(&mut rig.trainer, &logits, &rig.batch, &step, &state)?;
    // What is drawn for two is not what is drawn for one.
    if rig.trainer.observe().iter().any(crate::plugin::Observation::drew) {
        return Ok(());
    }
    let beyond = depend_on_more(rig, &random)?;
    let mut sums: Vec<f64> = vec![0.0; whole.len()];
    for sample in 0..rig.task.batch_size {
        // Outputs without a target may have any shape.
        let of_samples = |level: &Tensor| level.size().first() == Some(&rig.task.batch_size);
        let one = map(&logits, |level| if of_samples(level) { level.narrow(0, sample, 1) } else { level.shallow_clone() });
        state.put_back(&mut rig.trainer)?;
        let Ok(terms) = rig.trainer.loss(&one, &samples(&rig.batch, &[sample]), &step) else { return Ok(()) };
        let alone = values(&terms)?;
        if alone.len() != whole.len() {
            return Ok(());
        }
        sums.iter_mut().zip(alone).for_each(|(sum, (_, value))| *sum += value);
    }
    for ((name, value), sum) in whole.iter().zip(sums).filter(|((name, _), _)| !beyond.contains(name)) {
        let mean = sum / rig.task.batch_size as f64;
        if (value - mean).abs() > TOLERANCE * mean.abs().max(value.abs()).max(1e-2) {
            return Err(Finding::Warning(format!(
                "loss: term '{name}' is {value} for {} samples, and {mean} on the mean of each alone: samples are mixed, as (B, …) − (B, 1, …) mixes them; a \
                 sum over the batch, or a loss of pairs, does the same on purpose",
                rig.task.batch_size
            )));
        }
    }
    Ok(())
}
