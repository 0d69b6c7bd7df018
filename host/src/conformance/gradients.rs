//! Gradients: that they get everywhere, and that they are right.

use super::rig::{Kept, Rig, gradient, levels, map};
use super::{Content, Finding, Problem, Subject, World, must};
use crate::train::total;
use plugin_api::extensions::loss_with_grad;
use plugin_api::{Outputs, Step, Term, Weight};
use tch::{Kind as Dtype, Tensor};

/// Directions of [`check`].
const DIRECTIONS: i64 = 3;

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

/// Values of the terms by name, at `outputs`, which may be in f64.
fn terms_at(rig: &mut Rig, outputs: &Outputs, step: &Step, state: &Kept) -> Result<Vec<(String, Tensor)>, Finding> {
    state.put_back(&mut rig.trainer)?;
    let terms = rig.trainer.loss_of_any_kind(outputs, &rig.batch, step)?;
    for term in &terms {
        must!(term.value.dim() == 0, "term '{}' has shape {:?}; expected a scalar", term.name, term.value.size());
    }
    Ok(terms.into_iter().map(|term| (term.name, term.value)).collect())
}

/// Directional derivatives of every term, at all levels, against central differences. A loss that turns its outputs into f32 is compared as
/// well as f32 allows. Gradients that autograd made can only differ where a part is detached, which may be meant; those that the plugin
/// computes by hand must be right.
pub(super) fn check(subject: &Subject) -> Result<(), Finding> {
    let by_hand = subject.plugin.extensions().contains(&loss_with_grad::ID);
    for (dims, content, world) in [(3, Content::Whole, World::Usual), (2, Content::HalfInvalid, World::Many)] {
        match subject.able(Problem { dims, content, world, ..Problem::USUAL }).and_then(|mut rig| check_in(&mut rig, by_hand)) {
            Err(Finding::Skipped(_)) if dims == 2 => {}
            other => other?,
        }
    }
    Ok(())
}

fn check_in(rig: &mut Rig, by_hand: bool) -> Result<(), Finding> {
    let (step, state) = (rig.step(0), rig.keep()?);
    let start = map(&rig.logits()?, |level| level.detach().to_kind(Dtype::Double));
    let leaves = map(&start, |level| level.detach().copy().set_requires_grad(true));
    let terms = terms_at(rig, &leaves, &step, &state)?;
    if !terms.is_empty() && !terms.iter().any(|(_, value)| value.requires_grad()) {
        return Err(Finding::failed("the loss has no graph to its outputs: nothing can be learned from it"));
    }
    let mut warning = None;
    for (number, (name, value)) in terms.iter().enumerate().filter(|(_, (_, value))| value.requires_grad()) {
        let exact = value.kind() == Dtype::Double;
        let (distance, relative, absolute) = if exact { (1e-5, 1e-4, 1e-8) } else { (3e-2, 3e-2, 3e-5) };
        let of_leaf = |leaf: &Tensor| Ok::<_, Finding>(gradient(value, leaf)?.unwrap_or_else(|| leaf.detach().zeros_like()));
        let gradients = levels(&leaves).map(of_leaf).collect::<Result<Vec<Tensor>, _>>()?;
        for direction in 0..DIRECTIONS {
            tch::manual_seed(100 + direction);
            // The first direction is that of the gradient itself, in which a difference is largest; the others are random.
            let along: Vec<Tensor> = match direction {
                0 => gradients.iter().map(|gradient| gradient / gradient.norm().clamp_min(1e-30)).collect(),
                _ => gradients.iter().map(|gradient| gradient.randn_like() / (gradient.numel() as f64).sqrt()).collect(),
            };
            let predicted: f64 =
                gradients.iter().zip(&along).map(|(gradient, along)| (gradient * along).sum(Dtype::Double).double_value(&[])).sum();
            let mut at = |offset: f64| -> Result<f64, Finding> {
                let mut shifts = along.iter();
                let moved = map(&start, |level| level + shifts.next().map_or_else(|| level.zeros_like(), |shift| shift * offset));
                let _no_graph = tch::no_grad_guard();
                let terms = terms_at(rig, &moved, &step, &state)?;
                Ok(terms.get(number).map_or(0.0, |(_, value)| value.double_value(&[])))
            };
            let measured = (at(distance)? - at(-distance)?) / (2.0 * distance);
            let allowed = absolute + relative * predicted.abs().max(measured.abs());
            // NaN is no agreement.
            if (measured - predicted).abs().partial_cmp(&allowed).is_none_or(std::cmp::Ordering::is_gt) {
                let message = format!(
                    "the derivative of term '{name}' in direction {direction} is {predicted:.6e} by the gradient, {measured:.6e} by differences"
                );
                if by_hand {
                    return Err(Finding::failed(message));
                }
                warning.get_or_insert(format!("{message}: a part is detached (`detach`, no_grad, a rounding), or jumps"));
            }
        }
    }
    warning.map_or(Ok(()), |words| Err(Finding::Warning(words)))
}

