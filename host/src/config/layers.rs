//! What is asked for in several places, of which later ones win.

use super::flags::{COMMAND_LINE, parse};
use super::optimiser::Asked;
use super::run::{ArmSettings, Config};
use super::schema::{check, defaults, of, properties, required, schema, typed};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// Settings of one place.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The place, as messages name it.
    name: String,
    values: Map<String, Value>,
    /// Whether the user said it, for this run: then it must be of use.
    of_user: bool,
}

/// What is wrong with settings, and where.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{layer}: {reason}")]
pub struct Error {
    /// The place.
    pub layer: String,
    /// What is wrong.
    pub reason: String,
}

/// A setting that has to be given, and was not.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{COMMAND_LINE}: setting '{}' is missing; give --{}", .0, .0.replace('_', "-"))]
pub struct Missing(pub String);

/// All places, in order.
#[derive(Clone, Debug)]
pub struct Layers(Vec<Layer>);

impl Layer {
    /// What the user asks for at the place `name`.
    ///
    /// # Errors
    /// When it is none of the settings, or of no use.
    pub fn new(name: impl Into<String>, values: Map<String, Value>) -> Result<Self, Error> {
        Self { name: name.into(), values, of_user: true }.checked::<Config>()
    }

    /// What flags say.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_flags(values: Map<String, Value>) -> Result<Self, Error> {
        Self::new(COMMAND_LINE, values)
    }

    /// A file of settings, or the `debug.json` of a run.
    ///
    /// # Errors
    /// When it cannot be read, or says what cannot be.
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let wrong = |reason: String| Error { layer: name.clone(), reason };
        let mut values: Map<String, Value> = imaging::io::read_json(path).map_err(|error| wrong(error.to_string()))?;
        // Of all that `debug.json` says, these are the settings.
        if let (Some(Value::Object(config)), Some(_)) = (values.get("config"), values.get("identity")) {
            values = config.clone();
        }
        // For editors.
        values.shift_remove("$schema");
        Self::new(name, values)
    }

    /// What a plugin's manifest asks for, such as `--optimiser adamw --schedule cosine`.
    ///
    /// # Errors
    /// When words are none of the optimiser's settings, or their values cannot be.
    pub fn of_manifest(plugin: &str, training: Option<&str>) -> Result<Self, Error> {
        let name = format!("plugin {plugin}: its manifest");
        let values = parse::<Asked>(training.unwrap_or_default()).map_err(|reason| Error { layer: name.clone(), reason })?;
        Self { name, values, of_user: false }.checked::<Asked>()
    }

    /// What one of several runs is asked for beside the others: plugin, options, optimiser and weighting.
    ///
    /// # Errors
    /// When it is none of these, or of no use.
    pub fn of_arm(name: &str, values: Map<String, Value>) -> Result<Self, Error> {
        Self { name: format!("arm {name}"), values, of_user: true }.checked::<ArmSettings>()
    }

    /// The same words of the command line for one arm, `--arm-training`.
    ///
    /// # Errors
    /// Words that are none of the optimiser's settings.
    pub fn words_of_arm(words: &str) -> Result<Map<String, Value>, String> {
        parse::<Asked>(words)
    }

    fn checked<T: JsonSchema + DeserializeOwned>(self) -> Result<Self, Error> {
        match check::<T>(&of::<T>(), &self.values) {
            Ok(()) => Ok(self),
            Err(reason) => Err(Error { layer: self.name, reason }),
        }
    }
}

impl Default for Layers {
    /// nnU-Net's settings.
    fn default() -> Self {
        Self(vec![Layer { name: "defaults".to_owned(), values: defaults(schema()), of_user: false }])
    }
}

impl Layers {
    /// Puts `layer` on top.
    pub fn add(&mut self, layer: Layer) {
        self.0.push(layer);
    }

    /// These, with what the plugin asks for below all that the user says.
    pub fn with_manifest(&self, manifest: Layer) -> Self {
        let mut layers = self.clone();
        layers.0.insert(1, manifest);
        layers
    }

    /// All that the user asked for: what a run is repeated with. Defaults and wishes of the plugin stay below it then, too.
    pub fn of_user(&self) -> Map<String, Value> {
        self.merge(|layer| layer.of_user)
    }

    /// The setting `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find_map(|layer| layer.values.get(name)).filter(|value| !value.is_null())
    }

    /// Everything, as it is asked for, whether of use or not.
    ///
    /// # Errors
    /// When a setting is missing that has no default.
    pub fn complete(&self) -> Result<Config, Error> {
        typed(self.merge(|_| true)).map_err(|reason| Error { layer: "settings".to_owned(), reason })
    }

    /// The same.
    ///
    /// # Errors
    /// Also when the user gives a setting that nothing would use.
    pub fn config(&self) -> Result<Config, Error> {
        properties(schema()).try_for_each(|(name, property)| self.check_use(name, property))?;
        self.complete()
    }

    /// Names a setting that has no default and was not given.
    ///
    /// # Errors
    /// When there is one.
    pub fn check_complete(&self) -> Result<(), Missing> {
        required(schema()).find(|name| self.get(name).is_none()).map_or(Ok(()), |name| Err(Missing(name.to_owned())))
    }

    /// The optimiser's settings.
    pub(super) fn asked(&self) -> Asked {
        typed(self.merge(|_| true)).expect("defaults are complete")
    }

    /// Where the setting `name` is from; none where nobody said it.
    pub fn place(&self, name: &str) -> Option<&str> {
        self.0[1..].iter().rev().find(|layer| layer.values.contains_key(name)).map(|layer| layer.name.as_str())
    }

    /// Number of the layer that the setting `name` is from.
    fn from(&self, name: &str) -> usize {
        self.0.iter().rposition(|layer| layer.values.contains_key(name)).unwrap_or(0)
    }

    /// Refuses a setting of the user's that nothing would use beside the others. What a plugin asks for may come without, and so may what an earlier layer
    /// says where a later one has changed the others.
    fn check_use(&self, name: &str, property: &Value) -> Result<(), Error> {
        let from = self.from(name);
        let layer = &self.0[from];
        if !layer.of_user || matches!(layer.values[name], Value::Bool(false) | Value::Null) {
            return Ok(());
        }
        let flag = |name: &str| format!("--{}", name.replace('_', "-"));
        let found = |name: &str| self.get(name).filter(|found| **found != Value::Bool(false));
        let refuse = |reason: String| Err(Error { layer: layer.name.clone(), reason: format!("setting '{name}' {reason}") });
        if let Some([other, values @ ..]) = property["x-with"].as_array().map(Vec::as_slice)
            && let Some(other) = other.as_str().filter(|other| self.from(other) <= from)
            && !found(other).is_some_and(|found| values.is_empty() || values.contains(found))
        {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let needed = format!("{} {}", flag(other), values.join(" or "));
            return refuse(format!("is for {} only; leave it out, or add that", needed.trim_end()));
        }
        let others = property["x-without"].as_array().into_iter().flatten().filter_map(Value::as_str);
        match others.into_iter().find(|other| self.from(other) <= from && found(other).is_some()) {
            Some(other) => refuse(format!("does not go with {}; leave one of them out", flag(other))),
            None => Ok(()),
        }
    }

    fn merge(&self, wanted: impl Fn(&Layer) -> bool) -> Map<String, Value> {
        let mut merged = Map::new();
        self.0.iter().filter(|layer| wanted(layer)).for_each(|layer| merged.extend(layer.values.clone()));
        merged
    }
}
