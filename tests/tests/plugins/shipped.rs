//! The plugins that teach one thing each: every one trains and leaves the files that it should, and does what it is there to show.

use host::model::Model;
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, IndexMap, Kind, Outputs, Phase, Step, Target, Term, Weight};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind as Dtype, Tensor};
use tests::artifact;
use tests::golden::Golden;
use tests::network::Network;
use tests::program::Bench;

const TINY: [&str; 6] = ["--configuration", "tiny", "--epochs", "3", "--iterations", "4"];

/// A small data set with distances to the border of the foreground, and a small network for it.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.raw.describe(json!({"targets": {"distance": {"kind": "derived", "from": "segmentation", "op": "signed_distance"}}}));
    bench.plan_tiny();
    bench
}

/// Trains the small network with `plugin`; what is logged of every term in every epoch.
fn train(bench: &Bench, plugin: &str, further: &[&str]) -> Vec<Value> {
    bench.train(&artifact::plugin(plugin), &[&TINY, further].concat()).expect_success();
    bench.records().iter().map(|record| record["train"].clone()).collect()
}

fn number(term: &Value, what: &str) -> f64 {
    term[what].as_f64().unwrap_or_else(|| panic!("no {what} in {term}"))
}

/// Files of the validation, by their names without those of cases.
fn validated(fold: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(fold.join("validation")).expect("validated").flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.map(|name| if name.starts_with("case_") { "case".to_owned() } else { name }).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_plugin_trains_slices_on_regions_without_options() {
    for (plugin, terms, files) in [
        ("boundary", &["segmentation", "boundary"][..], &["case", "summary.json"][..]),
        ("uncertainty", &["dice", "dice.log_variance", "cross_entropy", "cross_entropy.log_variance"], &["case", "summary.json"]),
        ("cldice", &["segmentation", "cldice"], &["case", "summary.json"]),
        ("dual-decoder", &["segmentation", "second"], &["case", "second", "summary.json"]),
        // An aux output has no folder.
        ("consistency", &["segmentation", "consistency"], &["case", "summary.json"]),
    ] {
        let bench = Bench::new();
        bench.raw.describe(json!({
            "labels": {"background": 0, "organs": [1, 2], "box": [2]},
            "regions_class_order": [1, 2],
            "targets": {"distance": {"kind": "derived", "from": "segmentation", "op": "signed_distance"}},
        }));
        bench.train(&artifact::plugin(plugin), &["--configuration", "2d", "--patch-size", "16,16"]).expect_success();
        let record = &bench.records()[0];
        let found: Vec<&String> = record["train"].as_object().expect("terms").keys().collect();
        assert_eq!(found, terms, "{plugin}");
        assert_eq!(validated(&bench.fold()), files, "{plugin}");
        assert!(bench.fold().join("checkpoint_final.safetensors").is_file());
    }
}

#[test]
fn the_boundary_loss_has_a_weight_that_rises_and_needs_its_target() {
    let bench = bench();
    let terms = train(&bench, "boundary", &["--set", "weight=0.5"]);
    let weights: Vec<f64> = terms.iter().map(|terms| number(&terms["boundary"], "weight")).collect();
    assert_eq!(weights, [0.0, 0.25, 0.5]);
    assert!(terms.iter().all(|terms| number(&terms["boundary"], "value") != 0.0), "{terms:?}");

    let bench = Bench::new();
    bench.train(&artifact::plugin("boundary"), &[]).expect_failure(&[
        "there is no target 'distance'",
        r#"add to "targets" in dataset.json: "distance": {"kind": "derived", "from": "segmentation", "op": "signed_distance"}"#,
    ]);
}

/// A network of three classes in 3D with four stages.
#[derive(Deserialize)]
struct Training {
    #[serde(flatten)]
    network: Network,
}

/// It with the heads and losses of `plugin`, for a data set that has distances.
fn model(plugin: &str, options: Value) -> Result<Model, String> {
    let Training { network } = Golden::read("training_3d").metadata("training");
    let targets = IndexMap::from([
        ("segmentation".to_owned(), Spec::new(Kind::Labels, network.num_classes)),
        ("distance".to_owned(), Spec::new(Kind::Regression, 1)),
    ]);
    network.model_of(plugin, &options, targets).map_err(|e| e.to_string())
}

/// What the plugin of `model` makes of such outputs for `segmentation`, whose levels have these weights.
fn terms(model: &mut Model, levels: &[Tensor], weights: &[f64], batch: &Batch) -> IndexMap<String, Term> {
    let mut outputs = Outputs::new();
    levels.iter().for_each(|level| outputs.push("segmentation", level.shallow_clone()));
    let deep_supervision_weights = weights.to_vec();
    let step = Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights };
    let terms = model.trainer.loss(&outputs, batch, &step).expect("has a loss");
    terms.into_iter().map(|term| (term.name.clone(), term)).collect()
}

