//! nnU-Net's variables: where data sets, plans and results are, and how much is done at once. Flags win over them.

use tests::artifact;
use tests::program::{self, Bench, Ended};

/// A training of one step, of which only place and number of workers are left open.
const TRAINING: [&str; 16] = [
    "--epochs",
    "1",
    "--iterations",
    "1",
    "--val-iterations",
    "1",
    "--batch-size",
    "2",
    "--patch-size",
    "16,16,16",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--precision",
    "fp32",
];

/// Runs the program in the bench's folder with `variables`, and none else of nnU-Net's.
fn run(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = program::host(bench.folder());
    command.current_dir(bench.folder()).envs(variables.iter().copied()).args(arguments);
    Ended::of(command)
}

/// Trains on the data set that `dataset` means.
fn train(bench: &Bench, variables: &[(&str, &str)], dataset: &str, further: &[&str]) -> Ended {
    let base = artifact::plugin("base").display().to_string();
    run(bench, variables, &[&["run", "--plugin", &base, "--dataset", dataset], &TRAINING[..], further].concat())
}

/// Asserts that a run has put its plans below `preprocessed` and its results below `results`, under `name`, and has said so.
fn expect_places(bench: &Bench, ended: &Ended, preprocessed: &str, results: &str, name: &str) {
    // Joining an absolute path to a folder gives that path.
    let fold = format!("{results}/Dataset001_Small/{name}__nnUNetPlans__3d_fullres/fold_0");
    assert!(bench.folder().join(&fold).join("checkpoint_final.safetensors").is_file(), "nothing in {fold}");
    assert!(bench.folder().join(preprocessed).join("Dataset001_Small/nnUNetPlans.json").is_file(), "nothing in {preprocessed}");
    for line in [format!("; preprocessed in {preprocessed}"), format!("Results {fold}")] {
        assert!(ended.stdout.lines().any(|printed| printed.ends_with(&line)), "no {line:?} in {}", ended.stdout);
    }
}

#[test]
fn variables_say_where_everything_is_and_flags_win() {
    let bench = Bench::new();
    let [raw, preprocessed, results] = ["raw", "by variable/preprocessed", "by variable/results"];
    let [raw, preprocessed, results] = [raw, preprocessed, results].map(|name| bench.folder().join(name).display().to_string());
    let variables = [("nnUNet_raw", &*raw), ("nnUNet_preprocessed", &*preprocessed), ("nnUNet_results", &*results)];
    let ended = train(&bench, &variables, "1", &[]).expect_success();
    expect_places(&bench, &ended, &preprocessed, &results, "base");

    let flags = ["--preprocessed", "by flag/preprocessed", "--output", "by flag/results", "--name", "flags"];
    let ended = train(&bench, &variables, "Dataset001_Small", &flags).expect_success();
    expect_places(&bench, &ended, "by flag/preprocessed", "by flag/results", "base-flags");

    let listed = |flags: &[&str]| run(&bench, &variables, &[&["runs", "list"], flags].concat()).expect_success().stdout;
    let is_listed = |list: &str| [list.contains("base__nnUNetPlans"), list.contains("base-flags__nnUNetPlans")];
    assert_eq!(is_listed(&listed(&[])), [true, false]);
    assert_eq!(is_listed(&listed(&["--output", "by flag/results"])), [false, true]);
    for default in ["preprocessed", "results"] {
        assert!(!bench.folder().join(default).exists(), "./{default} was made");
    }
}

#[test]
fn without_variables_and_flags_two_folders_here_are_used_and_printed() {
    let bench = Bench::new();
    let empty = [("nnUNet_raw", ""), ("nnUNet_preprocessed", ""), ("nnUNet_results", "")];
    for (variables, further, name) in [(&[][..], &[][..], "base"), (&empty, &["--name", "empty"], "base-empty")] {
        let ended = train(&bench, variables, "raw/Dataset001_Small", further).expect_success();
        expect_places(&bench, &ended, "preprocessed", "results", name);
        train(&bench, variables, "1", further).expect_refusal(&["there is no folder 1", "nnUNet_raw"]);
    }
}

#[test]
fn a_variable_says_how_many_workers_there_are_and_the_flag_wins() {
    let bench = Bench::new();
    let flag = ["--workers", "2"];
    // Of nnU-Net 0 is understood: there it means that nobody helps the main process.
    for (variable, flags, workers) in [("3", &[][..], 3), ("3", &flag, 2), ("0", &[], 1), ("many", &flag, 2)] {
        let arguments = [flags, &["--overwrite"]].concat();
        let ended = train(&bench, &[("nnUNet_n_proc_DA", variable)], "raw/Dataset001_Small", &arguments).expect_success();
        let line = format!("Device cpu, fp32, 1 threads, {workers} workers");
        assert!(ended.stdout.lines().any(|printed| printed == line), "no {line:?} in {}", ended.stdout);
    }
}

#[test]
fn a_number_of_processes_that_is_none_is_refused_under_its_variable_unless_a_flag_wins() {
    let bench = Bench::new();
    let dataset = "raw/Dataset001_Small";
    let untouched = || assert!(["preprocessed", "results"].iter().all(|name| !bench.folder().join(name).exists()), "something was begun");
    for wrong in ["many", "-1", "2.5", "99999999999999999999"] {
        for name in ["nnUNet_n_proc_DA", "nnUNet_def_n_proc"] {
            train(&bench, &[(name, wrong)], dataset, &[]).expect_refusal(&[&format!("{name} is '{wrong}'; expected a number")]);
            untouched();
        }
        let variables = [("nnUNet_def_n_proc", wrong)];
        for command in [&["plan-and-preprocess"][..], &["dataset", "check"]] {
            let command = [command, &["--dataset", dataset]].concat();
            run(&bench, &variables, &command).expect_refusal(&[&format!("nnUNet_def_n_proc is '{wrong}'; expected a number")]);
        }
        untouched();
    }
    for number in ["1", "2", "64"] {
        run(&bench, &[("nnUNet_def_n_proc", number)], &["dataset", "check", "--dataset", dataset]).expect_success();
    }
    let flag = ["plan-and-preprocess", "--dataset", dataset, "--threads", "2"];
    run(&bench, &[("nnUNet_def_n_proc", "many")], &flag).expect_success();
    assert_eq!(bench.stores("nnUNetPlans_3d_fullres").len(), 1);
}
