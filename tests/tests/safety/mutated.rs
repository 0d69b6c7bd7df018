//! Whole commands on models, plans, descriptions and headers that were changed at random, beside files that nothing may touch.
//!
//! A command ends by itself, with exit code 0, 1 or 2; it neither panics nor aborts; it changes nothing outside of its output; and it takes no
//! more memory than `--max-voxels` allows for. `SAFETY_SECONDS=600` tries each command for so long, `SAFETY_SEED` begins elsewhere.

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use tests::case::RawData;
use tests::models;
use tests::program::Bench;
use tests::random::Random;
use tests::snapshot::Snapshot;

/// Runs of each command.
const COUNT: u64 = 12;
/// Images, and patches, of at most so many voxels.
const MOST_VOXELS: &str = "100000";
/// Memory that a run may hold: libtorch, and some copies of what images of that size become in a network.
const MOST_MEMORY: u64 = 3 << 30;

/// The folders of one command: `in` is changed at random, `out` is its output, all else is watched.
struct Place {
    bench: Bench,
    random: Random,
}

impl Place {
    fn new(number: u64) -> Self {
        let seed: u64 = std::env::var("SAFETY_SEED").map_or(1, |text| text.parse().expect("a number"));
        let place = Self { bench: Bench::new(), random: Random::new(seed.wrapping_mul(1000) + number) };
        // What names in files may try to reach.
        for file in ["x", "secret.raw", "a/b/x", "a/sentinel/x.json", "a/b/c/x.nii"] {
            let path = place.bench.folder().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, vec![7; 5000]).expect("writable");
        }
        fs::create_dir_all(place.input()).expect("writable");
        place
    }

    /// Deep enough that a few `..` stay below the folder that is watched.
    fn work(&self) -> PathBuf {
        self.bench.folder().join("a/b/c/work")
    }

    fn input(&self) -> PathBuf {
        self.work().join("in")
    }

    fn output(&self) -> PathBuf {
        self.work().join("out")
    }

    /// Runs `arguments` again and again on what `prepare` makes and `change` spoils.
    fn try_out(&mut self, arguments: &[&str], prepare: impl Fn(&Self), change: impl Fn(&mut Self)) {
        let seconds: Option<u64> = std::env::var("SAFETY_SECONDS").ok().map(|text| text.parse().expect("a number"));
        let started = Instant::now();
        let (mut rounds, mut ends) = (0, [0; 3]);
        while seconds.map_or(rounds < COUNT, |seconds| started.elapsed() < Duration::from_secs(seconds)) {
            let _ = fs::remove_dir_all(self.input());
            let _ = fs::remove_dir_all(self.output());
            fs::create_dir_all(self.input()).expect("writable");
            prepare(self);
            for _ in 0..=self.random.below(3) {
                change(self);
            }
            let before = self.watched();
            let (status, said, memory) = self.run(arguments);
            let what = || format!("round {rounds} of {arguments:?}, kept in {}: {said}", self.keep().display());
            assert_eq!(status.signal(), None, "{}", what());
            let code = status.code().expect("no signal");
            assert!(
                (0..=2).contains(&code) && !said.contains("panicked at") && !said.contains("a fault of this program"),
                "{code}: {}",
                what()
            );
            assert!(memory < MOST_MEMORY, "{} MB: {}", memory >> 20, what());
            before.expect_same(&self.watched());
            ends[code as usize] += 1;
            rounds += 1;
        }
        println!("{arguments:?}: {rounds} rounds, {} accepted, {} refused, {} wrong usage", ends[0], ends[1], ends[2]);
    }

    fn watched(&self) -> Snapshot {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.bench.folder().join(name));
        Snapshot::of(self.bench.folder(), &[&self.output(), &stdout, &stderr])
    }

    /// How the program ended, what it said, and the most memory that it held.
    #[expect(clippy::zombie_processes, reason = "`wait4` waits for it, and says how much memory it held")]
    fn run(&self, arguments: &[&str]) -> (ExitStatus, String, u64) {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.bench.folder().join(name));
        let file = |path: &Path| fs::File::create(path).expect("writable");
        let mut command: Command = self.bench.host();
        command.args(arguments).args(["--max-voxels", MOST_VOXELS]).current_dir(self.work());
        command.env("nnUNet_preprocessed", self.output().join("preprocessed")).stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().expect("starts");
        let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
        // SAFETY: the child is ours and was not waited for; both places are writable.
        let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
        assert_eq!(waited, child.id() as libc::pid_t, "it is ours");
        // SAFETY: filled in by the call.
        let memory = unsafe { usage.assume_init() }.ru_maxrss as u64 * 1024;
        let said = [stdout, stderr].map(|path| String::from_utf8_lossy(&fs::read(path).expect("written")).into_owned()).concat();
        (ExitStatus::from_raw(status), said, memory)
    }

    /// Keeps what made a run fail.
    fn keep(&self) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("mutated-{}", std::process::id()));
        let _ = Command::new("cp").arg("-r").args([&self.work(), &kept]).status();
        kept
    }

    /// Changes the JSON file at `path`.
    fn change_json(&mut self, path: &Path) {
        let Ok(mut json) = serde_json::from_slice::<Value>(&fs::read(path).expect("there")) else { return };
        if self.random.below(8) == 0 {
            return self.change_bytes(path, usize::MAX);
        }
        let replacement = self.value();
        change_node(&mut self.random, &mut json, replacement);
        fs::write(path, json.to_string()).expect("writable");
    }

    /// Changes some of the first `reach` bytes of the file at `path`.
    fn change_bytes(&mut self, path: &Path, reach: usize) {
        const INTERESTING: [u64; 8] = [0, 1, 0x7f, 0x7fff, 0x7fff_ffff, 0xffff_ffff, 0x7f7f_ffff, u64::MAX];
        let mut bytes = fs::read(path).expect("there");
        let random = &mut self.random;
        for _ in 0..=random.below(3) {
            let reach = reach.min(bytes.len());
            let place = random.below(reach);
            let size = [1, 2, 4, 8][random.below(4)].min(bytes.len() - place);
            match random.below(6) {
                _ if bytes.is_empty() => {}
                0 | 1 => bytes[place] ^= 1 << random.below(8),
                2 => bytes[place] = random.next() as u8,
                3 | 4 => bytes[place..place + size].copy_from_slice(&INTERESTING[random.below(8)].to_le_bytes()[..size]),
                _ if random.below(4) == 0 => bytes.truncate(place),
                _ => {}
            }
        }
        fs::write(path, bytes).expect("writable");
    }

    /// A value that no file should have.
    fn value(&mut self) -> Value {
        let random = &mut self.random;
        let names = ["../../x", "../../../x", "/etc/passwd", "a/b", "..", "", ".", "x\u{1b}[31m", "x\ny", "=1+1", "\0", ".nii/../../x"];
        let numbers = [0.0, -1.0, 0.5, 3e9, 1e18, 1e300, 1e-300, 2_147_483_648.0, 65_535.0];
        match random.below(10) {
            0..3 => json!(names[random.below(names.len())]),
            3 => json!(format!("{}/x", self.bench.folder().display())),
            4 => json!("x".repeat(1 << random.below(16))),
            5 => json!(numbers[random.below(numbers.len())]),
            6 => json!([0, 1, 1 << 31, 1_u64 << 62, u64::MAX][random.below(5)]),
            7 => [Value::Null, json!(true), json!([]), json!({})][random.below(4)].clone(),
            8 => json!(vec![random.below(5); random.below(40)]),
            _ => json!(random.below(40)),
        }
    }

    /// Picks one of `paths`.
    fn pick(&mut self, paths: &[&str]) -> PathBuf {
        let path = self.random.below(paths.len());
        self.input().join(paths[path])
    }
}

