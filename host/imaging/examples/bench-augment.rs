//! Our side of `tests/compare/augment`: `bench-augment Z,Y,X CHANNELS LABELS SAMPLES [PARTS]`.
//!
//! Makes patches of a case in memory as nnU-Net's default pipeline does, with two coarser levels of the labels, on one thread, and
//! prints the seconds of each. With PARTS it prints instead the mean milliseconds of every part of the pipeline when it is applied, of the
//! pipeline `da5`, and of every derived target.

use std::time::Instant;

use imaging::augment::{Augmentation, Interpolation, Recipe, Scratch, Step, downsample_nearest};
use imaging::derive::{DistanceScratch, SkeletonScratch, boundary, signed_distance, skeleton};
use imaging::{BoundingBox, Volume, VolumeView};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Case {
    image: Volume<f32>,
    labels: Volume<i16>,
    patch: [usize; 3],
}

/// What a worker keeps from one patch to the next.
struct Memory {
    image: Vec<f32>,
    /// At the size of the patch, then coarser and coarser.
    labels: [Vec<i16>; 3],
    scratch: Scratch,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, channels, labels, samples, parts @ ..] = &arguments[..] else {
        panic!("usage: bench-augment Z,Y,X CHANNELS LABELS SAMPLES [PARTS]");
    };
    let patch: Vec<usize> = shape.split(',').map(|side| side.parse().expect("a size")).collect();
    let patch: [usize; 3] = patch.try_into().expect("three sizes");
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let case = case(patch, number(channels), number(labels));
    let dims = if patch[0] == 1 { 2 } else { 3 };
    let default = Augmentation::named("default", patch, dims).expect("known");
    let mut memory = Memory {
        image: vec![0.0; number(channels) * patch.iter().product::<usize>()],
        labels: [1, 2, 4].map(|divisor| vec![0; coarser(patch, divisor).iter().product()]),
        scratch: Scratch::default(),
    };
    if parts.is_empty() {
        for sample in 0..number(samples) + 2 {
            let start = Instant::now();
            make(&case, &default, sample as u64, &mut memory);
            if sample >= 2 {
                println!("sample {}", start.elapsed().as_secs_f64());
            }
        }
        println!("megabytes {:.1}", peak_megabytes());
        return;
    }
    let mut mean = |name: &str, augmentation: &Augmentation| {
        make(&case, augmentation, 0, &mut memory);
        let start = Instant::now();
        for sample in 0..number(samples) {
            make(&case, augmentation, sample as u64, &mut memory);
        }
        println!("{name} {:.3} ms", start.elapsed().as_secs_f64() * 1e3 / number(samples) as f64);
    };
    mean("default", &default);
    mean("none", &Augmentation::none());
    mean("flipped", &Augmentation { mirror: default.mirror.clone(), ..Augmentation::none() });
    let mut turned = Augmentation { spatial: default.spatial.clone(), ..Augmentation::none() };
    turned.spatial.as_mut().expect("turns").rotation_probability = 1.0;
    mean("turned", &turned);
    turned.spatial.as_mut().expect("turns").labels = Interpolation::Nearest;
    mean("turned, nearest labels", &turned);
    for Step { transform, .. } in default.intensity {
        let name = format!("{transform:?}");
        let steps = vec![Step { probability: 1.0, transform }];
        mean(&name, &Augmentation { intensity: steps, ..Augmentation::none() });
    }
    mean("da5", &Augmentation::named("da5", patch, dims).expect("known"));
    derived(patch, number(samples));
}

/// Of a label map with a few smooth blobs, as organs are.
fn derived(patch: [usize; 3], samples: usize) {
    let [_, height, width] = patch;
    let label = |i: usize| {
        let [z, y, x] = [i / (height * width), i / width % height, i % width].map(|at| at as f64);
        i16::from((z / 17.0).sin() + (y / 23.0).cos() + (x / 19.0).sin() > 1.0)
    };
    let labels: Vec<i16> = (0..patch.iter().product()).map(label).collect();
    let foreground: Vec<bool> = labels.iter().map(|label| *label > 0).collect();
    let (mut distances, mut out) = (vec![0.0; labels.len()], vec![0; labels.len()]);
    let (mut distance, mut thinning) = (DistanceScratch::default(), SkeletonScratch::default());
    let mean = |name: &str, derive: &mut dyn FnMut()| {
        derive();
        let start = Instant::now();
        (0..samples).for_each(|_| derive());
        println!("{name} {:.3} ms", start.elapsed().as_secs_f64() * 1e3 / samples as f64);
    };
    mean("signed distance", &mut || {
        signed_distance(&foreground, patch, [1.0; 3], &mut distances, &mut distance);
    });
    mean("boundary", &mut || boundary(&labels, patch, &mut out));
    mean("skeleton", &mut || skeleton(&foreground, patch, &mut out, &mut thinning));
}

/// Noise, with labels in blocks of eight voxels a side, as large as the box that nnU-Net cuts first.
fn case(patch: [usize; 3], channels: usize, labels: usize) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let spatial = patch.map(|side| if side == 1 { 1 } else { side * 8 / 5 });
    let voxels: usize = spatial.iter().product();
    let image = (0..channels * voxels).map(|_| rng.random::<f32>() * 4.0 - 2.0).collect();
    let blocks = spatial.map(|side| side.div_ceil(8));
    let values: Vec<i16> = (0..blocks.iter().product()).map(|_| rng.random_range(0..labels as i16)).collect();
    let label = |i: usize| {
        let [z, y, x] = [i / (spatial[1] * spatial[2]), i / spatial[2] % spatial[1], i % spatial[2]].map(|at| at / 8);
        values[(z * blocks[1] + y) * blocks[2] + x]
    };
    let [z, y, x] = spatial;
    Case {
        // Cut out of itself, as a reader would: into memory in large pages.
        image: Volume::new([channels, z, y, x], image).crop(&BoundingBox::whole(spatial)),
        labels: Volume::new([1, z, y, x], (0..voxels).map(label).collect()).crop(&BoundingBox::whole(spatial)),
        patch,
    }
}

fn make(case: &Case, augmentation: &Augmentation, sample: u64, memory: &mut Memory) {
    let mut rng = ChaCha8Rng::seed_from_u64(sample);
    let spatial = case.image.spatial();
    let origin = std::array::from_fn(|axis| ((spatial[axis] - case.patch[axis]) / 2) as i64);
    let recipe = Recipe::draw(augmentation, spatial, origin, case.patch, case.image.channels(), &mut rng).of_whole_volumes();
    recipe.image(case.image.view(), &mut memory.image, &mut memory.scratch);
    let [finest, levels @ ..] = &mut memory.labels;
    recipe.labels(case.labels.view(), finest, &mut memory.scratch);
    for label in finest.iter_mut() {
        *label = (*label).max(0);
    }
    let [z, y, x] = case.patch;
    for (level, divisor) in levels.iter_mut().zip([2, 4]) {
        downsample_nearest(VolumeView { shape: [1, z, y, x], data: finest }, coarser(case.patch, divisor), level);
    }
}

/// The most memory that this process ever had.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.trim().strip_suffix(" kB"));
    peak.and_then(|kilobytes| kilobytes.trim().parse::<f64>().ok()).map_or(f64::NAN, |kilobytes| kilobytes / 1e3)
}

fn coarser(patch: [usize; 3], divisor: usize) -> [usize; 3] {
    patch.map(|side| side.div_ceil(divisor))
}
