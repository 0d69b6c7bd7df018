//! Names in strangers' files never lead out of the folder that the user names.

use flate2::Compression;
use flate2::write::GzEncoder;
use imaging::Volume;
use imaging::io::{Geometry, write_image};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use tests::case::image;
use tests::models;
use tests::program::Bench;
use tests::snapshot::Snapshot;

/// Names that would lead elsewhere.
const ELSEWHERE: [&str; 7] = ["../../x", "/tmp/x", "a/b", "..", ".", "", "a/../../../b"];

fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON");
    change(&mut json);
    fs::write(path, json.to_string()).expect("writable");
}

/// Runs the program, which must fail with `words`, and change nothing in the bench's folder but the copy of `dataset.json`.
fn expect_untouched(bench: &Bench, arguments: &[&str], words: &[&str]) {
    let copy = bench.folder().join("preprocessed/Dataset001_Small/dataset.json");
    let before = Snapshot::of(bench.folder(), &[&copy]);
    let ended = bench.run(arguments);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code == 1 && words.iter().all(|word| said.contains(word)), "{arguments:?}: {words:?}: {ended:#?}");
    before.expect_same(&Snapshot::of(bench.folder(), &[&copy]));
}

#[test]
fn imported_models_stay_below_the_output() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let plans = model.join("plans.json");
    let original = fs::read(&plans).expect("there");
    let model = model.to_str().expect("UTF-8");
    for key in ["dataset_name", "plans_name"] {
        for name in ELSEWHERE {
            change(&plans, |json| json[key] = json!(name));
            expect_untouched(&bench, &["model", "import", model, "--output", "results"], &["plans.json", "not the name of a file"]);
            fs::write(&plans, &original).expect("writable");
        }
    }
    change(&plans, |json| {
        let configurations = json["configurations"].as_object_mut().expect("an object");
        let trained = configurations["3d_fullres"].clone();
        configurations.clear();
        configurations.insert("../../../x".to_owned(), trained);
    });
    expect_untouched(&bench, &["model", "import", model, "--output", "results"], &["../../../x", "not the name of a file"]);
    fs::write(&plans, &original).expect("writable");
    bench.run(&["model", "import", model, "--output", "results"]).expect_success();
}

#[test]
fn stores_lie_in_the_preprocessed_folder() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.to_str().expect("UTF-8");
    bench.run(&["plan", "--dataset", dataset]).expect_success();
    let plans = bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
    let original = fs::read(&plans).expect("planned");
    let victim = bench.folder().join("preprocessed/x.store");
    fs::create_dir_all(&victim).expect("writable");
    fs::write(victim.join("case_000.zarr.zip"), "another's case").expect("writable");
    for name in ELSEWHERE {
        change(&plans, |json| json["configurations"]["2d"]["data_identifier"] = json!(name));
        let arguments = ["preprocess", "--dataset", dataset, "--configuration", "2d"];
        expect_untouched(&bench, &arguments, &["2d", "not the name of a file"]);
        fs::write(&plans, &original).expect("writable");
    }
}

#[test]
fn endings_and_cases_are_names() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.to_str().expect("UTF-8");
    for ending in ["./../x.nii", "./x", ".nii/../../y.nii", "./", ".\0nii"] {
        bench.raw.describe(json!({"file_ending": ending}));
        expect_untouched(&bench, &["dataset", "check", "--dataset", dataset], &["file_ending"]);
        expect_untouched(&bench, &["plan", "--dataset", dataset], &["file_ending", "not the name of a file"]);
    }
    for case in ["../x", "/x", "a/b", ".hidden", ".."] {
        let entry = json!({"images": ["imagesTr/case_000_0000.nii"], "label": "labelsTr/case_000.nii"});
        bench.raw.describe(json!({"numTraining": 1, "dataset": {case: entry}}));
        expect_untouched(&bench, &["plan", "--dataset", dataset], &["a name that can be that of a file"]);
    }
}

#[test]
fn what_the_user_types_is_a_name() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.to_str().expect("UTF-8");
    for name in ELSEWHERE {
        for arguments in [
            &["run", "--plugin", "base", "--dataset", dataset, "--name", name][..],
            &["run", "--plugin", "base", "--dataset", dataset, "--plans", name],
            &["plan", "--dataset", dataset, "--plans", name],
            &["preprocess", "--dataset", dataset, "--plans", name],
        ] {
            let before = Snapshot::of(bench.folder(), &[]);
            let ended = bench.run(arguments);
            assert!(
                ended.code == 2 && ended.stderr.contains(arguments[arguments.len() - 2].trim_start_matches('-')),
                "{arguments:?}: {ended:#?}"
            );
            before.expect_same(&Snapshot::of(bench.folder(), &[]));
        }
    }
}

