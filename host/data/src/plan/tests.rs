//! Plans against those of nnU-Net's planners (`tests/golden/make_plans.py`), plans files of several ages, and nonsense.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;
use crate::dataset::{Description, Rules};
use crate::fingerprint::Fingerprint;
use crate::name::Name;

const HIPPOCAMPUS: &str = include_str!("../../../../tests/golden/hippocampus_plans.json");

fn golden() -> Plans {
    serde_json::from_str(HIPPOCAMPUS).expect("golden file")
}

fn hippocampus_fingerprint() -> Fingerprint {
    serde_json::from_str(include_str!("../../../../tests/golden/hippocampus_fingerprint.json")).expect("golden file")
}

fn description(json: Value) -> Description {
    Description::parse(Path::new("dataset.json"), json, Rules::Training).expect("valid")
}

fn hippocampus() -> Description {
    description(json!({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": 200, "file_ending": ".nii.gz"
    }))
}

/// Fails naming the first key that differs, in value, in type (whole numbers or not) or in order.
fn assert_same(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{at}: keys and order");
            found.iter().for_each(|(key, value)| assert_same(value, &expected[key], &format!("{at}: {key}")));
        }
        _ => assert_eq!(found.to_string(), expected.to_string(), "{at}"),
    }
}

#[test]
fn hippocampus_equals_nnunet() {
    let expected = serde_json::from_str(HIPPOCAMPUS).expect("golden file");
    let options = PlanOptions::default();
    let found = plan(&hippocampus_fingerprint(), &hippocampus(), &Name::known("Dataset004_Hippocampus"), Reader::SimpleItk, &options)
        .expect("planned");
    assert_same(&serde_json::to_value(found).expect("JSON"), &expected, "Hippocampus");
}

/// Puts values that the golden file has only once back to where they belong.
fn expand(value: &Value, shared: &[Value]) -> Value {
    match value {
        Value::Object(map) => match map.get("$").and_then(Value::as_u64) {
            Some(index) => expand(&shared[index as usize], shared),
            None => map.iter().map(|(key, value)| (key.clone(), expand(value, shared))).collect::<Map<_, _>>().into(),
        },
        Value::Array(values) => values.iter().map(|value| expand(value, shared)).collect(),
        other => other.clone(),
    }
}

/// `cases`: number of cases, spacing, shape.
fn fingerprint(channels: usize, relative_size: &Value, cases: &Value) -> Fingerprint {
    let (mut spacings, mut shapes) = (Vec::new(), Vec::new());
    for case in cases.as_array().expect("list") {
        for _ in 0..case[0].as_u64().expect("number") {
            spacings.push(&case[1]);
            shapes.push(&case[2]);
        }
    }
    let intensities = json!({
        "max": 3.0, "mean": 1.0, "median": 1.0, "min": 0.0, "percentile_00_5": 0.0, "percentile_99_5": 2.5, "std": 0.5
    });
    let intensities: Map<String, Value> = (0..channels).map(|channel| (channel.to_string(), intensities.clone())).collect();
    serde_json::from_value(json!({
        "foreground_intensity_properties_per_channel": intensities, "median_relative_size_after_cropping": relative_size,
        "shapes_after_crop": shapes, "spacings": spacings,
    }))
    .expect("golden file")
}

fn options(json: &Value) -> PlanOptions {
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    PlanOptions {
        planner: json["planner"].as_str().expect("class").parse().expect("known"),
        memory_gb: json["memory_gb"].as_f64(),
        plans_name: text("plans_name").map(Name::known),
        spacing: serde_json::from_value(json["spacing"].clone()).expect("spacing"),
    }
}

#[test]
fn made_up_data_sets_equal_nnunet() {
    let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/plans.json")).expect("golden file");
    let shared = golden["shared"].as_array().expect("list");
    let mut cascades = 0;
    for (name, case) in expand(&golden["datasets"], shared).as_object().expect("object") {
        let description = description(case["dataset"].clone());
        let fingerprint = fingerprint(description.channel_names.len(), &case["relative_size"], &case["cases"]);
        for run in case["runs"].as_array().expect("list") {
            let expected = &run["plans"];
            let dataset_name = expected["dataset_name"].as_str().expect("name");
            let at = format!("{name} {}", run["options"]);
            let reader = Reader::from_name(expected["image_reader_writer"].as_str().expect("name")).expect("nnU-Net's");
            let found = plan(&fingerprint, &description, &Name::known(dataset_name), reader, &options(&run["options"])).expect(&at);
            assert_same(&serde_json::to_value(found).expect("JSON"), expected, &at);
            cascades += usize::from(expected["configurations"].get("3d_cascade_fullres").is_some());
        }
    }
    assert!(cascades > 20, "{cascades}");
}

