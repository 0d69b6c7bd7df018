//! A small good data set, spoilt in one way after another: every defect gives its own finding and no other.

use std::fs;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Severity::{Error as Wrong, Warning as Doubtful};
use super::{Finding, Report, Severity, check};
use crate::dataset::splits::{Fold, split_for};
use crate::dataset::{Dataset, read_images};
use crate::kinds::{Beside, Form};

const CASES: [&str; 5] = ["a", "b", "c", "d", "e"];
const SHAPE: [usize; 3] = [2, 3, 4];
const SPACING: [f64; 3] = [3.0, 1.0, 1.0];

/// A data set in a folder of its own.
struct Spoilt(TempDir);

impl Spoilt {
    /// Nothing is wrong with it yet: two channels, five cases, a target of each kind, and folds.
    fn new() -> Self {
        let data = Self(tempfile::tempdir().expect("temporary folder"));
        for (number, case) in CASES.iter().enumerate() {
            let value = |voxel: usize, channel: usize| (voxel * (number + 2) + channel) as f32;
            for channel in 0..2 {
                data.image(&format!("imagesTr/{case}_000{channel}.nii"), 1, SHAPE, SPACING, |voxel| value(voxel, channel));
            }
            data.labels(&format!("labelsTr/{case}.nii"), SHAPE, SPACING, |voxel| (voxel % 3) as i16);
            data.labels(&format!("targetsTr/whole/{case}.nii"), SHAPE, SPACING, |voxel| i16::from(voxel > 5));
            data.image(&format!("targetsTr/distance/{case}.nii"), 1, SHAPE, SPACING, |voxel| value(voxel, 7));
        }
        data.write("targetsTr/size.json", r#"{"a": 0, "b": "small", "c": "large", "d": 1, "e": 0}"#);
        data.write("splits_final.json", r#"[{"train": ["a", "b", "c", "d"], "val": ["e"]}, {"train": ["e"], "val": ["a", "b"]}]"#);
        data.write("imagesTr/.DS_Store", "what a file manager leaves behind");
        let json = json!({
            "channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "liver": 1, "tumour": 2}, "numTraining": 5,
            "file_ending": ".nii", "targets": {
                "whole": {"kind": "labels", "labels": {"background": 0, "organ": 1}},
                "distance": {"kind": "regression", "optional": true},
                "size": {"kind": "class", "classes": ["small", "large"]}
            }
        });
        data.write("dataset.json", &json.to_string());
        data
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().expect("in the folder")).expect("created");
        fs::write(self.path(file), text).expect("written");
    }

    fn image(&self, file: &str, channels: usize, [z, y, x]: [usize; 3], spacing: [f64; 3], value: impl Fn(usize) -> f32) {
        let volume = Volume::new([channels, z, y, x], (0..channels * z * y * x).map(value).collect());
        write_image(&self.path(file), &volume, &Geometry::with_spacing(spacing)).expect("written");
    }

    fn labels(&self, file: &str, [z, y, x]: [usize; 3], spacing: [f64; 3], value: impl Fn(usize) -> i16) {
        let volume = Volume::new([1, z, y, x], (0..z * y * x).map(value).collect());
        write_labels(&self.path(file), &volume, &Geometry::with_spacing(spacing)).expect("written");
    }

    fn json(&self, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.path("dataset.json")).expect("there")).expect("JSON");
        change(&mut json);
        self.write("dataset.json", &json.to_string());
    }

    fn without_key(&self, key: &str) {
        self.json(|json| drop(json.as_object_mut().expect("object").shift_remove(key)));
    }

    fn remove(&self, file: &str) {
        let path = self.path(file);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).expect("copied");
    }

    /// Changes a number of the NIfTI header.
    fn header(&self, file: &str, offset: usize, value: f32) {
        let mut bytes = fs::read(self.path(file)).expect("there");
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(self.path(file), bytes).expect("written");
    }

    fn cut(&self, file: &str, length: usize) {
        let bytes = fs::read(self.path(file)).expect("there");
        fs::write(self.path(file), &bytes[..length]).expect("written");
    }

    fn check(&self) -> Report {
        check(self.0.path(), 2, &|_| {})
    }
}

