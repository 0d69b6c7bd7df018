//! The whole way from raw files to the store, on a small made-up data set.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use imaging::io::{Geometry, write_image, write_labels};
use imaging::{BoundingBox, Volume};
use serde_json::{Value, json};

use super::{Preparation, Prepared, StoredCase, preprocess_image};
use crate::dataset::Dataset;
use crate::fingerprint::Fingerprint;
use crate::name::Name;
use crate::plan::PlanOptions;

const SHAPE: [usize; 3] = [12, 16, 14];
const CASES: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Fixture {
    root: tempfile::TempDir,
}

impl Fixture {
    /// Five cases with a zero border of two voxels, a ball of label 1 with a core of label 2, and one target of each kind.
    fn new() -> Self {
        let fixture = Self { root: tempfile::tempdir().expect("temporary folder") };
        let json = json!({
            "channel_names": {"0": "MRI"}, "labels": {"background": 0, "shell": 1, "core": 2}, "numTraining": CASES.len(),
            "file_ending": ".nii.gz", "targets": {
                "whole": {"kind": "labels", "labels": {"background": 0, "ball": 1}, "optional": true},
                "depth": {"kind": "regression"},
                "size": {"kind": "class", "classes": ["small", "large"]}
            }
        });
        fixture.write_json("dataset.json", &json);
        fixture.write_json("targetsTr/size.json", &json!({"a": 0, "b": 1, "c": "large", "d": 0, "e": 1}));
        for id in CASES {
            let distance = |i: usize| {
                let [z, y, x] = [i / SHAPE[2] / SHAPE[1], i / SHAPE[2] % SHAPE[1], i % SHAPE[2]].map(|c| c as f32);
                ((z - 5.5).powi(2) + (y - 7.5).powi(2) + (x - 6.5).powi(2)).sqrt()
            };
            let inside = |i: usize| {
                let position = [i / SHAPE[2] / SHAPE[1], i / SHAPE[2] % SHAPE[1], i % SHAPE[2]];
                (0..3).all(|axis| (2..SHAPE[axis] - 2).contains(&position[axis]))
            };
            fixture.image(&format!("imagesTr/{id}_0000.nii.gz"), |i| if inside(i) { 20.0 - distance(i) } else { 0.0 });
            fixture.labels(&format!("labelsTr/{id}.nii.gz"), SHAPE, |i| i16::from(distance(i) < 4.0) + i16::from(distance(i) < 2.0));
            fixture.image(&format!("targetsTr/depth/{id}.nii.gz"), distance);
            if id != "e" {
                fixture.labels(&format!("targetsTr/whole/{id}.nii.gz"), SHAPE, |i| i16::from(distance(i) < 4.0));
            }
        }
        fixture
    }

    fn raw(&self, file: &str) -> PathBuf {
        self.root.path().join("raw/Dataset900_Balls").join(file)
    }

    fn write_json(&self, file: &str, value: &Value) {
        let path = self.raw(file);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("created");
        std::fs::write(path, value.to_string()).expect("written");
    }

    fn image(&self, file: &str, value: impl Fn(usize) -> f32) {
        let [z, y, x] = SHAPE;
        let volume = Volume::new([1, z, y, x], (0..z * y * x).map(value).collect());
        write_image(&self.raw(file), &volume, &Geometry::with_spacing([2.0, 1.0, 1.0])).expect("written");
    }

    fn labels(&self, file: &str, [z, y, x]: [usize; 3], value: impl Fn(usize) -> i16) {
        let volume = Volume::new([1, z, y, x], (0..z * y * x).map(value).collect());
        write_labels(&self.raw(file), &volume, &Geometry::with_spacing([2.0, 1.0, 1.0])).expect("written");
    }

    fn dataset(&self) -> Dataset {
        Dataset::open("900", Some(&self.root.path().join("raw"))).expect("valid")
    }

