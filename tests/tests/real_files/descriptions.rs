//! `dataset.json`, plans and split files as nnU-Net takes them, and as editors save them.

use super::{change, expect_refused, expect_usable, on_dataset};
use serde_json::{Value, json};
use std::fs;
use tests::models;
use tests::program::Bench;

#[test]
fn a_description_may_be_written_in_many_ways() {
    let bench = Bench::new();
    for (key, value) in [
        ("labels", json!({"background": "0", "ball": "1", "box": " 2"})),
        ("labels", json!({"background": 0.0, "ball": 1.0, "box": [2.0]})),
        ("labels", json!({"background": 0, "ball": 1, "box": 2, "crate": 2})),
        ("labels", json!({"box": 2, "ignore": null, "background": 0, "ball": 1})),
        ("channel_names", json!({"0000": "MRI"})),
        ("channel_names", json!({"T2W": "MRI"})),
        ("numTraining", json!(6.0)),
    ] {
        bench.raw.describe(json!({key: value}));
        expect_usable(&bench);
    }
    for (key, value, words) in [
        ("labels", json!({"background": 0, "ball": 1.5, "box": 2}), "labels.ball is 1.5"),
        ("labels", json!({"background": 0, "ball": 1, "box": 3}), "consecutive label values"),
        ("labels", json!({"background": 0, "ball": 1, "box": 2, "ignore": 5}), "ignore to be 3"),
        ("labels", json!({"background": 0, "ball": "one", "box": 2}), "labels.ball is \"one\""),
        ("channel_names", json!({"0": 1}), "channel_names.0 is 1"),
        ("numTraining", json!("6"), "numTraining is \"6\""),
    ] {
        bench.raw.describe(json!({key: value}));
        expect_refused(&bench, &["dataset.json", words]);
    }
}

/// Predictions of a model whose `dataset.json` has `labels` and `further` keys, and what is said of it.
fn predicted(labels: Value, further: Value) -> (Vec<u8>, String) {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    change(&model.join("dataset.json"), |json| {
        json["labels"] = labels;
        for (key, value) in further.as_object().into_iter().flatten() {
            json[key] = value.clone();
        }
    });
    let ended = bench.predict(&model, &model.join("images/turned_0000.nii.gz"), &["--folds", "0", "--tta", "off"]).expect_success();
    (fs::read(bench.predicted().join("turned.nii.gz")).expect("predicted"), ended.stderr)
}

#[test]
fn a_trained_model_is_not_held_to_the_rules_for_new_data() {
    let (plain, said) = predicted(json!({"background": 0, "ball": 1, "box": 2}), json!({}));
    assert!(!said.contains("gap"), "{said}");
    for (labels, further) in [
        (json!({"background": "0", "ball": 1.0, "box": "2"}), json!({"channel_names": {"0000": "CT"}})),
        (json!({"ball": 1, "box": 2, "sphere": 1, "background": 0}), json!({"numTraining": null})),
        (json!({"background": 0, "ball": 1, "box": 2, "ignore": 3}), json!({"numTraining": "many"})),
    ] {
        // What prediction does not need may be anything.
        let (same, _) = predicted(labels.clone(), further.clone());
        assert!(same == plain, "{labels} {further}");
    }
    // As in nnU-Net, a voxel is the number of its channel.
    let (gap, said) = predicted(json!({"background": 0, "ball": 1, "box": 3}), json!({}));
    assert!(gap == plain && said.contains("with a gap"), "{said}");
}

#[test]
fn json_is_read_however_it_was_saved() {
    let bench = Bench::new();
    let path = bench.raw.folder.join("dataset.json");
    let text = fs::read_to_string(&path).expect("there");
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let with_nan = text.replacen('{', "{\"description\": NaN, \"reference\": [Infinity, -Infinity], \"NaN\": \"\\\"NaN\", ", 1);
    for saved in [format!("\u{feff}{text}").into_bytes(), utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes), with_nan.into_bytes()] {
        fs::write(&path, saved).expect("writable");
        expect_usable(&bench);
    }
    for (wrong, words) in [
        (text.replacen("\"numTraining\"", "\n\"numTraining\":,", 1), "line 2, column 15, numTraining: expected value"),
        (text.replacen("MRI", "M\u{0}I", 1), "channel_names"),
        (format!("{text}]"), "trailing characters"),
    ] {
        fs::write(&path, wrong).expect("writable");
        expect_refused(&bench, &["dataset.json", words]);
    }
    fs::write(&path, text.replace("MRI", "M\u{e4}I").chars().map(|c| c as u8).collect::<Vec<u8>>()).expect("writable");
    expect_refused(&bench, &["dataset.json", "is not UTF-8", "save it as UTF-8"]);
}

#[test]
fn plans_and_splits_are_read_as_descriptions_are() {
    let bench = Bench::new();
    on_dataset(&bench, &["plan"]).expect_success();
    let folder = bench.folder().join("preprocessed/Dataset001_Small");
    for name in ["nnUNetPlans.json", "splits_final.json", "dataset_fingerprint.json"] {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).expect("planned");
        fs::write(&path, format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).expect("writable");
    }
    // Of a channel that is not normalised by them, intensities may be no numbers.
    let path = folder.join("nnUNetPlans.json");
    on_dataset(&bench, &["preprocess"]).expect_success();
    let plans = fs::read(&path).expect("there");
    let text = String::from_utf16(&plans.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect::<Vec<u16>>()).expect("UTF-16");
    let mut json: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).expect("JSON");
    json["foreground_intensity_properties_per_channel"]["0"]["mean"] = json!("A MEAN");
    json["spacing_of_nobody"] = json!("A MEAN");
    fs::write(&path, json.to_string().replace("\"A MEAN\"", "NaN")).expect("writable");
    on_dataset(&bench, &["preprocess"]).expect_success();
    fs::write(&path, text.replacen("\"batch_size\": 2", "\"batch_size\": two", 1)).expect("writable");
    let refused = on_dataset(&bench, &["preprocess"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("configurations.3d_fullres.batch_size") && refused.stderr.contains("line "),
        "{refused:#?}"
    );
}
