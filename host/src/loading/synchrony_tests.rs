//! Every target shows, at every voxel, what its image shows: coordinates are painted into all of them, and compared after random
//! pipelines.

use std::sync::Arc;

use imaging::augment::{Mirror, Turn};
use imaging::{BoundingBox, Volume};
use proptest::prelude::*;

use super::*;
use data::dataset::{Operation, SEGMENTATION, TargetKind, TargetSource};
use data::kinds::{Class, Labels, Regression};
use data::preprocess::{CaseStore, Inputs, PreprocessedCase, Properties};

const SHAPE: [usize; 3] = [26, 30, 28];
const SPACING: [f64; 3] = [2.5, 0.8, 1.1];
/// Labels are cubes of so many voxels a side.
const CUBE: usize = 4;

/// The image's channels are its voxels' coordinates (z, y, x), and 1, which tells where it is blended with what lies outside. The target
/// `position` has the coordinates, too, and `weight` their sum. The vectors of `home` lead from every voxel to voxel (0, 0, 0), in mm.
/// Labels number cubes.
fn painted() -> PreprocessedCase {
    let [depth, height, width] = SHAPE;
    let voxels = depth * height * width;
    let at = |i: usize| [i / (height * width), i / width % height, i % width];
    let coordinate = |i: usize| at(i % voxels)[i / voxels] as f32;
    let coordinates = Volume::new([3, depth, height, width], (0..3 * voxels).map(coordinate).collect());
    let image = coordinates.data().iter().copied().chain(std::iter::repeat_n(1.0, voxels)).collect();
    let home = (0..3 * voxels).map(|i| -coordinate(i) * SPACING[i / voxels] as f32).collect();
    let weight = (0..voxels).map(|i| at(i).iter().sum::<usize>() as f32).collect();
    let labels: Vec<i16> = (0..voxels).map(|i| cube(at(i).map(|at| at as f32))).collect();
    let mut locations: Vec<Vec<[i32; 3]>> = vec![Vec::new(); labels_of_cubes().foreground().len()];
    for i in 0..voxels {
        locations[labels[i] as usize - 1].push(at(i).map(|at| at as i32));
    }
    PreprocessedCase {
        inputs: Inputs::default(),
        image: Volume::new([4, depth, height, width], image),
        properties: Properties { spacing: SPACING, shape: SHAPE, bbox: BoundingBox::whole(SHAPE), shape_after_crop: SHAPE },
        labels: [(SEGMENTATION.to_owned(), Volume::new([1, depth, height, width], labels))].into(),
        maps: [
            ("position".to_owned(), coordinates),
            ("home".to_owned(), Volume::new([3, depth, height, width], home)),
            ("weight".to_owned(), Volume::new([1, depth, height, width], weight)),
        ]
        .into(),
        classes: [("class".to_owned(), 1)].into(),
        locations: [(SEGMENTATION.to_owned(), locations)].into(),
    }
}

/// Number of the cube at a position.
fn cube(position: [f32; 3]) -> i16 {
    let [_, columns, rows] = SHAPE.map(|n| n.div_ceil(CUBE));
    let [z, y, x] = position.map(|at| (at / CUBE as f32).floor() as usize);
    ((z * columns + y) * rows + x) as i16 + 1
}

fn labels_of_cubes() -> Labels {
    let count = SHAPE.map(|n| n.div_ceil(CUBE)).iter().product::<usize>();
    let names = (0..=count).map(|value| (format!("cube {value}"), vec![value as i16])).collect();
    Labels { names, ..Labels::default() }
}

