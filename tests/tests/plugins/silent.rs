//! What trains to the end with plausible numbers and is wrong is found: each mistake by the case that is about it. What only looks so passes.

use host::conformance::Report;
use std::path::Path;
use tests::{artifact, native, program};

/// Status and message of `case` for `plugin`, which is tried with `arguments`.
fn found(plugin: &Path, case: &str, arguments: &[&str], variable: Option<(&str, &str)>) -> (String, String) {
    let report = check(plugin, &[&["--only", case], arguments].concat(), variable);
    let outcome = serde_json::to_value(&report.outcomes[0]).expect("plain data");
    (outcome["status"].as_str().expect("text").to_owned(), report.outcomes[0].message.clone())
}

fn check(plugin: &Path, arguments: &[&str], variable: Option<(&str, &str)>) -> Report {
    let home = artifact::folder();
    let mut host = program::host(home.path());
    host.args(["plugin", "check"]).arg(plugin).args(["--json", "--time-limit", "600"]).args(arguments).envs(variable);
    let output = host.output().expect("it starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Every mistake of the fixture `silent`, by its number in the chapter "What the kit proves", with the case that finds it, its verdict, and
/// a word of what it says.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    // 1
    ("plain_mean", "unbelieved", "failed", "Level::mean"),
    ("raw_levels", "unbelieved", "failed", "not valid"),
    ("drops_weight_map", "unbelieved", "failed", "weight is 0"),
    ("counts_everywhere", "unbelieved", "failed", "not valid"),
    ("mask_of_first_sample", "unbelieved", "failed", "not valid"),
    ("masks_finest_only", "unbelieved", "failed", "not valid"),
    ("ignored_is_background", "unbelieved", "warning", "far inside"),
    // 3
    ("own_random_tensor", "reproduced", "failed", "made anew"),
    ("field_from_training", "reproduced", "failed", "made anew"),
    ("seed_in_new", "reproduced", "failed", "seed of the training"),
    ("epochs_in_activate", "reproduced", "failed", "epochs, batch size"),
    ("batch_size_in_activate", "reproduced", "failed", "epochs, batch size"),
    ("threshold_in_state", "reproduced", "failed", "parameters or buffers"),
    // 4
    ("absent_is_background", "absent", "failed", "presence"),
    // 5
    ("scale_made_in_new", "moved-parameters", "failed", "'scale'"),
    ("scale_stuck", "moved-parameters", "failed", "'scale'"),
    ("scale_of_shape", "moved-parameters", "failed", "'scale'"),
    ("learned_made_in_new", "moved-parameters", "failed", "'log_variance'"),
    ("first_scale_in_evaluation", "moved-parameters", "warning", "not in evaluation"),
    ("half_detached", "derivatives", "warning", "detached"),
    // 6
    ("writes_in_validation", "inputs", "failed", "wrote to level 0 of target 'segmentation'"),
    ("writes_in_metrics", "inputs", "failed", "wrote to batch.image"),
    // 7
    ("dropout_always", "evaluation", "failed", "draws random numbers"),
    ("own_noise", "evaluation", "failed", "the second time"),
    ("batch_statistics", "evaluation", "failed", "alone differs"),
    ("batch_maximum", "evaluation", "failed", "alone differs"),
    ("softmax_over_samples", "evaluation", "failed", "activate: sample"),
    ("buffer_in_validation", "evaluation", "failed", "'mean'"),
    ("counts_validation", "evaluation", "failed", "save_state"),
    // 8
    ("offset_no_vector", "made-mirrored", "failed", "vectors"),
    // 9
    ("remembers_by_case", "state", "failed", "names of cases"),
    ("remembers_first_batch", "state", "failed", "neither has seen"),
    // 10
    ("shared_spacing", "after-another", "failed", "statics"),
    ("shared_dims", "after-another", "failed", "statics"),
    // 11
    ("state_in_epoch_start", "state", "failed", "inside an epoch"),
    ("state_in_epoch_end", "state", "failed", "save_state"),
    // 12
    ("levels_twice", "levels", "warning", "Σ weight"),
    ("levels_not", "levels", "warning", "deep_supervision_weights"),
    ("levels_reversed", "levels", "warning", "only level"),
    ("levels_by_root", "levels", "warning", "Σ weight"),
    ("levels_and_finest", "levels", "warning", "only level"),
    // 13
    ("first_sample_only", "samples", "failed", "no gradient"),
    ("last_sample_left_out", "samples", "failed", "no gradient"),
    ("detached_sample", "samples", "failed", "no gradient"),
    ("worst_sample_only", "samples", "warning", "mixed"),
    ("samples_mixed", "samples", "warning", "mixed"),
    ("samples_averaged", "samples", "warning", "mixed"),
    // 14
    ("wrong_sign", "ideal", "warning", "wrong sign"),
    ("class_shift", "ideal", "warning", "class number"),
    ("wrong_axis", "ideal", "warning", "axis"),
    ("permuted_classes", "ideal", "warning", "activate"),
    // 15
    ("no_samples", "terms", "failed", "about no sample"),
    ("all_weights_zero", "terms", "failed", "weight 0"),
    ("no_term", "terms", "failed", "no terms"),
    // 16
    ("frozen_head", "frozen", "warning", "'mix'"),
    // 17
    ("no_price", "priced-weights", "warning", "'log_variance'"),
    ("no_price_sigmoid", "priced-weights", "warning", "'log_variance'"),
    // 18
    ("distances_in_voxels", "inputs", "failed", "spacing"),
    // 19
    ("dead_option", "dead-options", "warning", "sharpness"),
];

#[test]
fn every_mistake_is_found_by_its_case_and_named() {
    let silent = artifact::fixture("silent");
    let right = check(&silent, &[], None);
    let complaints: Vec<_> = right.outcomes.iter().filter(|outcome| !outcome.message.is_empty() && outcome.case != "keeps").collect();
    assert!(complaints.iter().all(|outcome| outcome.case == "priced-weights"), "without a mistake: {complaints:?}");
    for (mistake, case, status, word) in MISTAKES {
        let (found, message) = found(&silent, case, &["--set", &format!("mistake={mistake}")], None);
        assert!(found == *status && message.contains(word), "{mistake}: '{case}' {found}: {message}");
    }
    let (found, message) = found(&silent, "defaults", &[], Some(("SILENT_DEFAULT", "1")));
    assert!(found == "warning" && message.contains("'weight'"), "{found}: {message}");
}

#[test]
fn gradients_by_hand_are_checked_at_every_level_and_term_by_term() {
    let hand = artifact::fixture("hand-dice");
    for wrong in ["unweighted", "finest_only", "half_of_it"] {
        let (status, message) = found(&hand, "gradient-check", &["--set", &format!("gradient={wrong}")], None);
        assert!(status == "failed" && message.contains("term 'dice'"), "{wrong}: {status}: {message}");
    }
}

#[test]
fn mistakes_of_c_are_found() {
    let cpp = native::faulty_cpp();
    let (status, message) = found(&cpp, "unknown-extension", &[], Some(("FAULTY_CPP", "terminated ids")));
    assert!(status == "failed" && message.contains("tp_equals"), "{status}: {message}");
    let (status, message) = found(&cpp, "terms", &["--set", "fault=no samples"], None);
    assert!(status == "failed" && message.contains("tp_make_term"), "{status}: {message}");
    // `strtod` makes 0 of it.
    let (status, message) = found(&cpp, "create", &["--set", "weight=abc"], None);
    assert!(status == "failed" && message.contains("option 'weight'"), "{status}: {message}");
    let (status, message) = found(&cpp, "fuzzed-options", &[], None);
    assert!(status == "warning" && message.contains("schema refuses"), "{status}: {message}");
}

#[test]
fn what_only_looks_suspicious_passes() {
    let honest = artifact::fixture("honest");
    // What is said of it all the same; the two are warnings.
    let told = |design: &str| match design {
        "stop_gradient" => &["derivatives", "gradient-check"][..],
        "frozen_head" => &["frozen"],
        _ => &[],
    };
    for design in [
        "stop_gradient",
        "straight_through",
        "consistency",
        "probe_head",
        "frozen_head",
        "dropout",
        "learned_weights",
        "cl_dice",
        "scheduled_zero",
        "contrastive",
    ] {
        let report = check(&honest, &["--set", &format!("design={design}")], None);
        assert_eq!(report.bad(), 0, "{design}: {report}");
        let warned = report.outcomes.iter().filter(|outcome| outcome.status == host::conformance::Status::Warning);
        assert_eq!(warned.map(|outcome| outcome.case.as_str()).collect::<Vec<_>>(), told(design), "{design}: {report}");
    }
}
