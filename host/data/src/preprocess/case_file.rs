//! A case of the store: one file, out of which any part can be read without the rest.
//!
//! A file is a Zarr v3 hierarchy in an uncompressed ZIP ([`imaging::zarr`]). Arrays: `image` f32 (C, Z, Y, X); `labels/<target>`
//! i16 (1, Z, Y, X), or i8 where all labels fit; `maps/<target>` f32 (C, Z, Y, X); `locations/<target>` i32 (N, 3), the voxels of all
//! classes one class after the other. The root's attributes have one key, `case`: properties, classes, what files it was made from, the
//! key of the store that it belongs to, and the number of voxels of every class.
//! Files are only ever replaced as a whole, never changed in place, so that they can be read while a new version is written.

use std::path::Path;

use imaging::zarr::{Element, NewArray, Store, chunk_shape, write};
use imaging::{BoundingBox, Volume};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::case::Inputs;
use super::{Error, PreprocessedCase, Properties};
use crate::dataset::{Case, CaseTarget};

/// What names of files end with.
pub(super) const ENDING: &str = ".zarr.zip";
/// The key of the root's attributes.
const CASE: &str = "case";
const IMAGE: &str = "image";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    properties: Properties,
    classes: IndexMap<String, usize>,
    #[serde(flatten)]
    inputs: Inputs,
    /// That of the store; files of versions up to 2026-11 lack it.
    #[serde(default)]
    key: Option<String>,
    /// For every labels target the number of voxels of every class, in the order of `Labels::foreground`.
    locations: IndexMap<String, Vec<usize>>,
}

fn labels_name(target: &str) -> String {
    format!("labels/{target}")
}

fn map_name(target: &str) -> String {
    format!("maps/{target}")
}

fn locations_name(target: &str) -> String {
    format!("locations/{target}")
}

/// See [`CaseStore::write`](super::CaseStore::write).
pub(super) fn write_case(path: &Path, case: &PreprocessedCase, patch: [usize; 3], key: &str) -> Result<(), Error> {
    let chunk = chunk_shape(case.image.spatial(), patch);
    let mut arrays = vec![NewArray::volume(IMAGE, case.image.view(), chunk)];
    arrays.extend(case.labels.iter().map(|(name, map)| NewArray::volume(labels_name(name), map.view(), chunk)));
    arrays.extend(case.maps.iter().map(|(name, map)| NewArray::volume(map_name(name), map.view(), chunk)));
    let locations: Vec<(&String, Vec<[i32; 3]>)> = case.locations.iter().map(|(name, lists)| (name, lists.concat())).collect();
    arrays.extend(locations.iter().map(|(name, voxels)| NewArray::table(locations_name(name), voxels)));
    let header = Header {
        properties: case.properties.clone(),
        classes: case.classes.clone(),
        inputs: case.inputs.clone(),
        key: Some(key.to_owned()),
        locations: case.locations.iter().map(|(name, lists)| (name.clone(), lists.iter().map(Vec::len).collect())).collect(),
    };
    Ok(write(path, &IndexMap::from([(CASE, header)]), &arrays)?)
}

/// A case of the store.
#[derive(Debug)]
pub struct StoredCase {
    store: Store,
    header: Header,
    /// Shape of the image.
    shape: [usize; 4],
}