fn source(folder: &std::path::Path) -> Source {
    let target = |kind, source, weighs| Target { kind, source, optional: false, weighs };
    let files = |kind| target(kind, TargetSource::Maps(String::new()), None);
    let regression = |channels, vectors| TargetKind::Regression(Regression { channels, pad: 0.0, vectors });
    let derive = |operation, kind| target(kind, TargetSource::Derived { from: SEGMENTATION.to_owned(), operation }, None);
    let one_label = Labels { names: [("background".to_owned(), vec![0]), ("a".to_owned(), vec![1])].into(), ..Labels::default() };
    let halves = ["cube 200".to_owned(), "cube 201".to_owned()];
    let targets = [
        (SEGMENTATION, files(TargetKind::Labels(labels_of_cubes()))),
        ("position", files(regression(3, false))),
        ("home", files(regression(3, true))),
        ("weight", target(regression(1, false), TargetSource::Maps(String::new()), Some("position".to_owned()))),
        (
            "class",
            target(TargetKind::Class(Class { classes: vec!["a".to_owned(), "b".to_owned()] }), TargetSource::OneFile(String::new()), None),
        ),
        ("border", derive(Operation::Boundary, TargetKind::Labels(one_label.clone()))),
        ("two cubes", derive(Operation::Subset(halves.to_vec()), TargetKind::Labels(labels_of_cubes()))),
    ];
    Source {
        store: CaseStore::new(folder, "test"),
        key: String::new(),
        cases: vec!["painted".to_owned()],
        targets: targets.map(|(name, target)| (name.to_owned(), target)).into(),
        use_mask_for_norm: vec![false; 4],
        spacing: SPACING,
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    ThreeD,
    Dummy2D,
    TwoD,
}

/// A pipeline that turns, scales, exchanges and flips at random, and the patch that it is for.
fn any_pipeline() -> impl Strategy<Value = (Augmentation, [usize; 3])> {
    let form = prop_oneof![Just(Form::ThreeD), Just(Form::Dummy2D), Just(Form::TwoD)];
    let probabilities = prop::array::uniform5(prop_oneof![Just(0.0), Just(0.5), Just(1.0)]);
    let sizes = (4_usize..18, 4_usize..18, 4_usize..18, any::<bool>());
    (form, probabilities, sizes, 5.0_f64..180.0, 0.6_f64..1.0, 1.0_f64..1.5, any::<bool>()).prop_map(
        |(form, [rotate, axis, scale, turn, flip], (z, y, x, cube), degrees, least, greatest, per_axis)| {
            let (dims, patch) = match form {
                Form::ThreeD => (3, if cube { [y, y, y] } else { [z, y, x] }),
                Form::Dummy2D => (3, [z, y, if cube { y } else { x }]),
                Form::TwoD => (2, [1, y, if cube { y } else { x }]),
            };
            let mut pipeline = Augmentation::none();
            let mut spatial = Augmentation::standard(patch, dims).spatial.expect("turns");
            spatial.in_plane = !matches!(form, Form::ThreeD);
            spatial.rotation_probability = rotate;
            spatial.axis_probability = axis;
            spatial.rotation_degrees = [-degrees, degrees];
            spatial.scaling_probability = scale;
            spatial.scaling = [least, greatest];
            spatial.scaling_per_axis = per_axis;
            pipeline.spatial = Some(spatial);
            pipeline.mirror = Some(Mirror { axes: (3 - dims..3).collect(), probability: flip });
            if cube {
                let axes = if matches!(form, Form::ThreeD) { vec![0, 1, 2] } else { vec![1, 2] };
                pipeline.turn = Some(Turn { turn_probability: turn, exchange_probability: turn, axes });
            }
            (pipeline, patch)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, rng_seed: proptest::test_runner::RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_target_shows_what_its_image_shows((augmentation, patch) in any_pipeline(), seed in 0_u64..1000) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = CaseStore::new(folder.path(), "test");
        store.write("painted", &painted(), [8; 3]).expect("written");
        let options = LoaderOptions {
            seed,
            phase: Phase::Train,
            batch_size: 2,
            patch,
            levels: LoaderOptions::level_shapes(patch, &[[1, 2, 2]]),
            sampling: Sampling::default(),
            foreground: vec![SEGMENTATION.to_owned()],
            augmentation,
            workers: 1,
            share: Share::default(),
        };
        let mut loader = Loader::start(Arc::new(source(folder.path())), options, 10, (0, 0)).expect("started");
        for _ in 0..2 {
            compare(loader.next_batch().expect("a batch"));
        }
    }
}

/// Patches of a batch, by channel and voxel.
struct Painted<'a> {
    batch: &'a Batch,
    sample: usize,
    /// (z, y, x).
    size: [usize; 3],
    voxels: usize,
}

impl Painted<'_> {
    fn image(&self, channel: usize, voxel: usize) -> f32 {
        self.batch.image.data[(self.sample * 4 + channel) * self.voxels + voxel]
    }

    /// Coordinates in the volume; those of voxels that are blended with what lies outside are too small.
    fn position(&self, voxel: usize) -> [f32; 3] {
        [0, 1, 2].map(|channel| self.image(channel, voxel))
    }

    fn is_interior(&self, voxel: usize) -> bool {
        self.image(3, voxel) > 0.9999
    }

    fn regression(&self, name: &str, channels: usize, channel: usize, voxel: usize) -> f32 {
        let Levels::Regression(levels) = &self.batch.targets[name].levels else { panic!("{name} is of the wrong kind") };
        levels[0].data[(self.sample * channels + channel) * self.voxels + voxel]
    }

    fn label(&self, name: &str, voxel: usize) -> i16 {
        let Levels::Labels(levels) = &self.batch.targets[name].levels else { panic!("{name} is of the wrong kind") };
        levels[0].data[self.sample * self.voxels + voxel]
    }

    fn is_valid(&self, name: &str, voxel: usize) -> bool {
        self.batch.targets[name].valid().first().is_none_or(|valid| valid.data[self.sample * self.voxels + voxel])
    }
}

