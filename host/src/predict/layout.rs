//! Which files a prediction becomes.

use super::{Exported, Extras, Input, npz, pickled, write};
use data::dataset::TargetKind;
use data::evaluate::folder::BESIDE_PREDICTIONS;
use data::plan::Plans;
use data::preprocess::Properties;
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
        let ending = if matches!(self.targets.get(output), Some(TargetKind::Class { .. })) { ".json" } else { self.ending };
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
    /// In one line.
    pub fn check(&self, input: &Input, geometry: &Geometry) -> Result<(), String> {
        let folders: HashSet<PathBuf> = self.targets.keys().map(|output| self.folder(output)).chain(self.region_folders()).collect();
        let is_own = |path: &PathBuf| BESIDE_PREDICTIONS.iter().any(|name| path.ends_with(name)) || folders.contains(path);
        let written = self.files(&input.id, geometry);
        if let Some(own) = written.iter().find(|path| is_own(path)) {
            return Err(format!("would be written to {}, which is the run's own file; rename the case", own.display()));
        }
        let same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        match input.images.iter().find(|image| written.iter().any(|path| same(path, image))) {
            Some(image) => Err(format!("its prediction would replace its image {}; give another --output", image.display())),
            None => Ok(()),
        }
    }

    /// Every file of one case.
    fn files(&self, case: &str, geometry: &Geometry) -> Vec<PathBuf> {
        let mut maps: Vec<PathBuf> = self.region_folders().map(|folder| folder.join(format!("{case}{}", self.ending))).collect();
        let mut files = Vec::new();
        for (output, kind) in self.targets {
            let path = self.path(output, case);
            if matches!(kind, TargetKind::Labels(_)) && self.extras.probabilities {
                files.extend(["npz", "pkl"].map(|ending| self.folder(output).join(format!("{case}.{ending}"))));
            }
            if matches!(kind, TargetKind::Class { .. }) { files.push(path) } else { maps.push(path) }
        }
        files.extend(maps.iter().filter_map(|map| imaging::io::beside(map, geometry)));
        files.extend(maps);
        files
    }

    fn region_folders(&self) -> impl Iterator<Item = PathBuf> {
        let with_regions = self.targets.iter().filter_map(|(output, kind)| match kind {
            TargetKind::Labels(labels) if self.extras.regions && labels.has_regions() => Some((output, labels)),
            _ => None,
        });
        with_regions.flat_map(|(output, labels)| labels.foreground().into_iter().map(|(region, _)| self.folder(output).join(region)))
    }

    /// Writes the files of one case; the one that says that an output is complete comes after what is beside it.
    pub(super) fn write(
        &self,
        input: &Input,
        exported: &IndexMap<String, Exported>,
        geometry: &Geometry,
        properties: &Properties,
    ) -> Result<(), String> {
        for (name, Exported { prediction, probabilities, regions }) in exported {
            let folder = self.folder(name);
            for (region, mask) in regions {
                let path = folder.join(region).join(format!("{}{}", input.id, self.ending));
                imaging::io::write_labels(&path, mask, geometry).map_err(|error| error.to_string())?;
            }
            if let Some(probabilities) = probabilities {
                let path = folder.join(format!("{}.npz", input.id));
                npz::write(&path, "probabilities", probabilities).map_err(|error| error.to_string())?;
                let path = path.with_extension("pkl");
                pickled::write(&path, properties, geometry, self.plans).map_err(|error| error.to_string())?;
            }
            write(&self.path(name, &input.id), prediction, &self.targets[name.as_str()], geometry).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
