//! What `host predict` makes of bad input: a bad case is told and the rest predicted; a bad model is refused in one line.

use data::dataset::splits::Fold;
use data::scratch::Folders;
use flate2::Compression;
use flate2::write::GzEncoder;
use host::artifact::{ExportFormat, ModelFolder, write_model};
use host::artifact::{read_weights, write_weights};
use imaging::Volume;
use imaging::io::{Geometry, write_image};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact;
use tests::models::{copy_to, folder};
use tests::program::Bench;

fn noise(shape: [usize; 4]) -> Volume<f32> {
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 255) as f32 + 1.0;
    Volume::new(shape, (0..shape.iter().product()).map(value).collect())
}

#[test]
fn bad_cases_are_told_and_the_others_predicted() {
    let bench = Bench::new();
    let model = copy_to("regions_3d", bench.folder());
    let images = model.join("images");
    let write = |name: &str, image: &Volume<f32>, spacing: [f64; 3]| {
        write_image(&images.join(format!("{name}.nii.gz")), image, &Geometry::with_spacing(spacing)).expect("writable");
    };
    let pair = |case: &str, images: [&Volume<f32>; 2], spacings: [[f64; 3]; 2]| {
        (0..2).for_each(|channel| write(&format!("{case}_{channel:04}"), images[channel], spacings[channel]));
    };
    let (small, other) = (noise([1, 12, 12, 12]), noise([1, 12, 12, 13]));
    let mut nan = small.clone();
    nan.data_mut()[7] = f32::NAN;
    write("lone_0000", &small, [1.0; 3]);
    pair("sizes", [&small, &other], [[1.0; 3]; 2]);
    pair("spacings", [&small, &small], [[1.0; 3], [1.0, 1.0, 1.5]]);
    pair("huge", [&small, &small], [[900.0; 3]; 2]);
    pair("nan", [&small, &nan], [[1.0; 3]; 2]);
    pair("fine", [&small, &small], [[1.0; 3]; 2]);
    pair("cut", [&small, &small], [[1.0; 3]; 2]);
    let cut = fs::read(images.join("cut_0001.nii.gz")).expect("there");
    fs::write(images.join("cut_0001.nii.gz"), &cut[..cut.len() / 2]).expect("writable");
    // Smaller than a patch along every axis.
    let tiny = noise([1, 3, 3, 3]);
    pair("tiny", [&tiny, &tiny], [[1.0; 3]; 2]);

    let ended = bench.predict(&model, &images, &[]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    for words in [
        &["lone: ", "found 1 channels, expected 2"][..],
        &["sizes: ", "sizes_0001.nii.gz", "[12, 12, 13]"],
        &["spacings: ", "spacings_0001.nii.gz", "1.5"],
        &["huge: ", "900", "spacing"],
        &["nan: ", "nan_0001.nii.gz", "NaN"],
        &["cut: ", "cut_0001.nii.gz"],
        &["6 of 10 cases could not be predicted"],
    ] {
        let line = ended.stderr.lines().find(|line| words.iter().all(|word| line.contains(word)));
        println!("{}", line.unwrap_or_else(|| panic!("no line with {words:?}: {ended:#?}")));
    }
    for (case, predicted) in
        [("fine", true), ("tiny", true), ("tiles", true), ("small", true), ("nan", false), ("cut", false), ("lone", false)]
    {
        assert_eq!(bench.predicted().join(format!("{case}.nii.gz")).is_file(), predicted, "{case}");
    }
    assert_eq!(bench.half_written(), Vec::<PathBuf>::new());
}

#[test]
fn a_2d_image_is_none_for_a_model_of_volumes() {
    let bench = Bench::new();
    let model = copy_to("plain_3d", bench.folder());
    let (images, plain) = (bench.folder().join("flat"), bench.folder().join("flat.nii"));
    write_image(&plain, &noise([1, 1, 20, 20]), &Geometry::with_spacing([1.0; 3])).expect("writable");
    let mut bytes = fs::read(&plain).expect("there");
    // Number of axes, in the header.
    bytes[40] = 2;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).expect("in memory");
    fs::create_dir(&images).expect("writable");
    fs::write(images.join("flat_0000.nii.gz"), gzip.finish().expect("in memory")).expect("writable");
    let ended = bench.predict(&model, &images, &[]);
    assert!(ended.code == 1 && ended.stderr.contains("flat: ") && ended.stderr.contains("has two dimensions"), "{ended:#?}");
}