impl StoredCase {
    /// Opens a file of the store and checks what it has; voxels are read when they are asked for.
    ///
    /// # Errors
    /// When the file cannot be opened or is not what [`CaseStore::write`](super::CaseStore::write) writes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let store = Store::open(path)?;
        let wrong = |found: String, expected: &str| Error::Store { path: path.to_path_buf(), found, expected: expected.to_owned() };
        let header = Header::deserialize(&store.attributes()[CASE])
            .map_err(|error| wrong(format!("attributes: {error}"), "the properties of a case"))?;
        let image = store.arrays().find(|(name, ..)| *name == IMAGE);
        let shape = image.map(|(_, _, shape)| shape).ok_or_else(|| wrong("no array image".to_owned(), "one"))?;
        for (name, data_type, found) in store.arrays() {
            let same_grid = found[1..] == shape[1..];
            let (right, expected) = match name.split_once('/') {
                None if name == IMAGE => (data_type == f32::DATA_TYPE, "float32"),
                Some(("labels", _)) => (
                    [i8::DATA_TYPE, i16::DATA_TYPE].contains(&data_type) && same_grid && found[0] == 1,
                    "int8 or int16 of the image's shape",
                ),
                Some(("maps", _)) => (data_type == f32::DATA_TYPE && same_grid, "float32 of the image's shape"),
                Some(("locations", target)) => {
                    let counts = header.locations.get(target).into_iter().flatten();
                    let total = counts.fold(0_usize, |sum, count| sum.saturating_add(*count));
                    (data_type == i32::DATA_TYPE && found == [1, 1, total, 3], "int32, one row for each of its voxels")
                }
                _ => (false, "image, labels/…, maps/… or locations/…"),
            };
            if !right {
                return Err(wrong(format!("{name}: {data_type} {found:?}"), expected));
            }
        }
        Ok(Self { store, header, shape })
    }

    /// How the image lies in the raw one.
    pub fn properties(&self) -> &Properties {
        &self.header.properties
    }

    /// Shape of all volumes (z, y, x).
    pub fn spatial(&self) -> [usize; 3] {
        let [_, z, y, x] = self.shape;
        [z, y, x]
    }

    /// Channels of the image.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// Has the system bring into memory what image and targets have inside `bbox`, before it is read.
    pub fn fetch(&self, bbox: &BoundingBox) {
        for (name, ..) in self.store.arrays().filter(|(name, ..)| !name.starts_with("locations/")) {
            self.store.fetch(name, bbox);
        }
    }

    /// The image (C, Z, Y, X) inside `bbox`.
    ///
    /// # Errors
    /// When the file is damaged there.
    ///
    /// # Panics
    /// Like all that read a box: when it reaches beyond [`Self::spatial`].
    pub fn image(&self, bbox: &BoundingBox) -> Result<Volume<f32>, Error> {
        let mut out = Volume::default();
        self.read_image(bbox, &mut out)?;
        Ok(out)
    }

    /// [`Self::image`] into a volume whose memory is used again.
    ///
    /// # Errors
    /// When the file is damaged there.
    pub fn read_image(&self, bbox: &BoundingBox, out: &mut Volume<f32>) -> Result<(), Error> {
        // That there is one was checked when the file was opened.
        self.store.read_volume(IMAGE, bbox, out)?;
        Ok(())
    }

    /// Reads the label map (1, Z, Y, X) of a target inside `bbox`, -1 outside the nonzero mask; false where the case lacks it.
    ///
    /// # Errors
    /// When the file is damaged there.
    pub fn read_labels(&self, target: &str, bbox: &BoundingBox, out: &mut Volume<i16>) -> Result<bool, Error> {
        Ok(self.store.read_volume(&labels_name(target), bbox, out)?)
    }

    /// Reads the regression or weight map (C, Z, Y, X) of a target inside `bbox`; false where the case lacks it.
    ///
    /// # Errors
    /// When the file is damaged there.
    pub fn read_map(&self, target: &str, bbox: &BoundingBox, out: &mut Volume<f32>) -> Result<bool, Error> {
        Ok(self.store.read_volume(&map_name(target), bbox, out)?)
    }

    /// The class index of a target; `None` where the case lacks it.
    pub fn class(&self, target: &str) -> Option<usize> {
        self.header.classes.get(target).copied()
    }

    /// How many voxels of every class of a labels target [`Self::location`] knows, in the order of `Labels::foreground`. With an ignore
    /// label a last number follows, that of annotated voxels of any label. Empty where the case lacks the target.
    pub fn location_counts(&self, target: &str) -> &[usize] {
        self.header.locations.get(target).map_or(&[], Vec::as_slice)
    }

    /// Sampled voxel (z, y, x) number `index` of class number `class` of a labels target; `None` beyond
    /// [`Self::location_counts`].
    ///
    /// # Errors
    /// When the file is damaged there.
    pub fn location(&self, target: &str, class: usize, index: usize) -> Result<Option<[i32; 3]>, Error> {
        let counts = self.location_counts(target);
        if counts.get(class).is_none_or(|count| index >= *count) {
            return Ok(None);
        }
        let row = counts[..class].iter().sum::<usize>() + index;
        let voxel = self.store.row::<i32>(&locations_name(target), row)?;
        let inside = |voxel: &[i32; 3]| voxel.iter().zip(self.spatial()).all(|(at, size)| usize::try_from(*at).is_ok_and(|at| at < size));
        match voxel.filter(inside) {
            Some(voxel) => Ok(Some(voxel)),
            None => Err(Error::Store {
                path: self.store.path().to_path_buf(),
                found: format!("voxel {row} of {target}: {voxel:?}"),
                expected: format!("one inside {:?}", self.spatial()),
            }),
        }
    }

    /// The files that it was made from.
    pub(super) fn inputs(&self) -> &Inputs {
        &self.header.inputs
    }

    /// The key of the store that it was written to, where the file says so.
    pub(super) fn key(&self) -> Option<&str> {
        self.header.key.as_deref()
    }

    /// Whether this is made of the targets that `case` has.
    pub(super) fn has_targets_of(&self, case: &Case) -> bool {
        let has = |array: String| self.store.arrays().any(|(name, ..)| name == array);
        let dense = self.store.arrays().filter(|(name, ..)| name.starts_with("labels/") || name.starts_with("maps/")).count();
        let present = case.targets.values().flatten().count();
        dense + self.header.classes.len() == present
            && case.targets.iter().all(|(name, target)| match target {
                Some(CaseTarget::Class(index)) => self.class(name) == Some(*index),
                Some(CaseTarget::File(_)) => has(labels_name(name)) || has(map_name(name)),
                None => true,
            })
    }
}

