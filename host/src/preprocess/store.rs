//! The store: one safetensors file a case, read in place through a memory map.
//!
//! Tensors: `image` f32 (C, Z, Y, X); `labels/<target>` i16 (1, Z, Y, X); `regression/<target>` f32 (C, Z, Y, X);
//! `locations/<target>/<index>` i32 (N, 3). The header's metadata has one key, `case`: JSON with properties and classes.
//! Files are only ever replaced as a whole, never changed in place, so a map stays valid while a new version is written.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use imaging::{Volume, VolumeView};
use indexmap::IndexMap;
use memmap2::Mmap;
use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Error, PreprocessedCase, Properties};
use crate::dataset::{Case, CaseTarget};

#[cfg(target_endian = "big")]
compile_error!("the store is read in place and its numbers are little-endian");

/// The key of the header's metadata.
const CASE: &str = "case";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    properties: Properties,
    classes: IndexMap<String, usize>,
    inputs: String,
}

/// File of a case inside the folder of a store.
pub fn case_path(store: &Path, case_id: &str) -> PathBuf {
    store.join(format!("{case_id}.safetensors"))
}

/// Writes a case; the file appears complete or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_case(path: &Path, case: &PreprocessedCase) -> Result<(), Error> {
    let fail = |reason: String| Error::Serialise { path: path.to_path_buf(), reason };
    let mut tensors = vec![("image".to_owned(), view(&case.image))];
    tensors.extend(case.labels.iter().map(|(name, map)| (format!("labels/{name}"), view(map))));
    tensors.extend(case.maps.iter().map(|(name, map)| (format!("regression/{name}"), view(map))));
    for (name, lists) in &case.locations {
        for (index, list) in lists.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
            let view = TensorView::new(Dtype::I32, vec![list.len(), 3], bytes(list));
            tensors.push((format!("locations/{name}/{index}"), view));
        }
    }
    let tensors = tensors
        .into_iter()
        .map(|(name, view)| view.map(|view| (name, view)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(error.to_string()))?;
    let header = Header { properties: case.properties.clone(), classes: case.classes.clone(), inputs: case.inputs.clone() };
    let header = serde_json::to_string(&header).map_err(|error| fail(error.to_string()))?;
    let metadata = HashMap::from([(CASE.to_owned(), header)]);
    let file = safetensors::serialize(tensors, Some(metadata)).map_err(|error| fail(error.to_string()))?;
    imaging::io::write_atomically(path, |out| out.write_all(&file))?;
    Ok(())
}

/// A case of the store, mapped into memory.
#[derive(Debug)]
pub struct StoredCase {
    map: Mmap,
    layout: Layout,
}

impl StoredCase {
    /// Maps a file of the store and checks its header; voxels are read when they are asked for.
    ///
    /// # Errors
    /// When the file cannot be opened or is not what [`write_case`] writes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let access = |source| Error::Access { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(access)?;
        // SAFETY: files of the store are replaced by renaming, never written to in place, so the mapped bytes do not
        // change and the file does not shrink as long as nobody else tampers with it.
        let map = unsafe { Mmap::map(&file) }.map_err(access)?;
        match Layout::parse(&map) {
            Ok(layout) => Ok(Self { map, layout }),
            Err(Mismatch { found, expected }) => Err(Error::Store { path: path.to_path_buf(), found, expected: expected.to_owned() }),
        }
    }

    /// The image (C, Z, Y, X).
    pub fn image(&self) -> VolumeView<'_, f32> {
        self.volume(&self.layout.image)
    }

    /// How the image lies in the raw one.
    pub fn properties(&self) -> &Properties {
        &self.layout.header.properties
    }

    /// The label map (1, Z, Y, X) of a target, -1 outside the nonzero mask; `None` where the case lacks it.
    pub fn labels(&self, target: &str) -> Option<VolumeView<'_, i16>> {
        self.layout.labels.get(target).map(|tensor| self.volume(tensor))
    }

    /// The regression map (C, Z, Y, X) of a target; `None` where the case lacks it.
    pub fn regression(&self, target: &str) -> Option<VolumeView<'_, f32>> {
        self.layout.regression.get(target).map(|tensor| self.volume(tensor))
    }

    /// The class index of a target; `None` where the case lacks it.
    pub fn class(&self, target: &str) -> Option<usize> {
        self.layout.header.classes.get(target).copied()
    }

    /// Sampled voxels (z, y, x) of a labels target: index into `Labels::foreground` and voxels, classes that the case does
    /// not have left out. With an ignore label the index one past the last class holds annotated voxels of any label.
    pub fn locations(&self, target: &str) -> impl Iterator<Item = (usize, &[[i32; 3]])> {
        let lists = self.layout.locations.get(target).into_iter().flatten();
        lists.map(|(index, bytes)| (*index, numbers(&self.map[bytes.clone()])))
    }

    /// State of the files that it was made from.
    pub(super) fn inputs(&self) -> &str {
        &self.layout.header.inputs
    }

    /// Whether this is made of the targets that `case` has.
    pub(super) fn has_targets_of(&self, case: &Case) -> bool {
        let stored = self.layout.labels.len() + self.layout.regression.len() + self.layout.header.classes.len();
        let present = case.targets.values().flatten().count();
        stored == present
            && case.targets.iter().all(|(name, target)| match target {
                Some(CaseTarget::Class(index)) => self.class(name) == Some(*index),
                Some(CaseTarget::File(_)) => self.labels(name).is_some() || self.regression(name).is_some(),
                None => true,
            })
    }

    fn volume<T: Number>(&self, tensor: &Tensor) -> VolumeView<'_, T> {
        VolumeView { shape: tensor.shape, data: numbers(&self.map[tensor.bytes.clone()]) }
    }
}

