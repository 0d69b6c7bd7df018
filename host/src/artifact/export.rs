//! Writes a model folder in the format of either program.

use super::nnunet::{self, InitArgs};
use super::{Checkpoint, Error, LibraryRecord, ModelFolder, Origin, Saved, write_weights};
use data::dataset::splits::Fold;
use data::fingerprint::Fingerprint;
use data::scratch::Folders;
use imaging::io::write_json;
use plugin_api::Output;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A model of stock nnU-Net: `fold_N/checkpoint_final.pth`.
    Nnunet,
    /// A model of ours with weights alone: `fold_N/checkpoint_final.safetensors`, and `plugin.json`.
    Safetensors,
}

/// Writes the folds `checkpoints` of `folder` to a new folder, which is there only once it is complete, and returns its path: what `output`
/// makes of the first checkpoint. Every checkpoint is read once, and one at a time is in memory.
///
/// # Errors
/// When the new folder is there already, there is no checkpoint or one that cannot be read, or nnU-Net has no such network.
pub fn write_model(
    folder: &ModelFolder,
    checkpoints: &[(Fold, PathBuf)],
    format: ExportFormat,
    folders: &Folders,
    output: impl Fn(&Origin) -> Result<PathBuf, Error>,
) -> Result<PathBuf, Error> {
    let Some((_, first)) = checkpoints.first() else {
        return Err(Error::NoModel { path: folder.path.clone(), reason: "no fold is named".to_owned() });
    };
    let first = Checkpoint::read(first, &folder.plans)?;
    let output = output(&first.origin)?;
    if output.exists() {
        return Err(Error::Broken { path: output, reason: "is there already; name another folder, or remove it".to_owned() });
    }
    let failed = |source: std::io::Error| Error::Broken { path: output.clone(), reason: format!("cannot be written ({source})") };
    let temporary = folders.beside(&output, ".model").map_err(failed)?;
    let write = |name: &str, value: &Value| write_json(&temporary.path().join(name), value);

    let mut plans = serde_json::to_value(&folder.plans).expect("plain data");
    let dataset = &folder.description.shareable();
    let (mut plugin, mut first) = (None, Some(first));
    for (fold, path) in checkpoints {
        let checkpoint = first.take().map_or_else(|| Checkpoint::read(path, &folder.plans), Ok)?;
        let Checkpoint { origin, weights, probe, .. } = checkpoint;
        let target = temporary.path().join(format!("fold_{fold}"));
        std::fs::create_dir(&target).map_err(failed)?;
        match format {
            ExportFormat::Nnunet => {
                let configuration = name_configuration(folder, &origin, &mut plans)?;
                let init = InitArgs { configuration: &configuration, fold: *fold, plans: &plans, dataset };
                nnunet::save(&target.join("checkpoint_final.pth"), &origin, &weights, &init).map_err(|error| match error {
                    Error::Broken { reason, .. } => Error::Broken { path: path.clone(), reason },
                    other => other,
                })?;
            }
            ExportFormat::Safetensors => {
                plugin = Some(describe_plugin(&origin, None));
                write_weights(&target.join("checkpoint_final.safetensors"), &Saved { origin, weights, probe })?;
            }
        }
    }
    write("plans.json", &plans)?;
    write("dataset.json", dataset)?;
    if let Some(plugin) = plugin {
        write("plugin.json", &plugin)?;
    }
    let fingerprint = "dataset_fingerprint.json";
    if folder.path.join(fingerprint).is_file() {
        // Read and written: no other keys than those of a fingerprint.
        match Fingerprint::read(&folder.path.join(fingerprint)) {
            Ok(found) => write(fingerprint, &serde_json::to_value(Fingerprint { written_by: None, ..found }).expect("plain data"))?,
            Err(error) => log::warn!("{error}; left out"),
        }
    }
    temporary.rename(&output).map_err(failed)?;
    Ok(output)
}

/// `plugin.json`: which plugin trained a network, as far as its checkpoint says, and the `outputs` where they are known.
pub fn describe_plugin(origin: &Origin, outputs: Option<&[Output]>) -> Value {
    let mut plugin = json!({"id": origin.plugin, "version": origin.plugin_version, "options": origin.options});
    if let Some(LibraryRecord { sha256, manifest }) = &origin.library {
        plugin["sha256"] = json!(sha256);
        plugin["manifest"] = json!(manifest);
    }
    if let Some(outputs) = outputs {
        plugin["outputs"] = json!(outputs);
    }
    plugin
}

/// The name of what was trained. Where its patch was another than planned, the plans are changed: nnU-Net predicts with that of the plans.
fn name_configuration(folder: &ModelFolder, origin: &Origin, plans: &mut Value) -> Result<String, Error> {
    let name = folder.configuration_name(origin)?;
    let dims = origin.plan["patch_size"].as_array().map_or(3, Vec::len);
    let patch = &origin.patch[3 - dims..];
    if origin.plan["patch_size"] != json!(patch) {
        plans["configurations"][&name]["patch_size"] = json!(patch);
    }
    Ok(name)
}
