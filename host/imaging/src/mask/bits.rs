//! A mask of one bit per voxel.

/// Bits of a word.
const WORD: usize = 64;

/// A mask, row by row. A row starts with the lowest bit of a word of its own; what is left of its last word is 0.
#[derive(Debug, Default)]
pub struct Bits {
    /// (Z, Y, X) in voxels.
    pub spatial: [usize; 3],
    /// (Z, Y, words of a row).
    pub data: Vec<u64>,
}

impl Bits {
    /// Words of a row.
    pub fn words(&self) -> usize {
        self.spatial[2].div_ceil(WORD)
    }

    /// Words of a slice.
    pub fn plane(&self) -> usize {
        self.spatial[1] * self.words()
    }

    pub fn voxels(&self) -> usize {
        self.spatial.iter().product()
    }

    /// Becomes an empty mask.
    pub fn clear(&mut self, spatial: [usize; 3]) {
        self.spatial = spatial;
        let length = spatial[0] * self.plane();
        self.data.clear();
        self.data.resize(length, 0);
    }

    /// Becomes the mask of all voxels of `values`, (Z, Y, X), that are `inside`.
    pub fn pack<T: Copy>(&mut self, values: &[T], spatial: [usize; 3], inside: impl Fn(T) -> bool) {
        self.spatial = spatial;
        self.data.clear();
        for row in values.chunks_exact(spatial[2].max(1)) {
            self.data.extend(row.chunks(WORD).map(|part| part.iter().rev().fold(0, |word, value| word << 1 | u64::from(inside(*value)))));
        }
    }

    /// Becomes what it was not.
    pub fn invert(&mut self) {
        self.data.iter_mut().for_each(|word| *word = !*word);
        self.trim();
    }

    /// Empties what follows the last voxels of rows.
    pub fn trim(&mut self) {
        let (words, rest) = (self.words(), self.spatial[2] % WORD);
        if rest != 0 {
            self.data.iter_mut().skip(words - 1).step_by(words).for_each(|word| *word &= (1 << rest) - 1);
        }
    }

    /// Adds `source`, of the same size, moved by `offset` voxels towards lower x. Rows may then go on behind their last voxel.
    pub fn add_moved(&mut self, source: &Self, offset: isize) {
        let words = self.words();
        if words == 0 {
            return;
        }
        for (out, row) in self.data.chunks_exact_mut(words).zip(source.data.chunks_exact(words)) {
            for (number, out) in out.iter_mut().enumerate() {
                *out |= word_at(row, (number * WORD) as isize + offset);
            }
        }
    }

    /// Calls `visit` with the number of every voxel that this has and `other`, of the same size, has not.
    pub fn for_each_beyond(&self, other: &Self, mut visit: impl FnMut(usize)) {
        let words = self.words();
        for (number, (this, other)) in self.data.iter().zip(&other.data).enumerate() {
            let mut rest = this & !other;
            while rest != 0 {
                visit(number / words * self.spatial[2] + number % words * WORD + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}

/// The 64 bits of `row` from bit `from` on, which are 0 where the row has none.
fn word_at(row: &[u64], from: isize) -> u64 {
    let (number, bit) = (from.div_euclid(WORD as isize), from.rem_euclid(WORD as isize) as u32);
    // Negative numbers become large ones.
    let word = |number: isize| row.get(number as usize).copied().unwrap_or(0);
    // Two shifts, since there is none by 64.
    word(number) >> bit | word(number + 1) << 1 << (WORD as u32 - 1 - bit)
}

/// Calls `visit` with the first voxel and the one behind the last of every run of a row, which is [trimmed](Bits::trim).
pub fn for_each_run(row: &[u64], mut visit: impl FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(start) = next(row, at, 0) {
        // A row that is full to its end has no voxel behind it.
        let end = next(row, start, u64::MAX).unwrap_or(row.len() * WORD);
        visit(start, end);
        at = end;
    }
}

/// The first bit from `from` on that is set once `row` is combined with `flip` by exclusive or.
fn next(row: &[u64], from: usize, flip: u64) -> Option<usize> {
    let first = from / WORD;
    let mut word = (*row.get(first)? ^ flip) & u64::MAX << (from % WORD);
    let mut number = first;
    while word == 0 {
        number += 1;
        word = row.get(number)? ^ flip;
    }
    Some(number * WORD + word.trailing_zeros() as usize)
}
