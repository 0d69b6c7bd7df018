//! Evaluation: what validation and prediction ask for, which must be the same again in another program.

use super::given::{Given, apart, predicting};
use super::rig::Rig;
use super::{Content, Finding, Subject, must};
use crate::model::Probe;
use crate::model::keeps::Trained;
use crate::plugin::Observation;
use plugin_api::{Features, Outputs, Pass, Phase, Step, Task};
use tch::Tensor;

/// A trainer that is made as prediction makes it, from the weights alone.
pub(super) fn reproduced(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        rig.train(0..3)?;
        let sizes = rig.map_sizes();
        let trained = Probe::of(&rig.trainer, &rig.task, &sizes)?;
        // Of an exported model, nobody knows how it was trained.
        let exported = Task { batch_size: 1, batch_dice: false, epochs: 1, iterations: 1, seed: rig.task.seed + 1, ..rig.task.clone() };
        for (task, how) in [(&rig.task, "made anew"), (&exported, "made without knowing epochs, batch size and seed of the training")] {
            let told = Trained { plugin: &subject.plugin, task, options: &subject.options, parameters: &rig.parameters };
            let (fresh, _parameters) = told.copy(tch::Device::Cpu)?;
            if let Some(difference) = Probe::of(&fresh, task, &sizes)?.difference(&trained) {
                return Err(Finding::failed(format!(
                    "a trainer {how} with the same parameters and buffers, as prediction has it, predicts something else than the one that was trained: \
                     {difference}; keep what decides predictions in parameters or buffers"
                )));
            }
        }
        Ok(())
    })
}

/// Evaluation draws nothing, sees every sample by itself, and leaves nothing behind.
pub(super) fn evaluation(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        let (outputs, predictions) = without_draws(&rig)?;
        alone(&rig, &outputs, &predictions)?;
        leaves_nothing(&mut rig)
    })?;
    goes_on(subject)
}

/// The heads on `features` in evaluation.
fn evaluated(rig: &Rig, features: &Features, seed: u64) -> Result<Outputs, Finding> {
    let _no_grad = tch::no_grad_guard();
    Ok(rig.trainer.forward(features, &Pass { training: false, ..rig.pass() }, seed)?)
}

/// Logits and predictions, which no seed changes.
fn without_draws(rig: &Rig) -> Result<(Outputs, Outputs), Finding> {
    rig.trainer.observe();
    let outputs = evaluated(rig, &rig.features, 1)?;
    let predictions = rig.trainer.activate(&predicting(rig, &outputs))?;
    if let Some(call) = rig.trainer.observe().into_iter().find(Observation::drew) {
        return Err(Finding::failed(format!(
            "{} draws random numbers in evaluation: predictions are noise; drop nothing where Pass::training is false",
            call.call
        )));
    }
    let again = evaluated(rig, &rig.features, 2)?;
    must!(apart(&outputs, &again)?.is_none(), "forward gives something else in evaluation the second time");
    Ok((outputs, predictions))
}

/// Every sample in a batch of its own.
fn alone(rig: &Rig, outputs: &Outputs, predictions: &Outputs) -> Result<(), Finding> {
    for sample in 0..rig.task.batch_size {
        let one = |map: &Tensor| map.narrow(0, sample, 1);
        let all = |maps: &[Tensor]| maps.iter().map(one).collect::<Vec<_>>();
        let Features { decoder, bottleneck, skips } = &rig.features;
        let features = Features { decoder: all(decoder), bottleneck: one(bottleneck), skips: all(skips) };
        let found = predicting(rig, &evaluated(rig, &features, 1)?);
        let of_batch = |outputs: &Outputs| super::rig::map(outputs, one);
        if let Some(off) = apart(&of_batch(&predicting(rig, outputs)), &found)? {
            return Err(Finding::failed(format!(
                "forward: in evaluation, sample {sample} alone differs by {off:.1e} from what it is in a batch: prediction has other batches than training \
                 (statistics of the batch, or a softmax over samples)"
            )));
        }
        let active = rig.trainer.activate(&found)?;
        if let Some(off) = apart(&of_batch(predictions), &active)? {
            return Err(Finding::failed(format!("activate: sample {sample} alone differs by {off:.1e} from what it is in a batch")));
        }
    }
    Ok(())
}

/// Parameters, buffers and state, after all that validation calls.
fn leaves_nothing(rig: &mut Rig) -> Result<(), Finding> {
    let before: Vec<Tensor> = rig.parameters.iter().map(|(_, parameter)| parameter.tensor.detach().copy()).collect();
    let state = rig.trainer.save_state()?;
    validate(rig)?;
    for ((name, parameter), before) in rig.parameters.iter().zip(&before) {
        must!(
            parameter.tensor.detach().equal(before),
            "validation changes '{}': move it in training only (Pass::training, Step::phase)",
            name.trim_start_matches("plugin.")
        );
    }
    must!(rig.trainer.save_state()? == state, "validation changes what save_state returns: change it in training only (Step::phase)");
    Ok(())
}

fn validate(rig: &mut Rig) -> Result<(), Finding> {
    let _no_grad = tch::no_grad_guard();
    let step = Step { phase: Phase::Validate, ..rig.step(0) };
    let outputs = evaluated(rig, &rig.features, step.seed)?;
    rig.loss(&outputs, &step)?;
    let predictions = predicting(rig, &outputs);
    rig.trainer.activate(&predictions)?;
    rig.trainer.metrics(&outputs, &rig.batch, &step)?;
    Ok(())
}

/// Training goes on after validation as if there had been none.
fn goes_on(subject: &Subject) -> Result<(), Finding> {
    let given = |validated: bool| -> Result<Given, Finding> {
        let mut rig = subject.usual()?;
        rig.train(0..2)?;
        if validated {
            validate(&mut rig)?;
        }
        Given::of(&mut rig, 2)
    };
    match given(false)?.difference(&given(true)?)? {
        Some(difference) => Err(Finding::failed(format!("a step without and with a validation before it: {difference}"))),
        None => Ok(()),
    }
}
