//! Maps of real numbers, one or several at every voxel: distances, vectors, and weights of other targets.

use std::path::Path;

use imaging::io::JsonError;
use serde_json::{Value, json};

use super::{Beside, Case, Comparison, Declare, Form, Kind, Look, Map, Measure, Summary, Voxels};
use crate::entry::Entry;
use crate::fault::Error;
use crate::measure::record::{self, Recorded};
use crate::measure::regression;
use crate::read::{check_channels, read_regression};

/// More than any target needs, and few enough to find memory for.
pub const MOST_CHANNELS: usize = 1024;

/// Real numbers at every voxel.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// Numbers a voxel.
    pub channels: usize,
    /// Value outside the image.
    pub pad: f32,
    /// Whether the channels are the components (z, y, x) of a vector along the axes of the file, in mm: they turn with space.
    pub vectors: bool,
}

impl Kind for Regression {
    fn form(&self) -> Form<'_> {
        Form::Voxels(self)
    }

    fn is_vector(&self) -> bool {
        self.vectors
    }

    fn compare(&self, pair: &Comparison) -> Result<(Case, Vec<String>), String> {
        let files = pair.files();
        let read = |path: &Path| pair.reader.read_image(path).map_err(|e| e.to_string());
        let (prediction, reference) = (read(&files.prediction)?, read(&files.reference)?);
        let case = regression::case_metrics(files, &prediction.volume, &reference.volume, None).map_err(|e| e.to_string())?;
        let doubt = pair.lie_on_each_other(&prediction.geometry, &reference.geometry)?;
        Ok((Case::Regression(case), doubt.into_iter().collect()))
    }

    fn summary(&self) -> Summary {
        Summary::Regression(regression::Summary::default())
    }

    fn read_summary(&self, path: &Path, ending: &str) -> Result<Recorded, JsonError> {
        record::of_values(path, ending)
    }
}

impl Voxels for Regression {
    fn read(&self, path: &Path, beside: &Beside) -> Result<Map, Error> {
        Ok(Map::Values(read_regression(beside.reader, path, self.channels, beside.image, beside.path)?))
    }

    fn stored_as(&self) -> Value {
        json!({"channels": self.channels, "vectors": self.vectors})
    }

    fn check(&self, path: &Path, _: bool, look: &mut dyn Look) -> Option<bool> {
        let map = look.values(path)?;
        if let Err(error) = check_channels(path, map.channels(), self.channels) {
            look.refuse(path, error);
        }
        None
    }
}

impl Declare for Regression {
    const NAME: &str = "regression";
    const KEYS: &[&str] = &["kind", "folder", "channels", "pad", "vectors", "optional"];

    fn declare(entry: &Entry) -> Result<Self, Error> {
        let channels = match entry.get("channels") {
            None => 1,
            Some(channels) => match channels.value.as_u64() {
                Some(n) if (1..=MOST_CHANNELS as u64).contains(&n) => n as usize,
                _ => return Err(channels.wrong(&channels.value.to_string(), &format!("the number of channels, from 1 to {MOST_CHANNELS}"))),
            },
        };
        let pad = match entry.get("pad") {
            None => 0.0,
            Some(pad) => match pad.value.as_f64() {
                Some(value) if (value as f32).is_finite() => value as f32,
                _ => return Err(pad.wrong(&pad.value.to_string(), "a number: the value outside the image")),
            },
        };
        let vectors = entry.get("vectors").map(|vectors| vectors.boolean()).transpose()?.unwrap_or(false);
        if vectors && channels != 3 {
            return Err(entry.wrong(&format!("vectors with {channels} channels"), "\"channels\": 3, the components along z, y and x"));
        }
        Ok(Self { channels, pad, vectors })
    }
}

impl Measure for Regression {
    type Summary = regression::Summary;
}
