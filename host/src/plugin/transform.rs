//! [`LoadedTransform`]: a target transform behind the border, safe to call from several threads.
//!
//! What it declares is checked once, what it makes after every call, so that a wrong label is an error that names plugin and case instead
//! of an index out of range in a loss.

use super::error::CallError;
use super::library::Library;
use super::marshal::phase_as_c;
use super::services::services_without_parameters;
use super::trainer::json;
use crate::network::made_kind;
use data::dataset::{TargetKind, is_target_name};
use indexmap::IndexMap;
use plugin_api::abi::{self, Instance, Sink, Str};
use plugin_api::extensions::target_transform::{ID, MadeView, SampleView, Table, TargetView};
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};
use plugin_api::task::Target;
use plugin_api::{Kind, Task};
use std::sync::OnceLock;

/// Name of the calls in errors.
const CREATE: &str = "target transform: new";
const APPLY: &str = "target transform: apply";

/// A transform that a plugin made for one task.
#[derive(Debug)]
pub struct LoadedTransform {
    library: Library,
    table: &'static Table,
    instance: Instance,
    declared: IndexMap<String, Target>,
    kinds: IndexMap<String, TargetKind>,
    /// The first panic. It leaves an instance in an unknown state: no call begins after it.
    panicked: OnceLock<String>,
}

// SAFETY: a transform, unlike a trainer, may be called from any thread, by several at a time; all else is plain data.
unsafe impl Send for LoadedTransform {}
// SAFETY: as above.
unsafe impl Sync for LoadedTransform {}

impl LoadedTransform {
    /// Makes the transform of a plugin that has one, for `task` with `options` (a JSON object), and tells `task` of its targets. To be
    /// called before the trainer is made.
    ///
    /// # Errors
    /// When the plugin fails, or declares what cannot be.
    pub fn create(library: &Library, task: &mut Task, options: &serde_json::Value) -> Result<Option<Self>, CallError> {
        // SAFETY: what a plugin returns for an id is that extension's table, and lives as long as the library, which is never unloaded.
        let Some(table) = (unsafe { super::extensions::find(library.entry, ID).cast::<Table>().as_ref() }) else { return Ok(None) };
        let (json_task, json_options) = (json(task), json(options));
        let (services, mut instance) = (services_without_parameters(), Instance(std::ptr::null_mut()));
        let (mut declared, mut message) = (Vec::new(), Vec::new());
        // SAFETY: everything lent outlives the call; `instance` is writable.
        let status = unsafe {
            (table.create)(
                &services,
                Str::new(&json_task),
                Str::new(&json_options),
                &mut instance,
                Sink::into_buffer(&mut declared),
                Sink::into_buffer(&mut message),
            )
        };
        let error = |message| CallError::new(library, CREATE, message);
        if status != abi::OK {
            return Err(CallError::returned(library, CREATE, status, &message));
        }
        if instance.0.is_null() {
            return Err(error("returned no transform".to_owned()));
        }
        // From here on it is destroyed when this goes.
        let mut transform = Self {
            library: library.clone(),
            table,
            instance,
            declared: IndexMap::new(),
            kinds: IndexMap::new(),
            panicked: OnceLock::new(),
        };
        transform.declared = serde_json::from_slice(&declared).map_err(|e| error(format!("returned broken JSON: {e}")))?;
        transform.kinds = kinds_of(&transform.declared, task).map_err(error)?;
        task.targets.extend(transform.declared.iter().map(|(name, target)| (name.clone(), target.clone())));
        Ok(Some(transform))
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
        let targets: Vec<TargetView> = sample.targets.iter().map(target_view).collect();
        let mut present = vec![1u8; made.len()];
        let views: Vec<MadeView> = made.iter_mut().zip(&mut present).map(|(made, present)| made_view(made, present)).collect();
        let view = SampleView {
            case_id: Str::new(sample.case),
            seed: sample.seed,
            phase: phase_as_c(sample.phase),
            channels: sample.image.len() / sample.inside.len(),
            size: sample.size,
            spacing: sample.spacing,
            image: sample.image.as_ptr(),
            inside: sample.inside.as_ptr().cast(),
            targets: targets.as_ptr(),
            n_targets: targets.len(),
            made: views.as_ptr(),
            n_made: views.len(),
        };
        let mut message = Vec::new();
        // SAFETY: everything lent outlives the call and has the size that it is said to have; nothing else refers to what is to be made.
        let status = unsafe { (self.table.apply)(self.instance, &view, Sink::into_buffer(&mut message)) };
        for view in &views {
            // SAFETY: they were made of `made`, which has not been looked at since.
            unsafe { normalise(view, sample.inside.len()) };
        }
        if status != abi::OK {
            let error = CallError::returned(&self.library, APPLY, status, &message);
            if error.panicked {
                // Of several at once, the first is as good as any.
                let _ = self.panicked.set(error.message.clone());
            }
            return Err(error);
        }
        for (made, present) in made.iter_mut().zip(present) {
            made.present = present != 0;
            self.check_made(made)?;
        }
        Ok(())
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
            let right = match (&made.values, kind) {
                (ValuesMut::Regions(regions), TargetKind::Labels(labels)) if labels.has_regions() => {
                    regions.len() == voxels * labels.target_channels()
                }
                (ValuesMut::Labels(values), TargetKind::Labels(labels)) => !labels.has_regions() && values.len() == voxels,
                (ValuesMut::Regression(values), TargetKind::Regression { channels, .. }) => values.len() == voxels * channels,
                (ValuesMut::Class(_), TargetKind::Class { .. }) => true,
                _ => false,
            };
            let masked = made.valid.len() == if matches!(kind, TargetKind::Class { .. }) { 0 } else { voxels };
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
        CallError::new(&self.library, APPLY, message)
    }
}

