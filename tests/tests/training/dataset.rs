//! Before the first training: `dataset check` and `dataset convert`, and completions for the shell that all of it is typed into.

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::artifact;
use tests::program::{self, Bench, Ended};

/// What `dataset check` says, as JSON and as a table; both ways it ends with the same exit code.
fn check(bench: &Bench, dataset: &str) -> (Value, Ended) {
    let check = ["dataset", "check", "--dataset", dataset];
    let (json, table) = (bench.run(&[&check[..], &["--json"]].concat()), bench.run(&check));
    assert_eq!(json.code, table.code);
    assert_eq!(json.stderr, table.stderr);
    (serde_json::from_str(&json.stdout).unwrap_or_else(|e| panic!("{e}: {json:#?}")), table)
}

#[test]
fn a_data_set_is_checked_for_people_and_for_programs() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.display().to_string();
    let (report, table) = check(&bench, &dataset);
    assert_eq!(report, json!({"folder": dataset, "cases": 6, "errors": 0, "warnings": 0, "findings": []}));
    let table = table.expect_success();
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), (&*format!("{dataset}: 0 errors, 0 warnings in 6 cases\n"), ""));

    // What one may not have meant is told, and is no failure.
    fs::copy(bench.raw.labels(0), bench.raw.labels(99)).expect("writable");
    let (report, table) = check(&bench, &dataset);
    assert_eq!((&report["errors"], &report["warnings"], &report["findings"][0]["severity"]), (&json!(0), &json!(1), &json!("warning")));
    let table = table.expect_success().stdout;
    assert!(table.contains("labelsTr/case_099.nii") && table.ends_with("0 errors, 1 warning in 6 cases\n"), "{table}");

    bench.raw.relabel(2, |mut labels| {
        labels.data_mut()[0] = 7;
        labels
    });
    let whole = fs::read(bench.raw.image(3)).expect("just written");
    fs::write(bench.raw.image(3), &whole[..whole.len() / 2]).expect("writable");
    fs::remove_file(bench.raw.labels(4)).expect("ours");
    let (report, table) = check(&bench, &dataset);
    table.expect_refusal(&[&format!("{dataset}: 3 errors, 1 warning in 6 cases")]);
    let findings = report["findings"].as_array().expect("a list");
    let told: Vec<[&str; 3]> =
        findings.iter().map(|finding| ["severity", "path", "found"].map(|key| finding[key].as_str().expect("a text"))).collect();
    let expected = [
        ["error", "imagesTr/case_003_0000.nii", "bytes"],
        ["error", "labelsTr/case_002.nii", "7 (1 voxel)"],
        ["error", "labelsTr/case_004.nii", "not found"],
        ["warning", "labelsTr/case_099.nii", "belongs to no image"],
    ];
    assert_eq!(told.len(), expected.len(), "{report:#}");
    for ([severity, path, found], words) in told.into_iter().zip(expected) {
        assert!((severity, path) == (words[0], words[1]) && found.contains(words[2]), "no {words:?} in {report:#}");
    }
    // A line below the heading for each of them.
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), findings.len() + 1, "{}", table.stdout);
    for (line, finding) in lines[1..].iter().zip(findings) {
        let texts = ["severity", "path", "found", "remedy"].map(|key| finding[key].as_str().expect("a text"));
        assert!(texts.iter().all(|text| !text.is_empty() && line.contains(text)), "no {texts:?} in {line}");
    }

    bench.run(&["dataset", "check", "--dataset", "nowhere", "--json"]).expect_refusal(&["nowhere"]);
}

