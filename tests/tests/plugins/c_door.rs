//! Plugins in C and C++: one in plain C does all that one in Rust does, and whatever one in C++ does wrong is an error that names plugin and call.

use host::conformance::{Problem, Rig, Subject, every_kind_of_target};
use host::network::Parameters;
use host::plugin::{self, CallError, LoadedTransform};
use plugin_api::abi::Entry;
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut, loss_with_grad, metrics, target_transform};
use plugin_api::{Epoch, EpochReport, Phase};
use serde_json::json;
use std::path::Path;
use tch::Device;
use tests::artifact;
use tests::native;
use tests::program::{Bench, Ended};

/// What begins every error of a call of the plugin in C++.
const FAULTY: &str = "plugin faulty-cpp 1.0.0: ";

/// The calls of a trainer and of its transform, as errors name them.
const CALLS: [&str; 12] = [
    "target transform: new",
    "target transform: apply",
    "new",
    "outputs",
    "forward",
    "loss",
    "activate",
    "metrics",
    "epoch_start",
    "epoch_end",
    "save_state",
    "load_state",
];

fn subject(library: &Path, fault: &str) -> Subject {
    let library = plugin::load(library, &artifact::this_host()).expect("loads");
    Subject { plugin: library, options: json!({ "fault": fault }), targets: every_kind_of_target(), made_up: true, seed: 0 }
}

/// The error that comes of a trainer, or its transform, which cannot be made; else a trainer on the kit's usual problem.
fn rig(subject: &Subject) -> Result<Rig, CallError> {
    let mut task = Problem::USUAL.task(&subject.targets, subject.seed);
    subject.create(&mut task, &subject.options, &mut Parameters::new(Device::Cpu, subject.seed))?;
    Ok(subject.usual().expect("what was made once is made again"))
}

/// Makes the target of a sample of one voxel.
fn apply(transform: &LoadedTransform) -> Result<f32, CallError> {
    let (mut values, mut valid) = ([0.0], [false]);
    let labels = TargetPatch { name: "segmentation", values: Values::Labels(&[2]), valid: &[true] };
    let sample = Sample {
        case: "c",
        seed: 0,
        phase: Phase::Train,
        size: [1; 3],
        spacing: [1.0; 3],
        image: &[0.0],
        inside: &[true],
        targets: vec![labels],
    };
    let mut made = [MadeTarget { name: "twice", values: ValuesMut::Regression(&mut values), valid: &mut valid, present: false }];
    transform.apply(&sample, &mut made)?;
    Ok(values[0])
}

/// Makes one call.
fn call(rig: &mut Rig, transform: &LoadedTransform, call: &str) -> Result<(), CallError> {
    let step = rig.step(0);
    let outputs = rig.forward(&step)?;
    match call {
        "target transform: apply" => apply(transform).map(drop),
        "loss" => rig.loss(&outputs, &step).map(drop),
        "activate" => rig.trainer.activate(&outputs).map(drop),
        "metrics" => rig.trainer.metrics(&outputs, &rig.batch, &step).map(drop),
        "epoch_start" => rig.trainer.epoch_start(&Epoch { epoch: 0, epochs: 1 }),
        "epoch_end" => rig.trainer.epoch_end(&EpochReport { epoch: 0, train: [].into(), validation: [].into(), metrics: [].into() }),
        "save_state" => rig.trainer.save_state().map(drop),
        "load_state" => rig.trainer.load_state(b"12345678"),
        _ => Ok(()),
    }
}

/// Makes every call, and returns the first error, once the same call has been made again: after a panic, and only then, the host makes none.
fn error_of(library: &Path, fault: &str) -> Option<CallError> {
    let subject = subject(library, fault);
    let mut rig = match rig(&subject) {
        Ok(rig) => rig,
        Err(error) => return Some(error),
    };
    // The rig has called its own already, to make a batch.
    let mut task = Problem::USUAL.task(&subject.targets, subject.seed);
    let transform = LoadedTransform::create(&subject.plugin, &mut task, &subject.options).expect("made before")?;
    let (name, error) = CALLS.into_iter().find_map(|name| Some((name, call(&mut rig, &transform, name).err()?)))?;
    let again = call(&mut rig, &transform, name).expect_err("it fails every time").message;
    assert_eq!(again.contains("cannot run"), error.panicked, "{fault}: {again}");
    Some(error)
}

