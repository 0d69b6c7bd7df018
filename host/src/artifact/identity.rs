//! What a checkpoint belongs to: going on under anything else would be another training.

use super::Origin;
use crate::config::Recipe;
use crate::network::Precision;
use crate::shim::mix;
use data::dataset::splits::Fold;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What all random numbers of a training are keyed by, beside their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// The user's seed alone, so that all folds begin with the same weights and draw the same: as it was until 2026-12.
    #[default]
    Seed,
    /// Seed and fold.
    SeedAndFold,
}

impl Streams {
    /// Of a training that begins.
    pub const NEW: Self = Self::SeedAndFold;

    /// The number that all streams of `fold` are made from, where the user gives `seed`. Arms of one fold share it.
    pub fn seed(self, seed: u64, fold: Fold) -> u64 {
        let fold = match fold {
            Fold::Number(number) => number as u64,
            Fold::All => u64::MAX,
        };
        if self == Self::Seed { seed } else { mix(&[seed, fold]) }
    }
}

/// Everything that decides what a training computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The network.
    #[serde(flatten)]
    pub origin: Origin,
    /// Hash of data, sampler, pipeline and seed.
    pub data_key: String,
    /// What its random numbers are keyed by. Not in the oldest checkpoints.
    #[serde(default)]
    pub streams: Streams,
    /// Hash of the checkpoint whose weights it began with, if any. Not in the oldest checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
    /// Epochs of the whole run: the schedule depends on them.
    pub epochs: u64,
    /// Training iterations an epoch: the position in the data depends on them.
    pub iterations: u64,
    /// Validation iterations an epoch.
    pub validation_iterations: u64,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Whether coarser levels are supervised, too.
    pub deep_supervision: bool,
    /// Optimiser and learning rates.
    pub recipe: Recipe,
    /// Under others, results differ in rounding.
    pub machine: Machine,
}

/// What computed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// libtorch's version.
    pub libtorch: String,
    /// Its threads.
    pub threads: i32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Instructions of the CPU that libtorch chooses its kernels by.
    pub cpu: String,
}

/// One value that two identities do not share.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// Its place, such as `recipe.optimiser`.
    pub what: String,
    /// There.
    pub found: String,
    /// Here.
    pub expected: String,
}

impl Identity {
    /// All that differs from `expected`: first what makes it another training, then what changes rounding only. Another build of the plugin
    /// is another training: what has changed in it cannot be told.
    pub fn differences(&self, expected: &Self) -> (Vec<Difference>, Vec<Difference>) {
        let mut found = self.clone();
        match (&mut found.origin.library, &expected.origin.library) {
            // What else differs in their manifests goes without saying.
            (Some(found), Some(expected)) => found.manifest = expected.manifest.clone(),
            (found, expected) => *found = expected.clone(),
        }
        // What it says that matters to a training is compared elsewhere, by its own name.
        found.origin.task.clone_from(&expected.origin.task);
        let value = |identity: &Self| serde_json::to_value(identity).expect("plain data");
        let mut all = Vec::new();
        compare("", &value(&found), &value(expected), &mut all);
        all.into_iter().partition(|difference| !difference.what.starts_with("machine."))
    }
}

fn compare(what: &str, found: &Value, expected: &Value, differences: &mut Vec<Difference>) {
    if found == expected {
        return;
    }
    let inner = |key: &str| if what.is_empty() { key.to_owned() } else { format!("{what}.{key}") };
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                compare(&inner(key), found.get(key).unwrap_or(&Value::Null), expected.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        _ => differences.push(Difference { what: what.to_owned(), found: found.to_string(), expected: expected.to_string() }),
    }
}

/// Whether two plans are the same. Until 2026-12, checkpoints had null for what plans do not say of their network.
pub(super) fn is_same_plan(a: &Value, b: &Value) -> bool {
    let mut differences = Vec::new();
    compare("", a, b, &mut differences);
    differences.is_empty()
}

/// Differences in words, each with both values.
pub(super) fn tell(differences: &[Difference]) -> String {
    let one = |d: &Difference| format!("its {} is {}, this run has {}", d.what, d.found, d.expected);
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Machine {
    /// This one.
    pub fn here(device: &str) -> Self {
        Self {
            libtorch: plugin_api::manifest::LIBTORCH.to_owned(),
            threads: tch::get_num_threads(),
            device: device.to_owned(),
            cpu: cpu_features().join(" "),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let there = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::arch::is_x86_feature_detected!("avx512bf16")),
        ("avx512fp16", std::arch::is_x86_feature_detected!("avx512fp16")),
    ];
    there.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fold_has_streams_of_its_own() {
        let folds = [Fold::Number(0), Fold::Number(1), Fold::Number(4), Fold::All];
        let seeds = folds.map(|fold| Streams::NEW.seed(0, fold));
        assert_eq!(seeds.iter().collect::<std::collections::BTreeSet<_>>().len(), folds.len());
        assert_ne!(seeds, folds.map(|fold| Streams::NEW.seed(1, fold)));
        // As in trainings that were begun before folds had their own.
        assert_eq!(folds.map(|fold| Streams::default().seed(7, fold)), [7; 4]);
    }

    #[test]
    fn differences_are_named_by_their_place() {
        let mut differences = Vec::new();
        let (found, expected) = (json!({"a": {"b": [1, 2], "c": 1}, "d": 1}), json!({"a": {"b": [1, 3], "c": 1}, "e": 1}));
        compare("", &found, &expected, &mut differences);
        let told: Vec<_> = differences.iter().map(|d| format!("{} {} {}", d.what, d.found, d.expected)).collect();
        assert_eq!(told, ["a.b [1,2] [1,3]", "d 1 null", "e null 1"]);
    }
}