fn batch(image: Tensor, targets: [(&str, Target); 2]) -> Batch {
    let cases = (0..image.size()[0]).map(|sample| format!("case {sample}")).collect();
    Batch { image, cases, targets: targets.into_iter().map(|(name, target)| (name.to_owned(), target)).collect() }
}

#[test]
fn the_boundary_loss_is_least_where_the_border_is() {
    let mut model = model("boundary", json!({})).expect("valid");
    // Foreground is where x < 4; the far half of the depth, where nothing is known, says the opposite.
    let options = (Dtype::Float, Device::Cpu);
    let shape = [1, 1, 8, 8, 8];
    let signed = (Tensor::arange(8, options) - 3.5).expand(shape, false).contiguous();
    let known = Tensor::ones(shape, (Dtype::Bool, Device::Cpu));
    let _ = (known.narrow(2, 4, 4).fill_(0), signed.narrow(2, 4, 4).neg_());
    let presence = Tensor::from_slice(&[true]);
    let labels = signed.less(0.0).to_kind(Dtype::Int64);
    let targets = [
        ("segmentation", Target { levels: vec![labels], valid: Vec::new(), presence: presence.shallow_clone() }),
        ("distance", Target { levels: vec![signed], valid: vec![known], presence }),
    ];
    let batch = batch(Tensor::zeros(shape, options), targets);

    // The border is predicted behind `width` voxels.
    let mut loss = |width: i64| {
        let logits = Tensor::zeros([1, 3, 8, 8, 8], options);
        let _ = logits.narrow(1, 2, 1).narrow(4, 0, width).fill_(30.0);
        let _ = logits.narrow(1, 0, 1).narrow(4, width, 8 - width).fill_(30.0);
        terms(&mut model, &[logits], &[1.0], &batch)["boundary"].value.double_value(&[])
    };
    let losses: Vec<f64> = (0..=8).map(&mut loss).collect();
    // Per voxel of a line of 8: the sum of the distances that are called foreground.
    let sum_to = |width: u32| (0..width).map(|x| f64::from(x) - 3.5).sum::<f64>();
    for (width, found) in losses.iter().enumerate() {
        let expected = sum_to(width as u32) / 8.0;
        assert!((found - expected).abs() < 1e-6, "border at {width}: {found} instead of {expected}");
    }
    let least = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map(|(width, _)| width);
    assert_eq!(least, Some(4));
}

#[test]
fn weights_learned_by_hand_are_those_that_multi_output_learns() {
    let (by_hand, by_option) = (bench(), bench());
    let ours = train(&by_hand, "uncertainty", &[]);
    let options = ["--set", r#"outputs.segmentation.loss=["dice","ce"]"#, "--set", "learned_weights=true"];
    let theirs = train(&by_option, "multi-output", &options);
    let renamed = |name: &str| name.replace("segmentation.dice", "dice").replace("segmentation.ce", "cross_entropy");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let theirs = theirs.as_object().expect("terms");
        assert_eq!(theirs.len(), 4);
        for (name, term) in theirs {
            for what in ["value", "weight", "weighted"] {
                let (found, expected) = (number(&ours[renamed(name)], what), number(term, what));
                assert!((found - expected).abs() < 1e-6, "{name}: {what} is {found} instead of {expected}");
            }
        }
    }
    let weight = |terms: &Value| number(&terms["cross_entropy"], "weight");
    assert!((weight(&ours[2]) - 1.0).abs() > 1e-3, "nothing was learned: {ours:?}");
    let theirs: BTreeMap<String, Vec<u8>> = by_option.final_tensors().into_iter().map(|(name, bytes)| (renamed(&name), bytes)).collect();
    assert!(by_hand.final_tensors() == theirs, "the networks differ");
}

