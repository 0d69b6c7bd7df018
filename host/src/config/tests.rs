use super::flags::explain_flags;
use super::*;
use crate::optimisers::OptimiserKind;
use clap::{Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};
use std::fs;

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn kind(name: &str) -> OptimiserKind {
    name.parse().expect("known")
}

fn config(layers: &[Layer]) -> Result<Config, Error> {
    let mut all = Layers::default();
    all.add(Layer::new("here", object(&json!({"dataset": "4"}))).expect("valid"));
    layers.iter().for_each(|layer| all.add(layer.clone()));
    all.config()
}

/// What words of the command line are refused with.
fn of_words(words: &[&str]) -> String {
    let command = Given::<Config>::augment_args(Command::new("run").no_binary_name(true));
    match command.clone().try_get_matches_from(words).and_then(|matches| Given::<Config>::from_arg_matches(&matches)) {
        Ok(given) => config(&[Layer::of_flags(given.values).expect("checked")]).expect_err("must be refused").to_string(),
        Err(error) => {
            explain_flags(&error, Some(&command)).unwrap_or_else(|| error.to_string()).trim_start_matches("error: ").trim().to_owned()
        }
    }
}

fn of_file(value: &Value) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.json");
    fs::write(&path, value.to_string()).expect("written");
    let found = Layer::of_file(&path).and_then(|layer| config(&[layer]));
    found.expect_err("must be refused").to_string().replace(&*path.display().to_string(), "mine.json")
}

#[test]
fn the_same_mistake_has_the_same_message_everywhere() {
    for (words, value, reason) in [
        ("--epochs 0", json!({"epochs": 0}), "setting 'epochs': 0 is less than the minimum of 1"),
        ("--epochs many", json!({"epochs": "many"}), "setting 'epochs': \"many\" is not of type \"integer\""),
        ("--epochs 1.5", json!({"epochs": 1.5}), "setting 'epochs': 1.5 is not of type \"integer\""),
        ("--iterations -3", json!({"iterations": -3}), "setting 'iterations': -3 is less than the minimum of 1"),
        ("--batch-size 0", json!({"batch_size": 0}), "setting 'batch_size': 0 is less than the minimum of 1"),
        ("--seed x", json!({"seed": "x"}), "setting 'seed': \"x\" is not of type \"integer\""),
        ("--precision fp8", json!({"precision": "fp8"}), "setting 'precision': \"fp8\" is none of auto, fp32, bf16, fp16"),
        ("--foreground-share 1.5", json!({"foreground_share": 1.5}), "setting 'foreground_share': 1.5 is greater than the maximum of 1"),
        ("--oversampling first", json!({"oversampling": "first"}), "setting 'oversampling': \"first\" is none of last, random"),
        ("--val-cases 0", json!({"val_cases": 0}), "setting 'val_cases': 0 is less than the minimum of 1"),
        ("--fold first", json!({"fold": ["first"]}), "setting 'fold': "),
        ("--plans a/b", json!({"plans": "a/b"}), "setting 'plans': \"a/b\", which is not the name of a file"),
        ("--checkpoint-minutes -1", json!({"checkpoint_minutes": -1}), "setting 'checkpoint_minutes': -1 is less than the minimum of 0"),
        ("--epoch 3", json!({"epoch": 3}), "there is no setting 'epoch': did you mean 'epochs'?"),
        ("--pretrained-heads", json!({"pretrained_heads": true}), "setting 'pretrained_heads' is for --pretrained only"),
    ] {
        expect(&of_words(&words.split_whitespace().collect::<Vec<_>>()), "the command line", reason);
        expect(&of_file(&value), "mine.json", reason);
    }
}

