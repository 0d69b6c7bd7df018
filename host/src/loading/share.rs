//! Which part of the work one process of several does.

use std::ops::Range;

/// Rank `rank` of `of` processes that train one network together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub rank: usize,
    /// Processes, at least one.
    pub of: usize,
}

impl Default for Share {
    /// Everything.
    fn default() -> Self {
        Self { rank: 0, of: 1 }
    }
}

impl Share {
    /// Its samples of a batch of `size`, by their numbers in that: parts differ by one sample at most.
    pub fn of_batch(self, size: usize) -> Range<usize> {
        let first = |rank: usize| rank * size / self.of;
        first(self.rank)..first(self.rank + 1)
    }

    /// Whether it is the one that writes.
    pub fn writes(self) -> bool {
        self.rank == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_together_are_the_batch() {
        for (size, of) in [(2, 1), (2, 2), (5, 2), (7, 3), (12, 4)] {
            let parts = (0..of).flat_map(|rank| Share { rank, of }.of_batch(size));
            assert_eq!(parts.collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
        }
        assert_eq!(Share::default().of_batch(3), 0..3);
        assert_eq!([0, 1].map(|rank| Share { rank, of: 2 }.writes()), [true, false]);
    }
}
