//! What a file costs to read grows with its size, and not with the square of it.
//!
//! Processor time is compared with that of a sound file; where a file is refused before any work, that it is refused says enough.

use data::dataset::{Dataset, check};
use data::pth::Pth;
use host::artifact::unpack;
use imaging::io::read_image;
use serde_json::{Map, json};
use std::fs;
use tests::artifact;
use tests::case::RawData;
use tests::pth::{measured, most_work, zipped};

#[test]
fn many_entries_of_a_zip() {
    let folder = artifact::folder();
    let names: Vec<String> = (0..60_000).map(|i| format!("model/fold_{i}/checkpoint_final.pth")).collect();
    // The last one is there twice: all are looked at, and none is written.
    let entries = ["model/plans.json"].into_iter().chain(names.iter().map(String::as_str)).chain([names[0].as_str()]);
    let zip = folder.path().join("model.zip");
    fs::write(&zip, zipped(entries.map(|name| (name, &b"{}"[..])))).expect("writable");
    let (unpacked, taken) = measured(|| unpack(&zip, &folder.path().join("unpacked")));
    assert!(unpacked.is_err_and(|error| error.to_string().contains("is there twice")));
    assert!(taken < most_work(), "{taken:?}");
}

#[test]
fn long_names_in_a_description() {
    let folder = artifact::folder();
    let raw = RawData::write(folder.path());
    let long = |letter: &str| letter.repeat(300_000);
    let many: Map<_, _> =
        (0..900).map(|i| (format!("t{i}_{}", "x".repeat(600)), json!({"kind": format!("k{}", "y".repeat(600))}))).collect();
    let names: Map<_, _> = (0..30_000).map(|i| (format!("label {i} {}", "x".repeat(10)), json!(i))).collect();
    for (what, json) in [
        ("a target of a long name", json!({"targets": {long("a"): {"kind": "regression"}, "w": {"kind": "weight", "of": long("b")}}})),
        ("a long kind", json!({"targets": {"t": {"kind": long("k")}}})),
        ("many targets", json!({"targets": many})),
        ("a long ending", json!({"file_ending": format!(".{}", long("e"))})),
        ("labels without background", json!({"labels": names})),
        ("a long value", json!({"channel_names": long("c")})),
    ] {
        raw.describe(json);
        let spec = raw.folder.to_str().expect("UTF-8");
        let (opened, taken) = measured(|| Dataset::open(spec, None).map(drop));
        let message = opened.expect_err(what).to_string();
        assert!(taken < most_work() && message.len() < 20_000, "{what}: {taken:?}, {} bytes", message.len());
        let (_, taken) = measured(|| check::check(&raw.folder, 1, &|_| ()));
        assert!(taken < 4 * most_work(), "{what}: {taken:?}");
    }
}

#[test]
fn pages_that_share_their_strips() {
    const PAGES: u32 = 5000;
    const STRIP: u32 = 500_000;
    let folder = artifact::folder();
    let path = folder.path().join("a.tif");
    let mut bytes = b"II*\0".to_vec();
    let entries: [(u16, u16, u32); 8] =
        [(256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 1), (279, 4, STRIP)];
    let size = 2 + 12 * entries.len() as u32 + 4;
    bytes.extend((8 + STRIP).to_le_bytes());
    bytes.resize(8 + STRIP as usize, 0);
    for page in 0..PAGES {
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let next = if page + 1 == PAGES { 0 } else { 8 + STRIP + size * (page + 1) };
        bytes.extend(next.to_le_bytes());
    }
    fs::write(&path, bytes).expect("writable");
    let (read, taken) = measured(|| read_image(&path));
    assert!(read.is_err_and(|error| error.to_string().contains("share their pixels")));
    assert!(taken < most_work(), "{taken:?}");
}

#[test]
fn few_numbers_far_from_each_other() {
    const NUMBERS: i32 = 1_000_000;
    let folder = artifact::folder();
    let path = folder.path().join("a.pth");
    let text = |text: &str| [b"X".to_vec(), (text.len() as u32).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    for i in 0..2000 {
        pickle.extend(text(&format!("t{i}")));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend(b"ctorch\nFloatStorage\n");
        pickle.extend([text("0"), text("cpu"), b"J".to_vec(), NUMBERS.to_le_bytes().to_vec(), b"tQK\0K\x02\x85J".to_vec()].concat());
        // Two numbers, the first and the last of the storage.
        pickle.extend((NUMBERS - 1).to_le_bytes());
        pickle.extend(b"\x85\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    let numbers = vec![0; 4 * NUMBERS as usize];
    fs::write(&path, zipped([("a/data.pkl", &pickle[..]), ("a/data/0", &numbers), ("a/version", b"3\n")])).expect("writable");
    let error = Pth::open(&path).map(drop).expect_err("too much would be read").to_string();
    assert!(error.contains("one tensor under very many names"), "{error}");
}
