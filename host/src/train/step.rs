//! One optimiser step: batches in, moved weights out, or a reason why not.

use super::kept_buffers::KeptBuffers;
use super::learner::{Failure, Learner, StepReport};
use super::terms::{TermSums, total};
use super::weighting::SeenSums;
use super::{Error, StepError};
use crate::config::OnNonfinite;
use crate::network::Precision;
use crate::shim::mix;
use crate::weightings::Seen;
use plugin_api::{Batch, Epoch, Outputs, Phase, Step, Target, Term, Weight};
use tch::Tensor;

/// After so many skipped steps in a row there is nothing to hope for.
const MOST_SKIPS: u64 = 20;

/// What the batches of a step say of its terms.
#[derive(Default)]
struct Looks {
    sums: TermSums,
    seen: SeenSums,
}

/// Why a step cannot be taken, and on which cases.
struct Broken {
    cases: Vec<String>,
    source: StepError,
}

impl Learner<'_> {
    /// One optimiser step, from as many batches as the recipe accumulates. Numbers that run out of range leave weights and buffers as they were: in
    /// float16 they first mean that the loss was scaled too much, and then are told of.
    pub(super) fn step(&mut self, batches: &[Batch]) -> Result<StepReport, Error> {
        let iteration = self.progress.iteration;
        let failure = self.step_at(iteration, batches)?;
        self.progress.iteration += 1;
        Ok(StepReport { failure })
    }

    fn step_at(&mut self, iteration: u64, batches: &[Batch]) -> Result<Option<Failure>, Error> {
        let half = self.model.precision == Precision::Fp16;
        let skips = self.on_nonfinite == OnNonfinite::Skip;
        let buffers = (half || skips).then(|| KeptBuffers::of(&self.model.parameters));
        self.optimiser.clear_gradients().map_err(Error::Model)?;
        let mut looks = Looks::default();
        let backward = batches.iter().zip(0..).try_for_each(|(batch, micro_step)| {
            let step = self.step_info(Phase::Train, iteration, micro_step);
            self.backward(batch, &step, &mut looks).map_err(|source| Broken { cases: batch.cases.clone(), source })
        });
        let broken = match backward {
            Ok(()) => self.update().err().map(|source| Broken { cases: cases_of(batches), source }),
            Err(broken) => Some(broken),
        };
        let Some(Broken { cases, source }) = broken else {
            self.progress.sums.extend(&looks.sums);
            let seen = looks.seen.finish();
            // In float16 single gradients may overflow although their sum does not: such a look says nothing.
            if seen.iter().all(|seen| seen.loss.is_finite() && seen.norm.is_finite()) {
                self.progress.weighting.after_step(self.recipe.weighting.strategy, &seen);
            }
            self.progress.skipped_in_a_row = 0;
            return Ok(None);
        };
        let epoch = self.progress.epoch;
        if !source.is_nonfinite() {
            return Err(Failure { epoch, iteration, cases, source, ends: true }.into());
        }
        if let Some(buffers) = buffers {
            buffers.restore().map_err(Error::Model)?;
        }
        // Not worth a word: it is how the scale is found.
        if half && self.progress.loss_scale.overflowed() {
            return Ok(None);
        }
        if skips {
            self.progress.skipped += 1;
            self.progress.skipped_in_a_row += 1;
        }
        let ends = !skips || self.progress.skipped_in_a_row >= MOST_SKIPS;
        Ok(Some(Failure { epoch, iteration, cases, source, ends }))
    }

    /// Whether some sample of `batch` has the target of some output.
    fn has_target(&self, batch: &Batch) -> Result<bool, StepError> {
        let names = self.model.trainer.outputs().iter().filter_map(|output| output.target.as_ref());
        for target in names.filter_map(|name| batch.targets.get(name)) {
            if target.presence.f_any()?.int64_value(&[]) != 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what learned weights begin with.
    fn note_first_weights(&mut self, terms: &[Term]) -> Result<(), StepError> {
        for term in terms {
            if let Weight::Learned(weight) = &term.weight
                && !self.progress.first_weights.contains_key(&term.name)
            {
                self.progress.first_weights.insert(term.name.clone(), f64::try_from(weight)?);
            }
        }
        Ok(())
    }

    /// Gradients of one batch's loss, added to those that are there.
    fn backward(&mut self, batch: &Batch, step: &Step, looks: &mut Looks) -> Result<(), StepError> {
        let levels = supervised_levels(step);
        let (outputs, features) = self.model.forward_with_features(&batch.image, levels, true, step.seed)?;
        let mut terms = self.model.trainer.loss(&outputs, batch, step)?;
        if !self.names_checked {
            self.check_names(&terms, &outputs, batch, step)?;
            self.names_checked = true;
        }
        if terms.is_empty() && self.has_target(batch)? {
            looks.sums.add_silent();
        }
        self.look_at_terms(&terms, step, &mut looks.seen)?;
        self.note_first_weights(&terms)?;
        self.weigh(&mut terms)?;
        for term in self.reach.dead(&terms, &features)? {
            self.warn(&format!(
                "term '{term}' has no gradient on the trunk: its head works on detached features, or its loss is flat; it trains nothing there"
            ));
        }
        for term in self.reach.about_nothing(&terms, &features)? {
            self.warn(&format!(
                "term '{term}' says that it is about no sample (samples = 0), but it trains the trunk: weightings and watchdogs leave it out; say how \
                 many samples it is about, in C a negative number for all"
            ));
        }
        drop(features);
        if let Some(loss) = total(&terms)? {
            let factor = self.loss_factor() / self.recipe.common.accumulate as f64;
            let loss = if factor == 1.0 { loss } else { loss.f_mul_scalar(factor)? };
            loss.f_backward()?;
        }
        looks.sums.add(&terms, batch.cases.len())
    }

    /// Refuses schedules of terms that do not exist, by the `terms` of the first batch. Where cases lack targets, their terms are not among
    /// these: then by those of another trainer, on the same batch as if nothing lacked.
    fn check_names(&mut self, terms: &[Term], outputs: &Outputs, batch: &Batch, step: &Step) -> Result<(), StepError> {
        let weighting = &self.recipe.weighting;
        let names = |terms: &[Term]| terms.iter().map(|term| term.name.clone()).collect::<Vec<_>>();
        let mut known = names(terms);
        let checked = weighting.check_names(known.iter().map(String::as_str));
        if checked.is_ok() || !self.task.targets.values().any(|target| target.optional) {
            return checked;
        }
        let mut detached = Outputs::new();
        for (name, levels) in outputs.iter() {
            levels.iter().for_each(|level| detached.push(name, level.detach().set_requires_grad(true)));
        }
        let (mut trainer, _parameters) = self.model.another_trainer()?;
        let complete = with_all_targets(batch)?;
        let began = trainer.epoch_start(&Epoch { epoch: step.epoch, epochs: self.task.epochs });
        match began.and_then(|()| trainer.loss_of_any_kind(&detached, &complete, step)) {
            Ok(terms) => {
                known.extend(names(&terms));
                weighting.check_names(known.iter().map(String::as_str))
            }
            Err(error) => {
                self.warn(&format!(
                    "--weighting: the names of terms cannot be checked, since cases lack targets, and with all of them: {error}"
                ));
                Ok(())
            }
        }
    }

    /// Gives terms the weights of the recipe.
    pub(super) fn weigh(&self, terms: &mut [Term]) -> Result<(), StepError> {
        self.recipe.weighting.apply(terms, &self.progress.weighting, self.progress.epoch, self.task.epochs)
    }

    /// What the weighting and the report of conflicts want to know of terms as the plugin gives them.
    fn look_at_terms(&mut self, terms: &[Term], step: &Step, seen: &mut SeenSums) -> Result<(), StepError> {
        let weighting = &self.recipe.weighting;
        let every = self.conflicts;
        let compare = terms.len() > 1 && step.micro_step == 0 && every > 0 && step.iteration.is_multiple_of(every);
        let gradients = match compare || weighting.strategy.looks_at_gradients() {
            true => {
                let factor = self.loss_factor();
                match self.shared.gradients(terms, &mut self.progress.weighting.shared_layer, factor) {
                    // A report is not worth a training.
                    Err(StepError::Weighting(reason)) if !weighting.strategy.looks_at_gradients() => {
                        self.progress.weighting.shared_layer = 0;
                        self.warn(&format!("--conflicts: {reason}"));
                        None
                    }
                    looked => Some(looked?),
                }
            }
            false => None,
        };
        let weighting = &self.recipe.weighting;
        let norms = gradients.as_ref().map(|gradients| gradients.norms()).transpose()?.unwrap_or_default();
        if let Some(gradients) = gradients.filter(|_| compare) {
            self.progress.cosines.add(&gradients, &norms)?;
        }
        for term in terms {
            if let Some(given) = weighting.balances(term)? {
                let loss = weighting.above_lowest(term)?;
                let norm = norms.get(&term.name).copied().unwrap_or(0.0);
                seen.add(Seen { name: term.name.clone(), given, loss, norm });
            }
        }
        Ok(())
    }

    fn update(&mut self) -> Result<(), StepError> {
        let norm = self.optimiser.clip_gradients(self.loss_factor())?;
        self.optimiser.step(self.learning_rate())?;
        if let Some(average) = &self.average {
            average.update(self.progress.updates == 0)?;
        }
        if self.model.precision == Precision::Fp16 {
            self.progress.loss_scale.succeeded();
        }
        self.progress.updates += 1;
        self.progress.gradient_norms += norm;
        Ok(())
    }

    /// Factor of the loss: 1 but in float16.
    fn loss_factor(&self) -> f64 {
        if self.model.precision == Precision::Fp16 { self.progress.loss_scale.factor() } else { 1.0 }
    }

    pub(super) fn step_info(&self, phase: Phase, iteration: u64, micro_step: u64) -> Step {
        let epoch = self.progress.epoch;
        Step {
            epoch,
            iteration,
            micro_step,
            seed: mix(&[self.task.seed, epoch, iteration, phase as u64, micro_step]),
            phase,
            deep_supervision_weights: self.level_weights.clone(),
        }
    }
}

/// `batch` as if all cases had all targets.
fn with_all_targets(batch: &Batch) -> Result<Batch, StepError> {
    let targets = batch.targets.iter().map(|(name, target)| {
        let levels = target.levels.iter().map(Tensor::shallow_clone).collect();
        let target = Target { levels, valid: Vec::new(), presence: target.presence.f_ones_like()? };
        Ok((name.clone(), target))
    });
    let targets = targets.collect::<Result<_, StepError>>()?;
    Ok(Batch { image: batch.image.shallow_clone(), cases: batch.cases.clone(), targets })
}

/// Levels that deep supervision gives a weight: the heads of the others need not be computed.
pub(super) fn supervised_levels(step: &Step) -> usize {
    step.deep_supervision_weights.iter().filter(|weight| **weight != 0.0).count()
}

fn cases_of(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.cases.iter().cloned()).collect()
}
