//! Gradients: that they get everywhere, and that they are right.

use super::rig::{Rig, levels, map};
use super::{Content, Finding, Problem, Subject, must};
use crate::train::total;
use plugin_api::{Outputs, Step, Weight};
use tch::{Kind as Dtype, Tensor};

/// Every parameter, and the maps of the trunk.
pub(super) fn reach(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let step = rig.step(0);
    let terms = rig.whole_step(&step)?;
    let resting: Vec<&str> =
        terms.iter().filter(|term| matches!(term.weight, Weight::Number(0.0))).map(|term| term.name.as_str()).collect();
    let Some(loss) = total(&terms)? else { return Err(Finding::Skipped("all terms have weight 0".to_owned())) };
    loss.f_backward()?;
    let moved = |tensor: &Tensor| -> Result<bool, tch::TchError> {
        let gradient = tensor.grad();
        Ok(gradient.defined() && f64::try_from(gradient.f_abs()?.f_sum(Dtype::Double)?)? != 0.0)
    };
    let mut still = Vec::new();
    for (name, parameter) in rig.trained() {
        if !moved(parameter)? {
            still.push(name.to_owned());
        }
    }
    if !still.is_empty() {
        let message = format!("no gradient reaches {}", still.join(", "));
        return Err(if resting.is_empty() {
            Finding::failed(format!("{message}: it is never trained; make it a buffer, or use it"))
        } else {
            Finding::Warning(format!("{message}; terms of weight 0: {}", resting.join(", ")))
        });
    }
    let features = &rig.features;
    for map in features.decoder.iter().chain(&features.skips).chain([&features.bottleneck]) {
        if moved(map)? {
            return Ok(());
        }
    }
    Err(Finding::failed("no gradient reaches the trunk: the heads work on detached features"))
}

/// What terms come to: one number, Σ value, without weights, which may change from call to call, and whether all are in f64.
fn sum_of_values(rig: &mut Rig, outputs: &Outputs, step: &Step, state: &[u8]) -> Result<Option<(Tensor, bool)>, Finding> {
    rig.trainer.load_state(state)?;
    let mut sum: Option<(Tensor, bool)> = None;
    for term in rig.trainer.loss_of_any_kind(outputs, &rig.batch, step)? {
        must!(term.value.dim() == 0, "term '{}' has shape {:?}; expected a scalar", term.name, term.value.size());
        let exact = term.value.kind() == Dtype::Double;
        sum = Some(match sum {
            Some((sum, all_exact)) => (sum.f_add(&term.value)?, exact && all_exact),
            None => (term.value, exact),
        });
    }
    Ok(sum)
}

/// Directional derivatives against central differences. A loss that turns its outputs into f32 is compared as well as f32 allows.
pub(super) fn check(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.rig(Problem { dims: 3, levels: 1, batch: 2, content: Content::Whole })?;
    let (step, state) = (rig.step(0), rig.trainer.save_state()?);
    let start = map(&rig.logits()?, |level| level.detach().to_kind(Dtype::Double));
    for direction in 0..4 {
        tch::manual_seed(100 + direction);
        let leaves = map(&start, |level| level.detach().copy().set_requires_grad(true));
        let Some((loss, exact)) = sum_of_values(&mut rig, &leaves, &step, &state)? else { break };
        if !loss.requires_grad() {
            return Err(Finding::failed("the loss has no graph to its outputs: nothing can be learned from it"));
        }
        loss.f_backward()?;
        let gradients: Vec<Tensor> =
            levels(&leaves).map(|leaf| if leaf.grad().defined() { leaf.grad().copy() } else { leaf.detach().zeros_like() }).collect();
        // The first direction is that of the gradient itself, in which a difference is largest; the others are random.
        let along: Vec<Tensor> = match direction {
            0 => gradients.iter().map(|gradient| gradient / gradient.norm().clamp_min(1e-30)).collect(),
            _ => gradients.iter().map(|gradient| gradient.randn_like() / (gradient.numel() as f64).sqrt()).collect(),
        };
        let predicted: f64 =
            gradients.iter().zip(&along).map(|(gradient, along)| (gradient * along).sum(Dtype::Double).double_value(&[])).sum();
        let (distance, relative, absolute) = if exact { (1e-5, 1e-4, 1e-8) } else { (3e-2, 3e-2, 3e-5) };
        let mut at = |offset: f64| -> Result<f64, Finding> {
            let mut shifts = along.iter();
            let moved = map(&start, |level| level + shifts.next().map_or_else(|| level.zeros_like(), |shift| shift * offset));
            let _no_graph = tch::no_grad_guard();
            let value = sum_of_values(&mut rig, &moved, &step, &state)?;
            Ok(value.map_or(0.0, |(value, _)| value.double_value(&[])))
        };
        let measured = (at(distance)? - at(-distance)?) / (2.0 * distance);
        let allowed = absolute + relative * predicted.abs().max(measured.abs());
        // NaN is no agreement.
        if (measured - predicted).abs().partial_cmp(&allowed).is_none_or(std::cmp::Ordering::is_gt) {
            return Err(Finding::failed(format!(
                "the derivative in direction {direction} is {predicted:.6e} by the gradient, {measured:.6e} by differences"
            )));
        }
    }
    Ok(())
}
