//! Builds what the tests load and run: the program, its plugins, plugins from outside the workspace, C++ ones, and broken copies.
//!
//! Crates from outside the workspace are copied below the target folder and built there by one call of Cargo, in a workspace that is made for them.
//! Cargo is called in the repository's root, so that its `.cargo/config.toml` counts, and with the build folder of these tests, so that libtorch's
//! bindings are not compiled again; but the libraries go to a folder of their own, so that the program does not find them beside itself. That folder
//! is locked while it is filled, and named after the clone: two shells, or two clones with one target folder, do not disturb each other.
//! Everything is built once a process; Cargo knows what is up to date.

use crate::program;
use plugin_api::Manifest;
use plugin_api::manifest::API_VERSION;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tempfile::TempDir;

/// Programs and libraries by the name of their crate.
type Built = HashMap<String, PathBuf>;

/// Fixtures that are also built against another plugin-api.
const AGAINST: [(&str, Api); 9] = [
    ("two-heads", Api::Released("1.0.0")),
    ("two-heads", Api::Released("1.1.0")),
    ("two-heads", Api::Next),
    ("little-host", Api::Released("1.0.0")),
    ("little-host", Api::Released("1.1.0")),
    ("little-host", Api::Next),
    ("heatmap", Api::Released("1.1.0")),
    ("annealed", Api::Released("1.1.0")),
    ("brier", Api::AnotherLayout),
];

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// A new folder, which is removed when it is dropped. It lies below the target folder: there programs can be run and nobody else can write, whatever
/// TMPDIR is.
pub fn folder() -> TempDir {
    let scratch = target().join("tmp");
    fs::create_dir_all(&scratch).expect("the target folder is writable");
    tempfile::tempdir_in(scratch).expect("the target folder is writable")
}

/// The program `host`.
pub fn host() -> PathBuf {
    shipped("host")
}

/// What plugins find in the program `host`.
pub fn this_host() -> gate::Host {
    host::plugin::this_host(host().parent().map(PathBuf::from))
}

/// The library of a plugin that ships with the host.
pub fn plugin(id: &str) -> PathBuf {
    shipped(id)
}

/// The library of `tests/fixtures/<name>`, a crate outside the workspace.
pub fn fixture(name: &str) -> PathBuf {
    fixtures_of(None)[name].clone()
}

/// A plugin-api that is not the one of this clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// A release, by its version, as it is kept in `fixtures/released`.
    Released(&'static str),
    /// The next one: 1.3.0, whose root module has one function more.
    Next,
    /// One of the same version whose table has one function more, which must not be.
    AnotherLayout,
}

/// The library or program of `tests/fixtures/<name>`, built against another plugin-api, as package `<name>-<api>`.
pub fn fixture_against(name: &str, api: Api) -> PathBuf {
    assert!(AGAINST.contains(&(name, api)), "add ({name:?}, {api:?}) to AGAINST");
    fixtures_of(api.own_workspace())[&api.package(name)].clone()
}

impl Api {
    /// What `tests/fixtures/<fixture>` is called when it is built against this one.
    fn package(self, fixture: &str) -> String {
        format!("{fixture}-{}", self.name().replace('.', "-"))
    }

    /// One that has this clone's version needs a workspace of its own: a lock file cannot hold both.
    fn own_workspace(self) -> Option<Self> {
        match self {
            Self::Released(version) if version != API_VERSION => None,
            Self::Next => None,
            _ => Some(self),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Released(version) => version.to_owned(),
            Self::Next => "next".to_owned(),
            Self::AnotherLayout => "of-another-layout".to_owned(),
        }
    }

    /// Its source.
    fn source(self) -> PathBuf {
        let name = format!("plugin-api-{}", self.name());
        once(&name, || [(name.clone(), self.write(&fixtures().join(&name)))].into())[&name].clone()
    }

