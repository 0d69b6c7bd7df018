//! The extension as a table of C functions, and what they are lent.

use super::{MadeTarget, Sample, TargetPatch, TargetTransform, Values, ValuesMut};
use crate::abi::{self, HostServices, Instance, Sink, Str};
use crate::door::{destroy, guard, read_phase};
use crate::{Error, Result, bail, logging, options};
use abi_stable::StableAbi;
use std::ffi::c_void;
use std::marker::PhantomData;

/// What [`TargetTransform`] becomes.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Table {
    /// Makes a transform for a [`Task`](crate::Task) with the targets of the data set, and the trainer's options (both JSON). Writes what it makes to
    /// `declared`: a JSON object of [targets](crate::task::Target) by name. `host` has no parameters for it.
    pub create:
        unsafe extern "C" fn(host: *const HostServices, task: Str, options: Str, out: *mut Instance, declared: Sink, error: Sink) -> i32,
    /// Frees a transform. The only call that may follow a panic.
    pub destroy: unsafe extern "C" fn(transform: Instance),
    /// Makes the targets of one sample. Called on several threads at once.
    pub apply: unsafe extern "C" fn(transform: Instance, sample: *const SampleView, error: Sink) -> i32,
}

/// A [`Sample`] with what is to be made of it. All arrays are dense, in C order.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SampleView {
    /// Identifier of the case.
    pub case_id: Str,
    /// For whatever is drawn.
    pub seed: u64,
    /// 0: training, 1: validation.
    pub phase: u32,
    /// Channels of the image.
    pub channels: usize,
    /// Z, Y, X; Z is 1 in 2D.
    pub size: [usize; 3],
    /// Voxels in mm, z, y, x.
    pub spacing: [f64; 3],
    /// (C, Z, Y, X).
    pub image: *const f32,
    /// (Z, Y, X): 1 where the image has a voxel, 0 where the patch reaches beyond it.
    pub inside: *const u8,
    /// Targets of the data set that this case has.
    pub targets: *const TargetView,
    /// Their number.
    pub n_targets: usize,
    /// Targets to be made, in the order in which they were declared.
    pub made: *const MadeView,
    /// Their number.
    pub n_made: usize,
}

/// A target of a sample.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TargetView {
    /// Its name.
    pub name: Str,
    /// 0: labels, i16 (1, Z, Y, X). 1: regions, u8 that are 0 or 1 (R[+1: ignored], Z, Y, X). 2: regression, f32 (C, Z, Y, X). 3: class, one i64.
    pub kind: u32,
    /// First axis of `values`.
    pub channels: usize,
    /// See `kind`.
    pub values: *const c_void,
    /// (Z, Y, X): 1 where the target may be believed. Null for classes.
    pub valid: *const u8,
}

/// A target to be made: zero, valid everywhere and present, until it is written to.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MadeView {
    /// Its name.
    pub name: Str,
    /// As in [`TargetView`].
    pub kind: u32,
    /// First axis of `values`.
    pub channels: usize,
    /// See `kind`.
    pub values: *mut c_void,
    /// (Z, Y, X): 1 where the target may be believed. Null for classes.
    pub valid: *mut u8,
    /// 0 where the case lacks it, which only an optional target may say.
    pub present: *mut u8,
}

pub(in crate::extensions) struct Of<T>(PhantomData<T>);

impl<T: TargetTransform> Of<T> {
    pub(in crate::extensions) const TABLE: Table = Table { create: create::<T>, destroy: destroy::<T>, apply: apply::<T> };
}

unsafe extern "C" fn create<T: TargetTransform>(
    host: *const HostServices,
    task: Str,
    options: Str,
    out: *mut Instance,
    declared: Sink,
    error: Sink,
) -> i32 {
    guard(error, || {
        // SAFETY: the host lends its services and the two strings for the call.
        let (host, task, options) = unsafe { (&*host, task.text(), options.text()) };
        logging::forward_to::<T::Trainer>(host);
        let transform = T::new(&serde_json::from_str(&task)?, options::parse(&options)?)?;
        declared.send(&serde_json::to_string(&transform.targets())?);
        // SAFETY: `out` is writable.
        unsafe { *out = Instance(Box::into_raw(Box::new(transform)).cast()) };
        Ok(())
    })
}

