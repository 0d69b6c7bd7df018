//! Which plugins run: pinned ones, shipped ones, what nobody else can have written; that what was checked is what runs; that what ran is on record.

use gate::LibraryFile;
use host::plugin;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact;
use tests::program::{Bench, Ended};

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn sha256(library: &Path) -> String {
    LibraryFile::read(library).expect("a plugin").identity.sha256
}

/// A copy of `library` that nobody else can write to, whatever the umask is, in a folder of the same kind.
fn copy(library: &Path, to: PathBuf) -> PathBuf {
    let folder = to.parent().expect("a folder");
    fs::create_dir_all(folder).expect("writable");
    fs::copy(library, &to).expect("writable");
    mode(folder, 0o755);
    mode(&to, 0o755);
    to
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
}

fn trust(bench: &Bench, arguments: &[&str]) -> Ended {
    bench.run(&[&["plugin", "trust"], arguments].concat())
}

#[test]
fn locked_runs_only_what_is_pinned() {
    let bench = Bench::new();
    let library = copy(&artifact::fixture("brier"), bench.folder().join("my plugins/libbrier.so"));
    let path = utf8(&library);
    let refusal = [&sha256(&library), "is not pinned", &format!("host plugin trust add '{path}'")];
    bench.run(&["plugin", "schema", "--locked", path]).expect_refusal(&refusal);
    bench.train(&library, &["--locked"]).expect_refusal(&refusal);
    let strict = |command: &[&str]| {
        let mut program = Command::new("env");
        program.arg("TRAINER_LOCKED=1").arg(artifact::host()).args(command);
        bench.finish(program)
    };
    let train = ["run", "--dataset", utf8(&bench.raw.folder), "--plugin", path];
    strict(&train).expect_refusal(&refusal);
    assert!(!bench.results().exists() && !bench.folder().join("preprocessed").exists(), "something was begun");

    let inspect = |words: &str| {
        let told = bench.run(&["plugin", "inspect", path]).expect_success().stdout;
        assert!(told.contains(words), "{told}");
    };
    inspect("not pinned\n");
    let added = trust(&bench, &["add", path]).expect_success().stdout;
    assert!(added.contains("pinned brier") && added.contains(&sha256(&library)), "{added}");
    inspect("pinned on 20");
    bench.run(&["plugin", "schema", "--locked", path]).expect_success();
    strict(&["plugin", "schema", path]).expect_success();
    bench.train(&library, &["--locked"]).expect_success();

    // What is pinned are the bytes: wherever they are, and no others.
    let elsewhere = copy(&library, bench.folder().join("elsewhere.so"));
    bench.run(&["plugin", "schema", "--locked", utf8(&elsewhere)]).expect_success();
    let changed = artifact::with_manifest(&library, bench.folder(), |manifest| manifest.version = "9".to_owned());
    let model = bench.fold().parent().expect("a model").to_owned();
    let images = bench.raw.folder.join("imagesTr");
    let predict = ["predict", "--model", utf8(&model), "--input", utf8(&images), "--output", "out", "--plugin", utf8(&changed), "--locked"];
    bench.run(&predict).expect_refusal(&[&sha256(&changed), "is not pinned", &sha256(&library), "host plugin trust add"]);
    let unlocked = bench.train(&changed, &["--name", "other"]).expect_success();
    let warning = unlocked.stderr.lines().find(|line| line.contains("is not pinned")).expect("a warning").to_owned();
    assert!([sha256(&changed), sha256(&library)].iter().all(|hash| warning.contains(hash)), "{warning}");
}

#[test]
fn what_ships_with_the_host_is_known_by_its_place() {
    let bench = Bench::new();
    let (base, brier) = (artifact::plugin("base"), artifact::fixture("brier"));
    let installed = bench.folder().join("installed");
    let program = copy(&artifact::host(), installed.join("host"));
    let schema = |plugin: &Path| {
        let mut command = Command::new(&program);
        command.args(["plugin", "schema", "--locked"]).arg(plugin);
        bench.finish(command)
    };
    let beside = |library: &Path, name: &str| copy(library, installed.join(name));
    let shipped = beside(&base, "libbase.so");
    schema(Path::new("base")).expect_success();
    let link = bench.folder().join("liblink.so");
    symlink(&shipped, &link).expect("writable");
    schema(&link).expect_success();

    // Beside the program, but not one of the host's; one of the host's, but elsewhere, or under another name.
    let unknown = |plugin: &Path| schema(plugin).expect_refusal(&["is not pinned", "host plugin trust add"]);
    unknown(&beside(&brier, "libbrier.so"));
    unknown(&copy(&base, bench.folder().join("libbase.so")));
    unknown(&beside(&base, "libother.so"));
    let replace = || fs::remove_file(&shipped).expect("ours");
    replace();
    unknown(&beside(&brier, "libbase.so"));
    replace();
    symlink(&base, &shipped).expect("writable");
    unknown(&shipped);
    replace();
    schema(&beside(&base, "libbase.so")).expect_success();
    mode(&installed, 0o777);
    schema(&shipped).expect_refusal(&["its folder", "writable for everybody"]);
}

