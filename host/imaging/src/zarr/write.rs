//! Writing: arrays are cut into chunks, compressed one by one, and streamed into the ZIP file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use rawzip::ZipArchiveWriter;
use serde::Serialize;

use super::blosc::{Filter, compress};
use super::layout::{ABSENT, Element, Layout, MAX_CHUNK, METADATA};
use crate::VolumeView;
use crate::io::write_atomically;

/// Chunks of an array that both filters are tried on at most, and one of how many is.
const TRIALS: usize = 8;
const TRIAL_EVERY: usize = 16;
/// Rows of a chunk of a table.
const ROWS: usize = 1024;

/// An array to be written.
#[derive(Clone, Debug)]
pub struct NewArray<'a> {
    name: String,
    data_type: &'static str,
    rank: usize,
    shape: [usize; 4],
    chunk: [usize; 4],
    data: Cow<'a, [u8]>,
}

impl<'a> NewArray<'a> {
    /// A volume (C, Z, Y, X), in chunks of one channel and of `chunk` voxels; [`super::chunk_shape`] proposes them. The name may
    /// have one slash, after the name of a group. Numbers are kept as [`Element::Narrow`] where all fit.
    pub fn volume<T: Element>(name: impl Into<String>, volume: VolumeView<'a, T>, [z, y, x]: [usize; 3]) -> Self {
        let same = T::DATA_TYPE == T::Narrow::DATA_TYPE;
        let narrow = if same { None } else { volume.data.iter().map(|value| (*value).try_into().ok()).collect::<Option<Vec<T::Narrow>>>() };
        let (data_type, data) = match narrow {
            Some(narrow) => (T::Narrow::DATA_TYPE, Cow::Owned(bytemuck::cast_slice(&narrow).to_vec())),
            None => (T::DATA_TYPE, Cow::Borrowed(bytemuck::cast_slice(volume.data))),
        };
        Self { name: name.into(), data_type, rank: 4, shape: volume.shape, chunk: [1, z, y, x], data }
    }

    /// A table (N, 3).
    pub fn table<T: Element>(name: impl Into<String>, rows: &'a [[T; 3]]) -> Self {
        let (shape, chunk) = ([1, 1, rows.len(), 3], [1, 1, ROWS, 3]);
        let data = Cow::Borrowed(bytemuck::cast_slice(rows.as_flattened()));
        Self { name: name.into(), data_type: T::DATA_TYPE, rank: 2, shape, chunk, data }
    }
}

/// A group's metadata.
#[derive(Serialize)]
struct Group<A> {
    zarr_format: u8,
    node_type: &'static str,
    attributes: A,
}

impl<A> Group<A> {
    fn new(attributes: A) -> Self {
        Self { zarr_format: 3, node_type: "group", attributes }
    }
}

/// Writes `arrays` and the root group's `attributes`, an object, to `path`; the file appears complete or not at all. Equal arrays make equal
/// files.
///
/// # Errors
/// When the file cannot be written; when a name is not one that every Zarr library takes, or chunks are empty or larger than 1 MiB.
pub fn write(path: &Path, attributes: &impl Serialize, arrays: &[NewArray]) -> Result<(), crate::io::Error> {
    write_atomically(path, |out| {
        let mut zip = ZipArchiveWriter::new(out);
        entry(&mut zip, METADATA, |file| Ok(serde_json::to_writer(file, &Group::new(attributes))?))?;
        let groups: BTreeSet<&str> = arrays.iter().filter_map(|array| Some(array.name.split_once('/')?.0)).collect();
        for name in groups {
            entry(&mut zip, &format!("{name}/{METADATA}"), |file| {
                Ok(serde_json::to_writer(file, &Group::new(BTreeMap::<&str, ()>::new()))?)
            })?;
        }
        for array in arrays {
            check(array)?;
            let filter = better_filter(array)?;
            let NewArray { name, data_type, rank, shape, chunk, .. } = array;
            let layout = Layout { data_type, shape: *shape, chunk: *chunk, rank: *rank, filter };
            entry(&mut zip, &format!("{name}/{METADATA}"), |file| Ok(serde_json::to_writer(file, &layout.metadata())?))?;
            entry(&mut zip, &format!("{name}/{}", layout.shard_key()), |file| write_shard(file, &layout, &array.data))?;
        }
        zip.finish().map_err(io::Error::other)?;
        Ok(())
    })
}

