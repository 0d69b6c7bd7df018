//! Convolutions, and transposed ones, as sums over the rows of their kernel: whatever Winograd does not serve (strides, 1×1×1, the first layer,
//! kernels of any other size).
//!
//! A task activates the rows of input that a band of output rows needs and pads them, in its working memory; then each output is a product over
//! runs of these rows ([`Runs`]). The image, whose channels are not in blocks, is read channel by channel.

use crate::error::Error;
use crate::instructions::Instructions;
use crate::map::{Activation, BLOCK, Block, PANEL};
use crate::memory::{Buffer, Shared};
use crate::moments::{Moments, Sums};
use crate::panel::{Runs, Target};
use crate::pool::Pool;
use crate::simd::{load, store};
use crate::view::View;
use std::fmt;

/// Floats of input rows that a band should have at most: they should stay in the second cache.
const BAND: usize = 1 << 16;

/// What a convolution reads of one image.
pub(crate) enum Input<'a> {
    /// Blocks of maps.
    Blocks(Vec<Block<'a>>),
    /// The image itself.
    Image(View<'a>),
}

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Voxels that are read, (z, y, x).
    pub input: [usize; 3],
    /// Voxels that are written.
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
}

/// A convolution, its weights in the order in which they are read.
pub(crate) struct Direct {
    geometry: Geometry,
    /// Channels of the image, or blocks of channels of maps.
    inputs: usize,
    /// Floats of a voxel of an input: 1 of the image, [`BLOCK`] of maps.
    lanes: usize,
    /// Blocks of channels that are written.
    outputs: usize,
    /// `[panel][kernel z][kernel y][input][kernel x][lane][16]`.
    weights: Buffer,
    /// Rows of output of a band.
    band: usize,
}

