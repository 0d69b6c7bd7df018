//! Plugins that were changed at random: reading them never panics, and whatever a child process that loads one does, the host says so in order.

use gate::LibraryFile;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::artifact;
use tests::program::Bench;
use tests::random::Random;

/// How many are loaded in a child process; more with PLUGIN_MUTATIONS.
const COUNT: u64 = 40;
/// How many are read for each that is loaded.
const READ: u64 = 50;
/// The host ends a child that hangs long before, on a busy machine, too.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Numbers that a field of an ELF file had better not hold.
const INTERESTING: [u64; 8] = [0, 1, 0x7f, 0x1000, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Changes a few bytes or fields of `library`, or cuts it: the nearer to its ends, where the tables are, the more often.
fn mutate(random: &mut Random, library: &[u8]) -> Vec<u8> {
    let mut bytes = library.to_vec();
    for _ in 0..=random.below(8) {
        let reach = bytes.len() >> random.below(10);
        let from_end = random.below(reach);
        let place = if random.below(4) == 0 { bytes.len() - 1 - from_end } else { from_end };
        let size = [1, 2, 4, 8][random.below(4)].min(bytes.len() - place);
        match random.below(16) {
            0..6 => bytes[place] ^= 1 << random.below(8),
            6..8 => bytes[place] = random.next() as u8,
            8..13 => {
                let number = INTERESTING[random.below(INTERESTING.len())].to_le_bytes();
                bytes[place..place + size].copy_from_slice(&number[..size]);
            }
            13 => {
                let from = random.below(bytes.len() - size);
                bytes.copy_within(from..from + size, place);
            }
            14 => {
                let end = bytes.len().min(place + 4096);
                bytes[place..end].fill(0);
            }
            _ => bytes.truncate(place.max(64)),
        }
    }
    bytes
}

/// How `host plugin schema` of `library` ended: what it says last, without paths and numbers that differ from one to the next.
fn load_in_child(bench: &Bench, library: &Path) -> String {
    let mut program = bench.host();
    program.args(["plugin", "schema"]).arg(library).process_group(0).stdin(Stdio::null());
    let started = Instant::now();
    let (output, errors) = (bench.folder().join("stdout"), bench.folder().join("stderr"));
    let file = |path| fs::File::create(path).expect("writable");
    let mut host = program.stdout(file(&output)).stderr(file(&errors)).spawn().expect("it starts");
    let status = loop {
        if let Some(status) = host.try_wait().expect("it is ours") {
            break status;
        }
        if started.elapsed() > DEADLINE {
            let group = format!("-{}", host.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            panic!("{} makes the host hang", library.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = String::from_utf8_lossy(&fs::read(errors).expect("written")).into_owned();
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(status.signal(), None, "{}: {text}", library.display());
    match status.code() {
        Some(0) => "loaded".to_owned(),
        Some(1) if last.starts_with("error: plugin") => {
            last.replace(&*library.display().to_string(), "").chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(70).collect()
        }
        code => panic!("{}: exit code {code:?}, {text}", library.display()),
    }
}

#[test]
fn changed_at_random() {
    let variable = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (variable("PLUGIN_MUTATIONS", COUNT), variable("PLUGIN_SEED", 1));
    let mut random = Random::new(seed);
    let bench = Bench::new();
    // One through each door, without what only debuggers read.
    let originals = [artifact::fixture("brier"), artifact::cpp_plugin()].map(|library| {
        let stripped = bench.folder().join("stripped");
        assert!(Command::new("strip").arg("-o").arg(&stripped).arg(library).status().expect("strip is there").success());
        fs::read(stripped).expect("just made")
    });
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut passed = 0;
    for round in 0.. {
        let original = &originals[random.below(originals.len())];
        let bytes = mutate(&mut random, original);
        if let Err(error) = gate::manifest::read(&bytes) {
            let message = error.to_string();
            assert!(message.len() < 1000 && !message.contains(char::is_control), "{message}");
        }
        if round % READ != 0 {
            continue;
        }
        let path = bench.folder().join("libchanged.so");
        fs::write(&path, &bytes).expect("writable");
        let end = match LibraryFile::read(&path).and_then(|file| file.check(&artifact::this_host())) {
            Err(error) => format!("refused: {}", error.reason).chars().take(70).collect(),
            Ok(()) => {
                passed += 1;
                load_in_child(&bench, &path)
            }
        };
        *ends.entry(end).or_default() += 1;
        if passed == count {
            break;
        }
    }
    ends.iter().for_each(|(end, number)| println!("{number:6} {end}"));
    assert!(ends.contains_key("loaded") && ends.len() > 2, "{ends:?}");
}
