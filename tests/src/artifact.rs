//! Builds what the tests load and run: the program, its plugins, plugins from outside the workspace, C++ ones, and broken copies.
//!
//! Cargo is called in the repository's root, so that its `.cargo/config.toml` counts, and with the target folder of these tests, so
//! that libtorch's bindings are not compiled again. Everything is built once a process; Cargo knows what is up to date.

use plugin_api::Manifest;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// The program `host`.
pub fn host() -> PathBuf {
    workspace()["host"].clone()
}

/// The library of a plugin that ships with the host.
pub fn plugin(id: &str) -> PathBuf {
    workspace()[&id.replace('-', "_")].clone()
}

/// The library of `tests/fixtures/<name>`, a crate outside the workspace.
pub fn fixture(name: &str) -> PathBuf {
    once(name, || build_fixture(name, name, &root().join("plugin-api")))
}

/// A plugin-api that is not the one of this clone.
#[derive(Clone, Copy, Debug)]
pub enum Api {
    /// A release, by its version, as it is kept in `fixtures/released`.
    Released(&'static str),
    /// The next one: 1.2.0, whose root module has one function more.
    Next,
    /// One of the same version whose table has one function more, which must not be.
    AnotherLayout,
}

/// The library or program of `tests/fixtures/<name>`, built against another plugin-api, as package `<name>-<api>`.
pub fn fixture_against(name: &str, api: Api) -> PathBuf {
    let package = format!("{name}-{}", api.name().replace('.', "-"));
    once(&package, || build_fixture(name, &package, &api.folder()))
}

impl Api {
    fn name(self) -> String {
        match self {
            Self::Released(version) => version.to_owned(),
            Self::Next => "next".to_owned(),
            Self::AnotherLayout => "of-another-layout".to_owned(),
        }
    }