#[test]
fn planned_configurations_can_be_used() {
    let cases = json!([[26, [1.0, 0.8, 0.8], [500, 512, 512]]]);
    let fingerprint = fingerprint(1, &json!(1.0), &cases);
    for planner in PlannerKind::all() {
        let options = PlanOptions { planner, ..PlanOptions::default() };
        let plans = plan(&fingerprint, &hippocampus(), &Name::known("d"), Reader::SimpleItk, &options).expect("planned");
        assert_eq!(plans.configurations.keys().collect::<Vec<_>>(), ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]);
        let of = |name| plans.configuration(name).expect("usable");
        let (low, full, cascade) = (of("3d_lowres"), of("3d_fullres"), of("3d_cascade_fullres"));
        assert_eq!(low.next_stage, Some(NextStage::One("3d_cascade_fullres".to_owned())));
        assert_eq!(low.data_identifier.as_str(), format!("{}_3d_lowres", planner.plans_name()));
        assert_eq!(cascade.previous_stage.as_deref(), Some("3d_lowres"));
        assert_eq!((cascade.data_identifier, cascade.spacing), (full.data_identifier, full.spacing));
        assert_eq!(full.architecture.arch_kwargs.contains_key("n_conv_per_stage"), planner == PlannerKind::default());
        of("2d");
    }
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let labels: Map<String, Value> = (0..32000).map(|i| (if i == 0 { "background".into() } else { format!("l{i}") }, json!(i))).collect();
    let many = description(json!({"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 200, "file_ending": ".nii"}));
    let options = PlanOptions::default();
    assert!(
        plan(&hippocampus_fingerprint(), &many, &Name::known("d"), Reader::SimpleItk, &options)
            .is_ok_and(|plans| plans.configuration("3d_fullres").is_ok())
    );
    let refused = |cases: Value, options: &PlanOptions| {
        let fingerprint = fingerprint(1, &json!(1.0), &cases);
        plan(&fingerprint, &hippocampus(), &Name::known("d"), Reader::SimpleItk, options).expect_err("must be refused").to_string()
    };
    for (cases, part) in [
        (json!([]), "0 spacings and 0 shapes"),
        (json!([[1, [1.0, 0.0, 1.0], [4, 4, 4]]]), "spacing [1.0, 0.0, 1.0]"),
        (json!([[1, [1.0, -1.0, 1.0], [4, 4, 4]]]), "spacing [1.0, -1.0, 1.0]"),
        (json!([[1, [1.0, 1.0, 1.0], [4, 0, 4]]]), "shape [4, 0, 4]"),
        (json!([[1, [1e6, 1.0, 1.0], [50, 50, 50]]]), "no network can be planned at spacing [1000000.0, 1.0, 1.0]"),
        (json!([[1, [1e300, 1e300, 1e300], [50, 50, 50]]]), "no network can be planned"),
        (json!([[1, [1e-300, 1e-300, 1e-300], [50, 50, 50]]]), "no network can be planned"),
        (json!([[1, [5e-324, 1.0, 1.7e308], [50, 50, 50]]]), "no network can be planned"),
        (json!([[1, [1.0, 1.0, 1.0], [9_000_000_000u64, 50, 50]]]), "9e9 voxels along an axis"),
        (json!([[1, [1.0, 1.0, 1.0], [u64::MAX, u64::MAX, u64::MAX]]]), "voxels along an axis"),
        (json!([[1, [1e6, 1000.0, 0.001], [1, 100, 3_000_000]]]), "would need 19 stages, at most 14 are possible"),
    ] {
        let message = refused(cases.clone(), &options);
        assert!(message.contains(part), "{cases}: {message}");
    }
    let cases = || json!([[1, [1.0, 1.0, 1.0], [50, 50, 50]]]);
    let with = |memory_gb, spacing| PlanOptions { memory_gb, spacing, ..PlanOptions::default() };
    assert!(refused(cases(), &with(Some(1e-9), None)).contains("fits 0.000000001 GB"));
    assert!(refused(cases(), &with(None, Some([1.0, f64::NAN, 1.0]))).contains("target spacing"));
    assert!(refused(cases(), &with(None, Some([1e-200; 3]))).contains("voxels along an axis"));
}

#[test]
fn a_plans_file_of_nnunet_survives_reading_and_writing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("nnUNetPlans.json");
    std::fs::write(&path, HIPPOCAMPUS).expect("written");
    let plans = Plans::read(&path).expect("readable");
    assert!(matches!(plans.write(&path, false), Err(Error::NotOurs { .. })));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), HIPPOCAMPUS);
    plans.write(&path, true).expect("overwritten");
    let mut written: Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
    written.as_object_mut().expect("object").shift_remove("written_by").expect("marked as ours");
    let original: Value = serde_json::from_str(HIPPOCAMPUS).expect("JSON");
    assert_eq!(written.to_string(), original.to_string());
}

