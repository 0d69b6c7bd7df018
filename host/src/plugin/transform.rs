//! [`LoadedTransform`]: a target transform behind the border, safe to call from several threads.
//!
//! What it declares is checked once, what it makes after every call, so that a wrong label is an error that names plugin and case instead
//! of an index out of range in a loss.

use super::backend::{Plugin, TransformCalls};
use super::error::CallError;
use crate::kinds;
use crate::network::made_kind;
use data::dataset::{TargetKind, is_target_name};
use indexmap::IndexMap;
use plugin_api::extensions::{MadeTarget, Sample, Values, ValuesMut};
use plugin_api::task::Target;
use plugin_api::{Kind, Task};
use std::sync::OnceLock;

/// Name of the calls in errors.
const CREATE: &str = "target transform: new";
const APPLY: &str = "target transform: apply";

/// A transform that a plugin made for one task.
#[derive(Debug)]
pub struct LoadedTransform {
    plugin: Plugin,
    calls: Box<dyn TransformCalls>,
    declared: IndexMap<String, Target>,
    kinds: IndexMap<String, TargetKind>,
    /// The first panic. It leaves an instance in an unknown state: no call begins after it.
    panicked: OnceLock<String>,
}

impl LoadedTransform {
    /// Makes the transform of a plugin that has one, for `task` with `options` (a JSON object), and tells `task` of its targets. To be
    /// called before the trainer is made.
    ///
    /// # Errors
    /// When the plugin fails, or declares what cannot be.
    pub fn create(plugin: &Plugin, task: &mut Task, options: &serde_json::Value) -> Result<Option<Self>, CallError> {
        let made = plugin.transform(task, options).map_err(|failure| CallError::of(plugin.identity(), CREATE, failure))?;
        let Some((calls, declared)) = made else { return Ok(None) };
        let kinds = kinds_of(&declared, task).map_err(|message| CallError::new(plugin.identity(), CREATE, message))?;
        task.targets.extend(declared.iter().map(|(name, target)| (name.clone(), target.clone())));
        Ok(Some(Self { plugin: plugin.clone(), calls, declared, kinds, panicked: OnceLock::new() }))
    }

    /// What it makes, in order.
    pub fn kinds(&self) -> &IndexMap<String, TargetKind> {
        &self.kinds
    }

    /// Makes the targets of `sample`: `made` are all of [`Self::kinds`], in order, whose memory may hold anything before. Where the plugin
    /// says that a target is not valid it is 0 afterwards, so that no NaN gets into gradients, and one that is not present is 0 everywhere.
    ///
    /// # Errors
    /// When the plugin fails, or makes what it did not declare.
    ///
    /// # Panics
    /// When the arrays of `sample` and `made` have not the sizes that [`Sample::size`] and the kinds ask for.
    pub fn apply(&self, sample: &Sample, made: &mut [MadeTarget]) -> Result<(), CallError> {
        if let Some(cause) = self.panicked.get() {
            // Of several threads, this may be the first that is heard.
            return Err(self.error(format!("{cause}, and cannot run any more")));
        }
        self.check_sizes(sample, made);
        made.iter_mut().for_each(clear);
        if let Err(failure) = self.calls.apply(sample, made) {
            if failure.panicked {
                // Of several at once, the first is as good as any.
                let _ = self.panicked.set(failure.message.clone());
            }
            return Err(CallError::of(self.plugin.identity(), APPLY, failure));
        }
        made.iter_mut().try_for_each(|made| self.check_made(made))
    }

    /// The plugin reads and writes as much as it is told there is.
    fn check_sizes(&self, sample: &Sample, made: &[MadeTarget]) {
        let voxels: usize = sample.size.iter().product();
        let fits = |len: usize| len > 0 && len.is_multiple_of(voxels);
        assert!(voxels > 0 && sample.inside.len() == voxels && fits(sample.image.len()), "image of another size");
        for target in &sample.targets {
            let (one, len) = match target.values {
                Values::Labels(labels) => (true, labels.len()),
                Values::Regions(regions) => (false, regions.len()),
                Values::Regression(values) => (false, values.len()),
                Values::Class(_) => continue,
            };
            assert!(target.valid.len() == voxels && fits(len) && (!one || len == voxels), "target '{}' of another size", target.name);
        }
        assert_eq!(made.len(), self.kinds.len(), "all targets are made");
        for (made, (name, kind)) in made.iter().zip(&self.kinds) {
            let (is, len) = match &made.values {
                ValuesMut::Labels(labels) => (Kind::Labels, labels.len()),
                ValuesMut::Regions(regions) => (Kind::Regions, regions.len()),
                ValuesMut::Regression(values) => (Kind::Regression, values.len()),
                ValuesMut::Class(_) => (Kind::Class, 1),
            };
            let (of_kind, dense) = (kinds::of(kind), if kind.is_dense() { voxels } else { 1 });
            let right = is == of_kind.told().kind && len == dense * of_kind.values_per_voxel();
            let masked = made.valid.len() == if kind.is_dense() { voxels } else { 0 };
            assert!(right && masked && made.name == name, "no room for target '{name}'");
        }
    }

