//! `trainer.target-transform/1`: targets that a plugin makes itself, of the data set's, for every patch.
//!
//! For what has no files and would be wrong in files, because augmentation moves it: heatmaps of landmarks, weights of borders, offsets to a centre,
//! classes counted from a label map. The host makes a transform before the trainer, adds its targets to [`Task::targets`], and calls it on the loader's
//! threads with a patch that is augmented already, in plain memory. What it makes is supervised at coarser levels, drawn, measured by the online metrics,
//! and predicted as any other target.

mod table;

use crate::task::{Target, Task};
use crate::{Phase, Result, Trainer, bail};
use indexmap::IndexMap;

pub(super) use table::Of;
pub use table::{MadeView, SampleView, Table, TargetView};

/// Its id.
pub const ID: &str = "trainer.target-transform/1";

/// One patch of one case, augmented, before the trainer sees it as part of a batch.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// Identifier of the case.
    pub case: &'a str,
    /// For whatever is drawn: another one for every sample, the same in a run that is resumed.
    pub seed: u64,
    /// What it is for.
    pub phase: Phase,
    /// Z, Y, X in voxels; Z is 1 in 2D. Not always that of [`Task::patch_size`].
    pub size: [usize; 3],
    /// Of the voxels in mm, z, y, x. In 2D the first says nothing.
    pub spacing: [f64; 3],
    /// (C, Z, Y, X), as the network sees it.
    pub image: &'a [f32],
    /// (Z, Y, X): where the image has a voxel. Beyond it labels are 0.
    pub inside: &'a [bool],
    /// Targets of the data set that this case has.
    pub targets: Vec<TargetPatch<'a>>,
}

impl<'a> Sample<'a> {
    /// The target `name`; `None` where the case lacks it.
    pub fn target(&self, name: &str) -> Option<&TargetPatch<'a>> {
        self.targets.iter().find(|target| target.name == name)
    }
}

/// A target of a sample, at the finest level.
#[derive(Clone, Debug)]
pub struct TargetPatch<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it says.
    pub values: Values<'a>,
    /// (Z, Y, X): where it may be believed. Empty for classes.
    pub valid: &'a [bool],
}

/// Values of a target, in C order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// (Z, Y, X): classes from 0 (background), and the ignore label.
    Labels(&'a [i16]),
    /// (R, Z, Y, X): a channel a region; with an ignore label one more, true where that is.
    Regions(&'a [bool]),
    /// (C, Z, Y, X).
    Regression(&'a [f32]),
    /// One of the whole case.
    Class(i64),
}

impl<'a> TargetPatch<'a> {
    /// The label map, see [`Values::Labels`].
    ///
    /// # Errors
    /// When it is something else.
    pub fn labels(&self) -> Result<&'a [i16]> {
        match self.values {
            Values::Labels(values) => Ok(values),
            _ => bail!("target '{}' is no label map", self.name),
        }
    }

    /// The regions, see [`Values::Regions`].
    ///
    /// # Errors
    /// When it is something else.
    pub fn regions(&self) -> Result<&'a [bool]> {
        match self.values {
            Values::Regions(values) => Ok(values),
            _ => bail!("target '{}' is no map of regions", self.name),
        }
    }

    /// The real values, see [`Values::Regression`].
    ///
    /// # Errors
    /// When it is something else.
    pub fn regression(&self) -> Result<&'a [f32]> {
        match self.values {
            Values::Regression(values) => Ok(values),
            _ => bail!("target '{}' is no map of real values", self.name),
        }
    }

    /// The class.
    ///
    /// # Errors
    /// When it is something else.
    pub fn class(&self) -> Result<i64> {
        match self.values {
            Values::Class(values) => Ok(values),
            _ => bail!("target '{}' is no class of the whole case", self.name),
        }
    }
}

/// A target that is to be made: zero, valid everywhere and present, until something else is written.
#[derive(Debug)]
pub struct MadeTarget<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it will say.
    pub values: ValuesMut<'a>,
    /// (Z, Y, X): where it may be believed. The loss leaves out the rest, and the host sets it to 0. Empty for classes.
    pub valid: &'a mut [bool],
    /// False where the case lacks it, which only an [optional](Target::optional) one may say.
    pub present: bool,
}

/// [`Values`] to be written.
#[derive(Debug, PartialEq)]
pub enum ValuesMut<'a> {
    /// As [`Values::Labels`].
    Labels(&'a mut [i16]),
    /// As [`Values::Regions`].
    Regions(&'a mut [bool]),
    /// As [`Values::Regression`].
    Regression(&'a mut [f32]),
    /// As [`Values::Class`].
    Class(&'a mut i64),
}

impl MadeTarget<'_> {
    /// The label map, see [`Values::Labels`].
    ///
    /// # Errors
    /// When it was declared as something else.
    pub fn labels(&mut self) -> Result<&mut [i16]> {
        match &mut self.values {
            ValuesMut::Labels(values) => Ok(values),
            _ => bail!("target '{}' is no label map", self.name),
        }
    }

    /// The regions, see [`Values::Regions`].
    ///
    /// # Errors
    /// When it was declared as something else.
    pub fn regions(&mut self) -> Result<&mut [bool]> {
        match &mut self.values {
            ValuesMut::Regions(values) => Ok(values),
            _ => bail!("target '{}' is no map of regions", self.name),
        }
    }

    /// The real values, see [`Values::Regression`].
    ///
    /// # Errors
    /// When it was declared as something else.
    pub fn regression(&mut self) -> Result<&mut [f32]> {
        match &mut self.values {
            ValuesMut::Regression(values) => Ok(values),
            _ => bail!("target '{}' is no map of real values", self.name),
        }
    }

    /// The class.
    ///
    /// # Errors
    /// When it was declared as something else.
    pub fn class(&mut self) -> Result<&mut i64> {
        match &mut self.values {
            ValuesMut::Class(values) => Ok(values),
            _ => bail!("target '{}' is no class of the whole case", self.name),
        }
    }
}

/// Targets that a plugin makes itself. Its trainer offers it with `const EXTENSIONS: &'static [Extension] = &[Extension::target_transform::<Mine>()];`.
///
/// It lives beside the trainer, not in it: [`apply`](TargetTransform::apply) is called on several loader threads at once, while the trainer works on
/// another batch. These threads compute on plain memory and call nothing of torch.
/// After a panic no call begins any more, but those that have begun go on.
pub trait TargetTransform: Sized + Send + Sync {
    /// The trainer that it belongs to; they get the same options.
    type Trainer: Trainer;

    /// Makes the transform, before the trainer is made. `task` has the targets of the data set; their names are taken.
    fn new(task: &Task, options: <Self::Trainer as Trainer>::Options) -> Result<Self>;

    /// What it makes, by name: letters, digits, _ and -. Depends on nothing but options and [`Task::targets`], so that prediction finds the same.
    ///
    /// Labels, regions and classes have 2 channels or more, and names for all of them, the background of labels excepted; an ignore label is the number of
    /// channels for labels, any number for regions. One that [weighs](Target::weighs) another has one regression channel,
    /// [vectors](Target::vectors) have three. Those that not every case has are [optional](Target::optional).
    fn targets(&self) -> IndexMap<String, Target>;

    /// Makes the targets of one sample, `made`, in the order of [`targets`](TargetTransform::targets). The same sample gives the same.
    fn apply(&self, sample: &Sample, made: &mut [MadeTarget]) -> Result<()>;
}
