//! What says who a patient is stays where it is: nothing of it comes out in predictions, exported models or temporary folders.

use flate2::read::GzDecoder;
use imaging::io::{Geometry, read_image, write_image};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use serde_json::{Value, json};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::case::image;
use tests::models;
use tests::program::Bench;

/// What must not come out.
const SECRETS: [&str; 6] = ["MUELLER^HANS", "1957-03-04", "/data/ward7", "patient_4711", "Klinikum Nord", "secretlist"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON")
}

/// Every file below `folder`, decompressed where it is compressed.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
            continue;
        }
        let bytes = fs::read(&path).expect("readable");
        let mut unpacked = Vec::new();
        let is_gzip = GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).is_ok();
        found.push((path, if is_gzip { unpacked } else { bytes }));
    }
    found
}

fn expect_silent(folder: &Path) {
    for (path, content) in contents(folder) {
        let text = String::from_utf8_lossy(&content);
        let told = SECRETS.iter().find(|secret| text.contains(**secret));
        assert!(told.is_none(), "{} holds {told:?}", path.display());
    }
}

/// A `dataset.json` that says more than it has to.
fn talkative(model: &Path) {
    let path = model.join("dataset.json");
    let mut description = json(&path);
    for (key, value) in [
        ("name", json!("MUELLER^HANS")),
        ("description", json!("born 1957-03-04")),
        ("reference", json!("Klinikum Nord")),
        ("dataset", json!({"patient_4711": {"images": ["/data/ward7/a.nii.gz"], "label": "/data/ward7/b.nii.gz"}})),
        ("training", json!([{"image": "./imagesTr/patient_4711.nii.gz"}])),
        ("somebodys_key", json!(["Klinikum Nord"])),
        (
            "targets",
            json!({"size": {"kind": "class", "file": "secretlist.json", "classes": ["small", "large"], "optional": true},
                           "depth": {"kind": "regression", "folder": "secretlist", "channels": 1, "optional": true}}),
        ),
    ] {
        description[key] = value;
    }
    fs::write(path, description.to_string()).expect("writable");
}

#[test]
fn predictions_and_exported_models_name_nobody() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    talkative(&model);
    for (format, output) in [("nnunet", "exported"), ("safetensors", "weights")] {
        let output = bench.folder().join(output);
        let arguments = ["model", "export", "--model", model.to_str().expect("UTF-8"), "--format", format, "--output"];
        bench.run(&[&arguments[..], &[output.to_str().expect("UTF-8")]].concat()).expect_success();
        expect_silent(&output);
        // What prediction, evaluation and nnU-Net's own programs read is there.
        let (kept, before) = (json(&output.join("dataset.json")), json(&model.join("dataset.json")));
        for key in ["channel_names", "labels", "file_ending"] {
            assert_eq!(kept[key], before[key], "{key}");
        }
        assert_eq!(
            kept["targets"],
            json!({"size": {"kind": "class", "classes": ["small", "large"], "optional": true},
                                           "depth": {"kind": "regression", "channels": 1, "optional": true}})
        );
    }
    let imported = bench.folder().join("imported");
    let arguments = ["model", "import", model.to_str().expect("UTF-8"), "--output", imported.to_str().expect("UTF-8")];
    bench.run(&arguments).expect_success();
    expect_silent(&imported);

    bench.predict(&model, &model.join("images"), &[]).expect_success();
    expect_silent(&bench.predicted());
    // The exported model is a model.
    let exported = bench.folder().join("exported");
    bench.predict(&exported, &model.join("images"), &[]).expect_success();
}