#[test]
fn cldice_looks_at_the_finest_level_alone() {
    let golden = Golden::read("training_3d");
    let labels: Vec<Tensor> = golden.levels("target.0").iter().map(|level| level.to_kind(Dtype::Int64)).collect();
    let outputs: Vec<Tensor> = labels
        .iter()
        .map(|level| {
            let mut shape = level.size();
            shape[1] = 3;
            let numbers = Tensor::arange(shape.iter().product::<i64>(), (Dtype::Float, Device::Cpu));
            (numbers * 0.37).sin().view(shape.as_slice()) * 3.0
        })
        .collect();
    let target = |levels: &[Tensor]| {
        let presence = Tensor::from_slice(&[true; 2]);
        Target { levels: levels.iter().map(Tensor::shallow_clone).collect(), valid: Vec::new(), presence }
    };
    let distances: Vec<Tensor> = labels.iter().map(|level| level.to_kind(Dtype::Float)).collect();
    let batch = batch(golden.tensor("image.0"), [("segmentation", target(&labels)), ("distance", target(&distances))]);
    let value = |terms: &IndexMap<String, Term>, name: &str| terms[name].value.double_value(&[]);

    let levels = [0.5, 0.3, 0.2];
    let ours = terms(&mut model("cldice", json!({"share": 0.25, "iterations": 2})).expect("valid"), &outputs, &levels, &batch);
    let losses = json!(["dice_ce", {"name": "cldice", "iterations": 2}]);
    let mut by_options = model("multi-output", json!({"outputs": {"segmentation": {"loss": losses}}})).expect("valid");
    let all = terms(&mut by_options, &outputs, &levels, &batch);
    let finest = terms(&mut by_options, &outputs, &[1.0, 0.0, 0.0], &batch);
    assert!((value(&ours, "segmentation") - value(&all, "segmentation.dice_ce")).abs() < 1e-6);
    assert!((value(&ours, "cldice") - value(&finest, "segmentation.cldice")).abs() < 1e-6);
    assert!((value(&ours, "cldice") - value(&all, "segmentation.cldice")).abs() > 1e-3, "coarser levels say the same");
    for (term, expected) in [("segmentation", 0.75), ("cldice", 0.25)] {
        assert!(matches!(ours[term].weight, Weight::Number(weight) if weight == expected), "{:?}", ours[term]);
    }
}

