//! What watchdogs need of a step: which terms reach the trunk, buffers as they were, the batch that broke it.

use super::StepError;
use super::weighting::trains;
use crate::network::Parameters;
use indexmap::IndexMap;
use plugin_api::{Batch, Features, Term};
use std::path::Path;
use tch::Tensor;

/// Steps in which a term may reach the trunk before it is called dead: a batch may lack what it is about.
const LOOKS: u32 = 5;

/// Looks whether gradients of terms reach the trunk.
#[derive(Debug, Default)]
pub struct Reach {
    /// Looks so far at every term that trains; those that are settled have [`LOOKS`].
    looks: IndexMap<String, u32>,
    /// The same at terms that say that they are about no sample.
    about_nothing: IndexMap<String, u32>,
}

impl Reach {
    /// Looks at the terms that are not settled yet, and returns those that have reached nothing in several steps. Costs one backward
    /// pass through their heads in the first step, and nothing later.
    pub fn dead(&mut self, terms: &[Term], features: &Features) -> Result<Vec<String>, StepError> {
        let mut dead = Vec::new();
        for term in terms.iter().filter(|term| trains(term)) {
            if look(&mut self.looks, term, features)? == Some(false) && self.looks[&term.name] == LOOKS {
                dead.push(term.name.clone());
            }
        }
        Ok(dead)
    }

    /// Terms that are about no sample by what they say, but reach the trunk.
    pub fn about_nothing(&mut self, terms: &[Term], features: &Features) -> Result<Vec<String>, StepError> {
        let mut found = Vec::new();
        for term in terms.iter().filter(|term| term.samples == Some(0) && term.value.requires_grad()) {
            if look(&mut self.about_nothing, term, features)? == Some(true) {
                found.push(term.name.clone());
            }
        }
        Ok(found)
    }
}

/// Whether the trunk gets a gradient of `term`; `None` once that is settled.
fn look(looks: &mut IndexMap<String, u32>, term: &Term, features: &Features) -> Result<Option<bool>, StepError> {
    let looks = looks.entry(term.name.clone()).or_default();
    if *looks == LOOKS {
        return Ok(None);
    }
    *looks += 1;
    let reached = reaches(&term.value, features)?;
    if reached {
        *looks = LOOKS;
    }
    Ok(Some(reached))
}

/// Whether `value` has a gradient that is not zero on any feature map. The finest map comes first: nearly always it has one, and
/// nothing behind it need be computed.
fn reaches(value: &Tensor, features: &Features) -> Result<bool, StepError> {
    for map in features.decoder.iter().chain([&features.bottleneck]).chain(&features.skips).filter(|map| map.requires_grad()) {
        let gradient = Tensor::f_run_backward(&[value], &[map], true, false)?.swap_remove(0);
        if gradient.defined() && f64::try_from(gradient.f_count_nonzero(None)?)? > 0.0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies of buffers: a forward pass over a broken batch spoils running statistics before anything is noticed.
#[derive(Debug)]
pub struct KeptBuffers(Vec<(Tensor, Tensor)>);

impl KeptBuffers {
    /// Copies them.
    pub fn of(parameters: &Parameters) -> Self {
        Self(parameters.buffers().map(|buffer| (buffer.shallow_clone(), buffer.detach().copy())).collect())
    }

    /// Puts them back.
    pub fn restore(self) -> Result<(), StepError> {
        let _no_grad = tch::no_grad_guard();
        self.0.into_iter().try_for_each(|(mut buffer, copy)| Ok(buffer.f_copy_(&copy)?))
    }
}

/// Writes `batch` to `path` (safetensors: `image`, `<target>.<level>`), for a look at what broke a step.
pub fn dump(path: &Path, batch: &Batch) -> Result<(), StepError> {
    let mut tensors = vec![("image".to_owned(), batch.image.shallow_clone())];
    for (name, target) in &batch.targets {
        tensors.extend(target.levels.iter().enumerate().map(|(level, tensor)| (format!("{name}.{level}"), tensor.shallow_clone())));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).map_err(tch::TchError::from)?;
    Tensor::write_safetensors(&tensors, unfinished.path())?;
    unfinished.persist(path).map_err(|error| tch::TchError::from(error.error))?;
    Ok(())
}
