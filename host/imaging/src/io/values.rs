//! From voxels to a file's bytes, the same way for every format.

use std::io::{self, Write};

use super::voxels::Number;
use crate::Volume;

/// How many voxels are encoded at a time.
const SLAB: usize = 1 << 15;

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Integers, as the type with this many bits that holds them all.
    Labels(&'a Volume<i16>, Number),
    /// 32-bit floats.
    Image(&'a Volume<f32>),
}

impl<'a> Values<'a> {
    /// Labels as 8 unsigned bits if all are below 255, else 16, as nnU-Net does (`simpleitk_reader_writer.py`); as 16 signed bits if one is
    /// negative.
    pub fn labels(labels: &'a Volume<i16>) -> Self {
        let (min, max) = labels.data().iter().fold((0, 0), |(min, max), &label| (label.min(min), label.max(max)));
        let number = match (min, max) {
            (..0, _) => Number::I16,
            (_, ..255) => Number::U8,
            _ => Number::U16,
        };
        Self::Labels(labels, number)
    }

    /// (C, Z, Y, X).
    pub fn shape(&self) -> [usize; 4] {
        match self {
            Self::Labels(labels, _) => labels.shape(),
            Self::Image(image) => image.shape(),
        }
    }

    pub fn number(&self) -> Number {
        match self {
            Self::Labels(_, number) => *number,
            Self::Image(_) => Number::F32,
        }
    }

    /// Writes all voxels in C order.
    pub fn encode(&self, writer: &mut dyn Write, big_endian: bool) -> io::Result<()> {
        match self {
            Self::Labels(labels, Number::U8) => encode(labels.data(), |label| [label as u8], writer),
            // From 0 to 32767, signed and unsigned numbers look the same.
            Self::Labels(labels, _) if big_endian => encode(labels.data(), i16::to_be_bytes, writer),
            Self::Labels(labels, _) => encode(labels.data(), i16::to_le_bytes, writer),
            Self::Image(image) if big_endian => encode(image.data(), f32::to_be_bytes, writer),
            Self::Image(image) => encode(image.data(), f32::to_le_bytes, writer),
        }
    }
}

fn encode<T: Copy, const N: usize>(data: &[T], bytes: impl Fn(T) -> [u8; N], writer: &mut dyn Write) -> io::Result<()> {
    let mut slab = Vec::with_capacity(N * SLAB.min(data.len()));
    data.chunks(SLAB).try_for_each(|voxels| {
        slab.clear();
        slab.extend(voxels.iter().flat_map(|&voxel| bytes(voxel)));
        writer.write_all(&slab)
    })
}
