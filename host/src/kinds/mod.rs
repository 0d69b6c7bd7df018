//! What becomes of a kind of target on its way through a training and a prediction: one file a kind, beside that of the same name in
//! [`data::kinds`].
//!
//! ```text
//! store ─ load ─→ TargetBatch { Levels: the forms that plugins know } ─→ tensors, what plugins see
//! logits ─ export ─→ Exported { Prediction } ─ write ─→ file ─ measure, draw
//! ```
//! A kind is told to plugins as one of those that they know ([`Kind::told`]), and its patches take the form of that; so losses, online metrics
//! and the border know nothing of kinds. Everything else asks [`of`].

mod class;
mod export;
mod labels;
pub(crate) mod levels;
mod load;
mod regression;
mod target_batch;
#[cfg(test)]
mod tests;

pub use export::{Exported, Extras, Frame, Prediction};
pub use levels::{Array, Levels};
pub use load::{LoadError, Memory, Stored};
pub use target_batch::TargetBatch;

use data::dataset::{CaseTarget, Operation, Origin, TargetKind};
use data::kinds::Case;
use data::measure::Files;
use imaging::Volume;
use imaging::augment::Recipe;
use imaging::io::{Geometry, Reader};
use std::path::{Path, PathBuf};
use tch::{TchError, Tensor};

/// What the stages of the program ask of a kind.
pub trait Kind {
    /// How trainers are told of it.
    fn told(&self) -> Told;

    /// Values a voxel in the patches of a target; 1 for the whole case.
    fn values_per_voxel(&self) -> usize;

    /// Room for `samples` patches with levels of these `shapes` (Z, Y, X), finest first.
    fn levels(&self, samples: usize, shapes: &[[usize; 3]]) -> Levels;

    /// Sets sample `index` of `out` to what the store has of the case; false where the case lacks the target. A kind that others can be derived
    /// from leaves the patch of its labels, -1 outside, in `patch`.
    ///
    /// # Errors
    /// When the store cannot be read, or has something else.
    fn load(
        &self,
        stored: &Stored,
        memory: &mut Memory,
        patch: &mut Vec<i16>,
        out: &mut TargetBatch,
        index: usize,
    ) -> Result<bool, LoadError>;

    /// Sets sample `index` of `out` to what `operation` makes of the patch of a label map. Nothing is known outside the volume, where
    /// [`clear_unknown`](data::dataset::clear_unknown) says so, and of distances where the patch shows no border.
    fn derive(&self, operation: &Operation, recipe: &Recipe, origin: &Origin, memory: &mut Memory, out: &mut TargetBatch, index: usize) {
        let _ = (recipe, origin, memory, out, index);
        unreachable!("{operation:?} makes other kinds")
    }

    /// What is predicted by `logits` on the preprocessed grid, where the plugin leaves activation as it is: (C, Z, Y, X), or (C,) of the whole
    /// case.
    ///
    /// # Errors
    /// When libtorch fails.
    fn export(&self, logits: &Tensor, frame: &Frame) -> Result<Exported, TchError> {
        self.export_whole(logits, frame)
    }

    /// The same, with all channels at the raw spacing at once.
    ///
    /// # Errors
    /// When libtorch fails.
    fn export_whole(&self, logits: &Tensor, frame: &Frame) -> Result<Exported, TchError> {
        self.export_active(&self.told().kind.activate(&frame.resampled(logits)?)?, frame)
    }

    /// What is predicted by activated logits at the raw spacing, in the shapes that plugins know: (1, C, Z, Y, X), or (Z, C, Y, X) from a 2D
    /// network; (1, C) of the whole case.
    ///
    /// # Errors
    /// When libtorch fails.
    fn export_active(&self, active: &Tensor, frame: &Frame) -> Result<Exported, TchError>;

    /// Writes what it exported.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write(&self, path: &Path, prediction: &Prediction, geometry: &Geometry) -> Result<(), imaging::io::Error>;

    /// Measures what it exported; none where the reference is of another kind.
    ///
    /// # Errors
    /// When the reference cannot be read, or the two cannot be compared.
    fn measure(&self, measured: &Measurable, reference: &CaseTarget) -> Result<Option<Case>, data::measure::Error>;

    /// The same by what `operation` makes of a whole label map, read from `file`. Cases without a border have no distance to it: none.
    ///
    /// # Errors
    /// When the two cannot be compared.
    fn measure_derived(
        &self,
        measured: &Measurable,
        operation: &Operation,
        origin: &Origin,
        file: &Path,
    ) -> Result<Option<Case>, data::measure::Error> {
        let _ = (measured, origin, file);
        unreachable!("{operation:?} makes other kinds")
    }

    /// What is drawn of the predicted file at `path`; nothing of what has no voxels.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn draw(&self, path: &Path, reader: Reader) -> Result<Option<Drawn>, imaging::io::Error> {
        let _ = (path, reader);
        Ok(None)
    }

    /// A table of all predictions, for those that are one line a case: cases with their predicted files in, comma-separated values out. Files that
    /// cannot be read are left out.
    fn table(&self, predicted: &mut dyn Iterator<Item = (&str, PathBuf)>) -> Option<String> {
        let _ = predicted;
        None
    }
}

/// A kind as trainers are told of it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The nearest that plugins know.
    pub kind: plugin_api::Kind,
    /// Channels that predict it.
    pub channels: usize,
    /// Names of what is evaluated.
    pub classes: Vec<String>,
    /// The label without supervision.
    pub ignore: Option<i64>,
}

/// A prediction that is to be measured.
#[derive(Debug)]
pub struct Measurable<'a> {
    /// Of this case.
    pub case: &'a str,
    /// The predicted file.
    pub path: &'a Path,
    /// What was exported.
    pub prediction: &'a Prediction,
    /// Reads references.
    pub reader: Reader,
}

impl Measurable<'_> {
    /// Its file and that of the reference.
    fn files(&self, reference: &Path) -> Files {
        Files { prediction: self.path.to_owned(), reference: reference.to_owned() }
    }
}

/// What is drawn of a target, (C, Z, Y, X).
#[derive(Clone, Debug, PartialEq)]
pub enum Drawn {
    /// Label values.
    Labels(Volume<i16>),
    /// Real values.
    Values(Volume<f32>),
}

impl Drawn {
    /// The labels, if it has some.
    pub fn labels(&self) -> Option<&Volume<i16>> {
        match self {
            Self::Labels(labels) => Some(labels),
            Self::Values(_) => None,
        }
    }
}

macro_rules! find {
    ($($kind:ident),*) => {
        /// The kind of a target.
        pub fn of(kind: &TargetKind) -> &dyn Kind {
            match kind {
                $(TargetKind::$kind(kind) => kind,)*
            }
        }
    };
}

data::for_every_kind!(find);
