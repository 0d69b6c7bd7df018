//! Arrays in one file, compressed in chunks, so that a part of them can be read without the rest: Zarr v3 inside an
//! uncompressed ZIP.
//!
//! ```text
//! arrays ─ write ─ chunks ─ Blosc ─ shards ─ one ZIP file ─ memory map ─ Store::volume(box) ─ the chunks that it meets
//! ```
//!
//! Written is the part of Zarr that this needs, and only that is read back: every array is one shard (`sharding_indexed`, index at
//! the end), whose chunks are little-endian numbers compressed by Blosc (LZ4). A chunk of zeros alone is left out. Other programs
//! read such a file, too; in Python `zarr.open_group(zarr.storage.ZipStore(path, mode="r"))`.
//!
//! Reading works on the calling thread and decompresses nothing but the chunks that meet the box. The general implementation
//! for Rust (`zarrs`) is not used: it takes more than twice as long for a patch, and brings a hundred crates.

mod blosc;
mod error;
mod layout;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::Error;
pub use layout::{Element, chunk_shape};
pub use read::Store;
pub use write::{NewArray, write};
