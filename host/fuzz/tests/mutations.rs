//! Every target on its seeds, and on some hundred files that were made of them by chance: the same ones in every run.

use fuzz::{TARGETS, Target};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mutations of each target; another number with FUZZ_MUTATIONS.
const MUTATIONS: usize = 300;
/// Longest file: the expansion of what is read is bounded by it.
const LONGEST: usize = 16_000;
/// Numbers that a field had better not hold.
const INTERESTING: [u64; 8] = [0, 1, 0x7f, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// The targets in groups, one test each, so that they run side by side.
const IMAGES: &[&str] = &["nifti", "gzip", "nrrd", "metaimage", "gipl", "png", "bmp"];
const PAGES: &[&str] = &["tiff"];
const TEXTS: &[&str] = &["json", "dataset", "plans", "fingerprint"];
const LIBRARIES: &[&str] = &["manifest", "loader"];

#[test]
fn images() {
    run(IMAGES);
}

#[test]
fn pages() {
    run(PAGES);
}

#[test]
fn texts() {
    run(TEXTS);
}

#[test]
fn libraries() {
    run(LIBRARIES);
}

#[test]
fn every_target_is_run() {
    assert_eq!([IMAGES, PAGES, TEXTS, LIBRARIES].concat(), TARGETS.map(|target| target.name));
}

fn run(targets: &[&str]) {
    let count = std::env::var("FUZZ_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("FUZZ_MUTATIONS is a number"));
    for Target { name, run, seeds } in targets.iter().map(|name| fuzz::find(name)) {
        let seeds: Vec<Vec<u8>> = seeds().into_iter().filter(|seed| seed.len() <= LONGEST).collect();
        assert!(!seeds.is_empty(), "{name} has no seed");
        seeds.iter().for_each(|seed| run(seed));
        for number in 0..count as u64 {
            let mut random = ChaCha8Rng::seed_from_u64(number);
            let file = mutated(&mut random, &seeds);
            let kept = file.clone();
            if std::panic::catch_unwind(|| run(&file)).is_err() {
                let path = std::env::temp_dir().join(format!("fuzz-{name}-{number}"));
                let _ = std::fs::write(&path, kept);
                panic!("target {name}, mutation {number}, kept as {}", path.display());
            }
        }
    }
}

/// One of `seeds` with some bytes or fields changed, moved, repeated, taken from another one, or cut off.
fn mutated(random: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        if bytes.is_empty() {
            return bytes;
        }
        // The nearer to the beginning, where headers are, the more often.
        let reach = bytes.len() >> random.random_range(0..8);
        let place = random.random_range(0..reach.max(1));
        let size = [1, 2, 4, 8][random.random_range(0..4)].min(bytes.len() - place);
        match random.random_range(0..8) {
            0 | 1 => bytes[place] ^= 1 << random.random_range(0..8),
            2 => bytes[place] = random.next_u32() as u8,
            3 => {
                let number = INTERESTING[random.random_range(0..INTERESTING.len())].to_le_bytes();
                bytes[place..place + size].copy_from_slice(&number[..size]);
            }
            4 => {
                let piece = bytes[place..place + size].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => drop(bytes.drain(place..place + size)),
            6 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..other.len());
                let piece = &other[from..(from + 64).min(other.len())];
                bytes.splice(place..place, piece.iter().copied());
            }
            _ => bytes.truncate(bytes.len() - place),
        }
    }
    bytes
}
