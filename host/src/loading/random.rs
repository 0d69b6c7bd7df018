//! Random numbers that follow from a sample's place in the run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Phase;

/// The generator of one sample.
///
/// Its place is ChaCha's key: seed, epoch and iteration (8 bytes each), sample and phase (4 bytes each), little-endian. No two
/// places share a key, and ChaCha's streams under different keys are unrelated, however similar the keys are.
pub fn generator(seed: u64, phase: Phase, epoch: u64, iteration: u64, sample: u32) -> ChaCha8Rng {
    let phase: u32 = match phase {
        Phase::Train => 0,
        Phase::Validate => 1,
    };
    let mut key = [0; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..24].copy_from_slice(&iteration.to_le_bytes());
    key[24..28].copy_from_slice(&sample.to_le_bytes());
    key[28..32].copy_from_slice(&phase.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::Rng;

    use super::*;

    #[test]
    fn every_part_of_the_place_counts_and_nothing_else() {
        let first = |seed, phase, epoch, iteration, sample| generator(seed, phase, epoch, iteration, sample).next_u64();
        let places = [
            first(0, Phase::Train, 0, 0, 0),
            first(1, Phase::Train, 0, 0, 0),
            first(0, Phase::Validate, 0, 0, 0),
            first(0, Phase::Train, 1, 0, 0),
            first(0, Phase::Train, 0, 1, 0),
            first(0, Phase::Train, 0, 0, 1),
        ];
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len());
        assert_eq!(places[0], first(0, Phase::Train, 0, 0, 0));
        // First 8 bytes of the ChaCha8 key stream, from an implementation of its own: runs of other versions of this program
        // and of its libraries must draw the same.
        assert_eq!(places[5], 9_966_650_989_538_655_850);
    }
}
