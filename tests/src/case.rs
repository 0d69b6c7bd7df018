//! Small data sets in nnU-Net's format.

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Voxels along every axis of the first case; the others are a little longer.
pub const SIZE: usize = 16;
/// Number of cases.
pub const CASES: usize = 6;

/// An image of 16 voxels along every axis, no two neighbours of which are alike.
pub fn image() -> Volume<f32> {
    Volume::new([1, SIZE, SIZE, SIZE], (0..SIZE.pow(3)).map(|i| (i * 37 % 251) as f32).collect())
}

/// A data set of one channel and two organs: a bright ball and a dark box in noise.
#[derive(Debug)]
pub struct RawData {
    /// `…/Dataset001_Small`.
    pub folder: PathBuf,
}

impl RawData {
    /// Writes it below `parent`.
    pub fn write(parent: &Path) -> Self {
        let data = Self { folder: parent.join("Dataset001_Small") };
        fs::create_dir_all(&data.folder).expect("writable");
        for number in 0..CASES {
            let (image, labels) = phantom(number);
            let geometry = Geometry::with_spacing([1.0; 3]);
            write_image(&data.image(number), &image, &geometry).expect("writable");
            write_labels(&data.labels(number), &labels, &geometry).expect("writable");
        }
        data.describe(json!({}));
        data
    }

    /// Adds copies until there are `cases` cases.
    pub fn multiply(&self, cases: usize) {
        for number in CASES..cases {
            fs::copy(self.image(number % CASES), self.image(number)).expect("writable");
            fs::copy(self.labels(number % CASES), self.labels(number)).expect("writable");
        }
        self.describe(json!({"numTraining": cases}));
    }

    /// The image of a case.
    pub fn image(&self, number: usize) -> PathBuf {
        self.folder.join(format!("imagesTr/case_{number:03}_0000.nii"))
    }

    /// The label map of a case.
    pub fn labels(&self, number: usize) -> PathBuf {
        self.folder.join(format!("labelsTr/case_{number:03}.nii"))
    }

    /// Writes `dataset.json` with these further keys.
    pub fn describe(&self, further: Value) {
        let mut description = json!({
            "channel_names": {"0": "MRI"},
            "labels": {"background": 0, "ball": 1, "box": 2},
            "numTraining": CASES,
            "file_ending": ".nii",
        });
        for (key, value) in further.as_object().into_iter().flatten() {
            description[key] = value.clone();
        }
        fs::write(self.folder.join("dataset.json"), description.to_string()).expect("writable");
    }

    /// Replaces the labels of a case by `change` of them.
    pub fn relabel(&self, number: usize, change: impl FnOnce(Volume<i16>) -> Volume<i16>) {
        let labels = change(phantom(number).1);
        write_labels(&self.labels(number), &labels, &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
}

fn phantom(number: usize) -> (Volume<f32>, Volume<i16>) {
    let shape = [1, SIZE, SIZE + number % 2, SIZE];
    let centre = [5 + number % 3, 5, 10];
    let (mut image, mut labels) = (Volume::filled(shape, 0.0f32), Volume::filled(shape, 0i16));
    let (mut i, mut noise) = (0, number as u32 + 1);
    for z in 0..shape[1] {
        for y in 0..shape[2] {
            for x in 0..shape[3] {
                let squared: usize = [z, y, x].iter().zip(centre).map(|(a, b)| a.abs_diff(b).pow(2)).sum();
                let label = match squared <= 16 {
                    true => 1,
                    false if (9..14).contains(&y) && (2..7).contains(&x) && (4..12).contains(&z) => 2,
                    false => 0,
                };
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                labels.data_mut()[i] = label;
                image.data_mut()[i] = [100.0, 180.0, 40.0][label as usize] + (noise >> 16) as f32 / 65_536.0 * 20.0;
                i += 1;
            }
        }
    }
    (image, labels)
}
