//! Sizes that no memory holds are an error of the file that asks for them; other cases go on, and nothing waits for a pipe.

use flate2::Compression;
use flate2::write::GzEncoder;
use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact::plugin;
use tests::case::image;
use tests::models;
use tests::program::Bench;

/// Sets the spacing of a plain NIfTI file.
fn set_spacing(path: &Path, spacing: [f32; 3]) {
    let mut bytes = fs::read(path).expect("there");
    for (axis, step) in spacing.into_iter().enumerate() {
        bytes[80 + 4 * axis..84 + 4 * axis].copy_from_slice(&step.to_le_bytes());
    }
    // By the steps alone.
    bytes[252..256].fill(0);
    fs::write(path, bytes).expect("writable");
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("starts").success());
}

/// Spacings that nobody meant, in mm (x y z).
const ABSURD: [[f32; 3]; 5] =
    [[3000.0, 3000.0, 3000.0], [4_294_967_296.0, 4_294_967_296.0, 1.0], [1e38, 1.0, 1.0], [1e20, 1e20, 1e20], [1.0, 1.0, 3e9]];

#[test]
fn a_wrong_spacing_is_an_error_of_its_case() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("images");
    fs::create_dir(&images).expect("writable");
    let text = fs::read_to_string(model.join("dataset.json")).expect("there").replace(".nii.gz", ".nii");
    fs::write(model.join("dataset.json"), text).expect("writable");
    for case in ["a_good", "z_good"].into_iter().map(str::to_owned).chain((0..ABSURD.len()).map(|i| format!("bad_{i}"))) {
        write_image(&images.join(format!("{case}_0000.nii")), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    for (i, spacing) in ABSURD.into_iter().enumerate() {
        set_spacing(&images.join(format!("bad_{i}_0000.nii")), spacing);
    }
    let ended = bench.predict(&model, &images, &[]);
    assert!(ended.code == 1 && !ended.stderr.contains("panicked"), "{ended:#?}");
    for i in 0..ABSURD.len() {
        let line = ended.stderr.lines().find(|line| line.contains(&format!("bad_{i}: ")));
        assert!(line.is_some_and(|line| line.contains(".nii: its spacing of") && line.contains("--max-voxels")), "{i}: {ended:#?}");
    }
    assert!(["a_good.nii", "z_good.nii"].iter().all(|file| bench.predicted().join(file).is_file()));

    // The flag lowers the limit as it raises it.
    fs::remove_dir_all(bench.predicted()).expect("predicted");
    let ended = bench.predict(&model, &images.join("a_good_0000.nii"), &["--max-voxels", "4095"]);
    assert!(ended.code == 1 && ended.stderr.contains("[1, 16, 16, 16] voxels (c, z, y, x), more than the 4095"), "{ended:#?}");
    bench.predict(&model, &images.join("a_good_0000.nii"), &["--max-voxels", "100000"]).expect_success();
}

#[test]
fn a_wrong_spacing_in_a_data_set_is_found_before_training() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.display().to_string();
    let check = |further: &[&str]| bench.run(&[&["dataset", "check", "--dataset", &dataset][..], further].concat());
    check(&[]).expect_success();
    for spacing in ABSURD {
        for file in [bench.raw.image(3), bench.raw.labels(3)] {
            set_spacing(&file, spacing);
        }
        let ended = check(&[]);
        assert!(
            ended.code == 1 && ended.stdout.contains("case_003_0000.nii") && ended.stdout.contains("--max-voxels"),
            "{spacing:?}: {ended:#?}"
        );
        // What the check said is what the commands that follow say.
        let ended = bench.run(&["plan-and-preprocess", "--dataset", &dataset, "--configuration", "3d_fullres"]);
        assert!(ended.code == 1 && !ended.stderr.contains("panicked"), "{spacing:?}: {ended:#?}");
        assert!(ended.stderr.contains("case_003_0000.nii: its spacing of"), "{spacing:?}: {ended:#?}");
    }
    let ended = bench.run(&["dataset", "check", "--dataset", &dataset, "--max-voxels", "1000"]);
    assert!(ended.code == 1 && ended.stdout.contains("more than the 1000"), "{ended:#?}");
}

#[test]
fn a_small_file_does_not_become_a_large_one() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let plain = bench.folder().join("plain.nii");
    write_image(&plain, &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    let mut bytes = fs::read(&plain).expect("there")[..352].to_vec();
    // 400³ voxels of 8 bits, all zero: 64 MB in 65 KB of gzip.
    for axis in 0..3 {
        bytes[42 + 2 * axis..44 + 2 * axis].copy_from_slice(&400_i16.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&2_i16.to_le_bytes());
    bytes[72..74].copy_from_slice(&8_i16.to_le_bytes());
    bytes.resize(352 + 400 * 400 * 400, 0);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes).expect("in memory");
    let small = bench.folder().join("small.nii.gz");
    fs::write(&small, gzip.finish().expect("in memory")).expect("writable");
    assert!(fs::metadata(&small).expect("there").len() < 70_000);
    let ended = bench.predict(&model, &small, &["--max-voxels", "1000000"]);
    assert!(ended.code == 1 && ended.stderr.contains("[1, 400, 400, 400]") && ended.stderr.contains("1000000"), "{ended:#?}");
}

/// Makes the file at `path` seem to be `length` bytes long; what is beyond its end is a hole.
fn lengthen(path: &Path, length: u64) {
    let file = fs::File::options().write(true).create(true).truncate(false).open(path).expect("writable");
    file.set_len(length).expect("the file system knows holes");
}

