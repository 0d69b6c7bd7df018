//! Sums of a convolution's results and of their squares, from which instance norm follows.
//!
//! A task adds in single precision over some hundred voxels ([`Moments`]), then in double precision ([`Sums`]).

use crate::map::BLOCK;
use crate::simd::{V, add, fma, load, store};

/// Of a block of channels, in single precision: eight sums, then eight sums of squares.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moments([f32; 16]);

impl Moments {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn add(&mut self, values: impl Iterator<Item = V>) {
        let at = self.0.as_mut_ptr();
        // SAFETY: two times eight floats.
        unsafe {
            let (mut sum, mut squares) = (load(at), load(at.add(BLOCK)));
            for value in values {
                sum = add(sum, value);
                squares = fma(value, value, squares);
            }
            store(at, sum);
            store(at.add(BLOCK), squares);
        }
    }
}

/// Of all channels, in double precision.
#[derive(Clone, Default)]
pub(crate) struct Sums(Vec<[f64; 2]>);

impl Sums {
    /// Zeros for so many blocks of channels.
    pub fn new(blocks: usize) -> Self {
        Self(vec![[0.0; 2]; blocks * BLOCK])
    }

    /// Adds the moments of the blocks from `first` on, and begins them anew.
    pub fn take(&mut self, first: usize, moments: &mut [Moments]) {
        for (block, moments) in moments.iter_mut().enumerate() {
            let [sums, squares] = bytemuck::cast_ref::<[f32; 16], [[f32; 8]; 2]>(&moments.0);
            let channels = &mut self.0[(first + block) * BLOCK..][..BLOCK];
            for (channel, [sum, square]) in channels.iter_mut().enumerate() {
                *sum += f64::from(sums[channel]);
                *square += f64::from(squares[channel]);
            }
            *moments = Moments::default();
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            *sum = [sum[0] + other[0], sum[1] + other[1]];
        }
    }

    /// Adds up those of a batch's tasks, as many for every image, in the order of their numbers.
    pub fn by_image(tasks: Vec<Self>, images: usize) -> Vec<Self> {
        let total = |tasks: &[Self]| {
            let mut total = tasks[0].clone();
            tasks[1..].iter().for_each(|task| total.add(task));
            total
        };
        tasks.chunks(tasks.len() / images).map(total).collect()
    }

    /// Sum and sum of squares by channel.
    pub fn channels(&self) -> &[[f64; 2]] {
        &self.0
    }
}
