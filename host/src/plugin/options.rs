//! Options beside the schema that the plugin itself gives of them. Rust plugins refuse what they cannot use; in C and C++ `strtod("abc")` is 0, and
//! nobody notices.

use super::backend::TrainerBackend;
use super::error::CallError;
use plugin_api::Description;
use serde_json::Value;

/// What a plugin tells of its options. Runs its code.
///
/// # Errors
/// When it cannot.
pub fn describe(plugin: &dyn TrainerBackend) -> Result<Description, CallError> {
    plugin.describe().map_err(|failure| CallError::of(plugin.identity(), "describe", failure))
}

/// Why the schema of the plugin refuses `options`, naming the option, if it does. A schema that cannot be read, which `host plugin check`
/// tells, is named once and refuses nothing.
///
/// # Errors
/// When the plugin cannot describe itself.
pub fn refused_by_schema(plugin: &dyn TrainerBackend, options: &Value) -> Result<Option<String>, CallError> {
    let (schema, id) = (describe(plugin)?.schema, &plugin.identity().manifest.id);
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            log::warn!("plugin {id}: its options are not checked, since its schema is no JSON Schema: {error}");
            return Ok(None);
        }
    };
    Ok(validator.iter_errors(options).next().map(|error| {
        let place = error.instance_path().to_string();
        let option = place.trim_start_matches('/').replace('/', ".");
        let named = if option.is_empty() { String::new() } else { format!("option '{option}': ") };
        format!("{named}{error}; its schema says so, see `host plugin schema {id}`")
    }))
}