    /// Its source.
    pub fn folder(self) -> PathBuf {
        let folder = fixtures().join(format!("plugin-api-{}", self.name()));
        const FIELD: &str = "    /// Another.\n    pub another: unsafe extern \"C\" fn(trainer: Instance),\n";
        let changed = |change: &dyn Fn(&str, String) -> String| {
            copy_tree(&root().join("plugin-api"), &folder, &|path, text| match path.file_name().and_then(OsStr::to_str) {
                Some("Cargo.toml") => change("Cargo.toml", without_workspace(&text)),
                Some(file) => change(file, text),
                None => text,
            });
        };
        match self {
            Self::Released(version) => {
                let package = format!("plugin-api-{version}");
                let unpacked = tempfile::tempdir().expect("a temporary folder");
                let mut tar = Command::new("tar");
                tar.arg("-xzf").arg(root().join(format!("tests/fixtures/released/{package}.crate"))).arg("-C").arg(unpacked.path());
                assert!(tar.status().expect("tar is there").success(), "{tar:?}");
                copy_tree(&unpacked.path().join(package), &folder, &|_, text| text);
            }
            Self::Next => changed(&|file, text| match file {
                "Cargo.toml" => replace(&text, "version = \"1.1.0\"", "version = \"1.2.0\""),
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
        folder
    }
}

/// The C++ plugin that `host plugin new brier-cpp --lang c++` writes, built by its own script.
pub fn cpp_plugin() -> PathBuf {
    once("brier-cpp", || build_cpp_plugin("brier-cpp", &root().join("plugin-api")))
}

/// The same with the header of a release.
pub fn released_cpp_plugin(version: &'static str) -> PathBuf {
    let name = format!("brier-cpp-{}", version.replace('.', "-"));
    once(&name, || build_cpp_plugin(&name, &Api::Released(version).folder()))
}

fn build_cpp_plugin(name: &str, plugin_api: &Path) -> PathBuf {
    let new = tempfile::tempdir().expect("a temporary folder");
    let mut host = Command::new(host());
    host.args(["plugin", "new", name, "--lang", "c++", "--output"]).arg(new.path());
    assert!(host.output().expect("it starts").status.success(), "{host:?}");
    let folder = fixtures().join("source").join(name);
    let header = fs::read_to_string(plugin_api.join("include/trainer_plugin.h")).expect("a header");
    copy_tree(&new.path().join(name), &folder, &|path, text| if path.ends_with("trainer_plugin.h") { header.clone() } else { text });
    let library = folder.join(format!("lib{}.so", name.replace('-', "_")));
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let newest = entries(&folder).filter(|path| *path != library).map(|path| changed(&path).expect("a source file")).max();
    if changed(&library).ok() < newest {
        let mut build = Command::new("bash");
        build.arg(folder.join("build.sh")).env("LIBTORCH", Path::new(env!("TESTS_LIBTORCH")).parent().expect("<libtorch>/lib"));
        assert!(build.output().expect("bash is there").status.success(), "{build:?}");
    }
    library
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
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, program) = (folder.path().join("program.c"), folder.path().join("program"));
    fs::write(&file, source).expect("the folder is writable");
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    compiler.args(["-std=c11", "-Wall", "-Werror", "-I"]).arg(root().join("plugin-api/include")).arg(&file).arg("-o").arg(&program);
    assert!(compiler.status().expect("a C compiler is there").success(), "{compiler:?}");
    let output = Command::new(program).output().expect("what was just compiled runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The target folder that these tests were built in.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.ancestors().nth(3).expect("<target>/debug/deps/<test>").to_owned()
}

/// Where crates from outside the workspace are copied to and their libraries lie.
fn fixtures() -> PathBuf {
    target().join("fixtures")
}

/// Value of `build`, which runs once for every `key`.
fn once(key: &str, build: impl FnOnce() -> PathBuf) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.get_or_insert_default().entry(key.to_owned()).or_insert_with(build).clone()
}

/// What the workspace consists of, as an IDE or `cargo build --workspace` would have it: program or library by crate name.
fn workspace() -> &'static HashMap<String, PathBuf> {
    static BUILT: LazyLock<HashMap<String, PathBuf>> = LazyLock::new(|| cargo_build(&["--workspace"]));
    &BUILT
}

/// Builds `tests/fixtures/<name>` under the name `package`.
fn build_fixture(name: &str, package: &str, plugin_api: &Path) -> PathBuf {
    let copy = fixtures().join("source").join(package);
    copy_tree(&root().join("tests/fixtures").join(name), &copy, &|path, text| match path.ends_with("Cargo.toml") {
        true => {
            let text = replace(&text, &format!("name = \"{name}\""), &format!("name = \"{package}\""));
            replace(&text, "../../../plugin-api", &plugin_api.display().to_string())
        }
        false => text,
    });
    // The versions that the workspace uses; Cargo takes out what is not needed here.
    fs::copy(root().join("Cargo.lock"), copy.join("Cargo.lock")).expect("the target folder is writable");
    let manifest = copy.join("Cargo.toml").display().to_string();
    let built = cargo_build(&["--offline", "--manifest-path", &manifest])[&package.replace('-', "_")].clone();
    // Beside the program it would be found by every `host plugin list`.
    let library = fixtures().join(built.file_name().expect("a library"));
    // Renaming one link of a file to another does nothing, so the old one has to go first.
    let _ = fs::remove_file(&library);
    fs::rename(&built, &library).expect("the target folder is writable");
    library
}

/// Runs `cargo build` with `arguments` and returns, by crate name, the programs and plugin libraries that it made or found up to date.
fn cargo_build(arguments: &[&str]) -> HashMap<String, PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--target-dir"]).arg(target()).args(arguments);
    let output = cargo.current_dir(root()).stderr(std::process::Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let artifact = |message: serde_json::Value| {
        let wanted = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "cdylib" || kind == "bin");
        let file = message["executable"].as_str().or(message["filenames"][0].as_str())?;
        wanted.then_some((message["target"]["name"].as_str()?.replace('-', "_"), PathBuf::from(file)))
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
        if fs::read_to_string(&copy).ok().as_ref() != Some(&text) {
            fs::write(&copy, text).expect("the target folder is writable");
        }
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
    let written = manifest.lines().take_while(|line| *line != "[lints]").map(|line| match line.strip_suffix(".workspace = true") {
        Some(key) => format!("{key} = {}\n", package.get(key).or(dependencies.get(key)).expect("the workspace has it")),
        None => format!("{line}\n"),
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