#[test]
fn a_full_disk_leaves_no_half_of_a_file() {
    let bench = Bench::new();
    let model = copy_to("plain_3d", bench.folder());
    let mut shell = Command::new("bash");
    let command = bench.prediction(&model, &model.join("images"), &["--save-probabilities"]);
    shell.args(["-c", "ulimit -S -f 24; exec \"$@\"", "bash"]).arg(command.get_program()).args(command.get_args());
    let ended = bench.finish(shell);
    assert!(ended.code == 1 && ended.stderr.contains(".npz"), "{ended:#?}");
    assert_eq!(bench.half_written(), Vec::<PathBuf>::new());
    assert!(!bench.predicted().join("tiles.nii.gz").exists(), "what says that a case is complete is written last");
    // Once there is room, the rest is done.
    let ended = bench.predict(&model, &model.join("images"), &["--continue"]).expect_success();
    assert!(bench.predicted().join("tiles.nii.gz").is_file(), "{ended:#?}");
}

#[test]
fn models_that_are_none_are_refused() {
    let bench = Bench::new();
    let model = copy_to("plain_3d", bench.folder());
    let images = model.join("images");
    let refuse = |path: &Path, further: &[&str], words: &[&str]| bench.predict(path, &images, further).expect_refusal(words);
    refuse(bench.folder(), &[], &["has no plans.json", "a model folder has"]);
    refuse(&bench.folder().join("nowhere"), &[], &["is no folder"]);
    refuse(&model, &["--checkpoint", "best"], &["has no fold_0/checkpoint_best.safetensors or .pth"]);
    refuse(&model, &["--plugin", "bose"], &["no plugin 'bose'"]);
    refuse(&model, &["--step", "0"], &["--step is 0"]);
    refuse(&model, &["--tta", "0,3"], &["the model has 3 axes", "3 is none of them"]);
    bench.predict(&model, bench.folder(), &[]).expect_refusal(&["no file ends in .nii.gz"]);

    // A pickle that would run a program.
    let checkpoint = model.join("fold_0/checkpoint_final.pth");
    let good = fs::read(&checkpoint).expect("there");
    let hostile = artifact::root().join("tests/golden/pth/refused");
    for name in ["system.pth", "eval.pth", "getattr.pth"] {
        fs::copy(hostile.join(name), &checkpoint).expect("copied");
        refuse(&model, &[], &["checkpoint_final.pth", "its pickle asks for", "which could run anything"]);
    }
    // What system.pth would make, where it is read.
    assert!(!bench.folder().join("pth_was_here").exists(), "system.pth was run");
    fs::write(&checkpoint, &good[..good.len() / 2]).expect("writable");
    refuse(&model, &[], &["checkpoint_final.pth"]);
    fs::copy(folder().join("residual_3d/fold_0/checkpoint_final.pth"), &checkpoint).expect("copied");
    refuse(&model, &[], &["checkpoint_final.pth", "its plans and its plugin"]);
    assert!(!bench.predicted().exists(), "nothing is written for a model that is refused");
}

#[test]
fn names_in_a_model_do_not_lead_out_of_the_output() {
    let bench = Bench::new();
    let model = copy_to("regions_3d", bench.folder());
    let path = model.join("dataset.json");
    let description = fs::read_to_string(&path).expect("there");
    let mut json: serde_json::Value = serde_json::from_str(&description).expect("JSON");
    let labels = json["labels"].as_object_mut().expect("labels");
    let renamed =
        labels.iter().map(|(name, values)| (if name == "background" { name.clone() } else { format!("../{name}") }, values.clone()));
    *labels = renamed.collect();
    fs::write(&path, json.to_string()).expect("writable");
    bench.predict(&model, &model.join("images"), &["--separate-regions"]).expect_refusal(&["../", "not the name of a file in one folder"]);
}