    fn write(self, folder: &Path) -> PathBuf {
        const FIELD: &str = "    /// Another.\n    pub another: unsafe extern \"C\" fn(trainer: Instance),\n";
        let changed = |change: &dyn Fn(&str, String) -> String| {
            copy_tree(&root().join("plugin-api"), folder, &|path, text| match path.file_name().and_then(OsStr::to_str) {
                Some("Cargo.toml") => change("Cargo.toml", without_workspace(&text)),
                Some(file) => change(file, text),
                None => text,
            });
        };
        match self {
            Self::Released(version) => {
                let package = format!("plugin-api-{version}");
                let unpacked = self::folder();
                let mut tar = Command::new("tar");
                tar.arg("-xzf").arg(root().join(format!("tests/fixtures/released/{package}.crate"))).arg("-C").arg(unpacked.path());
                assert!(tar.status().expect("tar is there").success(), "{tar:?}");
                copy_tree(&unpacked.path().join(package), folder, &|_, text| text);
            }
            Self::Next => changed(&|file, text| match file {
                "Cargo.toml" => replace(&text, "version = \"1.2.0\"", "version = \"1.3.0\""),
                "abi.rs" => replace(&text, "    pub entry: &'static Entry,\n", &format!("    pub entry: &'static Entry,\n{FIELD}")),
                "door.rs" => replace(&text, "entry: &Table::<T>::ENTRY }", "entry: &Table::<T>::ENTRY, another: destroy::<T> }"),
                _ => text,
            }),
            Self::AnotherLayout => changed(&|file, text| match file {
                "abi.rs" => replace(&text, "    /// Frees a trainer.", &format!("{FIELD}    /// Frees a trainer.")),
                "door.rs" => replace(&text, "destroy: destroy::<T>,", "destroy: destroy::<T>,\n        another: destroy::<T>,"),
                _ => text,
            }),
        }
        folder.to_owned()
    }
}

/// The C++ plugin that `host plugin new brier-cpp --lang c++` writes, built by its own script.
pub fn cpp_plugin() -> PathBuf {
    let name = "brier-cpp";
    once(name, || build_cpp_plugin(name, &|_, text| text))[name].clone()
}

/// The same as it was written for the header of a release, which has no more than that.
pub fn released_cpp_plugin(version: &'static str) -> PathBuf {
    let name = format!("brier-cpp-{}", version.replace('.', "-"));
    let build = || {
        let header = fs::read_to_string(Api::Released(version).source().join("include/trainer_plugin.h")).expect("a header");
        let source = fs::read_to_string(root().join("tests/fixtures/released/plugin.cpp")).expect("a source");
        build_cpp_plugin(&name, &|path, text| match path.file_name().and_then(OsStr::to_str) {
            Some("trainer_plugin.h") => header.clone(),
            Some("plugin.cpp") => source.replace("{{name}}", &name),
            _ => text,
        })
    };
    once(&name, build)[&name].clone()
}

/// Builds what `host plugin new` writes, changed by `change`, which gets each file's path and text.
fn build_cpp_plugin(name: &str, change: &dyn Fn(&Path, String) -> String) -> Built {
    let new = folder();
    let made = program::host(new.path()).args(["plugin", "new", name, "--lang", "c++", "--output"]).arg(new.path()).output();
    assert!(made.expect("it starts").status.success(), "plugin new {name}");
    let folder = fixtures().join(name);
    copy_tree(&new.path().join(name), &folder, change);
    let library = folder.join(format!("lib{}.so", name.replace('-', "_")));
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let newest = entries(&folder).filter(|path| *path != library).map(|path| changed(&path).expect("a source file")).max();
    if changed(&library).ok() < newest {
        let mut build = Command::new("bash");
        build.arg(folder.join("build.sh")).env("LIBTORCH", Path::new(env!("TESTS_LIBTORCH")).parent().expect("<libtorch>/lib"));
        assert!(build.output().expect("bash is there").status.success(), "{build:?}");
    }
    [(name.to_owned(), library)].into()
}

/// A copy of `library` in `folder` with another manifest: `change` gets what is there. The new one must not be longer.
pub fn with_manifest(library: &Path, folder: &Path, change: impl FnOnce(&mut Manifest)) -> PathBuf {
    let mut bytes = fs::read(library).expect("the library is there");
    let start = find(&bytes, b"{\"id\":\"").expect("a manifest");
    let length = find(&bytes[start..], b"\"}").expect("its end") + 2;
    let mut manifest: Manifest = serde_json::from_slice(&bytes[start..start + length]).expect("JSON");
    change(&mut manifest);
    // Descriptions are of no matter here and make room.
    manifest.description = "-".to_owned();
    let mut json = serde_json::to_vec(&manifest).expect("plain data");
    assert!(json.len() <= length, "the changed manifest does not fit");
    json.resize(length, b' ');
    bytes[start..start + length].copy_from_slice(&json);
    let path = folder.join("libpatched.so");
    fs::write(&path, bytes).expect("the folder is writable");
    path
}