impl Direct {
    /// Padded with half of the kernel, as nnU-Net does. `is_image` says whether it reads the image. `weights` has the value of (output channel, input
    /// channel as it lies there, tap) where there is one.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(
        geometry: Geometry,
        is_image: bool,
        [inputs, outputs]: [usize; 2],
        weights: impl Fn(usize, usize, [usize; 3]) -> Option<f32>,
    ) -> Result<Self, Error> {
        let lanes = if is_image { 1 } else { BLOCK };
        let [kz, ky, kx] = geometry.kernel;
        let mut packed = Buffer::new(outputs * BLOCK * inputs * lanes * kz * ky * kx)?;
        let mut at = 0;
        for panel in 0..outputs * BLOCK / PANEL {
            for (z, y) in (0..kz).flat_map(|z| (0..ky).map(move |y| (z, y))) {
                for (input, x, lane) in (0..inputs).flat_map(|i| (0..kx).flat_map(move |x| (0..lanes).map(move |lane| (i, x, lane)))) {
                    for output in panel * PANEL..(panel + 1) * PANEL {
                        packed[at] = weights(output, input * lanes + lane, [z, y, x]).unwrap_or(0.0);
                        at += 1;
                    }
                }
            }
        }
        let mut this = Self { geometry, inputs, lanes, outputs, weights: packed, band: 1 };
        let fits = |rows: usize| this.floats(rows) <= BAND;
        this.band = (2..=geometry.output[1]).take_while(|rows| fits(*rows)).last().unwrap_or(1);
        Ok(this)
    }

    /// Floats of a padded row of input.
    fn row(&self) -> usize {
        let Geometry { output, kernel, stride, .. } = self.geometry;
        ((output[2] - 1) * stride[2] + kernel[2]) * self.lanes
    }

    /// Rows of input, in one plane, that so many rows of output need.
    fn rows(&self, band: usize) -> usize {
        (band - 1) * self.geometry.stride[1] + self.geometry.kernel[1]
    }

    /// Floats of input that a band of so many rows needs.
    fn floats(&self, band: usize) -> usize {
        self.inputs * self.geometry.kernel[0] * self.rows(band) * self.row()
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weights)
    }

    /// Floats of working memory of a thread.
    pub fn scratch(&self) -> usize {
        self.floats(self.band)
    }

    /// Convolves a batch into a batch of maps. The sums of every image come back.
    pub fn run(&self, pool: &Pool, instructions: Instructions, images: &[Input], output: &mut [f32]) -> Vec<Sums> {
        let Geometry { output: [depth, height, width], kernel: [kz, ky, kx], stride: [_, sy, sx], .. } = self.geometry;
        let bands = height.div_ceil(self.band);
        let (row, rows) = (self.row(), self.rows(self.band));
        let offset = |z: usize, y: usize, input: usize| ((input * kz + z) * rows + y) * row;
        let offsets: Vec<usize> =
            (0..kz).flat_map(|z| (0..ky).flat_map(move |y| (0..self.inputs).map(move |input| offset(z, y, input)))).collect();
        let runs = Runs { offsets: &offsets, voxels: kx, instructions };
        let panel = offsets.len() * kx * self.lanes * PANEL;
        let block = depth * height * width * BLOCK;
        let output = Shared::new(output);
        let sums = pool.map(images.len() * depth * bands, self.scratch(), |task, scratch| {
            let (image, z, first) = (task / bands / depth, task / bands % depth, task % bands * self.band);
            let count = self.band.min(height - first);
            self.gather(&images[image], z, first, count, scratch);
            let mut sums = Sums::new(self.outputs);
            for (index, weights) in self.weights[..panel * self.outputs / 2].chunks_exact(panel).enumerate() {
                let mut moments = [Moments::default(); 2];
                for y in 0..count {
                    let start = (image * self.outputs + 2 * index) * block + ((z * height + first + y) * width) * BLOCK;
                    let [low, high] = [0, block].map(|half| output.part(start + half, width * BLOCK));
                    let target = Target { low, high, step: BLOCK };
                    let from = &scratch[y * sy * row..];
                    assert!(from.len() >= offsets[offsets.len() - 1] + row);
                    // SAFETY: processor as promised to `Network`. The last run of the last position ends with its row, which was just checked to be
                    // there; `weights` has one panel; a row of output belongs to this task alone.
                    unsafe {
                        let (from, weights, moments) = (from.as_ptr(), weights.as_ptr(), Some(&mut moments));
                        match sx * self.lanes {
                            1 => runs.multiply::<1, 1>(width, from, weights, target, moments),
                            2 => runs.multiply::<2, 1>(width, from, weights, target, moments),
                            8 => runs.multiply::<8, BLOCK>(width, from, weights, target, moments),
                            16 => runs.multiply::<16, BLOCK>(width, from, weights, target, moments),
                            _ => unreachable!("strides are 1 or 2"),
                        }
                    }
                }
                sums.take(2 * index, &mut moments);
            }
            sums
        });
        Sums::by_image(sums, images.len())
    }

    /// Copies the rows of input that rows `first..first + count` of plane `z` of the output need: `[input][kernel z][row][x][lane]`.
    fn gather(&self, image: &Input, z: usize, first: usize, count: usize, scratch: &mut [f32]) {
        let Geometry { input: [depth, height, _], kernel: [kz, ky, kx], stride: [sz, sy, _], .. } = self.geometry;
        let (row, rows) = (self.row(), self.rows(self.band));
        for input in 0..self.inputs {
            for plane in 0..kz {
                for line in 0..self.rows(count) {
                    let to = &mut scratch[((input * kz + plane) * rows + line) * row..][..row];
                    // A voxel before the border wraps around to a large number.
                    let from_z = (z * sz + plane).wrapping_sub((kz - 1) / 2);
                    let from_y = (first * sy + line).wrapping_sub((ky - 1) / 2);
                    if from_z >= depth || from_y >= height {
                        to.fill(0.0);
                        continue;
                    }
                    match image {
                        Input::Image(view) => view.copy_row(input, from_z, from_y, (kx - 1) / 2, to),
                        // SAFETY: processor as promised to `Network`.
                        Input::Blocks(blocks) => unsafe {
                            let width = self.geometry.input[2];
                            let from = &blocks[input].data[(from_z * height + from_y) * width * BLOCK..][..width * BLOCK];
                            activate(&blocks[input], from, (kx - 1) / 2, to);
                        },
                    }
                }
            }
        }
    }
}

impl fmt::Display for Direct {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Geometry { kernel, stride, .. } = self.geometry;
        write!(f, "direct, kernel {kernel:?}, stride {stride:?}, {} → {}", self.inputs * self.lanes, self.outputs * BLOCK)
    }
}

/// Activates a row of `block`, with `before` voxels of zeros before it and as many after it as `to` has room for.
#[target_feature(enable = "avx2,fma")]
fn activate(block: &Block, from: &[f32], before: usize, to: &mut [f32]) {
    let activation = Activation::of(block);
    let (head, rest) = to.split_at_mut(before * BLOCK);
    head.fill(0.0);
    let common = from.len().min(rest.len());
    let (row, tail) = rest.split_at_mut(common);
    tail.fill(0.0);
    for (from, to) in from.chunks_exact(BLOCK).zip(row.chunks_exact_mut(BLOCK)) {
        // SAFETY: chunks have eight floats.
        unsafe { store(to.as_mut_ptr(), activation.apply(load(from.as_ptr()))) };
    }
}

