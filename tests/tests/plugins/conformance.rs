//! `host plugin check`: every mistake is found by the case that is about it, and a plugin without mistakes passes.

use host::conformance::{CASES, FOUNDATION};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tch::{Device, Kind, Tensor};
use tests::{artifact, program};

/// More than any case takes that does not hang, on any machine.
const PATIENT: &str = "600";

/// What a check found.
#[derive(Debug, PartialEq)]
struct Found {
    /// Cases that did not pass, with their status.
    bad: BTreeMap<String, String>,
    /// Cases that do not apply to the plugin.
    skipped: Vec<String>,
}

impl Found {
    fn new(bad: &[(&str, &str)], skipped: &[&str]) -> Self {
        let bad = bad.iter().map(|(case, status)| ((*case).to_owned(), (*status).to_owned())).collect();
        Self { bad, skipped: skipped.iter().map(|case| (*case).to_owned()).collect() }
    }
}

/// `host plugin COMMAND PLUGIN --json …`, in a home of its own.
fn host(command: &str, plugin: &Path, arguments: &[&str], variable: Option<(&str, &str)>) -> Output {
    let home = artifact::folder();
    let mut host = program::host(home.path());
    host.args(["plugin", command]).arg(plugin).arg("--json").args(arguments).envs(variable);
    host.output().expect("it starts")
}

fn json(output: &Output) -> Value {
    let text = |bytes| String::from_utf8_lossy(bytes);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", text(&output.stdout), text(&output.stderr)))
}

/// What all cases find.
fn found(plugin: &Path, arguments: &[&str], variable: Option<(&str, &str)>) -> Found {
    let output = host("check", plugin, &[&["--time-limit", PATIENT][..], arguments].concat(), variable);
    found_by(&CASES.iter().map(|case| case.name).collect::<Vec<_>>(), &output)
}

/// What `cases` found, of which `output` reports.
fn found_by(cases: &[&str], output: &Output) -> Found {
    let report = json(output);
    let text = |outcome: &Value, key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
    let outcomes = report["outcomes"].as_array().expect("cases");
    assert_eq!(outcomes.iter().map(|outcome| text(outcome, "case")).collect::<Vec<_>>(), cases, "{report}");
    let (skipped, ran): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome["status"] == "skipped");
    let bad = ran.into_iter().filter(|outcome| outcome["status"] != "passed");
    let bad: BTreeMap<String, String> = bad.map(|outcome| (text(outcome, "case"), text(outcome, "status"))).collect();
    let broken = bad.values().any(|status| status != "warning");
    assert_eq!(output.status.code(), Some(i32::from(broken)), "{report}");
    // Where a case fails on which the others stand, all after it are left out, and none elsewhere.
    let (left_out, skipped): (Vec<_>, Vec<_>) =
        skipped.into_iter().partition(|outcome| text(outcome, "message").starts_with("first comes "));
    let names = |outcomes: Vec<&Value>| outcomes.into_iter().map(|outcome| text(outcome, "case")).collect::<Vec<_>>();
    let stands = CASES[..FOUNDATION].iter().position(|case| bad.get(case.name).is_some_and(|status| status != "warning"));
    assert_eq!(names(left_out), stands.and_then(|first| cases.get(first + 1..)).unwrap_or_default(), "{report}");
    Found { bad, skipped: names(skipped) }
}

/// What does not apply to a plugin whose manifest says nothing of what it keeps.
const KEEPS: &str = "keeps";
/// To one that has no learned weights.
const PRICED: &str = "priced-weights";
/// To one that has no extension for it.
const MEASURES: [&str; 1] = ["metrics"];
const MAKES_TARGETS: [&str; 4] = ["made-targets", "made-mirrored", "made-on-threads", "made-in-steady-memory"];

/// In the order in which cases run.
fn in_order(mut cases: Vec<&'static str>) -> Vec<&'static str> {
    cases.sort_by_key(|name| CASES.iter().position(|case| case.name == *name));
    cases
}

/// What does not apply to the fixture `faulty`.
fn of_faulty() -> Vec<&'static str> {
    in_order(vec![KEEPS, PRICED])
}

/// Asserts that `case` finds what is wrong with `plugin`.
#[track_caller]
fn is_found_by(case: &str, status: &str, plugin: &Path, arguments: &[&str], variable: Option<(&str, &str)>) {
    let output = host("check", plugin, &[&["--time-limit", PATIENT, "--only", case][..], arguments].concat(), variable);
    assert_eq!(found_by(&[case], &output), Found::new(&[(case, status)], &[]), "{arguments:?} {variable:?}");
}

