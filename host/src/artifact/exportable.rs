//! Whether stock nnU-Net would predict with a network what its plugin does.
//!
//! nnU-Net knows neither the plugin's `forward` nor its `activate`. A checkpoint says what its plugin keeps of both; where it does not, the plugin is
//! loaded and compared.

use super::{Checkpoint, Error, Keeps, ModelFolder};
use crate::model::keeps::METHODS;
use crate::network::Precision;
use gate::Host;
use std::path::{Path, PathBuf};
use tch::Device;

/// Refuses a model that nnU-Net would predict something else with. `plugin` is the one to compare where the checkpoint's does not say what it keeps;
/// `unchecked` goes without.
///
/// # Errors
/// When a checkpoint or the plugin cannot be read, and when `forward` or `activate` are other than nnU-Net's.
pub fn check_exportable(
    folder: &ModelFolder,
    checkpoints: &[PathBuf],
    plugin: (Option<&str>, &Host),
    unchecked: bool,
) -> Result<(), Error> {
    for path in checkpoints {
        let origin = Checkpoint::read(path, &folder.plans)?.origin;
        match origin.keeps() {
            Keeps::Both => {}
            Keeps::One => return Err(refused(path, &origin.plugin, "does not keep both forward and activate")),
            Keeps::Unsaid if unchecked => {
                log::warn!("{}: plugin {} was not compared with nnU-Net, as asked for", path.display(), origin.plugin);
            }
            Keeps::Unsaid => {
                let model = folder.load(std::slice::from_ref(path), plugin, Device::Cpu, Precision::Fp32).map_err(|error| Error::Broken {
                    path: path.clone(),
                    reason: format!(
                        "its plugin does not say whether it keeps forward and activate, and could not be compared with nnU-Net: {error}. Name it with \
                         --plugin, or give --unchecked"
                    ),
                })?;
                for method in METHODS {
                    if let Some(difference) = model.folds[0].difference(method)? {
                        return Err(refused(path, &origin.plugin, &format!("has another {method} than nnU-Net: it {difference}")));
                    }
                }
            }
        }
    }
    Ok(())
}

fn refused(path: &Path, plugin: &str, why: &str) -> Error {
    let reason =
        format!("was trained by plugin {plugin}, which {why}; nnU-Net would predict something else. Export it with --format safetensors");
    Error::Broken { path: path.to_owned(), reason }
}
