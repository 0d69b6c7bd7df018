//! Files that were changed at random: nothing panics, takes much more work than a sound file or makes much of little.

use std::fs;
use std::path::Path;
use std::time::Duration;

use data::pth::Pth;
use tests::artifact;
use tests::pth::{Entries, describe, entries, fixtures, measured, most_work, zipped};
use tests::random::Random;

/// How many files; more with PTH_MUTATIONS.
const COUNT: u64 = 5000;

struct Mutator(Random);

impl Mutator {
    fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit)
    }

    /// Every second time one of the seven that can be read.
    fn pick(&mut self, count: usize) -> usize {
        let limit = if self.below(2) == 0 { 7 } else { count };
        self.below(limit)
    }

    /// Changes a few bytes, or moves, repeats or removes some.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const INTERESTING: &[u8] = b"().NQRabcehijloqrstu]}\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x8d\x8e\x93\x94\x00\x01\x02\x7f\xff";
        for _ in 0..=self.below(3) {
            let place = self.below(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => bytes.push(b'N'),
                0 => bytes[place] ^= 1 << self.below(8),
                1 => bytes[place] = self.0.next() as u8,
                2 => bytes[place] = INTERESTING[self.below(INTERESTING.len())],
                3 => bytes.insert(place, INTERESTING[self.below(INTERESTING.len())]),
                4 => drop(bytes.drain(place..(place + 1 + self.below(8)).min(bytes.len()))),
                5 => {
                    let piece = bytes[place..(place + 1 + self.below(32)).min(bytes.len())].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let from = self.below(other.len());
                    let piece = other[from..(from + 1 + self.below(64)).min(other.len())].to_vec();
                    bytes.splice(place..place, piece);
                }
            }
        }
    }
}

/// Whether it was read.
fn read(path: &Path) -> bool {
    match Pth::open(path).and_then(|pth| describe(&pth, pth.root()).map(drop)) {
        Ok(()) => true,
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1000 && !message.chars().any(char::is_control), "{message}");
            false
        }
    }
}

#[test]
fn changed_at_random() {
    let count = std::env::var("PTH_MUTATIONS").map_or(COUNT, |count| count.parse().unwrap());
    let seed = std::env::var("PTH_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Mutator(Random::new(seed));
    let mut paths: Vec<_> = [fixtures(), fixtures().join("refused")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pth"));
    // Those that can be read come first.
    paths.sort_by_key(|path| (path.parent() != Some(&*fixtures()), path.clone()));
    let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let pickles: Vec<(Entries, usize)> = files
        .iter()
        .filter_map(|file| entries(file))
        .filter_map(|entries| {
            let place = entries.iter().position(|(name, _)| name.ends_with("data.pkl"))?;
            Some((entries, place))
        })
        .collect();
    let folder = artifact::folder();
    let path = folder.path().join("changed.pth");
    let (bound, mut fine, mut slowest) = (most_work(), 0, Duration::ZERO);
    for round in 0..count {
        // Of four, one has a changed ZIP file and three a changed pickle with the right checksum.
        let bytes = if round % 4 == 0 {
            let mut bytes = files[random.pick(files.len())].clone();
            let other = random.below(files.len());
            random.mutate(&mut bytes, &files[other]);
            bytes
        } else {
            let (mut entries, place) = pickles[random.pick(pickles.len())].clone();
            let (other, at) = &pickles[random.below(pickles.len())];
            random.mutate(&mut entries[place].1, &other[*at].1);
            zipped(entries.iter().map(|(name, bytes)| (&**name, &**bytes)))
        };
        // ext4 flushes a file that is overwritten, but not a new one.
        _ = fs::remove_file(&path);
        fs::write(&path, &bytes).unwrap();
        let (was_read, taken) = measured(|| read(&path));
        assert!(
            taken <= bound,
            "file {round} takes {taken:?} of processor time; a sound file that is as large as allowed takes {:?}",
            bound / 10
        );
        fine += u64::from(was_read);
        slowest = slowest.max(taken);
    }
    println!("{count} files, {fine} of them still read, slowest {slowest:?}, at most {bound:?} allowed");
    assert!(fine > 0 && fine < count);
}
