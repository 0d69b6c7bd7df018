//! What commands share: nnU-Net's variables, and the way from `--dataset` to a prepared data set.

use crate::config::{Data, PrecisionName};
use crate::network::Precision;
use crate::report::Bar;
use anyhow::{Result, anyhow};
use clap::Args;
use data::dataset::Dataset;
use data::lock::{Lock, Sharing};
use data::parallel::Progress;
use data::preprocess::Preparation;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tch::Device;

/// How many cases at once.
#[derive(Args, Clone, Debug, Default)]
pub struct CaseThreads {
    /// Cases that are worked on at the same time; default: nnUNet_def_n_proc, else all cores, 8 at most
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub threads: Option<u16>,
}

/// A data set and where its preprocessed form is.
pub(super) struct Place {
    pub dataset: Dataset,
    pub preprocessed: PathBuf,
}

impl Place {
    pub fn open(data: &Data) -> Result<Self> {
        let preprocessed = data.preprocessed.clone().or_else(|| variable("nnUNet_preprocessed")).unwrap_or_else(|| "preprocessed".into());
        Ok(Self { dataset: Dataset::open(&data.dataset, raw_root().as_deref())?, preprocessed })
    }

    /// Does `work` with a bar that shows how far it is.
    pub fn prepare<T>(&self, threads: &CaseThreads, work: impl FnOnce(&Preparation) -> Result<T>) -> Result<T> {
        let threads = case_threads(threads)?;
        let bar = Bar::new("preparing", 0);
        let show = |progress: Progress| {
            bar.rename(progress.stage);
            bar.set(progress.done as u64, progress.total as u64);
        };
        let preparation = Preparation::new(&self.dataset, &self.preprocessed, threads, &show);
        let lock = lock(preparation.folder())?;
        work(&preparation.alone(lock.as_ref().is_some_and(Lock::is_held)))
    }
}

/// Lets one process after another prepare a data set: of five folds that are started at once, four wait for the first. None where the
/// folder is there and cannot be written: then nothing is prepared in it, only read.
fn lock(folder: &Path) -> Result<Option<Lock>> {
    let path = folder.join("preparing.lock");
    let failed = |e: std::io::Error| anyhow!("cannot write {}: {e}; check that the folder is writable", path.display());
    let taken = std::fs::create_dir_all(folder).and_then(|()| Lock::take(&path, Sharing::Exclusive));
    match taken {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => {
            log::warn!("{}: another process prepares this data set; waiting for it", path.display());
            Lock::wait(&path, Sharing::Exclusive).map(Some).map_err(failed)
        }
        Err(error) if folder.is_dir() && is_read_only(&error) => {
            log::info!("{}: cannot be written ({error}), and is only read", folder.display());
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether nothing can be written, or locked for writing (NFS), where this error comes from.
fn is_read_only(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) || error.raw_os_error() == Some(libc::EBADF)
}

/// Where data sets are found by name or id.
pub(super) fn raw_root() -> Option<PathBuf> {
    variable("nnUNet_raw")
}

/// Where results go.
pub(super) fn results(given: Option<&Path>) -> PathBuf {
    given.map(Path::to_path_buf).or_else(|| variable("nnUNet_results")).unwrap_or_else(|| "results".into())
}

/// Every thread holds a whole case, so there are no more than nnU-Net has by default.
pub(super) fn case_threads(given: &CaseThreads) -> Result<usize> {
    match (given.threads, std::env::var("nnUNet_def_n_proc")) {
        (Some(threads), _) => Ok(threads.into()),
        (None, Ok(text)) => Ok(text.parse::<usize>().map_err(|_| anyhow!("nnUNet_def_n_proc is '{text}'; expected a number"))?.max(1)),
        (None, Err(_)) => Ok(cores().min(8)),
    }
}

/// What `--precision` means on `device`.
pub(super) fn precision(name: PrecisionName, device: Device) -> Precision {
    match name {
        PrecisionName::Auto => Precision::for_device(device),
        PrecisionName::Fp32 => Precision::Fp32,
        PrecisionName::Bf16 => Precision::Bf16,
        PrecisionName::Fp16 => Precision::Fp16,
    }
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