    fn preparation<T>(&self, work: impl FnOnce(&Preparation) -> Result<T, super::Error>) -> Result<T, String> {
        let (dataset, preprocessed) = (self.dataset(), self.root.path().join("preprocessed"));
        work(&Preparation::new(&dataset, &preprocessed, 2, &|_| {})).map_err(|error| error.to_string())
    }

    fn prepare(&self, configuration: &str) -> Result<Prepared, String> {
        self.preparation(|preparation| {
            let plans = preparation.plans(&PlanOptions::named(&Name::known("nnUNetPlans")))?;
            Ok(preparation.preprocess(&plans, &[configuration], false)?.remove(0))
        })
    }
}

/// All of a case's image, and of the labels of a target.
fn whole(case: &StoredCase, target: &str) -> (Volume<f32>, Volume<i16>) {
    let bbox = BoundingBox::whole(case.spatial());
    (case.image(&bbox).expect("whole"), case.labels(target, &bbox).expect("whole").expect("there"))
}

/// A file as it was, to be compared with what is there later. It is kept open, so that no new file gets its number.
struct Known(std::fs::File);

impl Known {
    fn at(path: &Path) -> Self {
        Self(std::fs::File::open(path).expect("there"))
    }

    /// Whether `path` still leads to this file; one that was written anew is another, since files of the store are replaced as a whole.
    fn is_at(&self, path: &Path) -> bool {
        let identity = |data: std::io::Result<std::fs::Metadata>| data.map(|data| (data.dev(), data.ino())).expect("there");
        identity(self.0.metadata()) == identity(std::fs::metadata(path))
    }
}

/// Makes a file older than any that the test has written.
fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).expect("there");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("ours");
}

#[test]
fn all_targets_arrive_on_the_voxels_of_the_image() {
    let fixture = Fixture::new();
    let prepared = fixture.prepare("3d_fullres").expect("prepared");
    for file in ["dataset.json", "dataset_fingerprint.json", "nnUNetPlans.json", "splits_final.json"] {
        assert!(prepared.folder.join(file).is_file(), "{file}");
    }
    let case = prepared.store.open("a").expect("stored");
    let (image, labels) = whole(&case, "segmentation");
    assert_eq!(image.shape(), [1, 8, 12, 10]);
    let properties = case.properties();
    assert_eq!((properties.shape, properties.spacing), (SHAPE, [2.0, 1.0, 1.0]));
    assert_eq!((properties.bbox.lower, properties.shape_after_crop), ([2; 3], [8, 12, 10]));
    let mean = image.data().iter().sum::<f32>() / 960.0;
    assert!(mean.abs() < 1e-4, "z-score: {mean}");
    let ball = whole(&case, "whole").1;
    assert!(labels.data().iter().zip(ball.data()).all(|(label, ball)| (*label > 0) == (*ball > 0)));
    let depth = case.map("depth", &BoundingBox::whole(case.spatial())).expect("whole").expect("there");
    assert!(depth.data().iter().zip(labels.data()).all(|(depth, label)| (*depth < 4.0) == (*label > 0)));
    assert_eq!(case.class("size"), Some(0));
    for (class, &count) in case.location_counts("segmentation").iter().enumerate() {
        assert!(count > 0);
        for index in 0..count {
            let [z, y, x] = case.location("segmentation", class, index).expect("whole").expect("there");
            assert_eq!(labels.data()[((z * 12 + y) * 10 + x) as usize], class as i16 + 1);
        }
    }
    let partial = prepared.store.open("e").expect("stored");
    assert!(partial.labels("whole", &BoundingBox::whole([1; 3])).expect("whole").is_none() && partial.location_counts("whole").is_empty());

    let files = [fixture.raw("imagesTr/a_0000.nii.gz")];
    let again = preprocess_image(&files, &prepared.plans, &prepared.configuration).expect("preprocessed");
    assert_eq!((&again.0, &again.1), (&image, properties));
}

