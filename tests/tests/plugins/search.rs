//! How plugins are found: in which folders, in which order, by which names; and what is said of those that are broken.

use gate::LibraryFile;
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact;
use tests::program::{Bench, Ended};

/// A copy of the program in a folder of its own, beside which no plugins lie.
struct Installed {
    bench: Bench,
    /// `TRAINER_PLUGIN_PATH`.
    search_path: Vec<PathBuf>,
}

impl Installed {
    fn new() -> Self {
        let installed = Self { bench: Bench::new(), search_path: Vec::new() };
        fs::create_dir(installed.folder("installed")).expect("writable");
        fs::copy(artifact::host(), installed.folder("installed/host")).expect("writable");
        installed
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }

    /// Where plugins of this user are.
    fn of_user(&self) -> PathBuf {
        self.folder(".local/share/trainer-plugins")
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(self.folder("installed/host"));
        self.bench.prepare(&mut command).args(arguments);
        command.env("TRAINER_PLUGIN_PATH", env::join_paths(&self.search_path).expect("no colons"));
        Ended::of(command)
    }

    /// The rows of `host plugin list`: id, or `?`, and all from the path on.
    fn list(&self) -> Vec<(String, String)> {
        let list = self.run(&["plugin", "list"]).expect_success().stdout;
        let row =
            |line: &str| (line.split_whitespace().next().expect("an id").to_owned(), line[line.find('/').expect("a path")..].to_owned());
        list.lines().skip(1).map(row).collect()
    }
}

/// Puts a plugin of this id at `path`.
fn put(id: &str, path: &Path) {
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).expect("writable");
    let patched = artifact::with_manifest(&artifact::plugin("base"), folder, |manifest| manifest.id = id.to_owned());
    fs::rename(patched, path).expect("ours");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn folders_are_searched_in_their_order_and_the_working_folder_never() {
    let mut installed = Installed::new();
    let nothing = installed.run(&["plugin", "list"]).expect_success().stdout;
    assert!(nothing.starts_with("No plugins found."), "{nothing}");
    let folders =
        [installed.folder("one"), installed.folder("missing"), installed.folder("two"), installed.folder("installed"), installed.of_user()];
    let [one, missing, two, beside, of_user] = &folders;
    installed.search_path = vec![one.clone(), missing.clone(), "relative".into(), two.clone()];
    let expected = [
        ("a-first", one.join("liba.so")),
        ("first", one.join("libb.so")),
        ("second", two.join("liba.so")),
        ("third", beside.join("liba.so")),
        ("fourth", of_user.join("liba.so")),
    ];
    // Made in another order than they are searched.
    expected.iter().rev().for_each(|(id, path)| put(id, path));
    put("relative", &installed.folder("relative/liba.so"));
    put("here", &installed.folder("libhere.so"));

    assert_eq!(installed.list(), expected.each_ref().map(|(id, path)| ((*id).to_owned(), text(path))));
    for (id, path) in &expected {
        let told = installed.run(&["plugin", "inspect", id]).expect_success().stdout;
        assert!(told.starts_with(&format!("path         {}\n", text(path))), "{told}");
    }
    let searched = folders.each_ref().map(|folder| text(folder)).join(", ");
    for id in ["here", "relative"] {
        installed.run(&["plugin", "inspect", id]).expect_refusal(&[&format!("no plugin '{id}' in {searched}")]);
    }
    installed.run(&["plugin", "inspect", "secnod"]).expect_refusal(&["did you mean 'second'?"]);
    // A library that is named by its path is not searched for.
    for path in ["libhere.so", "./libhere.so"] {
        installed.run(&["plugin", "inspect", path]).expect_success();
    }
}

#[test]
fn an_id_that_two_files_have_is_ambiguous_and_both_are_named() {
    let mut installed = Installed::new();
    installed.search_path = vec![installed.folder("one")];
    let places = [installed.folder("one/libtwin.so"), installed.of_user().join("libtwin.so")];
    places.iter().for_each(|path| put("twin", path));
    assert_eq!(installed.list(), places.each_ref().map(|path| ("twin".to_owned(), text(path))));
    let [first, second] = &places;
    let ambiguous = format!("plugin id 'twin' is ambiguous: {}, {}; give the path of the one you want", text(first), text(second));
    let dataset = text(&installed.bench.raw.folder);
    for command in [&["plugin", "inspect", "twin"][..], &["plugin", "schema", "twin"], &["run", "--plugin", "twin", "--dataset", &dataset]]
    {
        installed.run(command).expect_refusal(&[&ambiguous]);
    }
    assert!(!installed.folder("preprocessed").exists() && !installed.folder("results").exists(), "something was begun");
    let inspect = |plugin: &str| installed.run(&["plugin", "inspect", plugin]).expect_success().stdout;
    assert!(inspect(&text(second)).starts_with(&format!("path         {}\n", text(second))));

    // One file by two names is one plugin.
    fs::remove_file(second).expect("ours");
    symlink(first, second).expect("writable");
    assert_eq!(installed.list(), [("twin".to_owned(), text(first))]);
    assert!(inspect("twin").starts_with(&format!("path         {}\n", text(first))));
}

