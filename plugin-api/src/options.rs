//! Options: JSON against the schema of their type, so that a misspelt key is an error that names the nearest one.

use crate::{Error, Result, bail};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The JSON Schema of options type `T`.
pub fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Reads options of type `T`. Keys that its schema does not know are an error, whether or not the type itself refuses them.
///
/// # Errors
/// When `json` is no JSON, or is not what `T` and its schema say.
pub fn parse<T: DeserializeOwned + JsonSchema>(json: &str) -> Result<T> {
    let value: Value = serde_json::from_str(json)?;
    let schema = schema::<T>();
    check_keys(&value, &schema, &schema, "")?;
    serde_json::from_value(value).map_err(|e| Error::new(format!("options: {e}")))
}

/// `: did you mean 'x'?`, or a list of what there is.
pub fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    // The time that a comparison takes grows with the product of lengths.
    const LONGEST: usize = 128;
    let short = known.clone().filter(|known| known.len().max(name.len()) <= LONGEST);
    let nearest = short.map(|k| (strsim::damerau_levenshtein(name, k), k)).min();
    match nearest.or_else(|| known.clone().next().map(|k| (usize::MAX, k))) {
        Some((distance, nearest)) if distance <= nearest.len().max(name.len()) / 3 + 1 => format!(": did you mean '{nearest}'?"),
        Some(_) => format!("; there are: {}", known.collect::<Vec<_>>().join(", ")),
        None => "; there are none".to_owned(),
    }
}

/// A value of an enumeration as options spell it.
pub fn spelt(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Walks `value` along `schema`; `root` resolves references, `path` names where we are.
fn check_keys(value: &Value, schema: &Value, root: &Value, path: &str) -> Result<()> {
    let variants = alternatives(schema, root);
    match value {
        Value::Object(object) => {
            let mut known: Vec<&str> = Vec::new();
            for properties in variants.iter().filter_map(|s| s["properties"].as_object()) {
                known.extend(properties.keys().map(String::as_str));
            }
            for (key, child) in object {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let described = variants
                    .iter()
                    .find_map(|s| s["properties"].get(key).or_else(|| s.get("additionalProperties").filter(|a| a.is_object())));
                match described {
                    Some(described) => check_keys(child, described, root, &at)?,
                    None if variants.iter().any(|s| is_free_form(s)) => {}
                    None => bail!("unknown option '{at}'{}", suggestion(key, known.iter().copied())),
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let item_schema = variants.iter().find_map(|s| s.get("items"));
            items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| item_schema.map_or(Ok(()), |s| check_keys(item, s, root, &format!("{path}[{i}]"))))
        }
        _ => Ok(()),
    }
}

/// Whether a schema takes keys that it does not name: one that says so, or one that says nothing of the value at all.
fn is_free_form(schema: &Value) -> bool {
    const SAYS_SOMETHING: [&str; 8] = ["type", "properties", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"];
    match schema {
        Value::Bool(any) => *any,
        _ => schema["additionalProperties"] == Value::Bool(true) || SAYS_SOMETHING.iter().all(|key| schema.get(key).is_none()),
    }
}

/// `schema` itself, its reference's target, and the alternatives inside.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![schema];
    let mut next = 0;
    while let Some(schema) = found.get(next).copied() {
        next += 1;
        let target = schema["$ref"].as_str().and_then(|r| root.pointer(r.trim_start_matches('#')));
        found.extend(target.filter(|t| !found.iter().any(|f| std::ptr::eq(*f, *t))));
        for key in ["anyOf", "oneOf", "allOf"] {
            found.extend(schema[key].as_array().into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema, Debug)]
    struct Options {
        #[allow(dead_code)]
        outputs: IndexMap<String, Inner>,
        #[serde(default)]
        #[allow(dead_code)]
        temperature: Option<f64>,
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    struct Inner {
        #[allow(dead_code)]
        weight: f64,
    }

    #[test]
    fn nested_typos_name_the_nearest_key() {
        let error = parse::<Options>(r#"{"outputs": {"whole": {"wieght": 1}}}"#).unwrap_err().to_string();
        assert_eq!(error, "unknown option 'outputs.whole.wieght': did you mean 'weight'?");
        let error = parse::<Options>(r#"{"outputs": {}, "tempreature": 1}"#).unwrap_err().to_string();
        assert_eq!(error, "unknown option 'tempreature': did you mean 'temperature'?");
    }

    #[derive(Deserialize, JsonSchema, Debug)]
    struct Nothing {}

    #[test]
    fn without_options_every_key_is_a_typo() {
        let error = parse::<Nothing>(r#"{"weight": 1}"#).unwrap_err().to_string();
        assert_eq!(error, "unknown option 'weight'; there are none");
        assert!(parse::<Value>(r#"{"weight": 1}"#).is_ok());
    }

    #[test]
    fn order_is_kept() {
        let options = parse::<Options>(r#"{"outputs": {"b": {"weight": 1}, "a": {"weight": 2}}}"#).unwrap();
        assert_eq!(options.outputs.keys().collect::<Vec<_>>(), ["b", "a"]);
    }
}
