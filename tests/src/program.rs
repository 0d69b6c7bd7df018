//! Runs the program the way a user does, in a folder of its own.

use crate::artifact;
use crate::case::RawData;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
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
    /// Exit code; −1 for a signal.
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
        let folder = tempfile::tempdir().expect("a temporary folder");
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

    /// Whether fold 0 has a checkpoint to resume from.
    pub fn has_checkpoint(&self) -> bool {
        self.models().iter().any(|model| model.join("fold_0/checkpoint_latest.safetensors").is_file())
    }

    fn models(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.results().join("Dataset001_Small")).into_iter().flatten();
        entries.map(|entry| entry.expect("readable").path()).collect()
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

    /// Begins a training and presses Ctrl-C as soon as `ready`.
    pub fn train_until(&self, plugin: &Path, further: &[&str], ready: impl Fn() -> bool) -> Ended {
        let mut child = self.start(self.command(plugin, further));
        let deadline = Instant::now() + Duration::from_secs(120);
        while !ready() && Instant::now() < deadline && child.try_wait().expect("it is ours").is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(interrupted.expect("kill is there").success(), "the program ended before it was interrupted");
        Ended::new(child.wait_with_output().expect("it is ours"))
    }

    /// Begins a training and kills it, without a chance to tidy up, after so many checkpoints and `time` more; how it ended if that was
    /// before.
    pub fn train_and_kill(&self, plugin: &Path, further: &[&str], checkpoints: u32, time: Duration) -> Option<Ended> {
        self.kill_after(self.command(plugin, further), checkpoints, time)
    }

    /// The same for several runs.
    pub fn train_arms_and_kill(&self, further: &[&str], checkpoints: u32, time: Duration) -> Option<Ended> {
        self.kill_after(self.arms_command(further), checkpoints, time)
    }

    fn kill_after(&self, command: Command, checkpoints: u32, time: Duration) -> Option<Ended> {
        let mut child = self.start(command);
        let latest = || self.models().first().and_then(|model| fs::metadata(model.join("fold_0/checkpoint_latest.safetensors")).ok());
        let number = || latest().map(|file| (file.ino(), file.mtime_nsec()));
        let (mut last, mut seen) = (number(), 0);
        while seen < checkpoints && child.try_wait().expect("it is ours").is_none() {
            std::thread::sleep(Duration::from_millis(2));
            let now = number();
            seen += u32::from(now != last);
            last = now;
        }
        std::thread::sleep(time);
        let killed = child.try_wait().expect("it is ours").is_none();
        child.kill().expect("it is ours");
        let ended = Ended::new(child.wait_with_output().expect("it is ours"));
        (!killed).then_some(ended)
    }

    /// Begins a training, makes fold 0 read-only after `time`, and waits for the end. Writable again afterwards.
    pub fn train_until_read_only(&self, plugin: &Path, further: &[&str], time: Duration) -> Ended {
        let command = self.command(plugin, further);
        // For root nothing is read-only, unless it gives up its privileges.
        let mut plain = Command::new("setpriv");
        plain.args(["--bounding-set", "-all"]).arg(command.get_program()).args(command.get_args());
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let child = self.start(if is_root { plain } else { command });
        std::thread::sleep(time);
        let mode = |mode| fs::set_permissions(self.fold(), PermissionsExt::from_mode(mode)).expect("ours");
        mode(0o555);
        let ended = Ended::new(child.wait_with_output().expect("it is ours"));
        mode(0o755);
        ended
    }

    fn start(&self, mut command: Command) -> Child {
        self.prepare(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Runs the program with these arguments alone and kills it, without a chance to tidy up, as soon as `ready`.
    pub fn kill_when(&self, arguments: &[&str], ready: impl Fn() -> bool) {
        let mut program = Command::new(artifact::host());
        program.args(arguments);
        self.prepare(&mut program).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = program.spawn().expect("the program starts");
        while !ready() && child.try_wait().expect("it is ours").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Runs the program with these arguments alone.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut program = Command::new(artifact::host());
        program.args(arguments);
        self.finish(program)
    }

    fn command(&self, plugin: &Path, further: &[&str]) -> Command {
        let mut program = self.arms_command(further);
        program.arg("--plugin").arg(plugin);
        program
    }

    fn arms_command(&self, further: &[&str]) -> Command {
        let mut program = Command::new(artifact::host());
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
        ];
        for pair in defaults.into_iter().filter(|[flag, _]| !further.contains(flag)) {
            program.args(pair);
        }
        program.args(further);
        program
    }

    /// Runs `command` to its end.
    pub fn finish(&self, mut command: Command) -> Ended {
        Ended::new(self.prepare(&mut command).output().expect("the program starts"))
    }

    /// Makes `command` run in the folder, whatever the environment of these tests is.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // Cargo sets LD_LIBRARY_PATH for tests; the program has to find libtorch by itself.
        for variable in [
            "LD_LIBRARY_PATH",
            "nnUNet_raw",
            "nnUNet_results",
            "nnUNet_n_proc_DA",
            "nnUNet_def_n_proc",
            "RUST_LOG",
            "TRAINER_PLUGIN_PATH",
            "TRAINER_LOCKED",
        ] {
            command.env_remove(variable);
        }
        command.env("nnUNet_preprocessed", self.folder().join("preprocessed")).env("XDG_CONFIG_HOME", self.folder().join("config"));
        command.current_dir(self.folder())
    }

    /// The records of `metrics.jsonl` of fold 0.
    pub fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.fold().join("metrics.jsonl")).expect("a record an epoch");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
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

impl Ended {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
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
