//! The extension `trainer.target-transform/1`: targets that the plugin makes itself.

use super::problem::{Content, Problem};
use super::rig::Rig;
use super::state::{STEPS, grown};
use super::targets::subsample;
use super::{Finding, Subject, must};
use crate::kinds;
use crate::plugin::LoadedTransform;
use data::dataset::TargetKind;
use indexmap::IndexMap;
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};
use plugin_api::task::{Kind, Target as Spec};
use plugin_api::{Phase, Target, Task};
use std::time::Instant;
use tch::{Kind as Dtype, Tensor};

/// Threads that a loader may have.
const THREADS: usize = 4;

/// Gives the batch of `rig` the targets that the plugin makes of it, as a loader does. Those that are made up stay where it makes none, which is for
/// [`as_declared`] to tell, and where they are classes: with all equally often, the bias of a new head would get no gradient.
pub(super) fn put(rig: &mut Rig) -> Result<(), Finding> {
    let Some(transform) = &rig.transform else { return Ok(()) };
    let samples: Result<Vec<Vec<Patch>>, Finding> = samples(rig)?.iter().map(|sample| sample.apply(transform)).collect();
    let Ok(samples) = samples else { return Ok(()) };
    for (number, name) in transform.kinds().keys().enumerate() {
        let patches: Vec<&Patch> = samples.iter().map(|patches| &patches[number]).collect();
        if let Some(target) = dense_target(&patches, &rig.task)? {
            rig.batch.targets.insert(name.clone(), target);
        }
    }
    Ok(())
}

/// Whether the plugin can make targets of the samples of `rig`, if it makes any.
pub(super) fn can_make(rig: &Rig) -> Result<(), Finding> {
    let Some(transform) = &rig.transform else { return Ok(()) };
    samples(rig)?.iter().try_for_each(|sample| sample.apply(transform).map(drop))
}

/// A target of all samples, with its coarser levels; `None` for classes.
fn dense_target(patches: &[&Patch], task: &Task) -> Result<Option<Target>, Finding> {
    let present: Vec<bool> = patches.iter().map(|patch| patch.present).collect();
    let presence = Tensor::from_slice(&present);
    let mut shape = vec![patches.len() as i64, -1];
    shape.extend(&task.patch_size);
    let stack = |tensors: Vec<Tensor>| -> Result<Tensor, Finding> { Ok(Tensor::f_stack(&tensors, 0)?.f_view(shape.as_slice())?) };
    let mut finest = Vec::new();
    for patch in patches {
        finest.push(match &patch.values {
            Owned::Labels(labels) => Tensor::from_slice(labels).to_kind(Dtype::Int64),
            Owned::Regions(regions) => Tensor::from_slice(regions),
            Owned::Regression(values) => Tensor::from_slice(values),
            Owned::Class(_) => return Ok(None),
        });
    }
    let levels = |finest: Tensor| (0..task.levels()).map(|stage| subsample(&finest, task, stage)).collect::<Vec<_>>();
    let believed = |patch: &&Patch| patch.present && patch.valid.iter().all(|valid| *valid);
    let valid = if patches.iter().all(believed) {
        Vec::new()
    } else {
        let valid = patches.iter().map(|patch| Tensor::from_slice(&patch.valid).logical_and(&Tensor::from(patch.present)));
        levels(stack(valid.collect())?)
    };
    Ok(Some(Target { levels: levels(stack(finest)?), valid, presence }))
}

/// Whatever the data set's targets are like, what is made of them is what was declared: the border checks that.
pub(super) fn as_declared(subject: &Subject) -> Result<(), Finding> {
    transform(&subject.usual()?)?;
    let contents =
        [Content::Whole, Content::Empty, Content::Full, Content::OneVoxel, Content::Ignored, Content::SomeMissing, Content::AllMissing];
    for content in contents {
        for dims in [2, 3] {
            let rig = match subject.rig(Problem { dims, ..Problem::with(content) }) {
                // No training will ever make these targets.
                Err(Finding::Skipped(_)) => continue,
                rig => rig?,
            };
            let transform = transform(&rig)?;
            for sample in samples(&rig)? {
                sample.apply(transform)?;
                sample.beyond_the_image().apply(transform)?;
            }
        }
    }
    Ok(())
}

/// The second time, and on several threads at once.
pub(super) fn same_on_threads(subject: &Subject) -> Result<(), Finding> {
    let rig = subject.usual()?;
    let transform = transform(&rig)?;
    let samples = samples(&rig)?;
    let first: Vec<Vec<Patch>> = samples.iter().map(|sample| sample.apply(transform)).collect::<Result<_, _>>()?;
    let again = || -> Result<(), Finding> {
        for _ in 0..20 {
            for (sample, first) in samples.iter().zip(&first) {
                let made = sample.apply(transform)?;
                if let Some(other) = made.iter().zip(first).find(|(a, b)| a != b) {
                    return Err(Finding::failed(format!("target '{}' of the same sample is another", other.0.name)));
                }
            }
        }
        Ok(())
    };
    again().map_err(|finding| Finding::failed(format!("the second time: {finding}")))?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(again)).collect();
        threads.into_iter().try_for_each(|thread| {
            let done = thread.join().unwrap_or_else(|_| Err(Finding::failed("it panicked")));
            done.map_err(|finding| Finding::failed(format!("on several threads at once: {finding}")))
        })
    })
}

