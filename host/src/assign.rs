//! `KEY=VALUE` on the command line: one value of a JSON document is changed.

use serde_json::{Map, Value};

/// An assignment that cannot be carried out.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Sets `key.path=value` in `document`. Numbers lead into lists that are there; objects are made where there are none. The value is JSON where
/// it parses as such, else text.
///
/// # Errors
/// Without `=`, and where a list has no such place.
pub fn assign(document: &mut Value, assignment: &str) -> Result<(), Error> {
    let Some((path, value)) = assignment.split_once('=') else {
        return Err(Error("expected KEY=VALUE, such as a.b=0.5".to_owned()));
    };
    let mut place = document;
    for key in path.split('.') {
        if let Value::Array(list) = place {
            let length = list.len();
            let item = key.parse::<usize>().ok().and_then(|number| list.get_mut(number));
            place = item.ok_or_else(|| Error(format!("found {key:?}, expected the number of one of {length} entries, from 0")))?;
            continue;
        }
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn assignments_reach_nested_keys_and_entries_of_lists() {
        let mut document = json!({"steps": [{"probability": 0.1}]});
        for assignment in ["outputs.whole.weight=0.5", "outputs.whole.loss=dice", "steps.0.probability=1"] {
            assign(&mut document, assignment).expect("possible");
        }
        assert_eq!(document, json!({"steps": [{"probability": 1}], "outputs": {"whole": {"weight": 0.5, "loss": "dice"}}}));
        assert!(assign(&mut document, "typo").expect_err("must be refused").to_string().contains("KEY=VALUE"));
        let message = assign(&mut document, "steps.1.probability=1").expect_err("must be refused").to_string();
        assert!(message.contains("found \"1\", expected the number of one of 1 entries"), "{message}");
    }
}
