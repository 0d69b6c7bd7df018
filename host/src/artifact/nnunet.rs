//! nnU-Net's checkpoints: what they say, and their weights under our names.
//!
//! A state dict holds most tensors several times, since torch lists a module under every name that it is reached by: under which, the trunk knows. One
//! of each is read, all are written. The segmentation layers are the head of our output `segmentation`.

use super::{Error, Origin, Weights};
use crate::model;
use crate::network::{self, PLUGIN, Trunk};
use data::dataset::splits::Fold;
use data::plan::Plans;
use data::pth::{Pth, TensorRef, Value, write};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::path::Path;
use tch::Tensor;

/// Our output that nnU-Net's segmentation layers make.
const HEAD: &str = "plugin.segmentation.seg_layers.";

/// Reads `checkpoint_*.pth`, which belongs to one of the configurations of `plans`.
///
/// # Errors
/// When it cannot be read, is not nnU-Net's, or its configuration is none of the plans.
pub fn read(path: &Path, plans: &Plans) -> Result<(Origin, Weights), Error> {
    let file = Pth::open(path)?;
    let broken = |reason: &str| Error::Broken { path: path.to_owned(), reason: format!("{reason}; it is no checkpoint of nnU-Net v2") };
    let root = file.root();
    let configuration = root.get("init_args").and_then(|arguments| arguments.get("configuration")).and_then(Value::as_str);
    let name = configuration.ok_or_else(|| broken("has no init_args.configuration"))?;
    let configuration = plans.configuration(name).map_err(|error| Error::of_plans(path, error))?;
    let mirror = mirroring(root).ok_or_else(|| broken("has inference_allowed_mirroring_axes that are no axes"))?;
    if mirror.iter().any(|axis| *axis >= configuration.dims()) {
        return Err(broken(&format!("mirrors along the axes {mirror:?}, but has {} of them", configuration.dims())));
    }
    let state = root.get("network_weights").and_then(Value::entries).ok_or_else(|| broken("has no network_weights"))?;
    let trunk = network::trunk(&configuration.architecture)
        .map_err(|error| Error::Broken { path: path.to_owned(), reason: format!("configuration {name:?} of its plans: {error}") })?;
    let mut weights = Weights::new();
    for (key, value) in state {
        let name = key.as_str().and_then(|key| our_name(&*trunk, key));
        let (Some(name), Value::Tensor(tensor)) = (name, value) else { continue };
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
    let trunk = origin.trunk().map_err(|reason| Error::Broken { path: path.to_owned(), reason })?;
    let mut state = Vec::new();
    for (name, tensor) in weights {
        let Some(theirs) = their_name(&*trunk, name) else {
            let reason = format!("has {name}, and nnU-Net has no such layer; export it with --format safetensors");
            return Err(Error::Broken { path: path.to_owned(), reason });
        };
        let shape: Vec<u64> = tensor.size().iter().map(|size| *size as u64).collect();
        let entry = |alias: String| (Value::from(&*alias), TensorRef::new(&**name, &*shape).into());
        state.extend(trunk.aliases(&theirs).into_iter().map(entry));
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
fn our_name(trunk: &dyn Trunk, key: &str) -> Option<String> {
    // As wrappers for several GPUs, and compilation, leave them.
    let key = key.strip_prefix("module.").unwrap_or(key);
    let key = key.strip_prefix("_orig_mod.").unwrap_or(key);
    if trunk.is_alias(key) {
        return None;
    }
    Some(match key.strip_prefix(trunk.seg_layers()) {
        Some(layer) => format!("{HEAD}{layer}"),
        None => key.to_owned(),
    })
}

/// The other way round; none for a head that nnU-Net does not have.
fn their_name(trunk: &dyn Trunk, name: &str) -> Option<String> {
    match name.strip_prefix(HEAD) {
        Some(layer) => Some(format!("{}{layer}", trunk.seg_layers())),
        None => (!name.starts_with(PLUGIN)).then(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let plans: Plans = serde_json::from_str(include_str!("../../../tests/golden/hippocampus_plans.json")).expect("golden file");
        let trunk = network::trunk(&plans.configuration("3d_fullres").expect("planned").architecture).expect("there");
        let head = "plugin.segmentation.seg_layers.2.bias";
        assert_eq!(their_name(&*trunk, head).as_deref(), Some("decoder.seg_layers.2.bias"));
        assert_eq!(our_name(&*trunk, "module._orig_mod.decoder.seg_layers.2.bias").as_deref(), Some(head));
        assert_eq!(our_name(&*trunk, "decoder.encoder.stages.0.0.convs.0.conv.weight"), None);
        assert_eq!(their_name(&*trunk, "plugin.distance.weight"), None);
    }
}
