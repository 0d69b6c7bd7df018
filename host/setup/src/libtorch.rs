//! libtorch from PyPI: into a cache folder that all clones share, then linked to `.libtorch`, where `.cargo/config.toml` points.
//!
//! ```text
//! pip ─→ <cache>/libtorch-X.partial-PID/packages ─ check ─ marker ─ rename ─→ <cache>/libtorch-X ←─ link ─ <clone>/.libtorch
//! ```
//! What lies at the last name is whole at any moment, so set-up may be killed and started again; a lock keeps two of them
//! from downloading at once. A whole folder without the marker (made by hand) is checked and adopted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::{check, tools, workspace};

/// The version that tch 0.26 is made for.
pub const VERSION: &str = "2.13.0";

/// Written last into a whole folder; holds the packages' versions, so that a change of these makes it look anew.
const MARKER: &str = "installed-by-setup";

/// What is installed beside the library itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What the CPU part loads.
    Cpu,
    /// All that NVIDIA GPUs need.
    Cuda,
}

impl Variant {
    fn folder_name(self) -> String {
        let suffix = if self == Self::Cuda { "-cuda" } else { "" };
        format!("libtorch-{VERSION}{suffix}")
    }

    /// The packages asked of pip, with their versions. PyPI's torch is built for CUDA: even its CPU part is linked to the two
    /// of NVIDIA. For GPUs pip resolves the rest from torch's own list.
    pub fn packages(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cpu => &[("torch", VERSION), ("nvidia-cuda-runtime", "13.0.96"), ("nvidia-cuda-cupti", "13.0.85")],
            Self::Cuda => &[("torch", VERSION)],
        }
    }

    /// On disk.
    fn size(self) -> &'static str {
        match self {
            Self::Cpu => "1.2 GB",
            Self::Cuda => "4.5 GB",
        }
    }

    /// The library that needs all the others.
    pub fn library(self) -> &'static str {
        match self {
            Self::Cpu => "libtorch_cpu.so",
            Self::Cuda => "libtorch_cuda.so",
        }
    }

    fn requirements(self) -> Vec<String> {
        self.packages().iter().map(|(name, version)| format!("{name}=={version}")).collect()
    }

    fn marker(self) -> String {
        self.requirements().join("\n") + "\n"
    }
}

/// The user's own libtorch: a LIBTORCH other than the one that `.cargo/config.toml` sets for every program that cargo runs.
pub fn given() -> Option<PathBuf> {
    let value = std::env::var_os("LIBTORCH").filter(|value| !value.is_empty())?;
    Some(PathBuf::from(value)).filter(|path| *path != link_path().join("torch"))
}

fn link_path() -> PathBuf {
    workspace::root().join(".libtorch")
}

/// Makes `.libtorch` lead to a whole libtorch; does nothing where it does already, or where the user brings one.
/// Without a `variant` any that is linked will do.
pub fn install(variant: Option<Variant>) -> Result<(), Error> {
    if let Some(torch) = given() {
        eprintln!("setup: using your LIBTORCH at {}", torch.display());
        return check::version(&torch).map_err(|reason| Error::Incomplete {
            folder: torch,
            reason,
            hint: "point LIBTORCH to one, or unset it and set-up installs one",
        });
    }
    let link = link_path();
    if variant.is_none() && [Variant::Cpu, Variant::Cuda].iter().any(|variant| is_marked(&link, *variant)) {
        return Ok(());
    }
    let variant = variant.unwrap_or(Variant::Cpu);
    let folder = cache_folder()?.join(variant.folder_name());
    provide(&folder, variant)?;
    point(&link, &folder)
}

/// `${XDG_CACHE_HOME:-~/.cache}/trainer-host`. A relative XDG_CACHE_HOME is invalid by its specification, and ignored.
fn cache_folder() -> Result<PathBuf, Error> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(Error::NoCache)?.join("trainer-host"))
}

fn is_marked(folder: &Path, variant: Variant) -> bool {
    fs::read_to_string(folder.join(MARKER)).is_ok_and(|text| text == variant.marker())
}