#[test]
fn custom_configurations_and_unknown_keys_are_kept() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("plans.json");
    let fresh = golden();
    let mut edited = fresh.clone();
    let custom =
        json!({"inherits_from": "3d_fullres", "batch_size": 4, "spacing": [2.0, 1.0, 1.0], "patch_size": [16, 64, 64], "mine": true});
    edited.configurations.insert(Name::known("3d_bs4"), custom.as_object().expect("object").clone());
    // Whether nnU-Net or this program wrote the file that the user added to.
    std::fs::write(&path, serde_json::to_string(&edited).expect("JSON")).expect("written");
    for overwrite in [true, false] {
        fresh.write(&path, overwrite).expect("replaced");
        let read = Plans::read(&path).expect("readable");
        assert_eq!(read.configurations.keys().collect::<Vec<_>>(), ["2d", "3d_fullres", "3d_bs4"]);
        let configuration = read.configuration("3d_bs4").expect("kept");
        assert_eq!((configuration.batch_size, &configuration.patch_size[..]), (4, &[16, 64, 64][..]));
        assert_eq!(configuration.spacing, [2.0, 1.0, 1.0]);
        assert_eq!(configuration.extra["mine"], json!(true));
    }
    // What was planned before and is not any more goes; what was edited stays unless asked for.
    let mut flat = fresh.clone();
    flat.configurations.shift_remove("3d_fullres");
    flat.write(&path, false).expect("replaced");
    let mut read = Plans::read(&path).expect("readable");
    assert_eq!(read.configurations.keys().collect::<Vec<_>>(), ["2d", "3d_bs4"]);
    read.configurations["2d"].insert("batch_size".to_owned(), json!(1));
    std::fs::write(&path, serde_json::to_string(&read).expect("JSON")).expect("written");
    assert!(matches!(fresh.write(&path, false), Err(Error::NotOurs { .. })));
    // What would be lost is not replaced even when asked for.
    std::fs::write(&path, "{\"configurations\": ").expect("written");
    let message = fresh.write(&path, true).expect_err("unreadable").to_string();
    assert!(message.contains("or remove it and plan anew"), "{message}");
}

#[test]
fn plans_of_nnunet_2_0_are_converted() {
    let mut old: Value = serde_json::from_str(HIPPOCAMPUS).expect("golden file");
    let root = old.as_object_mut().expect("object");
    root.remove("label_manager");
    let intensities = root.remove("foreground_intensity_properties_per_channel").expect("there");
    root.insert("foreground_intensity_properties_by_modality".to_owned(), intensities);
    let expected = golden().configuration("3d_fullres").expect("planned");
    for (name, max) in [("2d", 512), ("3d_fullres", 320)] {
        let configuration = old["configurations"][name].as_object_mut().expect("object");
        let kwargs = configuration.remove("architecture").expect("there")["arch_kwargs"].clone();
        let dims = configuration["patch_size"].as_array().expect("list").len();
        configuration.extend(
            json!({
                "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32, "unet_max_num_features": max,
                "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"], "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
                "num_pool_per_axis": vec![3; dims], "pool_op_kernel_sizes": kwargs["strides"], "conv_kernel_sizes": kwargs["kernel_sizes"],
            })
            .as_object()
            .expect("object")
            .clone(),
        );
    }
    old["configurations"]["residual"] = json!({"inherits_from": "3d_fullres", "UNet_class_name": "ResidualEncoderUNet"});
    old["configurations"]["unknown"] = json!({"inherits_from": "3d_fullres", "UNet_class_name": "UNETR"});
    let plans: Plans = serde_json::from_value(old).expect("readable");
    assert_eq!(plans.label_manager, "LabelManager");
    assert_eq!(plans.configuration("3d_fullres").expect("converted"), expected);
    assert_eq!(plans.configuration("2d").expect("converted"), golden().configuration("2d").expect("planned"));
    let residual = plans.configuration("residual").expect("converted").architecture;
    assert_eq!(residual.network_class_name, "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet");
    assert_eq!(residual.arch_kwargs["n_blocks_per_stage"], expected.architecture.arch_kwargs["n_conv_per_stage"]);
    assert!(plans.configuration("unknown").expect_err("unknown").to_string().contains("UNETR"));
}

