//! Shapes, names and ranges of what comes back. What is declared is checked by [`LoadedTrainer`](crate::plugin::LoadedTrainer) itself.

use super::ideal::ideal;
use super::rig::{gradient, levels, map};
use super::{Finding, Problem, Rig, Subject, World, must};
use crate::model::keeps::{METHODS, Trained, check_claims};
use plugin_api::{Kind, Pass, Phase, Step, Weight};
use tch::Kind as Dtype;

/// Heads and loss on problems of many forms.
pub(super) fn shapes(subject: &Subject) -> Result<(), Finding> {
    let (mut refused, mut tried) = (None, 0);
    for dims in [3, 2] {
        for levels in 1..=5 {
            for batch in [1, 3] {
                let problem = Problem { dims, levels, batch, ..Problem::USUAL };
                let form = format!("{dims}D, {levels} levels, batch {batch}");
                let mut rig = match subject.rig(problem) {
                    Ok(rig) => rig,
                    Err(Finding::Skipped(why)) => {
                        refused = refused.or(Some(format!("{form}: {why}")));
                        continue;
                    }
                    Err(other) => return Err(other),
                };
                tried += 1;
                let failed = |e: crate::plugin::CallError| Finding::failed(format!("{form}: {} {}", e.call, e.message));
                let step = rig.step(0);
                rig.whole_step(&step).map_err(failed)?;
            }
        }
    }
    if tried > 0 {
        at_other_data(subject)?;
    }
    match refused {
        None => Ok(()),
        Some(why) if tried == 0 => Err(Finding::Skipped(why)),
        Some(why) => Err(Finding::Warning(why)),
    }
}

/// Data of other worlds, which the trainer can do or refuses when it is made: an error in the first step comes after hours of preprocessing.
fn at_other_data(subject: &Subject) -> Result<(), Finding> {
    for (world, dims) in World::ALL {
        let mut rig = match subject.rig(Problem { dims, world, ..Problem::USUAL }) {
            Ok(rig) => rig,
            Err(Finding::Skipped(_)) => continue,
            Err(other) => return Err(other),
        };
        let step = rig.step(0);
        if let Err(error) = rig.whole_step(&step) {
            return Err(Finding::Warning(format!(
                "{dims}D, {}: {} {}; refuse in `new` the data that the trainer cannot do",
                world.name(subject.made_up),
                error.call,
                error.message
            )));
        }
    }
    Ok(())
}

/// Fewer levels than declared, as in prediction and without deep supervision.
pub(super) fn fewer_levels(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let mut warning = None;
    for (training, phase) in [(true, Phase::Train), (false, Phase::Validate)] {
        let all = rig.trainer.forward(&rig.features, &Pass { training, levels: rig.problem.levels, amp: false }, 0)?;
        for levels in 1..=rig.problem.levels {
            let outputs = rig.trainer.forward(&rig.features, &Pass { training, levels, amp: false }, 0)?;
            for (name, found) in outputs.iter().filter(|_| !training) {
                let expected = all.get(name).map_err(|e| Finding::failed(e.to_string()))?;
                let same = found.iter().zip(expected).all(|(found, expected)| found.allclose(expected, 1e-4, 1e-5, false));
                // Validation asks for several, prediction for one.
                if !same {
                    warning.get_or_insert_with(|| {
                        format!(
                            "forward: in evaluation, output '{name}' is another one where {levels} levels are asked for instead of {}",
                            rig.problem.levels
                        )
                    });
                }
            }
            let mut weights = vec![1.0 / levels as f64; levels];
            weights.resize(rig.problem.levels, 0.0);
            let step = Step { phase, deep_supervision_weights: weights, ..rig.step(0) };
            rig.loss(&outputs, &step)?;
        }
    }
    warning.map_or(Ok(()), |words| Err(Finding::Warning(words)))
}