#[test]
fn only_what_is_missing_or_stale_is_done_again() {
    let fixture = Fixture::new();
    let prepared = fixture.prepare("3d_fullres").expect("prepared");
    // Whoever uses a store keeps others from replacing its cases.
    let Prepared { store, folder, mut plans, .. } = prepared;
    let (store, place) = ({ store }.folder().to_owned(), folder);
    let file = |id: &str| store.join(format!("{id}.zarr.zip"));
    let before = CASES.map(|id| Known::at(&file(id)));
    std::fs::remove_file(file("b")).expect("there");
    std::fs::write(file("c"), b"half a file").expect("written");
    fixture.write_json("targetsTr/size.json", &json!({"a": 0, "b": 1, "c": 1, "d": 1, "e": 1}));
    fixture.labels("labelsTr/e.nii.gz", SHAPE, |_| 1);
    fixture.prepare("3d_fullres").expect("goes on");
    let left: Vec<_> = CASES.iter().zip(&before).filter(|(id, known)| known.is_at(&file(id))).map(|(id, _)| *id).collect();
    assert_eq!(left, ["a"], "b is missing, c is damaged, d has another class, e another label map");
    let open = |id: &str| StoredCase::open(&file(id)).expect("stored");
    assert!(open("c").location_counts("segmentation").len() == 2);
    assert_eq!(open("d").class("size"), Some(1));
    assert!(whole(&open("e"), "segmentation").1.data().iter().all(|label| *label == 1));

    // A configuration with another batch size shares the store; one with another spacing does not.
    let mut add = |name: &str, value: Value| {
        plans.configurations.insert(Name::known(name), value.as_object().expect("object").clone());
    };
    add("bs3", json!({"inherits_from": "3d_fullres", "batch_size": 3}));
    let path = place.join("nnUNetPlans.json");
    plans.write(&path, false).expect("our own file");
    fixture.prepare("bs3").expect("prepared");
    assert!(before[0].is_at(&file("a")));
    let coarse = json!({"inherits_from": "3d_fullres", "spacing": [2.0, 2.0, 2.0]});
    plans.configurations.insert(Name::known("coarse"), coarse.as_object().expect("object").clone());
    plans.write(&path, false).expect("our own file");
    let coarse = fixture.prepare("coarse").expect("another key is another folder");
    assert_eq!(coarse.store.open("a").expect("stored").spatial(), [8, 6, 5]);
    assert!(before[0].is_at(&file("a")));

    // Where only a file's time differs, its content is compared; a file that another one of the same size has replaced shows.
    let image = fixture.raw("imagesTr/a_0000.nii.gz");
    age(&image);
    fixture.prepare("3d_fullres").expect("prepared");
    assert!(before[0].is_at(&file("a")) && store.join("inputs.json").is_file());
    // What is known of a file holds for the content that a case was made of, and for no other.
    let (copied, original) = (
        std::fs::File::open(&image).expect("there").metadata().expect("there").modified().expect("known"),
        std::fs::read(&image).expect("there"),
    );
    fixture.image("imagesTr/a_0000.nii.gz", |i| if i % 7 < 3 { 5.0 } else { 9.0 });
    fixture.prepare("3d_fullres").expect("prepared");
    let changed = Known::at(&file("a"));
    std::fs::write(&image, &original).expect("written");
    std::fs::File::options().write(true).open(&image).expect("there").set_modified(copied).expect("ours");
    fixture.prepare("3d_fullres").expect("prepared");
    assert!(!changed.is_at(&file("a")), "the old file is back");
    let before = CASES.map(|id| Known::at(&file(id)));
    let mut content = original;
    // The time in gzip's header: other bytes, the same voxels.
    content[4] ^= 1;
    std::fs::write(&image, content).expect("written");
    age(&image);
    std::fs::File::options().write(true).open(&image).expect("there").set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("ours");
    fixture.prepare("3d_fullres").expect("prepared");
    assert!(!before[0].is_at(&file("a")));
}

