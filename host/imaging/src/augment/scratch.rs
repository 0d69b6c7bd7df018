//! Memory that is used again for every patch.

use super::previous_stage::StageScratch;
use super::sample::Cells;

/// Buffers of whatever size was needed so far. A worker keeps one, so that augmentation allocates next to nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    copy: Vec<f32>,
    buffers: Vec<f32>,
    pub(super) cells: Cells,
    pub(super) segmentation: Vec<i16>,
    pub(super) stage: StageScratch,
}

impl Scratch {
    /// A copy of `values`, and further buffers of the lengths `lengths` with arbitrary content.
    pub(super) fn copy_and_buffers<const N: usize>(&mut self, values: &[f32], lengths: [usize; N]) -> (&[f32], [&mut [f32]; N]) {
        self.copy.clear();
        self.copy.extend_from_slice(values);
        (&self.copy, split(&mut self.buffers, lengths))
    }

    /// Buffers of the lengths `lengths` with arbitrary content.
    pub(super) fn buffers<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [f32]; N] {
        split(&mut self.buffers, lengths)
    }
}

fn split<const N: usize>(buffer: &mut Vec<f32>, lengths: [usize; N]) -> [&mut [f32]; N] {
    let total = lengths.iter().sum();
    if buffer.len() < total {
        buffer.resize(total, 0.0);
    }
    let mut rest = &mut buffer[..];
    lengths.map(|length| rest.split_off_mut(..length).unwrap_or_else(|| unreachable!("long enough")))
}
