//! Reading: the parts of a mapped file that a box needs.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rawzip::{CompressionMethod, ZipArchive};
use serde_json::Value;

use super::Error;
use super::blosc::decompress;
use super::layout::{ABSENT, Element, INDEX_ENTRY, Layout, METADATA};
use crate::io::open_file;
use crate::{BoundingBox, Volume};

#[cfg(target_endian = "big")]
compile_error!("chunks are little-endian and read as they are");

thread_local! {
    /// What a chunk is decompressed into, again and again.
    static CHUNK: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// A file of arrays, mapped into memory.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    map: Mmap,
    attributes: Value,
    arrays: Vec<Array>,
}

#[derive(Debug)]
struct Array {
    name: String,
    layout: Layout,
    /// Where its shard lies in the file.
    shard: Range<usize>,
}

impl Array {
    /// Where the index lies, which ends the shard.
    fn index(&self) -> usize {
        self.shard.end - self.layout.grid().iter().product::<usize>() * INDEX_ENTRY
    }
}

/// What a file should have been.
struct Mismatch {
    found: String,
    expected: String,
}

impl Mismatch {
    fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

impl Store {
    /// Maps the file, reads its directory and the metadata of every array; no number yet. The file may be replaced by renaming
    /// meanwhile, but must not be changed in place.
    ///
    /// # Errors
    /// When the file cannot be opened or is not what [`super::write`] writes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let read = |cause| Error::Read { path: path.to_path_buf(), cause };
        let file = open_file(path).map_err(read)?;
        // SAFETY: files are replaced by renaming, never written to in place (see above), so the mapped bytes do not change and
        // the file does not shrink as long as nobody else tampers with it.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        match parse(&map) {
            Ok((attributes, arrays)) => Ok(Self { path: path.to_path_buf(), map, attributes, arrays }),
            Err(Mismatch { found, expected }) => Err(Error::Damaged { path: path.to_path_buf(), found, expected }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Attributes of the root group.
    pub fn attributes(&self) -> &Value {
        &self.attributes
    }

    /// Name, data type as Zarr names it, and shape of every array; shapes of fewer than four axes have leading ones.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &'static str, [usize; 4])> {
        self.arrays.iter().map(|array| (array.name.as_str(), array.layout.data_type, array.layout.shape))
    }

    /// The part of the volume `name` inside `bbox`, all channels; none where there is no such array.
    ///
    /// # Errors
    /// When a chunk is damaged, or the array holds other numbers.
    ///
    /// # Panics
    /// When `bbox` reaches beyond the volume.
    pub fn volume<T: Element>(&self, name: &str, bbox: &BoundingBox) -> Result<Option<Volume<T>>, Error> {
        let mut out = Volume::default();
        Ok(self.read_volume(name, bbox, &mut out)?.then_some(out))
    }

    /// [`Self::volume`] into a volume whose memory is used again; false, and `out` as it was, where there is no such array.
    ///
    /// # Errors
    /// As [`Self::volume`].
    ///
    /// # Panics
    /// As [`Self::volume`].
    pub fn read_volume<T: Element>(&self, name: &str, bbox: &BoundingBox, out: &mut Volume<T>) -> Result<bool, Error> {
        let Some(array) = self.arrays.iter().find(|array| array.name == name) else { return Ok(false) };
        let (lower, upper) = bounds(array, bbox);
        let [depth, height, width] = bbox.size();
        out.refill([array.layout.shape[0], depth, height, width], |values| match array.layout.data_type {
            narrow if narrow == T::Narrow::DATA_TYPE => self.read::<T::Narrow, T>(array, lower, upper, values),
            _ => self.read::<T, T>(array, lower, upper, values),
        })?;
        Ok(true)
    }

    /// Has the system bring into memory what [`Self::volume`] would decompress; what is there already costs next to nothing.
    ///
    /// # Panics
    /// When `bbox` reaches beyond the volume.
    pub fn fetch(&self, name: &str, bbox: &BoundingBox) {
        /// The smallest page there is.
        const PAGE: usize = 4096;
        let Some(array) = self.arrays.iter().find(|array| array.name == name) else { return };
        let (lower, upper) = bounds(array, bbox);
        for place in places(&array.layout, lower, upper) {
            // Damage is reported when the chunk is read.
            for byte in self.chunk(array, place).unwrap_or_default().iter().step_by(PAGE) {
                std::hint::black_box(*byte);
            }
        }
    }