#[test]
fn of_a_nifti_header_geometry_alone_comes_out() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("headers");
    fs::create_dir(&images).expect("writable");
    let plain = images.join("plain.nii");
    write_image(&plain, &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    let plain = fs::read(plain).expect("there");
    let (header, voxels) = plain.split_at(352);
    // data_type, db_name, the extents and session error between, time step and beyond, slice and calibration fields, descrip, aux_file,
    // intent_name, the unit of time, and an extension after the header.
    let filled = |range: std::ops::Range<usize>, value: &[u8]| {
        let mut bytes = header.to_vec();
        for (at, byte) in range.zip(value.iter().cycle()) {
            bytes[at] = *byte;
        }
        bytes
    };
    let headers = [
        ("db_name", filled(4..14, b"MUELLER^HANS")),
        ("extents", filled(14..32, b"MUELLER^HANS")),
        ("session", filled(32..40, b"1957-03-04")),
        ("intent", filled(56..70, b"1957-03-04")),
        ("steps", filled(92..108, b"MUELLER^HANS")),
        ("calibration", filled(120..123, b"MUELLER^HANS")),
        ("units", filled(123..124, &[2 | 8])),
        ("times", filled(124..148, b"1957-03-04")),
        ("descrip", filled(148..228, b"Klinikum Nord")),
        ("aux_file", filled(228..252, b"/data/ward7")),
        ("intent_name", filled(328..344, b"patient_4711")),
    ];
    for (name, header) in headers {
        fs::write(images.join(format!("{name}.nii")), [&header[..], voxels].concat()).expect("writable");
    }
    let mut description = json(&model.join("dataset.json"));
    description["file_ending"] = json!(".nii");
    fs::write(model.join("dataset.json"), description.to_string()).expect("writable");
    let paths: Vec<PathBuf> = fs::read_dir(&images).expect("there").flatten().map(|entry| entry.path()).collect();
    let mut command = bench.prediction(&model, &paths[0], &[]);
    for path in &paths[1..] {
        command.arg("--input").arg(path);
    }
    bench.finish(command).expect_success();
    let predicted = |name: &str| fs::read(bench.predicted().join(name)).expect("predicted");
    let expected = &predicted("plain.nii")[..352];
    assert_eq!(paths.len(), 12);
    for path in &paths {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert_eq!(&predicted(name)[..352], expected, "{name}");
        let (source, written) = (read_image(path).expect("read"), read_image(&bench.predicted().join(name)).expect("read"));
        assert_eq!(written.geometry.differs_from(&source.geometry), None);
    }
}

fn zip(model: &Path, bench: &Bench) -> PathBuf {
    let mut archive = Cursor::new(Vec::new());
    let mut writer = ZipArchiveWriter::new(&mut archive);
    for name in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        let (mut entry, config) = writer.new_file(name).compression_method(CompressionMethod::STORE).start().expect("in memory");
        let mut file = config.wrap(&mut entry);
        file.write_all(&fs::read(model.join(name)).expect("there")).expect("in memory");
        let (_, descriptor) = file.finish().expect("in memory");
        entry.finish(descriptor).expect("in memory");
    }
    writer.finish().expect("in memory");
    let path = bench.folder().join("model.zip");
    fs::write(&path, archive.into_inner()).expect("writable");
    path
}

#[test]
fn an_unpacked_model_is_private_and_goes_with_the_program() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let (zip, temporary) = (zip(&model, &bench), bench.folder().join("temporary"));
    fs::create_dir(&temporary).expect("writable");
    let folders = || fs::read_dir(&temporary).expect("there").flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut command = bench.prediction(&zip, &model.join("images"), &[]);
        command.env("TMPDIR", &temporary);
        let ended = bench.finish_after(command, "model.unpacked 1", Some(signal), || {
            let [folder] = &folders()[..] else { panic!("one folder") };
            assert_eq!(fs::metadata(folder).expect("there").permissions().mode() & 0o777, 0o700);
        });
        // The program may have come to its end before the signal did.
        assert!(ended.code == -signal || ended.code == 0, "{ended:#?}");
        assert_eq!(folders(), [] as [PathBuf; 0]);
    }
    let mut command = bench.prediction(&zip, &model.join("images"), &[]);
    command.env("TMPDIR", &temporary);
    bench.finish(command).expect_success();
    assert_eq!(folders(), [] as [PathBuf; 0]);
}