/// Makes `folder` a whole libtorch, under a lock that the system releases however this program ends.
fn provide(folder: &Path, variant: Variant) -> Result<(), Error> {
    let cache = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(cache).map_err(Error::io("cannot create", cache))?;
    let path = with_suffix(folder, ".lock");
    let lock = File::create(&path).map_err(Error::io("cannot create", &path))?;
    if lock.try_lock().is_err() {
        eprintln!("setup: waiting for another set-up (it holds {})", path.display());
        lock.lock().map_err(Error::io("cannot lock", &path))?;
    }
    if is_marked(folder, variant) {
        return Ok(());
    }
    supported_machine()?;
    tools::check_python()?;
    if folder.exists() {
        match check::packages(folder, variant) {
            Ok(()) => return finish(folder, variant),
            Err(reason) => eprintln!("setup: {} is not whole ({reason}); installing it again", folder.display()),
        }
    }
    remove_leftovers(folder)?;
    let work = with_suffix(folder, &format!(".partial-{}", std::process::id()));
    let result = download(folder, &work, variant);
    // What is left there, or all of it after an error; a failure to tidy up must not hide that error.
    let _ = fs::remove_dir_all(&work);
    result
}

/// Installs into `work`, checks, and renames to `folder`.
fn download(folder: &Path, work: &Path, variant: Variant) -> Result<(), Error> {
    let (packages, temporary) = (work.join("packages"), work.join("tmp"));
    fs::create_dir_all(&temporary).map_err(Error::io("cannot create", &temporary))?;
    eprintln!("setup: libtorch {VERSION} from PyPI into {} ({}, once for all clones)", folder.display(), variant.size());
    pip(&packages, &temporary, variant)?;
    check::packages(&packages, variant).map_err(|reason| Error::Incomplete {
        folder: packages.clone(),
        reason,
        hint: "pip reported success, so try again, or set LIBTORCH to a copy of your own",
    })?;
    finish(&packages, variant)?;
    if folder.exists() {
        let broken = work.join("broken");
        fs::rename(folder, &broken).map_err(Error::io("cannot move away", folder))?;
    }
    fs::rename(&packages, folder).map_err(Error::io("cannot rename into place", folder))
}

/// Writes what the wheel lacks and the bindings' build script reads, and then the marker.
fn finish(folder: &Path, variant: Variant) -> Result<(), Error> {
    for (name, text) in [("torch/build-version", format!("{VERSION}\n")), (MARKER, variant.marker())] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
    }
    Ok(())
}

/// Folders of set-ups that were killed. None is running now: it would hold the lock.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let cache = folder.parent().unwrap_or(Path::new("/"));
    let prefix = with_suffix(folder, ".partial-");
    let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(cache).map_err(Error::io("cannot list", cache))?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(Error::io("cannot remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn pip(packages: &Path, temporary: &Path, variant: Variant) -> Result<(), Error> {
    let mut command = Command::new(tools::python());
    command.args(["-m", "pip", "install", "--no-compile", "--only-binary=:all:", "--target"]).arg(packages);
    // The wheel of one fixed Python: the libraries in it are the same, and this machine's may be too old or too new to have one.
    command.args(["--implementation", "cp", "--python-version", "3.11"]);
    for tag in platform_tags(std::env::consts::ARCH) {
        command.args(["--platform", &tag]);
    }
    if variant == Variant::Cpu {
        command.arg("--no-deps");
    }
    command.args(variant.requirements());
    // `--target` touches no Python installation, so settings that guard those do not apply; proxies, mirrors and
    // certificates of the user's configuration stay.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_ROOT_USER_ACTION", "ignore");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    // pip unpacks there first: on the same file system, where the space is (/tmp may be in memory).
    command.env("TMPDIR", temporary);
    let status = command.status().map_err(|error| Error::Install { status: error.to_string() })?;
    if status.success() { Ok(()) } else { Err(Error::Install { status: status.to_string() }) }
}

/// What the wheels may be built for: torch wants glibc 2.28, the others less. Old pips do not know that one implies the other.
fn platform_tags(architecture: &str) -> Vec<String> {
    let modern = (17..=28).rev().map(|minor| format!("manylinux_2_{minor}_{architecture}"));
    modern.chain([format!("manylinux2014_{architecture}")]).collect()
}

fn supported_machine() -> Result<(), Error> {
    if cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Ok(());
    }
    Err(Error::Machine { found: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH) })
}

/// Makes `link` a symbolic link to `folder`. Replaced by a rename: a compiler that runs meanwhile always finds one of the two.
fn point(link: &Path, folder: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => {
            return Err(Error::LinkTaken { path: link.to_owned() });
        }
        Ok(_) if fs::read_link(link).is_ok_and(|target| target == folder) => return Ok(()),
        _ => {}
    }
    let fresh = with_suffix(link, &format!(".{}", std::process::id()));
    std::os::unix::fs::symlink(folder, &fresh).map_err(Error::io("cannot create", &fresh))?;
    fs::rename(&fresh, link).map_err(Error::io("cannot replace", link))?;
    eprintln!("setup: linked {} to {}", link.display(), folder.display());
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