/// Replaces, renames, repeats or removes something in `json`.
fn change_node(random: &mut Random, json: &mut Value, replacement: Value) {
    let children = match json {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    // Mostly deep inside.
    if children == 0 || random.below(6) == 0 {
        *json = replacement;
        return;
    }
    let chosen = random.below(children);
    match json {
        Value::Object(map) => {
            let key = map.keys().nth(chosen).expect("so many").clone();
            match random.below(8) {
                0 => drop(map.remove(&key)),
                1 => {
                    let value = map.remove(&key).expect("there");
                    let name = replacement.as_str().map_or_else(|| replacement.to_string(), str::to_owned);
                    map.insert(name, value);
                }
                _ => change_node(random, &mut map[&key], replacement),
            }
        }
        Value::Array(items) => match random.below(8) {
            0 => drop(items.remove(chosen)),
            1 => items.push(items[chosen].clone()),
            _ => change_node(random, &mut items[chosen], replacement),
        },
        _ => unreachable!("it has children"),
    }
}

fn noise(shape: [usize; 4]) -> Volume<f32> {
    Volume::new(shape, (0..shape.iter().product()).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 255) as f32).collect())
}

const MODEL: [&str; 3] = ["model/plans.json", "model/dataset.json", "model/fold_0/checkpoint_final.pth"];