/// Writes a task of the Decathlon with two channels, six training cases and a test case.
fn write_task(folder: &Path) {
    const SHAPE: [usize; 3] = [8, 10, 12];
    let geometry = Geometry::with_spacing([2.0, 1.0, 1.0]);
    let [depth, height, width] = SHAPE;
    let voxels: usize = SHAPE.iter().product();
    let mut training = Vec::new();
    for case in 0..7 {
        let part = if case < 6 { "Tr" } else { "Ts" };
        let image = (0..2 * voxels).map(|voxel| ((voxel * (case + 3)) % 97) as f32).collect();
        let path = folder.join(format!("images{part}/organs_{case}.nii.gz"));
        write_image(&path, &Volume::new([2, depth, height, width], image), &geometry).expect("writable");
        if case < 6 {
            let labels = (0..voxels).map(|voxel| i16::from(voxel / 7 % 5 == 0)).collect();
            let path = folder.join(format!("labelsTr/organs_{case}.nii.gz"));
            write_labels(&path, &Volume::new([1, depth, height, width], labels), &geometry).expect("writable");
            training
                .push(json!({"image": format!("./imagesTr/organs_{case}.nii.gz"), "label": format!("./labelsTr/organs_{case}.nii.gz")}));
        }
    }
    let description = json!({
        "name": "Organs", "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "organ"},
        "numTraining": 6, "numTest": 1, "training": training, "test": ["./imagesTs/organs_6.nii.gz"]
    });
    fs::write(folder.join("dataset.json"), description.to_string()).expect("writable");
}

#[test]
fn a_task_of_the_decathlon_becomes_a_data_set_without_faults() {
    let bench = Bench::new();
    let task = bench.folder().join("Task07_Organs");
    write_task(&task);
    let convert = ["dataset", "convert", "--from", "msd", "--input", "Task07_Organs"];
    bench.run(&convert).expect_refusal(&["--output", "nnUNet_raw"]);
    let converted = bench.run(&[&convert[..], &["--output", "converted"]].concat()).expect_success().stdout;
    assert_eq!(converted, "converted/Dataset007_Organs: 6 training and 1 test cases\n");
    let (report, _) = check(&bench, "converted/Dataset007_Organs");
    assert_eq!((&report["cases"], &report["findings"]), (&json!(6), &json!([])), "{report:#}");

    // By nnU-Net's variable, beside the bench's own data set, and then by its number.
    let raw = |arguments: &[&str]| {
        let mut host = program::host(bench.folder());
        host.env("nnUNet_raw", bench.folder().join("raw")).current_dir(bench.folder()).args(arguments);
        Ended::of(host)
    };
    raw(&convert).expect_success();
    let place = bench.folder().join("raw/Dataset007_Organs");
    assert!(place.join("imagesTr/organs_0_0001.nii.gz").is_file() && place.join("imagesTs/organs_6_0000.nii.gz").is_file());
    raw(&["dataset", "check", "--dataset", "7"]).expect_success();

    let marker = place.join("labelsTr/organs_0.nii.gz");
    fs::write(&marker, "changed since").expect("ours");
    raw(&convert).expect_refusal(&["Dataset007_Organs", "is there already", "--id"]);
    assert_eq!(fs::read(&marker).expect("still there"), b"changed since", "it was replaced");
    raw(&[&convert[..], &["--id", "8"]].concat()).expect_success();
    assert!(bench.folder().join("raw/Dataset008_Organs/dataset.json").is_file());
}

#[test]
fn every_shell_can_complete_what_is_typed() {
    let home = artifact::folder();
    let completions = |shell: &str| {
        let mut host = program::host(home.path());
        host.args(["completions", shell]);
        Ended::of(host)
    };
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = completions(shell).expect_success().stdout;
        for word in ["plan-and-preprocess", "validate-only", "heads-rate"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(completions("csh").code, 2, "a shell that there is no script for");

    let script = home.path().join("host.bash");
    fs::write(&script, completions("bash").stdout).expect("writable");
    // As bash does when somebody has typed `host run --valid` and presses Tab.
    let typed = "set -e; source \"$1\"; COMP_WORDS=(host run --valid); COMP_CWORD=2; _host host --valid run; echo \"${COMPREPLY[@]}\"";
    for arguments in [&["-n"][..], &["-c", typed, "bash"]] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile"]).args(arguments).arg(&script).env_remove("BASH_ENV");
        let ended = Ended::of(bash).expect_success();
        assert_eq!(ended.stderr, "");
        assert_eq!(ended.stdout, if arguments[0] == "-n" { "" } else { "--validate-only\n" });
    }
}

#[test]
fn a_reader_that_has_seen_enough_of_the_completions_is_no_fault() {
    let home = artifact::folder();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut host = program::host(home.path());
    host.args(["completions", "bash"]).stdout(writer).stderr(Stdio::piped());
    let output = host.spawn().expect("it starts").wait_with_output().expect("ours");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