fn compare(batch: &Batch) {
    let size = [batch.image.shape[2], batch.image.shape[3], batch.image.shape[4]];
    for sample in 0..2 {
        let painted = Painted { batch, sample, size, voxels: size.iter().product() };
        for voxel in 0..painted.voxels {
            compare_voxel(&painted, voxel);
        }
        vectors_lead_to_one_place(&painted);
        let Levels::Class(classes) = &batch.targets["class"].levels else { panic!("wrong kind") };
        assert_eq!(classes.data[sample], 1);
    }
    for target in batch.targets.values() {
        // Coarser levels are voxels of the finest.
        match &target.levels {
            Levels::Regression(levels) => assert!(levels[1].data.iter().all(|value| levels[0].data.contains(value))),
            Levels::Labels(levels) => assert!(levels[1].data.iter().all(|value| levels[0].data.contains(value))),
            Levels::Regions(_) | Levels::Class(_) => {}
        }
    }
}

fn compare_voxel(painted: &Painted, voxel: usize) {
    let position = painted.position(voxel);
    // Images and regression targets are both padded with 0 here: they are the same everywhere, to the bit.
    assert_eq!([0, 1, 2].map(|c| painted.regression("position", 3, c, voxel)), position);
    assert!((painted.regression("weight", 1, 0, voxel) - position.iter().sum::<f32>()).abs() < 1e-3);
    let share = painted.image(3, voxel);
    // A voxel is valid where the nearest voxel of the volume exists, which then weighs at least an eighth.
    assert!(if painted.is_valid("position", voxel) { share > 0.12 } else { share < 0.88 }, "{share} of voxel {voxel} lie inside");
    assert_eq!(painted.is_valid("position", voxel), painted.is_valid("home", voxel));

    let label = painted.label(SEGMENTATION, voxel);
    assert_eq!(
        painted.label("two cubes", voxel),
        match label {
            200 => 1,
            201 => 2,
            _ => 0,
        }
    );
    if share < 0.1 {
        assert_eq!(label, 0);
    }
    if painted.is_interior(voxel) {
        // The label belongs to one of the eight voxels around the position, so its cube is less than a voxel away.
        let [_, columns, rows] = SHAPE.map(|n| n.div_ceil(CUBE));
        let number = label as usize - 1;
        for (at, position) in [number / (columns * rows), number / rows % columns, number % rows].iter().zip(position) {
            let (first, last) = ((at * CUBE) as f32, (at * CUBE + CUBE - 1) as f32);
            assert!((first - 1.001..last + 1.001).contains(&position), "label {label} at {position}");
        }
        let nearest = position.map(f32::round_ties_even);
        if (0..3).all(|axis| (position[axis] - nearest[axis]).abs() < 0.2) {
            assert_eq!(label, cube(nearest), "at {position:?}");
        }
    }
    // Whether a voxel is at a border follows from its neighbours in the patch.
    let [depth, height, width] = painted.size;
    let at = [voxel / (height * width), voxel / width % height, voxel % width];
    let mut differs = false;
    for (axis, (stride, length)) in [(height * width, depth), (width, height), (1, width)].into_iter().enumerate() {
        differs |= at[axis] > 0 && painted.label(SEGMENTATION, voxel - stride) != label;
        differs |= at[axis] + 1 < length && painted.label(SEGMENTATION, voxel + stride) != label;
    }
    assert_eq!(painted.label("border", voxel) == 1, label > 0 && differs);
}

/// In the patch, the vectors lead from every voxel to the same place, wherever that is: so they were turned, scaled and flipped as the
/// patch was.
fn vectors_lead_to_one_place(painted: &Painted) {
    let [_, height, width] = painted.size;
    let mut place: Option<[f64; 3]> = None;
    for voxel in (0..painted.voxels).filter(|voxel| painted.is_interior(*voxel)) {
        let at = [voxel / (height * width), voxel / width % height, voxel % width];
        let leads_to = [0, 1, 2].map(|c| at[c] as f64 + f64::from(painted.regression("home", 3, c, voxel)) / SPACING[c]);
        let place = place.get_or_insert(leads_to);
        assert!((0..3).all(|c| (place[c] - leads_to[c]).abs() < 0.02), "{place:?} and {leads_to:?}");
    }
}
