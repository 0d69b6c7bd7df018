//! Runs the program the way a user does, in a folder of its own.

use crate::artifact;
use crate::case::RawData;
use imaging::failpoint;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with a small data set, in which the program runs.
#[derive(Debug)]
pub struct Bench {
    folder: TempDir,
    /// The data set.
    pub raw: RawData,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code, or the number of the signal that ended it, negative.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Bench {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "writes files")]
    pub fn new() -> Self {
        let folder = artifact::folder();
        let raw = RawData::write(&folder.path().join("raw"));
        Self { folder, raw }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where results go.
    pub fn results(&self) -> PathBuf {
        self.folder().join("results")
    }

    /// The folder of fold 0 of the one run that there is.
    pub fn fold(&self) -> PathBuf {
        let models = self.models();
        assert_eq!(models.len(), 1, "one model in {models:?}");
        models[0].join("fold_0")
    }

    fn models(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.results().join("Dataset001_Small")).into_iter().flatten();
        entries.map(|entry| entry.expect("readable").path()).collect()
    }

    /// The folders of preprocessed cases whose `data_identifier` is `identifier`: one for each set of plans and labels.
    pub fn stores(&self, identifier: &str) -> Vec<PathBuf> {
        stores(&self.folder().join("preprocessed/Dataset001_Small"), identifier)
    }

    /// Adds the configuration `tiny` to the plans: three stages with few channels, for trainings of many steps.
    pub fn plan_tiny(&self) {
        let dataset = self.raw.folder.to_str().expect("UTF-8");
        self.run(&["plan", "--dataset", dataset]).expect_success();
        let path = self.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
        let mut plans: Value = serde_json::from_str(&fs::read_to_string(&path).expect("planned")).expect("JSON");
        let mut tiny = plans["configurations"]["3d_fullres"].clone();
        let (ones, twos) = ([1, 1, 1], [2, 2, 2]);
        tiny["patch_size"] = json!([16, 16, 16]);
        let kwargs = &mut tiny["architecture"]["arch_kwargs"];
        let stages = [
            ("n_stages", json!(3)),
            ("features_per_stage", json!([8, 16, 32])),
            ("kernel_sizes", json!([[3, 3, 3], [3, 3, 3], [3, 3, 3]])),
            ("strides", json!([ones, twos, twos])),
            ("n_conv_per_stage", json!([1, 1, 1])),
            ("n_conv_per_stage_decoder", json!([1, 1])),
        ];
        stages.into_iter().for_each(|(key, value)| kwargs[key] = value);
        plans["configurations"]["tiny"] = tiny;
        fs::write(&path, plans.to_string()).expect("writable");
    }

    /// Trains one epoch of two iterations on small patches; `further` arguments win.
    pub fn train(&self, plugin: &Path, further: &[&str]) -> Ended {
        self.finish(self.command(plugin, further))
    }

    /// The same for several runs, which `further` names with `--arm`.
    pub fn train_arms(&self, further: &[&str]) -> Ended {
        self.finish(self.arms_command(further))
    }

    /// The same with no file larger than `kilobytes`, as on a full disk.
    pub fn train_on_full_disk(&self, plugin: &Path, further: &[&str], kilobytes: u64) -> Ended {
        let command = self.command(plugin, further);
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("ulimit -S -f {kilobytes}; exec \"$@\""), "bash"]).arg(command.get_program()).args(command.get_args());
        self.finish(shell)
    }

    /// Trains until the program is interrupted at `point` (see [`imaging::failpoint`]), as by Ctrl-C, and asserts that it ended by that.
    pub fn train_interrupted(&self, plugin: &Path, further: &[&str], point: &str) -> Ended {
        let ended = self.finish(at(self.command(plugin, further), point, "INT"));
        assert_eq!(ended.code, 130, "expected an interruption at {point}: {ended:#?}");
        ended
    }

    /// Trains until the program is killed at `point`, without a chance to tidy up, and asserts that it was.
    pub fn train_killed(&self, plugin: &Path, further: &[&str], point: &str) {
        self.expect_kill(self.command(plugin, further), point);
    }

    /// The same for several runs.
    pub fn train_arms_killed(&self, further: &[&str], point: &str) {
        self.expect_kill(self.arms_command(further), point);
    }

    /// Runs the program with these arguments alone until it is killed at `point`, and asserts that it was.
    pub fn run_killed(&self, arguments: &[&str], point: &str) {
        let mut program = self.host();
        program.args(arguments);
        self.expect_kill(program, point);
    }

    fn expect_kill(&self, command: Command, point: &str) {
        let ended = self.finish(at(command, point, "KILL"));
        assert_eq!(ended.code, -libc::SIGKILL, "expected to be killed at {point}: {ended:#?}");
    }

    /// Trains, makes fold 0 read-only when the program comes to `point`, and waits for the end. Writable again afterwards.
    pub fn train_until_read_only(&self, plugin: &Path, further: &[&str], point: &str) -> Ended {
        let mode = |mode| fs::set_permissions(self.fold(), PermissionsExt::from_mode(mode)).expect("ours");
        let ended = self.finish_after(unprivileged(self.command(plugin, further)), point, None, || mode(0o555));
        mode(0o755);
        ended
    }

    /// Trains as somebody who may not write to what lies in `folder`.
    pub fn train_with_read_only(&self, folder: &Path, plugin: &Path, further: &[&str]) -> Ended {
        let mut entries = vec![folder.to_owned()];
        walk(folder, &mut |path| entries.extend([path.to_owned(), path.parent().expect("a folder").to_owned()]));
        let writable = |on: bool| {
            for path in &entries {
                let mode = if path.is_dir() { 0o555 } else { 0o444 } | if on { 0o200 } else { 0 };
                fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
            }
        };
        writable(false);
        let ended = self.finish(unprivileged(self.command(plugin, further)));
        writable(true);
        ended
    }

    /// Trains, does `work` while the program stands at `point`, lets it go on, and waits for its end.
    pub fn train_while(&self, plugin: &Path, further: &[&str], point: &str, work: impl FnOnce()) -> Ended {
        self.finish_after(self.command(plugin, further), point, None, work)
    }

    /// Lets `command` come to `point`, does `work`, sends a signal if one is named, and lets the command go on to its end.
    pub fn finish_after(&self, command: Command, point: &str, signal: Option<i32>, work: impl FnOnce()) -> Ended {
        let mut command = at(command, point, "STOP");
        let child = self.prepare(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (pid, mut status) = (child.id() as libc::pid_t, 0);
        // SAFETY: the child is ours; one that has only stopped can still be waited for.
        let stopped = unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) } == pid && libc::WIFSTOPPED(status);
        assert!(stopped, "the program ended before it came to its point");
        work();
        for signal in signal.into_iter().chain([libc::SIGCONT]) {
            // SAFETY: as above.
            unsafe { libc::kill(pid, signal) };
        }
        Ended::new(child.wait_with_output().expect("it is ours"))
    }

    /// Predicts the images in `input`, a folder or a file, quickly; `further` arguments win.
    pub fn predict(&self, model: &Path, input: &Path, further: &[&str]) -> Ended {
        self.finish(self.prediction(model, input, further))
    }

    /// The command that does so.
    pub fn prediction(&self, model: &Path, input: &Path, further: &[&str]) -> Command {
        let mut program = self.host();
        program.arg("predict").arg("--model").arg(model).arg("--input").arg(input);
        if !further.contains(&"--output") {
            program.arg("--output").arg(self.predicted());
        }
        let quick = [["--device", "cpu"], ["--threads", "1"], ["--tta", "off"], ["--folds", "0"], ["--precision", "fp32"]];
        program.args(quick.into_iter().filter(|[flag, _]| !further.contains(flag)).flatten()).args(further);
        program
    }

    /// Where predictions go.
    pub fn predicted(&self) -> PathBuf {
        self.folder().join("predicted")
    }

    /// Runs the program with these arguments alone.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut program = self.host();
        program.args(arguments);
        self.finish(program)
    }

    fn command(&self, plugin: &Path, further: &[&str]) -> Command {
        let mut program = self.arms_command(further);
        program.arg("--plugin").arg(plugin);
        program
    }

    fn arms_command(&self, further: &[&str]) -> Command {
        let mut program = self.host();
        program.arg("run").arg("--dataset").arg(&self.raw.folder).arg("--output").arg(self.results());
        let defaults = [
            ["--configuration", "3d_fullres"],
            ["--fold", "0"],
            ["--epochs", "1"],
            ["--iterations", "2"],
            ["--val-iterations", "1"],
            ["--batch-size", "2"],
            ["--patch-size", "16,16,16"],
            ["--seed", "0"],
            ["--workers", "1"],
            ["--threads", "1"],
            ["--device", "cpu"],
            // bf16 on some machines, fp32 on others, unless it is said.
            ["--precision", "fp32"],
        ];
        for pair in defaults.into_iter().filter(|[flag, _]| !further.contains(flag)) {
            program.args(pair);
        }
        program.args(further);
        program
    }

    /// Runs `command` to its end.
    pub fn finish(&self, mut command: Command) -> Ended {
        self.prepare(&mut command);
        Ended::of(command)
    }

    /// The program, to be given arguments and run in the folder.
    pub fn host(&self) -> Command {
        let mut command = host(self.folder());
        self.prepare(&mut command);
        command
    }

    /// Makes `command` run in the folder, whatever the environment of these tests is.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        without_environment(command, self.folder());
        command.env("nnUNet_preprocessed", self.folder().join("preprocessed")).current_dir(self.folder())
    }

    /// The records of `metrics.jsonl` of fold 0.
    pub fn records(&self) -> Vec<Value> {
        records(&self.fold())
    }

    /// Those records without what may differ from run to run.
    pub fn lasting_records(&self) -> Vec<Value> {
        self.lasting_records_of(&self.fold())
    }

    /// The same of another fold.
    pub fn lasting_records_of(&self, fold: &Path) -> Vec<Value> {
        let schema: Value = serde_json::from_str(&self.run(&["runs", "schema"]).expect_success().stdout).expect("JSON");
        let varies = |name: &String| schema["properties"][name]["x-varies"] == true;
        assert!(varies(&"seconds".to_owned()), "{schema}");
        let mut records = records(fold);
        records.iter_mut().for_each(|record| record.as_object_mut().expect("an object").retain(|name, _| !varies(name)));
        records
    }

    /// What `validation/summary.json` of fold 0 says, without the path of this folder.
    pub fn summary(&self) -> String {
        let text = fs::read_to_string(self.fold().join("validation/summary.json")).expect("validated");
        text.replace(&self.folder().display().to_string(), "")
    }

    /// The bytes of every tensor in fold 0's final checkpoint.
    pub fn final_tensors(&self) -> BTreeMap<String, Vec<u8>> {
        self.tensors("final")
    }

    /// The bytes of every tensor in fold 0's checkpoint `which`.
    pub fn tensors(&self, which: &str) -> BTreeMap<String, Vec<u8>> {
        tensors_of(&self.fold().join(format!("checkpoint_{which}.safetensors")))
    }

    /// Temporary files that a run left behind.
    pub fn half_written(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.folder(), &mut |path| {
            if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('.') || name.ends_with(".tmp")) {
                found.push(path.to_owned());
            }
        });
        found
    }
}

