//! Which terms train the trunk.

use super::StepError;
use super::weighting::trains;
use indexmap::IndexMap;
use plugin_api::{Features, Term};
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