#[test]
fn so_have_those_that_a_manifest_can_make() {
    for (words, value, reason) in [
        ("--optimiser lion", json!({"optimiser": "lion"}), "setting 'optimiser': \"lion\" is none of sgd, adam, adamw"),
        ("--lerning-rate 1", json!({"lerning_rate": 1}), "there is no setting 'lerning_rate': did you mean 'learning_rate'?"),
        ("--learning-rate nan", json!({"learning_rate": "nan"}), "setting 'learning_rate': \"nan\" is not of types \"null\", \"number\""),
        ("--weight-decay=-1", json!({"weight_decay": -1}), "setting 'weight_decay': -1 is less than the minimum of 0"),
        ("--ema 1", json!({"ema": 1}), "setting 'ema': 1 is greater than or equal to the maximum of 1"),
        ("--betas 0.9", json!({"betas": [0.9]}), "setting 'betas': [0.9] has less than 2 items"),
        ("--betas 0.9,1", json!({"betas": [0.9, 1]}), "setting 'betas': 1 is greater than or equal to the maximum of 1"),
        ("--accumulate 0", json!({"accumulate": 0}), "setting 'accumulate': 0 is less than the minimum of 1"),
        ("--clip-norm 0", json!({"clip_norm": 0}), "setting 'clip_norm': 0 is less than or equal to the minimum of 0"),
        ("--weighting pcgrad", json!({"weighting": ["pcgrad"]}), "setting 'weighting': expected given, dwa[:TEMPERATURE]"),
        ("--amsgrad maybe", json!({"amsgrad": "maybe"}), "setting 'amsgrad': \"maybe\" is not of type \"boolean\""),
    ] {
        expect(&of_words(&words.split_whitespace().collect::<Vec<_>>()), "the command line", reason);
        expect(&of_file(&value), "mine.json", reason);
        let of_manifest = Layer::of_manifest("mine", Some(words)).expect_err("must be refused").to_string();
        expect(&of_manifest, "plugin mine: its manifest", reason);
        let of_arm = Layer::of_arm("b", object(&value)).expect_err("must be refused").to_string();
        expect(&of_arm, "arm b", reason);
    }
    let message = Layer::of_manifest("mine", Some("--epochs 3")).expect_err("no wish of a plugin's").to_string();
    expect(&message, "plugin mine: its manifest", "there is no setting 'epochs'");
}

fn expect(message: &str, layer: &str, reason: &str) {
    assert!(message.starts_with(&format!("{layer}: {reason}")) && message.lines().count() == 1, "{message:?}, expected {layer}: {reason}");
}

#[test]
fn settings_that_nothing_would_use_are_refused_where_a_user_gives_them() {
    for (words, reason) in [
        ("--momentum 0.9 --optimiser adam", "setting 'momentum' is for --optimiser sgd only"),
        ("--betas 0.9,0.99", "setting 'betas' is for --optimiser adam or adamw only"),
        ("--amsgrad", "setting 'amsgrad' is for --optimiser adam or adamw only"),
        ("--warmup 5", "setting 'warmup' is for --schedule warmup-poly only"),
    ] {
        expect(&of_words(&words.split_whitespace().collect::<Vec<_>>()), "the command line", reason);
    }
    let message = of_file(&json!({"val_cases": 3, "no_validation": true}));
    expect(&message, "mine.json", "setting 'val_cases' does not go with --no-validation");
}

#[test]
fn what_a_later_layer_has_made_useless_is_left_alone() {
    let file = Layer::new("mine.json", object(&json!({"optimiser": "adam", "betas": [0.9, 0.99], "val_cases": 3}))).expect("valid");
    let flags = Layer::of_flags(object(&json!({"optimiser": "sgd", "no_validation": true}))).expect("valid");
    config(&[file.clone(), flags.clone()]).expect("an earlier run, varied");
    let message =
        config(&[flags, Layer::new("later.json", object(&json!({"betas": [0.9, 0.99]}))).expect("valid")]).expect_err("of no use");
    expect(&message.to_string(), "later.json", "setting 'betas' is for --optimiser adam or adamw only");
}

