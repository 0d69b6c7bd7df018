//! nnU-Net's functions that bring volumes to another spacing, and their arguments, as plans name them.

use imaging::resample::{Order, Rule, Vote};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// nnU-Net's default (`default_resampling.py`).
pub const SPLINES: &str = "resample_data_or_seg_to_shape";
/// By torch (`resample_torch.py`).
const TORCH: &str = "resample_torch_fornnunet";
/// Volumes stay as they are, whatever their spacing (`no_resampling.py`).
pub(super) const NONE: &str = "no_resampling_hack";

/// Arguments of a resampling function; those that are missing have the defaults of that function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// Whether labels are resampled.
    #[serde(default)]
    pub is_seg: bool,
    /// Spline order.
    #[serde(default = "cubic")]
    pub order: u8,
    /// Spline order along z where z is resampled on its own.
    #[serde(default)]
    pub order_z: u8,
    /// Whether z is resampled on its own; decided by the spacing when `None`, which is `null` in the file.
    #[serde(default = "never")]
    pub force_separate_z: Option<bool>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// nnU-Net's default order.
fn cubic() -> u8 {
    3
}

/// nnU-Net's default for `force_separate_z`, but for torch.
fn never() -> Option<bool> {
    Some(false)
}

/// Gives the functions of a configuration the defaults that are theirs alone.
pub(super) fn fill_defaults(configuration: &mut Value) {
    for (function, kwargs) in [
        ("resampling_fn_data", "resampling_fn_data_kwargs"),
        ("resampling_fn_seg", "resampling_fn_seg_kwargs"),
        ("resampling_fn_probabilities", "resampling_fn_probabilities_kwargs"),
    ] {
        if configuration.get(function).and_then(Value::as_str) == Some(TORCH)
            && let Some(Value::Object(kwargs)) = configuration.get_mut(kwargs)
        {
            kwargs.entry("force_separate_z").or_insert(Value::Null);
        }
    }
}

/// What a plans file says that cannot be done: what is there, and what can be.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// The function.
    Function { available: String },
    /// Its arguments.
    Arguments { found: String, available: String },
}

impl Resampling {
    /// How `function` resamples with these arguments: images, or labels where `is_seg` says so.
    pub(super) fn rule(&self, function: &str, is_seg: bool) -> Result<Rule, Refused> {
        match function {
            SPLINES => self.splines(is_seg),
            TORCH => self.torch(is_seg),
            // Shapes stay, and to the same shape every rule is the identity.
            NONE => Ok(Rule::LINEAR),
            _ => Err(Refused::Function { available: [SPLINES, TORCH, NONE].join(", ") }),
        }
    }

    fn splines(&self, is_seg: bool) -> Result<Rule, Refused> {
        // Labels are voted on linearly at most.
        let orders = if is_seg { &[0, 1][..] } else { &[0, 1, 3] };
        let order = |degree: u8| Order::from_degree(degree).filter(|_| orders.contains(&degree));
        let known = ["separate_z_anisotropy_threshold"];
        match (order(self.order), order(self.order_z), self.threshold()) {
            (Some(order), Some(order_z), Some(threshold)) if self.is_for(is_seg) && self.has_only(&known) => {
                Ok(Rule { order, order_z, separate: self.force_separate_z, threshold, ..Rule::CUBIC })
            }
            _ => Err(self.refused(format!(
                "is_seg {is_seg}, order and order_z of {orders:?}, force_separate_z, and separate_z_anisotropy_threshold above 0"
            ))),
        }
    }

    fn torch(&self, is_seg: bool) -> Result<Rule, Refused> {
        // Where and on how many threads torch computes changes nothing that is promised.
        let known = ["separate_z_anisotropy_threshold", "memefficient_seg_resampling", "mode", "aniso_axis_mode", "num_threads", "device"];
        let is = |key: &str, value: &str| self.extra.get(key).is_none_or(|found| found == value);
        let majority = self.extra.get("memefficient_seg_resampling").map_or(Some(false), Value::as_bool);
        match (self.threshold(), majority) {
            (Some(threshold), Some(majority))
                if self.is_for(is_seg)
                    && self.has_only(&known)
                    && self.has_no_orders()
                    && is("mode", "linear")
                    && is("aniso_axis_mode", "nearest-exact") =>
            {
                let vote = if majority { Vote::Majority } else { Vote::RoundedShare };
                Ok(Rule { separate: self.force_separate_z, threshold, vote, ..Rule::TORCH })
            }
            _ => Err(self.refused(format!(
                "is_seg {is_seg}, force_separate_z, separate_z_anisotropy_threshold above 0, memefficient_seg_resampling, mode \"linear\", and \
                 aniso_axis_mode \"nearest-exact\"; orders are for {SPLINES}"
            ))),
        }
    }

    fn is_for(&self, is_seg: bool) -> bool {
        self.is_seg == is_seg
    }

    /// Whether the orders are those that stand for none: checkpoints say them always.
    fn has_no_orders(&self) -> bool {
        (self.order, self.order_z) == (cubic(), 0)
    }

    fn has_only(&self, keys: &[&str]) -> bool {
        self.extra.keys().all(|key| keys.contains(&key.as_str()))
    }

    fn threshold(&self) -> Option<f64> {
        match self.extra.get("separate_z_anisotropy_threshold") {
            None => Some(Rule::CUBIC.threshold),
            Some(value) => value.as_f64().filter(|threshold| *threshold > 0.0),
        }
    }

    fn refused(&self, available: String) -> Refused {
        Refused::Arguments { found: serde_json::to_string(self).unwrap_or_default(), available }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kwargs(json: Value) -> Resampling {
        serde_json::from_value(json).expect("arguments")
    }

    #[test]
    fn torch_has_its_own_defaults() {
        let mut configuration = json!({"resampling_fn_seg": TORCH, "resampling_fn_seg_kwargs": {"is_seg": true},
            "resampling_fn_data": SPLINES, "resampling_fn_data_kwargs": {}});
        fill_defaults(&mut configuration);
        assert_eq!(kwargs(configuration["resampling_fn_seg_kwargs"].clone()).rule(TORCH, true), Ok(Rule::TORCH));
        assert_eq!(kwargs(configuration["resampling_fn_data_kwargs"].clone()).force_separate_z, Some(false));
        let majority = kwargs(json!({"is_seg": true, "force_separate_z": null, "memefficient_seg_resampling": true}));
        assert_eq!(majority.rule(TORCH, true), Ok(Rule { vote: Vote::Majority, ..Rule::TORCH }));
        let threshold = kwargs(json!({"force_separate_z": null, "separate_z_anisotropy_threshold": 2}));
        assert_eq!(threshold.rule(SPLINES, false), Ok(Rule { threshold: 2.0, ..Rule::CUBIC }));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (function, json, is_seg) in [
            ("resample_mine", json!({}), false),
            (SPLINES, json!({"order": 2}), false),
            (SPLINES, json!({"is_seg": true, "order": 3}), true),
            (SPLINES, json!({"mode": "linear"}), false),
            (SPLINES, json!({"separate_z_anisotropy_threshold": 0}), false),
            (TORCH, json!({"mode": "bicubic"}), false),
            (TORCH, json!({"is_seg": true, "order": 1}), true),
            (TORCH, json!({"order_z": 1}), false),
            (TORCH, json!({"aniso_axis_mode": "nearest"}), false),
            (TORCH, json!({"is_seg": true}), false),
            (TORCH, json!({"memefficient_seg_resampling": "yes"}), false),
        ] {
            assert!(kwargs(json.clone()).rule(function, is_seg).is_err(), "{function} {json}");
        }
    }
}
