//! Online metrics: what the validation batches of an epoch say of every output, at the finest level.
//!
//! Labels and regions: nnU-Net's pseudo Dice (counts summed over all batches, then 2TP / (2TP + FP + FN) for every class).
//! Regression: mean absolute error where the target is valid. Class: accuracy.

use super::StepError;
use crate::network;
use crate::plugin::LoadedTrainer;
use indexmap::IndexMap;
use plugin_api::extensions::Metric;
use plugin_api::manifest::ACTIVATE;
use plugin_api::{Batch, Kind, Level, Output, Outputs, Task};
use tch::{Kind as Dtype, Tensor};

/// What is measured, and drawn, of a validation batch: one level an output, the finest.
#[derive(Debug)]
pub struct Predicted {
    outputs: Outputs,
    /// A region is where its channel is above this.
    threshold: f64,
}

impl Predicted {
    /// Of `outputs` (logits) of `trainer`. Logits decide as their softmax or sigmoid would, so they are taken as they are where the plugin
    /// keeps that; else it is asked.
    pub fn of(trainer: &LoadedTrainer, outputs: &Outputs) -> Result<Self, StepError> {
        let mut logits = Outputs::new();
        for output in trainer.outputs().iter().filter(|output| output.kind != Kind::Aux) {
            if let Some(finest) = outputs.get(&output.name).ok().and_then(|levels| levels.first()) {
                logits.push(&output.name, finest.shallow_clone());
            }
        }
        Ok(match trainer.identity().manifest.keeps(ACTIVATE) {
            // A sigmoid above one half is a logit above zero.
            true => Self { outputs: logits, threshold: 0.0 },
            false => Self { outputs: trainer.activate(&logits)?, threshold: 0.5 },
        })
    }

    /// What is predicted for output `name`, (B, C, …), or (B, C) for a class.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.outputs.get(name).ok().and_then(|levels| levels.first())
    }

    /// Where the regions of `predicted`, the logits or probabilities of an output of this, are.
    pub fn regions(&self, predicted: &Tensor) -> Result<Tensor, tch::TchError> {
        predicted.f_gt(self.threshold)
    }
}

/// Sums of one epoch.
#[derive(Debug)]
pub struct Online {
    sums: Vec<(Output, Sums)>,
    /// Of the plugin's own: by output and name, sum and number of batches.
    own: IndexMap<(String, String), [f64; 2]>,
}

#[derive(Debug)]
enum Sums {
    /// Per evaluated class: 2·TP and 2·TP + FP + FN.
    Overlap(Vec<[f64; 2]>),
    /// A sum and what it is divided by.
    Mean([f64; 2]),
    None,
}

impl Online {
    /// Nothing counted yet.
    pub fn new(outputs: &[Output]) -> Self {
        let sums = outputs.iter().map(|output| {
            let classes = output.channels as usize;
            let sums = match output.kind {
                Kind::Labels => Sums::Overlap(vec![[0.0; 2]; classes.saturating_sub(1)]),
                Kind::Regions => Sums::Overlap(vec![[0.0; 2]; classes]),
                Kind::Regression | Kind::Class => Sums::Mean([0.0; 2]),
                Kind::Aux => Sums::None,
            };
            (output.clone(), sums)
        });
        Self { sums: sums.collect(), own: IndexMap::new() }
    }

    /// Adds a validation batch.
    pub fn add(&mut self, predicted: &Predicted, batch: &Batch, task: &Task) -> Result<(), StepError> {
        for (output, sums) in &mut self.sums {
            let target = output.target.as_ref().and_then(|name| Some((batch.targets.get(name)?, task.targets.get(name)?)));
            let (Some((target, spec)), Some(map)) = (target, predicted.get(&output.name)) else { continue };
            let level =
                Level::new(map, target, spec, 0).map_err(|e| network::Error::Architecture(format!("output '{}': {e}", output.name)))?;
            if let Some(level) = level {
                count(output.kind, sums, &level, predicted)?;
            }
        }
        Ok(())
    }

    /// Adds what the plugin itself measured on a validation batch.
    pub fn add_own(&mut self, metrics: Vec<Metric>) {
        for Metric { output, name, value } in metrics {
            let [sum, count] = self.own.entry((output, name)).or_default();
            if !value.is_nan() {
                (*sum, *count) = (*sum + value, *count + 1.0);
            }
        }
    }

    /// Metrics by output: `dice` (mean over classes that occur) and `dice_<class>`, `mae`, or `accuracy`, then the plugin's own. NaN where nothing
    /// was counted; outputs that have no metric are left out.
    pub fn finish(&self, task: &Task) -> IndexMap<String, IndexMap<String, f64>> {
        let metrics = self.sums.iter().filter_map(|(output, sums)| {
            let mut values = IndexMap::new();
            match sums {
                Sums::Overlap(classes) => {
                    let dice: Vec<f64> = classes.iter().map(|[both, all]| both / all).collect();
                    let finite: Vec<f64> = dice.iter().copied().filter(|d| d.is_finite()).collect();
                    values.insert("dice".to_owned(), finite.iter().sum::<f64>() / finite.len() as f64);
                    let names = output.target.as_ref().and_then(|name| task.targets.get(name)).map(|target| target.classes.as_slice());
                    for (i, dice) in dice.iter().enumerate() {
                        let class = names.and_then(|names| names.get(i)).cloned().unwrap_or_else(|| i.to_string());
                        values.insert(format!("dice_{class}"), *dice);
                    }
                }
                Sums::Mean([sum, count]) => {
                    let name = if output.kind == Kind::Class { "accuracy" } else { "mae" };
                    values.insert(name.to_owned(), sum / count);
                }
                Sums::None => {}
            }
            let own = self.own.iter().filter(|((of, _), _)| *of == output.name);
            values.extend(own.map(|((_, name), [sum, count])| (name.clone(), sum / count)));
            (!values.is_empty()).then(|| (output.name.clone(), values))
        });
        metrics.collect()
    }
}

