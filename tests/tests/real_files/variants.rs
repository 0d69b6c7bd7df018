//! nnU-Net's readers and resampling in prediction, beside nnU-Net: `golden/make_variants.py`.

use super::change;
use imaging::io::read_labels;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use tests::models;
use tests::program::Bench;

/// What is changed in the plans of the model `plain_3d`.
#[derive(Deserialize)]
struct Variant {
    plans: Map<String, Value>,
    configurations: Map<String, Value>,
}

#[test]
fn every_variant_predicts_what_nnunet_does() {
    let golden = models::folder().join("variants");
    let variants: BTreeMap<String, Variant> =
        serde_json::from_str(&fs::read_to_string(golden.join("variants.json")).expect("there")).expect("as make_variants.py writes it");
    for (name, variant) in variants {
        let bench = Bench::new();
        let model = models::copy_to("plain_3d", bench.folder());
        change(&model.join("plans.json"), |json| {
            variant.plans.iter().for_each(|(key, value)| json[key] = value.clone());
            for (_, configuration) in json["configurations"].as_object_mut().expect("an object") {
                variant.configurations.iter().for_each(|(key, value)| configuration[key] = value.clone());
            }
        });
        let expected: Vec<_> = fs::read_dir(golden.join(&name)).expect("there").map(|file| file.expect("readable").path()).collect();
        assert!(expected.len() >= 2, "{name}");
        for path in expected {
            let case = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            let image = golden.join("images").join(case.replace(".nii.gz", "_0000.nii.gz"));
            bench.predict(&model, &image, &["--folds", "0", "--tta", "off", "--nnunet-exact"]).expect_success();
            let [found, nnunets] = [bench.predicted().join(case), path.clone()].map(|path| read_labels(&path).expect("a label map"));
            assert_eq!(found.volume.shape(), nnunets.volume.shape(), "{name} {case}");
            let differ = found.volume.data().iter().zip(nnunets.volume.data()).filter(|(a, b)| a != b).count();
            assert!(differ * 2000 <= found.volume.data().len(), "{name} {case}: {differ} of {} voxels", found.volume.data().len());
            // In the image's own frame, whichever that is.
            let source = geometry_of(&image);
            assert_eq!(found.geometry.differs_from(&source), None, "{name} {case}");
        }
    }
}

fn geometry_of(path: &std::path::Path) -> imaging::io::Geometry {
    imaging::io::read_image(path).expect("an image").geometry
}

#[test]
fn who_got_a_model_is_not_told_to_plan_or_to_correct_its_data_set() {
    let said = |spoil: &dyn Fn(&std::path::Path)| {
        let bench = Bench::new();
        let model = models::copy_to("plain_3d", bench.folder());
        spoil(&model);
        let ended = bench.predict(&model, &model.join("images/short_0000.nii.gz"), &[]);
        assert_eq!(ended.code, 1, "{ended:#?}");
        let advice = ["plan anew", "plan again", "take it away", "dataset.json's", "overwrite_image_reader_writer"];
        assert!(advice.iter().all(|advice| !ended.stderr.contains(advice)), "{ended:#?}");
        ended.stderr
    };
    let changed = |file: &'static str, change: &dyn Fn(&mut Value)| said(&|model| super::change(&model.join(file), change));
    for stderr in [
        said(&|model| fs::write(model.join("plans.json"), "{").expect("writable")),
        said(&|model| fs::write(model.join("dataset.json"), "{\"labels\": }").expect("writable")),
        changed("plans.json", &|plans| {
            for (_, configuration) in plans["configurations"].as_object_mut().expect("an object") {
                configuration.as_object_mut().expect("an object").remove("patch_size");
            }
        }),
        changed("plans.json", &|plans| plans["foreground_intensity_properties_per_channel"] = Value::Object(Map::new())),
    ] {
        assert!(stderr.contains("get it again, or ask whoever made it"), "{stderr}");
    }
    let two = said(&|model| {
        let image = imaging::io::read_image(&model.join("images/short_0000.nii.gz")).expect("there");
        let [_, z, y, x] = image.volume.shape();
        let twice = imaging::Volume::new([2, z, y, x], image.volume.data().repeat(2));
        imaging::io::write_image(&model.join("images/short_0000.nii.gz"), &twice, &image.geometry).expect("writable");
    });
    assert!(two.contains("found 2 channels, expected 1, which the model was trained on"), "{two}");
}