/// Where everything is in a file.
#[derive(Debug)]
struct Layout {
    header: Header,
    image: Tensor,
    labels: IndexMap<String, Tensor>,
    regression: IndexMap<String, Tensor>,
    /// Index and bytes of every list of voxels, by target.
    locations: IndexMap<String, Vec<(usize, Range<usize>)>>,
}

/// A volume in the file.
#[derive(Debug)]
struct Tensor {
    shape: [usize; 4],
    bytes: Range<usize>,
}

/// What a file should have been.
struct Mismatch {
    found: String,
    expected: &'static str,
}

impl Mismatch {
    fn new(found: String, expected: &'static str) -> Self {
        Self { found, expected }
    }
}

impl Layout {
    /// Checks that all tensors have the type, the shape and the alignment that they are later read with.
    fn parse(file: &[u8]) -> Result<Self, Mismatch> {
        let (length, metadata) =
            SafeTensors::read_metadata(file).map_err(|error| Mismatch::new(error.to_string(), "a complete safetensors file"))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(CASE)).map_or("", String::as_str);
        let header: Header =
            serde_json::from_str(header).map_err(|error| Mismatch::new(format!("metadata: {error}"), "the properties of a case"))?;
        // The tensors follow the header and its length.
        let start = size_of::<u64>() + length;
        let bytes = |info: &TensorInfo| start + info.data_offsets.0..start + info.data_offsets.1;
        let mut image = None;
        let mut labels = IndexMap::new();
        let mut regression = IndexMap::new();
        let mut locations: IndexMap<String, Vec<(usize, Range<usize>)>> = IndexMap::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let bytes = bytes(info);
            let wrong = |expected| Mismatch::new(format!("{name}: {:?} {}", info.shape, info.dtype), expected);
            if !(file.as_ptr() as usize + bytes.start).is_multiple_of(info.dtype.bitsize().div_ceil(8)) {
                return Err(wrong("numbers aligned to their size"));
            }
            let volume = |dtype: Dtype, expected| match (info.dtype == dtype, &info.shape[..]) {
                (true, [c, z, y, x]) => Ok(Tensor { shape: [*c, *z, *y, *x], bytes: bytes.clone() }),
                _ => Err(wrong(expected)),
            };
            match name.split('/').collect::<Vec<_>>()[..] {
                ["image"] => image = Some(volume(Dtype::F32, "an F32 volume")?),
                ["labels", target] => {
                    labels.insert(target.to_owned(), volume(Dtype::I16, "an I16 volume")?);
                }
                ["regression", target] => {
                    regression.insert(target.to_owned(), volume(Dtype::F32, "an F32 volume")?);
                }
                ["locations", target, index] => match (index.parse(), info.dtype, &info.shape[..]) {
                    (Ok(index), Dtype::I32, [_, 3]) => {
                        locations.entry(target.to_owned()).or_default().push((index, bytes));
                    }
                    _ => return Err(wrong("I32 voxels of shape [N, 3]")),
                },
                _ => return Err(wrong("image, labels/…, regression/… or locations/…/…")),
            }
        }
        locations.values_mut().for_each(|lists| lists.sort_by_key(|(index, _)| *index));
        let image = image.ok_or_else(|| Mismatch::new("no tensor image".to_owned(), "one"))?;
        let fits = |tensor: &Tensor| tensor.shape[1..] == image.shape[1..];
        if labels.values().all(|map| fits(map) && map.shape[0] == 1) && regression.values().all(fits) {
            Ok(Self { header, image, labels, regression, locations })
        } else {
            Err(Mismatch::new("targets of other shapes than the image".to_owned(), "one shape"))
        }
    }
}

