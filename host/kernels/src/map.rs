//! Maps: what flows between layers.
//!
//! A map holds channels in blocks of eight, `[image][channel / 8][z][y][x][channel % 8]`, so that one vector is one voxel of a block. Channels are
//! padded with zeros to a multiple of [`PANEL`]. A convolution writes its plain sums and leaves to whoever reads the map what comes after it, the
//! [`Pending`] scale, shift and slope: normalisation and nonlinearity cost no pass of their own.

use crate::memory::Buffer;
use crate::simd::{V, all, fma, max, mul, of};
use std::fmt;

/// Channels of a block.
pub(crate) const BLOCK: usize = 8;

/// Output channels that a kernel computes at once.
pub(crate) const PANEL: usize = 16;

/// Sizes of one image's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Channels, without those that pad.
    pub channels: usize,
    /// (z, y, x).
    pub size: [usize; 3],
}

impl Shape {
    pub fn voxels(self) -> usize {
        self.size.iter().product()
    }

    /// Blocks of eight channels, an even number.
    pub fn blocks(self) -> usize {
        self.channels.div_ceil(PANEL) * (PANEL / BLOCK)
    }

    /// Floats of one block.
    pub fn block(self) -> usize {
        self.voxels() * BLOCK
    }

    /// Floats of one image.
    pub fn floats(self) -> usize {
        self.blocks() * self.block()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [z, y, x] = self.size;
        write!(f, "{} × {z} × {y} × {x}", self.channels)
    }
}

/// What is still to be done with a map's values: max(y, slope·y) of y = scale·x + shift.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// By image and channel, the padding's too.
    pub scale: Vec<[f32; 8]>,
    pub shift: Vec<[f32; 8]>,
    /// From 0 to 1; 1 is no nonlinearity.
    pub slope: f32,
}

impl Pending {
    /// Values that are what they are.
    pub fn nothing(images: usize, shape: Shape) -> Self {
        let blocks = images * shape.blocks();
        Self { scale: vec![[1.0; BLOCK]; blocks], shift: vec![[0.0; BLOCK]; blocks], slope: 1.0 }
    }

    /// Scale and shift of a channel.
    pub fn set(&mut self, shape: Shape, image: usize, channel: usize, [scale, shift]: [f32; 2]) {
        let block = image * shape.blocks() + channel / BLOCK;
        self.scale[block][channel % BLOCK] = scale;
        self.shift[block][channel % BLOCK] = shift;
    }
}

/// A batch of maps of one shape.
pub(crate) struct Map {
    pub shape: Shape,
    pub data: Buffer,
    pub pending: Pending,
}

/// One block of channels of one image, as a layer reads it.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// `[z][y][x][8]`.
    pub data: &'a [f32],
    pub scale: &'a [f32; 8],
    pub shift: &'a [f32; 8],
    pub slope: f32,
}

impl Map {
    /// The blocks of `image`.
    pub fn blocks(&self, image: usize) -> impl Iterator<Item = Block<'_>> {
        let (blocks, block) = (self.shape.blocks(), self.shape.block());
        let first = image * blocks;
        let Pending { scale, shift, slope } = &self.pending;
        (first..first + blocks).map(move |at| Block {
            data: &self.data[at * block..(at + 1) * block],
            scale: &scale[at],
            shift: &shift[at],
            slope: *slope,
        })
    }
}

/// A block's [`Pending`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct Activation {
    scale: V,
    shift: V,
    slope: V,
}

impl Activation {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn of(block: &Block) -> Self {
        Self { scale: of(block.scale), shift: of(block.shift), slope: all(block.slope) }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn apply(self, x: V) -> V {
        let y = fma(x, self.scale, self.shift);
        max(y, mul(y, self.slope))
    }
}