#[cfg(test)]
impl StoredCase {
    /// The label map of a target inside `bbox`; `None` where the case lacks it.
    pub fn labels(&self, target: &str, bbox: &BoundingBox) -> Result<Option<Volume<i16>>, Error> {
        let mut out = Volume::default();
        Ok(self.read_labels(target, bbox, &mut out)?.then_some(out))
    }

    /// The regression or weight map of a target inside `bbox`; `None` where the case lacks it.
    pub fn map(&self, target: &str, bbox: &BoundingBox) -> Result<Option<Volume<f32>>, Error> {
        let mut out = Volume::default();
        Ok(self.read_map(target, bbox, &mut out)?.then_some(out))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const PATCH: [usize; 3] = [2, 3, 3];

    fn case() -> PreprocessedCase {
        let count = |shape: [usize; 4]| shape.iter().product::<usize>();
        let f32s = |shape| Volume::new(shape, (0..count(shape)).map(|i| i as f32 / 3.0).collect());
        let labels = |start: i16| Volume::new([1, 3, 3, 3], (0..27).map(|i| start + i).collect());
        PreprocessedCase {
            inputs: Inputs::default(),
            image: f32s([2, 3, 3, 3]),
            properties: Properties {
                spacing: [1.0, 0.7, 1.0 / 3.0],
                shape: [5, 5, 5],
                bbox: BoundingBox { lower: [1, 1, 1], upper: [4, 4, 4] },
                shape_after_crop: [3, 3, 3],
            },
            labels: IndexMap::from([("segmentation".to_owned(), labels(-1)), ("whole".to_owned(), labels(100))]),
            maps: IndexMap::from([("flow".to_owned(), f32s([3, 3, 3, 3]))]),
            classes: IndexMap::from([("size".to_owned(), 2)]),
            locations: IndexMap::from([(
                "segmentation".to_owned(),
                (0..12).map(|i| if i == 1 { vec![] } else { (0..=i * 100).map(|j| [i % 3, j % 3, 2]).collect() }).collect(),
            )]),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.zarr.zip");
        let case = case();
        write_case(&path, &case, PATCH, "key").expect("written");
        let stored = StoredCase::open(&path).expect("readable");
        assert_eq!((stored.spatial(), stored.channels(), stored.properties()), ([3; 3], 2, &case.properties));
        for bbox in [BoundingBox::whole([3; 3]), BoundingBox { lower: [1, 0, 2], upper: [3, 2, 3] }] {
            assert_eq!(stored.image(&bbox).expect("whole"), case.image.crop(&bbox));
            for target in ["whole", "segmentation"] {
                assert_eq!(stored.labels(target, &bbox).expect("whole"), Some(case.labels[target].crop(&bbox)));
            }
            assert_eq!(stored.map("flow", &bbox).expect("whole"), Some(case.maps["flow"].crop(&bbox)));
            assert_eq!(stored.labels("flow", &bbox).expect("whole"), None);
        }
        assert_eq!((stored.class("size"), stored.class("flow")), (Some(2), None));
        let lists = &case.locations["segmentation"];
        assert_eq!(stored.location_counts("segmentation"), lists.iter().map(Vec::len).collect::<Vec<_>>());
        for (class, list) in lists.iter().enumerate() {
            for index in 0..=list.len() {
                assert_eq!(stored.location("segmentation", class, index).expect("whole"), list.get(index).copied());
            }
        }
        assert!(stored.location_counts("whole").is_empty() && stored.location("whole", 0, 0).expect("whole").is_none());
    }

    #[test]
    fn equal_cases_have_equal_bytes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = ["a", "b"].map(|id| {
            let path = folder.path().join(format!("{id}.zarr.zip"));
            write_case(&path, &case(), PATCH, "key").expect("written");
            std::fs::read(path).expect("readable")
        });
        assert_eq!(files[0], files[1]);
    }

    #[test]
    fn files_that_are_no_case_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.zarr.zip");
        write_case(&path, &case(), PATCH, "key").expect("written");
        let header = StoredCase::open(&path).expect("readable").store.attributes()[CASE].clone();
        let volume = Volume::filled([1, 3, 3, 3], 1_i16);
        let image = Volume::filled([2, 3, 3, 3], 1.0_f32);
        let other = Volume::filled([1, 3, 3, 2], 1_i16);
        let refuse = |header: &Value, arrays: &[NewArray]| {
            write(&path, &IndexMap::from([(CASE, header)]), arrays).expect("written");
            let message = StoredCase::open(&path).expect_err("must be refused").to_string();
            assert!(message.contains("a.zarr.zip: ") && message.contains("remove it") && !message.contains('\n'), "{message}");
            message
        };
        let image = || NewArray::volume(IMAGE, image.view(), [3; 3]);
        assert!(refuse(&Value::Null, &[image()]).contains("properties of a case"));
        assert!(refuse(&header, &[]).contains("no array image"));
        assert!(refuse(&header, &[image(), NewArray::volume("labels/whole", other.view(), [3; 3])]).contains("int16 of the image's shape"));
        assert!(refuse(&header, &[image(), NewArray::volume("maps/flow", volume.view(), [3; 3])]).contains("float32 of the image's shape"));
        assert!(refuse(&header, &[image(), NewArray::volume("other", volume.view(), [3; 3])]).contains("other: int8"));
        assert!(refuse(&header, &[image(), NewArray::table("locations/whole", &[[0_i32; 3]])]).contains("one row for each"));
        // A voxel that lies outside is refused when it is drawn.
        let mut header = header;
        header["locations"] = serde_json::json!({"whole": [1]});
        let table = [[0, 3, 0]];
        let arrays = [image(), NewArray::table("locations/whole", &table)];
        write(&path, &IndexMap::from([(CASE, header)]), &arrays).expect("written");
        let message = StoredCase::open(&path).expect("readable").location("whole", 0, 0).expect_err("must be refused").to_string();
        assert!(message.contains("[0, 3, 0]") && message.contains("inside [3, 3, 3]"), "{message}");
    }
}
