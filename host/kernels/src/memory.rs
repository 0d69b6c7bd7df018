//! Memory of maps and weights: aligned to cache lines, in large pages, and written by several threads at once.

use crate::error::Error;
use bytemuck::{Pod, Zeroable};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Line([f32; 16]);

/// Zeros that begin at a cache line.
#[derive(Default)]
pub(crate) struct Buffer(Vec<Line>);

impl Buffer {
    /// At least `length` floats.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub fn new(length: usize) -> Result<Self, Error> {
        let lines = length.div_ceil(16);
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(lines).map_err(|_| Error::Memory(length.saturating_mul(size_of::<f32>())))?;
        ask_for_large_pages(&mut buffer);
        buffer.resize(lines, Line([0.0; 16]));
        Ok(Self(buffer))
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Transforms read and write many rows at once, each in a page of its own: with small pages, much of their time goes into finding pages.
fn ask_for_large_pages(lines: &mut Vec<Line>) {
    #[cfg(target_os = "linux")]
    {
        /// `madvise` wants the beginning of a page.
        const PAGE: usize = 1 << 12;
        let room = lines.spare_capacity_mut();
        let (start, length) = (room.as_mut_ptr().cast::<u8>(), size_of_val(room));
        let ahead = start.align_offset(PAGE);
        if ahead < length {
            // SAFETY: the range lies inside the allocation behind `room`, which is borrowed mutably; the advice changes how memory is
            // provided and not what it holds. A refusal changes nothing.
            unsafe { libc::madvise(start.add(ahead).cast(), length - ahead, libc::MADV_HUGEPAGE) };
        }
    }
}

/// Floats that several threads write to, each a part of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    length: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: `Shared` gives access only through `part`, whose callers promise that no two threads have overlapping parts.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(floats: &'a mut [f32]) -> Self {
        Self { start: floats.as_mut_ptr(), length: floats.len(), lifetime: PhantomData }
    }

    /// Where the `length` floats from `start` on begin.
    ///
    /// # Panics
    /// When these floats are not all there.
    pub fn part(self, start: usize, length: usize) -> *mut f32 {
        assert!(start <= self.length && length <= self.length - start, "{length} floats from {start} of {}", self.length);
        // SAFETY: `start` is inside the slice or at its end.
        unsafe { self.start.add(start) }
    }

    /// The floats from `start` on.
    ///
    /// # Safety
    /// While the slice lives, nobody else reads or writes these floats.
    ///
    /// # Panics
    /// When these floats are not all there.
    pub unsafe fn slice(self, start: usize, length: usize) -> &'a mut [f32] {
        // SAFETY: `part` checks the range, and the caller promises that it is theirs alone.
        unsafe { std::slice::from_raw_parts_mut(self.part(start, length), length) }
    }
}