#[test]
fn all_kinds_of_targets_pass_through() {
    let fixture = Fixture::new();
    let path = fixture.raw("dataset.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
    json["targets"]["flow"] = json!({"kind": "regression", "channels": 3, "vectors": true, "optional": true});
    json["targets"]["importance"] = json!({"kind": "weight", "of": "segmentation", "optional": true});
    json["targets"]["border"] = json!({"kind": "derived", "from": "segmentation", "op": "boundary"});
    fixture.write_json("dataset.json", &json);
    // Spacing 1, 1, 2: preprocessing puts the last axis first.
    let geometry = Geometry::with_spacing([1.0, 1.0, 2.0]);
    let [z, y, x] = SHAPE;
    let count = z * y * x;
    for id in CASES {
        let image = Volume::new([1, z, y, x], (0..count).map(|i| 1.0 + (i % 7) as f32).collect());
        write_image(&fixture.raw(&format!("imagesTr/{id}_0000.nii.gz")), &image, &geometry).expect("written");
        let labels = Volume::new([1, z, y, x], (0..count).map(|i| i16::from(i % 3 == 0)).collect());
        for folder in ["labelsTr", "targetsTr/whole"] {
            write_labels(&fixture.raw(&format!("{folder}/{id}.nii.gz")), &labels, &geometry).expect("written");
        }
        write_image(&fixture.raw(&format!("targetsTr/depth/{id}.nii.gz")), &image, &geometry).expect("written");
    }
    let flow = Volume::new([3, z, y, x], (0..3 * count).map(|i| (i / count) as f32).collect());
    write_image(&fixture.raw("targetsTr/flow/a.nii.gz"), &flow, &geometry).expect("written");
    let weights = Volume::new([1, z, y, x], (0..count).map(|i| i as f32).collect());
    write_image(&fixture.raw("targetsTr/importance/a.nii.gz"), &weights, &geometry).expect("written");

    let prepared = fixture.prepare("3d_fullres").expect("prepared");
    assert_eq!(prepared.plans.transpose_forward, [2, 0, 1]);
    let case = prepared.store.open("a").expect("stored");
    assert_eq!(case.spatial(), [x, z, y]);
    let whole = BoundingBox::whole(case.spatial());
    let map = |case: &StoredCase, name: &str| case.map(name, &whole).expect("readable");
    let flow = map(&case, "flow").expect("there");
    assert!(flow.data().chunks(count).zip([2.0, 0.0, 1.0]).all(|(component, expected)| component.iter().all(|value| *value == expected)));
    assert_eq!(map(&case, "importance"), Some(weights.transpose([2, 0, 1])));
    assert!(map(&case, "border").is_none() && case.labels("border", &whole).expect("readable").is_none());
    let other = prepared.store.open("b").expect("stored");
    assert!(map(&other, "flow").is_none() && map(&other, "importance").is_none());
}

#[test]
fn what_leaves_the_arrays_alone_leaves_them() {
    let fixture = Fixture::new();
    let prepared = fixture.prepare("3d_fullres").expect("prepared");
    let file = prepared.store.path("a");
    let before = Known::at(&file);
    // Another spelling of the path, other padding, a derived target.
    let raw = fixture.raw("dataset.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&raw).expect("there")).expect("JSON");
    json["targets"]["depth"]["pad"] = json!(7.0);
    json["targets"]["border"] = json!({"kind": "derived", "from": "segmentation", "op": "boundary"});
    fixture.write_json("dataset.json", &json);
    let spelt = fixture.root.path().join("raw/../raw/Dataset900_Balls");
    let dataset = Dataset::open(&spelt.display().to_string(), None).expect("valid");
    let preprocessed = fixture.root.path().join("preprocessed");
    let preparation = Preparation::new(&dataset, &preprocessed, 2, &|_| {});
    let plans = preparation.plans(&PlanOptions::default()).expect("there");
    preparation.preprocess(&plans, &["3d_fullres"], false).expect("nothing to do");
    assert!(before.is_at(&file));

    // Plans that nobody has, and plans for images that somebody's own class reads.
    let message = preparation.plans(&PlanOptions::named(&Name::known("nnUnetPlans"))).expect_err("misspelt").to_string();
    assert!(message.contains("did you mean \"nnUNetPlans\"?"), "{message}");
    let turned = crate::plan::Plans { image_reader_writer: "MyReader".to_owned(), ..plans };
    let message = preparation.preprocess(&turned, &["3d_fullres"], false).expect_err("refused").to_string();
    assert!(message.contains("MyReader") && message.contains("NibabelIOWithReorient"), "{message}");
}

#[test]
fn functions_that_make_other_arrays_have_other_stores() {
    let fixture = Fixture::new();
    let plans = fixture.prepare("3d_fullres").expect("prepared").plans;
    let with = |[data, labels]: [&str; 2]| {
        let mut plans = plans.clone();
        let configuration = plans.configurations.get_mut("3d_fullres").expect("planned");
        for (key, function, is_seg) in
            [("resampling_fn_data", data, false), ("resampling_fn_seg", labels, true), ("resampling_fn_probabilities", data, false)]
        {
            configuration.insert(key.to_owned(), json!(function));
            if function == "resample_torch_fornnunet" {
                configuration.insert(format!("{key}_kwargs"), json!({"is_seg": is_seg, "force_separate_z": null}));
            }
        }
        fixture.preparation(|preparation| preparation.preprocess(&plans, &["3d_fullres"], false))
    };
    let [splines, torch] = ["resample_data_or_seg_to_shape", "resample_torch_fornnunet"];
    let stores: BTreeSet<_> = [[splines; 2], [splines, torch], [torch, splines], [torch; 2]]
        .map(|functions| with(functions).expect("prepared")[0].store.path("a"))
        .into();
    assert_eq!(stores.len(), 4, "{stores:?}");

    // Nobody resamples: then distances have no millimetres.
    let none = "no_resampling_hack";
    assert!(!stores.contains(&with([none; 2]).expect("prepared")[0].store.path("a")));
    let mut json: Value = imaging::io::read_json(&fixture.raw("dataset.json")).expect("JSON");
    json["targets"]["border"] = json!({"kind": "derived", "from": "segmentation", "op": "signed_distance"});
    fixture.write_json("dataset.json", &json);
    let message = with([none; 2]).expect_err("refused");
    assert!(message.contains("3d_fullres") && message.contains("border") && message.contains("mm"), "{message}");
}

#[test]
fn another_reader_makes_another_fingerprint() {
    let fixture = Fixture::new();
    let plans_name = PlanOptions::named(&Name::known("nnUNetPlans"));
    let mut json: Value = imaging::io::read_json(&fixture.raw("dataset.json")).expect("JSON");
    // The file says nothing, a reader that earlier versions did not have, the one that they had, and nothing.
    for (asked, reader) in [
        (Value::Null, "SimpleITKIO"),
        (json!("NibabelIOWithReorient"), "NibabelIOWithReorient"),
        (json!("SimpleITKIO"), "SimpleITKIO"),
        (Value::Null, "SimpleITKIO"),
    ] {
        json["overwrite_image_reader_writer"] = asked;
        fixture.write_json("dataset.json", &json);
        let plans = fixture.preparation(|preparation| preparation.plan(&plans_name, true)).expect("planned");
        let path = fixture.root.path().join("preprocessed/Dataset900_Balls/dataset_fingerprint.json");
        let mut fingerprint = Fingerprint::read(&path).expect("extracted");
        let written_by = fingerprint.written_by.as_mut().expect("ours");
        assert_eq!((plans.image_reader_writer.as_str(), written_by.reader.take().as_deref()), (reader, Some(reader)));
        // As versions before wrote it, which is used where they read in the same way.
        if reader == "SimpleITKIO" {
            fingerprint.write(&path).expect("writable");
            fixture.preparation(|preparation| preparation.plan(&plans_name, true)).expect("planned");
            assert_eq!(Fingerprint::read(&path).expect("there"), fingerprint);
            std::fs::remove_file(&path).expect("there");
        }
    }
}

#[test]
fn planning_again_changes_nothing_and_follows_the_data() {
    let fixture = Fixture::new();
    let options = PlanOptions::named(&Name::known("nnUNetPlans"));
    let folder = fixture.root.path().join("preprocessed/Dataset900_Balls");
    let read = |file: &str| std::fs::read(folder.join(file)).expect("written");
    let plan = |overwrite| fixture.preparation(|preparation| preparation.plan(&options, overwrite));
    plan(false).expect("planned");
    let before = ["dataset_fingerprint.json", "nnUNetPlans.json", "splits_final.json"].map(read);
    plan(false).expect("planned again");
    assert_eq!(before, ["dataset_fingerprint.json", "nnUNetPlans.json", "splits_final.json"].map(read));

    // Other intensities: the fingerprint is extracted anew, and the plan follows.
    fixture.image("imagesTr/a_0000.nii.gz", |i| (i % 100) as f32 + 1.0);
    let changed = plan(false).expect("planned anew");
    let old: Value = serde_json::from_slice(&before[1]).expect("JSON");
    let old = old["foreground_intensity_properties_per_channel"]["0"]["max"].as_f64().expect("number");
    assert!(changed.foreground_intensity_properties_per_channel["0"].max > old);

    // A split and plans of somebody's own stay.
    let splits = json!([{"train": ["a", "b"], "val": ["c", "d"]}]);
    std::fs::write(folder.join("splits_final.json"), splits.to_string()).expect("written");
    let mut edited: Value = serde_json::from_slice(&read("nnUNetPlans.json")).expect("JSON");
    edited["configurations"]["3d_fullres"]["batch_size"] = json!(7);
    std::fs::write(folder.join("nnUNetPlans.json"), edited.to_string()).expect("written");
    let message = plan(false).expect_err("edited by hand");
    assert!(message.contains("nnUNetPlans.json") && message.contains("--overwrite"), "{message}");
    assert_eq!(read("nnUNetPlans.json"), edited.to_string().into_bytes());
    let used = fixture.preparation(|preparation| preparation.plans(&options)).expect("used as they are");
    assert_eq!(used.configuration("3d_fullres").expect("planned").batch_size, 7);
    plan(true).expect("overwritten");
    assert_eq!(read("splits_final.json"), splits.to_string().into_bytes());
}

#[test]
fn flat_configurations_leave_the_slices_alone() {
    let fixture = Fixture::new();
    let prepared = fixture.prepare("2d").expect("prepared");
    assert_eq!(prepared.configuration.dims(), 2);
    let case = prepared.store.open("a").expect("stored");
    assert_eq!(case.spatial(), [8, 12, 10]);
}

#[test]
fn broken_files_are_named() {
    type Break = fn(&Fixture);
    let broken: [(Break, &[&str]); 6] = [
        (|f| f.labels("labelsTr/b.nii.gz", SHAPE, |i| (i % 8) as i16), &["labelsTr/b.nii.gz: label value 3 is not named", "shell (1)"]),
        (
            |f| f.labels("labelsTr/b.nii.gz", [12, 16, 13], |_| 0),
            &["labelsTr/b.nii.gz: shape [12, 16, 13]", "[12, 16, 14]", "b_0000.nii.gz"],
        ),
        (|f| f.labels("targetsTr/whole/c.nii.gz", [12, 1, 14], |_| 0), &["whole/c.nii.gz: shape", "c_0000.nii.gz"]),
        (|f| f.image("imagesTr/d_0000.nii.gz", |i| if i == 15 { f32::NAN } else { 1.0 }), &["d_0000.nii.gz: NaN at voxel [0, 0, 1, 1]"]),
        (|f| f.image("targetsTr/depth/a.nii.gz", |_| f32::INFINITY), &["depth/a.nii.gz: inf at voxel"]),
        (
            |f| {
                let file = f.raw("imagesTr/c_0000.nii.gz");
                let content = std::fs::read(&file).expect("there");
                std::fs::write(file, &content[..content.len() / 2]).expect("written");
            },
            &["c_0000.nii.gz"],
        ),
    ];
    for (breaks, parts) in broken {
        let fixture = Fixture::new();
        breaks(&fixture);
        let message = fixture.prepare("3d_fullres").expect_err("must be refused");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn another_key_is_another_folder_and_names_are_no_part_of_it() {
    let fixture = Fixture::new();
    let first = fixture.prepare("3d_fullres").expect("prepared");
    let before = Known::at(&first.store.path("a"));
    let change = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(&std::fs::read(fixture.raw("dataset.json")).expect("there")).expect("JSON");
        change(&mut json);
        fixture.write_json("dataset.json", &json);
        fixture.prepare("3d_fullres").expect("prepared").store.folder().to_owned()
    };
    // Names of labels, channels and targets' labels leave the arrays alone; so does another order.
    let renamed = change(&|json| {
        json["labels"] = json!({"background": 0, "inner": 2, "outer": 1});
        json["channel_names"] = json!({"0": "T1"});
        json["targets"]["whole"]["labels"] = json!({"background": 0, "sphere": 1});
    });
    assert!(renamed == first.store.folder() && before.is_at(&first.store.path("a")));
    // Another set of labels is another store; the first one, which is in use, stays as it is.
    let fewer = change(&|json| {
        json["labels"] = json!({"background": 0, "all": [1, 2], "core": 2});
        json["regions_class_order"] = json!([1, 2]);
    });
    assert!(fewer != first.store.folder() && before.is_at(&first.store.path("a")));

    // A case of another store is refused by name, wherever it comes from.
    let stray = fewer.join("a.zarr.zip");
    std::fs::copy(first.store.path("a"), &stray).expect("copied");
    let other = super::CaseStore::new(&fewer, "another key");
    assert!(other.open("a").is_err_and(|error| error.to_string().contains("a.zarr.zip: was made by other plans or labels")));
}

#[test]
fn a_store_in_use_is_left_alone() {
    let fixture = Fixture::new();
    let used = fixture.prepare("3d_fullres").expect("prepared");
    let before = CASES.map(|id| Known::at(&used.store.path(id)));
    fixture.labels("labelsTr/e.nii.gz", SHAPE, |_| 1);
    let message = fixture.prepare("3d_fullres").expect_err("would replace e");
    assert!(message.contains("e.zarr.zip: has to be made anew") && message.contains("another program uses its store"), "{message}");
    assert!(CASES.iter().zip(&before).all(|(id, known)| known.is_at(&used.store.path(id))));
    let removed = |fixture: &Fixture| fixture.preparation(|preparation| preparation.clean()).expect("listed");
    assert!(removed(&fixture).is_empty());
    let mut json: Value = serde_json::from_slice(&std::fs::read(fixture.raw("dataset.json")).expect("there")).expect("JSON");
    json["labels"] = json!({"background": 0, "all": [1, 2]});
    json["regions_class_order"] = json!([1]);
    fixture.write_json("dataset.json", &json);
    let listed = removed(&fixture);
    assert!(listed.len() == 1 && listed[0].left.is_some() && listed[0].cases == CASES.len(), "{listed:?}");
    let path = used.store.folder().to_owned();
    drop(used);
    let listed = removed(&fixture);
    assert!(listed.len() == 1 && listed[0].left.is_none() && !path.exists(), "{listed:?}");
}
