//! Our side of `tests/compare/store`: `bench-store write|read FOLDER CASE`.
//!
//! `write` makes `CASE.zarr.zip` of `CASE.image.f32` and `CASE.labels.i16`, whose shape is in `CASE.shape`, and prints the seconds
//! that took. `read` reads the patches of 128³ voxels whose lower corners are in `CASE.origins`, and prints the seconds of each.

use std::path::Path;
use std::time::Instant;

use imaging::zarr::{Element, NewArray, Store, chunk_shape, write};
use imaging::{BoundingBox, Volume};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATCH: [usize; 3] = [128; 3];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, folder, case] = &arguments[..] else { return Err("usage: bench-store write|read FOLDER CASE".into()) };
    let file = |ending: &str| Path::new(folder).join(format!("{case}.{ending}"));
    let shape = triples(&file("shape"))?[0];
    if command == "write" {
        let (image, labels) = (volume::<f32>(&file("image.f32"), shape)?, volume::<i16>(&file("labels.i16"), shape)?);
        let start = Instant::now();
        let chunk = chunk_shape(shape, PATCH);
        let arrays = [NewArray::volume("image", image.view(), chunk), NewArray::volume("labels/segmentation", labels.view(), chunk)];
        write(&file("zarr.zip"), &json!({}), &arrays)?;
        println!("write {}", start.elapsed().as_secs_f64());
        return Ok(());
    }
    let path = file("zarr.zip");
    let store = Store::open(&path)?;
    let read = |bbox: &BoundingBox, array: &str| -> Result<f64> {
        let start = Instant::now();
        if array == "image" {
            std::hint::black_box(store.volume::<f32>(array, bbox)?);
        } else {
            std::hint::black_box(store.volume::<i16>(array, bbox)?);
        }
        Ok(start.elapsed().as_secs_f64())
    };
    for lower in triples(&file("origins"))? {
        let upper = std::array::from_fn(|axis| (lower[axis] + PATCH[axis]).min(shape[axis]));
        let bbox = BoundingBox { lower, upper };
        let start = Instant::now();
        drop(Store::open(&path)?);
        println!("open {}", start.elapsed().as_secs_f64());
        println!("image {}", read(&bbox, "image")?);
        println!("labels {}", read(&bbox, "labels/segmentation")?);
    }
    Ok(())
}

/// Lines of three numbers (z, y, x).
fn triples(path: &Path) -> Result<Vec<[usize; 3]>> {
    let triple = |line: &str| -> Result<[usize; 3]> {
        let numbers = line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(numbers.try_into().map_err(|_| "expected three numbers a line")?)
    };
    std::fs::read_to_string(path)?.lines().map(triple).collect()
}

fn volume<T: Element>(path: &Path, [z, y, x]: [usize; 3]) -> Result<Volume<T>> {
    Ok(Volume::new([1, z, y, x], bytemuck::pod_collect_to_vec(&std::fs::read(path)?)))
}