#[test]
fn model_import() {
    let mut place = Place::new(1);
    let prepare = |place: &Place| drop(fs::rename(models::copy_to("plain_3d", &place.input()), place.input().join("model")));
    place.try_out(&["model", "import", "in/model", "--output", "out"], prepare, |place| {
        let file = place.pick(&[MODEL[0], MODEL[0], MODEL[1], MODEL[1], MODEL[2]]);
        if file.ends_with(MODEL[2]) { place.change_bytes(&file, usize::MAX) } else { place.change_json(&file) }
    });
}

#[test]
fn predict() {
    const IMAGES: [&str; 4] = ["images/a_0000.nii", "images/b_0000.nii", "images/c_0000.nii", "images/d_0000.nii"];
    let mut place = Place::new(2);
    let prepare = |place: &Place| {
        fs::rename(models::copy_to("plain_3d", &place.input()), place.input().join("model")).expect("writable");
        let description = place.input().join(MODEL[1]);
        let text = fs::read_to_string(&description).expect("there").replace(".nii.gz", ".nii");
        fs::write(&description, text).expect("writable");
        for image in IMAGES {
            write_image(&place.input().join(image), &noise([1, 12, 14, 16]), &Geometry::with_spacing([1.0; 3])).expect("writable");
        }
    };
    let arguments = ["predict", "--model", "in/model", "--input", "in/images", "--output", "out", "--device", "cpu", "--threads", "1"];
    let arguments = [&arguments[..], &["--tta", "off", "--precision", "fp32"]].concat();
    place.try_out(&arguments, prepare, |place| {
        let file = place.pick(&[MODEL[0], MODEL[1], MODEL[2], IMAGES[0], IMAGES[1], IMAGES[2]]);
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("json") => place.change_json(&file),
            Some("nii") => place.change_bytes(&file, 352),
            _ => place.change_bytes(&file, usize::MAX),
        }
    });
}

