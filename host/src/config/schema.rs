//! The JSON Schema of settings, and what it refuses.
//!
//! Beside JSON Schema's own keywords a property may have: `x-value`, what its value is called on the command line; `x-heading`, where its flag is
//! listed; `x-flag: false`, where it has none; `x-repeated`, where the flag is given once for every entry; `x-with: [setting, values…]`, without which
//! nothing uses it; `x-without`, settings that it does not go with; `x-layers`, where its value is settings again, by name.

use super::run::Config;
use crate::optimisers;
use plugin_api::options::suggestion;
use schemars::generate::SchemaSettings;
use schemars::transform::Transform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Lists the flags of a struct's settings under a heading.
#[derive(Clone)]
pub(super) struct Under(pub &'static str);

impl Transform for Under {
    fn transform(&mut self, schema: &mut Schema) {
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for property in properties.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            property.entry("x-heading").or_insert_with(|| self.0.into());
        }
    }
}

/// What a run may be asked for.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(of::<Config>);
    &SCHEMA
}

/// The schema of `T`, without references. What has a default need not be given.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let defaults = defaults(&schema);
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !name.as_str().is_some_and(|name| defaults.contains_key(name)));
    }
    add_optimisers(&mut schema);
    schema
}

/// Says of the settings that only some optimisers have whose they are.
fn add_optimisers(schema: &mut Value) {
    for kind in optimisers::all() {
        for setting in kind.rule().settings() {
            let property = schema.pointer_mut(&format!("/properties/{setting}")).and_then(Value::as_object_mut);
            let with = property.map(|property| property.entry("x-with").or_insert_with(|| json!(["optimiser"])));
            with.and_then(Value::as_array_mut).into_iter().for_each(|with| with.push(kind.rule().name().into()));
        }
    }
}

/// The settings of `schema` that have to be given.
pub(super) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The settings of `schema`, by name.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> + Clone {
    schema["properties"].as_object().into_iter().flatten().map(|(name, property)| (name.as_str(), property))
}

/// What settings are that nobody says anything of.
pub(super) fn defaults(schema: &Value) -> Map<String, Value> {
    properties(schema).filter_map(|(name, property)| Some((name.to_owned(), property.get("default")?.clone()))).collect()
}

/// Refuses names that `schema` does not have, values that it does not allow, and what is no setting of `T` then.
///
/// # Errors
/// The first of these, in words that go on from where it stands.
pub(super) fn check<T: JsonSchema + DeserializeOwned>(schema: &Value, values: &Map<String, Value>) -> Result<(), String> {
    let known = properties(schema).map(|(name, _)| name);
    let whole = of::<T>();
    let mut filled = defaults(&whole);
    // A text will do for those that have to be given: they are all texts.
    required(&whole).for_each(|name| _ = filled.insert(name.to_owned(), "".into()));
    for (name, value) in values {
        let Some(property) = schema["properties"].get(name) else {
            return Err(format!("there is no setting '{name}'{}", suggestion(name, known)));
        };
        if property["x-layers"] == true
            && let Some(layers) = value.as_object()
        {
            check_names(layers, &property["propertyNames"])?;
            continue;
        }
        let choices: Vec<String> = choices(property).into_iter().map(|(choice, _)| choice).collect();
        if let Some(text) = value.as_str().filter(|text| !choices.is_empty() && !choices.iter().any(|choice| choice == text)) {
            return Err(format!("setting '{name}': {text:?} is none of {}", choices.join(", ")));
        }
        let validator = jsonschema::validator_for(property).expect("our own schema");
        if let Some(error) = validator.iter_errors(value).next() {
            return Err(format!("setting '{name}': {error}"));
        }
        // One at a time, so that it can be said which.
        let mut filled = filled.clone();
        filled.insert(name.clone(), value.clone());
        typed::<T>(filled).map_err(|error| format!("setting '{name}': {error}"))?;
    }
    Ok(())
}

/// Refuses names of settings that are settings again; what is in these is checked where they become a layer.
fn check_names(layers: &Map<String, Value>, names: &Value) -> Result<(), String> {
    let pattern = jsonschema::validator_for(names).expect("our own schema");
    match layers.keys().find(|name| !pattern.is_valid(&Value::from(name.as_str()))) {
        Some(name) => Err(format!("the name {name:?}; expected letters, digits, '_' and '-'")),
        None => Ok(()),
    }
}

/// Settings as Rust has them.
pub(super) fn typed<T: DeserializeOwned>(values: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(values)).map_err(|error| error.to_string())
}

/// The values that a setting can have, where these are listed, and what each is.
pub(super) fn choices(property: &Value) -> Vec<(String, Option<String>)> {
    let listed = property["enum"].as_array().into_iter().flatten();
    let mut found: Vec<_> = listed.filter_map(|value| Some((value.as_str()?.to_owned(), None))).collect();
    if let Some(value) = property["const"].as_str() {
        found.push((value.to_owned(), property["description"].as_str().map(str::to_owned)));
    }
    for key in ["oneOf", "anyOf"] {
        found.extend(property[key].as_array().into_iter().flatten().flat_map(choices));
    }
    found
}

/// Whether a setting can be of JSON's type `name`.
pub(super) fn allows(property: &Value, name: &str) -> bool {
    let is = |value: &Value| value == name;
    let own = is(&property["type"]) || property["type"].as_array().is_some_and(|types| types.iter().any(is));
    own || ["oneOf", "anyOf"].iter().any(|key| property[*key].as_array().is_some_and(|inner| inner.iter().any(|inner| allows(inner, name))))
}