#[track_caller]
fn is_told(library: &Path, fault: &str, told: &str) {
    let error = error_of(library, fault).unwrap_or_else(|| panic!("nothing is wrong with {fault:?}"));
    println!("{error}");
    assert_eq!(error.to_string(), told, "{fault}");
}

#[test]
fn whatever_is_thrown_in_cpp_is_an_error_that_names_plugin_and_call() {
    let library = native::faulty_cpp();
    assert!(error_of(&library, "none").is_none(), "without a fault");
    for call in CALLS {
        for (what, message, panicked) in [
            ("tp_error", "failed: as asked for", false),
            ("latin-1", "failed: wie gew\u{fffd}nscht", false),
            ("silence", "failed: no message", false),
            ("status", "failed: no message", false),
            ("exception", "as asked for", true),
            ("int", "unknown C++ exception", true),
        ] {
            let fault = format!("{what} in {call}");
            is_told(&library, &fault, &format!("{FAULTY}{call} {message}"));
            assert_eq!(error_of(&library, &fault).is_some_and(|error| error.panicked), panicked, "{fault}");
        }
    }
    let with_grad = native::faulty_cpp_with_grad();
    assert!(error_of(&with_grad, "none").is_none(), "without a fault");
    is_told(&with_grad, "tp_error in loss", &format!("{FAULTY}loss failed: as asked for"));
    is_told(&with_grad, "exception in loss", &format!("{FAULTY}loss as asked for"));
    is_told(&with_grad, "int in loss", &format!("{FAULTY}loss unknown C++ exception"));
}

#[test]
fn what_c_can_return_and_rust_cannot_is_an_error_that_names_plugin_and_call() {
    let (library, with_grad) = (native::faulty_cpp(), native::faulty_cpp_with_grad());
    let told = |fault: &str, told: &str| is_told(&library, fault, &format!("{FAULTY}{told}"));
    told("no trainer", "new returned no trainer");
    told("no transform", "target transform: new returned no transform");
    told("half a list of outputs", "outputs returned broken JSON: EOF while parsing an object at line 1 column 2");
    told("half a declaration", "target transform: new returned broken JSON: EOF while parsing an object at line 1 column 1");
    told("no output", "outputs declares no output");
    told("a level without a tensor", "forward returned 2 levels of output 'segmentation'; expected 3");
    told("a term without a value", "loss returned no tensor for term 'segmentation'");
    told("an infinite weight", "loss returned term 'segmentation' with weight inf");
    told("no predictions", "activate there is no output 'segmentation'; there are none");
    told("a metric of no output", "metrics returned 'half' of output 'surprise', which it did not declare");
    told(
        "a metric of the host's",
        "metrics returned a metric 'dice' of output 'segmentation': the host has one of this name, or it is none",
    );
    let told = |fault: &str, told: &str| is_told(&with_grad, fault, &format!("{FAULTY}{told}"));
    told("a term without a value", "loss returned no tensor for term 'segmentation'");
    told(
        "a gradient of no output",
        "loss returned a gradient of term 'segmentation': there is no output 'surprise'; there are: segmentation",
    );
    told("a gradient of no level", "loss returned a gradient of term 'segmentation' to output 'segmentation', level 9, which has 3 levels");
    told(
        "a gradient of wrong shape",
        "loss returned gradient of term 'segmentation' to output 'segmentation', level 0 with shape [2, 1, 8, 8, 8]; expected [2, 3, 8, 8, 8]",
    );
}

#[test]
fn parameters_that_cannot_be_are_errors_that_cpp_can_throw() {
    let library = native::faulty_cpp();
    let told = |fault: &str, told: &str| is_told(&library, fault, &format!("{FAULTY}{told}"));
    told("a parameter of unknown kind", "new failed: parameter 'x': unknown kind 9");
    told("a parameter of unknown initialisation", "new failed: parameter 'x': unknown initialisation 9");
    told("a parameter without elements", "new failed: parameter 'plugin.x': shape [2, 0]; every size must be at least 1");
    told("a parameter twice", "new failed: parameter 'plugin.scale' exists already; names are unique");
    told("a parameter of a transform", "target transform: new failed: parameters belong to the trainer");
}

