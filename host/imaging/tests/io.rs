//! Every format against nnU-Net: `golden/io/make_io.py` wrote the files, and what nnU-Net's readers make of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::io::{read_image, read_labels};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    read: BTreeMap<String, Expected>,
    refused: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    shape: [usize; 4],
    /// (z, y, x).
    spacing: [f64; 3],
    /// In ITK's frame, (x, y, z); of 3D images that SimpleITK reads.
    origin: Option<[f64; 3]>,
    /// In ITK's frame, by rows.
    direction: Option<[f64; 9]>,
    /// The float32 array.
    bits: Vec<u32>,
}

/// What nnU-Net reads and is refused here, and a word of the reason.
const BEYOND_US: [(&str, &str); 4] =
    [("lzma.tif", "LZMA"), ("fax3.tif", "CCITT group 3"), ("fill_order_2.tif", "FillOrder 2"), ("sparse.tif", "sparse")];
/// How far apart two decoders of JPEG may be.
const JPEG_ROUNDING: f32 = 3.0;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/io")
}

fn golden() -> Golden {
    serde_json::from_str(&std::fs::read_to_string(folder().join("io.json")).unwrap()).unwrap()
}

/// How what is read differs from what nnU-Net reads.
fn difference(name: &str, expected: &Expected) -> Option<String> {
    let image = match read_image(&folder().join("files").join(name)) {
        Ok(image) => image,
        Err(error) => return Some(error.to_string()),
    };
    if image.volume.shape() != expected.shape {
        return Some(format!("shape {:?} and not {:?}", image.volume.shape(), expected.shape));
    }
    let found: Vec<u32> = image.volume.data().iter().map(|value| value.to_bits()).collect();
    let rounding = if name.starts_with("jpeg") { JPEG_ROUNDING } else { 0.0 };
    let is_close =
        |at: usize| found[at] == expected.bits[at] || (f32::from_bits(found[at]) - f32::from_bits(expected.bits[at])).abs() <= rounding;
    if let Some(at) = (0..found.len()).find(|&at| !is_close(at)) {
        let [found, expected] = [found[at], expected.bits[at]].map(f32::from_bits);
        return Some(format!("voxel {at} is {found:?} and not {expected:?}"));
    }
    let close = |a: &f64, b: &f64| (a - b).abs() <= 1e-14 + 1e-14 * b.abs();
    let all_close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| close(a, b));
    if !all_close(&image.geometry.spacing(), &expected.spacing) {
        return Some(format!("spacing {:?} and not {:?}", image.geometry.spacing(), expected.spacing));
    }
    let in_itk = |[x, y, z]: [f64; 3]| [-x, -y, z];
    let origin = in_itk(image.geometry.origin());
    if let Some(expected) = expected.origin.filter(|expected| !all_close(&origin, expected)) {
        return Some(format!("origin {origin:?} and not {expected:?}"));
    }
    let columns = image.geometry.direction().map(in_itk);
    let direction: [f64; 9] = std::array::from_fn(|i| columns[i % 3][i / 3]);
    // ITK computes the qform's in single precision.
    let differs = |expected: &[f64; 9]| direction.iter().zip(expected).any(|(a, b)| (a - b).abs() > 2e-7);
    if let Some(expected) = expected.direction.filter(differs) {
        return Some(format!("direction {direction:?} and not {expected:?}"));
    }
    None
}

#[test]
fn arrays_and_geometries_are_those_of_nnunet() {
    let golden = golden();
    assert!(golden.read.len() > 250, "{} files", golden.read.len());
    let is_beyond_us = |name: &str| BEYOND_US.iter().any(|(beyond, _)| *beyond == name);
    let differences: Vec<String> = (golden.read.iter())
        .filter(|(name, _)| !is_beyond_us(name))
        .filter_map(|(name, expected)| Some(format!("{name}: {}", difference(name, expected)?)))
        .collect();
    assert!(differences.is_empty(), "{} of {} files differ:\n{}", differences.len(), golden.read.len(), differences.join("\n"));
}

#[test]
fn what_nnunet_cannot_read_is_refused_by_name() {
    let refused = golden().refused;
    for (name, reason) in refused.iter().map(|name| (name.as_str(), "")).chain(BEYOND_US) {
        let message = read_image(&folder().join("files").join(name)).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(reason) && !message.contains('\n'), "{message}");
        // What has only to be written again is told how.
        assert!(reason.is_empty() || message.contains("tiffcp -c lzw"), "{message}");
    }
}

/// A BMP of 8 bits a pixel, whose palette is `colours`; rows are a multiple of four pixels.
fn bmp(width: u8, pixels: &[u8], colours: &[[u8; 4]]) -> Vec<u8> {
    let start = 54 + 4 * colours.len() as u32;
    let numbers = [
        start + pixels.len() as u32,
        0,
        start,
        40,
        u32::from(width),
        (pixels.len() / usize::from(width)) as u32,
        1 | 8 << 16,
        0,
        pixels.len() as u32,
        0,
        0,
        colours.len() as u32,
        0,
    ];
    [b"BM", numbers.map(u32::to_le_bytes).as_flattened(), colours.as_flattened(), pixels].concat()
}

#[test]
fn indices_of_a_palette_are_the_labels() {
    let folder = tempfile::tempdir().unwrap();
    for (bits, depth) in [(1, png::BitDepth::One), (2, png::BitDepth::Two), (4, png::BitDepth::Four), (8, png::BitDepth::Eight)] {
        let path = folder.path().join("labels.png");
        let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 8, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0]);
        // 0, 1, 0, 1, …
        let pattern = [0b0101_0101, 0b0001_0001, 0b0000_0001, 1];
        let row: Vec<u8> = match bits {
            8 => [0, 1].repeat(4),
            _ => vec![pattern[usize::from(bits > 1) + usize::from(bits > 2)]; usize::from(bits as u8)],
        };
        encoder.write_header().unwrap().write_image_data(&row).unwrap();
        assert_eq!(read_labels(&path).unwrap().volume.data(), [0, 1, 0, 1, 0, 1, 0, 1], "{bits} bits");
        assert_eq!(read_image(&path).unwrap().volume.channels(), 3);
    }
    let path = folder.path().join("labels.bmp");
    std::fs::write(&path, bmp(4, &[0, 1, 2, 1], &[[0; 4], [0, 0, 255, 0], [0, 255, 0, 0]])).unwrap();
    assert_eq!(read_labels(&path).unwrap().volume.data(), [0, 1, 2, 1]);
    assert_eq!(read_image(&path).unwrap().volume.channels(), 3);
    for name in ["palette.tif", "palette_lzw_tiles.tif", "palette_stack.tif", "palette_pillow.tif"] {
        let path = self::folder().join("files").join(name);
        let (image, labels) = (read_image(&path).unwrap().volume, read_labels(&path));
        assert!(
            labels.is_ok_and(|labels| labels.volume.data().iter().zip(image.data()).all(|(label, value)| f32::from(*label) == *value)),
            "{name}"
        );
    }
}