/// What this program itself measures of an output, in one number; a plugin may have added others.
pub fn of_host(values: &IndexMap<String, f64>) -> Option<f64> {
    ["dice", "mae", "accuracy"].iter().find_map(|name| values.get(*name)).copied()
}

/// The number by which epochs are compared: the moving average of the first output that has a metric, an error negated so that
/// more is better.
pub fn score(metrics: &IndexMap<String, IndexMap<String, f64>>, ema: &IndexMap<String, f64>) -> Option<f64> {
    let (output, values) = metrics.iter().find(|(_, values)| of_host(values).is_some())?;
    let value = *ema.get(output)?;
    Some(if values.contains_key("mae") { -value } else { value })
}

/// Adds what `level`, whose logits are what is `predicted` for its output, says of that.
fn count(kind: Kind, sums: &mut Sums, level: &Level, predicted: &Predicted) -> Result<(), StepError> {
    match (kind, sums) {
        (Kind::Labels, Sums::Overlap(classes)) => {
            let (prediction, target) = (level.logits.f_argmax(1, true)?, &level.target);
            for (i, class) in classes.iter_mut().enumerate() {
                let label = i as i64 + 1;
                overlap(class, &prediction.f_eq(label)?, &target.f_eq(label)?, level.mask.as_ref())?;
            }
        }
        (Kind::Regions, Sums::Overlap(classes)) => {
            let prediction = predicted.regions(&level.logits)?;
            for (i, class) in classes.iter_mut().enumerate() {
                let region = |map: &Tensor| map.f_narrow(1, i as i64, 1);
                overlap(class, &region(&prediction)?, &region(&level.target)?, level.mask.as_ref())?;
            }
        }
        (Kind::Regression, Sums::Mean([sum, count])) => {
            let error = level.logits.f_sub(&level.target)?.f_abs()?;
            match &level.mask {
                Some(mask) => {
                    let mask = mask.f_expand_as(&error)?;
                    *sum += total(&error.f_where_self(&mask, &error.f_zeros_like()?)?)?;
                    *count += total(&mask)?;
                }
                None => {
                    *sum += total(&error)?;
                    *count += error.numel() as f64;
                }
            }
        }
        (Kind::Class, Sums::Mean([correct, count])) => {
            *correct += total(&level.logits.f_argmax(1, false)?.f_eq_tensor(&level.target)?)?;
            *count += level.target.numel() as f64;
        }
        _ => {}
    }
    Ok(())
}

fn overlap([both, all]: &mut [f64; 2], prediction: &Tensor, target: &Tensor, mask: Option<&Tensor>) -> Result<(), StepError> {
    let masked = |map: &Tensor| mask.map_or_else(|| Ok(map.shallow_clone()), |mask| map.f_logical_and(mask));
    let (prediction, target) = (masked(prediction)?, masked(target)?);
    *both += 2.0 * total(&prediction.f_logical_and(&target)?)?;
    *all += total(&prediction)? + total(&target)?;
    Ok(())
}

fn total(tensor: &Tensor) -> Result<f64, StepError> {
    Ok(f64::try_from(tensor.f_sum(Dtype::Double)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn counts_are_summed_before_they_are_divided() {
        let level = |labels: &[i64], predicted: &[i64]| {
            let target = Tensor::from_slice(labels).view([1, 1, -1]);
            let logits = Tensor::zeros([1, 3, labels.len() as i64], (Dtype::Float, Device::Cpu));
            let logits = logits.scatter_value(1, &Tensor::from_slice(predicted).view([1, 1, -1]), 1.0);
            // Label 9 stands for a voxel that must not count.
            let mut level = Level::plain(Kind::Labels, logits, target.where_self(&target.ne(9), &target.zeros_like()));
            level.mask = Some(target.ne(9));
            level
        };
        let mut sums = Sums::Overlap(vec![[0.0; 2]; 2]);
        let logits = Predicted { outputs: Outputs::new(), threshold: 0.0 };
        count(Kind::Labels, &mut sums, &level(&[0, 1, 1, 2, 9], &[0, 1, 0, 2, 2]), &logits).unwrap();
        count(Kind::Labels, &mut sums, &level(&[0, 0, 1, 0, 0], &[1, 0, 1, 0, 0]), &logits).unwrap();
        let Sums::Overlap(classes) = sums else { unreachable!() };
        // Class 1: TP 2, FP 1, FN 1. Class 2: TP 1.
        assert_eq!(classes, [[4.0, 6.0], [2.0, 2.0]]);
    }

    #[test]
    fn fewer_errors_score_higher() {
        let metrics = |name: &str| IndexMap::from([("out".to_owned(), IndexMap::from([(name.to_owned(), 1.0)]))]);
        let ema = |value| IndexMap::from([("out".to_owned(), value)]);
        assert!(score(&metrics("mae"), &ema(1.0)) > score(&metrics("mae"), &ema(2.0)));
        assert!(score(&metrics("dice"), &ema(0.9)) > score(&metrics("dice"), &ema(0.8)));
    }
}