    /// Row `row` of the table `name`; none where there is no such array or row.
    ///
    /// # Errors
    /// When the row's chunk is damaged, or the array holds other numbers.
    pub fn row<T: Element>(&self, name: &str, row: usize) -> Result<Option<[T; 3]>, Error> {
        let array = self.arrays.iter().find(|array| array.name == name);
        let Some(array) = array.filter(|array| matches!(array.layout.shape, [1, 1, rows, 3] if row < rows)) else { return Ok(None) };
        let mut values = Vec::with_capacity(3);
        self.read::<T, T>(array, [0, 0, row, 0], [1, 1, row + 1, 3], &mut values)?;
        Ok(values.try_into().ok())
    }

    /// Puts the numbers from `lower` up to `upper`, in C order, into `values`, which is empty; the file has them as `S`.
    fn read<S: Element + Into<T>, T: Element>(
        &self,
        array: &Array,
        lower: [usize; 4],
        upper: [usize; 4],
        values: &mut Vec<T>,
    ) -> Result<(), Error> {
        let damaged = |found: String, expected: String| Error::Damaged { path: self.path.clone(), found, expected };
        let layout = &array.layout;
        if layout.data_type != S::DATA_TYPE {
            return Err(damaged(format!("{}: {}", array.name, layout.data_type), T::DATA_TYPE.to_owned()));
        }
        let size: [usize; 4] = std::array::from_fn(|axis| upper[axis] - lower[axis]);
        let count = size.iter().product();
        if values.try_reserve_exact(count).is_err() {
            return Err(damaged(format!("{}: {size:?}", array.name), "a volume that fits into memory".to_owned()));
        }
        if count == 0 {
            return Ok(());
        }
        let out = &mut values.spare_capacity_mut()[..count];
        CHUNK.with_borrow_mut(|memory| {
            // In words of eight bytes, so that it is aligned for whatever number.
            memory.resize((layout.chunk_items() * size_of::<S>()).div_ceil(size_of::<u64>()), 0);
            let chunk: &mut [S] = &mut bytemuck::cast_slice_mut(memory)[..layout.chunk_items()];
            for place in places(layout, lower, upper) {
                let present = match self.chunk(array, place) {
                    Some([]) => false,
                    Some(bytes) if decompress(bytes, bytemuck::cast_slice_mut(chunk)) => true,
                    _ => return Err(damaged(format!("{}: chunk {place:?}", array.name), "a whole one".to_owned())),
                };
                scatter(layout, place, present.then_some(&*chunk), lower, upper, out);
            }
            Ok(())
        })?;
        // SAFETY: the chunks visited cover the box, and `scatter` has written every number of theirs that lies in it.
        unsafe { values.set_len(count) };
        Ok(())
    }

