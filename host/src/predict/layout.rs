//! Which files a prediction becomes.

use super::{CaseFiles, Error, Exported, Extras, Predicted, npz, pickled};
use crate::kinds;
use data::dataset::TargetKind;
use data::evaluate::folder::BESIDE_PREDICTIONS;
use data::plan::Plans;
use imaging::io::{Geometry, Reader};
use indexmap::IndexMap;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Where predictions go.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// The folder.
    pub output: &'a Path,
    /// Kind of every output's target, the first output first.
    pub targets: &'a IndexMap<String, TargetKind>,
    /// Of image files.
    pub ending: &'a str,
    /// Reads images and maps.
    pub reader: Reader,
    /// The model's.
    pub plans: &'a Plans,
    /// What is written beside label maps.
    pub extras: Extras,
}

impl Layout<'_> {
    /// The folder of an output's files.
    pub fn folder(&self, output: &str) -> PathBuf {
        if self.targets.get_index_of(output) == Some(0) { self.output.to_owned() } else { self.output.join(output) }
    }

    /// The file of an output for one case.
    pub fn path(&self, output: &str, case: &str) -> PathBuf {
        let ending = self.targets.get(output).map_or(self.ending, |kind| kind.ending(self.ending));
        self.folder(output).join(format!("{case}{ending}"))
    }

    /// Whether everything that is predicted for a case is there.
    pub fn is_complete(&self, case: &str) -> bool {
        self.targets.keys().all(|output| self.path(output, case).is_file())
    }

    /// Refuses a case one of whose files would take the place of one of its images, or of a file or folder that the run has in the same
    /// folder whatever its cases are called.
    ///
    /// # Errors
    /// When it would.
    pub fn check(&self, case: &CaseFiles, geometry: &Geometry) -> Result<(), Error> {
        let folders: HashSet<PathBuf> = self.targets.keys().map(|output| self.folder(output)).chain(self.region_folders()).collect();
        let is_own = |path: &PathBuf| BESIDE_PREDICTIONS.iter().any(|name| path.ends_with(name)) || folders.contains(path);
        let written = self.files(&case.id, geometry);
        if let Some(own) = written.iter().find(|path| is_own(path)) {
            return Err(Error::OwnFile { path: own.clone() });
        }
        let same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        match case.images.iter().find(|image| written.iter().any(|path| same(path, image))) {
            Some(image) => Err(Error::ReplacesImage { path: image.clone() }),
            None => Ok(()),
        }
    }

    /// Every file of one case.
    fn files(&self, case: &str, geometry: &Geometry) -> Vec<PathBuf> {
        let mut maps: Vec<PathBuf> = self.region_folders().map(|folder| folder.join(format!("{case}{}", self.ending))).collect();
        let mut files = Vec::new();
        for (output, kind) in self.targets {
            let path = self.path(output, case);
            if kind.labels().is_some() && self.extras.probabilities {
                files.extend(["npz", "pkl"].map(|ending| self.folder(output).join(format!("{case}.{ending}"))));
            }
            if kind.is_dense() { maps.push(path) } else { files.push(path) }
        }
        files.extend(maps.iter().filter_map(|map| imaging::io::beside(map, geometry)));
        files.extend(maps);
        files
    }

    fn region_folders(&self) -> impl Iterator<Item = PathBuf> {
        let labels = self.targets.iter().filter_map(|(output, kind)| Some((output, kind.labels()?)));
        let with_regions = labels.filter(|(_, labels)| self.extras.regions && labels.has_regions());
        with_regions.flat_map(|(output, labels)| labels.foreground().into_iter().map(|(region, _)| self.folder(output).join(region)))
    }

    /// Writes the files of one case; the one that says that an output is complete comes after what is beside it.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, case: &CaseFiles, predicted: &Predicted) -> Result<(), Error> {
        let Predicted { outputs, properties, geometry } = predicted;
        for (name, Exported { prediction, probabilities, regions }) in outputs {
            let folder = self.folder(name);
            for (region, mask) in regions {
                imaging::io::write_labels(&folder.join(region).join(format!("{}{}", case.id, self.ending)), mask, geometry)?;
            }
            if let Some(probabilities) = probabilities {
                let path = folder.join(format!("{}.npz", case.id));
                npz::write(&path, "probabilities", probabilities)?;
                pickled::write(&path.with_extension("pkl"), properties, geometry, self.plans)?;
            }
            kinds::of(&self.targets[name.as_str()]).write(&self.path(name, &case.id), prediction, geometry)?;
        }
        Ok(())
    }
}
