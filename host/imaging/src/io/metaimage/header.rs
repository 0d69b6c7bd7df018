//! The text header of MetaImage: its fields, and what they say about shape and geometry.

use std::collections::HashMap;

use crate::io::geometry::{Geometry, Placement};
use crate::io::source::Problem;
use crate::io::text::{count, numbers};
use crate::io::voxels::Number;

/// A header's fields.
pub struct Header {
    fields: HashMap<String, String>,
}

impl Header {
    pub fn new() -> Self {
        Self { fields: HashMap::new() }
    }

    /// Takes a line, `key = value`. True when it was the header's last.
    pub fn line(&mut self, line: &str) -> Result<bool, Problem> {
        let Some((key, value)) = line.split_once(['=', ':']) else {
            let shown: String = line.chars().take(40).collect();
            return Err((format!("has the header line '{}'", shown.escape_debug()), "expected 'key = value'; is it a MetaImage file?"));
        };
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        let last = key == "ElementDataFile";
        self.fields.insert(key, value);
        Ok(last)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    fn required(&self, key: &str) -> Result<&str, Problem> {
        self.get(key).ok_or_else(|| (format!("lacks the header field {key}"), "MetaImage requires it; write the file again"))
    }

    /// ITK looks at the first letter.
    fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.starts_with(['T', 't', '1']))
    }

    fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    pub fn is_compressed(&self) -> bool {
        self.is_true("CompressedData")
    }

    pub fn is_big_endian(&self) -> bool {
        self.is_true("BinaryDataByteOrderMSB") || self.is_true("ElementByteOrderMSB")
    }

    /// Checks that the voxels are numbers in binary, and says of which type.
    pub fn number(&self) -> Result<Number, Problem> {
        if !self.is_true("BinaryData") && self.get("BinaryData").is_some() {
            return Err(("has its voxels in digits".to_owned(), "only BinaryData = True can be read; write it in binary"));
        }
        let name = self.required("ElementType")?;
        Ok(match name {
            "MET_CHAR" | "MET_ASCII_CHAR" => Number::I8,
            "MET_UCHAR" => Number::U8,
            "MET_SHORT" => Number::I16,
            "MET_USHORT" => Number::U16,
            "MET_INT" | "MET_LONG" => Number::I32,
            "MET_UINT" | "MET_ULONG" => Number::U32,
            "MET_LONG_LONG" => Number::I64,
            "MET_ULONG_LONG" => Number::U64,
            "MET_FLOAT" => Number::F32,
            "MET_DOUBLE" => Number::F64,
            _ => return Err((format!("has voxels of type {name}"), "only integers and floats of 8 to 64 bits can be read; convert it")),
        })
    }

    /// Sizes of the axes, x first: two, three or four.
    pub fn sizes(&self) -> Result<Vec<usize>, Problem> {
        let (rank, sizes) = (self.required("NDims")?, self.required("DimSize")?);
        let parsed: Option<Vec<usize>> = sizes.split_whitespace().map(count).collect();
        parsed.filter(|parsed| count(rank) == Some(parsed.len()) && (2..=4).contains(&parsed.len())).ok_or_else(|| {
            let advice = "expected 2, 3 or 4, and as many sizes of 1 or more; split it if it has more dimensions";
            (format!("claims {rank} dimensions of the sizes {sizes}"), advice)
        })
    }

    /// Values of a voxel, which lie side by side.
    pub fn channels(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("ElementNumberOfChannels") else { return Ok(1) };
        count(text).ok_or_else(|| (format!("claims {text} channels"), "expected a number of 1 or more; the header is damaged"))
    }

    /// Bytes before the voxels in a file of their own. `None` when the voxels are the last of it.
    pub fn skip(&self) -> Result<Option<u64>, Problem> {
        match self.get("HeaderSize") {
            None => Ok(Some(0)),
            Some("-1") => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| (format!("has the HeaderSize {text}"), "expected a number; the header is damaged"))
            }
        }
    }

    /// Length of the compressed voxels, where it is given.
    pub fn compressed_length(&self) -> Option<u64> {
        self.get("CompressedDataSize")?.parse().ok().filter(|length| *length > 0)
    }

    /// Where the image lies. `rank` counts its dimensions.
    pub fn geometry(&self, rank: usize) -> Geometry {
        let listed = |keys: &[&str]| self.first(keys).map(numbers).unwrap_or_default();
        let (spacing, origin) = (listed(&["ElementSpacing", "ElementSize"]), listed(&["Offset", "Position", "Origin"]));
        let matrix = listed(&["TransformMatrix", "Rotation", "Orientation"]);
        let mut direction = Placement::DEFAULT.direction;
        // Its rows are the axes' directions.
        if matrix.len() == rank * rank {
            for axis in 0..rank.min(3) {
                for i in 0..rank.min(3) {
                    direction[axis][i] = matrix[axis * rank + i];
                }
            }
        }
        let padded = |values: &[f64], fill: f64| [0, 1, 2].map(|axis| values.get(axis).copied().unwrap_or(fill));
        Geometry::from_itk(rank, padded(&spacing, 1.0), Placement { origin: padded(&origin, 0.0), direction })
    }
}
