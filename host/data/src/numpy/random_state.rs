//! numpy's legacy generator, as far as nnU-Net's fingerprint, splits and sampled locations need it.
//!
//! MT19937: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998). Seeding, bounded integers and shuffling
//! follow `numpy.random.RandomState`, whose streams numpy has frozen. Words are made 624 at a time, in loops that the
//! compiler turns into vector instructions; whoever needs many of them takes them by the block.

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState(seed)`.
pub struct RandomState {
    state: [u32; N],
    /// What the generator gives for `state`; those from `position` on have not been used.
    words: [u32; N],
    position: usize,
}

impl RandomState {
    /// The generator that numpy gives for the same integer seed.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let previous = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = previous.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, words: [0; N], position: N }
    }

    /// `RandomState.permutation(n)`.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        self.choice(n, n)
    }

    /// `RandomState.choice(n, size, replace=False)`; `size` at most `n`.
    ///
    /// numpy shuffles `0..n` and keeps the first `size`. Every number has to be drawn for that, but what is not kept need not
    /// be moved: from the last swap back it is followed where each of the first `size` positions got its value from, which
    /// touches a bit a position instead of all of `n` values in random order.
    pub fn choice(&mut self, n: u32, size: u32) -> Vec<u32> {
        let size = size.min(n) as usize;
        let mut partners = self.shuffle_partners(n);
        let last_swaps = partners[..size].to_vec();
        // A followed position has its bit set, and from here on its entry in `partners`, whose swap has been dealt with,
        // says which of the first `size` positions it is followed for.
        let mut followed = vec![0u64; partners.len().div_ceil(64)];
        for (position, entry) in partners[..size].iter_mut().enumerate() {
            followed[position / 64] |= 1 << (position % 64);
            *entry = position as u32;
        }
        for position in size..partners.len() {
            let partner = partners[position] as usize;
            let bit = 1 << (partner % 64);
            if followed[partner / 64] & bit != 0 {
                followed[partner / 64] ^= bit;
                followed[position / 64] |= 1 << (position % 64);
                partners[position] = partners[partner];
            }
        }
        let mut values = vec![0; size];
        for (word, bits) in followed.into_iter().enumerate() {
            let mut rest = bits;
            while rest != 0 {
                let origin = word * 64 + rest.trailing_zeros() as usize;
                values[partners[origin] as usize] = origin as u32;
                rest &= rest - 1;
            }
        }
        for position in (1..size).rev() {
            values.swap(position, last_swaps[position] as usize);
        }
        values
    }

    /// `RandomState.choice(n, count, replace=True)`; `n` at least 1. `take` gets what is drawn, a block at a time.
    pub fn choice_with_replacement(&mut self, n: u32, count: usize, mut take: impl FnMut(&[u32])) {
        let max = n - 1;
        let mut accepted = [0; N];
        let mut left = count;
        if max == 0 {
            // numpy draws nothing where there is nothing to choose.
            while left > 0 {
                let block = left.min(N);
                take(&accepted[..block]);
                left -= block;
            }
            return;
        }
        let mask = u32::MAX >> max.leading_zeros();
        while left > 0 {
            // Of so many words so many at most are accepted, so that none is used up beyond the last one asked for.
            let words = self.unused();
            let used = words.len().min(left);
            let mut kept = 0;
            // Without a branch, which would be mispredicted at every other word: what is rejected is written over.
            for word in &words[..used] {
                accepted[kept] = word & mask;
                kept += usize::from(word & mask <= max);
            }
            self.position += used;
            take(&accepted[..kept]);
            left -= kept;
        }
    }

    /// For every position from 1 to `n - 1` the one at or below it that numpy's shuffle swaps it with; it begins at the last.
    /// A number is masked to the bits of the position and rejected while it is larger.
    fn shuffle_partners(&mut self, n: u32) -> Vec<u32> {
        let mut partners = vec![0; n as usize];
        let mut position = n.saturating_sub(1) as usize;
        while position > 0 {
            let mask = u32::MAX >> (position as u32).leading_zeros();
            let lowest_with_mask = (mask / 2 + 1) as usize;
            let words = self.unused();
            let mut used = 0;
            for word in words {
                if position < lowest_with_mask {
                    break;
                }
                let partner = word & mask;
                // What is rejected is written over.
                partners[position] = partner;
                position -= usize::from(partner as usize <= position);
                used += 1;
            }
            self.position += used;
        }
        partners
    }

    /// The words that come next, at least one.
    fn unused(&mut self) -> &[u32] {
        if self.position == N {
            self.refill();
        }
        &self.words[self.position..]
    }

    fn refill(&mut self) {
        let state = &mut self.state;
        for i in 0..N - M {
            state[i] = state[i + M] ^ twist(state[i], state[i + 1]);
        }
        for i in N - M..N - 1 {
            state[i] = state[i + M - N] ^ twist(state[i], state[i + 1]);
        }
        state[N - 1] = state[M - 1] ^ twist(state[N - 1], state[0]);
        for (word, state) in self.words.iter_mut().zip(&self.state) {
            let mut y = *state;
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c_5680;
            y ^= (y << 15) & 0xefc6_0000;
            *word = y ^ (y >> 18);
        }
        self.position = 0;
    }
}

fn twist(upper: u32, lower: u32) -> u32 {
    let y = (upper & 0x8000_0000) | (lower & 0x7fff_ffff);
    (y >> 1) ^ ((y & 1).wrapping_neg() & 0x9908_b0df)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_equal_numpy() {
        // numpy.random.RandomState(5489).randint(2**32, size=4, dtype=numpy.uint32): the reference output of MT19937.
        let mut random = RandomState::new(5489);
        assert_eq!(random.unused()[..4], [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585]);
    }

    #[derive(serde::Deserialize)]
    struct Drawn {
        n: u32,
        replace: bool,
        size: usize,
        digest: u32,
        next: u32,
    }

    /// Populations of one, at and around powers of two, and millions: what is drawn, and that no word too many is used.
    #[test]
    fn choices_equal_numpy() {
        let golden = include_bytes!("../../../../tests/golden/fingerprint.safetensors");
        let (_, metadata) = safetensors::SafeTensors::read_metadata(golden).expect("safetensors");
        let metadata = metadata.metadata().clone().expect("metadata");
        let golden: serde_json::Value = serde_json::from_str(&metadata["fingerprint"]).expect("JSON");
        let drawn: Vec<Drawn> = serde_json::from_value(golden["random_state"].clone()).expect("choices");
        assert!(drawn.len() > 20);
        for Drawn { n, replace, size, digest, next } in drawn {
            let mut random = RandomState::new(1234);
            let mut values = Vec::new();
            if replace {
                random.choice_with_replacement(n, size, |block| values.extend_from_slice(block));
            } else {
                values = random.choice(n, size as u32);
            }
            let found = values.iter().fold(0u32, |digest, value| digest.wrapping_mul(31).wrapping_add(*value));
            assert_eq!((values.len(), found, random.unused()[0]), (size, digest, next), "{n} {replace}");
        }
    }

    #[test]
    fn permutation_equals_numpy() {
        // numpy.random.RandomState(12345).permutation(10)
        assert_eq!(RandomState::new(12345).permutation(10), [0, 7, 3, 9, 6, 4, 1, 8, 5, 2]);
        assert!(RandomState::new(1).permutation(0).is_empty());
    }
}
