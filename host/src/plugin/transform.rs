//! [`LoadedTransform`]: a target transform behind the border, safe to call from several threads.
//!
//! What it declares is checked once, what it makes after every call, so that a wrong label is an error that names plugin and case instead of an index out
//! of range in a loss.

use super::error::CallError;
use super::library::Library;
use super::marshal::phase_as_c;
use super::services::services_without_parameters;
use super::trainer::json;
use crate::dataset::{TargetKind, is_target_name};
use crate::network::made_kind;
use indexmap::IndexMap;
use plugin_api::Task;
use plugin_api::abi::{self, Instance, Sink, Str};
use plugin_api::extensions::target_transform::{ID, MadeView, SampleView, Table, TargetView};
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};
use plugin_api::task::Target;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// A panic leaves an instance in an unknown state: nothing but `destroy` may follow.
    poisoned: AtomicBool,
}

// SAFETY: the contract allows calls from any thread, several at a time; all else is plain data.
unsafe impl Send for LoadedTransform {}
// SAFETY: as above.
unsafe impl Sync for LoadedTransform {}

impl LoadedTransform {
    /// Makes the transform of a plugin that has one, for `task` with `options` (a JSON object), and tells `task` of its targets. To be called before the
    /// trainer is made.
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
            poisoned: AtomicBool::new(false),
        };
        transform.declared = serde_json::from_slice(&declared).map_err(|e| error(format!("returned broken JSON: {e}")))?;
        transform.check_declared(task)?;
        task.targets.extend(transform.declared.iter().map(|(name, target)| (name.clone(), target.clone())));
        Ok(Some(transform))
    }

    fn check_declared(&mut self, task: &Task) -> Result<(), CallError> {
        let error = |message| CallError::new(&self.library, CREATE, message);
        for (name, target) in &self.declared {
            if task.targets.contains_key(name) {
                return Err(error(format!("declares a target '{name}', which the data set has already")));
            }
            if !is_target_name(name) {
                return Err(error(format!("declares a target {name:?}; expected a name of letters, digits, _ and -")));
            }
            let known = |other: &String| task.targets.contains_key(other) || self.declared.contains_key(other);
            if let Some(unknown) = target.weighs.iter().chain(&target.skeleton_of).find(|other| !known(other)) {
                return Err(error(format!("declares a target '{name}' of '{unknown}', which is no target")));
            }
            let kind = made_kind(target).map_err(|reason| error(format!("declares a target '{name}' {reason}")))?;
            self.kinds.insert(name.clone(), kind);
        }
        Ok(())
    }

    /// What it makes, in order.
    pub fn kinds(&self) -> &IndexMap<String, TargetKind> {
        &self.kinds
    }

    /// Makes the targets of `sample`: `made` are all of [`Self::kinds`], in order, whose memory may hold anything before. Of one that is not present
    /// afterwards, it may hold anything, too.
    pub fn apply(&self, sample: &Sample, made: &mut [MadeTarget]) -> Result<(), CallError> {
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(self.error("cannot run: an earlier call panicked"));
        }
        made.iter_mut().for_each(clear);
        let targets: Vec<TargetView> = sample.targets.iter().map(target_view).collect();
        let mut present = vec![1u8; made.len()];
        let views: Vec<MadeView> = made.iter_mut().zip(&mut present).map(|(made, present)| made_view(made, present)).collect();
        let view = SampleView {
            case_id: Str::new(sample.case),
            seed: sample.seed,
            phase: phase_as_c(sample.phase),
            channels: sample.image.len() / sample.inside.len().max(1),
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
        // SAFETY: everything lent outlives the call, and nothing else refers to what is to be made.
        let status = unsafe { (self.table.apply)(self.instance, &view, Sink::into_buffer(&mut message)) };
        made.iter_mut().for_each(normalise);
        if status != abi::OK {
            self.poisoned.fetch_or(status == abi::PANIC, Ordering::Relaxed);
            return Err(CallError::returned(&self.library, APPLY, status, &message));
        }
        for (made, present) in made.iter_mut().zip(present) {
            made.present = present != 0;
            self.check_made(made)?;
        }
        Ok(())
    }

    fn check_made(&self, made: &MadeTarget) -> Result<(), CallError> {
        let (name, target) = (made.name, &self.declared[made.name]);
        if !made.present {
            return match target.optional {
                true => Ok(()),
                false => Err(self.error(format!("says that a case lacks target '{name}', but did not declare it optional"))),
            };
        }
        match &made.values {
            ValuesMut::Labels(labels) => {
                let known = |label: i64| (0..target.channels).contains(&label) || Some(label) == target.ignore;
                match labels.iter().find(|label| !known((**label).into())) {
                    Some(label) => Err(self.error(format!("made label {label} of target '{name}', which has {} classes", target.channels))),
                    None => Ok(()),
                }
            }
            ValuesMut::Regression(values) => {
                let voxels = made.valid.len().max(1);
                let believed = |channel: &[f32]| channel.iter().zip(made.valid.iter()).all(|(value, valid)| value.is_finite() || !valid);
                match values.chunks_exact(voxels).all(believed) {
                    true => Ok(()),
                    false => Err(self.error(format!("made NaN or infinity where target '{name}' is valid"))),
                }
            }
            ValuesMut::Class(class) if !(0..target.channels).contains(*class) => {
                Err(self.error(format!("made class {class} of target '{name}', which has {}", target.channels)))
            }
            ValuesMut::Class(_) | ValuesMut::Regions(_) => Ok(()),
        }
    }

    fn error(&self, message: impl Into<String>) -> CallError {
        CallError::new(&self.library, APPLY, message.into())
    }
}

impl Drop for LoadedTransform {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once, and nobody is in a call any more.
        unsafe { (self.table.destroy)(self.instance) }
    }
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

fn target_view(target: &TargetPatch) -> TargetView {
    let channels = |len: usize| len / target.valid.len().max(1);
    let (kind, channels, values) = match &target.values {
        Values::Labels(labels) => (0, 1, labels.as_ptr().cast()),
        Values::Regions(regions) => (1, channels(regions.len()), regions.as_ptr().cast()),
        Values::Regression(values) => (2, channels(values.len()), values.as_ptr().cast()),
        Values::Class(class) => (3, 1, std::ptr::from_ref(class).cast()),
    };
    TargetView { name: Str::new(target.name), kind, channels, values, valid: target.valid.as_ptr().cast() }
}

fn made_view(made: &mut MadeTarget, present: &mut u8) -> MadeView {
    let voxels = made.valid.len().max(1);
    let (kind, channels, values) = match &mut made.values {
        ValuesMut::Labels(labels) => (0, 1, labels.as_mut_ptr().cast()),
        ValuesMut::Regions(regions) => (1, regions.len() / voxels, regions.as_mut_ptr().cast()),
        ValuesMut::Regression(values) => (2, values.len() / voxels, values.as_mut_ptr().cast()),
        ValuesMut::Class(class) => (3, 1, std::ptr::from_mut(*class).cast()),
    };
    MadeView { name: Str::new(made.name), kind, channels, values, valid: made.valid.as_mut_ptr().cast(), present }
}

/// C has no booleans of its own: whatever is not zero is true.
fn normalise(made: &mut MadeTarget) {
    fn in_place(flags: &mut [bool]) {
        // SAFETY: a boolean is one byte, which is looked at as that; afterwards all are 0 or 1 again.
        let bytes = unsafe { std::slice::from_raw_parts_mut(flags.as_mut_ptr().cast::<u8>(), flags.len()) };
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    in_place(made.valid);
    if let ValuesMut::Regions(regions) = &mut made.values {
        in_place(regions);
    }
}