/// Growth of memory over many samples.
pub(super) fn steady_memory(subject: &Subject) -> Result<(), Finding> {
    let rig = subject.small()?;
    let transform = transform(&rig)?;
    let samples = samples(&rig)?;
    grown(STEPS, "samples", || samples[0].apply(transform).map(drop))
}

/// Milliseconds of one sample.
pub(super) fn apply_once(rig: &Rig) -> Result<f64, Finding> {
    let transform = transform(rig)?;
    let sample = &samples(rig)?[0];
    let mut made = memory(transform.kinds(), sample.inside.len());
    let start = Instant::now();
    sample.apply_into(transform, &mut made)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

pub(super) fn transform(rig: &Rig) -> Result<&LoadedTransform, Finding> {
    rig.transform.as_ref().ok_or_else(|| Finding::Skipped("it makes no targets of its own".to_owned()))
}

/// A target of a sample in memory of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patch {
    pub name: String,
    pub values: Owned,
    valid: Vec<bool>,
    present: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Owned {
    Labels(Vec<i16>),
    Regions(Vec<bool>),
    Regression(Vec<f32>),
    Class(i64),
}

/// A sample of a rig's batch as a loader has it.
#[derive(Clone)]
pub(super) struct Given {
    case: String,
    seed: u64,
    phase: Phase,
    size: [usize; 3],
    spacing: [f64; 3],
    image: Vec<f32>,
    inside: Vec<bool>,
    targets: Vec<Patch>,
}

/// Every sample of the batch of `rig`.
pub(super) fn samples(rig: &Rig) -> Result<Vec<Given>, Finding> {
    let mut size = [1; 3];
    let mut spacing = [1.0; 3];
    for (axis, (length, distance)) in rig.task.patch_size.iter().zip(&rig.task.spacing).enumerate() {
        (size[3 - rig.task.dims + axis], spacing[3 - rig.task.dims + axis]) = (*length as usize, *distance);
    }
    let inside = vec![true; size.iter().product()];
    let made = rig.transform.as_ref().map(LoadedTransform::kinds);
    let of_data_set = |name: &String| !made.is_some_and(|made| made.contains_key(name));
    let sample = |(index, case): (usize, &String)| -> Result<Given, Finding> {
        let targets = rig.batch.targets.iter().filter(|(name, _)| of_data_set(name));
        let targets = targets.map(|(name, target)| given(name, &rig.task.targets[name], target, index, inside.len()));
        let targets = targets.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|target| target.present).collect();
        let image = numbers(&rig.batch.image, index)?;
        Ok(Given { case: case.clone(), seed: index as u64, phase: Phase::Train, size, spacing, image, inside: inside.clone(), targets })
    };
    rig.batch.cases.iter().enumerate().map(sample).collect()
}

/// Target `name` of sample `index`.
fn given(name: &str, spec: &Spec, target: &Target, index: usize, voxels: usize) -> Result<Patch, Finding> {
    let finest = &target.levels[0];
    let values = match spec.kind {
        Kind::Labels => Owned::Labels(numbers(finest, index)?.into_iter().map(|label| label as i16).collect()),
        Kind::Regions => Owned::Regions(numbers(finest, index)?.into_iter().map(|region| region != 0.0).collect()),
        Kind::Class => Owned::Class(finest.int64_value(&[index as i64])),
        Kind::Regression | Kind::Aux => Owned::Regression(numbers(finest, index)?),
    };
    let valid = match (target.valid.first(), spec.kind) {
        (_, Kind::Class) => Vec::new(),
        (None, _) => vec![true; voxels],
        (Some(valid), _) => numbers(valid, index)?.into_iter().map(|valid| valid != 0.0).collect(),
    };
    let present = numbers(&target.presence, index)? == [1.0];
    Ok(Patch { name: name.to_owned(), values, valid, present })
}

/// All numbers of sample `index`.
fn numbers(tensor: &Tensor, index: usize) -> Result<Vec<f32>, Finding> {
    Ok(Vec::try_from(tensor.f_select(0, index as i64)?.f_to_kind(Dtype::Float)?.f_reshape([-1])?)?)
}

/// Memory for what a transform makes.
fn memory(kinds: &IndexMap<String, TargetKind>, voxels: usize) -> Vec<Patch> {
    let patch = |(name, kind): (&String, &TargetKind)| {
        let len = voxels * kinds::of(kind).values_per_voxel();
        let values = match kinds::of(kind).told().kind {
            Kind::Regions => Owned::Regions(vec![true; len]),
            Kind::Labels => Owned::Labels(vec![-1; len]),
            Kind::Regression | Kind::Aux => Owned::Regression(vec![f32::NAN; len]),
            Kind::Class => Owned::Class(-1),
        };
        let valid = if kind.is_dense() { vec![false; voxels] } else { Vec::new() };
        Patch { name: name.clone(), values, valid, present: false }
    };
    kinds.iter().map(patch).collect()
}

