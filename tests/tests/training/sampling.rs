//! Which cases are drawn, which parts of them, and how they are varied: what the flags promise, seen in the batches themselves.
//!
//! A batch is seen through a loss that is NaN: with `--on-nonfinite dump` the run ends at its first step, names the cases of the batch, and
//! writes it.

use imaging::Volume;
use imaging::augment::Augmentation;
use imaging::io::{Geometry, write_image, write_labels};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tests::artifact;
use tests::case::CASES;
use tests::program::{Bench, Ended};

/// Patches are cut out of the cases and not changed.
const PLAIN: [&str; 2] = ["--augmentation", "none"];
/// Samples in a batch that is large enough to count in.
const MANY: usize = 32;

/// A data set, planned with the configuration `tiny`.
struct Drawing(Bench);

/// The first batch of a training.
#[derive(Debug, PartialEq)]
struct Drawn {
    data_key: String,
    /// The case of every sample.
    cases: Vec<String>,
    /// The labels of every sample that are not background.
    labels: Vec<BTreeSet<i64>>,
    /// Image and targets, by name.
    tensors: BTreeMap<String, Vec<u8>>,
}

impl Drawing {
    fn new() -> Self {
        let bench = Bench::new();
        bench.plan_tiny();
        Self(bench)
    }

    /// Cases whose only foreground is in their corners, where a patch without a forced centre practically never lies: label 1 in the first voxel of
    /// every case, and in `case_002` label 2 in the last voxel. Four cases train, two validate.
    fn of_corners() -> Self {
        const SHAPE: [usize; 4] = [1, 48, 48, 48];
        let bench = Bench::new();
        let voxels: usize = SHAPE.iter().product();
        for case in 0..CASES {
            let image = Volume::new(SHAPE, (0..voxels).map(|voxel| ((voxel * (7 + case)) % 101) as f32 + 1.0).collect());
            let mut labels = Volume::filled(SHAPE, 0);
            labels.data_mut()[0] = 1;
            if case == 2 {
                labels.data_mut()[voxels - 1] = 2;
            }
            let geometry = Geometry::with_spacing([1.0; 3]);
            write_image(&bench.raw.image(case), &image, &geometry).expect("writable");
            write_labels(&bench.raw.labels(case), &labels, &geometry).expect("writable");
        }
        let splits = json!([{"train": ["case_000", "case_001", "case_002", "case_003"], "val": ["case_004", "case_005"]}]);
        fs::write(bench.raw.folder.join("splits_final.json"), splits.to_string()).expect("writable");
        bench.plan_tiny();
        Self(bench)
    }

    fn train(&self, further: &[&str]) -> Ended {
        let arguments = ["--configuration", "tiny", "--set", "fault=nan_loss", "--on-nonfinite", "dump", "--overwrite"];
        self.0.train(&artifact::fixture("faulty"), &[&arguments, further].concat())
    }

    fn draw(&self, further: &[&str]) -> Drawn {
        let ended = self.train(further);
        ended.expect_failure(&["NaN", "epoch 0, iteration 0, cases "]);
        let (_, cases) = ended.stderr.rsplit_once(", cases ").expect("just seen");
        let (cases, _) = cases.split_once(')').expect("the end of the list");
        let fold = self.0.fold();
        let debug: Value = serde_json::from_slice(&fs::read(fold.join("debug.json")).expect("written")).expect("JSON");
        let bytes = fs::read(fold.join("nonfinite_epoch_0_iteration_0_batch_0.safetensors")).expect("dumped");
        let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
        let cases: Vec<String> = cases.split(", ").map(str::to_owned).collect();
        let segmentation = tensors.tensor("segmentation.0").expect("the finest level").data();
        let sample = |bytes: &[u8]| -> BTreeSet<i64> {
            let labels = bytes.chunks_exact(8).map(|label| i64::from_le_bytes(label.try_into().expect("eight bytes")));
            labels.filter(|label| *label > 0).collect()
        };
        Drawn {
            data_key: debug["identity"]["data_key"].as_str().expect("a key").to_owned(),
            labels: segmentation.chunks_exact(segmentation.len() / cases.len()).map(sample).collect(),
            cases,
            tensors: tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect(),
        }
    }

    /// A large batch without augmentation.
    fn draw_many(&self, further: &[&str]) -> Drawn {
        self.draw(&[&PLAIN, &["--batch-size", &MANY.to_string()][..], further].concat())
    }
}

impl Drawn {
    /// Numbers of the samples that show foreground.
    fn foreground(&self) -> Vec<usize> {
        (0..self.labels.len()).filter(|sample| !self.labels[*sample].is_empty()).collect()
    }

    /// How many samples show `label`.
    fn count(&self, label: i64) -> usize {
        self.labels.iter().filter(|labels| labels.contains(&label)).count()
    }
}

