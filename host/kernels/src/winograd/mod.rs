//! Convolutions with a kernel of 3 along two or three axes, stride 1, in few multiplications.
//!
//! ```text
//! map ─ tiles, activated ─ Bᵀ d ─ products by frequency ─ Aᵀ x ─ map, and its sums
//!        (`input`)              (`panel`, with G g)      (`output`)
//! ```
//! A tile has 2 or 4 outputs along an axis; of its transformed numbers, each is called a frequency. What belongs to one frequency of all tiles is a
//! matrix, tiles by channels, and is multiplied by a matrix of weights, inputs by outputs.
//!
//! Layers with many tiles go through block by block: the transformed tiles of a block stay in the second cache, and products overwrite them, one
//! frequency further down. Layers with few tiles and many channels go through in three stages, so that their weights, which are then larger
//! than everything else, are read once.

#![allow(clippy::needless_range_loop, reason = "transposing loops index by both loops' variables")]

mod input;
mod output;
mod transform;

use crate::error::Error;
use crate::instructions::Instructions;
use crate::map::{BLOCK, Block, PANEL};
use crate::memory::{Buffer, Shared};
use crate::moments::{Moments, Sums};
use crate::panel::{Runs, Target};
use crate::pool::Pool;
use std::fmt;
use transform::points;

/// Tasks of an image at most: enough for many threads, few enough that their sums are small.
const MOST_TASKS: usize = 128;

/// Outputs of a tile: (z, y, x), each 1 (a kernel of 1), 2 or 4.
pub(crate) type Outputs = [usize; 3];

/// How an image's map is covered with tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    /// Voxels of the map.
    pub size: [usize; 3],
    pub outputs: Outputs,
    /// Tiles along every axis.
    pub tiles: [usize; 3],
}

impl Tiling {
    pub fn new(size: [usize; 3], outputs: Outputs) -> Self {
        Self { size, outputs, tiles: std::array::from_fn(|axis| size[axis].div_ceil(outputs[axis])) }
    }

    pub fn count(&self) -> usize {
        self.tiles.iter().product()
    }

    pub fn frequencies(&self) -> usize {
        self.outputs.map(points).iter().product()
    }

    /// Tile number `index` as (z, y, x).
    fn tile(&self, index: usize) -> [usize; 3] {
        let [_, y, x] = self.tiles;
        [index / x / y, index / x % y, index % x]
    }
}

/// Where transformed tiles lie: `[frequency][block of channels][tile][8]`.
#[derive(Clone, Copy)]
struct Layout {
    /// Floats from one frequency to the next.
    frequency: usize,
    /// Floats from one block of channels to the next.
    block: usize,
}

impl Layout {
    /// For so many tiles and blocks of channels. Frequencies begin an odd number of cache lines apart: a power of two would put all of them in
    /// the same few places of a cache.
    fn new(tiles: usize, blocks: usize) -> Self {
        let lines = (tiles * blocks * BLOCK).div_ceil(16);
        Self { frequency: (lines | 1) * 16, block: tiles * BLOCK }
    }

    /// Floats from a tile to behind the last of `tiles` tiles, in so many frequencies.
    fn reach(&self, frequencies: usize, tiles: usize) -> usize {
        (frequencies - 1) * self.frequency + tiles * BLOCK
    }

    /// Floats of `tiles` tiles of so many blocks, in one frequency.
    fn reach_of_blocks(&self, blocks: usize, tiles: usize) -> usize {
        (blocks - 1) * self.block + tiles * BLOCK
    }
}

/// A convolution, its weights transformed.
pub(crate) struct Winograd {
    tiling: Tiling,
    /// Blocks of channels that are read and written.
    blocks: [usize; 2],
    /// Tiles that go through together; all of a batch in stages.
    together: usize,
    in_stages: bool,
    /// `[frequency][panel][input channel][16]`.
    weights: Buffer,
}