/// The folders of preprocessed cases in `folder` whose `data_identifier` is `identifier`, sorted.
pub fn stores(folder: &Path, identifier: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".store"));
        name.and_then(|name| name.strip_prefix(identifier)).is_some_and(|key| key.is_empty() || key.starts_with('-'))
    };
    let mut found: Vec<PathBuf> = entries.filter(is_it).collect();
    found.sort();
    found
}

/// The program as a fresh account starts it: with `home` as its home, and nothing of what the environment of these tests says.
///
/// Every start of the program goes through here.
pub fn host(home: &Path) -> Command {
    let mut command = Command::new(artifact::host());
    without_environment(&mut command, home);
    command
}

/// Takes from `command` what the environment of these tests tells the program, and its user's folders.
fn without_environment(command: &mut Command, home: &Path) {
    // Cargo sets LD_LIBRARY_PATH for tests; the program has to find libtorch by itself.
    const PREFIXES: [&str; 8] = ["TRAINER_", "nnUNet_", "HOST_", "XDG_", "OMP_", "GOMP_", "KMP_", "MKL_"];
    let theirs = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(theirs)) {
        command.env_remove(name);
    }
    for name in ["LD_LIBRARY_PATH", "RUST_LOG", "RUST_LOG_STYLE"] {
        command.env_remove(name);
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
    // Threads of libtorch that wait for one another otherwise keep their cores busy, beside other work for many times as long as they compute.
    command.env("OMP_WAIT_POLICY", "PASSIVE");
}

