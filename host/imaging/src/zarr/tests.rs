//! Arrays that go through a file, whole, in part and damaged.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{BoundingBox, Volume};

/// Numbers that repeat and numbers that do not, and a corner of zeros alone.
fn image(shape: [usize; 4]) -> Volume<f32> {
    let [_, depth, height, width] = shape;
    let value = |i: usize| {
        let (z, y, x) = (i / height / width % depth, i / width % height, i % width);
        if z + y + x < 12 {
            0.0
        } else if x < width / 2 {
            (i % 7) as f32
        } else {
            (i as f32 * 0.37).sin()
        }
    };
    Volume::new(shape, (0..shape.iter().product()).map(value).collect())
}

fn labels(shape: [usize; 4]) -> Volume<i16> {
    Volume::new(shape, image(shape).data().iter().map(|value| (*value * 300.0) as i16 - i16::from(*value == 6.0)).collect())
}

/// The extremes of what a byte holds, and zeros.
fn few() -> Volume<i16> {
    let labels = labels([1, 19, 23, 30]);
    Volume::new(labels.shape(), labels.data().iter().map(|label| (*label).clamp(-128, 127)).collect())
}

const SHAPE: [usize; 4] = [2, 19, 23, 30];

fn file(chunk: [usize; 3]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("a.zarr.zip");
    let (image, labels, few) = (image(SHAPE), labels([1, 19, 23, 30]), few());
    let rows: Vec<[i32; 3]> = (0..2500).map(|i| [i, -i, i * i]).collect();
    let arrays = [
        NewArray::volume("image", image.view(), chunk),
        NewArray::volume("labels/organs", labels.view(), chunk),
        NewArray::table("table", &rows),
        NewArray::table::<i32>("none", &[]),
        NewArray::volume("labels/few", few.view(), chunk),
    ];
    write(&path, &json!({"key": [1.5, "text"]}), &arrays).expect("written");
    (folder, path)
}

#[test]
fn any_box_is_read_as_it_was_written() {
    for chunk in [[8, 8, 8], [1, 23, 30], [5, 7, 11], [32, 32, 32]] {
        let (_folder, path) = file(chunk);
        let store = Store::open(&path).expect("readable");
        assert_eq!(store.attributes(), &json!({"key": [1.5, "text"]}));
        let names: Vec<_> = store.arrays().map(|(name, data_type, _)| (name, data_type)).collect();
        assert_eq!(
            names,
            [("image", "float32"), ("labels/organs", "int16"), ("table", "int32"), ("none", "int32"), ("labels/few", "int8")]
        );
        let (image, labels) = (image(SHAPE), labels([1, 19, 23, 30]));
        let boxes =
            [([0; 3], [19, 23, 30]), ([3, 8, 15], [17, 9, 30]), ([7, 7, 7], [8, 8, 8]), ([0, 0, 0], [3, 3, 3]), ([4, 4, 4], [4, 9, 9])];
        for (lower, upper) in boxes {
            let bbox = BoundingBox { lower, upper };
            assert_eq!(store.volume("image", &bbox).expect("whole"), Some(image.crop(&bbox)), "{chunk:?} {bbox:?}");
            assert_eq!(store.volume("labels/organs", &bbox).expect("whole"), Some(labels.crop(&bbox)), "{chunk:?} {bbox:?}");
            assert_eq!(store.volume("labels/few", &bbox).expect("whole"), Some(few().crop(&bbox)), "{chunk:?} {bbox:?}");
        }
        assert!(store.volume::<f32>("other", &BoundingBox::whole([19, 23, 30])).expect("no such array").is_none());
        for (row, expected) in
            [(0, Some([0, 0, 0])), (1024, Some([1024, -1024, 1_048_576])), (2499, Some([2499, -2499, 6_245_001])), (2500, None)]
        {
            assert_eq!(store.row::<i32>("table", row).expect("whole"), expected);
        }
        assert_eq!(store.row::<i32>("none", 0).expect("whole"), None);
    }
}

#[test]
fn other_numbers_and_other_names_are_refused() {
    let (folder, path) = file([8; 3]);
    let message =
        Store::open(&path).expect("readable").volume::<i16>("image", &BoundingBox::whole([1; 3])).expect_err("float32").to_string();
    assert!(message.contains("a.zarr.zip: ") && message.contains("image: float32") && message.contains("expected int16"), "{message}");
    let volume = Volume::filled([1, 2, 2, 2], 1_i16);
    let other = folder.path().join("b.zarr.zip");
    for name in ["", "a/", "a/b/c", "..", "a/__b"] {
        let message = write(&other, &json!({}), &[NewArray::volume(name, volume.view(), [2; 3])]).expect_err("must be refused").to_string();
        assert!(message.contains("b.zarr.zip") && message.contains(&format!("array {name:?}")) && !other.exists(), "{message}");
    }
    for chunk in [[0, 1, 1], [1000; 3]] {
        let message = write(&other, &json!({}), &[NewArray::volume("a", volume.view(), chunk)]).expect_err("must be refused").to_string();
        assert!(message.contains("expected 1 to 1048576"), "{message}");
    }
}