/// A copy of `library` in `folder` whose Rust door is gone: what is left is the C door, if it has one.
pub fn without_rust_door(library: &Path, folder: &Path) -> PathBuf {
    const DOOR: &[u8] = b"_1as_0lib_1header_0root_bmodule_bloader\0";
    let mut bytes = fs::read(library).expect("the library is there");
    let mut from = 0;
    while let Some(found) = find(&bytes[from..], DOOR) {
        bytes[from + found] = b'X';
        from += found + 1;
    }
    let path = folder.join(format!("{}_c_door.so", library.file_stem().expect("a library").display()));
    fs::write(&path, bytes).expect("the folder is writable");
    path
}

/// The C compiler's verdict: compiles and runs `source`, and returns what it prints.
pub fn run_c(source: &str) -> String {
    let folder = folder();
    let (file, program) = (folder.path().join("program.c"), folder.path().join("program"));
    fs::write(&file, source).expect("the folder is writable");
    let mut compiler = compiler("CC", "cc");
    compiler.args(["-std=c11", "-Wall", "-Werror", "-I"]).arg(root().join("plugin-api/include")).arg(&file).arg("-o").arg(&program);
    assert!(compiler.status().expect("a C compiler is there").success(), "{compiler:?}");
    let output = Command::new(program).output().expect("what was just compiled runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The compiler that `variable` names, else `default`. The variable may hold a wrapper or options, as in "ccache g++".
pub fn compiler(variable: &str, default: &str) -> Command {
    let text = std::env::var(variable).unwrap_or_default();
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(default));
    command.args(words);
    command
}

/// Cargo's build folder, which these tests were built in: target/, unless the user's settings say otherwise.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.expect("Cargo marks the folder that it builds in").to_owned()
}

/// Where crates from outside the workspace are copied to and their libraries lie.
pub fn fixtures() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    target().join(format!("fixtures-{:08x}", hasher.finish() as u32))
}

/// What `build` makes, which runs once for every `key`, and in one process at a time.
fn once(key: &str, build: impl FnOnce() -> Built) -> Arc<Built> {
    type Once = Arc<OnceLock<Arc<Built>>>;
    static ALL: Mutex<Option<HashMap<String, Once>>> = Mutex::new(None);
    let built = {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.get_or_insert_default().entry(key.to_owned()).or_default())
    };
    let locked = || {
        fs::create_dir_all(fixtures()).expect("the target folder is writable");
        let lock = File::create(fixtures().join(format!("{key}.lock"))).expect("the target folder is writable");
        lock.lock().expect("the target folder's file system has locks");
        Arc::new(build())
    };
    Arc::clone(built.get_or_init(locked))
}

/// A program or a library of the workspace, as an IDE or `cargo build --workspace` would have it.
fn shipped(name: &str) -> PathBuf {
    once("workspace", || cargo_build(&["--workspace"], &target()))[name].clone()
}

/// All crates of `tests/fixtures` and those of [`AGAINST`]; or, with an `api`, those of [`AGAINST`] that are built against that one.
fn fixtures_of(api: Option<Api>) -> Arc<Built> {
    let name = api.map_or_else(|| "crates".to_owned(), |api| format!("crates-{}", api.name()));
    once(&name, || {
        let folder = fixtures().join(&name);
        let against = AGAINST.into_iter().filter(|(_, other)| other.own_workspace() == api);
        let mut members: Vec<(String, String, PathBuf)> =
            against.map(|(fixture, api)| (fixture.to_owned(), api.package(fixture), api.source())).collect();
        if api.is_none() {
            let sources = root().join("tests/fixtures");
            let crates = entries(&sources).filter(|path| path.join("Cargo.toml").is_file());
            let names = crates.map(|path| path.file_name().and_then(OsStr::to_str).expect("UTF-8").to_owned());
            members.extend(names.map(|name| (name.clone(), name, root().join("plugin-api"))));
        }
        for (fixture, package, plugin_api) in &members {
            copy_fixture(fixture, package, plugin_api, &folder);
        }
        members.sort();
        let packages: Vec<&str> = members.iter().map(|(_, package, _)| package.as_str()).collect();
        write_if_other(&folder.join("Cargo.toml"), &format!("[workspace]\nresolver = \"3\"\nmembers = {packages:?}\n"));
        // The versions that the workspace uses; Cargo takes out what is not needed here.
        fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the target folder is writable");
        let manifest = folder.join("Cargo.toml").display().to_string();
        cargo_build(&["--offline", "--workspace", "--manifest-path", &manifest], &fixtures())
    })
}

