//! What lies where: data types, chunks, and the metadata that says so.

use serde_json::{Value, json};

use super::blosc::{COMPRESSOR, Filter, LEVEL};

/// Metadata of every group and array.
pub(super) const METADATA: &str = "zarr.json";
/// An entry of a shard's index: where a chunk begins and how long it is, as u64.
pub(super) const INDEX_ENTRY: usize = 16;
/// Both numbers of a chunk that was left out.
pub(super) const ABSENT: u64 = u64::MAX;
/// Bytes of a chunk at most. What is read back is held against it, so that a damaged file cannot ask for any amount.
pub(super) const MAX_CHUNK: usize = 1 << 20;

/// Numbers that arrays are made of.
pub trait Element: bytemuck::Pod + TryInto<Self::Narrow> {
    /// Their name in Zarr.
    const DATA_TYPE: &'static str;
    /// What volumes are kept in whose values all fit: half as much to decompress for label maps of few labels, which is how
    /// nnU-Net keeps them, too.
    type Narrow: Element + Into<Self>;
}

impl Element for f32 {
    const DATA_TYPE: &'static str = "float32";
    type Narrow = Self;
}

impl Element for i8 {
    const DATA_TYPE: &'static str = "int8";
    type Narrow = Self;
}

impl Element for i16 {
    const DATA_TYPE: &'static str = "int16";
    type Narrow = i8;
}

impl Element for i32 {
    const DATA_TYPE: &'static str = "int32";
    type Narrow = Self;
}

/// Name and size in bytes of all data types.
const DATA_TYPES: [(&str, usize); 4] = [
    (f32::DATA_TYPE, size_of::<f32>()),
    (i8::DATA_TYPE, size_of::<i8>()),
    (i16::DATA_TYPE, size_of::<i16>()),
    (i32::DATA_TYPE, size_of::<i32>()),
];

/// Chunks (z, y, x) for volumes of spatial shape `spatial` out of which boxes of size `patch` are read.
///
/// They have the form of a patch, which keeps what is read beside it small along every axis, and about 20,000 voxels: much smaller
/// ones compress badly, as LZ4 looks back 64 KiB; larger ones decompress much that is not asked for. Rows are rather longer, since
/// they are copied one by one. One slice deep for patches of one slice, unless slices are so small that several make a chunk.
pub fn chunk_shape(spatial: [usize; 3], patch: [usize; 3]) -> [usize; 3] {
    const VOXELS: f64 = 20_000.0;
    const STEP: f64 = 8.0;
    let spatial = spatial.map(|size| size.max(1));
    let span: [usize; 3] = std::array::from_fn(|axis| patch[axis].min(spatial[axis]).max(1));
    let axes = span.iter().filter(|size| **size > 1).count().max(1);
    let scale = (VOXELS / span.iter().product::<usize>() as f64).powf(1.0 / axes as f64);
    let mut chunk: [usize; 3] = std::array::from_fn(|axis| {
        let steps = span[axis] as f64 * scale / STEP;
        let size = match axis {
            _ if span[axis] == 1 => 1.0,
            _ if steps < 1.0 => (steps * STEP).round(),
            2 => steps.ceil() * STEP,
            _ => steps.floor() * STEP,
        };
        let size = (size as usize).clamp(1, spatial[axis]);
        // What a patch shows as a whole is cut evenly: chunks that reach beyond it hold zeros for nothing.
        if spatial[axis] <= patch[axis] { spatial[axis].div_ceil(spatial[axis].div_ceil(size)) } else { size }
    });
    let slice = chunk[1] * chunk[2];
    if chunk[0] == 1 {
        chunk[0] = (VOXELS as usize / slice).clamp(1, spatial[0]);
    }
    chunk
}

/// Form of one array. Shapes of fewer axes than four have leading ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub data_type: &'static str,
    pub shape: [usize; 4],
    pub chunk: [usize; 4],
    /// Number of axes that the metadata names.
    pub rank: usize,
    pub filter: Filter,
}

impl Layout {
    /// Bytes of a number.
    pub(super) fn item(&self) -> usize {
        DATA_TYPES.iter().find(|(name, _)| *name == self.data_type).map_or(1, |(_, size)| *size)
    }

    /// Chunks along every axis.
    pub(super) fn grid(&self) -> [usize; 4] {
        std::array::from_fn(|axis| self.shape[axis].div_ceil(self.chunk[axis]))
    }

    /// Numbers in a chunk.
    pub(super) fn chunk_items(&self) -> usize {
        self.chunk.iter().product()
    }

    /// Name of the one shard below the array's name.
    pub(super) fn shard_key(&self) -> String {
        format!("c{}", "/0".repeat(self.rank))
    }

    pub(super) fn metadata(&self) -> Value {
        let axes = 4 - self.rank..;
        let (grid, shape, chunk) = (self.grid(), &self.shape[axes.clone()], &self.chunk[axes]);
        // Without any row there is still a shard that has a size.
        let shard: Vec<usize> = (4 - self.rank..4).map(|axis| grid[axis].max(1) * self.chunk[axis]).collect();
        let (shuffle, typesize) = match self.filter {
            Filter::None => ("noshuffle", 1),
            Filter::Shuffle => ("shuffle", self.item()),
        };
        let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
        let blosc = json!({"name": "blosc", "configuration": {
            "cname": COMPRESSOR,
            "clevel": LEVEL,
            "shuffle": shuffle,
            "typesize": typesize,
            "blocksize": self.chunk_items() * self.item()
        }});
        json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [{"name": "sharding_indexed", "configuration": {
                "chunk_shape": chunk, "codecs": [bytes, blosc], "index_codecs": [bytes], "index_location": "end"
            }}],
            "attributes": {},
        })
    }

    /// The reverse of [`Self::metadata`]; none for anything else than it writes.
    pub(super) fn parse(metadata: &Value) -> Option<Self> {
        let sizes = |value: &Value| -> Option<Vec<usize>> {
            let sizes = value.as_array()?.iter().map(|size| usize::try_from(size.as_u64()?).ok());
            sizes.collect::<Option<Vec<_>>>().filter(|sizes| sizes.len() <= 4)
        };
        let padded = |sizes: &[usize]| -> [usize; 4] {
            let missing = 4 - sizes.len();
            std::array::from_fn(|axis| if axis < missing { 1 } else { sizes[axis - missing] })
        };
        let shape = sizes(&metadata["shape"])?;
        let sharding = &metadata["codecs"][0]["configuration"];
        let chunk = sizes(&sharding["chunk_shape"])?;
        let data_type = metadata["data_type"].as_str()?;
        let (data_type, _) = DATA_TYPES.into_iter().find(|(known, _)| *known == data_type)?;
        let filter = if sharding["codecs"][1]["configuration"]["shuffle"] == "shuffle" { Filter::Shuffle } else { Filter::None };
        let layout = Self { data_type, shape: padded(&shape), chunk: padded(&chunk), rank: shape.len(), filter };
        let items = layout.chunk.iter().try_fold(1, |product: usize, size| product.checked_mul(*size))?;
        let fits = items > 0 && items.checked_mul(layout.item())? <= MAX_CHUNK;
        // No shard ends beyond what can be counted.
        let counted = (0..4).try_fold(layout.item(), |product, axis| {
            product.checked_mul(layout.shape[axis].checked_next_multiple_of(layout.chunk[axis].max(1))?)
        });
        (fits && counted.is_some() && layout.metadata() == *metadata).then_some(layout)
    }
}