#[test]
fn a_library_in_a_model_folder_is_never_loaded() {
    let bench = Bench::new();
    let source = ModelFolder::open(&folder().join("plain_3d")).expect("a model");
    let checkpoints = source.checkpoints(&[Fold::Number(0)], "final").expect("there");
    let model = bench.folder().join("ours");
    write_model(&source, &checkpoints, ExportFormat::Safetensors, &Folders::new(|_| Ok(())), |_| Ok(model.clone())).expect("writable");
    let library = artifact::with_manifest(&artifact::plugin("base"), &model, |manifest| manifest.id = "evil".to_owned());
    let images = folder().join("plain_3d/images");
    let checkpoint = model.join("fold_0/checkpoint_final.safetensors");
    let mut saved = read_weights(&checkpoint, |_| ()).expect("there");
    let path = library.to_str().expect("UTF-8").to_owned();
    for (named, words) in [
        ("evil", &["no plugin 'evil'"][..]),
        ("./libevil.so", &["names the plugin \"./libevil.so\"", "expected an id"]),
        (&path, &["expected an id", "--plugin"]),
    ] {
        saved.origin.plugin = named.to_owned();
        write_weights(&checkpoint, &saved).expect("writable");
        bench.predict(&model, &images, &[]).expect_refusal(words);
    }
    bench.predict(&model, &images, &["--plugin", &path]).expect_success();
}

/// A ZIP file of `entries`: name, content, and whether it is a symbolic link.
fn zip(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut zip = ZipArchiveWriter::new(Cursor::new(Vec::new()));
    for (name, bytes, is_link) in entries {
        let name = rawzip::path::EntryPath::verbatim(name.as_bytes());
        let mode = if *is_link { 0o120_777 } else { 0o100_644 };
        let file = zip.new_file(name).compression_method(CompressionMethod::DEFLATE).unix_permissions(mode);
        let (mut entry, config) = file.start().expect("in memory");
        let mut writer = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, Compression::best()));
        writer.write_all(bytes).expect("in memory");
        let (encoder, descriptor) = writer.finish().expect("in memory");
        encoder.finish().expect("in memory");
        entry.finish(descriptor).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

#[test]
fn models_in_zip_files_are_taken_unless_they_mean_harm() {
    let bench = Bench::new();
    let source = folder().join("plain_3d");
    let file = |name: &str| fs::read(source.join(name)).expect("there");
    let (plans, dataset, checkpoint) = (file("plans.json"), file("dataset.json"), file("fold_0/checkpoint_final.pth"));
    let top = "Dataset1_A/nnUNetTrainer__nnUNetPlans__3d_fullres";
    let names =
        ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_0/validation/a.nii.gz"].map(|name| format!("{top}/{name}"));
    let good: Vec<(&str, &[u8], bool)> =
        names.iter().zip([&plans[..], &dataset, &checkpoint, b"x"]).map(|(name, bytes)| (&**name, bytes, false)).collect();
    let path = bench.folder().join("model.zip");
    let images = source.join("images");
    let with = |more: &[(&str, &[u8], bool)]| fs::write(&path, zip(&[&good[..], more].concat())).expect("writable");

    with(&[]);
    bench.predict(&path, &images, &[]).expect_success();
    let import = ["model", "import", path.to_str().expect("UTF-8"), "--output", "imported"];
    bench.run(&import).expect_success();
    assert!(bench.folder().join("imported").read_dir().is_ok_and(|mut models| models.next().is_some()));

    let bomb = vec![b' '; 40 << 20];
    let twin = format!("{top}/plans.json");
    let second = format!("{top}_2/plans.json");
    for (more, word) in [
        (("../../evil/plans.json", &plans[..], false), "leads out of the folder"),
        (("/etc/plans.json", &plans, false), "leads out of the folder"),
        (("a/..\\..\\plans.json", &plans, false), "leads out of the folder"),
        (("a/plans.json", b"/etc/passwd", true), "is a link"),
        (("a/plans.json", &bomb, false), "times as large"),
        ((&twin, &plans, false), "is there twice"),
        ((&second, &plans, false), "several models"),
    ] {
        with(&[more]);
        bench.predict(&path, &images, &[]).expect_refusal(&["model.zip", word]);
    }
    fs::write(&path, b"no archive").expect("writable");
    bench.predict(&path, &images, &[]).expect_refusal(&["model.zip", "is no ZIP file"]);
    assert!(!bench.folder().join("evil").exists() && !bench.folder().parent().expect("a folder").join("evil").exists());
}