#[test]
fn a_share_of_every_batch_shows_foreground_the_last_samples_or_random_ones() {
    let drawing = Drawing::of_corners();
    let of_eight = |share: &str| drawing.draw(&[&PLAIN, &["--batch-size", "8", "--foreground-share", share][..]].concat());
    assert_eq!(of_eight("0").foreground(), [] as [usize; 0]);
    assert_eq!(of_eight("1").foreground(), [0, 1, 2, 3, 4, 5, 6, 7]);
    let third = of_eight("0.33");
    assert_eq!(third.foreground(), [5, 6, 7]);
    assert_eq!(drawing.draw(&[&PLAIN, &["--batch-size", "8"][..]].concat()), third, "a third is the default");

    let half = |oversampling: &str| drawing.draw_many(&["--foreground-share", "0.5", "--oversampling", oversampling]);
    let (last, random) = (half("last"), half("random"));
    assert_eq!(last.foreground(), (MANY / 2..MANY).collect::<Vec<_>>());
    let [early, late] = [0..MANY / 2, MANY / 2..MANY].map(|half| random.foreground().iter().filter(|sample| half.contains(sample)).count());
    assert!((1..MANY / 2).contains(&early) && (1..MANY / 2).contains(&late), "{early} and {late} of {}", MANY / 2);
    assert_ne!(last.data_key, random.data_key);

    for share in ["1.5", "NaN"] {
        let ended = drawing.train(&["--foreground-share", share]);
        assert!(ended.code == 2 && ended.stderr.contains("setting 'foreground_share': "), "{ended:#?}");
    }
}

#[test]
fn a_rare_class_is_drawn_as_often_as_the_others_when_asked_for() {
    let drawing = Drawing::of_corners();
    let draw = |further: &[&str]| drawing.draw_many(&[&["--foreground-share", "1"], further].concat());
    let (plain, balanced) = (draw(&[]), draw(&["--class-balanced"]));
    assert_ne!(plain.data_key, balanced.data_key);
    for drawn in [&plain, &balanced] {
        assert_eq!(drawn.count(1) + drawn.count(2), MANY, "every sample shows one class");
        let shows_rare = |sample: &usize| drawn.labels[*sample].contains(&2);
        assert!((0..MANY).filter(shows_rare).all(|sample| drawn.cases[sample] == "case_002"));
    }
    // One of four cases has the rare class, beside the other one: expected are an eighth of all samples, and half of them when balanced.
    let [rare, often] = [plain, balanced].map(|drawn| drawn.count(2));
    assert!(rare < MANY / 4 && (MANY / 4..MANY * 3 / 4).contains(&often), "{rare} and {often} of {MANY}");
}

#[test]
fn cases_are_drawn_as_they_weigh() {
    let drawing = Drawing::of_corners();
    let path = drawing.0.folder().join("weights.json");
    let file = path.display().to_string();
    let weigh = |weights: Value| fs::write(&path, weights.to_string()).expect("writable");
    let cases = |drawn: &Drawn| drawn.cases.iter().cloned().collect::<BTreeSet<_>>();
    let weighted = ["--case-weights", &file];

    let equal = drawing.draw_many(&[]);
    assert_eq!(cases(&equal).len(), 4, "all four are drawn: {:?}", equal.cases);
    weigh(json!({"case_000": 0, "case_001": 0, "case_003": 0}));
    let one = drawing.draw_many(&weighted);
    assert_eq!(cases(&one), BTreeSet::from(["case_002".to_owned()]));
    assert_ne!(one.data_key, equal.data_key);
    weigh(json!({"case_002": 0}));
    let others = drawing.draw_many(&weighted);
    assert_eq!(cases(&others), ["case_000", "case_001", "case_003"].map(str::to_owned).into());
    assert_ne!(others.data_key, one.data_key);
    // A class that only a case of weight 0 has is not drawn either.
    let balanced = drawing.draw_many(&[&weighted[..], &["--class-balanced", "--foreground-share", "1"]].concat());
    assert_eq!((balanced.count(1), balanced.count(2)), (MANY, 0));

    fs::remove_dir_all(drawing.0.results()).expect("ours");
    weigh(json!({"case_0002": 0}));
    drawing.train(&weighted).expect_refusal(&["--case-weights", "no case \"case_0002\"", "did you mean \"case_002\"?"]);
    weigh(json!({"case_000": -1}));
    drawing.train(&weighted).expect_refusal(&["weight -1 of case case_000", "not negative"]);
    // The other two cases validate, so nothing is left to train on.
    weigh(json!({"case_000": 0, "case_001": 0, "case_002": 0, "case_003": 0}));
    drawing.train(&weighted).expect_refusal(&["no training case with a weight above 0"]);
    assert!(!drawing.0.results().exists(), "results were begun");
}

