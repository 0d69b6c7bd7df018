//! Models in a ZIP file, as `nnUNetv2_export_model_to_zip` writes them.
//!
//! Only what prediction needs is unpacked. Names that lead out of the folder, links, and files that claim to become much larger than the ZIP
//! file are refused before anything is written.

use super::Error;
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{Read, copy};
use std::path::{Path, PathBuf};

/// What is unpacked beside checkpoints.
const FILES: [&str; 4] = ["plans.json", "dataset.json", "dataset_fingerprint.json", "plugin.json"];
/// Weights cannot be compressed, and the few other files are small: a model never becomes so many times larger.
const MAX_RATIO: u64 = 16;
/// But a small file may.
const SMALL: u64 = 16 << 20;
/// Files in a ZIP file: with five folds, and predictions of many cases.
const MAX_ENTRIES: u64 = 1 << 20;
/// Bits of an entry's mode that say that it is a symbolic link, and all that say what it is.
const LINK: u32 = 0o120_000;
const TYPE: u32 = 0o170_000;

/// Unpacks every model of `zip` into `folder`, and returns where they are.
///
/// # Errors
/// When it is no ZIP file, has no model, or is made to do harm.
pub fn unpack(zip: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let broken = |reason: String| Error::Broken { path: zip.to_owned(), reason };
    let damaged = |error: rawzip::Error| broken(format!("is no ZIP file, or a damaged one ({error}); copy it again from its source"));
    let unreadable = |error: std::io::Error| broken(format!("cannot be unpacked ({error})"));
    let file = imaging::io::open_file(zip).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;

    let mut wanted: Vec<(PathBuf, CompressionMethod, ZipArchiveEntryWayfinder)> = Vec::new();
    let mut targets = HashSet::new();
    let (mut seen, mut unpacked) = (0u64, 0u64);
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        seen += 1;
        if seen > MAX_ENTRIES {
            return Err(broken(format!("has more than {MAX_ENTRIES} entries; expected a model")));
        }
        let path = entry.file_path();
        let name = str::from_utf8(path.as_ref()).map_err(|_| broken("has an entry whose name is not text".to_owned()))?;
        let refuse =
            |what: &str| Err(broken(format!("its entry {:?} {what}; nothing was unpacked", name.chars().take(200).collect::<String>())));
        let plain = name.strip_suffix('/').unwrap_or(name);
        if plain.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains(['\\', '\0', ':']) {
            return refuse("leads out of the folder");
        }
        if entry.mode().value() & TYPE == LINK {
            return refuse("is a link");
        }
        if !is_wanted(name) {
            continue;
        }
        if entry.flags().is_encrypted() {
            return refuse("is encrypted");
        }
        unpacked = unpacked.saturating_add(entry.uncompressed_size_hint());
        if unpacked > SMALL.max(size.saturating_mul(MAX_RATIO)) {
            return Err(broken(format!("would become more than {MAX_RATIO} times as large; expected a model; nothing was unpacked")));
        }
        let target = folder.join(name);
        if !targets.insert(target.clone()) {
            return refuse("is there twice");
        }
        wanted.push((target, entry.compression_method(), entry.wayfinder()));
    }
    let models: BTreeSet<PathBuf> = wanted
        .iter()
        .filter(|(path, ..)| path.ends_with("plans.json"))
        .filter_map(|(path, ..)| path.parent().map(Path::to_owned))
        .collect();
    if models.is_empty() {
        return Err(broken("has no plans.json; expected a model as nnUNetv2_export_model_to_zip writes it".to_owned()));
    }

    for (path, method, wayfinder) in wanted {
        let claimed = wayfinder.uncompressed_size_hint();
        let entry = archive.get_entry(wayfinder).map_err(damaged)?;
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(unreadable)?;
        let mut out = File::create_new(&path).map_err(unreadable)?;
        let reader = entry.reader();
        // No more than was claimed, whatever is inside; the checksum tells if it was less.
        let copied = match method {
            CompressionMethod::STORE => copy(&mut entry.verifying_reader(reader).take(claimed + 1), &mut out),
            CompressionMethod::DEFLATE => copy(&mut entry.verifying_reader(DeflateDecoder::new(reader)).take(claimed + 1), &mut out),
            other => return Err(broken(format!("is compressed by {other:?}; expected Deflate, or none"))),
        };
        let copied = copied.map_err(unreadable)?;
        if copied != claimed {
            return Err(broken(format!("{} has another size than the ZIP file says; copy it again from its source", path.display())));
        }
    }
    Ok(models.into_iter().collect())
}

fn is_wanted(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    let file = parts.next().unwrap_or_default();
    let is_checkpoint = file.starts_with("checkpoint_") && (file.ends_with(".pth") || file.ends_with(".safetensors"));
    FILES.contains(&file) && !parts.next().is_some_and(|folder| folder.starts_with("fold_")) || is_checkpoint
}
