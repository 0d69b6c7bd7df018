//! nnU-Net's checkpoints: what they say, and their weights under our names.
//!
//! A state dict holds the encoder up to four times and every decoder convolution twice (`….all_modules.…`, `decoder.encoder.…`), since torch
//! lists a module under every name that it is reached by. One of each is read, all are written; the segmentation layers,
//! `decoder.seg_layers.…` there, are the head of our output `segmentation`.

use super::{Error, Origin, Weights};
use crate::model;
use data::dataset::splits::Fold;
use data::plan::Plans;
use data::pth::{Pth, TensorRef, Value, write};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::path::Path;
use tch::Tensor;

/// Our output that nnU-Net's segmentation layers make.
const HEAD: &str = "plugin.segmentation.seg_layers.";
/// Theirs.
const SEG_LAYERS: &str = "decoder.seg_layers.";

/// Reads `checkpoint_*.pth`, which belongs to one of the configurations of `plans`.
///
/// # Errors
/// When it cannot be read, is not nnU-Net's, or its configuration is none of the plans.
pub fn read(path: &Path, plans: &Plans) -> Result<(Origin, Weights), Error> {
    let file = Pth::open(path)?;
    let broken = |reason: &str| Error::Broken { path: path.to_owned(), reason: format!("{reason}; it is no checkpoint of nnU-Net v2") };
    let root = file.root();
    let configuration = root.get("init_args").and_then(|arguments| arguments.get("configuration")).and_then(Value::as_str);
    let configuration = configuration.ok_or_else(|| broken("has no init_args.configuration"))?;
    let configuration = plans.configuration(configuration).map_err(|error| Error::of_plans(path, error))?;
    let mirror = mirroring(root).ok_or_else(|| broken("has inference_allowed_mirroring_axes that are no axes"))?;
    if mirror.iter().any(|axis| *axis >= configuration.dims()) {
        return Err(broken(&format!("mirrors along the axes {mirror:?}, but has {} of them", configuration.dims())));
    }
    let state = root.get("network_weights").and_then(Value::entries).ok_or_else(|| broken("has no network_weights"))?;
    let mut weights = Weights::new();
    for (key, value) in state {
        let (Some(name), Value::Tensor(tensor)) = (key.as_str().and_then(our_name), value) else { continue };
        let shape: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
        let values = file.tensor_f32(tensor)?;
        weights.insert(name, Tensor::f_from_slice(&values).and_then(|flat| flat.f_view(&*shape)).map_err(model::Error::from)?);
    }
    let origin = Origin {
        plugin: "base".to_owned(),
        plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
        library: None,
        options: json!({}),
        patch: configuration.patch_zyx(),
        plan: serde_json::to_value(configuration).expect("plain data"),
        mirror,
        task: None,
    };
    Ok((origin, weights))
}

/// Axes of mirroring, counted from z in 3D and from y in 2D.
fn mirroring(root: &Value) -> Option<Vec<usize>> {
    match root.get("inference_allowed_mirroring_axes") {
        None | Some(Value::None) => Some(Vec::new()),
        Some(Value::Tuple(axes) | Value::List(axes)) => {
            let axis = |axis: &Value| if let Value::Int(axis) = axis { usize::try_from(*axis).ok() } else { None };
            axes.iter().map(axis).collect()
        }
        Some(_) => None,
    }
}

/// What a checkpoint of nnU-Net says beside the weights.
#[derive(Debug)]
pub struct InitArgs<'a> {
    /// Name of the configuration in the plans.
    pub configuration: &'a str,
    /// The fold.
    pub fold: Fold,
    /// `plans.json`.
    pub plans: &'a Json,
    /// `dataset.json`.
    pub dataset: &'a Json,
}

