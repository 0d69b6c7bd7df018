//! The files of `tests/golden/pth`, what a `.pth` file holds as JSON and what it asks Python for, and how much work a reader may have with one.

use crate::artifact::{self, root};
use data::pth::{DType, Error, Pth, Value};
use rawzip::{ZipArchive, ZipArchiveWriter};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Names and bytes of the files in an uncompressed ZIP file.
pub type Entries = Vec<(String, Vec<u8>)>;

/// Where make_pth.py puts its files.
pub fn fixtures() -> PathBuf {
    root().join("tests/golden/pth")
}

/// The JSON of `describe` in make_pth.py.
pub fn describe(pth: &Pth, value: &Value) -> Result<Json, Error> {
    let all = |items: &[Value]| items.iter().map(|item| describe(pth, item)).collect::<Result<Vec<Json>, Error>>();
    let pairs = |entries: &[(Value, Value)]| {
        entries.iter().map(|(key, value)| Ok(json!([describe(pth, key)?, describe(pth, value)?]))).collect::<Result<Vec<Json>, Error>>()
    };
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Float(value) => json!({"float": value.to_string().to_lowercase()}),
        Value::Str(text) => json!(text),
        Value::Bytes(bytes) => json!({"bytes": bytes}),
        Value::List(items) => json!(all(items)?),
        Value::Tuple(items) => json!({"tuple": all(items)?}),
        Value::Dict(entries) => json!({"dict": pairs(entries)?}),
        Value::OrderedDict(entries) => json!({"ordered": pairs(entries)?}),
        Value::Tensor(tensor) => {
            let numbers = pth.tensor_f32(tensor)?;
            assert_eq!(numbers.len() as u64, tensor.shape.iter().product::<u64>());
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!({"tensor": [name(tensor.dtype), tensor.shape, rawzip::crc32(&bytes)]})
        }
    })
}

fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::I16 => "int16",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::Bool => "bool",
    }
}

/// The entries of a ZIP file; none where it is damaged.
pub fn entries(file: &[u8]) -> Option<Entries> {
    let zip = ZipArchive::from_slice(file).ok()?;
    zip.entries()
        .map(|entry| {
            let entry = entry.ok()?;
            let name = str::from_utf8(entry.file_path().as_ref()).ok()?.to_owned();
            Some((name, zip.get_entry(entry.wayfinder()).ok()?.data().to_vec()))
        })
        .collect()
}

/// A ZIP file of these entries, with the right checksums.
pub fn zipped<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = ZipArchiveWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let (mut entry, config) = zip.new_file(name).start().expect("in memory");
        let mut file = config.wrap(&mut entry);
        file.write_all(bytes).expect("in memory");
        let (_, descriptor) = file.finish().expect("in memory");
        entry.finish(descriptor).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

/// What the pickle in a `.pth` file asks Python for, as `module.name`.
///
/// It is read here opcode by opcode, without the program's reader: that one knows only names which it allows.
pub fn globals(file: &[u8]) -> BTreeSet<String> {
    let entries = entries(file).expect("a ZIP file");
    let (_, pickle) = entries.iter().find(|(name, _)| name.ends_with("/data.pkl")).expect("a file of torch.save");
    let (mut names, mut rest) = (BTreeSet::new(), &pickle[..]);
    while let Some((opcode, after)) = rest.split_first() {
        let argument = match opcode {
            b'c' => {
                let mut lines = after.split(|byte| *byte == b'\n').map(|line| str::from_utf8(line).expect("text"));
                let (module, name) = (lines.next().expect("a module"), lines.next().expect("a name"));
                names.insert(format!("{module}.{name}"));
                module.len() + name.len() + 2
            }
            b'X' => 4 + u32::from_le_bytes(*after.first_chunk().expect("a length")) as usize,
            0x8a => 1 + usize::from(after[0]),
            b'G' => 8,
            b'J' | b'j' | b'r' => 4,
            b'M' => 2,
            b'K' | b'h' | b'q' | 0x80 => 1,
            b'(' | b')' | b'.' | b'N' | b'Q' | b'R' | b']' | b'a' | b'b' | b'e' | b's' | b't' | b'u' | b'}' | 0x85..=0x89 => 0,
            other => panic!("the opcode {other:#04x} is none that torch.save writes with protocol 2"),
        };
        rest = &after[argument..];
    }
    names
}

/// What `work` gives, and the processor time that it took: other processes add nothing to it.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = processor_time();
    let done = work();
    (done, processor_time() - before)
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most processor time that reading a file may take, on this machine and as it is now: ten times that of a sound file whose pickle has about
/// as many values as the reader allows.
pub fn most_work() -> Duration {
    let pickle = [b"\x80\x02](".to_vec(), vec![b'N'; 4_000_000], b"e.".to_vec()].concat();
    let folder = artifact::folder();
    let path = folder.path().join("sound.pth");
    std::fs::write(&path, zipped([("archive/data.pkl", &pickle[..])])).expect("writable");
    let (read, taken) = measured(|| Pth::open(&path).map(|pth| pth.root().clone()));
    assert!(matches!(read, Ok(Value::List(items)) if items.len() == 4_000_000), "a sound file is read");
    10 * taken
}
