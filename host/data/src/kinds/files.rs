//! What a kind is given of the files of a case, and what it makes of them.

use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{Geometry, Image, Reader};

use crate::fault::Error;
use crate::measure::Files;

/// What one case has of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseTarget {
    /// A map.
    File(PathBuf),
    /// Index of the class of the whole case.
    Class(usize),
}

impl CaseTarget {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Class(_) => None,
        }
    }
}

/// The map of a target, by the type in which it is stored. What is done to it on the way there follows from that: labels are resampled by a
/// vote of the voxels around, and are -1 where the image is empty; values are resampled linearly.
#[derive(Clone, Debug, PartialEq)]
pub enum Map {
    /// Labels (1, Z, Y, X).
    Labels(Volume<i16>),
    /// Real values (C, Z, Y, X).
    Values(Volume<f32>),
}

/// The image that a map lies on.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Reads the files of the data set.
    pub reader: Reader,
    /// The image.
    pub image: &'a Image,
    /// Its (first) file.
    pub path: &'a Path,
}

/// A check of the files of a case, which goes on after a finding.
pub trait Look {
    /// Opens a label map, and says if it does not lie on the image. None where it cannot be read.
    fn labels(&mut self, path: &Path) -> Option<Volume<i16>>;

    /// The same of real values (C, Z, Y, X), which must be finite.
    fn values(&mut self, path: &Path) -> Option<Volume<f32>>;

    /// Notes what training would say of the file at `path`.
    fn refuse(&mut self, path: &Path, error: Error);

    /// Notes an error.
    fn error(&mut self, path: &Path, found: String, remedy: &str);

    /// Notes something that may not have been meant.
    fn warning(&mut self, path: &Path, found: &str, remedy: &str);
}

/// A prediction and its reference.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The case.
    pub case: &'a str,
    /// The predicted file.
    pub prediction: &'a Path,
    /// What it is compared with.
    pub reference: &'a CaseTarget,
    /// Reads maps.
    pub reader: Reader,
    /// Surfaces that are at most so many mm apart count as equal.
    pub tolerance: f64,
    /// Files are compared although they differ in spacing or direction.
    pub ignore_geometry: bool,
}

impl Comparison<'_> {
    /// The two files of maps.
    pub(super) fn files(&self) -> Files {
        let reference = self.reference.file().expect("the reference of a map is a file");
        Files { prediction: self.prediction.to_owned(), reference: reference.to_owned() }
    }

    /// Refuses a prediction whose voxels are of another size than the reference's, or run in another direction; one that lies elsewhere is doubtful.
    pub(super) fn lie_on_each_other(&self, prediction: &Geometry, reference: &Geometry) -> Result<Option<String>, String> {
        let refused = prediction.spacing_differs(reference).or_else(|| prediction.direction_differs(reference));
        let doubt = refused.clone().or_else(|| prediction.origin_differs(reference));
        let told = |difference: String| format!("{} and its reference differ: {difference}", self.prediction.display());
        match refused {
            Some(difference) if !self.ignore_geometry => Err(format!(
                "{}. One of them is turned, mirrored, or of another resolution; compare files that belong together, or give --ignore-geometry",
                told(difference)
            )),
            _ => Ok(doubt.map(told)),
        }
    }
}
