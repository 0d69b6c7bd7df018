//! Files that were changed at random: nothing panics, takes long or makes much of little.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use host::model::pth::Pth;
use rawzip::{ZipArchive, ZipArchiveWriter};
use tests::pth::{describe, fixtures};
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

type Entries = Vec<(String, Vec<u8>)>;

fn entries(file: &[u8]) -> Option<Entries> {
    let zip = ZipArchive::from_slice(file).ok()?;
    zip.entries()
        .map(|entry| {
            let entry = entry.ok()?;
            let name = str::from_utf8(entry.file_path().as_ref()).ok()?.to_owned();
            Some((name, zip.get_entry(entry.wayfinder()).ok()?.data().to_vec()))
        })
        .collect()
}

fn zipped(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipArchiveWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let (mut entry, config) = zip.new_file(name).start().unwrap();
        let mut file = config.wrap(&mut entry);
        file.write_all(bytes).unwrap();
        let (_, descriptor) = file.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Whether it was read.
fn read(path: &Path) -> bool {
    let started = Instant::now();
    let result = Pth::open(path).and_then(|pth| describe(&pth, pth.root()).map(drop));
    // A bomb takes two seconds without optimisation, more on a busy machine.
    assert!(started.elapsed().as_secs() < 60, "took {:?}", started.elapsed());
    match result {
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pth");
    let (mut fine, mut slowest) = (0, Duration::ZERO);
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
            zipped(&entries)
        };
        // ext4 flushes a file that is overwritten, but not a new one.
        _ = fs::remove_file(&path);
        fs::write(&path, &bytes).unwrap();
        let started = Instant::now();
        fine += u64::from(read(&path));
        slowest = slowest.max(started.elapsed());
    }
    println!("{count} files, {fine} of them still read, slowest {slowest:?}");
    assert!(fine > 0 && fine < count);
}
