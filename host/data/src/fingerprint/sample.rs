//! The intensities that nnU-Net draws from the foreground of one case, as values and how often each of them came.
//!
//! nnU-Net keeps all that it draws, 10⁸ numbers a channel. Voxels are far fewer, and different values fewer still, so here
//! draws are counted by voxel and then voxels by value; what the draws say as a whole is left as it was.

use crate::numpy::RandomState;

/// Slots of a [`Tally`]; half a megabyte, which stays in the processor's cache.
const SLOTS: usize = 1 << 16;

/// Drawn values. A value can be there several times.
#[derive(Default)]
pub(super) struct Sample {
    /// Those that came once: where values are real numbers, most of them.
    once: Vec<f32>,
    /// Those that came several times, with how often.
    repeated: Vec<(f32, u32)>,
}

impl Sample {
    /// `random.choice(values, count, replace=True)`; nothing when there are no values.
    pub(super) fn draw(values: &[f32], count: usize, random: &mut RandomState) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        // Beyond 32 bits numpy goes over to other numbers; that would be 17 GB of foreground in one case.
        let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let mut tally = Tally::new();
        if values.len() <= count {
            let mut times = vec![0u32; values.len()];
            random.choice_with_replacement(n, count, |indices| indices.iter().for_each(|index| times[*index as usize] += 1));
            values.iter().zip(times).filter(|(_, times)| *times > 0).for_each(|(value, times)| tally.add(*value, times));
        } else {
            random.choice_with_replacement(n, count, |indices| indices.iter().for_each(|index| tally.add(values[*index as usize], 1)));
        }
        tally.finish()
    }

    /// Whether nothing was drawn.
    pub(super) fn is_empty(&self) -> bool {
        self.once.is_empty() && self.repeated.is_empty()
    }

    /// Values and how often each came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f32, u64)> {
        let repeated = self.repeated.iter().map(|(value, times)| (*value, u64::from(*times)));
        self.once.iter().map(|value| (*value, 1)).chain(repeated)
    }
}

/// Joins equal values into a sample.
///
/// Most images hold whole numbers or multiples of one slope, a few thousand different ones: a hash table with open addressing
/// catches them. Where nearly every voxel has a value of its own nothing can be joined; then the table fills, is emptied into
/// the sample, and starts again.
struct Tally {
    /// Bits of a value and how often it came; 0 times marks a free slot.
    slots: Vec<(u32, u32)>,
    used: usize,
    sample: Sample,
}

impl Tally {
    fn new() -> Self {
        Self { slots: vec![(0, 0); SLOTS], used: 0, sample: Sample::default() }
    }

    fn add(&mut self, value: f32, times: u32) {
        // -0 becomes 0.
        let bits = (value + 0.0).to_bits();
        // Fibonacci hashing: the upper bits of the product depend on all bits of the value.
        let mut slot = bits.wrapping_mul(0x9e37_79b1) as usize >> 16;
        loop {
            let (key, sum) = &mut self.slots[slot % SLOTS];
            if *sum == 0 {
                (*key, *sum) = (bits, times);
                break;
            }
            if *key == bits {
                *sum += times;
                return;
            }
            slot += 1;
        }
        self.used += 1;
        if self.used > SLOTS / 2 {
            self.empty();
        }
    }

    fn finish(mut self) -> Sample {
        self.empty();
        // A sample is kept until all cases are read.
        self.sample.once.shrink_to_fit();
        self.sample.repeated.shrink_to_fit();
        self.sample
    }

    fn empty(&mut self) {
        for (bits, times) in &mut self.slots {
            match *times {
                0 => {}
                1 => self.sample.once.push(f32::from_bits(*bits)),
                _ => self.sample.repeated.push((f32::from_bits(*bits), *times)),
            }
            *times = 0;
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Bits of every value of a sample and how often it came.
    fn content(sample: &Sample) -> BTreeMap<u32, u64> {
        let mut all = BTreeMap::new();
        sample.iter().for_each(|(value, times)| *all.entry(value.to_bits()).or_default() += times);
        all
    }

    #[test]
    fn counting_by_voxel_and_looking_up_every_draw_agree() {
        let values: Vec<f32> = (0..600).map(|i| (i % 7) as f32 - 3.0).collect();
        for count in [599, 600, 100_000] {
            let sample = Sample::draw(&values, count, &mut RandomState::new(1234));
            let mut expected = BTreeMap::new();
            RandomState::new(1234).choice_with_replacement(600, count, |indices| {
                indices.iter().for_each(|index| *expected.entry(values[*index as usize].to_bits()).or_default() += 1);
            });
            assert_eq!(content(&sample), expected);
        }
    }

    #[test]
    fn more_values_than_the_table_holds_are_all_kept() {
        let mut tally = Tally::new();
        for round in 1..=2 {
            (0..100_000).for_each(|i| tally.add(i as f32 / 7.0, round));
        }
        let content = content(&tally.finish());
        assert_eq!(content.len(), 100_000);
        assert!(content.values().all(|times| *times == 3));
    }

    #[test]
    fn without_values_nothing_is_drawn() {
        assert!(Sample::draw(&[], 10, &mut RandomState::new(1)).is_empty());
    }
}