#[test]
fn a_second_decoder_has_the_levels_of_the_first_on_thin_patches_too() {
    let golden = Golden::read("training_3d");
    for (depth, kernel) in [(8, 3), (2, 1)] {
        let Training { mut network } = golden.metadata("training");
        network.patch_size[0] = depth as usize;
        let targets = IndexMap::from([("segmentation".to_owned(), Spec::new(Kind::Labels, network.num_classes))]);
        let model = network.model_of("dual-decoder", &json!({}), targets).expect("valid");
        let outputs = model.forward(&golden.tensor("image.0").narrow(2, 0, depth), 3, true, 0).expect("runs");
        let sizes = |output: &str| outputs.get(output).expect("there").iter().map(Tensor::size).collect::<Vec<_>>();
        assert_eq!(sizes("second"), sizes("segmentation"));
        assert_eq!(sizes("second")[0][2], depth);

        let levels = outputs.get("second").expect("there").iter();
        levels.map(|level| level.square().mean(Dtype::Float)).reduce(|a, b| a + b).expect("three levels").backward();
        let own: Vec<_> = model.parameters.trained().filter(|(name, _)| name.starts_with("plugin.second.")).collect();
        assert_eq!(own.len(), 3 * 7, "five tensors a stage, two a head");
        for (name, parameter) in own {
            let gradient = parameter.tensor.grad();
            assert!(gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
            if name.ends_with("0.conv.weight") {
                assert_eq!(parameter.tensor.size()[2..], [kernel, 3, 3]);
            }
        }
    }
}

#[test]
fn a_second_decoder_learns_is_predicted_with_and_resumes() {
    let plugin = artifact::plugin("dual-decoder");
    let tiny = ["--configuration", "tiny", "--epochs", "3", "--iterations", "16"];
    let arguments = [&tiny[..], &["--set", "second.loss=focal", "--set", "second.weight=0.5"]].concat();
    let (whole, stopped) = (bench(), bench());
    whole.train(&plugin, &arguments).expect_success();
    let records = whole.records();
    let term = &records[0]["train"]["second"];
    assert!((number(term, "weighted") - 0.5 * number(term, "value")).abs() < 1e-9, "{term}");
    for output in ["segmentation", "second"] {
        assert!(records[2]["metrics"][output]["dice"].is_number(), "{}", records[2]);
    }
    let case = std::fs::read_dir(whole.fold().join("validation/second")).expect("validated").flatten();
    assert!(case.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "nii")));

    stopped.train_interrupted(&plugin, &arguments, "train.step 20");
    let resume = [&arguments[..], &["--resume"]].concat();
    stopped.train(&plugin, &resume).expect_success();
    let (ours, expected) = (stopped.final_tensors(), whole.final_tensors());
    assert!(ours.keys().any(|name| name.contains("second.decoder.1.up.weight")), "{:?}", ours.keys());
    assert!(ours == expected, "the resumed run has other weights");
}

#[test]
fn what_must_agree_leaves_nothing_behind_and_rises() {
    let bench = bench();
    let terms = train(&bench, "consistency", &["--set", "ramp_up=0.6", "--set", "weight=2"]);
    // 3 epochs, 1.8 of which it rises in.
    for (epoch, terms) in terms.iter().enumerate() {
        let t = (epoch as f64 / 1.8).min(1.0);
        let expected = 2.0 * (-5.0 * (1.0 - t).powi(2)).exp();
        assert!((number(&terms["consistency"], "weight") - expected).abs() < 1e-9, "epoch {epoch}: {terms}");
        assert!(number(&terms["consistency"], "value") > 0.0, "two looks with other features differ: {terms}");
    }
    let record = &bench.records()[2];
    assert_eq!(number(&record["validation"]["consistency"], "value"), 0.0, "nothing is dropped in validation");
    assert_eq!(record["metrics"].as_object().expect("by output").keys().collect::<Vec<_>>(), ["segmentation"]);
    assert_eq!(validated(&bench.fold()), ["case", "summary.json"]);
}

#[test]
fn options_that_cannot_be_are_named() {
    for (plugin, options, part) in [
        ("boundary", json!({"weight": -1}), "weight is -1; expected a number of at least 0"),
        ("boundary", json!({"distance": "segmentation"}), "target 'segmentation' is no map of distances"),
        ("boundary", json!({"distance": "distances"}), "there is no target 'distances': did you mean 'distance'?"),
        ("uncertainty", json!({"dice": 100}), "a loss begins with 100 as its ln σ²; expected a number from -20 to 20"),
        ("cldice", json!({"share": 1.5}), "share is 1.5; expected a number from 0 to 1"),
        ("cldice", json!({"iterations": 0}), "iterations is 0; expected from 1 to 100"),
        ("dual-decoder", json!({"second": {"target": "nowhere"}}), "output 'second': there is no target 'nowhere'"),
        ("consistency", json!({"dropout": 1}), "dropout is 1 and ramp_up 0.25; expected numbers from 0 to 1, dropout below it"),
        ("consistency", json!({"wieght": 1}), "unknown option 'wieght': did you mean 'weight'?"),
    ] {
        let message = model(plugin, options.clone()).expect_err("must be refused");
        assert!(message.contains(part), "{plugin} with {options}: {message}");
    }
}
