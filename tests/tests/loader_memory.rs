//! The loader works in memory that it has: once it has seen patches of all kinds, it allocates nothing of the size of a patch.

use data::dataset::{Labels, Operation, SEGMENTATION, Target, TargetKind, TargetSource};
use data::kinds::Regression;
use data::preprocess::{CaseStore, Inputs, PreprocessedCase, Properties};
use host::loading::{Loader, LoaderOptions, Phase, Sampling, Share, Source};
use host::plugin::{self, LoadedTransform};
use host::train::Makers;
use imaging::augment::Augmentation;
use imaging::{BoundingBox, Volume};
use plugin_api::Task;
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::artifact;

/// Counts what is large.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);
/// A patch of the test has eight times as many bytes in its image.
const BYTES: usize = 1 << 15;

// SAFETY: everything is left to the system's allocator, whose promises these are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGE.fetch_add(usize::from(layout.size() >= BYTES), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGE.fetch_add(usize::from(size >= BYTES), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SHAPE: [usize; 3] = [48, 56, 52];
const PATCH: [usize; 3] = [40, 40, 40];

fn case() -> PreprocessedCase {
    let [depth, height, width] = SHAPE;
    let count = depth * height * width;
    let label = |i: usize| i16::from(i / (height * width) > 20 && i % width > 25);
    PreprocessedCase {
        inputs: Inputs::default(),
        image: Volume::new([1, depth, height, width], (0..count).map(|i| (i * 7919 % 1009) as f32 / 500.0).collect()),
        properties: Properties { spacing: [1.0; 3], shape: SHAPE, bbox: BoundingBox::whole(SHAPE), shape_after_crop: SHAPE },
        labels: [(SEGMENTATION.to_owned(), Volume::new([1, depth, height, width], (0..count).map(label).collect()))].into(),
        maps: [("map".to_owned(), Volume::filled([3, depth, height, width], 1.5))].into(),
        classes: Default::default(),
        locations: [(SEGMENTATION.to_owned(), vec![vec![[30, 30, 30]]])].into(),
    }
}

/// A plugin's targets.
fn heatmap() -> LoadedTransform {
    let library = plugin::load(&artifact::fixture("heatmap"), &artifact::this_host()).expect("loads");
    let task = json!({
        "dims": 3, "patch_size": PATCH, "spacing": [1, 1, 1], "features": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
        "targets": {SEGMENTATION: {"kind": "labels", "channels": 2, "classes": ["a"]}},
        "batch_size": 2, "batch_dice": false, "epochs": 1, "iterations": 1, "device": "cpu", "seed": 0,
    });
    let mut task: Task = serde_json::from_value(task).expect("a task");
    LoadedTransform::create(&library, &mut task, &json!({})).expect("made").expect("the fixture has one")
}

#[test]
fn nothing_large_is_allocated_in_the_steady_state() {
    let folder = artifact::folder();
    let store = CaseStore::new(folder.path(), "test");
    store.write("case", &case(), PATCH).expect("written");
    let target = |kind, source| Target { kind, source, optional: false, weighs: None };
    let derived = |operation, kind| target(kind, TargetSource::Derived { from: SEGMENTATION.to_owned(), operation });
    let labels = || {
        let names = [("background", 0), ("a", 1)].map(|(name, value)| (name.to_owned(), vec![value]));
        TargetKind::Labels(Labels { names: names.into(), ..Labels::default() })
    };
    let regression = |channels, vectors| TargetKind::Regression(Regression { channels, pad: 0.0, vectors });
    let targets = [
        (SEGMENTATION, target(labels(), TargetSource::Maps(String::new()))),
        ("map", target(regression(3, true), TargetSource::Maps(String::new()))),
        ("distance", derived(Operation::SignedDistance, regression(1, false))),
        ("skeleton", derived(Operation::Skeleton, labels())),
        ("boundary", derived(Operation::Boundary, labels())),
    ];
    let source = Source {
        store,
        key: String::new(),
        cases: vec!["case".to_owned()],
        targets: targets.map(|(name, target)| (name.to_owned(), target)).into(),
        use_mask_for_norm: vec![true],
        spacing: [1.0; 3],
    };
    for pipeline in ["default", "da5"] {
        let options = LoaderOptions {
            seed: 0,
            phase: Phase::Train,
            batch_size: 2,
            patch: PATCH,
            levels: LoaderOptions::level_shapes(PATCH, &[[2; 3]]),
            sampling: Sampling::default(),
            foreground: vec![SEGMENTATION.to_owned()],
            augmentation: Augmentation::named(pipeline, PATCH, 3).expect("known"),
            workers: 2,
            share: Share::default(),
        };
        let makers = Arc::new(Makers(vec![Some(Arc::new(heatmap()))]));
        let mut loader = Loader::with_stage(Arc::new(source.clone()), options, makers, 1000, (0, 0)).expect("started");
        let mut take = |batches: usize| {
            for _ in 0..batches {
                loader.next_batch().expect("a batch");
            }
        };
        // By then every worker has all its batches and has met the largest patches. Which patches they are follows from the seed and from how many
        // workers there are, so the same ones come every time; how far a worker has run ahead changes nothing, since the next ones are no larger.
        take(180);
        let before = LARGE.load(Ordering::Relaxed);
        take(60);
        let allocated = LARGE.load(Ordering::Relaxed) - before;
        assert_eq!(allocated, 0, "{pipeline}: allocations of {BYTES} bytes or more in 60 batches");
    }
}