#[test]
fn resampling_has_nnunets_choices_and_defaults() {
    let mut plans = golden();
    let mut usable = |key: &str, kwargs: Value| {
        let own = json!({"inherits_from": "3d_fullres", key: kwargs});
        plans.configurations.insert(Name::known("own"), own.as_object().expect("object").clone());
        plans.configuration("own").map_err(|error| error.to_string())
    };
    let data = usable("resampling_fn_data_kwargs", json!({})).expect("defaults").resampling_fn_data_kwargs;
    assert_eq!((data.is_seg, data.order, data.order_z, data.force_separate_z), (false, 3, 0, Some(false)));
    for order in [0, 1, 3] {
        for separate in [json!(null), json!(true), json!(false)] {
            for key in ["resampling_fn_data_kwargs", "resampling_fn_probabilities_kwargs"] {
                usable(key, json!({"is_seg": false, "order": order, "order_z": order, "force_separate_z": separate})).expect("available");
            }
        }
    }
    usable("resampling_fn_seg_kwargs", json!({"is_seg": true, "order": 0, "order_z": 1, "force_separate_z": true})).expect("available");
    for (key, kwargs) in [
        ("resampling_fn_seg_kwargs", json!({"is_seg": true, "order": 3})),
        ("resampling_fn_seg_kwargs", json!({"is_seg": false, "order": 1})),
        ("resampling_fn_data_kwargs", json!({"order": 2})),
        ("resampling_fn_data_kwargs", json!({"order": 3, "order_z": 5})),
        ("resampling_fn_data_kwargs", json!({"is_seg": true})),
        ("resampling_fn_data_kwargs", json!({"separate_z_anisotropy_threshold": -2})),
        ("resampling_fn_data_kwargs", json!({"memefficient_seg_resampling": true})),
    ] {
        let message = usable(key, kwargs.clone()).expect_err("must be refused");
        assert!(message.contains(key) && message.contains("this version does not have"), "{kwargs}: {message}");
    }
}

#[test]
fn broken_configurations_are_refused() {
    let mut plans = golden();
    let mut add = |name: &str, value: Value| {
        plans.configurations.insert(Name::known(name), value.as_object().expect("object").clone());
    };
    let child = |key: &str, value: Value| json!({"inherits_from": "3d_fullres", key: value});
    add("a", json!({"inherits_from": "b"}));
    add("b", json!({"inherits_from": "a"}));
    add("itself", json!({"inherits_from": "itself"}));
    add("orphan", json!({"inherits_from": "3d_fulres"}));
    add("number", json!({"inherits_from": 3}));
    add("empty", json!({}));
    add("function", child("resampling_fn_data", json!("resample_mine")));
    add("never", child("resampling_fn_data", json!("no_resampling_hack")));
    add("preprocessor", child("preprocessor_name", json!("MyPreprocessor")));
    add("order", child("patch_size", json!([40, 56])));
    add("odd", child("patch_size", json!([40, 56, 44])));
    add("vast", child("patch_size", json!([8_000_000_000u64, 8_000_000_000u64, 8_000_000_000u64])));
    add("stages", child("next_stage", json!(["3d_cascade_fullres", 1])));
    let mut deep = serde_json::to_value(golden().configuration("3d_fullres").expect("planned").architecture).expect("JSON");
    deep["arch_kwargs"]["strides"][1] = json!([u64::MAX, 2, 2]);
    add("strides", json!({"inherits_from": "3d_fullres", "architecture": deep, "patch_size": [8, 8, 8]}));
    for i in 0..100_000 {
        add(&format!("chain{i}"), json!({"inherits_from": format!("chain{}", i + 1)}));
    }
    for (name, part) in [
        ("3d_fulres", "did you mean \"3d_fullres\"?"),
        ("a", "a → b → a"),
        ("itself", "itself → itself"),
        ("orphan", "configuration \"3d_fulres\" is not in plans"),
        ("number", "inherits_from is 3"),
        ("empty", "missing field"),
        ("function", "it has resample_data_or_seg_to_shape, resample_torch_fornnunet, no_resampling_hack"),
        ("never", "for images, labels and probabilities, or for none of them"),
        ("preprocessor", "MyPreprocessor"),
        ("order", "patch_size"),
        ("odd", "nearest: 40×56×40, 40×56×48"),
        ("vast", "has more than the 2147483647 voxels"),
        ("stages", "NextStage"),
        ("strides", "does not fit the network"),
        ("chain0", "chain100000"),
    ] {
        let message = plans.configuration(name).expect_err("must be refused").to_string();
        assert!(message.contains(part), "{name}: {message}");
    }
}