/// Refuses what could not be read back.
fn check(array: &NewArray) -> io::Result<()> {
    let item = array.data.len().checked_div(array.shape.iter().product::<usize>()).unwrap_or(1);
    let bytes = array.chunk.iter().product::<usize>() * item;
    if bytes == 0 || bytes > MAX_CHUNK {
        let reason = format!("array {:?}: chunks {:?} have {bytes} bytes, expected 1 to {MAX_CHUNK}", array.name, array.chunk);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let parts: Vec<&str> = array.name.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.chars().all(|c| c == '.') || part.starts_with("__")) {
        let reason =
            format!("array {:?}: expected a name without slashes that has more than dots and does not begin with '__'", array.name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(())
}

/// Writes one entry of a ZIP file, uncompressed: chunks are compressed already.
fn entry<W: Write>(zip: &mut ZipArchiveWriter<W>, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (mut entry, config) = zip.new_file(name).start().map_err(io::Error::other)?;
    let mut file = config.wrap(&mut entry);
    write(&mut file)?;
    let (_, descriptor) = file.finish().map_err(io::Error::other)?;
    entry.finish(descriptor).map_err(io::Error::other)?;
    Ok(())
}

/// The filter that makes a few chunks from all over the array smaller; which it is depends on whether an image was resampled
/// (nnU-Net `nnUNetDatasetBlosc2._select_filter` tries both, too).
fn better_filter(array: &NewArray) -> io::Result<Filter> {
    let NewArray { data_type, rank, shape, chunk, .. } = array;
    let layout = Layout { data_type, shape: *shape, chunk: *chunk, rank: *rank, filter: Filter::None };
    let count: usize = layout.grid().iter().product();
    let trials = count.div_ceil(TRIAL_EVERY).min(TRIALS);
    let mut chunk = vec![0; layout.chunk_items() * layout.item()];
    let (mut plain, mut shuffled) = (Vec::new(), Vec::new());
    for trial in 0..trials {
        gather(&layout, &array.data, (2 * trial + 1) * count / (2 * trials), &mut chunk);
        compress(&chunk, layout.item(), Filter::None, &mut plain)?;
        compress(&chunk, layout.item(), Filter::Shuffle, &mut shuffled)?;
    }
    Ok(if shuffled.len() < plain.len() { Filter::Shuffle } else { Filter::None })
}

/// All chunks in C order, then their index.
fn write_shard(file: &mut dyn Write, layout: &Layout, data: &[u8]) -> io::Result<()> {
    let count: usize = layout.grid().iter().product();
    let mut index: Vec<u64> = Vec::with_capacity(2 * count);
    let mut chunk = vec![0; layout.chunk_items() * layout.item()];
    let mut compressed = Vec::new();
    let mut position = 0;
    for number in 0..count {
        gather(layout, data, number, &mut chunk);
        if chunk.iter().all(|byte| *byte == 0) {
            index.extend([ABSENT, ABSENT]);
            continue;
        }
        compressed.clear();
        compress(&chunk, layout.item(), layout.filter, &mut compressed)?;
        file.write_all(&compressed)?;
        index.extend([position, compressed.len() as u64]);
        position += compressed.len() as u64;
    }
    let index: Vec<u8> = index.into_iter().flat_map(u64::to_le_bytes).collect();
    file.write_all(&index)
}

/// Copies chunk `number` out of `data`; what lies beyond the array is zero.
fn gather(layout: &Layout, data: &[u8], number: usize, chunk: &mut [u8]) {
    let (grid, size, shape, item) = (layout.grid(), layout.chunk, layout.shape, layout.item());
    let place =
        [number / (grid[1] * grid[2] * grid[3]), number / (grid[2] * grid[3]) % grid[1], number / grid[3] % grid[2], number % grid[3]];
    let lower: [usize; 4] = std::array::from_fn(|axis| place[axis] * size[axis]);
    let inside: [usize; 4] = std::array::from_fn(|axis| size[axis].min(shape[axis] - lower[axis]));
    if inside != size {
        chunk.fill(0);
    }
    let row = inside[3] * item;
    for c in 0..inside[0] {
        for z in 0..inside[1] {
            for y in 0..inside[2] {
                let from = (((lower[0] + c) * shape[1] + lower[1] + z) * shape[2] + lower[2] + y) * shape[3] + lower[3];
                let to = ((c * size[1] + z) * size[2] + y) * size[3];
                chunk[to * item..][..row].copy_from_slice(&data[from * item..][..row]);
            }
        }
    }
}