#[test]
fn both_doors_say_the_same() {
    let (rust, cpp) = (artifact::fixture("faulty"), native::faulty_cpp());
    let said = |library: &Path, plugin: &str, fault: &str| {
        let text = error_of(library, fault).unwrap_or_else(|| panic!("nothing is wrong with {fault:?}")).to_string();
        text.strip_prefix(plugin).unwrap_or_else(|| panic!("no {plugin:?} in {text}")).to_owned()
    };
    for fault in [
        "wrong_shape",
        "missing_level",
        "undeclared_output",
        "nan_loss",
        "unreduced_loss",
        "takes_a_name",
        "names_no_class",
        "weighs_itself",
    ] {
        assert_eq!(said(&rust, "plugin faulty 1.0.0: ", fault), said(&cpp, FAULTY, fault), "{fault}");
    }
    // Where a panic happened is known, where an exception was thrown is not.
    for (panic, exception) in
        [("panic_new", "exception in new"), ("panic_forward", "exception in forward"), ("panic_loss", "exception in loss")]
    {
        let [rust, cpp] = [(&rust, panic), (&cpp, exception)].map(|(library, fault)| error_of(library, fault).expect("it panics"));
        assert_eq!((rust.call, rust.panicked), (cpp.call, cpp.panicked));
        assert!(rust.message.starts_with("panicked at ") && rust.message.ends_with(&format!(": {}", cpp.message)), "{rust} {cpp}");
    }
}

/// `host plugin schema` of a plugin that fails as the variable FAULTY_CPP says.
fn schema(bench: &Bench, library: &Path, fault: &str) -> Ended {
    let mut host = bench.host();
    host.args(["plugin", "schema"]).arg(library).env("FAULTY_CPP", fault);
    bench.finish(host)
}

#[test]
fn a_plugin_that_cannot_describe_itself_is_refused() {
    let (bench, library) = (Bench::new(), native::faulty_cpp());
    schema(&bench, &library, "none").expect_success();
    for (fault, told) in [
        ("tp_error in describe", "describe failed: as asked for\n"),
        ("exception in describe", "describe as asked for\n"),
        ("int in describe", "describe unknown C++ exception\n"),
        ("silence in describe", "describe failed: no message\n"),
        ("half a description", "describe returned broken JSON: EOF while parsing"),
    ] {
        schema(&bench, &library, fault).expect_refusal(&[FAULTY, told]);
    }
}

#[test]
fn tables_with_holes_are_refused_when_the_library_is_loaded() {
    let (bench, library) = (Bench::new(), native::faulty_cpp_with_grad());
    let functions = |size: usize| size / size_of::<usize>();
    let tables = [
        ("table", functions(size_of::<Entry>()), "of its table (from 0)"),
        (metrics::ID, functions(size_of::<metrics::Table>()), "(from 0) of its table for trainer.metrics/1"),
        (loss_with_grad::ID, functions(size_of::<loss_with_grad::Table>()), "(from 0) of its table for trainer.loss-with-grad/1"),
        (target_transform::ID, functions(size_of::<target_transform::Table>()), "(from 0) of its table for trainer.target-transform/1"),
    ];
    assert_eq!(tables.map(|(_, functions, _)| functions), [12, 1, 1, 3], "functions of the tables");
    for (table, functions, told) in tables {
        for function in 0..functions {
            let refused = schema(&bench, &library, &format!("null {function} of {table}"));
            refused.expect_refusal(&["libfaulty_cpp_with_grad.so: ", &format!("function {function} {told} is NULL")]);
        }
    }
    let name = library.display().to_string();
    let mut train = bench.host();
    train.args(["run", "--dataset"]).arg(&bench.raw.folder).args(["--plugin", &name]).env("FAULTY_CPP", "null 5 of table");
    bench.finish(train).expect_refusal(&[&name, "function 5 of its table (from 0) is NULL"]);
    assert!(!bench.results().exists() && !bench.folder().join("preprocessed").exists(), "something was begun");
}

