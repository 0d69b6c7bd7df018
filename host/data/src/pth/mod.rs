//! PyTorch's `.pth` files, read and written without Python.
//!
//! ```text
//! file ─ zip (names, sizes, checksums) ─ data.pkl ─ pickle (objects that refer to each other) ─ tree ─ Value
//!      └ data/0, data/1, … ───────────────────────── Pth::tensor_f32 ─ f32                             │
//! file ─ zip ─ data.pkl, data/0, … ──────────────────────────────────────────────────────────── write ─┘
//! ```
//!
//! A `.pth` file is an uncompressed ZIP file with one pickle, a program for a little stack machine that may call any Python function by
//! name, and the numbers of its tensors. The machine here knows a fixed list of names (`globals.rs`), each of which makes plain data, and
//! refuses every other; nothing is ever looked up or run. Its objects lie in one table and refer to each other by index, so that neither
//! nesting nor sharing costs stack or memory, and become a tree of limited depth and size in the end.
//!
//! Numbers stay in the file until [`Pth::tensor_f32`] asks for them; the file is read, not mapped, because nnU-Net overwrites
//! `checkpoint_latest.pth` in place, and a file that shrinks under a map ends the process.

mod error;
mod globals;
mod machine;
mod objects;
mod pickle;
mod tensor;
mod tree;
mod value;
mod write;
mod zip;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{Error, Problem};
pub use value::{DType, TensorRef, Value};
pub use write::{write, write_pickle};

use error::unexpected;
use machine::Storage;
use zip::Archive;

/// Most bytes of the pickle. A state dict of a thousand tensors has 0.2 MB, 4000 epochs of logs for 150 classes have 30 MB.
const MAX_PICKLE: u64 = 32 << 20;
/// All tensors together have at most this many times the bytes of the file: nnU-Net's networks hold a tensor under up to four names.
const MAX_ALIASES: u64 = 64;

/// An open file.
#[derive(Debug)]
pub struct Pth {
    path: PathBuf,
    archive: Archive,
    storages: HashMap<Arc<str>, Storage>,
    root: Value,
}

impl Pth {
    /// Reads everything but the numbers of tensors, and checks that each tensor's lie within the file.
    ///
    /// # Errors
    /// When the file cannot be read, is not what `torch.save` writes, or holds more than data.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let named = |problem| Error { path: path.to_path_buf(), problem };
        let archive = Archive::open(path).map_err(named)?;
        let (storages, root) = parse(&archive).map_err(named)?;
        Ok(Self { path: path.to_path_buf(), archive, storages, root })
    }

    /// What was saved.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// A tensor's numbers in C order, whatever its strides. Tensors may share numbers: those with equal [`TensorRef::storage`], offset,
    /// shape and strides are the same, and need not be read twice.
    ///
    /// # Errors
    /// When the file cannot be read or was damaged, or the tensor is not one of this file.
    pub fn tensor_f32(&self, tensor: &TensorRef) -> Result<Vec<f32>, Error> {
        self.numbers(tensor).map_err(|problem| Error { path: self.path.clone(), problem })
    }

    fn numbers(&self, tensor: &TensorRef) -> Result<Vec<f32>, Problem> {
        let storage = self.storages.get(&*tensor.storage).filter(|storage| storage.dtype == tensor.dtype);
        let storage = storage.ok_or_else(|| unexpected(format!("no storage {:?}", tensor.storage), "a tensor of this file"))?;
        let (offset, bytes) = tensor.bytes_within(storage.numel)?;
        let entry = self.archive.storage(&storage.key).ok_or_else(|| unexpected("no such storage", "one of this file"))?;
        let read = self.archive.read(entry, offset..offset + bytes)?;
        Ok(tensor.decode(&read))
    }
}

fn parse(archive: &Archive) -> Result<(HashMap<Arc<str>, Storage>, Value), Problem> {
    if archive.has("constants.pkl") {
        return Err(Problem::TorchScript);
    }
    archive.expect_uncompressed()?;
    if let Some(entry) = archive.entry("byteorder") {
        let order = archive.read(entry, 0..entry.size().min(16))?;
        if order != b"little" {
            let found = format!("the byte order {:?}", String::from_utf8_lossy(&order));
            return Err(unexpected(found, "\"little\"; save it again on a little-endian machine"));
        }
    }
    let entry = archive.entry("data.pkl").ok_or_else(|| unexpected("no data.pkl", "a file of torch.save"))?;
    if entry.size() > MAX_PICKLE {
        return Err(Problem::TooLarge { what: "the bytes of its pickle", limit: MAX_PICKLE });
    }
    let pickle = archive.read(entry, 0..entry.size())?;
    let size = |key: &str| archive.storage(key).map(|entry| entry.size());
    let (heap, root) = machine::run(&pickle, &size)?;
    let root = tree::grow(&heap, root, archive.size().saturating_mul(MAX_ALIASES))?;
    Ok((heap.storages.into_iter().map(|storage| (storage.key.clone(), storage)).collect(), root))
}