/// Calls a method for the tiles that there are.
macro_rules! for_outputs {
    ($outputs:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        match $outputs {
            [1, 2, 2] => $self.$method::<1, 2, 2>($($argument),*),
            [1, 4, 4] => $self.$method::<1, 4, 4>($($argument),*),
            [2, 2, 2] => $self.$method::<2, 2, 2>($($argument),*),
            [2, 4, 4] => $self.$method::<2, 4, 4>($($argument),*),
            [4, 4, 4] => $self.$method::<4, 4, 4>($($argument),*),
            other => unreachable!("no tiles of {other:?}"),
        }
    };
}

/// The tiles that there are for a kernel.
pub(crate) fn algorithms(kernel: [usize; 3]) -> &'static [Outputs] {
    match kernel {
        [3, 3, 3] => &[[4, 4, 4], [2, 4, 4], [2, 2, 2]],
        [1, 3, 3] => &[[1, 4, 4], [1, 2, 2]],
        _ => &[],
    }
}

impl Winograd {
    /// For maps of `size` and tiles of `outputs`. `weights` has the value of (output channel, input channel as it lies in the blocks, tap) where
    /// there is one.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(
        pool: &Pool,
        size: [usize; 3],
        outputs: Outputs,
        blocks: [usize; 2],
        (together, in_stages): (usize, bool),
        weights: impl Fn(usize, usize) -> Option<[f64; 27]> + Sync,
    ) -> Result<Self, Error> {
        let tiling = Tiling::new(size, outputs);
        let together = together.min(tiling.count());
        let mut this = Self { tiling, blocks, together, in_stages, weights: Buffer::default() };
        let mut packed = Buffer::new(tiling.frequencies() * this.weights_of_frequency())?;
        let (shared, inputs) = (Shared::new(&mut packed), blocks[0] * BLOCK);
        pool.map(blocks[1] * BLOCK / PANEL, 0, |panel, _| {
            for input in 0..inputs {
                for output in 0..PANEL {
                    let Some(kernel) = weights(panel * PANEL + output, input) else { continue };
                    let mut at = (panel * inputs + input) * PANEL + output;
                    this.transformed(&kernel, |value| {
                        // SAFETY: every output belongs to one panel, and every panel to one task.
                        unsafe { shared.slice(at, 1)[0] = value as f32 };
                        at += this.weights_of_frequency();
                    });
                }
            }
        });
        this.weights = packed;
        Ok(this)
    }

    /// Floats from the weights of one frequency to those of the next, an odd number of cache lines.
    fn weights_of_frequency(&self) -> usize {
        self.blocks[0] * self.blocks[1] * BLOCK * BLOCK + 16
    }

    /// G g along every axis of a kernel (z, y, x), frequency after frequency.
    fn transformed(&self, kernel: &[f64; 27], mut each: impl FnMut(f64)) {
        let [z, y, x] = self.tiling.outputs;
        let mut along_z = [[[0.0; 6]; 3]; 3];
        for (row, along_z) in along_z.iter_mut().enumerate() {
            for (column, along_z) in along_z.iter_mut().enumerate() {
                let at = row * 3 + column;
                *along_z = transform::weights(z, [kernel[at], kernel[9 + at], kernel[18 + at]]);
            }
        }
        for i in 0..points(z) {
            let column = |x: usize| transform::weights(y, [along_z[0][x][i], along_z[1][x][i], along_z[2][x][i]]);
            let columns = [column(0), column(1), column(2)];
            for j in 0..points(y) {
                let row = transform::weights(x, [columns[0][j], columns[1][j], columns[2][j]]);
                row[..points(x)].iter().for_each(|value| each(*value));
            }
        }
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weights)
    }

    /// Floats of memory that all threads share, for a batch of so many images.
    pub fn workspace(&self, images: usize) -> usize {
        let stages = || 2 * self.tiling.frequencies() * Layout::new(images * self.tiling.count(), self.most_blocks()).frequency;
        if self.in_stages { stages() } else { 0 }
    }

    /// Floats of working memory of a thread.
    pub fn scratch(&self) -> usize {
        let layout = Layout::new(self.together, self.most_blocks());
        let products = if self.in_stages { 0 } else { (self.tiling.frequencies() + 1) * layout.frequency };
        products + input::SCRATCH
    }

    fn most_blocks(&self) -> usize {
        self.blocks[0].max(self.blocks[1])
    }

    /// Convolves a batch: `images` are the blocks that are read, by image. `output` is a batch of maps. The sums of every image come back.
    pub fn run(
        &self,
        pool: &Pool,
        instructions: Instructions,
        images: &[Vec<Block>],
        output: &mut [f32],
        workspace: &mut [f32],
    ) -> Vec<Sums> {
        let layout = Layout::new(if self.in_stages { images.len() * self.tiling.count() } else { self.together }, self.most_blocks());
        let offsets: Vec<usize> = (0..self.blocks[0]).map(|block| block * layout.block).collect();
        let runs = Runs { offsets: &offsets, voxels: 1, instructions };
        let output = Shared::new(output);
        let sums = match self.in_stages {
            true => self.stages(pool, runs, layout, images, output, workspace),
            false => self.blockwise(pool, runs, layout, images, output),
        };
        Sums::by_image(sums, images.len())
    }

    fn block_of(&self, output: Shared, image: usize, block: usize) -> *mut f32 {
        let floats = self.tiling.size.iter().product::<usize>() * BLOCK;
        output.part((image * self.blocks[1] + block) * floats, floats)
    }

    /// Block by block of tiles.
    fn blockwise(&self, pool: &Pool, runs: Runs, layout: Layout, images: &[Vec<Block>], output: Shared) -> Vec<Sums> {
        let tiles = self.tiling.count();
        let blocks = tiles.div_ceil(self.together);
        let blocks_a_task = blocks.div_ceil(MOST_TASKS);
        let tasks = blocks.div_ceil(blocks_a_task);
        let frequencies = self.tiling.frequencies();
        pool.map(tasks * images.len(), self.scratch(), |task, scratch| {
            let (image, task) = (task / tasks, task % tasks);
            let (columns, scratch) = scratch.split_at_mut(input::SCRATCH);
            let scratch = Shared::new(scratch);
            let mut sums = Sums::new(self.blocks[1]);
            let mut moments = vec![Moments::default(); self.blocks[1]];
            for block in task * blocks_a_task..((task + 1) * blocks_a_task).min(blocks) {
                let some = block * self.together..((block + 1) * self.together).min(tiles);
                for (channels, block) in images[image].iter().enumerate() {
                    let to = scratch.part(layout.frequency + channels * layout.block, layout.reach(frequencies, some.len()));
                    // SAFETY: processor as promised to `Network`. Transformed tiles of block `channels` lie from `to` on, one frequency behind the
                    // beginning of the scratch, which has room for one frequency more than there are.
                    unsafe { for_outputs!(self.tiling.outputs, self.transform(block, some.clone(), to, layout, columns)) };
                }
                for frequency in 0..frequencies {
                    let from = scratch.part((frequency + 1) * layout.frequency, layout.reach_of_blocks(self.blocks[0], some.len()));
                    // Products go where the frequency before was, whose inputs are not needed any more.
                    let to = scratch.part(frequency * layout.frequency, layout.reach_of_blocks(self.blocks[1], some.len()));
                    // SAFETY: as above; a slot has room for the larger one of inputs and outputs, and inputs and products are in different slots.
                    unsafe { self.multiply(runs, frequency, some.len(), from, to, layout) };
                }
                for (channels, moments) in moments.iter_mut().enumerate() {
                    let from = scratch.part(channels * layout.block, layout.reach(frequencies, some.len()));
                    let to = self.block_of(output, image, channels);
                    // SAFETY: as above; a tile's outputs are written by the task that the tile belongs to alone.
                    unsafe { for_outputs!(self.tiling.outputs, self.untransform(from, layout, some.clone(), to, moments)) };
                }
                sums.take(0, &mut moments);
            }
            sums
        })
    }

    /// All tiles of a batch in three stages.
    fn stages(&self, pool: &Pool, runs: Runs, layout: Layout, images: &[Vec<Block>], output: Shared, workspace: &mut [f32]) -> Vec<Sums> {
        let tiles = self.tiling.count();
        let (inputs, products) = workspace.split_at_mut(self.tiling.frequencies() * layout.frequency);
        let (inputs, products) = (Shared::new(inputs), Shared::new(products));
        let (frequencies, all) = (self.tiling.frequencies(), images.len() * tiles);
        pool.map(images.len() * self.blocks[0], self.scratch(), |task, columns| {
            let (image, channels) = (task / self.blocks[0], task % self.blocks[0]);
            let to = inputs.part(channels * layout.block + image * tiles * BLOCK, layout.reach(frequencies, tiles));
            // SAFETY: processor as promised to `Network`. Every task writes the tiles of its own image and block, for which `layout` has room.
            unsafe { for_outputs!(self.tiling.outputs, self.transform(&images[image][channels], 0..tiles, to, layout, columns)) };
        });
        pool.map(frequencies, 0, |frequency, _| {
            let at = frequency * layout.frequency;
            let from = inputs.part(at, layout.reach_of_blocks(self.blocks[0], all));
            let to = products.part(at, layout.reach_of_blocks(self.blocks[1], all));
            // SAFETY: as above; every task has a frequency of its own.
            unsafe { self.multiply(runs, frequency, all, from, to, layout) };
        });
        let panels = self.blocks[1] / 2;
        pool.map(images.len() * panels, 0, |task, _| {
            let (image, panel) = (task / panels, task % panels);
            let mut sums = Sums::new(self.blocks[1]);
            for channels in [2 * panel, 2 * panel + 1] {
                let mut moments = Moments::default();
                let from = products.part(channels * layout.block + image * tiles * BLOCK, layout.reach(frequencies, tiles));
                // SAFETY: as above; every task writes to blocks of its own.
                unsafe {
                    let to = self.block_of(output, image, channels);
                    for_outputs!(self.tiling.outputs, self.untransform(from, layout, 0..tiles, to, &mut moments));
                }
                sums.take(channels, std::slice::from_mut(&mut moments));
            }
            sums
        })
    }

    /// Products of `count` tiles at `frequency`, from `inputs` to `products`.
    ///
    /// # Safety
    /// The processor has the instructions of `runs`. From `inputs` on, `count` tiles of all blocks can be read, from `products` on, written, which belong to the
    /// caller alone.
    unsafe fn multiply(&self, runs: Runs, frequency: usize, count: usize, inputs: *const f32, products: *mut f32, layout: Layout) {
        let panel = self.blocks[0] * BLOCK * PANEL;
        let weights = &self.weights[frequency * self.weights_of_frequency()..][..panel * self.blocks[1] / 2];
        for (index, weights) in weights.chunks_exact(panel).enumerate() {
            // SAFETY: blocks `2 · index` and the next one of the products, of `count` tiles each, and all blocks of the inputs lie in `layout`.
            unsafe {
                let low = products.add(2 * index * layout.block);
                let target = Target { low, high: low.add(layout.block), step: BLOCK };
                runs.multiply::<BLOCK, BLOCK>(count, inputs, weights.as_ptr(), target, None);
            }
        }
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [z, y, x] = self.tiling.outputs;
        let [inputs, outputs] = self.blocks.map(|blocks| blocks * BLOCK);
        let how = if self.in_stages { "in stages".to_owned() } else { format!("{} tiles at once", self.together) };
        write!(f, "Winograd {z}×{y}×{x}, {how}, {inputs} → {outputs}")
    }
}