/// Writes a `checkpoint_*.pth` that stock nnU-Net loads, strictly.
///
/// # Errors
/// When a weight is none of a network of nnU-Net's, or the file cannot be written.
pub fn save(path: &Path, origin: &Origin, weights: &Weights, init: &InitArgs) -> Result<(), Error> {
    let has_dropout = origin.plan.pointer("/architecture/arch_kwargs/dropout_op").is_some_and(|operation| !operation.is_null());
    let mut state = Vec::new();
    for (name, tensor) in weights {
        let Some(theirs) = their_name(name) else {
            let reason = format!("has {name}, and nnU-Net has no such layer; export it with --format safetensors");
            return Err(Error::Broken { path: path.to_owned(), reason });
        };
        let shape: Vec<u64> = tensor.size().iter().map(|size| *size as u64).collect();
        state
            .extend(aliases(&theirs, has_dropout).into_iter().map(|alias| (Value::from(&*alias), TensorRef::new(&**name, &*shape).into())));
    }
    let axes = origin.mirror.iter().map(|axis| Value::Int(*axis as i64)).collect();
    let fold = match init.fold {
        Fold::Number(number) => Value::Int(number as i64),
        Fold::All => "all".into(),
    };
    let init_args = Value::dict([
        ("plans", value(init.plans)),
        ("configuration", init.configuration.into()),
        ("fold", fold),
        ("dataset_json", value(init.dataset)),
        ("device", "cpu".into()),
    ]);
    let root = Value::dict([
        ("network_weights", Value::OrderedDict(state)),
        ("optimizer_state", Value::Dict(Vec::new())),
        ("grad_scaler_state", Value::None),
        ("logging", Value::Dict(Vec::new())),
        ("_best_ema", Value::None),
        ("current_epoch", Value::Int(0)),
        ("init_args", init_args),
        ("trainer_name", "nnUNetTrainer".into()),
        ("inference_allowed_mirroring_axes", Value::Tuple(axes)),
    ]);
    let numbers = |name: &str| Vec::<f32>::try_from(weights[name].flatten(0, -1)).map(Cow::Owned).map_err(std::io::Error::other);
    Ok(imaging::io::write_atomically(path, |out| write(out, &root, numbers))?)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int),
        Json::String(text) => (&**text).into(),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(entries) => Value::Dict(entries.iter().map(|(key, entry)| ((&**key).into(), value(entry))).collect()),
    }
}

/// Our name of an entry of a state dict; none for one that is there under another name, too, or that only counts batches.
fn our_name(key: &str) -> Option<String> {
    // As wrappers for several GPUs, and compilation, leave them.
    let key = key.strip_prefix("module.").unwrap_or(key);
    let key = key.strip_prefix("_orig_mod.").unwrap_or(key);
    if key.starts_with("decoder.encoder.") || key.contains(".all_modules.") || key.ends_with(".num_batches_tracked") {
        return None;
    }
    Some(match key.strip_prefix(SEG_LAYERS) {
        Some(layer) => format!("{HEAD}{layer}"),
        None => key.to_owned(),
    })
}

/// The other way round; none for a head that nnU-Net does not have.
fn their_name(name: &str) -> Option<String> {
    match name.strip_prefix(HEAD) {
        Some(layer) => Some(format!("{SEG_LAYERS}{layer}")),
        None => (!name.starts_with("plugin.")).then(|| name.to_owned()),
    }
}

/// Every name that torch has for the tensor: blocks list their layers once more, the decoder holds the encoder.
fn aliases(name: &str, has_dropout: bool) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut parts = name.rsplitn(3, '.');
    if let (Some(tensor), Some(layer), Some(block)) = (parts.next(), parts.next(), parts.next()) {
        // Convolution, dropout where there is one, normalisation (`ConvDropoutNormReLU`); second convolutions and shortcuts have no dropout.
        let dropout = has_dropout && !block.ends_with(".conv2") && !block.contains(".skip.");
        let position = match layer {
            "conv" => Some(0),
            "norm" => Some(1 + usize::from(dropout)),
            _ => None,
        };
        names.extend(position.map(|position| format!("{block}.all_modules.{position}.{tensor}")));
    }
    if name.starts_with("encoder.") {
        names.extend(names.clone().iter().map(|name| format!("decoder.{name}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let conv = "encoder.stages.0.0.convs.1.norm.weight";
        let expected = [conv, "encoder.stages.0.0.convs.1.all_modules.2.weight", "decoder.encoder.stages.0.0.convs.1.norm.weight"];
        let names = aliases(conv, true);
        assert_eq!((names.len(), &names[..2], &*names[2]), (4, &expected.map(str::to_owned)[..2], expected[2]));
        assert_eq!(aliases("encoder.stages.1.blocks.0.skip.1.norm.bias", true)[1], "encoder.stages.1.blocks.0.skip.1.all_modules.1.bias");
        assert_eq!(aliases("decoder.transpconvs.0.weight", false), ["decoder.transpconvs.0.weight"]);
        assert!(names[1..].iter().all(|alias| our_name(alias).is_none()));

        let head = "plugin.segmentation.seg_layers.2.bias";
        assert_eq!(their_name(head).as_deref(), Some("decoder.seg_layers.2.bias"));
        assert_eq!(our_name("module._orig_mod.decoder.seg_layers.2.bias").as_deref(), Some(head));
        assert_eq!(their_name("plugin.distance.weight"), None);
    }
}