#[test]
fn every_fault_is_found_by_its_case() {
    let faulty = artifact::fixture("faulty");
    let failed = [
        ("create", "panic_new"),
        ("create", "takes_a_name"),
        ("create", "names_no_class"),
        ("fuzzed-options", "panic_on_size"),
        ("shapes", "no_third"),
        ("fewer-levels", "all_levels"),
        ("activate", "no_softmax"),
        ("terms", "same_names"),
        ("gradients", "unused_parameter"),
        ("gradients", "detached_features"),
        ("empty-target", "nan_without_foreground"),
        ("full-target", "nan_without_background"),
        ("all-targets-missing", "needs_targets"),
        ("large-logits", "exponential"),
        ("bf16", "refuses_bf16"),
        ("fp16", "overflows_half"),
        ("layouts", "views"),
        ("same-step", "own_noise"),
        ("fresh-draws", "seeds_itself"),
        ("threads", "counts_threads"),
        ("two-trainers", "only_the_last"),
        ("inputs", "writes_to_image"),
        ("modes", "gradients_off"),
        ("stdout", "prints"),
        ("after-error", "unwraps"),
        ("validation", "needs_graph"),
        ("metrics", "infinite_metric"),
        ("made-targets", "infinite_target"),
        ("made-targets", "unwraps_sample"),
        ("made-targets", "undeclared_absence"),
        ("made-on-threads", "shares_memory"),
        ("state", "forgets_state"),
        ("foreign-state", "unwraps_state"),
    ];
    let others = [
        ("gradient-check", "wrong_gradient", "warning"),
        ("ignored-target", "crashes_on_ignored", "crashed"),
        ("some-targets-missing", "aborts_on_missing", "aborted"),
        ("create-destroy", "leaks_trainers", "leaked"),
        ("steady-memory", "leaks_steps", "leaked"),
        ("steady-memory", "leaks_a_kilobyte", "leaked"),
        ("steady-memory", "leaks_pages", "leaked"),
        ("made-in-steady-memory", "leaks_samples", "leaked"),
    ];
    assert_eq!(found(&faulty, &[], None), Found::new(&[], &of_faulty()), "without a fault");
    for (case, fault, status) in failed.map(|(case, fault)| (case, fault, "failed")).into_iter().chain(others) {
        is_found_by(case, status, &faulty, &["--set", &format!("fault={fault}")], None);
    }
}

#[test]
fn a_plugin_that_hangs_is_found_by_the_case_in_which_it_does() {
    let (faulty, hanging) = (artifact::fixture("faulty"), "one-voxel-target");
    let check = |cases: &[&str], seconds: &str| {
        let arguments = ["--set", "fault=hangs_on_one_voxel", "--only", &cases.join(","), "--time-limit", seconds];
        found_by(cases, &host("check", &faulty, &arguments, None))
    };
    // It would not finish in any time: a short one says the same sooner.
    assert_eq!(check(&[hanging], "1"), Found::new(&[(hanging, "hung")], &[]));
    let others: Vec<&str> = CASES.iter().map(|case| case.name).filter(|name| *name != hanging).collect();
    assert_eq!(check(&others, PATIENT), Found::new(&[], &of_faulty()));
}

#[test]
fn faults_that_no_option_can_choose_are_found() {
    let folder = artifact::folder();
    let faulty = artifact::fixture("faulty");
    is_found_by("schema", "failed", &faulty, &[], Some(("FAULTY_SCHEMA", "1")));
    let unnumbered = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.version = "new".to_owned());
    is_found_by("manifest", "failed", &unnumbered, &[], None);
    let old = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.api = "9.0.0".to_owned());
    // The others are left out, whichever they are.
    let load = [("load", "failed")];
    assert_eq!(found(&old, &[], None), Found::new(&load, &[]));
    let c_door = artifact::without_rust_door(&faulty, folder.path());
    assert_eq!(found(&c_door, &[], None), Found::new(&[], &of_faulty()));
    is_found_by("unknown-extension", "failed", &c_door, &[], Some(("FAULTY_TABLE", "any_extension")));
    is_found_by("load", "failed", &c_door, &[], Some(("FAULTY_TABLE", "null_function")));
    // Its manifest promises extensions, which its table has not.
    is_found_by("load", "failed", &c_door, &[], Some(("FAULTY_TABLE", "any_option")));
    let silent = artifact::with_manifest(&c_door, folder.path(), |manifest| manifest.extensions.clear());
    is_found_by("unknown-option", "failed", &silent, &[], Some(("FAULTY_TABLE", "any_option")));
}