/// Every output is trained by some term, and the whole loss moves with features and parameters as its gradient says.
pub(super) fn derivatives(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        every_output_is_trained(&mut rig)?;
        let (step, state) = (rig.step(0), rig.keep()?);
        let terms = rig.whole_step(&step)?;
        let Some(loss) = total(&terms)? else { return Ok(()) };
        let features = &rig.features;
        let maps = features.decoder.iter().chain(&features.skips).chain([&features.bottleneck]);
        let mut moved: Vec<(String, Tensor)> = maps.enumerate().map(|(i, map)| (format!("map {i} of the trunk"), map.shallow_clone())).collect();
        moved.extend(rig.trained().map(|(name, parameter)| (format!("parameter '{name}'"), parameter.shallow_clone())));
        // All before anything moves: a graph is of no use after a write to what it holds.
        let gradients = moved.iter().map(|(_, leaf)| gradient(&loss, leaf)).collect::<Result<Vec<_>, _>>()?;
        for ((what, leaf), gradient) in moved.into_iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let norm = gradient.norm().double_value(&[]);
            if norm == 0.0 {
                continue;
            }
            let along = &gradient / norm;
            let mut at = |offset: f64| -> Result<f64, Finding> {
                let _no_grad = tch::no_grad_guard();
                let kept = leaf.detach().copy();
                leaf.shallow_clone().f_copy_(&(&kept + &along * offset))?;
                state.put_back(&mut rig.trainer)?;
                let value = rig.whole_step(&step).map_err(Finding::from).and_then(|terms| weighted_sum(&terms));
                leaf.shallow_clone().f_copy_(&kept)?;
                value
            };
            let scale = leaf.detach().norm().double_value(&[]).max(1.0);
            let mut slope = |distance: f64| -> Result<f64, Finding> { Ok((at(distance)? - at(-distance)?) / (2.0 * distance)) };
            let (near, far) = (slope(5e-3 * scale)?, slope(1e-2 * scale)?);
            // Only where the loss is smooth, and its change is more than rounding.
            let smooth = (near - far).abs() <= 0.05 * near.abs().max(far.abs());
            if smooth && (near - norm).abs() > 0.15 * near.abs().max(norm) && near.abs().max(norm) * scale > 1e-3 {
                return Err(Finding::Warning(format!(
                    "along the gradient of {what} the loss changes by {near:.3e}, but the gradient is {norm:.3e}: a part of forward or loss is detached, or was \
                     read in `new`"
                )));
            }
        }
        Ok(())
    })
}

/// Σ weight · value.
fn weighted_sum(terms: &[Term]) -> Result<f64, Finding> {
    let mut sum = 0.0;
    for term in terms {
        let weight = match &term.weight {
            Weight::Number(weight) => *weight,
            Weight::Learned(weight) => f64::try_from(weight)?,
        };
        sum += weight * f64::try_from(&term.value)?;
    }
    Ok(sum)
}

/// Terms of weight 0 aside, which are only logged: where there are some, an output may rest.
fn every_output_is_trained(rig: &mut Rig) -> Result<(), Finding> {
    let (step, logits) = (rig.step(0), rig.logits()?);
    let terms = rig.loss(&logits, &step)?;
    let rests = |term: &Term| matches!(term.weight, Weight::Number(0.0));
    if terms.iter().any(rests) {
        return Ok(());
    }
    for (name, levels) in logits.iter() {
        let mut trained = false;
        for term in &terms {
            for level in levels {
                trained |= gradient(&term.value, level)?.is_some_and(|gradient| gradient.count_nonzero(None::<i64>).int64_value(&[]) > 0);
            }
        }
        if !trained {
            return Err(Finding::Warning(format!("loss: no term has a gradient on output '{name}': it is never trained")));
        }
    }
    Ok(())
}