/// A transposed convolution whose kernel is its stride: every voxel becomes a box of its own.
pub(crate) struct Transposed {
    /// Voxels that are read, (z, y, x).
    size: [usize; 3],
    stride: [usize; 3],
    /// Blocks of channels that are read and written.
    blocks: [usize; 2],
    /// `[tap][panel][input channel][16]`.
    weights: Buffer,
}

impl Transposed {
    /// `weights` has the value of (output channel, input channel as it lies there, tap) where there is one.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(
        size: [usize; 3],
        stride: [usize; 3],
        blocks: [usize; 2],
        weights: impl Fn(usize, usize, usize) -> Option<f32>,
    ) -> Result<Self, Error> {
        let taps: usize = stride.iter().product();
        let mut packed = Buffer::new(taps * blocks[0] * blocks[1] * BLOCK * BLOCK)?;
        let mut at = 0;
        for tap in 0..taps {
            for panel in 0..blocks[1] * BLOCK / PANEL {
                for input in 0..blocks[0] * BLOCK {
                    for output in panel * PANEL..(panel + 1) * PANEL {
                        packed[at] = weights(output, input, tap).unwrap_or(0.0);
                        at += 1;
                    }
                }
            }
        }
        Ok(Self { size, stride, blocks, weights: packed })
    }

    /// Rows of input that go through together.
    fn band(&self) -> usize {
        (BAND / (self.blocks[0] * BLOCK * self.size[2])).clamp(1, self.size[1])
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weights)
    }

    /// Floats of working memory of a thread.
    pub fn scratch(&self) -> usize {
        self.blocks[0] * self.band() * self.size[2] * BLOCK
    }

    /// Reads `images`, the blocks of every image, into a batch of maps.
    pub fn run(&self, pool: &Pool, instructions: Instructions, images: &[Vec<Block>], output: &mut [f32]) {
        let [depth, height, width] = self.size;
        let [sz, sy, sx] = self.stride;
        let band = self.band();
        let bands = height.div_ceil(band);
        let offsets: Vec<usize> = (0..self.blocks[0]).map(|block| block * band * width * BLOCK).collect();
        let runs = Runs { offsets: &offsets, voxels: 1, instructions };
        let panel = self.blocks[0] * BLOCK * PANEL;
        let block = self.size.iter().product::<usize>() * self.stride.iter().product::<usize>() * BLOCK;
        let output = Shared::new(output);
        pool.map(images.len() * depth * bands, self.scratch(), |task, scratch| {
            let (image, z, first) = (task / bands / depth, task / bands % depth, task % bands * band);
            let count = band.min(height - first);
            for (block, to) in images[image].iter().zip(scratch.chunks_exact_mut(band * width * BLOCK)) {
                let from = &block.data[(z * height + first) * width * BLOCK..][..count * width * BLOCK];
                // SAFETY: processor as promised to `Network`.
                unsafe { activate(block, from, 0, &mut to[..from.len()]) };
            }
            let taps = (0..sz).flat_map(|z| (0..sy).flat_map(move |y| (0..sx).map(move |x| [z, y, x])));
            for (tap, weights) in taps.zip(self.weights.chunks_exact(panel * self.blocks[1] / 2)) {
                for (index, weights) in weights.chunks_exact(panel).enumerate() {
                    for y in 0..count {
                        let row = (z * sz + tap[0]) * height * sy + (first + y) * sy + tap[1];
                        let start = (image * self.blocks[1] + 2 * index) * block + (row * width * sx + tap[2]) * BLOCK;
                        // From the first voxel of this tap to the last one.
                        let length = ((width - 1) * sx + 1) * BLOCK;
                        let [low, high] = [0, block].map(|half| output.part(start + half, length));
                        let target = Target { low, high, step: sx * BLOCK };
                        let from = &scratch[y * width * BLOCK..][..offsets[offsets.len() - 1] + width * BLOCK];
                        // SAFETY: processor as promised to `Network`. `from` ends with the last run of the last position; `weights` has one panel; a
                        // row of output belongs to this task alone.
                        unsafe { runs.multiply::<BLOCK, BLOCK>(width, from.as_ptr(), weights.as_ptr(), target, None) };
                    }
                }
            }
        });
    }
}