unsafe extern "C" fn apply<T: TargetTransform>(transform: Instance, sample: *const SampleView, error: Sink) -> i32 {
    guard(error, || {
        // SAFETY: made by `create`, and only shared until `destroy`; the sample and all that it refers to are lent for the call.
        let (transform, view) = unsafe { (&*transform.0.cast::<T>(), &*sample) };
        // SAFETY: as above; nobody else has the memory of what is to be made.
        let (sample, mut made) = unsafe { (read_sample(view)?, read_made(view)?) };
        transform.apply(&sample, &mut made)?;
        // SAFETY: lent for the call, each with a name to read and a byte to write to.
        unsafe {
            for view in abi::slice(view.made, view.n_made) {
                let name = lent_name(view.name)?;
                // By name: whoever has them may change their order.
                *view.present = made.iter().any(|made| made.name == name && made.present).into();
            }
        }
        Ok(())
    })
}

/// # Safety
/// `view` and all that it refers to can be read for `'a`, masks and regions as bytes that are 0 or 1.
unsafe fn read_sample<'a>(view: &SampleView) -> Result<Sample<'a>> {
    let voxels = view.size.iter().product::<usize>();
    // SAFETY: the caller's promise; sizes are those that the fields' documentation gives.
    unsafe {
        let targets = abi::slice(view.targets, view.n_targets).iter().map(|target| {
            let (values, len) = (target.values, target.channels * voxels);
            let values = match target.kind {
                0 => Values::Labels(abi::slice(values.cast(), voxels)),
                1 => Values::Regions(abi::slice(values.cast(), len)),
                2 => Values::Regression(abi::slice(values.cast(), len)),
                3 => Values::Class(*values.cast()),
                other => bail!("unknown kind {other} of a target"),
            };
            let valid = if target.kind == 3 { &[] } else { abi::slice(target.valid.cast(), voxels) };
            Ok(TargetPatch { name: lent_name(target.name)?, values, valid })
        });
        Ok(Sample {
            case: lent_name(view.case_id)?,
            seed: view.seed,
            phase: read_phase(view.phase)?,
            size: view.size,
            spacing: view.spacing,
            image: abi::slice(view.image, view.channels * voxels),
            inside: abi::slice(view.inside.cast(), voxels),
            targets: targets.collect::<Result<_>>()?,
        })
    }
}

/// # Safety
/// What `view` wants to have made can be written for `'a`, by this call alone; bytes of masks and regions are 0 or 1.
unsafe fn read_made<'a>(view: &SampleView) -> Result<Vec<MadeTarget<'a>>> {
    let voxels = view.size.iter().product::<usize>();
    // SAFETY: the caller's promise; sizes are those that the fields' documentation gives.
    unsafe {
        let made = abi::slice(view.made, view.n_made).iter().map(|made| {
            let (values, len) = (made.values, made.channels * voxels);
            let values = match made.kind {
                0 => ValuesMut::Labels(std::slice::from_raw_parts_mut(values.cast(), voxels)),
                1 => ValuesMut::Regions(std::slice::from_raw_parts_mut(values.cast(), len)),
                2 => ValuesMut::Regression(std::slice::from_raw_parts_mut(values.cast(), len)),
                3 => ValuesMut::Class(&mut *values.cast()),
                other => bail!("unknown kind {other} of a target"),
            };
            let valid: &mut [bool] = if made.kind == 3 { &mut [] } else { std::slice::from_raw_parts_mut(made.valid.cast(), voxels) };
            Ok(MadeTarget { name: lent_name(made.name)?, values, valid, present: true })
        });
        made.collect()
    }
}

/// # Safety
/// `name` can be read for `'a`.
unsafe fn lent_name<'a>(name: Str) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { name.bytes() }).map_err(|e| Error::new(format!("a name that is no UTF-8: {e}")))
}