/// Whether training would take the data set: it is opened, every file is read, every fold is split.
fn is_usable(folder: &Path) -> bool {
    let read = || -> Result<(), crate::dataset::Error> {
        let dataset = Dataset::open(folder.to_str().expect("UTF-8"), None)?;
        for case in &dataset.cases {
            let reader = dataset.reader()?;
            let image = read_images(reader, &case.images, dataset.description.channel_names.len())?;
            let beside = Beside { reader, image: &image, path: &case.images[0] };
            for (name, target) in &case.targets {
                if let (Some(path), Form::Voxels(kind)) =
                    (target.as_ref().and_then(|target| target.file()), dataset.description.targets[name].kind.form())
                {
                    drop(kind.read(path, &beside)?);
                }
            }
        }
        for fold in 0..3 {
            let preprocessed = tempfile::tempdir().expect("temporary folder");
            split_for(Fold::Number(fold), preprocessed.path(), folder, &dataset.case_ids())?;
        }
        Ok(())
    };
    read().is_ok()
}

/// What is expected of a finding: severity, file, a part of what was found, a part of the remedy.
type Expected = (Severity, &'static str, &'static str, &'static str);

fn matches(finding: &Finding, (severity, path, found, remedy): Expected) -> bool {
    finding.severity == severity && finding.path == path && finding.found.contains(found) && finding.remedy.contains(remedy)
}

/// Spoils a good data set and compares the findings, all of them.
fn expect(spoil: impl FnOnce(&Spoilt), expected: &[Expected]) {
    let data = Spoilt::new();
    spoil(&data);
    let findings = data.check().findings;
    let fit = findings.len() == expected.len() && findings.iter().zip(expected).all(|(finding, expected)| matches(finding, *expected));
    assert!(fit, "expected {expected:#?}, found {findings:#?}");
    // An error is what training refuses, a warning what it does not.
    assert_eq!(is_usable(data.0.path()), expected.iter().all(|(severity, ..)| *severity == Doubtful), "{findings:#?}");
}

#[test]
fn a_good_data_set_has_no_findings() {
    expect(|_| {}, &[]);
    expect(|data| data.remove("targetsTr/distance/c.nii"), &[]);
    expect(|data| data.remove("splits_final.json"), &[]);
}

#[test]
fn a_broken_description() {
    let file = "dataset.json";
    expect(|data| data.remove(file), &[(Wrong, file, "cannot be read", "check that it exists")]);
    expect(|data| data.cut(file, 100), &[(Wrong, file, "EOF while parsing", "correct it")]);
    expect(|data| data.write(file, "[]"), &[(Wrong, file, "the file is []", "an object")]);
    for key in ["channel_names", "labels", "numTraining", "file_ending"] {
        let data = Spoilt::new();
        data.without_key(key);
        let findings = data.check().findings;
        assert!(findings.len() == 1 && findings[0].found.starts_with(&format!("{key} is missing")), "{findings:#?}");
    }
    let set = |key: &'static str, value: Value| move |data: &Spoilt| data.json(|json| json[key] = value);
    let gap = json!({"background": 0, "liver": 1, "tumour": 3});
    expect(set("labels", gap), &[(Wrong, file, "labels is values [0, 1, 3]", "consecutive label values")]);
    let regions = json!({"background": 0, "liver": [1, 2], "tumour": 2});
    expect(set("labels", regions), &[(Wrong, file, "no regions_class_order", "2 entries, one for each region")]);
    expect(set("regions_class_order", json!("1")), &[(Wrong, file, "regions_class_order is \"1\"", "a list of label values")]);
    let unnumbered = (Doubtful, file, "channel_names has the keys 0, 2, which do not number the channels", "0, 1, 2");
    expect(set("channel_names", json!({"0": "T1", "2": "T2"})), &[unnumbered]);
    expect(set("channel_names", json!({"0": "T1", "1": 2})), &[(Wrong, file, "channel_names.1 is 2", "the name of a channel")]);
    expect(set("numTraining", json!("5")), &[(Wrong, file, "numTraining is \"5\"", "the number of training cases")]);
    expect(set("numTraining", json!(6)), &[(Wrong, "imagesTr", "found 5 training cases, expected 6", "correct numTraining")]);
    expect(set("file_ending", json!(3)), &[(Wrong, file, "file_ending is 3", "the ending of the image files")]);
    expect(set("file_ending", json!(".nrrd")), &[(Wrong, file, "imagesTr has no such image but 10", "set file_ending to \".nii\"")]);
}

#[test]
fn several_broken_entries_are_all_found() {
    let file = "dataset.json";
    let spoil = |data: &Spoilt| {
        data.json(|json| {
            json["labels"]["liver"] = json!("one");
            json["numTraining"] = json!(-1);
            json["targets"]["whole"]["kind"] = json!("lables");
            json["targets"]["distance"]["chanels"] = json!(1);
            json["targets"]["size"]["classes"] = json!(["small"]);
        });
    };
    expect(
        spoil,
        &[
            (Wrong, file, "labels.liver is \"one\"", "a label value"),
            (Wrong, file, "numTraining is -1", "number of training cases"),
            (Wrong, file, "targets.distance.chanels is unknown", "did you mean \"channels\"?"),
            (Wrong, file, "targets.size.classes is [\"small\"]", "two different class names"),
            (Wrong, file, "targets.whole.kind \"lables\" is unknown", "did you mean \"labels\"?"),
        ],
    );
}

#[test]
fn an_ending_without_a_reader_is_said_once() {
    let spoil = |data: &Spoilt| {
        data.json(|json| json["file_ending"] = json!(".xyz"));
        for folder in ["imagesTr", "labelsTr", "targetsTr/whole", "targetsTr/distance"] {
            for name in crate::dataset::discovery::visible_names(&data.path(folder)).expect("there") {
                let file = data.path(folder).join(name);
                fs::rename(&file, file.with_extension("xyz")).expect("renamed");
            }
        }
    };
    expect(spoil, &[(Wrong, "dataset.json", "\".xyz\", which no reader knows", "convert the files")]);
}

#[test]
fn files_that_are_missing() {
    expect(
        |data| data.remove("imagesTr/b_0001.nii"),
        &[(Wrong, "imagesTr", "case b: found 0000 of the channels in imagesTr, expected 0000, 0001", "add b_0001.nii")],
    );
    let missing = |file: &'static str, found, remedy| expect(|data| data.remove(file), &[(Wrong, file, found, remedy)]);
    missing("imagesTr", "cannot be read", "check that it exists");
    missing("labelsTr", "not found, expected as the folder of target \"segmentation\"", "add the folder");
    missing("labelsTr/b.nii", "not found, expected as target \"segmentation\" of case b", "add the file");
    missing("targetsTr/whole/b.nii", "not found, expected as target \"whole\" of case b", "set \"optional\": true");
    missing("targetsTr/whole", "not found, expected as the folder of target \"whole\"", "add the folder");
    missing("targetsTr/size.json", "cannot be read", "check that it exists");
    expect(|data| data.remove("targetsTr/distance"), &[(Doubtful, "targetsTr/distance", "no case has the optional", "add the folder")]);
}

#[test]
fn a_warning_does_not_hide_that_there_is_no_case() {
    let nothing = |data: &Spoilt| {
        for folder in ["imagesTr", "labelsTr", "targetsTr"] {
            data.remove(folder);
        }
        data.write("imagesTr/.DS_Store", "what a file manager leaves behind");
        data.json(|json| {
            json["numTraining"] = json!(0);
            json["channel_names"] = json!({"0": "T1", "second": "T2"});
        });
    };
    expect(
        nothing,
        &[
            (Wrong, "imagesTr", "holds no training case", "add the images"),
            (Doubtful, "dataset.json", "channel_names has the keys 0, second", "0, 1, 2"),
        ],
    );
}

#[test]
fn files_that_belong_to_nothing() {
    let add = |file: &'static str, severity, found, remedy| {
        expect(|data| data.write(file, ""), &[(severity, file, found, remedy)]);
    };
    add("imagesTr/q.nii", Wrong, "without a channel number", "rename or move");
    add("imagesTr/notes.txt", Doubtful, "does not end with \".nii\"", "move it elsewhere");
    add("imagesTr/b_0000.nii.gz", Doubtful, "does not end with \".nii\"", "convert it");
    add("labelsTr/q.nii", Doubtful, "belongs to no image", "add the images");
    add("labelsTr/b.nrrd", Doubtful, "does not end with \".nii\"", "convert it");
    add("targetsTr/distance/q.nii", Doubtful, "belongs to no image", "remove the file");
    add("targetsTr/other", Doubtful, "no target of dataset.json uses it", "declare it");
    expect(
        |data| data.copy("imagesTr/a_0001.nii", "imagesTr/a_0002.nii"),
        &[
            (Wrong, "imagesTr", "case a: found 0000, 0001, 0002", "remove the further files"),
            (Doubtful, "imagesTr/a_0002.nii", "holds the same voxels as a_0001.nii", "remove or replace"),
        ],
    );
}

