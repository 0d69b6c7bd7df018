//! The one reader of JSON files: those of people, of nnU-Net, and of editors that save as they like.
//!
//! Text may be UTF-8 with or without a byte order mark, or UTF-16, as PowerShell and Notepad save it. Bare `NaN`, `Infinity` and `-Infinity`, which
//! Python writes, are read as strings of these names; [`number`] makes numbers of them where a number may be none.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::{DeserializeOwned, Unexpected, Visitor};

use super::{read_file, write_atomically};
use crate::plain::plain;

/// Why a JSON file cannot be read. The caller names the file.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The system gave up.
    #[error("cannot be read ({0}); check that it exists and may be read")]
    Read(#[from] io::Error),
    /// Its bytes are no text.
    #[error("is no text that JSON can be written in ({0}); save it as UTF-8")]
    Text(String),
    /// The text is no JSON, or another than is expected.
    #[error("line {line}, column {column}{}: {reason}", entry(.key))]
    Content {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
        /// The entry, as in `labels.liver`; empty for the whole file.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

fn entry(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(", {key}") }
}

/// Reads a JSON file.
///
/// # Errors
/// When it cannot be read, is no JSON, or does not hold what `T` needs; with line, column and key.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, JsonError> {
    parse_json(&read_file(path)?)
}

/// The same of what a file holds.
///
/// # Errors
/// As [`read_json`].
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let Quoted { text, added } = Quoted::new(&text_of(bytes)?);
    let content = |error: serde_json::Error, key: String| {
        let (line, column, reason) = (error.line(), error.column(), error.to_string());
        let place = format!(" at line {line} column {column}");
        let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        // The column in the file, which has no such quotes.
        let quotes = added.iter().filter(|at| (start..start + column).contains(at)).count();
        let [key, reason] = [&key, reason.strip_suffix(&place).unwrap_or(&reason)].map(|text| plain(text).into_owned());
        JsonError::Content { line, column: column - quotes, key, reason }
    };
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let key = Some(error.path().to_string()).filter(|path| path != "." && path != "?").unwrap_or_default();
        content(error.into_inner(), key)
    })?;
    deserializer.end().map_err(|error| content(error, String::new()))?;
    Ok(value)
}

/// Writes a JSON file as nnU-Net does: indented by four spaces.
///
/// # Errors
/// When it cannot be written.
pub fn write_json(path: &Path, value: &(impl Serialize + ?Sized)) -> Result<(), super::Error> {
    write_atomically(path, |out| {
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(out, formatter);
        value.serialize(&mut serializer).map_err(io::Error::from)
    })
}

/// JSON begins with a character of ASCII, by which UTF-16 without a mark shows.
fn text_of(bytes: &[u8]) -> Result<String, JsonError> {
    let utf_16 = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|pair| number(*pair))).collect::<Result<String, _>>();
        match text {
            Ok(text) if rest.is_empty() => Ok(text),
            Ok(_) => Err(JsonError::Text("UTF-16 that ends within a character".to_owned())),
            Err(error) => Err(JsonError::Text(format!("UTF-16, {error}"))),
        }
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => utf_16(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf_16(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8(bytes.to_vec()).map_err(|error| {
                let error = error.utf8_error();
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                JsonError::Text(format!("byte {} in line {line} is not UTF-8", error.valid_up_to() + 1))
            })
        }
    }
}

/// Numbers that Python writes and JSON does not have.
const NO_NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// A text in which bare `NaN` and the like are in quotes.
struct Quoted {
    text: String,
    /// Where the quotes are that were added, in bytes.
    added: Vec<usize>,
}

impl Quoted {
    fn new(text: &str) -> Self {
        let mut quoted = Self { text: String::with_capacity(text.len()), added: Vec::new() };
        let (mut rest, mut is_string) = (text, false);
        while let Some(next) = rest.chars().next() {
            let name = NO_NUMBERS.iter().find(|name| !is_string && rest.starts_with(**name));
            let length = match (next, name) {
                (_, Some(name)) => {
                    quoted.added.extend([quoted.text.len(), quoted.text.len() + 1 + name.len()]);
                    quoted.text.extend(["\"", name, "\""]);
                    rest = &rest[name.len()..];
                    continue;
                }
                ('"', None) => {
                    is_string = !is_string;
                    1
                }
                // What follows a backslash never ends a string.
                ('\\', None) if is_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                _ => next.len_utf8(),
            };
            quoted.text.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        quoted
    }
}

/// A number that may be none: `NaN` and infinity as Python writes them, and null, as this program does.
///
/// # Errors
/// When it is something else.
pub fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number)
}

struct Number;

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_u64<E>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_unit<E>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<f64, E> {
        match name {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_type(Unexpected::Str(name), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_way_to_save_text_is_read() {
        let text = "{\"a\": \"\u{e4}\u{1f9e0}\"}";
        let utf_16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let (little, big) = (utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes));
        let saved = [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
            little,
            big,
        ];
        for bytes in saved {
            assert_eq!(parse_json::<Value>(&bytes).unwrap(), json!({"a": "\u{e4}\u{1f9e0}"}), "{bytes:?}");
        }
        for (bytes, part) in [
            (&b"{\"a\":\n \"\xe4\"}"[..], "byte 9 in line 2"),
            (&[0xff, 0xfe, b'{'], "ends within a character"),
            (&[0xff, 0xfe, 0, 0xd8], "UTF-16"),
        ] {
            let message = parse_json::<Value>(bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_read_outside_of_strings() {
        let text = r#"{"a": NaN, "b": [Infinity, -Infinity,NaN], "c": "NaN, \"NaN\" \\", "NaN": 1}"#;
        let read: Value = parse_json(text.as_bytes()).unwrap();
        assert_eq!(read, json!({"a": "NaN", "b": ["Infinity", "-Infinity", "NaN"], "c": "NaN, \"NaN\" \\", "NaN": 1}));

        #[derive(Deserialize)]
        struct One(#[serde(deserialize_with = "number")] f64);
        let read: BTreeMap<String, One> = parse_json(br#"{"a": NaN, "b": -Infinity, "c": 1.5, "d": null}"#).unwrap();
        assert!(read["a"].0.is_nan() && read["d"].0.is_nan());
        assert_eq!((read["b"].0, read["c"].0), (f64::NEG_INFINITY, 1.5));
        for wrong in ["\"many\"", "true", "[1]"] {
            let error = parse_json::<One>(wrong.as_bytes()).map(|_| ()).expect_err("no number").to_string();
            assert!(error.contains("expected a number"), "{error}");
        }
    }

    #[test]
    fn an_error_has_line_column_and_key() {
        let message = |text: &str| parse_json::<BTreeMap<String, Vec<u8>>>(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(message("{\"a\": [1],\n \"b\": [1, \"x\"]}"), "line 2, column 13, b[1]: invalid type: string \"x\", expected u8");
        assert_eq!(message("{\"a\": [1],\n \"b\": [1 2]}"), "line 2, column 10, b: expected `,` or `]`");
        let mixed = |text: &str| parse_json::<Vec<Value>>(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(mixed("[NaN,\n -Infinity, NaN, ?]"), "line 2, column 18, [3]: expected value");
        assert_eq!(message("{\"a\": [1]} x"), "line 1, column 12: trailing characters");
        assert_eq!(message("{\"a\\nb\": [x]}"), "line 1, column 11, a\\nb[0]: expected value");
        assert_eq!(message(""), "line 1, column 0: EOF while parsing a value");
    }
}