/// Copies `tests/fixtures/<fixture>` to `workspace` under the name `package`.
fn copy_fixture(fixture: &str, package: &str, plugin_api: &Path, workspace: &Path) {
    copy_tree(&root().join("tests/fixtures").join(fixture), &workspace.join(package), &|path, text| match path.ends_with("Cargo.toml") {
        true => {
            let text = replace(&text, &format!("name = \"{fixture}\""), &format!("name = \"{package}\""));
            let text = replace(&text, "../../../plugin-api", &plugin_api.display().to_string());
            replace(&text, "\n[workspace]\n", "\n")
        }
        false => text,
    });
}

/// Runs `cargo build` with `arguments` and returns the programs and plugin libraries that it made or found up to date in `output`.
fn cargo_build(arguments: &[&str], output: &Path) -> Built {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--target-dir"]).arg(output).args(arguments);
    cargo.env("CARGO_BUILD_BUILD_DIR", target()).current_dir(root()).stderr(std::process::Stdio::inherit());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let artifact = |message: serde_json::Value| {
        let wanted = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "cdylib" || kind == "bin");
        let file = message["executable"].as_str().or(message["filenames"][0].as_str())?;
        wanted.then_some((message["target"]["name"].as_str()?.replace('_', "-"), PathBuf::from(file)))
    };
    messages.filter_map(artifact).collect()
}

/// Makes `to` a copy of the text files below `from`; `change` gets each one's path and text. Files that would not change are not
/// touched, so that Cargo sees no need to build them again.
fn copy_tree(from: &Path, to: &Path, change: &dyn Fn(&Path, String) -> String) {
    fs::create_dir_all(to).expect("the target folder is writable");
    let made = |copy: &Path| copy.is_dir() || copy.extension().is_some_and(|extension| extension == "so");
    for copy in entries(to).filter(|copy| !made(copy) && !from.join(copy.file_name().expect("an entry")).exists()) {
        fs::remove_file(copy).expect("the target folder is writable");
    }
    for source in entries(from) {
        let copy = to.join(source.file_name().expect("an entry"));
        if source.is_dir() {
            copy_tree(&source, &copy, change);
            continue;
        }
        let text = change(&source, fs::read_to_string(&source).expect("a text file"));
        write_if_other(&copy, &text);
    }
}

fn write_if_other(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("the target folder is writable");
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path())
}

/// A manifest that inherits from the workspace, written out for a crate that has none around it.
fn without_workspace(manifest: &str) -> String {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let section = |name: &str| -> HashMap<String, String> {
        let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1).take_while(|line| !line.starts_with('['));
        let entry = |line: &str| line.split_once(" = ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        lines.filter_map(entry).collect()
    };
    let (package, dependencies) = (section("workspace.package"), section("workspace.dependencies"));
    let inherited = |key: &str| package.get(key).or(dependencies.get(key)).expect("the workspace has it");
    let written = manifest.lines().take_while(|line| *line != "[lints]").map(|line| {
        if let Some(key) = line.strip_suffix(".workspace = true") {
            format!("{key} = {}\n", inherited(key))
        } else if let Some(key) = line.strip_suffix(" = { workspace = true, optional = true }") {
            let table = inherited(key).strip_suffix(" }").expect("a table");
            format!("{key} = {table}, optional = true }}\n")
        } else {
            format!("{line}\n")
        }
    });
    written.collect::<String>() + "[workspace]\n"
}

fn replace(text: &str, what: &str, with: &str) -> String {
    assert!(text.contains(what), "{what:?} is not there any more; the tests have to follow");
    text.replace(what, with)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