/// Opens the file and reads all of it.
fn read_all(path: &Path) -> Result<(), Error> {
    let store = Store::open(path)?;
    for (name, data_type, [_, z, y, x]) in store.arrays() {
        // A damaged file may promise anything; as much as was written is asked for.
        let bbox = BoundingBox::whole([z.min(40), y.min(40), x.min(40)]);
        match data_type {
            "float32" => store.volume::<f32>(name, &bbox).map(|_| ())?,
            "int8" | "int16" => store.volume::<i16>(name, &bbox).map(|_| ())?,
            _ => store.row::<i32>(name, 7).map(|_| ())?,
        }
    }
    Ok(())
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let (folder, path) = file([8; 3]);
    let good = std::fs::read(&path).expect("readable");
    let damaged = folder.path().join("damaged.zarr.zip");
    let read = |content: &[u8]| {
        // A new file each time: one that may be mapped must not be changed.
        let _ = std::fs::remove_file(&damaged);
        std::fs::write(&damaged, content).expect("written");
        read_all(&damaged)
    };
    read(&good).expect("whole");
    for length in (0..good.len()).step_by(good.len() / 97) {
        let message = read(&good[..length]).expect_err("cut short").to_string();
        assert!(message.contains("damaged.zarr.zip: ") && message.contains("remove it") && !message.contains('\n'), "{length}: {message}");
    }
    // Every way of damaging a byte ends in numbers or in an error, never in a crash.
    let mut errors = 0;
    for (round, position) in (0..good.len()).step_by(29).enumerate() {
        let mut content = good.clone();
        content[position] ^= [1, 0x80, 0xff, 0x10][round % 4];
        if let Err(error) = read(&content) {
            errors += 1;
            let message = error.to_string();
            assert!(message.contains("damaged.zarr.zip: ") && !message.contains('\n'), "{position}: {message}");
        }
    }
    assert!(errors > 10, "{errors}");
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from.as_bytes()).expect("in the metadata");
        let mut content = good.clone();
        content[at..at + to.len()].copy_from_slice(to.as_bytes());
        read(&content).expect_err("must be refused").to_string()
    };
    assert!(replaced("\"shape\":[2,19,23,30]", "\"shape\":[9,99,99,99]").contains("expected an array of this program"));
    assert!(replaced("float32", "float64").contains("float64"));
    assert!(
        replaced("\"zarr_format\":3,\"node_type\":\"group\"", "\"zarr_format\":3,\"node_type\":\"other\"").contains("a group or an array")
    );
}

#[test]
fn zeros_and_files_cost_what_they_must() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let size = |volume: &Volume<f32>, name: &str| {
        let path = folder.path().join(name);
        write(&path, &json!({}), &[NewArray::volume("image", volume.view(), [16; 3])]).expect("written");
        std::fs::metadata(path).expect("there").len()
    };
    // Zeros have no chunks, only the index.
    assert!(size(&Volume::filled([1, 64, 64, 64], 0.0), "zeros") < 4096);
    // Noise is stored as it is.
    let noise = (0..64 * 64 * 64).map(|i: u32| f32::from_bits(i.wrapping_mul(2_654_435_761) >> 2)).collect();
    assert!(size(&Volume::new([1, 64, 64, 64], noise), "noise") < 64 * 64 * 64 * 4 + 8192);
}

#[test]
fn chunks_have_the_form_of_a_patch() {
    assert_eq!(chunk_shape([300, 512, 512], [128; 3]), [24, 24, 32]);
    assert_eq!(chunk_shape([300, 512, 512], [16, 320, 256]), [4, 72, 64]);
    assert_eq!(chunk_shape([300, 512, 512], [1, 512, 512])[0], 1);
    assert_eq!(chunk_shape([35, 50, 35], [40, 56, 40]), [18, 25, 18]);
    assert_eq!(chunk_shape([35, 50, 35], [1, 56, 40]), [11, 50, 35]);
    assert_eq!(chunk_shape([300, 512, 512], [1, 56, 40])[0], 1);
    for spatial in [[0, 5, 5], [1, 1, 1], [1, 7, 3], [5, 5000, 5000], [2000, 2, 2]] {
        for patch in [[1, 1, 1], [1, 4096, 4096], [512, 512, 512], [7, 9, 11]] {
            let chunk = chunk_shape(spatial, patch);
            let voxels = chunk.iter().product::<usize>();
            assert!((1..=1 << 16).contains(&voxels), "{spatial:?} {patch:?}: {chunk:?}");
        }
    }
}
