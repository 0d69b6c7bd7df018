//! What the JSON targets do: the fuzzer's bytes are read as a user's file is, and used as far as that goes without images.
//!
//! Whatever the bytes are, there is a value or an error of one line. Panics, endless loops and memory beyond the fuzzer's limit are
//! findings.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use crate::scratch;
use data::dataset::{Dataset, Description, Rules, check};
use data::fingerprint::Fingerprint;
use data::name::Name;
use data::plan::{PlanOptions, PlannerKind, Plans, plan};
use imaging::io::{Reader, parse_json};

/// Reads `bytes` as JSON of any kind, in any way to save text.
pub fn any(bytes: &[u8]) {
    match parse_json::<serde_json::Value>(bytes) {
        Err(error) => one_line(&error),
        // What was read is read again.
        Ok(value) => assert_eq!(parse_json::<serde_json::Value>(value.to_string().as_bytes()).expect("JSON"), value),
    }
}

/// Reads `bytes` as a `dataset.json` without cases, and checks that data set.
pub fn dataset(bytes: &[u8]) {
    let folder = scratch("-dataset");
    fs::create_dir_all(folder.join("imagesTr")).expect("the folder can be written to");
    fs::write(folder.join("dataset.json"), bytes).expect("the folder can be written to");
    let opened = Dataset::open(&folder.display().to_string(), None);
    let report = check::check(&folder, 1, &|_| {});
    if let Err(error) = opened {
        one_line(&error);
        assert!(report.errors > 0, "the check finds nothing, but: {error}");
    }
    for finding in &report.findings {
        assert!(!finding.found.contains('\n') && !finding.remedy.contains('\n'), "{finding:?}");
    }
}

/// Reads `bytes` as plans and resolves every configuration.
pub fn plans(bytes: &[u8]) {
    let path = scratch(".json");
    fs::write(&path, bytes).expect("the folder can be written to");
    match Plans::read(&path) {
        Err(error) => one_line(&error),
        Ok(plans) => {
            for name in plans.configurations.keys() {
                match plans.configuration(name) {
                    Err(error) => one_line(&error),
                    Ok(configuration) => {
                        configuration.image_rule();
                        configuration.label_rule();
                        configuration.logit_rule();
                        assert!(configuration.spacing_zyx(1.0).iter().all(|spacing| *spacing > 0.0));
                    }
                }
            }
        }
    }
}

/// Reads `bytes` as a fingerprint and plans by it.
pub fn fingerprint(bytes: &[u8]) {
    let path = scratch(".json");
    fs::write(&path, bytes).expect("the folder can be written to");
    let fingerprint = match Fingerprint::read(&path) {
        Ok(fingerprint) => fingerprint,
        Err(error) => return one_line(&error),
    };
    let json = serde_json::json!({
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 2, "file_ending": ".nii"
    });
    let description = Description::parse(Path::new("dataset.json"), json, Rules::Training).expect("valid");
    for planner in ["default", "ResEncL"].map(|name| name.parse::<PlannerKind>().expect("known")) {
        let options = PlanOptions { planner, ..PlanOptions::default() };
        if let Err(error) = plan(&fingerprint, &description, &Name::known("Dataset001_Fuzz"), Reader::Nibabel, &options) {
            one_line(&error);
        }
    }
}

fn one_line(error: &dyn Display) {
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
}