/// Makes `command` raise a signal when it comes to `point` for the time that a number after it says: `"train.step 20"`.
fn at(mut command: Command, point: &str, signal: &str) -> Command {
    command.env(failpoint::VARIABLE, format!("{point} {signal}"));
    command
}

/// `command` as a user who is not root: for root nothing is read-only, unless it gives up its privileges.
fn unprivileged(command: Command) -> Command {
    if !fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return command;
    }
    let mut plain = Command::new("setpriv");
    plain.args(["--bounding-set", "-all"]).arg(command.get_program()).args(command.get_args());
    plain.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    plain
}

impl Ended {
    /// Runs `command` to its end, in the environment that it was given.
    pub fn of(mut command: Command) -> Self {
        Self::new(command.output().expect("the program starts"))
    }

    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().unwrap_or_else(|| -output.status.signal().expect("ended by one or the other")),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Asserts success.
    pub fn expect_success(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Asserts that it came to an end by itself: exit code 1, and a last line on stderr that holds all of `words`.
    pub fn expect_failure(&self, words: &[&str]) {
        let last = self.stderr.lines().last().unwrap_or_default();
        println!("{last}");
        assert_eq!(self.code, 1, "{self:#?}");
        words.iter().for_each(|word| assert!(last.contains(word), "no {word:?} in: {last}"));
    }

    /// Asserts that it was refused: exit code 1 and one line on stderr that holds all of `words`.
    pub fn expect_refusal(&self, words: &[&str]) {
        // Seen with `--nocapture`: the whole list of what a user may read.
        print!("{}", self.stderr);
        assert_eq!(self.code, 1, "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in: {}", self.stderr);
        }
    }
}

fn records(fold: &Path) -> Vec<Value> {
    let text = fs::read_to_string(fold.join("metrics.jsonl")).expect("a record an epoch");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What the `summary.json` in `folder` says. Its NaN, which Python writes without quotes, is text.
pub fn read_summary(folder: &Path) -> Value {
    imaging::io::read_json(&folder.join("summary.json")).expect("measured")
}

/// The bytes of every tensor in a checkpoint.
pub fn tensors_of(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(checkpoint).expect("trained");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect()
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable")) {
        let path = entry.path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}