#[test]
fn voxels_lie_beside_their_header() {
    let bench = Bench::new();
    let secret = bench.folder().join("secret.raw");
    fs::write(&secret, vec![7; 16 * 16 * 16]).expect("writable");
    let secret = secret.to_str().expect("UTF-8");
    let model = models::copy_to("plain_3d", bench.folder());
    let (mha, nrrd) = (
        |file: &str| {
            format!(
                "ObjectType = Image\nNDims = 3\nDimSize = 16 16 16\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\nElementDataFile = {file}\n"
            )
        },
        |file: &str| format!("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 16 16 16\nencoding: raw\nendian: little\ndata file: {file}\n"),
    );
    let read = |ending: &str, header: String| {
        let folder = bench.folder().join("images");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("writable");
        fs::write(folder.join("mine.raw"), vec![7; 16 * 16 * 16]).expect("writable");
        fs::write(folder.join(format!("a_0000{ending}")), header).expect("writable");
        change(&model.join("dataset.json"), |json| json["file_ending"] = json!(ending));
        bench.predict(&model, &folder, &[])
    };
    for file in [secret, "../secret.raw", "./../secret.raw", "../../../../../../../../../../etc/passwd", "/etc/passwd", "sub/x.raw", ".."] {
        for ended in [read(".mhd", mha(file)), read(".nhdr", nrrd(file))] {
            assert!(ended.code == 1 && ended.stderr.contains("not in its own folder"), "{file}: {ended:#?}");
        }
    }
    for file in ["mine.raw", "./mine.raw"] {
        read(".mhd", mha(file)).expect_success();
        read(".nhdr", nrrd(file)).expect_success();
    }
}

#[test]
fn a_case_never_takes_the_place_of_the_runs_own_file() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("images");
    fs::create_dir(&images).expect("writable");
    let image = image();
    change(&model.join("dataset.json"), |json| json["file_ending"] = json!(".tif"));
    change(&model.join("plans.json"), |json| json["image_reader_writer"] = json!("Tiff3DIO"));
    // A stack has its spacing beside it, in a file with the name of the case.
    for case in ["plans", "dataset", "summary", "fine"] {
        write_image(&images.join(format!("{case}_0000.tif")), &image, &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    let ended = bench.predict(&model, &images, &[]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    for case in ["plans", "dataset", "summary"] {
        let line = ended.stderr.lines().find(|line| line.contains(&format!("{case}: ")) && line.contains("the run's own file"));
        assert!(line.is_some(), "{case}: {ended:#?}");
    }
    let predicted = bench.predicted();
    let own = |name: &str| serde_json::from_slice::<Value>(&fs::read(predicted.join(name)).expect("written")).expect("JSON");
    assert!(own("plans.json").get("plans_name").is_some() && own("dataset.json").get("labels").is_some());
    assert!(predicted.join("fine.tif").is_file() && predicted.join("fine.json").is_file() && !predicted.join("plans.tif").exists());

    // Where no file would have such a name, the case may.
    change(&model.join("dataset.json"), |json| json["file_ending"] = json!(".nii.gz"));
    change(&model.join("plans.json"), |json| json["image_reader_writer"] = json!("SimpleITKIO"));
    for case in ["plans_0000", "dataset", "summary"] {
        write_image(&images.join(format!("{case}_0000.nii.gz")), &image, &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    bench.predict(&model, &images, &[]).expect_success();
    assert!(predicted.join("dataset.nii.gz").is_file() && own("dataset.json").get("labels").is_some());
}

#[test]
fn a_prediction_never_replaces_its_image() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let folder = bench.predicted();
    fs::create_dir(&folder).expect("writable");
    // A file that is named itself needs no channel number.
    let path = folder.join("mine.nii.gz");
    write_image(&path, &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    let before = fs::read(&path).expect("written");
    let ended = bench.predict(&model, &path, &[]);
    assert!(ended.code == 1 && ended.stderr.contains("would replace its image"), "{ended:#?}");
    assert_eq!(fs::read(&path).expect("still there"), before);
}

#[test]
fn a_decathlon_task_copies_its_own_files_alone() {
    let bench = Bench::new();
    let task = bench.folder().join("Task05_Own");
    for folder in ["imagesTr", "labelsTr"] {
        fs::create_dir_all(task.join(folder)).expect("writable");
    }
    let volume = Volume::new([1, 4, 4, 4], (0..64).map(|i| (i % 2) as f32).collect());
    for file in ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"] {
        write_image(&task.join(file), &volume, &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    let secret = bench.folder().join("secret.nii.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"secret").expect("in memory");
    fs::write(&secret, gzip.finish().expect("in memory")).expect("writable");
    std::os::unix::fs::symlink(&secret, task.join("labelsTr/link.nii.gz")).expect("linked");
    let absolute = secret.to_str().expect("UTF-8");
    let arguments = ["dataset", "convert", "--from", "msd", "--input", task.to_str().expect("UTF-8"), "--output", "raw2"];
    for label in [absolute, "../secret.nii.gz", "labelsTr/../../secret.nii.gz", "./labelsTr/link.nii.gz", "/etc/passwd"] {
        let pair = json!([{"image": "./imagesTr/a.nii.gz", "label": label}]);
        let json = json!({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "a"}, "training": pair, "test": []});
        fs::write(task.join("dataset.json"), json.to_string()).expect("writable");
        expect_untouched(&bench, &arguments, &["dataset.json", "outside the task's folder"]);
    }
}
