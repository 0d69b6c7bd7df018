//! The one multiplication that all layers stand on: some positions times sixteen output channels, summed in registers.
//!
//! A position's inputs lie in runs of neighbouring voxels, one run at each of `offsets`; the weights of a panel follow in the same order,
//! sixteen outputs an input. For Winograd's products a run is a block of channels; for a direct convolution it is a row of the kernel times a
//! block of channels. With AVX2, twelve sums, two weights and one input fill fifteen of sixteen registers (a 6 × 16 kernel, as BLIS has it); with
//! AVX-512, a panel is one register, and twelve positions go at once. Every sum is added in the same order, so that both give the same bits.

use crate::instructions::Instructions;
use crate::map::PANEL;
use crate::moments::Moments;
use crate::simd::{V, all, fma, load, store, zero};
use std::arch::x86_64::*;

/// What every position of a layer has in common.
#[derive(Clone, Copy)]
pub(crate) struct Runs<'a> {
    /// Where the runs begin, in floats from a position's first one.
    pub offsets: &'a [usize],
    /// Voxels of a run.
    pub voxels: usize,
    pub instructions: Instructions,
}

/// Where results go.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The first position's channels 0 to 8.
    pub low: *mut f32,
    /// The first position's channels 8 to 16.
    pub high: *mut f32,
    /// Floats from one position to the next.
    pub step: usize,
}

/// Calls a method for a number of positions.
macro_rules! for_positions {
    ($positions:expr, $self:ident.$method:ident::<$step:ident, $lanes:ident>$arguments:tt, $($count:literal)*) => {
        match $positions {
            $($count => $self.$method::<$count, $step, $lanes>$arguments,)*
            other => unreachable!("{other} positions at once"),
        }
    };
}

impl Runs<'_> {
    /// Computes `count` positions, `STEP` floats apart, in groups of nearly equal size. A voxel has `LANES` floats.
    ///
    /// # Safety
    /// The processor has `instructions`. From `input` on, all runs of all positions can be read; from `weights` on, `16 · LANES · voxels ·
    /// offsets.len()` floats. All of `target` can be written, and belongs to the caller alone.
    pub unsafe fn multiply<const STEP: usize, const LANES: usize>(
        self,
        count: usize,
        input: *const f32,
        weights: *const f32,
        target: Target,
        mut moments: Option<&mut [Moments; 2]>,
    ) {
        let at_once = match self.instructions {
            Instructions::Avx2 => 6,
            Instructions::Avx512 => 12,
        };
        let groups = count.div_ceil(at_once);
        let mut done = 0;
        for group in 0..groups {
            let positions = (count - done).div_ceil(groups - group);
            // SAFETY: `done` is less than `count`, so that these are positions of the caller's, of whom this asks no more than that.
            unsafe {
                let (input, from) = (input.add(done * STEP), done * target.step);
                let target = Target { low: target.low.add(from), high: target.high.add(from), ..target };
                match self.instructions {
                    Instructions::Avx2 => {
                        for_positions!(positions, self.narrow::<STEP, LANES>(input, weights, target, &mut moments), 1 2 3 4 5 6);
                    }
                    Instructions::Avx512 => {
                        for_positions!(positions, self.wide::<STEP, LANES>(input, weights, target, &mut moments), 1 2 3 4 5 6 7 8 9 10 11 12);
                    }
                }
            }
            done += positions;
        }
    }

    /// # Safety
    /// As of `multiply`, for `R` positions, with AVX2.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn narrow<const R: usize, const STEP: usize, const LANES: usize>(
        self,
        input: *const f32,
        mut weights: *const f32,
        target: Target,
        moments: &mut Option<&mut [Moments; 2]>,
    ) {
        let mut sums: [[V; 2]; R] = [[zero(); 2]; R];
        // SAFETY: the caller's promise: runs and weights of `R` positions are there.
        unsafe {
            for offset in self.offsets {
                let mut run = input.add(*offset);
                for _ in 0..self.voxels {
                    for lane in 0..LANES {
                        let (low, high) = (load(weights.add(lane * PANEL)), load(weights.add(lane * PANEL + 8)));
                        for (position, sum) in sums.iter_mut().enumerate() {
                            let value = all(*run.add(position * STEP + lane));
                            sum[0] = fma(value, low, sum[0]);
                            sum[1] = fma(value, high, sum[1]);
                        }
                    }
                    run = run.add(LANES);
                    weights = weights.add(LANES * PANEL);
                }
            }
            target.write(&sums, moments);
        }
    }

    /// # Safety
    /// As of `multiply`, for `R` positions, with AVX-512.
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn wide<const R: usize, const STEP: usize, const LANES: usize>(
        self,
        input: *const f32,
        mut weights: *const f32,
        target: Target,
        moments: &mut Option<&mut [Moments; 2]>,
    ) {
        let mut sums = [_mm512_setzero_ps(); R];
        // SAFETY: the caller's promise: runs and weights of `R` positions are there.
        unsafe {
            for offset in self.offsets {
                let mut run = input.add(*offset);
                for _ in 0..self.voxels {
                    for lane in 0..LANES {
                        let panel = _mm512_loadu_ps(weights.add(lane * PANEL));
                        for (position, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm512_fmadd_ps(_mm512_set1_ps(*run.add(position * STEP + lane)), panel, *sum);
                        }
                    }
                    run = run.add(LANES);
                    weights = weights.add(LANES * PANEL);
                }
            }
            let halves = sums.map(|sum| {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sum)));
                [_mm512_castps512_ps256(sum), high]
            });
            target.write(&halves, moments);
        }
    }
}

impl Target {
    /// Writes the sums of `R` positions, and adds them to `moments`.
    ///
    /// # Safety
    /// `R` positions can be written, and belong to the caller alone.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn write<const R: usize>(self, sums: &[[V; 2]; R], moments: &mut Option<&mut [Moments; 2]>) {
        for (position, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                store(self.low.add(position * self.step), sum[0]);
                store(self.high.add(position * self.step), sum[1]);
            }
        }
        if let Some(moments) = moments {
            for (half, moments) in moments.iter_mut().enumerate() {
                moments.add(sums.iter().map(|sum| sum[half]));
            }
        }
    }
}