#[test]
fn pins_are_added_listed_and_taken_back() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    let [a, b, c] = ["one", "two", "three"].map(|version| {
        let patched = artifact::with_manifest(&base, bench.folder(), |manifest| manifest.version = version.to_owned());
        let library = bench.folder().join(format!("lib{version}.so"));
        fs::rename(patched, &library).expect("ours");
        library
    });
    let list = || trust(&bench, &["list"]).expect_success().stdout;
    let states = || {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        list().lines().skip(1).map(words).map(|words| format!("{} {}", words[1], words[4])).collect::<Vec<_>>()
    };
    assert!(list().contains("No plugin is pinned"));
    trust(&bench, &["add", utf8(&a), utf8(&bench.folder().join("libmissing.so"))]).expect_refusal(&["libmissing.so", "does not exist"]);
    assert!(list().contains("No plugin is pinned"), "all or none");
    mode(&a, 0o666);
    trust(&bench, &["add", utf8(&a)]).expect_refusal(&["libone.so", "writable for everybody"]);
    mode(&a, 0o644);
    trust(&bench, &["add", utf8(&a), utf8(&b)]).expect_success();
    let added = trust(&bench, &["add", utf8(&c)]).expect_success().stdout;
    assert!(added.contains("base one of 20") && added.contains("stays pinned"), "{added}");
    trust(&bench, &["add", utf8(&c)]).expect_success();
    assert_eq!(states(), ["one unchanged", "two unchanged", "three unchanged"]);

    let (pinned, digits) = (sha256(&b), sha256(&a)[..16].to_owned());
    fs::write(&b, fs::read(&c).expect("there")).expect("ours");
    fs::remove_file(&a).expect("ours");
    assert_eq!(states(), ["one gone", "two changed", "three unchanged"]);
    trust(&bench, &["remove", "nothing"]).expect_refusal(&["nothing of that name is pinned", &digits, "base"]);
    trust(&bench, &["remove", &digits, "nothing"]).expect_refusal(&["nothing of that name is pinned"]);
    assert_eq!(states().len(), 3, "all or none");
    let removed = trust(&bench, &["remove", &digits]).expect_success().stdout;
    assert!(removed.contains(&digits) && !removed.contains(&pinned), "{removed}");
    assert_eq!(states(), ["two changed", "three unchanged"]);
    // Its path, though another library lies there now, which is pinned, too.
    trust(&bench, &["remove", utf8(&b)]).expect_success();
    trust(&bench, &["add", utf8(&b)]).expect_success();
    trust(&bench, &["remove", "base"]).expect_success();
    assert!(list().contains("No plugin is pinned"));
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

#[test]
fn a_list_of_pins_that_cannot_be_relied_on() {
    let bench = Bench::new();
    let library = copy(&artifact::fixture("brier"), bench.folder().join("libbrier.so"));
    trust(&bench, &["add", utf8(&library)]).expect_success();
    let list = bench.folder().join("config/trainer-host/trusted.json");
    let good = fs::read(&list).expect("written");
    let refuses = |words: &[&str]| {
        for command in [&["list"][..], &["add", utf8(&library)], &["remove", "brier"]] {
            trust(&bench, command).expect_refusal(words);
        }
        bench.train(&library, &["--locked"]).expect_refusal(words);
        bench.run(&["plugin", "schema", utf8(&library)]).expect_success();
    };
    fs::write(&list, &good[..good.len() / 2]).expect("ours");
    refuses(&[utf8(&list), "EOF", "move it away"]);
    assert_eq!(fs::read(&list).expect("there"), good[..good.len() / 2], "it was changed");
    fs::write(&list, &good).expect("ours");
    mode(&list, 0o666);
    refuses(&[utf8(&list), "writable for everybody", "chmod go-w"]);
    mode(&list, 0o644);
    mode(list.parent().expect("a folder"), 0o777);
    refuses(&[utf8(&list), "its folder", "chmod go-w"]);
}

