//! `host plugin check`: every mistake is found by the case that is about it and by no other, and a plugin without mistakes passes.

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
    assert_eq!(names(left_out), stands.map_or(&[][..], |first| &cases[first + 1..]), "{report}");
    Found { bad, skipped: names(skipped) }
}

/// What does not apply to a plugin whose manifest says nothing of what it keeps.
const KEEPS: &str = "keeps";
/// What does not apply to a plugin that has no extension for it.
const MEASURES: [&str; 1] = ["metrics"];
const MAKES_TARGETS: [&str; 3] = ["made-targets", "made-on-threads", "made-in-steady-memory"];

#[track_caller]
fn is_found_by(case: &str, status: &str, found: Found) {
    // A plugin that cannot be made is not asked anything.
    let skipped = if CASES[..FOUNDATION].iter().any(|foundation| foundation.name == case) { &[][..] } else { &[KEEPS] };
    assert_eq!(found, Found::new(&[(case, status)], skipped), "expected of '{case}' alone");
}

#[test]
fn every_fault_is_found_by_its_case_alone() {
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
        ("gradient-check", "wrong_gradient"),
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
        ("ignored-target", "crashes_on_ignored", "crashed"),
        ("some-targets-missing", "aborts_on_missing", "aborted"),
        ("create-destroy", "leaks_trainers", "leaked"),
        ("steady-memory", "leaks_steps", "leaked"),
        ("steady-memory", "leaks_a_kilobyte", "leaked"),
        ("steady-memory", "leaks_pages", "leaked"),
        ("made-in-steady-memory", "leaks_samples", "leaked"),
    ];
    assert_eq!(found(&faulty, &[], None), Found::new(&[], &[KEEPS]), "without a fault");
    for (case, fault, status) in failed.map(|(case, fault)| (case, fault, "failed")).into_iter().chain(others) {
        is_found_by(case, status, found(&faulty, &["--set", &format!("fault={fault}")], None));
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
    assert_eq!(check(&others, PATIENT), Found::new(&[], &[KEEPS]));
}

#[test]
fn faults_that_no_option_can_choose_are_found() {
    let folder = artifact::folder();
    let faulty = artifact::fixture("faulty");
    is_found_by("schema", "failed", found(&faulty, &[], Some(("FAULTY_SCHEMA", "1"))));
    let unnumbered = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.version = "new".to_owned());
    is_found_by("manifest", "failed", found(&unnumbered, &[], None));
    let old = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.api = "9.0.0".to_owned());
    is_found_by("load", "failed", found(&old, &[], None));
    let c_door = artifact::without_rust_door(&faulty, folder.path());
    assert_eq!(found(&c_door, &[], None), Found::new(&[], &[KEEPS]));
    is_found_by("unknown-extension", "failed", found(&c_door, &[], Some(("FAULTY_TABLE", "any_extension"))));
    is_found_by("load", "failed", found(&c_door, &[], Some(("FAULTY_TABLE", "null_function"))));
    let without_extensions = found(&c_door, &[], Some(("FAULTY_TABLE", "any_option")));
    assert_eq!(without_extensions, Found::new(&[("unknown-option", "failed")], &[&[KEEPS][..], &MEASURES, &MAKES_TARGETS].concat()));
}

#[test]
fn good_plugins_pass() {
    let plain = [&MEASURES[..], &MAKES_TARGETS].concat();
    // It refuses targets with voxels to ignore, and such as a case may lack.
    let cpp = [&["ignored-target", "some-targets-missing", "all-targets-missing"][..], &plain].concat();
    let outputs = r#"outputs={"parts": {"target": "segmentation", "loss": "cldice"}, "distance": {}, "flow": {"loss": "cosine"}, "class": {}, "regions": {}}"#;
    let unsaid = |rest: &[&'static str]| [&[KEEPS][..], rest].concat();
    for (plugin, arguments, skipped) in [
        (artifact::plugin("base"), &[][..], plain.clone()),
        (artifact::plugin("boundary"), &[], plain.clone()),
        (artifact::plugin("cldice"), &[], plain.clone()),
        (artifact::plugin("consistency"), &[], plain.clone()),
        (artifact::plugin("dual-decoder"), &[], plain.clone()),
        (artifact::plugin("uncertainty"), &[], plain.clone()),
        (artifact::plugin("multi-output"), &[], plain.clone()),
        (artifact::plugin("multi-output"), &["--set", outputs, "--set", "learned_weights=true"], plain.clone()),
        (artifact::fixture("two-heads"), &["--set", "weight=0.5"], unsaid(&plain)),
        (artifact::fixture("brier"), &[], unsaid(&plain)),
        (artifact::fixture("annealed"), &[], unsaid(&plain)),
        (artifact::fixture("hand-dice"), &[], unsaid(&plain)),
        (artifact::fixture("heatmap"), &[], unsaid(&MEASURES)),
        (artifact::fixture("all-kinds"), &[], unsaid(&MEASURES)),
        (artifact::cpp_plugin(), &[], cpp),
    ] {
        assert_eq!(found(&plugin, arguments, None), Found::new(&[], &skipped), "{} {arguments:?}", plugin.display());
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