#[test]
fn words_are_read_as_rust_and_as_json_read_them() {
    let given = |words: &str| {
        let command = Given::<Config>::augment_args(Command::new("run").no_binary_name(true));
        let matches = command.try_get_matches_from(words.split_whitespace()).expect("words it knows");
        Value::Object(Given::<Config>::from_arg_matches(&matches).expect("valid").values)
    };
    for (words, value) in [
        ("--learning-rate .01", json!({"learning_rate": 0.01})),
        ("--learning-rate 1.", json!({"learning_rate": 1.0})),
        ("--learning-rate 1e-3", json!({"learning_rate": 0.001})),
        ("--seed 007", json!({"seed": 7})),
        ("--epochs +5", json!({"epochs": 5})),
        ("--betas .9,.99", json!({"betas": [0.9, 0.99]})),
        ("--fold 0 --fold 2,all", json!({"fold": ["0", "2", "all"]})),
        ("--augment mirror.axes=[0,1] --augment a=b", json!({"augment": ["mirror.axes=[0,1]", "a=b"]})),
        ("--amsgrad=false", json!({"amsgrad": false})),
        ("--amsgrad", json!({"amsgrad": true})),
        ("--name 4", json!({"name": "4"})),
    ] {
        assert_eq!(given(words), value, "{words}");
    }
    assert_eq!(of_words(&["--output", ""]), "the command line: setting 'output': \"\" is shorter than 1 character");
    assert_eq!(of_words(&["--learning_rate", "1"]), "the command line: there is no flag '--learning_rate'; write --learning-rate");
    assert_eq!(of_file(&json!({"fold": []})), "mine.json: setting 'fold': [] has less than 1 item");
    assert_eq!(of_file(&json!({"arms": {"../x": {}}})), "mine.json: the name \"../x\"; expected letters, digits, '_' and '-'");
    let folds = Layer::new("mine.json", object(&json!({"fold": [0, "all"]}))).expect("valid");
    assert_eq!(config(&[folds]).expect("complete").training.fold.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0", "all"]);
}

#[test]
fn later_layers_win_and_a_plugin_is_below_the_user() {
    let asked = |manifest: &str, user: Value| {
        let mut layers = Layers::default();
        layers.add(Layer::new("user", object(&user)).expect("valid"));
        layers.with_manifest(Layer::of_manifest("mine", Some(manifest)).expect("words it knows"))
    };
    let recipe = |layers: &Layers, epochs| layers.asked().decide(epochs);
    let layers = asked("--optimiser adamw --schedule warmup-poly --warmup 3", json!({"dataset": "4", "warmup": 5, "weight_decay": 0}));
    let found = recipe(&layers, 10).expect("possible");
    assert_eq!((found.common.optimiser, found.learning_rate, found.weight_decay), (kind("adamw"), 3e-4, 0.0));
    assert_eq!(found.schedule, Schedule::WarmupPoly { epochs: 5 });
    assert_eq!(recipe(&layers, 5), Err("setting 'warmup': 5 is not less than the 5 epochs".to_owned()));
    layers.config().expect("of use, since the plugin asks for the schedule");
    assert_eq!(recipe(&asked("", json!({})), 1).expect("nnU-Net's"), Recipe::default());
    // What a plugin asks for with its optimiser does not come with another.
    let layers = asked("--optimiser adamw --betas 0.9,0.99", json!({"dataset": "4", "optimiser": "sgd"}));
    assert_eq!(layers.config().expect("possible").optimiser.common.optimiser, kind("sgd"));
    // A run is repeated with what the user asked for, and what the plugin asks for then.
    assert_eq!(layers.of_user(), object(&json!({"dataset": "4", "optimiser": "sgd"})));
    let file = Layer::new("file", object(&json!({"epochs": 3, "fold": ["1"]}))).expect("valid");
    let flags = Layer::of_flags(object(&json!({"epochs": 5}))).expect("valid");
    let found = config(&[file, flags]).expect("complete").training;
    assert_eq!((found.epochs, found.fold[0].to_string()), (5, "1".to_owned()));
}

#[test]
fn every_setting_is_a_flag_with_its_text_and_default() {
    let mut command = Given::<Config>::augment_args(Command::new("run"));
    let help = command.render_long_help().to_string();
    for (name, property) in schema()["properties"].as_object().expect("settings").iter().filter(|(_, property)| property["x-flag"] != false)
    {
        assert!(
            help.contains(&format!("--{} ", name.replace('_', "-"))) || help.contains(&format!("--{}\n", name.replace('_', "-"))),
            "{name}"
        );
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 3), "{name} has no description");
    }
    assert!(
        help.contains("[default: 1000]") && help.contains("[default: 0.9,0.999]") && help.contains("[default: segmentation]"),
        "{help}"
    );
}

#[test]
fn settings_are_words_of_the_command_line_again() {
    let values = object(&json!({"epochs": 3, "plugin": "base", "patch_size": [8, 16, 16], "class_balanced": true, "betas": [0.9, 0.99]}));
    let words = words(&values);
    assert_eq!(words.join(" "), "--epochs 3 --plugin base --patch-size 8,16,16 --class-balanced --betas 0.9,0.99");
    let matches = Given::<Config>::augment_args(Command::new("run").no_binary_name(true)).get_matches_from(words);
    assert_eq!(
        Given::<Config>::from_arg_matches(&matches).expect("valid").values,
        object(&json!({
            "plugin": "base", "epochs": 3, "patch_size": [8, 16, 16], "betas": [0.9, 0.99], "class_balanced": true
        }))
    );
}