#[test]
fn files_with_holes_take_no_memory() {
    const TERABYTE: u64 = 1 << 40;
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("images");
    fs::create_dir(&images).expect("writable");
    write_image(&images.join("good_0000.nii.gz"), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        let original = fs::read(model.join(file)).expect("there");
        lengthen(&model.join(file), TERABYTE);
        let ended = bench.predict(&model, &images, &[]);
        assert!(ended.code == 1 && ended.stderr.contains(file.rsplit('/').next().expect("a name")), "{file}: {ended:#?}");
        fs::write(model.join(file), original).expect("writable");
    }
    let dataset = bench.raw.folder.display().to_string();
    lengthen(&bench.raw.folder.join("dataset.json"), TERABYTE);
    let ended = bench.run(&["dataset", "check", "--dataset", &dataset]);
    assert!(ended.code == 1 && ended.stdout.contains("dataset.json"), "{ended:#?}");

    // A BMP that claims half a million pixels in each direction, and is as long as these need.
    let mut header = b"BM".to_vec();
    header.resize(54, 0);
    for (at, value) in [(10, 54_u32), (14, 40), (18, 500_000), (22, 500_000), (26, 1 | 8 << 16)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let path = bench.folder().join("large.bmp");
    fs::write(&path, header).expect("writable");
    lengthen(&path, TERABYTE);
    let error = imaging::io::read_image(&path).expect_err("too large").to_string();
    assert!(error.contains("[1, 1, 500000, 500000]") && error.contains("--max-voxels"), "{error}");
}

#[test]
fn nothing_waits_for_a_pipe() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("images");
    fs::create_dir(&images).expect("writable");
    write_image(&images.join("good_0000.nii.gz"), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    pipe(&images.join("pipe_0000.nii.gz"));
    let ended = bench.predict(&model, &images, &[]);
    assert!(ended.code == 1 && ended.stderr.contains("pipe_0000.nii.gz") && ended.stderr.contains("a pipe or a device"), "{ended:#?}");
    assert!(bench.predicted().join("good.nii.gz").is_file());

    let dataset = bench.raw.folder.display().to_string();
    let replace = |path: &Path| {
        fs::rename(path, path.with_extension("kept")).expect("there");
        pipe(path);
    };
    let restore = |path: &Path| fs::rename(path.with_extension("kept"), path).expect("there");
    let files: Vec<PathBuf> = vec![bench.raw.image(2), bench.raw.labels(2), bench.raw.folder.join("dataset.json")];
    for file in &files {
        replace(file);
        for command in [
            &["dataset", "check", "--dataset", &dataset][..],
            &["fingerprint", "--dataset", &dataset],
            &["plan-and-preprocess", "--dataset", &dataset],
        ] {
            let ended = bench.run(command);
            assert_eq!(ended.code, 1, "{file:?} {command:?}: {ended:#?}");
        }
        restore(file);
    }
    // Plans and fingerprint of a run before, a task of the Decathlon, the log of a fold.
    bench.run(&["plan", "--dataset", &dataset]).expect_success();
    for file in ["nnUNetPlans.json", "dataset_fingerprint.json", "splits_final.json"] {
        let path = bench.folder().join("preprocessed/Dataset001_Small").join(file);
        replace(&path);
        let _ = bench.run(&["plan-and-preprocess", "--dataset", &dataset, "--configuration", "2d"]);
        fs::remove_file(&path).expect("there");
        restore(&path);
    }
    let task = bench.folder().join("Task05_Pipe");
    for folder in ["imagesTr", "labelsTr"] {
        write_image(&task.join(folder).join("a.nii.gz"), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    let pair = "[{\"image\": \"imagesTr/a.nii.gz\", \"label\": \"labelsTr/a.nii.gz\"}]";
    let json = format!(
        "{{\"modality\": {{\"0\": \"CT\"}}, \"labels\": {{\"0\": \"background\", \"1\": \"a\"}}, \"training\": {pair}, \"test\": []}}"
    );
    fs::write(task.join("dataset.json"), json).expect("writable");
    replace(&task.join("labelsTr/a.nii.gz"));
    let input = task.display().to_string();
    assert_eq!(bench.run(&["dataset", "convert", "--from", "msd", "--input", &input, "--output", "converted"]).code, 1);
    bench.train_killed(&plugin("base"), &[], "train.step 1");
    fs::remove_file(bench.fold().join("log.txt")).expect("there");
    pipe(&bench.fold().join("log.txt"));
    bench.train(&plugin("base"), &["--resume"]).expect_failure(&["log.txt"]);

    // A header beside its voxels, a spacing beside a stack, a model's files.
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        replace(&model.join(file));
        assert_eq!(bench.predict(&model, &images, &[]).code, 1, "{file}");
        restore(&model.join(file));
    }
    let labels = Volume::filled([1, 4, 4, 4], 1_i16);
    let [mhd, tif] = ["a.mhd", "b.tif"].map(|name| bench.folder().join(name));
    for path in [&mhd, &tif] {
        write_labels(path, &labels, &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    for (path, beside) in [(mhd, "zraw"), (tif, "json")] {
        replace(&path.with_extension(beside));
        // What is no file is not looked at, or an error: either way there is an end.
        let _ = imaging::io::read_labels(&path);
        fs::remove_file(path.with_extension(beside)).expect("there");
    }
}