/// A data set with a target of every kind.
fn raw_data(place: &Place) {
    let raw = RawData::write(&place.input());
    let classes: Map<String, Value> = (0..6).map(|i| (format!("case_{i:03}"), json!(i % 2))).collect();
    fs::create_dir_all(raw.folder.join("targetsTr/depth")).expect("writable");
    fs::write(raw.folder.join("targetsTr/size.json"), json!(classes).to_string()).expect("writable");
    for number in 0..6 {
        let file = raw.folder.join(format!("targetsTr/depth/case_{number:03}.nii"));
        write_image(&file, &noise([1, 16, 16 + number % 2, 16]), &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    raw.describe(json!({"targets": {
        "size": {"kind": "class", "classes": ["small", "large"]},
        "depth": {"kind": "regression", "channels": 1, "optional": true},
        "border": {"kind": "derived", "from": "segmentation", "op": "boundary"}
    }}));
}

const DATASET: &str = "in/Dataset001_Small";

fn change_raw_data(place: &mut Place) {
    const FILES: [&str; 8] = [
        "dataset.json",
        "dataset.json",
        "dataset.json",
        "targetsTr/size.json",
        "imagesTr/case_000_0000.nii",
        "imagesTr/case_003_0000.nii",
        "labelsTr/case_001.nii",
        "targetsTr/depth/case_002.nii",
    ];
    let name = FILES[place.random.below(FILES.len())];
    let file = place.work().join(DATASET).join(name);
    if name.ends_with("json") { place.change_json(&file) } else { place.change_bytes(&file, 352) }
}

#[test]
fn dataset_check() {
    let mut place = Place::new(3);
    place.try_out(&["dataset", "check", "--dataset", DATASET, "--threads", "2"], raw_data, change_raw_data);
}

#[test]
fn dataset_convert() {
    let mut place = Place::new(4);
    let prepare = |place: &Place| {
        let task = place.input().join("Task05_Small");
        let labels = Volume::new([1, 6, 7, 8], (0..336).map(|i| i % 3).collect());
        for case in ["a", "b"] {
            write_image(&task.join(format!("imagesTr/{case}.nii.gz")), &noise([2, 6, 7, 8]), &Geometry::with_spacing([1.0; 3]))
                .expect("writable");
            write_labels(&task.join(format!("labelsTr/{case}.nii.gz")), &labels, &Geometry::with_spacing([1.0; 3])).expect("writable");
        }
        write_image(&task.join("imagesTs/c.nii.gz"), &noise([2, 6, 7, 8]), &Geometry::with_spacing([1.0; 3])).expect("writable");
        let pair = |case: &str| json!({"image": format!("./imagesTr/{case}.nii.gz"), "label": format!("./labelsTr/{case}.nii.gz")});
        let json = json!({
            "name": "SMALL", "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "a", "2": "b"}, "numTraining": 2,
            "training": [pair("a"), pair("b")], "test": ["./imagesTs/c.nii.gz"],
        });
        fs::write(task.join("dataset.json"), json.to_string()).expect("writable");
    };
    place.try_out(&["dataset", "convert", "--from", "msd", "--input", "in/Task05_Small", "--output", "out"], prepare, |place| {
        let files =
            ["Task05_Small/dataset.json"; 4].into_iter().chain(["Task05_Small/imagesTr/a.nii.gz", "Task05_Small/labelsTr/b.nii.gz"]);
        let file = place.pick(&files.collect::<Vec<_>>());
        if file.ends_with("dataset.json") { place.change_json(&file) } else { place.change_bytes(&file, usize::MAX) }
    });
}

#[test]
fn plan_and_preprocess() {
    let mut place = Place::new(5);
    let arguments = ["plan-and-preprocess", "--dataset", DATASET, "--threads", "2", "--configuration", "2d,3d_fullres"];
    // Plans of somebody else are used as they are: those of a run before, which are changed as well.
    raw_data(&place);
    let (status, said, _) = place.run(&arguments);
    assert!(status.success(), "{said}");
    let plans = fs::read(place.output().join("preprocessed/Dataset001_Small/nnUNetPlans.json")).expect("planned");
    let prepare = |place: &Place| {
        raw_data(place);
        let folder = place.output().join("preprocessed/Dataset001_Small");
        fs::create_dir_all(&folder).expect("writable");
        fs::write(folder.join("nnUNetPlans.json"), &plans).expect("writable");
    };
    let preprocess = ["preprocess", "--dataset", DATASET, "--threads", "2", "--configuration", "2d,3d_fullres"];
    place.try_out(&arguments, raw_data, change_raw_data);
    place.try_out(&preprocess, prepare, |place| {
        let plans = place.output().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
        if place.random.below(4) == 0 { change_raw_data(place) } else { place.change_json(&plans) }
    });
}
