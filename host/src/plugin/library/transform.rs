//! What makes targets in a library: the extension `trainer.target-transform/1`.

use super::super::backend::{Failure, MadeTransform, TransformCalls};
use super::marshal::phase_as_c;
use super::services::services_without_parameters;
use super::{call, extensions, from_json, json};
use plugin_api::Task;
use plugin_api::abi::{Entry, Instance, Sink, Str};
use plugin_api::extensions::target_transform::{ID, MadeView, SampleView, Table, TargetView};
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};
use serde_json::Value;

/// An instance, and the table of its extension.
#[derive(Debug)]
struct LibraryTransform {
    table: &'static Table,
    instance: Instance,
}

// SAFETY: a transform, unlike a trainer, may be called from any thread, by several at a time.
unsafe impl Send for LibraryTransform {}
// SAFETY: as above.
unsafe impl Sync for LibraryTransform {}

/// The transform of a library that has one.
pub(super) fn create(entry: &'static Entry, task: &Task, options: &Value) -> Result<Option<MadeTransform>, Failure> {
    // SAFETY: what a plugin returns for an id is that extension's table, and lives as long as the library, which is never unloaded.
    let Some(table) = (unsafe { extensions::find(entry, ID).cast::<Table>().as_ref() }) else { return Ok(None) };
    let (task, options, services) = (json(task), json(options), services_without_parameters());
    let (mut instance, mut declared) = (Instance(std::ptr::null_mut()), Vec::new());
    call(|error| {
        // SAFETY: everything lent outlives the call; `instance` is writable.
        unsafe { (table.create)(&services, Str::new(&task), Str::new(&options), &mut instance, Sink::into_buffer(&mut declared), error) }
    })?;
    if instance.0.is_null() {
        return Err(Failure::returned("no transform"));
    }
    // From here on it is destroyed when this goes.
    let transform = Box::new(LibraryTransform { table, instance });
    Ok(Some((transform, from_json(&declared)?)))
}

impl TransformCalls for LibraryTransform {
    fn apply(&self, sample: &Sample, made: &mut [MadeTarget]) -> Result<(), Failure> {
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
        // SAFETY: everything lent outlives the call and has the size that it is said to have; nothing else refers to what is to be made.
        let done = call(|error| unsafe { (self.table.apply)(self.instance, &view, error) });
        for view in &views {
            // SAFETY: they were made of `made`, which has not been looked at since.
            unsafe { normalise(view, sample.inside.len()) };
        }
        made.iter_mut().zip(present).for_each(|(made, present)| made.present = present != 0);
        done
    }
}

impl Drop for LibraryTransform {
    fn drop(&mut self) {
        // SAFETY: made by `create`, destroyed once, and nobody is in a call any more.
        unsafe { (self.table.destroy)(self.instance) }
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