#[test]
fn nobody_else_can_have_written_it() {
    let bench = Bench::new();
    let folder = bench.folder().join("a/b");
    let library = copy(&artifact::fixture("brier"), folder.join("libbrier.so"));
    let refuses = |words: &[&str]| {
        bench.train(&library, &[]).expect_refusal(words);
        let told = bench.run(&["plugin", "inspect", utf8(&library)]).expect_success().stdout;
        assert!(told.contains("loadable     no: ") && words.iter().all(|word| told.contains(word)), "{told}");
    };
    let fine = || drop(bench.run(&["plugin", "schema", utf8(&library)]).expect_success());
    let above = bench.folder().join("a");
    mode(&above, 0o755);
    fine();
    for path in [&library, &folder, &above] {
        mode(path, 0o757);
        refuses(&["libbrier.so", "writable for everybody (mode 757)", "chmod go-w ", utf8(path)]);
        mode(path, 0o755);
    }
    // As /tmp is.
    mode(&above, 0o1777);
    fine();
}

/// What `library` says of its options.
fn options(library: &plugin::Plugin) -> Value {
    plugin::describe(&**library).expect("it can say").schema
}

#[test]
fn what_was_checked_is_what_runs() {
    let folder = artifact::folder();
    let (good, other) = (artifact::fixture("brier"), artifact::fixture("two-heads"));
    let expected = options(&plugin::load(&good, &artifact::this_host()).expect("loads"));
    assert_ne!(options(&plugin::load(&other, &artifact::this_host()).expect("loads")), expected);
    let path = folder.path().join("libplugin.so");
    type Change = fn(&Path, &Path);
    let renamed: Change = |other, path| {
        let beside = path.with_extension("new");
        fs::copy(other, &beside).expect("writable");
        fs::rename(beside, path).expect("ours");
    };
    let rewritten: Change = |other, path| fs::write(path, fs::read(other).expect("there")).expect("ours");
    let emptied: Change = |_, path| fs::write(path, "").expect("ours");
    for (number, change) in [renamed, rewritten, emptied].into_iter().enumerate() {
        // Each of other bytes, so that each is loaded, with its statics, for the first time.
        let before = artifact::with_manifest(&good, folder.path(), |manifest| manifest.version = number.to_string());
        fs::rename(before, &path).expect("ours");
        let checked = LibraryFile::read(&path).expect("a plugin");
        checked.check(&artifact::this_host()).expect("nobody else's");
        let sha256 = checked.identity.sha256.clone();
        change(&other, &path);
        let library = plugin::load_file(checked, &artifact::this_host()).expect("loads");
        assert_eq!((library.identity().manifest.id.as_str(), &library.identity().sha256), ("brier", &sha256), "change {number}");
        assert_eq!(options(&library), expected, "change {number}");
        // Nor does what runs already change, or crash, with its file.
        emptied(&other, &path);
        assert_eq!(options(&library), expected, "change {number}");
    }
}

#[test]
fn what_trained_is_on_record() {
    let bench = Bench::new();
    let library = artifact::fixture("brier");
    let sha256 = sha256(&library);
    bench.train(&library, &[]).expect_success();
    let fold = bench.fold();
    let model = fold.parent().expect("a model");
    let exported = bench.folder().join("exported");
    let export = ["model", "export", "--model", utf8(model), "--format", "safetensors", "--output", utf8(&exported)];
    bench.run(&export).expect_success();
    for folder in [model, &exported] {
        let plugin: Value = serde_json::from_slice(&fs::read(folder.join("plugin.json")).expect("there")).expect("JSON");
        assert_eq!((&plugin["sha256"], &plugin["manifest"]["id"]), (&Value::from(&*sha256), &Value::from("brier")), "{plugin}");
        let checkpoint = fs::read(folder.join("fold_0/checkpoint_final.safetensors")).expect("there");
        let (_, header) = safetensors::SafeTensors::read_metadata(&checkpoint).expect("safetensors");
        let header: Value = serde_json::from_str(&header.metadata().as_ref().expect("told")["checkpoint"]).expect("JSON");
        let record = &header["identity"]["library"];
        assert_eq!((&record["sha256"], &record["manifest"]["id"]), (&Value::from(&*sha256), &Value::from("brier")), "{record}");
    }
    let log = fs::read_to_string(fold.join("log.txt")).expect("there");
    assert!(log.lines().any(|line| line.contains("Plugin brier") && line.contains(&sha256)), "{log}");
    let show = bench.run(&["runs", "show", utf8(&fold)]).expect_success().stdout;
    assert!(show.lines().any(|line| line.starts_with("sha256") && line.contains(&sha256)), "{show}");
}