#[test]
fn batches_are_equal_where_data_keys_are() {
    let drawing = Drawing::new();
    let draw = |further: &[&str]| drawing.draw(&[&["--batch-size", "8"], further].concat());
    let first = draw(&["--workers", "1"]);
    assert_eq!(draw(&["--workers", "3", "--learning-rate", "0.1"]), first);
    let other = draw(&["--seed", "1"]);
    assert_ne!(other.data_key, first.data_key);
    assert!(other.tensors["image"] != first.tensors["image"]);
}

/// What the README's table of nnU-Net's trainers says to give to the program.
fn arguments_of_readme() -> Vec<String> {
    let readme = fs::read_to_string(artifact::root().join("README.md")).expect("there");
    let (_, section) = readme.split_once("### Augmentation and sampling").expect("a section of that name");
    let rows =
        section.lines().skip_while(|line| !line.starts_with("| nnU-Net's trainer |")).skip(2).take_while(|line| line.starts_with('|'));
    let mut arguments: Vec<String> = rows.flat_map(|row| row.split('`')).filter(|text| text.starts_with("--")).map(str::to_owned).collect();
    arguments.sort();
    arguments
}

#[test]
fn every_line_of_the_readme_does_to_the_augmentation_what_it_says() {
    let drawing = Drawing::new();
    let named = |pipeline: Augmentation| serde_json::to_value(pipeline).expect("plain data");
    let default = named(Augmentation::standard([16; 3], 3));
    let da5 = named(Augmentation::da5([16; 3], 3));
    let with = |pipeline: &Value, place: &str, value: Value| {
        let mut changed = pipeline.clone();
        *changed.pointer_mut(place).expect("a place in the pipeline") = value;
        changed
    };
    let mut boxed = default.clone();
    boxed["spatial"]["box_scale"] = json!(0.85);
    let not_in_plane = "--augment spatial.in_plane=false --augment spatial.rotation_degrees=[-30,30] --augment intensity.4.transform.low_resolution.in_plane=false";
    // Arguments before the README's, the README's, and the pipeline that both give together; none where they are about sampling.
    let of_cubes = [
        ("", "--augment mirror=null", Some(with(&default, "/mirror", Value::Null))),
        ("", "--augment mirror.axes=[0,1]", Some(with(&default, "/mirror/axes", json!([0, 1])))),
        ("", "--augment spatial.labels=nearest", Some(with(&default, "/spatial/labels", json!("nearest")))),
        ("", "--augmentation da5", Some(da5.clone())),
        ("--augmentation da5", "--augment spatial.labels=nearest", Some(with(&da5, "/spatial/labels", json!("nearest")))),
        ("--augmentation da5", "--augment spatial.image=nearest", Some(with(&da5, "/spatial/image", json!("nearest")))),
        ("", "--oversampling random", None),
        ("", "--augment spatial.box_scale=0.85", Some(boxed)),
    ];
    // Only patches that are much wider than deep are turned in the plane alone, unless told otherwise.
    let of_flat_patches = [("", not_in_plane, Some(default))];
    let lines = of_cubes.into_iter().map(|line| ("16,16,16", line)).chain(of_flat_patches.into_iter().map(|line| ("4,16,16", line)));
    let lines: Vec<_> = lines.collect();

    let mut tested: Vec<String> = lines.iter().map(|(_, (_, line, _))| (*line).to_owned()).collect();
    tested.sort();
    assert_eq!(arguments_of_readme(), tested, "the README has other lines than are tested here");

    let show = |arguments: &str| -> Value {
        let words = ["augmentation", "show"].into_iter().chain(arguments.split_whitespace());
        serde_json::from_str(&drawing.0.run(&words.collect::<Vec<_>>()).expect_success().stdout).expect("JSON")
    };
    let draw = |arguments: &str| {
        let words = ["--batch-size", "8"].into_iter().chain(arguments.split_whitespace());
        drawing.draw(&words.collect::<Vec<_>>())
    };
    let mut drawn_without: BTreeMap<String, Drawn> = BTreeMap::new();
    for (patch, (others, line, pipeline)) in lines {
        let others = format!("--patch-size {patch} {others}");
        let all = format!("{others} {line}");
        if let Some(pipeline) = pipeline {
            assert_eq!(show(&all), pipeline, "{line}");
            assert_ne!(show(&others), pipeline, "{line} changes nothing");
        }
        let drawn = draw(&all);
        let without = drawn_without.entry(others).or_insert_with_key(|others| draw(others));
        assert_ne!(drawn.data_key, without.data_key, "{line}");
        assert!(drawn.tensors != without.tensors, "{line} changes no batch");
    }
}
