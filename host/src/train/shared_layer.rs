//! Gradients of single terms at the last layer that all of them share: how long they are, and whether they pull in one direction.

use super::StepError;
use super::weighting::trains;
use crate::network::{Group, Parameters};
use indexmap::IndexMap;
use plugin_api::Term;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The last layer of the trunk that trains by every term seen so far: usually its last convolution; an earlier one where a term has its own
/// way through the decoder.
#[derive(Debug)]
pub struct SharedLayer {
    /// Convolutions, from the output to the input.
    candidates: Vec<Tensor>,
}

/// Gradients of all terms of a step that train something.
#[derive(Debug)]
pub struct TermGradients(Vec<(String, Tensor)>);

/// Sums over the looks of an epoch, by pair of terms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cosines {
    sums: IndexMap<String, (f64, u64)>,
}

impl SharedLayer {
    /// Of the trunk in `parameters`.
    pub fn new(parameters: &Parameters) -> Self {
        // A convolution has sizes beyond its channels.
        let convolutions = parameters.trained().filter(|(_, p)| p.group == Group::Trunk && p.tensor.dim() > 2);
        let mut candidates: Vec<_> = convolutions.map(|(_, p)| p.tensor.shallow_clone()).collect();
        candidates.reverse();
        Self { candidates }
    }

    /// Unweighted gradients there of all `terms` that have a weight and samples. `layer` is which one it is, counted from the output; it moves on
    /// when a term has no gradient there. `scale` keeps small ones alive in float16. The graph is kept.
    pub fn gradients(&self, terms: &[Term], layer: &mut usize, scale: f64) -> Result<TermGradients, StepError> {
        let terms: Vec<&Term> = terms.iter().filter(|term| trains(term)).collect();
        if let Some(term) = terms.iter().find(|term| !term.value.requires_grad()) {
            return Err(StepError::NoGradient(term.name.clone()));
        }
        loop {
            let Some(weight) = self.candidates.get(*layer) else {
                let names: Vec<&str> = terms.iter().map(|term| term.name.as_str()).collect();
                return Err(StepError::Weighting(format!(
                    "the terms {} share no layer of the trunk, so that their gradients cannot be compared; leave one out of gradnorm with \
                     --weighting TERM=constant:1",
                    names.join(", ")
                )));
            };
            let gradients = terms.iter().map(|term| {
                let value = if scale == 1.0 { term.value.shallow_clone() } else { term.value.f_mul_scalar(scale)? };
                Ok(Tensor::f_run_backward(&[value], &[weight], true, false)?.swap_remove(0))
            });
            let gradients: Vec<Tensor> = gradients.collect::<Result<_, StepError>>()?;
            if gradients.iter().all(Tensor::defined) {
                let flat = terms.iter().zip(gradients).map(|(term, gradient)| {
                    Ok((term.name.clone(), gradient.f_to_kind(Kind::Double)?.f_flatten(0, -1)?.f_div_scalar(scale)?))
                });
                return Ok(TermGradients(flat.collect::<Result<_, StepError>>()?));
            }
            *layer += 1;
        }
    }
}

impl TermGradients {
    /// Their norms, by term.
    pub fn norms(&self) -> Result<IndexMap<String, f64>, StepError> {
        self.0.iter().map(|(name, gradient)| Ok((name.clone(), f64::try_from(gradient.f_norm()?)?))).collect()
    }
}

impl Cosines {
    /// Adds one look; `norms` are those of `gradients`.
    pub fn add(&mut self, gradients: &TermGradients, norms: &IndexMap<String, f64>) -> Result<(), StepError> {
        for (i, (first, a)) in gradients.0.iter().enumerate() {
            for (second, b) in &gradients.0[i + 1..] {
                let cosine = f64::try_from(a.f_dot(b)?)? / (norms[first] * norms[second]);
                // A gradient of nothing has no direction.
                if cosine.is_finite() {
                    let (sum, count) = self.sums.entry(format!("{first}·{second}")).or_default();
                    *sum += cosine;
                    *count += 1;
                }
            }
        }
        Ok(())
    }

    /// Means by pair, `first·second`.
    pub fn means(&self) -> IndexMap<String, f64> {
        self.sums.iter().map(|(pair, (sum, count))| (pair.clone(), sum / *count as f64)).collect()
    }
}