/// Logits to predictions.
pub(super) fn activate(subject: &Subject) -> Result<(), Finding> {
    let rig = subject.usual()?;
    let logits = map(&rig.logits()?, |level| level.detach() * 10.0);
    let active = rig.trainer.activate(&logits)?;
    for output in rig.trainer.outputs() {
        for level in active.get(&output.name).map_err(|e| Finding::failed(e.to_string()))? {
            let (least, most) = (f64::try_from(level.min())?, f64::try_from(level.max())?);
            let unbounded = !matches!(output.kind, Kind::Labels | Kind::Regions | Kind::Class);
            must!(
                unbounded || (least >= 0.0 && most <= 1.0 + 1e-6),
                "predictions of '{}' are from {least} to {most}; expected probabilities",
                output.name
            );
            if matches!(output.kind, Kind::Labels | Kind::Class) {
                let off = f64::try_from((level.sum_dim_intlist(1, false, Dtype::Double) - 1.0).abs().max())?;
                must!(off < 1e-4, "probabilities of '{}' sum to 1 ± {off}; expected 1", output.name);
            }
        }
    }
    Ok(())
}

/// Methods that the manifest names, in both dimensions.
pub(super) fn keeps(subject: &Subject) -> Result<(), Finding> {
    let Subject { plugin, options, .. } = subject;
    let said = &plugin.identity().manifest.keeps;
    if said.is_empty() {
        return Err(Finding::Skipped("the manifest does not say that activate or forward is kept".to_owned()));
    }
    let (mut compared, mut refused) = (false, None);
    for dims in [3, 2] {
        match subject.rig(Problem { dims, ..Problem::USUAL }) {
            Ok(Rig { task, parameters, .. }) => {
                check_claims(Trained { plugin, task: &task, options, parameters: &parameters })?;
                compared = true;
            }
            Err(Finding::Skipped(why)) => refused = Some(why),
            Err(other) => return Err(other),
        }
    }
    if let Some(why) = refused.filter(|_| !compared) {
        return Err(Finding::Skipped(why));
    }
    match said.iter().find(|method| !METHODS.contains(&method.as_str())) {
        Some(unknown) => Err(Finding::Warning(format!("it keeps '{unknown}', which is none of {}", METHODS.join(", ")))),
        None => Ok(()),
    }
}

/// What the terms of a step are like.
pub(super) fn terms(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    for iteration in 0..5 {
        let step = rig.step(iteration);
        let random = rig.logits()?;
        // The last are as good as can be: nothing comes nearer to the least that a term can be.
        let outputs = if iteration < 4 { map(&random, |level| level * f64::from(iteration as u32 * 5)) } else { ideal(&rig, &random)? };
        let outputs = map(&outputs, |level| level.detach().set_requires_grad(true));
        let terms = rig.loss(&outputs, &step)?;
        must!(!terms.is_empty(), "a loss has no terms, although all targets are there");
        must!(terms.iter().any(|term| !matches!(term.weight, Weight::Number(0.0))), "all terms have weight 0: nothing is trained");
        for (i, term) in terms.iter().enumerate() {
            let name = &term.name;
            must!(!name.trim().is_empty() && !name.contains(['\n', '\0']), "a term is called {name:?}");
            must!(!terms[..i].iter().any(|earlier| earlier.name == *name), "two terms are called '{name}'");
            must!(
                term.samples.is_none_or(|samples| samples <= rig.problem.batch as u64),
                "term '{name}' is about more samples than there are"
            );
            must!(!term.lowest.is_nan(), "the lowest of term '{name}' is NaN");
            for level in levels(&outputs).filter(|_| term.samples == Some(0)) {
                let trains = gradient(&term.value, level)?.is_some_and(|gradient| gradient.count_nonzero(None::<i64>).int64_value(&[]) > 0);
                must!(
                    !trains,
                    "term '{name}' says that it is about no sample (samples = 0), but it trains the outputs: weightings and watchdogs leave it out. Give the \
                     number of samples, in C a negative number for all (tp_make_term)"
                );
            }
            let value = f64::try_from(&term.value)?;
            must!(
                value >= term.lowest - 1e-4,
                "term '{name}' is {value}, less than its lowest, {}; give a `Value` with the right one",
                term.lowest
            );
        }
    }
    Ok(())
}
