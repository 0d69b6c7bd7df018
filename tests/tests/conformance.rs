//! `host plugin check`: every mistake is found by the case that is about it and by no other, and a plugin without mistakes passes.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tch::{Device, Kind, Tensor};
use tests::artifact;

/// Cases that did not pass, with their status; those that come to nothing because an earlier one failed are left out.
fn found(plugin: &Path, arguments: &[&str], variable: Option<(&str, &str)>) -> BTreeMap<String, String> {
    let mut host = Command::new(artifact::host());
    host.args(["plugin", "check"]).arg(plugin).args(["--json", "--time-limit", "4"]).args(arguments).envs(variable);
    let output = host.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    let outcomes = report["outcomes"].as_array().expect("cases");
    assert!(outcomes.len() > 30, "{report}");
    let text = |outcome: &Value, key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
    let bad = outcomes.iter().filter(|outcome| !["passed", "skipped"].contains(&text(outcome, "status").as_str()));
    let bad: BTreeMap<String, String> = bad.map(|outcome| (text(outcome, "case"), text(outcome, "status"))).collect();
    let broken = bad.values().any(|status| status != "warning");
    assert_eq!(output.status.code(), Some(i32::from(broken)), "{report}");
    bad
}

#[track_caller]
fn is_found_by(case: &str, status: &str, found: BTreeMap<String, String>) {
    assert_eq!(found, BTreeMap::from([(case.to_owned(), status.to_owned())]), "expected of '{case}' alone");
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
        ("one-voxel-target", "hangs_on_one_voxel", "hung"),
        ("ignored-target", "crashes_on_ignored", "crashed"),
        ("some-targets-missing", "aborts_on_missing", "aborted"),
        ("create-destroy", "leaks_trainers", "leaked"),
        ("steady-memory", "leaks_steps", "leaked"),
        ("made-in-steady-memory", "leaks_samples", "leaked"),
    ];
    assert_eq!(found(&faulty, &[], None), BTreeMap::new(), "without a fault");
    for (case, fault, status) in failed.map(|(case, fault)| (case, fault, "failed")).into_iter().chain(others) {
        is_found_by(case, status, found(&faulty, &["--set", &format!("fault={fault}")], None));
    }
}

#[test]
fn faults_that_no_option_can_choose_are_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let faulty = artifact::fixture("faulty");
    is_found_by("schema", "failed", found(&faulty, &[], Some(("FAULTY_SCHEMA", "1"))));
    let unnumbered = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.version = "new".to_owned());
    is_found_by("manifest", "failed", found(&unnumbered, &[], None));
    let old = artifact::with_manifest(&faulty, folder.path(), |manifest| manifest.api = "9.0.0".to_owned());
    is_found_by("load", "failed", found(&old, &[], None));
    let c_door = artifact::without_rust_door(&faulty, folder.path());
    assert_eq!(found(&c_door, &[], None), BTreeMap::new());
    is_found_by("unknown-extension", "failed", found(&c_door, &[], Some(("FAULTY_TABLE", "any_extension"))));
    is_found_by("load", "failed", found(&c_door, &[], Some(("FAULTY_TABLE", "null_function"))));
    is_found_by("unknown-option", "failed", found(&c_door, &[], Some(("FAULTY_TABLE", "any_option"))));
}

#[test]
fn good_plugins_pass() {
    let nothing = BTreeMap::new();
    let outputs = r#"outputs={"parts": {"target": "segmentation", "loss": "cldice"}, "distance": {}, "flow": {"loss": "cosine"}, "class": {}, "regions": {}}"#;
    for (plugin, arguments) in [
        (artifact::plugin("base"), &[][..]),
        (artifact::plugin("boundary"), &[]),
        (artifact::plugin("cldice"), &[]),
        (artifact::plugin("consistency"), &[]),
        (artifact::plugin("dual-decoder"), &[]),
        (artifact::plugin("uncertainty"), &[]),
        (artifact::plugin("multi-output"), &[]),
        (artifact::plugin("multi-output"), &["--set", outputs, "--set", "learned_weights=true"]),
        (artifact::fixture("two-heads"), &["--set", "weight=0.5"]),
        (artifact::fixture("brier"), &[]),
        (artifact::fixture("annealed"), &[]),
        (artifact::fixture("hand-dice"), &[]),
        (artifact::fixture("heatmap"), &[]),
        (artifact::fixture("all-kinds"), &[]),
        (artifact::cpp_plugin(), &[]),
    ] {
        assert_eq!(found(&plugin, arguments, None), nothing, "{} {arguments:?}", plugin.display());
    }
}

#[test]
fn a_plugin_is_timed_beside_base() {
    let mut host = Command::new(artifact::host());
    host.args(["plugin", "bench", "--json", "--set", "sigma=3"]).arg(artifact::fixture("heatmap"));
    let output = host.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let timings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(timings[0]["plugin"].as_str().is_some_and(|name| name.starts_with("heatmap ")), "{timings}");
    assert!(timings[1]["plugin"].as_str().is_some_and(|name| name.starts_with("base ")), "{timings}");
    assert!(timings[0]["targets"].as_f64().is_some_and(|time| time > 0.0) && timings[1]["targets"].is_null(), "{timings}");
    for timing in timings.as_array().expect("two") {
        assert!(["forward", "loss", "backward"].iter().all(|part| timing[part].as_f64().is_some_and(|time| time > 0.0)), "{timing}");
    }
}

#[test]
fn recorded_outputs_are_timed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let record = |name: &str, tensors: &[(&str, Tensor)]| -> PathBuf {
        let path = folder.path().join(name);
        Tensor::write_safetensors(tensors, &path).expect("writable");
        path
    };
    let time = |fixture: &Path| {
        let mut host = Command::new(artifact::host());
        host.args(["plugin", "bench", "--json"]).arg(artifact::plugin("base")).arg("--fixture").arg(fixture);
        host.output().expect("it starts")
    };
    let logits = ("outputs.segmentation.0", Tensor::randn([2, 3, 8, 8, 8], (Kind::Float, Device::Cpu)));
    let labels = ("targets.segmentation.0", Tensor::ones([2, 1, 8, 8, 8], (Kind::Int64, Device::Cpu)));
    let output = time(&record("whole.safetensors", &[(logits.0, logits.1.shallow_clone()), (labels.0, labels.1.shallow_clone())]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let timings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(timings[0]["loss"].as_f64().is_some_and(|time| time > 0.0) && timings[0]["forward"].is_null(), "{timings}");
    // Recorded outputs have the names of one plugin.
    assert_eq!(timings.as_array().map(Vec::len), Some(1), "{timings}");
    for (name, tensors, words) in [
        ("logits.safetensors", vec![logits], "no tensor 'targets.<target>.0'"),
        ("labels.safetensors", vec![labels], "no tensor 'outputs.segmentation.0'; there are: targets.segmentation.0"),
    ] {
        let refused = time(&record(name, &tensors));
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && message.contains(name) && message.contains(words), "{message}");
    }
    let text = folder.path().join("text.safetensors");
    std::fs::write(&text, "text").expect("writable");
    assert_eq!(time(&text).status.code(), Some(1));
}
