//! What can be told of a plugin before anything is computed.

use super::{Finding, Subject, must};
use crate::plugin::{describe, refused_by_schema};
use serde_json::Value;

/// The manifest's fields.
pub(super) fn manifest(subject: &Subject) -> Result<(), Finding> {
    let manifest = &subject.plugin.identity().manifest;
    let numbers: Vec<_> = manifest.version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let version = numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u64>().is_ok());
    must!(version, "the version is '{}'; expected MAJOR.MINOR.PATCH", manifest.version);
    let fields = [("description", &manifest.description), ("license", &manifest.license)];
    let missing: Vec<&str> = fields.iter().filter(|(_, value)| value.trim().is_empty()).map(|(name, _)| *name).collect();
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(Finding::Warning(format!("it has no {}; users see it in `host plugin inspect`", missing.join(" and no ")))),
    }
}

/// The schema that `describe` returns.
pub(super) fn schema(subject: &Subject) -> Result<(), Finding> {
    let schema = describe(&*subject.plugin)?.schema;
    must!(schema.is_object(), "describe returned a schema that is no object: {schema}");
    check_schema(&schema, &schema, "options")?;
    must!(schema["type"] == "object", "the schema's type is {}; options are an object", schema["type"]);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let silent: Vec<&str> = properties.filter(|(_, option)| described(option).is_none()).map(|(name, _)| name.as_str()).collect();
    match silent.as_slice() {
        [] => Ok(()),
        silent => Err(Finding::Warning(format!("these options have no description (a doc comment of the field): {}", silent.join(", ")))),
    }
}

fn described(option: &Value) -> Option<&str> {
    option["description"].as_str().filter(|text| !text.trim().is_empty())
}

/// Types are known, references lead somewhere, properties are schemas themselves.
fn check_schema(schema: &Value, root: &Value, at: &str) -> Result<(), Finding> {
    const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];
    if schema.is_boolean() {
        return Ok(());
    }
    must!(schema.is_object(), "the schema of {at} is {schema}; expected an object");
    let types: Vec<&Value> = match &schema["type"] {
        Value::Null => Vec::new(),
        Value::Array(types) => types.iter().collect(),
        one => vec![one],
    };
    for found in types {
        must!(
            found.as_str().is_some_and(|name| TYPES.contains(&name)),
            "the schema of {at} has the type {found}; there are: {}",
            TYPES.join(", ")
        );
    }
    if let Some(reference) = schema.get("$ref") {
        let target = reference.as_str().and_then(|reference| reference.strip_prefix('#')).and_then(|pointer| root.pointer(pointer));
        must!(target.is_some(), "the schema of {at} refers to {reference}, which is not there");
    }
    for key in ["properties", "$defs", "definitions"] {
        for (name, inner) in schema[key].as_object().into_iter().flatten() {
            check_schema(inner, root, &format!("{at}.{name}"))?;
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        schema[key].as_array().into_iter().flatten().try_for_each(|inner| check_schema(inner, root, at))?;
    }
    match schema.get("items") {
        Some(inner) => check_schema(inner, root, &format!("{at}[]")),
        None => Ok(()),
    }
}

/// A trainer for the usual problem.
pub(super) fn create(subject: &Subject) -> Result<(), Finding> {
    let rig = subject.usual().map_err(|finding| match finding {
        Finding::Skipped(why) => Finding::failed(format!("{why}; give options that it can work with (--options, --set)")),
        other => other,
    })?;
    for output in rig.trainer.outputs() {
        let name = &output.name;
        match &output.target {
            Some(target) => {
                let Some(spec) = rig.task.targets.get(target) else {
                    return Err(Finding::failed(format!(
                        "output '{name}' is compared with target '{target}', which the data set does not have"
                    )));
                };
                must!(
                    spec.kind == output.kind && spec.channels == output.channels,
                    "output '{name}' is {:?} with {} channels, but its target '{target}' is {:?} with {}",
                    output.kind,
                    output.channels,
                    spec.kind,
                    spec.channels
                );
            }
            None => must!(output.kind == plugin_api::Kind::Aux, "output '{name}' has no target; only aux outputs may have none"),
        }
    }
    match refused_by_schema(&*subject.plugin, &subject.options)? {
        Some(why) => Err(Finding::failed(format!("it takes options that its own schema refuses: {why}"))),
        None => Ok(()),
    }
}

/// What only its kind of backend asks.
pub(super) fn answers(subject: &Subject) -> Result<(), Finding> {
    subject.plugin.check_answers().map_err(Finding::failed)
}
