//! One chunk through Blosc: the codec `blosc` of Zarr v3, format of c-blosc 1.

use std::ffi::c_int;
use std::io;

use blosc_src::{BLOSC_MAX_OVERHEAD, BLOSC_NOSHUFFLE, BLOSC_SHUFFLE, blosc_cbuffer_validate, blosc_compress_ctx, blosc_decompress_ctx};

/// LZ4's slower, denser compressor. Decompressing is the same for both and quicker the denser the data.
pub(super) const COMPRESSOR: &str = "lz4hc";
/// The quickest of its levels that is better than plain LZ4: it writes twice as fast as level 3 and takes a tenth more room than
/// level 5, which is nnU-Net's.
pub(super) const LEVEL: u8 = 2;

/// Which bytes of a chunk's numbers stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Numbers as they are: best where few different values occur, as in CT images that were not resampled.
    None,
    /// All first bytes, then all second bytes, …: best where numbers are alike, as after interpolation.
    Shuffle,
}

/// Appends `values`, numbers of `size` bytes each, to `out`, compressed.
pub(super) fn compress(values: &[u8], size: usize, filter: Filter, out: &mut Vec<u8>) -> io::Result<()> {
    let capacity = values.len() + BLOSC_MAX_OVERHEAD as usize;
    out.reserve(capacity);
    // Without a filter Blosc still cuts the chunk into as many streams as a number has bytes, which costs matches.
    let (filter, size) = match filter {
        Filter::None => (BLOSC_NOSHUFFLE, 1),
        Filter::Shuffle => (BLOSC_SHUFFLE, size),
    };
    let name = c"lz4hc";
    debug_assert_eq!(name.to_bytes(), COMPRESSOR.as_bytes());
    // SAFETY: source and destination are valid for the lengths given and do not overlap, since one is borrowed and the
    // other reserved by `out`; the name ends with a NUL. The function keeps no pointer.
    let written = unsafe {
        blosc_compress_ctx(
            c_int::from(LEVEL),
            filter as c_int,
            size,
            values.len(),
            values.as_ptr().cast(),
            out.spare_capacity_mut().as_mut_ptr().cast(),
            capacity,
            name.as_ptr(),
            values.len(),
            1,
        )
    };
    let written = usize::try_from(written).ok().filter(|written| (1..=capacity).contains(written));
    let written = written.ok_or_else(|| io::Error::other(format!("Blosc cannot compress {} bytes", values.len())))?;
    // SAFETY: Blosc has initialised that many of the bytes that were reserved.
    unsafe { out.set_len(out.len() + written) };
    Ok(())
}

/// Decompresses `chunk` into `values`; false when it is damaged or holds another number of bytes.
pub(super) fn decompress(chunk: &[u8], values: &mut [u8]) -> bool {
    let mut length = 0;
    // SAFETY: the chunk is valid for its length, which the function is told and checks the chunk's header against.
    let valid = unsafe { blosc_cbuffer_validate(chunk.as_ptr().cast(), chunk.len(), &raw mut length) } == 0;
    if !valid || length != values.len() {
        return false;
    }
    // SAFETY: validated above, as this function asks for; it never reads beyond the length in the chunk's header, which is the
    // chunk's, nor writes beyond that of `values`.
    let written = unsafe { blosc_decompress_ctx(chunk.as_ptr().cast(), values.as_mut_ptr().cast(), values.len(), 1) };
    usize::try_from(written) == Ok(values.len())
}