impl Drop for LoadedTransform {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once, and nobody is in a call any more.
        unsafe { (self.table.destroy)(self.instance) }
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

fn target_view(target: &TargetPatch) -> TargetView {
    let channels = |len: usize| len / target.valid.len();
    let (kind, channels, values) = match &target.values {
        Values::Labels(labels) => (0, 1, labels.as_ptr().cast()),
        Values::Regions(regions) => (1, channels(regions.len()), regions.as_ptr().cast()),
        Values::Regression(values) => (2, channels(values.len()), values.as_ptr().cast()),
        Values::Class(class) => (3, 1, std::ptr::from_ref(class).cast()),
    };
    let valid = if target.valid.is_empty() { std::ptr::null() } else { target.valid.as_ptr().cast() };
    TargetView { name: Str::new(target.name), kind, channels, values, valid }
}

fn made_view(made: &mut MadeTarget, present: &mut u8) -> MadeView {
    let voxels = made.valid.len();
    let (kind, channels, values) = match &mut made.values {
        ValuesMut::Labels(labels) => (0, 1, labels.as_mut_ptr().cast()),
        ValuesMut::Regions(regions) => (1, regions.len() / voxels, regions.as_mut_ptr().cast()),
        ValuesMut::Regression(values) => (2, values.len() / voxels, values.as_mut_ptr().cast()),
        ValuesMut::Class(class) => (3, 1, std::ptr::from_mut(*class).cast()),
    };
    let valid = if made.valid.is_empty() { std::ptr::null_mut() } else { made.valid.as_mut_ptr().cast() };
    MadeView { name: Str::new(made.name), kind, channels, values, valid, present }
}

/// C has no booleans of its own: whatever is not zero is true. Only then are they booleans again.
///
/// # Safety
/// `view` is one of [`made_view`] for `voxels`, and nothing else looks at its memory meanwhile.
unsafe fn normalise(view: &MadeView, voxels: usize) {
    let in_place = |flags: *mut u8, count: usize| {
        // SAFETY: so many bytes are there, which are looked at as bytes; afterwards all are 0 or 1.
        let bytes = unsafe { std::slice::from_raw_parts_mut(flags, count) };
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    };
    if !view.valid.is_null() {
        in_place(view.valid, voxels);
    }
    if view.kind == 1 {
        in_place(view.values.cast(), view.channels * voxels);
    }
}