#[test]
fn listed_cases() {
    let list = |json: &mut Value, id: &str, image: &str| {
        json["dataset"][id] = json!({"images": [format!("imagesTr/{image}_0000.nii"), format!("imagesTr/{image}_0001.nii")],
            "label": format!("labelsTr/{image}.nii")});
    };
    let all = |data: &Spoilt| data.json(|json| CASES.iter().for_each(|case| list(json, case, case)));
    expect(all, &[]);
    expect(
        |data| {
            all(data);
            data.json(|json| list(json, "c", "q"));
            data.json(|json| json["dataset"]["d"]["label"] = json!("labelsTr/q.nii"));
            data.json(|json| json["numTraining"] = json!(4));
            data.remove("splits_final.json");
            data.write("targetsTr/size.json", r#"{"a": 0, "b": 1, "d": 1, "e": 0}"#);
            data.remove("targetsTr/whole/c.nii");
            data.remove("targetsTr/distance/c.nii");
        },
        &[
            (Wrong, "dataset.json", "dataset.c is naming imagesTr/q_0000.nii", "a file that exists"),
            (Wrong, "labelsTr/q.nii", "not found, expected as target \"segmentation\" of case d", "add the file"),
            (Doubtful, "splits_final.json", "too few cases for nnU-Net's 5 folds: 4", "--fold all"),
        ],
    );
}

#[test]
fn damaged_files() {
    for file in ["imagesTr/b_0000.nii", "labelsTr/b.nii", "targetsTr/distance/b.nii"] {
        expect(|data| data.cut(file, 360), &[(Wrong, file, "which need more", "copy it again")]);
        expect(|data| data.cut(file, 0), &[(Wrong, file, "ends before its header does", "damaged or not NIfTI")]);
    }
}

#[test]
fn files_that_do_not_fit_each_other() {
    let other = [2, 3, 5];
    for file in ["imagesTr/b_0001.nii", "targetsTr/distance/b.nii"] {
        let shape = (Wrong, file, "shape [2, 3, 5] (z, y, x), expected [2, 3, 4] as imagesTr/b_0000.nii has", "correct one of them");
        expect(|data| data.image(file, 1, other, SPACING, |voxel| voxel as f32), &[shape]);
        let spacing = (Wrong, file, "spacing [3.0, 1.0, 2.0] mm (z, y, x), expected [3.0, 1.0, 1.0]", "correct one of them");
        expect(|data| data.image(file, 1, SHAPE, [3.0, 1.0, 2.0], |voxel| voxel as f32), &[spacing]);
    }
    let label = "labelsTr/b.nii";
    let both = [(Wrong, label, "shape [2, 3, 5]", "correct one"), (Wrong, label, "spacing [3.0, 1.0, 2.0]", "correct one")];
    expect(|data| data.labels(label, other, [3.0, 1.0, 2.0], |_| 1), &both);
    for file in ["imagesTr/b_0001.nii", label, "targetsTr/whole/b.nii", "targetsTr/distance/b.nii"] {
        // srow_x: the last number is the origin, the first the direction of x.
        expect(|data| data.header(file, 292, 9.0), &[(Doubtful, file, "does not lie where b_0000.nii does: origin", "look at both")]);
        expect(|data| data.header(file, 280, -1.0), &[(Doubtful, file, "b_0000.nii does: direction", "correct the header")]);
    }
}

#[test]
fn channels_that_are_not_as_many() {
    let found = "found 3 channels, expected 2 as dataset.json says";
    expect(
        |data| data.image("imagesTr/b_0000.nii", 2, SHAPE, SPACING, |voxel| voxel as f32 * 0.1),
        &[(Wrong, "imagesTr/b_0000.nii", found, "correct the file or dataset.json")],
    );
    expect(
        |data| data.image("targetsTr/distance/b.nii", 2, SHAPE, SPACING, |_| 1.0),
        &[(Wrong, "targetsTr/distance/b.nii", "found 2 channels, expected 1", "correct the file or dataset.json")],
    );
    expect(
        |data| data.image("labelsTr/b.nii", 2, SHAPE, SPACING, |_| 1.0),
        &[(Wrong, "labelsTr/b.nii", "has 2 channels, and a label map has one", "split the file")],
    );
}

#[test]
fn values_that_mean_nothing() {
    for (file, value, found) in [
        ("imagesTr/b_0001.nii", f32::NAN, "NaN at voxel [0, 1, 0, 3] (channel, z, y, x)"),
        ("imagesTr/b_0001.nii", f32::INFINITY, "inf at voxel"),
        ("targetsTr/distance/b.nii", f32::NEG_INFINITY, "-inf at voxel"),
    ] {
        let spoil = |data: &Spoilt| data.image(file, 1, SHAPE, SPACING, |voxel| if voxel == 15 { value } else { voxel as f32 });
        expect(spoil, &[(Wrong, file, found, "replace it by a number")]);
    }
    let file = "labelsTr/b.nii";
    let named = "7 (1 voxel), 9 (2 voxels); expected background (0), liver (1), tumour (2)";
    let values = |voxel: usize| [9, 9, 7].get(voxel).copied().unwrap_or(1);
    expect(|data| data.labels(file, SHAPE, SPACING, values), &[(Wrong, file, named, "name the value")]);
    let mask = |data: &Spoilt| data.labels(file, SHAPE, SPACING, |voxel| if voxel < 4 { 255 } else { 0 });
    expect(mask, &[(Wrong, file, "255 (4 voxels)", "write 1 for 255 if the file is a mask of 0 and 255")]);
    expect(|data| data.image(file, 1, SHAPE, SPACING, |_| 0.5), &[(Wrong, file, "holds the value 0.5", "was an image given")]);
    expect(|data| data.image(file, 1, SHAPE, SPACING, |_| f32::NAN), &[(Wrong, file, "holds the value NaN", "was an image given")]);
    expect(|data| data.labels(file, SHAPE, SPACING, |_| 0), &[(Doubtful, file, "every voxel is 0, the background", "correct the file")]);
    let image = "imagesTr/b_0000.nii";
    expect(|data| data.image(image, 1, SHAPE, SPACING, |_| 0.0), &[(Doubtful, image, "every voxel is 0", "replace the file")]);
    let copy = (Doubtful, "imagesTr/c_0001.nii", "holds the same voxels as a_0001.nii", "training and validation");
    expect(|data| data.copy("imagesTr/a_0001.nii", "imagesTr/c_0001.nii"), &[copy]);
}

#[test]
fn classes() {
    let file = "targetsTr/size.json";
    let unknown =
        [(Wrong, file, "b is \"huge\"", "a class index from 0 to 1, or one of small, large"), (Wrong, file, "d is 2", "class index")];
    expect(|data| data.write(file, r#"{"a": 0, "b": "huge", "c": 1, "d": 2, "e": 0}"#), &unknown);
    let missing = [(Wrong, file, "no entry for case b, expected one of small, large for target \"size\"", "add it")];
    expect(|data| data.write(file, r#"{"a": 0, "c": 1, "d": 1, "e": 0}"#), &missing);
    let extra = [(Doubtful, file, "has an entry for \"f\", which is no case", "remove it")];
    expect(|data| data.write(file, r#"{"a": 0, "b": 1, "c": 1, "d": 1, "e": 0, "f": 1}"#), &extra);
    expect(|data| data.write(file, "[0, 1]"), &[(Wrong, file, "the file is [0,1]", "an object from case to class")]);
}

#[test]
fn folds() {
    let file = "splits_final.json";
    let fold = |text: &'static str| move |data: &Spoilt| data.write(file, text);
    let unknown = (Wrong, file, "fold 1 names case \"z\", which the data set does not have", "correct the file or remove it");
    expect(fold(r#"[{"train": ["a"], "val": ["b"]}, {"train": ["a", "z"], "val": ["b"]}]"#), &[unknown]);
    let shared = (Doubtful, file, "fold 0 trains on and validates with the same 1 case (b)", "take them from one");
    expect(fold(r#"[{"train": ["a", "b"], "val": ["b", "c"]}]"#), &[shared]);
    let twice = (Doubtful, file, "fold 0 names cases more than once", "remove the repetitions");
    expect(fold(r#"[{"train": ["a", "a"], "val": ["b", "c"]}]"#), &[twice]);
    expect(fold(r#"{"train": ["a", "a"]}"#), &[(Wrong, file, "line 1, column 0: invalid type: map", "correct it")]);
    expect(fold("[{\"train\": [\"a\"],\n \"val\": 1}]"), &[(Wrong, file, "line 2, column 9, [0].val: invalid type", "correct it")]);
}

#[test]
fn ten_defects_are_ten_findings() {
    expect(
        |data| {
            data.json(|json| json["numTraining"] = json!(4));
            data.remove("imagesTr/a_0001.nii");
            data.write("imagesTr/notes.txt", "");
            data.image("imagesTr/b_0000.nii", 1, SHAPE, SPACING, |voxel| if voxel == 0 { f32::NAN } else { 1.0 });
            data.header("labelsTr/c.nii", 292, 9.0);
            data.labels("labelsTr/d.nii", SHAPE, SPACING, |_| 5);
            data.cut("labelsTr/e.nii", 300);
            data.image("targetsTr/distance/e.nii", 1, [1, 1, 1], SPACING, |_| 1.0);
            data.write("targetsTr/size.json", r#"{"a": 0, "b": 9, "c": 1, "d": 1, "e": 0}"#);
            data.write("splits_final.json", r#"[{"train": ["y"], "val": ["a"]}]"#);
        },
        &[
            (Wrong, "imagesTr", "case a: found 0000", "add a_0001.nii"),
            (Wrong, "imagesTr", "found 5 training cases, expected 4", "correct numTraining"),
            (Wrong, "imagesTr/b_0000.nii", "NaN at voxel", "replace it"),
            (Wrong, "labelsTr/d.nii", "5 (24 voxels)", "name the value"),
            (Wrong, "labelsTr/e.nii", "ends before its", "damaged"),
            (Wrong, "splits_final.json", "case \"y\"", "correct the file"),
            (Wrong, "targetsTr/distance/e.nii", "shape [1, 1, 1]", "correct one"),
            (Wrong, "targetsTr/size.json", "b is 9", "class index"),
            (Doubtful, "imagesTr/notes.txt", "is not used", "move it"),
            (Doubtful, "labelsTr/c.nii", "origin", "look at both"),
        ],
    );
}

#[test]
fn the_report_as_json_is_stable() {
    let data = Spoilt::new();
    data.labels("labelsTr/b.nii", SHAPE, SPACING, |_| 0);
    let report = data.check();
    let json = serde_json::to_string(&Report { folder: "Dataset001_X".to_owned(), ..report }).expect("JSON");
    assert_eq!(
        json,
        r#"{"folder":"Dataset001_X","cases":5,"errors":0,"warnings":1,"findings":[{"severity":"warning","path":"labelsTr/b.nii","#
            .to_owned()
            + r#""found":"every voxel is 0, the background","#
            + r#""remedy":"correct the file; nothing is wrong if there is nothing to see in that case"}]}"#
    );
}
