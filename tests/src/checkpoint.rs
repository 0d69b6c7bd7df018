//! What a checkpoint of ours says of itself, to look at and to change.

use serde_json::Value;
use std::fs;
use std::path::Path;

const METADATA: &str = "__metadata__";
const KEY: &str = "checkpoint";

/// The JSON in the header of the checkpoint at `path`.
pub fn header(path: &Path) -> Value {
    let (header, _) = parts(path);
    serde_json::from_str(header[METADATA][KEY].as_str().expect("a checkpoint of ours")).expect("JSON")
}

/// Changes that JSON, and no tensor.
pub fn change_header(path: &Path, change: impl FnOnce(&mut Value)) {
    let (mut all, tensors) = parts(path);
    let mut told = header(path);
    change(&mut told);
    all[METADATA][KEY] = told.to_string().into();
    let mut text = all.to_string();
    // Tensors are aligned to eight bytes.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    fs::write(path, [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &tensors].concat()).expect("writable");
}

/// A safetensors file's header, and all after it.
fn parts(path: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(path).expect("trained");
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
    (serde_json::from_slice(&rest[..length]).expect("JSON"), rest[length..].to_vec())
}
