//! Which tiles a convolution gets: the fastest ones by a model of the work, among those whose rounding errors are small enough.
//!
//! Larger tiles multiply less and round more. F(4,3) along an axis needs half of the multiplications of a direct sum, F(2,3) two thirds.

use crate::map::BLOCK;
use crate::winograd::{Outputs, Tiling, algorithms};

/// How a layer goes through Winograd's transforms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub outputs: Outputs,
    /// Tiles that go through together.
    pub together: usize,
    /// All tiles in stages rather than block by block.
    pub in_stages: bool,
}

/// Largest error that a layer may have, as root mean square over the deviation of its outputs.
const BUDGET: f64 = 5e-6;

// Of one core of a Zen 3; the choice hangs on the ratios alone.
/// Multiplications and additions a second.
const PEAK: f64 = 90e9;
/// Bytes a second that transforms read and write.
const TRANSFORMS: f64 = 12e9;
/// Bytes of weights a second from the third cache.
const WEIGHTS_CACHED: f64 = 40e9;
/// Bytes of weights a second from memory.
const WEIGHTS: f64 = 15e9;
/// Bytes of weights that the third cache holds.
const CACHE: f64 = 12e6;

/// The choice for maps of `size` and a batch of `images`; `None` where there are no tiles for `kernel`.
pub(crate) fn choose(kernel: [usize; 3], size: [usize; 3], blocks: [usize; 2], images: usize) -> Option<Choice> {
    let channels = blocks.map(|blocks| (blocks * BLOCK) as f64);
    let allowed = algorithms(kernel).iter().filter(|outputs| error(**outputs, channels[0]) <= BUDGET);
    let cost = |outputs: &Outputs| {
        let tiling = Tiling::new(size, *outputs);
        let products = (tiling.frequencies() * tiling.count() * images) as f64;
        let weights = 4.0 * tiling.frequencies() as f64 * channels[0] * channels[1];
        let read = weights / if weights < CACHE { WEIGHTS_CACHED } else { WEIGHTS };
        let multiply = products * channels[0] * channels[1] * 2.0 / PEAK;
        multiply.max(read) + 0.3 * read + 4.0 * products * (channels[0] + channels[1]) / TRANSFORMS
    };
    let outputs = *allowed.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    let tiling = Tiling::new(size, outputs);
    let in_stages = tiling.count() * images < 200 && channels[0] * channels[1] >= 8192.0;
    // As many as fit the second cache; many channels read so many weights that more tiles a weight are worth a trip to the third.
    let target = if channels[0].max(channels[1]) <= 64.0 { 10 } else { 30 };
    let row = tiling.tiles[2];
    let together = if row >= target { target } else { target / row * row };
    Some(Choice { outputs, together, in_stages })
}

/// An upper estimate of the root mean square of the rounding errors over the deviation of the outputs; `tests/accuracy.rs` measures them. Sums over
/// more channels round more often.
fn error(outputs: Outputs, channels: f64) -> f64 {
    let large = outputs.iter().filter(|outputs| **outputs == 4).count();
    [4.5e-8, 8e-8, 1.4e-7, 2.4e-7][large] * channels.sqrt()
}
