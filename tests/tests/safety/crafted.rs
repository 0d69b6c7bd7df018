//! Models that were made to do harm: every absurd number is refused by its name, and nothing panics or aborts.

use imaging::io::{Geometry, write_image};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tests::case::image;
use tests::checkpoint::change_header;
use tests::models;
use tests::program::{Bench, Ended};

/// Numbers that overflow, or ask for more than there is.
const ABSURD: [u64; 5] = [0, 1 << 31, 1 << 40, 1 << 62, u64::MAX];

/// What a plain network of three stages in 3D may be asked for, as paths in its configuration.
const NUMBERS: [&str; 7] = [
    "/patch_size/0",
    "/batch_size",
    "/architecture/arch_kwargs/n_stages",
    "/architecture/arch_kwargs/features_per_stage/1",
    "/architecture/arch_kwargs/kernel_sizes/1/2",
    "/architecture/arch_kwargs/n_conv_per_stage/1",
    "/architecture/arch_kwargs/n_conv_per_stage_decoder/0",
];

fn predict(bench: &Bench, model: &Path) -> Ended {
    let images = bench.folder().join("images");
    if !images.exists() {
        fs::create_dir(&images).expect("writable");
        write_image(&images.join("a_0000.nii.gz"), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    bench.predict(model, &images, &["--tta", "on"])
}

/// The program said what is wrong, in one line that has `words`, and came to an end by itself.
fn expect_told(ended: &Ended, words: &[&str], what: &str) {
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(ended.code == 1 && !ended.stderr.contains("panicked"), "{what}: {ended:#?}");
    assert!(words.iter().all(|word| last.contains(word)), "{what}: no {words:?} in {last}");
}

/// The golden model as one of ours.
fn ours(bench: &Bench) -> (PathBuf, PathBuf) {
    let (source, model) = (models::folder().join("plain_3d"), bench.folder().join("ours"));
    let [source, output] = [&source, &model].map(|path| path.to_str().expect("UTF-8"));
    bench.run(&["model", "export", "--model", source, "--format", "safetensors", "--output", output]).expect_success();
    let checkpoint = model.join("fold_0/checkpoint_final.safetensors");
    (model, checkpoint)
}

#[test]
fn absurd_numbers_of_plans_are_refused() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let plans = model.join("plans.json");
    let original: Value = serde_json::from_slice(&fs::read(&plans).expect("there")).expect("JSON");
    for path in NUMBERS {
        for number in ABSURD {
            let mut changed = original.clone();
            *changed["configurations"]["3d_fullres"].pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = json!(number);
            fs::write(&plans, changed.to_string()).expect("writable");
            expect_told(&predict(&bench, &model), &[], &format!("{path} = {number}"));
        }
    }
    let network = json!({"architecture": {"arch_kwargs": {"kernel_sizes": [[3, 3, 3], [1_u64 << 62, 1_u64 << 62, 3], [3, 3, 3]]}}});
    let mut changed = original;
    let kernels = &network["architecture"]["arch_kwargs"]["kernel_sizes"];
    changed["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"] = kernels.clone();
    fs::write(&plans, changed.to_string()).expect("writable");
    expect_told(&predict(&bench, &model), &["kernel_sizes", "4611686018427387904", "at most 127"], "kernels");
}

#[test]
fn absurd_numbers_of_a_checkpoint_are_refused() {
    let bench = Bench::new();
    let (model, checkpoint) = ours(&bench);
    let original = fs::read(&checkpoint).expect("exported");
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        fs::write(&checkpoint, &original).expect("writable");
        change_header(&checkpoint, |header| change(&mut header["identity"]));
        expect_told(&predict(&bench, &model), words, &format!("{words:?}"));
    };
    refused(&|origin| origin["mirror"] = json!(vec![0; 32]), &["mirroring", "[0, 0, 0"]);
    refused(&|origin| origin["mirror"] = json!([0, 1, 2, 1]), &["mirroring", "[0, 1, 2, 1]"]);
    refused(&|origin| origin["mirror"] = json!([3]), &["mirroring", "[3]"]);
    refused(&|origin| origin["patch"] = json!([1_u64 << 63, 16, 16]), &["9223372036854775808"]);
    refused(&|origin| origin["patch"] = json!([1_u64 << 20, 1_u64 << 20, 1_u64 << 20]), &["1048576"]);
    refused(&|origin| origin["plan"]["batch_size"] = json!(1_u64 << 62), &["batch_size", "4611686018427387904"]);
    for path in NUMBERS {
        for number in ABSURD {
            // What prediction does not need is not looked at: a batch of one is always possible.
            refused(&|origin| *origin["plan"].pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = json!(number), &[]);
        }
    }
    fs::write(&checkpoint, &original).expect("writable");
    predict(&bench, &model).expect_success();
}

#[test]
fn tensors_without_numbers_are_no_crash() {
    let bench = Bench::new();
    let (model, checkpoint) = ours(&bench);
    let original = fs::read(&checkpoint).expect("exported");
    let (_, metadata) = SafeTensors::read_metadata(&original).expect("safetensors");
    let tensors = SafeTensors::deserialize(&original).expect("safetensors");
    let name = tensors.names().into_iter().next().expect("a tensor").to_owned();
    for (added, shape) in [
        ("more", vec![0]),
        ("plugin.more", vec![0]),
        ("plugin.more", vec![0, 3]),
        ("plugin.more", vec![4, 0, 2]),
        (&*name, vec![0]),
        (&*name, vec![0, 1 << 40]),
    ] {
        let empty = TensorView::new(Dtype::F32, shape.clone(), &[]).expect("no numbers");
        let kept = tensors.iter().filter(|(name, _)| *name != added);
        let all: Vec<(String, TensorView)> = kept.map(|(name, view)| (name.to_owned(), view)).chain([(added.to_owned(), empty)]).collect();
        fs::write(&checkpoint, serialize(all, metadata.metadata().clone()).expect("serialised")).expect("writable");
        // A training's other tensors are not looked at.
        match added {
            "more" => drop(predict(&bench, &model).expect_success()),
            _ => expect_told(&predict(&bench, &model), &[], &format!("{added} {shape:?}")),
        }
        // An export copies what is there.
        let (source, output) = (model.to_str().expect("UTF-8"), bench.folder().join("again"));
        let arguments = ["model", "export", "--model", source, "--format", "safetensors", "--output", output.to_str().expect("UTF-8")];
        let ended = bench.run(&arguments);
        assert!((0..=1).contains(&ended.code) && !ended.stderr.contains("panicked"), "{added} {shape:?}: {ended:#?}");
        let _ = fs::remove_dir_all(output);
    }
}