#[test]
fn broken_plugins_are_listed_as_what_they_are_and_what_is_no_plugin_is_not() {
    let mut installed = Installed::new();
    let folder = installed.folder("one");
    installed.search_path = vec![folder.clone()];
    let whole = folder.join("libwhole.so");
    put("whole", &whole);
    put("../elsewhere", &folder.join("libid.so"));
    let bytes = fs::read(&whole).expect("there");
    let spoil = |name: &str, place: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[place..place + with.len()].copy_from_slice(with);
        fs::write(folder.join(name), bytes).expect("writable");
    };
    let manifest = bytes.windows(7).position(|bytes| bytes == b"{\"id\":\"").expect("a manifest");
    spoil("libjson.so", manifest, b"{\"id\":,");
    // The machine in the header of an ELF file: AArch64, or x86-64 there.
    let other: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    spoil("libmachine.so", 18, &other.to_le_bytes());
    // Neither libraries nor plugins.
    fs::write(folder.join("libtext.so"), "not a library").expect("writable");
    fs::copy(Path::new(env!("TESTS_LIBTORCH")).join("libc10.so"), folder.join("libc10.so")).expect("writable");
    fs::copy(&whole, folder.join("plugin")).expect("writable");
    fs::create_dir(folder.join("libfolder.so")).expect("writable");
    symlink(folder.join("gone"), folder.join("liblink.so")).expect("writable");

    let broken = [
        ("libid.so", "has a broken manifest: its id is \"../elsewhere\""),
        ("libjson.so", "has a broken manifest: "),
        ("libmachine.so", "is built for "),
    ];
    let list = installed.list();
    assert_eq!(list.len(), broken.len() + 1, "{list:?}");
    assert_eq!(list[broken.len()], ("whole".to_owned(), text(&whole)));
    for ((id, told), (name, reason)) in list.iter().zip(broken) {
        let path = text(&folder.join(name));
        assert!(id == "?" && told.starts_with(&format!("{path} {reason}")), "not {path:?}, {reason:?}: {told}");
        installed.run(&["plugin", "inspect", &path]).expect_refusal(&[&path, reason]);
    }
    installed.run(&["plugin", "inspect", "whole"]).expect_success();
}

#[test]
fn a_plugin_that_is_looked_at_tells_all_of_its_manifest_and_whether_it_may_be_loaded() {
    let installed = Installed::new();
    let brier = artifact::fixture("brier");
    let inspect = |library: &Path| installed.run(&["plugin", "inspect", &text(library)]).expect_success().stdout;
    let expect_lines = |told: &str, library: &Path| {
        let file = LibraryFile::read(library).expect("a plugin");
        let manifest = serde_json::to_value(&file.identity.manifest).expect("plain data");
        let manifest = manifest.as_object().expect("an object").iter();
        let fields = manifest.map(|(key, value)| (key.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        let further = [("path", text(library)), ("sha256", file.identity.sha256), ("trust", "not pinned".to_owned())];
        let lines: Vec<&str> = told.lines().collect();
        for (key, value) in fields.chain(further) {
            let line = format!("{key:<12} {value}");
            assert!(lines.contains(&line.as_str()), "no {line:?} in {told}");
        }
    };
    let told = inspect(&brier);
    expect_lines(&told, &brier);
    assert!(told.ends_with("loadable     yes, as far as can be told without running it\n"), "{told}");

    let newer = artifact::with_manifest(&brier, installed.bench.folder(), |manifest| manifest.api = "9.0.0".to_owned());
    fs::set_permissions(&newer, PermissionsExt::from_mode(0o644)).expect("ours");
    let told = inspect(&newer);
    expect_lines(&told, &newer);
    let last = told.lines().last().expect("lines");
    assert!(last.starts_with("loadable     no: ") && last.contains("plugin-api 9.0.0"), "{told}");
}