    /// The compressed bytes of a chunk, empty where it was left out; none when the index points outside the shard.
    fn chunk(&self, array: &Array, place: [usize; 4]) -> Option<&[u8]> {
        let grid = array.layout.grid();
        let number = ((place[0] * grid[1] + place[1]) * grid[2] + place[2]) * grid[3] + place[3];
        let index = array.index();
        let entry = self.map.get(index + number * INDEX_ENTRY..)?;
        let (position, rest) = entry.split_first_chunk()?;
        let (position, length) = (u64::from_le_bytes(*position), u64::from_le_bytes(*rest.first_chunk()?));
        if position == ABSENT && length == ABSENT {
            return Some(&[]);
        }
        let start = array.shard.start.checked_add(usize::try_from(position).ok()?)?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        // An empty chunk would pass for one that was left out.
        if length > 0 && end <= index { self.map.get(start..end) } else { None }
    }
}

/// `bbox` of all channels, as the corners of a box of four axes.
///
/// # Panics
/// When `bbox` reaches beyond the volume.
fn bounds(array: &Array, bbox: &BoundingBox) -> ([usize; 4], [usize; 4]) {
    let [channels, shape @ ..] = array.layout.shape;
    let (lower, upper) = (bbox.lower, bbox.upper);
    assert!((0..3).all(|axis| lower[axis] <= upper[axis] && upper[axis] <= shape[axis]), "{bbox:?} reaches beyond {shape:?}");
    ([0, lower[0], lower[1], lower[2]], [channels, upper[0], upper[1], upper[2]])
}

/// The chunks that a box meets.
fn places(layout: &Layout, lower: [usize; 4], upper: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    let [cs, zs, ys, xs] = std::array::from_fn(|axis| match upper[axis].checked_sub(1) {
        Some(last) if last >= lower[axis] => lower[axis] / layout.chunk[axis]..last / layout.chunk[axis] + 1,
        _ => 0..0,
    });
    cs.flat_map(move |c| {
        let (ys, xs) = (ys.clone(), xs.clone());
        zs.clone().flat_map(move |z| {
            let xs = xs.clone();
            ys.clone().flat_map(move |y| xs.clone().map(move |x| [c, z, y, x]))
        })
    })
}

/// Copies what a chunk and the box from `lower` to `upper` share into `out`, which holds the box; zeros without a chunk.
fn scatter<S: Element + Into<T>, T: Element>(
    layout: &Layout,
    place: [usize; 4],
    chunk: Option<&[S]>,
    lower: [usize; 4],
    upper: [usize; 4],
    out: &mut [MaybeUninit<T>],
) {
    let size = layout.chunk;
    let start: [usize; 4] = std::array::from_fn(|axis| place[axis] * size[axis]);
    let shared: [Range<usize>; 4] = std::array::from_fn(|axis| start[axis].max(lower[axis])..(start[axis] + size[axis]).min(upper[axis]));
    let index = |[c, z, y, x]: [usize; 4], origin: [usize; 4], [_, depth, height, width]: [usize; 4]| {
        (((c - origin[0]) * depth + z - origin[1]) * height + y - origin[2]) * width + x - origin[3]
    };
    let extent: [usize; 4] = std::array::from_fn(|axis| upper[axis] - lower[axis]);
    let width = shared[3].len();
    for c in shared[0].clone() {
        for z in shared[1].clone() {
            for y in shared[2].clone() {
                let first = [c, z, y, shared[3].start];
                let row = &mut out[index(first, lower, extent)..][..width];
                match chunk {
                    Some(chunk) => {
                        for (value, kept) in row.iter_mut().zip(&chunk[index(first, start, size)..][..width]) {
                            value.write((*kept).into());
                        }
                    }
                    None => row.fill(MaybeUninit::zeroed()),
                }
            }
        }
    }
}

/// Finds all arrays and checks that they have the form that they are read in.
fn parse(file: &[u8]) -> Result<(Value, Vec<Array>), Mismatch> {
    let broken = |error: rawzip::Error| Mismatch::new(error.to_string(), "a whole ZIP file");
    let zip = ZipArchive::from_slice(file).map_err(broken)?;
    let mut entries = Vec::new();
    let mut directory = zip.entries();
    while let Some(entry) = directory.next_entry().map_err(broken)? {
        let name = entry.file_path();
        let name = std::str::from_utf8(name.as_ref()).map_err(|error| Mismatch::new(error.to_string(), "names in UTF-8"))?.to_owned();
        if entry.compression_method() != CompressionMethod::STORE {
            return Err(Mismatch::new(format!("{name} compressed by ZIP"), "entries as they are"));
        }
        let (start, end) = zip.get_entry(entry.wayfinder()).map_err(broken)?.compressed_data_range();
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok()).map(|(start, end)| start..end);
        let range = range.filter(|range| file.get(range.clone()).is_some());
        entries.push((name.clone(), range.ok_or_else(|| Mismatch::new(format!("{name} beyond the end"), "a whole ZIP file"))?));
    }
    let find = |name: &str| entries.iter().find(|(other, _)| other == name).map(|(_, range)| range.clone());
    let mut root = None;
    let mut arrays = Vec::new();
    for (key, range) in &entries {
        let name = match key.strip_suffix(METADATA) {
            Some(name) if name.is_empty() || name.ends_with('/') => name,
            _ => continue,
        };
        let key = key.escape_debug();
        let metadata: Value =
            serde_json::from_slice(&file[range.clone()]).map_err(|error| Mismatch::new(format!("{key}: {error}"), "JSON"))?;
        match (name.strip_suffix('/'), metadata["node_type"].as_str()) {
            (None, Some("group")) => root = Some(metadata["attributes"].clone()),
            (Some(_), Some("group")) => {}
            (Some(name), Some("array")) => {
                let layout = Layout::parse(&metadata)
                    .ok_or_else(|| Mismatch::new(format!("{key}: {}", excerpt(&metadata)), "an array of this program"))?;
                let shard = find(&format!("{name}/{}", layout.shard_key()));
                let shard = shard.ok_or_else(|| Mismatch::new(format!("no chunks of {name}"), "them"))?;
                let index = layout.grid().iter().product::<usize>().checked_mul(INDEX_ENTRY);
                if index.is_none_or(|index| index > shard.len()) {
                    return Err(Mismatch::new(format!("{} bytes of {name}", shard.len()), "its index"));
                }
                arrays.push(Array { name: name.to_owned(), layout, shard });
            }
            _ => return Err(Mismatch::new(format!("{key}: {}", excerpt(&metadata)), "a group or an array")),
        }
    }
    let attributes = root.ok_or_else(|| Mismatch::new("no zarr.json", "a group"))?;
    Ok((attributes, arrays))
}

/// The beginning, for a message.
fn excerpt(metadata: &Value) -> String {
    metadata.to_string().chars().take(200).collect()
}
