//! Batches a second that the loader makes for a trainer that takes them at once: `bench-loader FOLDER BATCHES [WORKERS…]`.
//!
//! FOLDER gets a store of three made-up cases, a CT (not resampled), an MR (resampled: hardly two numbers are equal) and a smaller MR,
//! unless it has one. Batches are two patches of 128³ voxels with nnU-Net's default augmentation and two coarser levels of the labels,
//! from a warm disk. For each number of workers one line: batches a second, and per batch the milliseconds of waiting, reading,
//! decompressing and augmenting, the last three summed over the workers. Batches differ much in what they take: fewer than 300 say little
//! about the gain of a second worker.

use data::dataset::{Labels, SEGMENTATION, Target, TargetKind, TargetSource};
use data::preprocess::{CaseStore, Inputs, PreprocessedCase, Properties};
use host::loading::{Loader, LoaderOptions, Phase, Sampling, Share, Source};
use imaging::augment::Augmentation;
use imaging::{BoundingBox, Volume};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PATCH: [usize; 3] = [128; 3];
const CASES: [(&str, [usize; 3]); 3] = [("ct", [160, 320, 320]), ("mr", [192, 224, 192]), ("small", [150, 180, 160])];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, batches, workers @ ..] = &arguments[..] else { return Err("usage: bench-loader FOLDER BATCHES [WORKERS…]".into()) };
    let (folder, batches) = (Path::new(folder), batches.parse::<u32>()?);
    for (number, (name, shape)) in CASES.into_iter().enumerate() {
        let store = CaseStore::new(folder, "bench");
        if !store.path(name).exists() {
            store.write(name, &case(number, shape), PATCH)?;
        }
    }
    let source = Arc::new(source(folder));
    for workers in workers {
        let options = options(workers.parse()?);
        let mut loader = Loader::start(Arc::clone(&source), options, u64::MAX / 2, (0, 0))?;
        // The first ones pay for memory, and for what is not in the page cache yet.
        for _ in 0..8 {
            loader.next_batch()?;
        }
        loader.take_times();
        let start = Instant::now();
        for _ in 0..batches {
            std::hint::black_box(loader.next_batch()?);
        }
        let seconds = start.elapsed().as_secs_f64();
        let (waited, times) = loader.take_times();
        let each = |time: std::time::Duration| time.as_secs_f64() * 1e3 / f64::from(batches);
        println!(
            "workers {workers}: {:.1} batches/s; ms a batch: wait {:.1}, read {:.1}, decode {:.1}, augment {:.1}",
            f64::from(batches) / seconds,
            each(waited),
            each(times.read),
            each(times.decode),
            each(times.augment)
        );
    }
    Ok(())
}

fn options(workers: usize) -> LoaderOptions {
    LoaderOptions {
        seed: 0,
        phase: Phase::Train,
        batch_size: 2,
        patch: PATCH,
        levels: LoaderOptions::level_shapes(PATCH, &[[2; 3], [2; 3]]),
        sampling: Sampling::default(),
        foreground: vec![SEGMENTATION.to_owned()],
        augmentation: Augmentation::standard(PATCH, 3),
        workers,
        share: Share::default(),
    }
}

fn source(folder: &Path) -> Source {
    let names = [("background", 0), ("a", 1), ("b", 2)].map(|(name, value)| (name.to_owned(), vec![value]));
    let kind = TargetKind::Labels(Labels { names: names.into(), ..Labels::default() });
    let target = Target { kind, source: TargetSource::Maps("labelsTr".to_owned()), optional: false, weighs: None };
    Source {
        store: CaseStore::new(folder, "bench"),
        key: "bench".to_owned(),
        cases: CASES.map(|(name, _)| name.to_owned()).to_vec(),
        targets: [(SEGMENTATION.to_owned(), target)].into(),
        use_mask_for_norm: vec![false],
        spacing: [1.0; 3],
    }
}

/// Waves with noise, whole numbers for the first case and all but continuous ones for the others, and two labels where they are high.
fn case(number: usize, shape: [usize; 3]) -> PreprocessedCase {
    let [depth, height, width] = shape;
    let voxels = depth * height * width;
    let at = |i: usize| [i / (height * width), i / width % height, i % width].map(|at| at as f32);
    let mut state = 0x9e37_79b9_u32;
    let (mut image, mut labels, mut locations) = (Vec::with_capacity(voxels), Vec::with_capacity(voxels), vec![Vec::new(); 2]);
    for i in 0..voxels {
        let [z, y, x] = at(i);
        let smooth = (z / 17.0).sin() + (y / 23.0).cos() + (x / 19.0).sin();
        // Xorshift: enough for noise.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let noisy = smooth * 100.0 + (state >> 8) as f32 / (1 << 24) as f32 * 40.0;
        image.push(if number == 0 { noisy.round() / 50.0 } else { noisy / 50.0 });
        let label = i16::from(smooth > 1.2) + i16::from(smooth > 2.0);
        if label > 0 && i % 97 == 0 {
            locations[label as usize - 1].push([z, y, x].map(|at| at as i32));
        }
        labels.push(label);
    }
    PreprocessedCase {
        inputs: Inputs::default(),
        image: Volume::new([1, depth, height, width], image),
        properties: Properties { spacing: [1.0; 3], shape, bbox: BoundingBox::whole(shape), shape_after_crop: shape },
        labels: [(SEGMENTATION.to_owned(), Volume::new([1, depth, height, width], labels))].into(),
        maps: Default::default(),
        classes: Default::default(),
        locations: [(SEGMENTATION.to_owned(), locations)].into(),
    }
}