#[test]
fn a_training_ends_with_one_line_wherever_cpp_throws() {
    let bench = Bench::new();
    for (fault, told) in [
        ("exception in new", "new as asked for"),
        ("int in loss", "loss unknown C++ exception (epoch 0, iteration 0, cases case_00"),
        ("exception in target transform: apply", "target transform: apply as asked for"),
        ("tp_error in epoch_end", "epoch_end failed: as asked for"),
    ] {
        let set = format!("fault={fault}");
        let ended = bench.train(&native::faulty_cpp(), &["--overwrite", "--set", &set]);
        ended.expect_refusal(&[FAULTY, told]);
    }
}

#[test]
fn a_plugin_in_plain_c_trains_and_goes_on_with_its_state() {
    let plugin = native::plain_c();
    let arguments = ["--epochs", "3", "--iterations", "6"];
    let whole = Bench::new();
    let ended = whole.train(&plugin, &arguments).expect_success();
    let told = |ended: &Ended, number: u32| {
        ended.stderr.lines().any(|line| line.contains("plain-c]") && line.ends_with(&format!("epoch number {number}")))
    };
    assert!((1..=3).all(|number| told(&ended, number)), "{ended:#?}");
    let losses: Vec<f64> = whole.records().iter().map(|record| record["train_loss"].as_f64().expect("finite")).collect();
    assert!(losses[2] < losses[0], "it learns: {losses:?}");
    assert!(whole.records()[0]["train"]["level_0"]["value"].is_f64(), "the plugin's own name for its term");
    assert!(whole.fold().join("validation/summary.json").is_file(), "{ended:#?}");

    let stopped = Bench::new();
    // In the second epoch, which its state has counted already.
    stopped.train_interrupted(&plugin, &arguments, "train.step 9");
    let resumed = stopped.train(&plugin, &[&arguments[..], &["--resume"]].concat()).expect_success();
    assert!(told(&resumed, 3) && !told(&resumed, 2), "{resumed:#?}");
    assert!(stopped.final_tensors() == whole.final_tensors(), "the resumed run has other weights");
    assert_eq!(whole.final_tensors()["plugin_state"], 3u64.to_ne_bytes(), "three epochs");
}

#[test]
fn a_plugin_in_plain_c_passes_the_kit() {
    let bench = Bench::new();
    let plugin = native::plain_c().display().to_string();
    let ended = bench.run(&["plugin", "check", &plugin, "--time-limit", "600", "--json"]).expect_success();
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let outcomes = report["outcomes"].as_array().expect("cases").iter();
    let status = |status: &str| {
        let of_status = outcomes.clone().filter(|outcome| outcome["status"] == status);
        of_status.map(|outcome| outcome["case"].as_str().expect("named").to_owned()).collect::<Vec<_>>()
    };
    // It makes no targets or metrics of its own, draws nothing, and refuses labels that may be missing.
    println!("skipped: {:?}", status("skipped"));
    for bad in ["warning", "failed", "leaked", "crashed", "aborted", "hung"] {
        assert_eq!(status(bad), [] as [&str; 0], "{bad}");
    }
}

#[test]
fn the_manifest_of_plain_c_says_what_the_host_asks_of_it() {
    let manifest = plugin::load(&native::plain_c(), &artifact::this_host()).expect("loads").identity().manifest.clone();
    assert_eq!((manifest.id.as_str(), manifest.version.as_str(), manifest.license.as_str()), ("plain-c", "1.0.0", "Apache-2.0"));
    assert_eq!(manifest.api, plugin_api::manifest::API_VERSION);
    assert_eq!(manifest.libtorch, plugin_api::manifest::LIBTORCH);
    assert_eq!(manifest.augmentation.as_deref(), Some("none"));
    assert!(manifest.compiler.split('.').all(|part| part.parse::<u32>().is_ok()), "{manifest:?}");
}
