//! JSON as Python writes it: indented by four, NaN bare. nnU-Net reads its summaries back that way.

use std::io::{Result, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Writes `value` to `path`. Keys come in the order of the fields: declare them sorted, as nnU-Net's files are.
pub fn write(path: &Path, value: &impl Serialize) -> std::result::Result<(), imaging::io::Error> {
    imaging::io::write_atomically(path, |writer| to_writer(writer, value))
}

fn to_writer(writer: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    let mut serializer = Serializer::with_formatter(writer, PythonFormatter(PrettyFormatter::with_indent(b"    ")));
    value.serialize(&mut serializer).map_err(Into::into)
}

struct PythonFormatter(PrettyFormatter<'static>);

/// serde_json writes a NaN by way of `write_null`; nothing else in a summary is null. The rest is forwarded.
impl Formatter for PythonFormatter {
    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b"NaN")
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_bare_and_the_rest_is_indented_by_four() {
        #[derive(Serialize)]
        struct Example {
            a: f64,
            b: Vec<f64>,
        }
        let mut text = Vec::new();
        to_writer(&mut text, &Example { a: f64::NAN, b: vec![1.0, 0.25] }).unwrap();
        let expected = "{\n    \"a\": NaN,\n    \"b\": [\n        1.0,\n        0.25\n    ]\n}";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
