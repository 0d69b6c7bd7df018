//! What touches every voxel once: sums of residual blocks, average pooling of their shortcuts, and maps as plain arrays.

use crate::map::{Activation, BLOCK, Block, Map, Shape};
use crate::memory::Shared;
use crate::pool::Pool;
use crate::simd::{V, add, all, load, max, mul, store, zero};

/// Voxels of a task.
const VOXELS: usize = 4096;

/// max(s, slope·s) of the sum s of two maps, by image and voxel.
pub(crate) fn add_maps(pool: &Pool, maps: [&Map; 2], slope: f32, images: usize, output: &mut [f32]) {
    let shape = maps[0].shape;
    let (blocks, voxels) = (shape.blocks(), shape.voxels());
    let parts = voxels.div_ceil(VOXELS);
    let output = Shared::new(output);
    let sources: Vec<[Block; 2]> =
        (0..images).flat_map(|image| maps[0].blocks(image).zip(maps[1].blocks(image)).map(|(a, b)| [a, b])).collect();
    pool.map(images * blocks * parts, 0, |task, _| {
        let (block, first) = (task / parts, task % parts * VOXELS);
        let count = VOXELS.min(voxels - first) * BLOCK;
        let range = first * BLOCK..first * BLOCK + count;
        let [a, b] = sources[block];
        // SAFETY: processor as promised to `Network`; every task writes a part of its own.
        unsafe { add_blocks(a, b, slope, range.clone(), output.slice(block * shape.block() + range.start, count)) };
    });
}

#[target_feature(enable = "avx2,fma")]
fn add_blocks(a: Block, b: Block, slope: f32, range: std::ops::Range<usize>, output: &mut [f32]) {
    let (of_a, of_b, slope) = (Activation::of(&a), Activation::of(&b), all(slope));
    let values = a.data[range.clone()].chunks_exact(BLOCK).zip(b.data[range].chunks_exact(BLOCK));
    for (output, (a, b)) in output.chunks_exact_mut(BLOCK).zip(values) {
        // SAFETY: chunks have eight floats.
        unsafe {
            let sum = add(of_a.apply(load(a.as_ptr())), of_b.apply(load(b.as_ptr())));
            store(output.as_mut_ptr(), max(sum, mul(sum, slope)));
        }
    }
}

/// Means over boxes of `kernel` (z, y, x), without overlap; what does not fill a box at the upper border is left out.
pub(crate) fn average_pool(pool: &Pool, map: &Map, kernel: [usize; 3], images: usize, shape: Shape, output: &mut [f32]) {
    let blocks = shape.blocks();
    let output = Shared::new(output);
    let sources: Vec<Block> = (0..images).flat_map(|image| map.blocks(image)).collect();
    let plane = shape.size[1] * shape.size[2] * BLOCK;
    pool.map(images * blocks * shape.size[0], 0, |task, _| {
        let (block, z) = (task / shape.size[0], task % shape.size[0]);
        // SAFETY: processor as promised to `Network`; every task writes a plane of its own.
        unsafe { pool_plane(sources[block], map.shape.size, kernel, z, shape.size, output.slice(task * plane, plane)) };
    });
}

#[target_feature(enable = "avx2,fma")]
fn pool_plane(block: Block, from: [usize; 3], kernel: [usize; 3], z: usize, to: [usize; 3], output: &mut [f32]) {
    let activation = Activation::of(&block);
    let share = all(1.0 / kernel.iter().product::<usize>() as f32);
    for (index, output) in output.chunks_exact_mut(BLOCK).enumerate() {
        let (y, x) = (index / to[2], index % to[2]);
        let mut sum = zero();
        for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
            let start = ((z * kernel[0] + i) * from[1] + y * kernel[1] + j) * from[2] + x * kernel[2];
            for voxel in block.data[start * BLOCK..][..kernel[2] * BLOCK].chunks_exact(BLOCK) {
                // SAFETY: chunks have eight floats.
                sum = add(sum, activation.apply(unsafe { load(voxel.as_ptr()) }));
            }
        }
        // SAFETY: as above.
        unsafe { store(output.as_mut_ptr(), mul(sum, share)) };
    }
}

/// Writes the first `images` of a batch as a plain array `(image, channel, z, y, x)`.
///
/// # Panics
/// When `output` is not as long.
pub(crate) fn unblock(pool: &Pool, map: &Map, images: usize, output: &mut [f32]) {
    let (channels, voxels) = (map.shape.channels, map.shape.voxels());
    assert_eq!(output.len(), images * channels * voxels, "a plain array of {images} images of {:?}", map.shape);
    let used = channels.div_ceil(BLOCK);
    let parts = voxels.div_ceil(VOXELS);
    let output = Shared::new(output);
    let sources: Vec<Block> = (0..images).flat_map(|image| map.blocks(image).take(used)).collect();
    pool.map(images * used * parts, 0, |task, _| {
        let (index, first) = (task / parts, task % parts * VOXELS);
        let (image, block) = (index / used, index % used);
        let count = VOXELS.min(voxels - first);
        let range = first * BLOCK..(first + count) * BLOCK;
        // SAFETY: every task writes voxels of channels of its own.
        let mut rows: Vec<&mut [f32]> = (block * BLOCK..channels.min((block + 1) * BLOCK))
            .map(|channel| unsafe { output.slice((image * channels + channel) * voxels + first, count) })
            .collect();
        // SAFETY: processor as promised to `Network`.
        unsafe { separate(sources[index], range, &mut rows) };
    });
}

/// Writes lane after lane of a block to rows of their own.
#[target_feature(enable = "avx2,fma")]
fn separate(block: Block, range: std::ops::Range<usize>, rows: &mut [&mut [f32]]) {
    let activation = Activation::of(&block);
    let data = &block.data[range];
    let count = data.len() / BLOCK;
    let whole = if rows.len() == BLOCK { count / BLOCK * BLOCK } else { 0 };
    for voxel in (0..whole).step_by(BLOCK) {
        let mut square = [zero(); BLOCK];
        for (entry, values) in square.iter_mut().zip(data[voxel * BLOCK..].chunks_exact(BLOCK)) {
            // SAFETY: chunks have eight floats.
            *entry = activation.apply(unsafe { load(values.as_ptr()) });
        }
        for (row, values) in rows.iter_mut().zip(transpose(square)) {
            // SAFETY: the slice has eight floats.
            unsafe { store(row[voxel..voxel + BLOCK].as_mut_ptr(), values) };
        }
    }
    for voxel in whole..count {
        let mut values = [0.0; BLOCK];
        // SAFETY: both slices have eight floats.
        unsafe { store(values.as_mut_ptr(), activation.apply(load(data[voxel * BLOCK..][..BLOCK].as_ptr()))) };
        rows.iter_mut().zip(values).for_each(|(row, value)| row[voxel] = value);
    }
}

/// Rows of an 8 × 8 square as columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn transpose(rows: [V; 8]) -> [V; 8] {
    use std::arch::x86_64::{_mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps};
    let pairs: [V; 8] = std::array::from_fn(|i| {
        let (a, b) = (rows[i / 2 * 2], rows[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
    });
    let fours: [V; 8] = std::array::from_fn(|i| {
        let (a, b) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
    });
    std::array::from_fn(|i| {
        let (a, b) = (fours[i % 4], fours[i % 4 + 4]);
        if i < 4 { _mm256_permute2f128_ps::<0x20>(a, b) } else { _mm256_permute2f128_ps::<0x31>(a, b) }
    })
}
