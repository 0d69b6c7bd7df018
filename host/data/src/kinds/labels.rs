//! Label maps: classes, or regions that overlap, by nnU-Net's rules ([`Labels`]).

use std::fmt;
use std::path::Path;

use imaging::io::JsonError;
use serde_json::{Value, json};

use super::{Beside, Case, Comparison, Declare, Form, Kind, Labels, Look, Map, Measure, Summary, Voxels};
use crate::entry::Entry;
use crate::fault::{Error, unnamed_advice};
use crate::measure::record::{self, Recorded};
use crate::measure::segmentation;
use crate::read::{read_labels, unnamed_labels};

impl Kind for Labels {
    fn form(&self) -> Form<'_> {
        Form::Voxels(self)
    }

    fn labels(&self) -> Option<&Labels> {
        Some(self)
    }

    fn compare(&self, pair: &Comparison) -> Result<(Case, Vec<String>), String> {
        let files = pair.files();
        let read = |path: &Path| pair.reader.read_labels(path).map_err(|e| e.to_string());
        let (prediction, reference) = (read(&files.prediction)?, read(&files.reference)?);
        // Before surfaces are measured, which takes longest.
        files.check_shapes(prediction.volume.shape(), reference.volume.shape()).map_err(|e| e.to_string())?;
        let mut doubts: Vec<String> = pair.lie_on_each_other(&prediction.geometry, &reference.geometry)?.into_iter().collect();
        let (foreground, ignore) = (self.foreground(), self.ignore);
        let scale = Some((reference.geometry.spacing(), pair.tolerance));
        let case = segmentation::case_metrics(files, &prediction.volume, &reference.volume, &foreground, ignore, scale);
        for (what, map) in [("prediction", &prediction.volume), ("reference", &reference.volume)] {
            let unnamed: Vec<String> =
                unnamed_labels(map, self).iter().map(|(value, voxels)| format!("{value} ({voxels} voxels)")).collect();
            if !unnamed.is_empty() {
                doubts
                    .push(format!("its {what} has values that dataset.json does not name, and that count nowhere: {}", unnamed.join(", ")));
            }
        }
        Ok((Case::Labels(case.map_err(|e| e.to_string())?), doubts))
    }

    fn summary(&self) -> Summary {
        Summary::Labels(segmentation::Summary::new(self))
    }

    fn read_summary(&self, path: &Path, ending: &str) -> Result<Recorded, JsonError> {
        record::of_label_maps(path, self, ending)
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Labels").field(self).finish()
    }
}

impl Voxels for Labels {
    fn read(&self, path: &Path, beside: &Beside) -> Result<Map, Error> {
        Ok(Map::Labels(read_labels(beside.reader, path, self, beside.image, beside.path)?))
    }

    fn stored_as(&self) -> Value {
        let values: Vec<Vec<i16>> = self.foreground().into_iter().map(|(_, values)| values).collect();
        json!({"values": values, "ignore": self.ignore})
    }

    fn check(&self, path: &Path, is_told: bool, look: &mut dyn Look) -> Option<bool> {
        let map = look.labels(path)?;
        if map.data().iter().all(|value| *value == 0) {
            look.warning(
                path,
                "every voxel is 0, the background",
                "correct the file; nothing is wrong if there is nothing to see in that case",
            );
        }
        // As the fingerprint has it.
        let foreground = map.data().iter().any(|value| *value > 0);
        let unnamed = if is_told { unnamed_labels(&map, self) } else { Default::default() };
        if let Some((first, _)) = unnamed.first_key_value() {
            let voxels = |n: usize| format!("{n} voxel{}", if n == 1 { "" } else { "s" });
            let values = unnamed.iter().map(|(value, n)| format!("{value} ({})", voxels(*n))).collect::<Vec<_>>().join(", ");
            let found = format!("label values that dataset.json does not name: {values}; expected {}", self.summary());
            look.error(path, found, unnamed_advice(*first));
        }
        Some(foreground)
    }
}

impl Declare for Labels {
    const NAME: &str = "labels";
    const KEYS: &[&str] = &["kind", "folder", "labels", "regions_class_order", "optional"];

    fn declare(entry: &Entry) -> Result<Self, Error> {
        Self::parse(entry)
    }
}

impl Measure for Labels {
    type Summary = segmentation::Summary;
}
