//! numpy's legacy generator, as far as nnU-Net's splits and sampled locations need it.
//!
//! MT19937: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998). Seeding, bounded integers and shuffling
//! follow `numpy.random.RandomState`, whose streams numpy has frozen.

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState(seed)`.
pub struct RandomState {
    state: [u32; N],
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
        Self { state, position: N }
    }

    /// `RandomState.permutation(n)`.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut values: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.at_most(i);
            values.swap(i as usize, j as usize);
        }
        values
    }

    /// `RandomState.choice(n, size, replace=False)`; `size` at most `n`.
    pub fn choice(&mut self, n: u32, size: u32) -> Vec<u32> {
        let mut values = self.permutation(n);
        values.truncate(size as usize);
        values
    }

    /// Uniform in `0..=max`, `max` at least 1: draws are masked to the bits of `max` and rejected while too large.
    fn at_most(&mut self, max: u32) -> u32 {
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    fn next_u32(&mut self) -> u32 {
        if self.position == N {
            self.twist();
        }
        let mut y = self.state[self.position];
        self.position += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.position = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_equal_numpy() {
        // numpy.random.RandomState(5489).randint(2**32, size=4, dtype=numpy.uint32): the reference output of MT19937.
        let mut random = RandomState::new(5489);
        let drawn: Vec<u32> = (0..4).map(|_| random.next_u32()).collect();
        assert_eq!(drawn, [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585]);
    }

    #[test]
    fn permutation_and_choice_equal_numpy() {
        assert_eq!(RandomState::new(12345).permutation(10), PERMUTATION_10);
        let large = RandomState::new(1234).choice(100_000, 5);
        assert_eq!(large, CHOICE_100_000);
    }

    // numpy.random.RandomState(12345).permutation(10)
    const PERMUTATION_10: [u32; 10] = [0, 7, 3, 9, 6, 4, 1, 8, 5, 2];
    // numpy.random.RandomState(1234).choice(100000, 5, replace=False)
    const CHOICE_100_000: [u32; 5] = [13504, 72599, 42217, 97650, 99120];
}