/// Numbers that may be read from any bytes of the right alignment.
trait Number: Copy {
    const DTYPE: Dtype;
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl Number for i16 {
    const DTYPE: Dtype = Dtype::I16;
}

impl Number for [i32; 3] {
    const DTYPE: Dtype = Dtype::I32;
}

fn view<T: Number>(volume: &Volume<T>) -> Result<TensorView<'_>, SafeTensorError> {
    TensorView::new(T::DTYPE, volume.shape().to_vec(), bytes(volume.data()))
}

fn bytes<T: Number>(values: &[T]) -> &[u8] {
    // SAFETY: the types that are `Number` have no padding, so all their bytes are initialised; a u8 needs no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The reverse of [`bytes`]; `Layout::parse` has checked that `bytes` are aligned and a whole number of values.
fn numbers<T: Number>(bytes: &[u8]) -> &[T] {
    // SAFETY: the types that are `Number` are valid for any bytes; `align_to` cares for alignment and length.
    let (before, values, after) = unsafe { bytes.align_to() };
    debug_assert!(before.is_empty() && after.is_empty(), "checked when the file was opened");
    values
}

#[cfg(test)]
mod tests {
    use imaging::BoundingBox;

    use super::*;

    fn case() -> PreprocessedCase {
        let count = |shape: [usize; 4]| shape.iter().product::<usize>();
        let f32s = |shape| Volume::new(shape, (0..count(shape)).map(|i| i as f32 / 3.0).collect());
        // An odd number of voxels: everything after the first I16 map would be misaligned if tensors were not ordered.
        let labels = |start: i16| Volume::new([1, 3, 3, 3], (0..27).map(|i| start + i).collect());
        PreprocessedCase {
            inputs: String::new(),
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
                (0..12).map(|i| if i == 1 { vec![] } else { vec![[i, 0, 2]; i as usize + 1] }).collect(),
            )]),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = case_path(folder.path(), "a");
        let case = case();
        write_case(&path, &case).expect("written");
        let stored = StoredCase::open(&path).expect("readable");
        assert_eq!(stored.image(), case.image.view());
        assert_eq!(stored.properties(), &case.properties);
        assert_eq!(stored.labels("whole"), Some(case.labels["whole"].view()));
        assert_eq!(stored.labels("segmentation"), Some(case.labels["segmentation"].view()));
        assert_eq!(stored.regression("flow"), Some(case.maps["flow"].view()));
        assert_eq!((stored.class("size"), stored.class("flow")), (Some(2), None));
        assert!(stored.labels("flow").is_none() && stored.locations("whole").next().is_none());
        let found: Vec<_> = stored.locations("segmentation").collect();
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert!(found.iter().all(|(index, voxels)| *voxels == case.locations["segmentation"][*index]));
    }

    #[test]
    fn equal_cases_have_equal_bytes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = ["a", "b"].map(|id| {
            let path = case_path(folder.path(), id);
            write_case(&path, &case()).expect("written");
            std::fs::read(path).expect("readable")
        });
        assert_eq!(files[0], files[1]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.safetensors");
        write_case(&path, &case()).expect("written");
        let good = std::fs::read(&path).expect("readable");
        let open = |content: &[u8]| {
            // A new file each time: the mapped one must not be changed.
            std::fs::remove_file(&path).expect("there");
            std::fs::write(&path, content).expect("written");
            StoredCase::open(&path).expect_err("must be refused").to_string()
        };
        for length in [0, 7, 100, good.len() - 1] {
            let message = open(&good[..length]);
            assert!(message.contains("a.safetensors: ") && message.contains("remove it"), "{length}: {message}");
        }
        let replaced = |from: &str, to: &str| {
            assert_eq!(from.len(), to.len());
            let at = good.windows(from.len()).position(|window| window == from.as_bytes()).expect("in the header");
            let mut content = good.clone();
            content[at..at + to.len()].copy_from_slice(to.as_bytes());
            open(&content)
        };
        assert!(replaced("\"image\"", "\"other\"").contains("other"));
        assert!(replaced("\"dtype\":\"F32\"", "\"dtype\":\"U32\"").contains("U32"));
        assert!(replaced("bbox", "bxob").contains("properties of a case"));
        assert!(replaced("[2,3,3,3]", "[2,1,9,3]").contains("other shapes than the image"));
    }
}
