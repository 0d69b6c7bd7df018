//! What instance norm asks of a map once its sums are known: a scale and a shift for every channel of every image.

use crate::map::{BLOCK, Shape};
use crate::moments::Sums;
use crate::pool::Pool;

/// A difference of squares loses as many digits as the squared mean is larger than the variance. From here on, the map is read once more.
const MOST_LOST: f64 = 64.0;

/// Mean and variance of every channel of every image of a batch of maps, whose `sums` are by image.
pub(crate) fn statistics(pool: &Pool, sums: &[Sums], shape: Shape, data: &[f32]) -> Vec<[f64; 2]> {
    let voxels = shape.voxels() as f64;
    let of_sums = |[sum, squares]: &[f64; 2]| {
        let mean = sum / voxels;
        [mean, (squares / voxels - mean * mean).max(0.0)]
    };
    let mut statistics: Vec<[f64; 2]> = sums.iter().flat_map(|sums| sums.channels().iter().map(of_sums)).collect();
    let is_lost = |[mean, variance]: &[f64; 2]| mean * mean > MOST_LOST * variance && *mean != 0.0;
    let lost: Vec<usize> = (0..statistics.len() / BLOCK).filter(|block| statistics[block * BLOCK..][..BLOCK].iter().any(is_lost)).collect();
    let exact = pool
        .map(lost.len(), 0, |task, _| variances(&data[lost[task] * shape.block()..][..shape.block()], &statistics[lost[task] * BLOCK..]));
    for (block, exact) in lost.into_iter().zip(exact) {
        for (statistics, variance) in statistics[block * BLOCK..].iter_mut().zip(exact) {
            statistics[1] = variance;
        }
    }
    statistics
}

/// Variances of a block around the means that it has.
fn variances(block: &[f32], statistics: &[[f64; 2]]) -> [f64; BLOCK] {
    let mut sums = [0.0; BLOCK];
    for voxel in block.chunks_exact(BLOCK) {
        for (channel, sum) in sums.iter_mut().enumerate() {
            let distance = f64::from(voxel[channel]) - statistics[channel][0];
            *sum += distance * distance;
        }
    }
    sums.map(|sum| sum / (block.len() / BLOCK) as f64)
}