    /// Clears what says nothing, and checks the rest.
    fn check_made(&self, made: &mut MadeTarget) -> Result<(), CallError> {
        let (name, target) = (made.name, &self.declared[made.name]);
        if !made.present {
            clear(made);
            return match target.optional {
                true => Ok(()),
                false => Err(self.error(format!("says that a case lacks target '{name}', but did not declare it optional"))),
            };
        }
        let valid = &*made.valid;
        match &mut made.values {
            ValuesMut::Labels(labels) => {
                clear_invalid(labels, valid, 0);
                let known = |label: i64| (0..target.channels).contains(&label) || Some(label) == target.ignore;
                match labels.iter().find(|label| !known((**label).into())) {
                    Some(label) => Err(self.error(format!("made label {label} of target '{name}'; expected {}", expected(target)))),
                    None => Ok(()),
                }
            }
            ValuesMut::Regions(regions) => {
                clear_invalid(regions, valid, false);
                Ok(())
            }
            ValuesMut::Regression(values) => {
                clear_invalid(values, valid, 0.0);
                match values.iter().all(|value| value.is_finite()) {
                    true => Ok(()),
                    false => Err(self.error(format!("made NaN or infinity where target '{name}' is valid"))),
                }
            }
            ValuesMut::Class(class) if !(0..target.channels).contains(*class) => {
                Err(self.error(format!("made class {class} of target '{name}'; expected {}", expected(target))))
            }
            ValuesMut::Class(_) => Ok(()),
        }
    }

    fn error(&self, message: String) -> CallError {
        CallError::new(self.plugin.identity(), APPLY, message)
    }
}

/// Kinds of what is `declared` for `task`, or what is wrong with it.
fn kinds_of(declared: &IndexMap<String, Target>, task: &Task) -> Result<IndexMap<String, TargetKind>, String> {
    let targets = &task.targets;
    let kind = |(name, target): (&String, &Target)| {
        if targets.contains_key(name) {
            return Err(format!("declares a target '{name}', which the data set has already"));
        }
        if !is_target_name(name) {
            return Err(format!("declares a target {name:?}; expected a name of letters, digits, _ and -"));
        }
        // As in dataset.json.
        let can_be_weighed = |other: &Target| other.weighs.is_none() && other.kind != Kind::Class;
        let has_skeleton = |other: &Target| other.kind == Kind::Labels && other.skeleton_of.is_none();
        let refers = |other: &Option<String>, fits: &dyn Fn(&Target) -> bool| match other {
            Some(other) if !targets.get(other).or(declared.get(other)).is_some_and(fits) => {
                Err(format!("declares a target '{name}' of '{other}', which is no target, or none of a kind that this can be of"))
            }
            _ => Ok(()),
        };
        refers(&target.weighs, &can_be_weighed)?;
        refers(&target.skeleton_of, &has_skeleton)?;
        Ok((name.clone(), made_kind(target, task.dims).map_err(|reason| format!("declares a target '{name}' {reason}"))?))
    };
    declared.iter().map(kind).collect()
}

/// Values that labels and classes may have.
fn expected(target: &Target) -> String {
    let ignore = target.ignore.map_or_else(String::new, |ignore| format!(", or {ignore} where it is to be ignored"));
    format!("0 to {}{ignore}", target.channels - 1)
}

fn clear(made: &mut MadeTarget) {
    match &mut made.values {
        ValuesMut::Labels(labels) => labels.fill(0),
        ValuesMut::Regions(regions) => regions.fill(false),
        ValuesMut::Regression(values) => values.fill(0.0),
        ValuesMut::Class(class) => **class = 0,
    }
    made.valid.fill(true);
}

/// Sets every channel of `values` to `zero` where it is not valid.
fn clear_invalid<T: Copy>(values: &mut [T], valid: &[bool], zero: T) {
    if !valid.iter().all(|valid| *valid) {
        for channel in values.chunks_exact_mut(valid.len()) {
            channel.iter_mut().zip(valid).filter(|(_, valid)| !**valid).for_each(|(value, _)| *value = zero);
        }
    }
}