impl Given {
    /// What `transform` makes of it.
    pub fn apply(&self, transform: &LoadedTransform) -> Result<Vec<Patch>, Finding> {
        let mut made = memory(transform.kinds(), self.inside.len());
        let before = (self.image.clone(), self.targets.clone());
        self.apply_into(transform, &mut made)?;
        must!((&self.image, &self.targets) == (&before.0, &before.1), "apply wrote to the sample; inputs are read-only");
        Ok(made)
    }

    /// Voxels of the patch.
    pub fn voxels(&self) -> usize {
        self.inside.len()
    }

    /// One channel, mirrored along `axis` of (z, y, x).
    pub fn mirror<T: Copy>(&self, values: &[T], axis: usize) -> Vec<T> {
        let [_, height, width] = self.size;
        let place = |i: usize| {
            let mut at = [i / (height * width), i / width % height, i % width];
            at[axis] = self.size[axis] - 1 - at[axis];
            (at[0] * height + at[1]) * width + at[2]
        };
        (0..values.len()).map(|i| values[place(i)]).collect()
    }

    /// The sample, mirrored along `axis` of (z, y, x).
    pub fn mirrored(&self, axis: usize) -> Self {
        fn all<T: Copy>(sample: &Given, values: &[T], axis: usize) -> Vec<T> {
            values.chunks(sample.voxels()).flat_map(|channel| sample.mirror(channel, axis)).collect()
        }
        let mut other = self.clone();
        (other.image, other.inside) = (all(self, &self.image, axis), all(self, &self.inside, axis));
        for target in &mut other.targets {
            target.valid = all(self, &target.valid, axis);
            target.values = match &target.values {
                Owned::Labels(labels) => Owned::Labels(all(self, labels, axis)),
                Owned::Regions(regions) => Owned::Regions(all(self, regions, axis)),
                Owned::Regression(values) => Owned::Regression(all(self, values, axis)),
                Owned::Class(class) => Owned::Class(*class),
            };
        }
        other
    }

    /// The same in validation, of a patch of which half lies beyond the image.
    fn beyond_the_image(mut self) -> Self {
        self.phase = Phase::Validate;
        let beyond = |i: usize| i % self.size[2] >= self.size[2] / 2;
        for (i, inside) in self.inside.iter_mut().enumerate() {
            *inside = !beyond(i);
        }
        let voxels = self.inside.len();
        for target in &mut self.targets {
            match &mut target.values {
                Owned::Labels(labels) => labels.iter_mut().enumerate().filter(|(i, _)| beyond(*i)).for_each(|(_, label)| *label = 0),
                Owned::Regions(regions) => {
                    regions.iter_mut().enumerate().filter(|(i, _)| beyond(i % voxels)).for_each(|(_, region)| *region = false);
                }
                Owned::Regression(_) => {
                    target.valid.iter_mut().enumerate().filter(|(i, _)| beyond(*i)).for_each(|(_, valid)| *valid = false)
                }
                Owned::Class(_) => {}
            }
        }
        self
    }

    fn apply_into(&self, transform: &LoadedTransform, made: &mut [Patch]) -> Result<(), Finding> {
        let sample = Sample {
            case: &self.case,
            seed: self.seed,
            phase: self.phase,
            size: self.size,
            spacing: self.spacing,
            image: &self.image,
            inside: &self.inside,
            targets: self.targets.iter().map(Patch::lent).collect(),
        };
        let mut lent: Vec<MadeTarget> = made.iter_mut().map(Patch::lent_mut).collect();
        transform.apply(&sample, &mut lent)?;
        let present: Vec<bool> = lent.iter().map(|made| made.present).collect();
        made.iter_mut().zip(present).for_each(|(made, present)| made.present = present);
        Ok(())
    }
}

impl Patch {
    fn lent(&self) -> TargetPatch<'_> {
        let values = match &self.values {
            Owned::Labels(labels) => Values::Labels(labels),
            Owned::Regions(regions) => Values::Regions(regions),
            Owned::Regression(values) => Values::Regression(values),
            Owned::Class(class) => Values::Class(*class),
        };
        TargetPatch { name: &self.name, values, valid: &self.valid }
    }

    fn lent_mut(&mut self) -> MadeTarget<'_> {
        let values = match &mut self.values {
            Owned::Labels(labels) => ValuesMut::Labels(labels),
            Owned::Regions(regions) => ValuesMut::Regions(regions),
            Owned::Regression(values) => ValuesMut::Regression(values),
            Owned::Class(class) => ValuesMut::Class(class),
        };
        MadeTarget { name: &self.name, values, valid: &mut self.valid, present: self.present }
    }
}
