//! Files of other people's making: a folder of images with what tifffile and scikit-image read of them.
//!
//! `IMAGE_CORPUS=FOLDER cargo test -p imaging --test corpus -- --ignored --nocapture` prints what is read, what is refused, and why. FOLDER has
//! `expected.json`, which `golden/make_corpus.py FOLDER` writes: a list of `{"file", "tifffile": {"shape", "raw"} or {"error"}, "skimage": …}`, where
//! `raw` is a file of little endian float32.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imaging::io::{Image, Reader};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    file: PathBuf,
    #[serde(default)]
    tifffile: Option<Found>,
    skimage: Option<Found>,
    #[serde(default)]
    compression: serde_json::Value,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    shape: Vec<usize>,
    #[serde(default)]
    raw: Option<PathBuf>,
}

/// What nnU-Net's class makes of an array: (C, Z, Y, X), and whether channels come last; none where it does not open it.
fn layout(reader: Reader, shape: &[usize]) -> Option<([usize; 4], bool)> {
    match (reader, shape) {
        (Reader::NaturalImage2D, &[y, x]) => Some(([1, 1, y, x], false)),
        (Reader::NaturalImage2D, &[y, x, c @ (3 | 4)]) => Some(([c, 1, y, x], true)),
        (Reader::Tiff3D, &[z, y, x]) => Some(([1, z, y, x], false)),
        _ => None,
    }
}

/// How an image differs from the array that is expected; the largest difference where the shape is right.
fn difference(image: &Image, shape: [usize; 4], last: bool, raw: &Path) -> Result<f32, String> {
    if image.volume.shape() != shape {
        return Err(format!("shape {:?} and not {shape:?}", image.volume.shape()));
    }
    let bytes = fs::read(raw).map_err(|error| error.to_string())?;
    let expected: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (channels, voxels) = (shape[0], shape[1] * shape[2] * shape[3]);
    let place = |i: usize| if last { i % voxels * channels + i / voxels } else { i };
    let differences = image.volume.data().iter().enumerate().map(|(i, value)| {
        let other = expected[place(i)];
        if *value == other || value.is_nan() && other.is_nan() { 0.0 } else { (value - other).abs() }
    });
    Ok(differences.fold(0.0, |most: f32, one| if one.is_nan() { f32::INFINITY } else { most.max(one) }))
}

#[test]
#[ignore = "needs IMAGE_CORPUS, a folder of images with expected.json"]
fn a_corpus_is_read_as_by_other_libraries() {
    let folder = PathBuf::from(std::env::var("IMAGE_CORPUS").expect("IMAGE_CORPUS is set"));
    let entries: Vec<Entry> = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (mut wrong, mut counts, mut refusals) = (Vec::new(), BTreeMap::<&str, usize>::new(), BTreeMap::<String, Vec<String>>::new());
    for entry in &entries {
        let readers = [(Reader::NaturalImage2D, &entry.skimage), (Reader::Tiff3D, &entry.tifffile)];
        for (reader, found) in readers {
            let Some(found) = found else { continue };
            let name = format!("{} {}", entry.file.file_name().unwrap().display(), reader.name());
            let expected = layout(reader, &found.shape).zip(found.raw.as_ref()).filter(|_| found.error.is_none());
            let mut count = |what| *counts.entry(what).or_default() += 1;
            let read = std::panic::catch_unwind(|| reader.read_image(&entry.file));
            let Ok(read) = read else {
                wrong.push(format!("{name}: panics"));
                continue;
            };
            match (read, expected) {
                // nnU-Net takes the three colours of a single image for three columns of a volume.
                (Ok(image), Some(_)) if reader == Reader::Tiff3D && image.volume.shape()[0] > 1 => count("colours, not columns"),
                (Ok(image), Some(((shape, last), raw))) => match difference(&image, shape, last, raw) {
                    Ok(0.0) => count("equal"),
                    Ok(most) if most <= 4.0 && entry.compression.to_string().contains("JPEG") => count("equal but for rounding of JPEG"),
                    Ok(most) => wrong.push(format!("{name}: differs by {most}")),
                    Err(error) => wrong.push(format!("{name}: {error}")),
                },
                (Err(error), Some(_)) => {
                    count("refused here alone");
                    let reason = error.to_string().replace(&entry.file.display().to_string(), "FILE");
                    refusals.entry(reason).or_default().push(name);
                }
                (Err(_), None) => count("refused by both"),
                (Ok(_), None) => {
                    count("read here alone");
                    refusals.entry(format!("READ HERE ALONE {:?} {:?}", found.error, found.shape)).or_default().push(name);
                }
            }
        }
    }
    for (reason, names) in &refusals {
        println!("{:5} {reason}\n        {}", names.len(), names.iter().take(6).cloned().collect::<Vec<_>>().join(", "));
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