#[test]
fn good_plugins_pass() {
    // What does not apply to any but those that are named beside it.
    let plain = |further: &[&'static str]| in_order([&[PRICED][..], &MEASURES, &MAKES_TARGETS, further].concat());
    let unsaid = |further: &[&'static str]| plain(&[&[KEEPS][..], further].concat());
    let makes_targets = |further: &[&'static str]| in_order([&[KEEPS, PRICED][..], &MEASURES, further].concat());
    let learns_weights = |further: &[&'static str]| in_order([&MEASURES[..], &MAKES_TARGETS, further].concat());
    let (defaults, dead) = ("defaults", "dead-options");
    // It refuses targets with voxels to ignore, and such as a case may lack.
    let cpp = plain(&["absent", "ignored-target", "some-targets-missing", "all-targets-missing", defaults]);
    let outputs = r#"outputs={"parts": {"target": "segmentation", "loss": "cldice"}, "distance": {}, "flow": {"loss": "cosine"}, "class": {}, "regions": {}}"#;
    for (plugin, arguments, warned, skipped) in [
        (artifact::plugin("base"), &[][..], &[][..], plain(&[defaults])),
        (artifact::plugin("boundary"), &[], &[], plain(&[dead])),
        (artifact::plugin("cldice"), &[], &[], plain(&[])),
        (artifact::plugin("consistency"), &[], &[], plain(&[])),
        (artifact::plugin("dual-decoder"), &[], &[], plain(&[dead])),
        (artifact::plugin("uncertainty"), &[], &[], learns_weights(&[])),
        (artifact::plugin("multi-output"), &[], &[], plain(&[defaults, dead])),
        (artifact::plugin("multi-output"), &["--set", outputs, "--set", "learned_weights=true"], &[], learns_weights(&[defaults, dead])),
        // It does not say that it is for labels alone.
        (artifact::fixture("two-heads"), &["--set", "weight=0.5"], &["shapes"], unsaid(&[defaults])),
        (artifact::fixture("brier"), &[], &[], unsaid(&[defaults])),
        (artifact::fixture("annealed"), &[], &[], unsaid(&[defaults])),
        // Whichever way its gradient is made, it is the same.
        (artifact::fixture("hand-dice"), &[], &["dead-options"], unsaid(&[])),
        (artifact::fixture("heatmap"), &[], &[], makes_targets(&[])),
        (artifact::fixture("all-kinds"), &[], &[], makes_targets(&[defaults])),
        (artifact::cpp_plugin(), &[], &[], cpp),
    ] {
        let warned: Vec<(&str, &str)> = warned.iter().map(|case| (*case, "warning")).collect();
        assert_eq!(found(&plugin, arguments, None), Found::new(&warned, &skipped), "{} {arguments:?}", plugin.display());
    }
}

/// What `host plugin bench` says of each plugin, and how many there are.
fn timings(plugin: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = host("bench", plugin, arguments, None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json(&output).as_array().expect("a list").clone()
}

/// Asserts that `timing` is of `plugin` and has numbers, but for these parts, which do not apply.
#[track_caller]
fn is_of(timing: &Value, plugin: &str, without: &[&str]) {
    assert!(timing["plugin"].as_str().is_some_and(|name| name.starts_with(&format!("{plugin} "))), "{timing}");
    let parts = ["forward", "loss", "backward", "targets", "memory", "steps"];
    assert_eq!(timing.as_object().expect("an object").keys().collect::<Vec<_>>(), [&["plugin"][..], &parts].concat(), "{timing}");
    let missing: Vec<&str> = parts.into_iter().filter(|part| !timing[part].is_number()).collect();
    assert_eq!(missing, without, "{timing}");
}

#[test]
fn a_plugin_is_timed_beside_base() {
    let folder = artifact::folder();
    let list = folder.path().join("calls");
    let timings = timings(&artifact::fixture("probe"), &["--set", &format!("list={}", list.display())]);
    assert_eq!(timings.len(), 2, "{timings:?}");
    is_of(&timings[0], "probe", &[]);
    is_of(&timings[1], "base", &["targets"]);
    // The steps that are measured are steps that it made, after one that finds memory and one that is watched for it.
    let calls = fs::read_to_string(&list).expect("calls");
    let made = |call: &str| calls.lines().filter(|line| *line == call).count() as u64;
    let steps = timings[0]["steps"].as_u64().expect("a number");
    assert!(steps >= 3, "{timings:?}");
    assert_eq!([made("forward"), made("loss_with_grad")], [steps + 2; 2], "{calls}");
}

#[test]
fn recorded_outputs_are_timed() {
    let folder = artifact::folder();
    let record = |name: &str, tensors: &[(&str, Tensor)]| -> PathBuf {
        let path = folder.path().join(name);
        Tensor::write_safetensors(tensors, &path).expect("writable");
        path
    };
    let path = |fixture: &Path| fixture.to_str().expect("UTF-8").to_owned();
    let logits = ("outputs.segmentation.0", Tensor::randn([2, 3, 8, 8, 8], (Kind::Float, Device::Cpu)));
    let labels = ("targets.segmentation.0", Tensor::ones([2, 1, 8, 8, 8], (Kind::Int64, Device::Cpu)));
    let whole = record("whole.safetensors", &[(logits.0, logits.1.shallow_clone()), (labels.0, labels.1.shallow_clone())]);
    let timings = timings(&artifact::plugin("base"), &["--fixture", &path(&whole)]);
    is_of(&timings[0], "base", &["forward", "targets"]);
    // Recorded outputs have the names of one plugin.
    assert_eq!(timings.len(), 1, "{timings:?}");
    let text = folder.path().join("text.safetensors");
    fs::write(&text, "text").expect("writable");
    for (fixture, words) in [
        (record("logits.safetensors", &[logits]), "no tensor 'targets.<target>.0'"),
        (record("labels.safetensors", &[labels]), "no tensor 'outputs.segmentation.0'; there are: targets.segmentation.0"),
        (text, ""),
    ] {
        let refused = host("bench", &artifact::plugin("base"), &["--fixture", &path(&fixture)], None);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && message.contains(&path(&fixture)) && message.contains(words), "{message}");
    }
}
