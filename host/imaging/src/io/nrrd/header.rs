//! The text header of NRRD: its fields, and what they say about shape and geometry.

use std::collections::HashMap;

use crate::io::geometry::{Geometry, Placement};
use crate::io::source::Problem;
use crate::io::text::{count, numbers};
use crate::io::voxels::Number;

/// A header's fields by name, in lower case and without spaces.
pub struct Header {
    fields: HashMap<String, String>,
}

/// How the voxels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Raw,
    Gzip,
    Text,
    Hex,
}

/// Which axes of a file are which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Sizes of all axes, fastest first.
    sizes: Vec<usize>,
    /// The axis of channels, if it is marked as such.
    marked: Option<usize>,
}

impl Header {
    /// Takes one line after the other, without the first, which is the magic.
    pub fn new() -> Self {
        Self { fields: HashMap::new() }
    }

    /// Takes a line. Comments and the user's own pairs (`key:=value`) say nothing about voxels.
    pub fn line(&mut self, line: &str) -> Result<(), Problem> {
        if line.starts_with('#') {
            return Ok(());
        }
        match line.split_once(':') {
            Some((_, value)) if value.starts_with('=') => {}
            Some((name, value)) => {
                let name = name.to_lowercase().replace(' ', "");
                let name = if name == "centerings" { "centers".to_owned() } else { name };
                self.fields.insert(name, value.trim().to_owned());
            }
            None => {
                let shown: String = line.chars().take(40).collect();
                return Err((format!("has the header line '{shown}'"), "expected 'field: value'; the header is damaged"));
            }
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| (format!("lacks the header field '{name}'"), "NRRD requires it; write the file again"))
    }

    pub fn number(&self) -> Result<Number, Problem> {
        let name = self.required("type")?;
        Ok(match name {
            "signed char" | "int8" | "int8_t" => Number::I8,
            "uchar" | "unsigned char" | "uint8" | "uint8_t" => Number::U8,
            "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => Number::I16,
            "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Number::U16,
            "int" | "signed int" | "int32" | "int32_t" => Number::I32,
            "uint" | "unsigned int" | "uint32" | "uint32_t" => Number::U32,
            "longlong" | "long long" | "long long int" | "signed long long" | "signed long long int" | "int64" | "int64_t" => Number::I64,
            "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => Number::U64,
            "float" => Number::F32,
            "double" => Number::F64,
            _ => return Err((format!("has voxels of type '{name}'"), "only integers and floats of 8 to 64 bits can be read; convert it")),
        })
    }

    pub fn encoding(&self) -> Result<Encoding, Problem> {
        let name = self.required("encoding")?;
        Ok(match name.to_lowercase().as_str() {
            "raw" => Encoding::Raw,
            "gzip" | "gz" => Encoding::Gzip,
            "ascii" | "text" | "txt" => Encoding::Text,
            "hex" => Encoding::Hex,
            _ => {
                return Err((format!("has the encoding '{name}'"), "only raw, gzip, ascii and hex can be read; write it with one of them"));
            }
        })
    }

    pub fn is_big_endian(&self, number: Number, encoding: Encoding) -> Result<bool, Problem> {
        if number.size() == 1 || encoding == Encoding::Text {
            return Ok(false);
        }
        match self.required("endian")? {
            "little" => Ok(false),
            "big" => Ok(true),
            other => Err((format!("has the byte order '{other}'"), "expected 'little' or 'big'; the header is damaged")),
        }
    }

    /// How many lines, then how many bytes, lie before the voxels. All but the voxels if the second is `None`.
    pub fn skips(&self) -> Result<(u64, Option<u64>), Problem> {
        let skip = |name| match self.get(name) {
            None => Ok(Some(0)),
            Some("-1") => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| (format!("has the {name} '{text}'"), "expected a number; the header is damaged"))
            }
        };
        Ok((skip("lineskip")?.unwrap_or(0), skip("byteskip")?))
    }

    /// The axes of the file.
    pub fn layout(&self) -> Result<Layout, Problem> {
        const ADVICE: &str = "expected the number of axes, and as many sizes of 1 or more; the header is damaged";
        let (dimension, sizes) = (self.required("dimension")?, self.required("sizes")?);
        let rank = count(dimension).filter(|rank| *rank <= 16);
        let parsed: Option<Vec<usize>> = sizes.split_whitespace().map(count).collect();
        let (Some(rank), Some(parsed)) = (rank, parsed) else {
            return Err((format!("claims {dimension} axes of the sizes {sizes}"), ADVICE));
        };
        if parsed.len() != rank {
            return Err((format!("claims {dimension} axes of the sizes {sizes}"), ADVICE));
        }
        // What is in space or time is a dimension of the image. All else are several values of one voxel.
        let in_space = |kind: &str| matches!(kind, "domain" | "space" | "time" | "none" | "???");
        let kinds = self.get("kinds").unwrap_or_default().to_lowercase();
        let marked: Vec<usize> =
            kinds.split_whitespace().enumerate().filter(|(axis, kind)| *axis < rank && !in_space(kind)).map(|(axis, _)| axis).collect();
        let layout = Layout { sizes: parsed, marked: marked.first().copied() };
        let dimensions = rank - marked.len();
        if marked.len() > 1 || !(2..=4).contains(&dimensions) || dimensions == 4 && layout.marked.is_some() {
            return Err((
                format!("has {dimensions} dimensions and {} axes of channels", marked.len()),
                "only images of 2 or 3 dimensions, and one axis of channels, can be read; split it",
            ));
        }
        if layout.marked.is_some_and(|axis| axis != 0 && axis != rank - 1) {
            return Err((
                "has its channels between other axes".to_owned(),
                "only the first or the last axis can be channels; permute them",
            ));
        }
        Ok(layout)
    }

    /// Where the image lies. `rank` counts the dimensions without channels.
    pub fn geometry(&self, layout: &Layout) -> Geometry {
        let axes = layout.dimensions();
        let rank = axes.len();
        let pick = |values: Vec<f64>| axes.iter().take(3).map(|&axis| values.get(axis).copied().unwrap_or(f64::NAN)).collect::<Vec<_>>();
        let padded = |values: &[f64], fill| [0, 1, 2].map(|axis| values.get(axis).copied().unwrap_or(fill));
        if let Some(directions) = self.get("spacedirections") {
            let flips = self.flips();
            let flip = |vector: [f64; 3]| [0, 1, 2].map(|i| vector[i] * flips[i]);
            let all = vectors(directions);
            let mut direction = Placement::DEFAULT.direction;
            for (column, &axis) in direction.iter_mut().zip(axes) {
                *column = all.get(axis).cloned().flatten().map_or([0.0; 3], |vector| flip(padded(&vector, 0.0)));
            }
            let spacing = direction.map(|vector| vector.iter().map(|value| value * value).sum::<f64>().sqrt());
            let origin = self.get("spaceorigin").and_then(|text| vectors(text).into_iter().next().flatten());
            let origin = origin.map_or([0.0; 3], |vector| flip(padded(&vector, 0.0)));
            return Geometry::from_itk(rank, spacing, Placement { origin, direction });
        }
        let listed = |name| pick(self.get(name).map(numbers).unwrap_or_default());
        let (spacings, mins, maxs) = (listed("spacings"), listed("axismins"), listed("axismaxs"));
        // Without a space there may be the positions of the ends of each axis: of the first voxel's centre, or its border.
        let centers: Vec<&str> = self.get("centers").unwrap_or_default().split_whitespace().collect();
        let origin = [0, 1, 2].map(|i| {
            let Some(&axis) = axes.get(i) else { return 0.0 };
            let on_centre = centers.get(axis) == Some(&"node");
            let intervals = if on_centre { layout.sizes[axis] - 1 } else { layout.sizes[axis] } as f64;
            let step = if spacings[i].is_finite() { spacings[i] } else { (maxs[i] - mins[i]) / intervals };
            if on_centre { mins[i] } else { mins[i] + step / 2.0 }
        });
        Geometry::from_itk(rank, padded(&spacings, 1.0), Placement { origin, ..Placement::DEFAULT })
    }

    /// Signs that bring the file's space to ITK's. Other spaces than these three are taken for it.
    fn flips(&self) -> [f64; 3] {
        match self.get("space").unwrap_or_default().to_lowercase().as_str() {
            "right-anterior-superior" | "ras" => [-1.0, -1.0, 1.0],
            "left-anterior-superior" | "las" => [1.0, -1.0, 1.0],
            _ => [1.0; 3],
        }
    }
}

impl Layout {
    /// The axes that are no channels, fastest first; of four, the last is channels without being marked.
    fn dimensions(&self) -> &[usize] {
        const AXES: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let rank = self.sizes.len();
        match self.marked {
            Some(0) => &AXES[1..rank],
            Some(_) => &AXES[..rank - 1],
            None => &AXES[..rank],
        }
    }

    /// (C, Z, Y, X).
    pub fn shape(&self) -> [usize; 4] {
        let size = |i: usize| self.dimensions().get(i).map_or(1, |&axis| self.sizes[axis]);
        [self.marked.map_or(size(3), |axis| self.sizes[axis]), size(2), size(1), size(0)]
    }

    /// Whether a voxel's channels lie side by side.
    pub fn is_interleaved(&self) -> bool {
        self.marked == Some(0)
    }
}

/// The vectors in `(1,0,0) none (0,0,1)`; `None` for an axis that has none.
fn vectors(text: &str) -> Vec<Option<Vec<f64>>> {
    let mut vectors = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if let Some(inside) = rest.strip_prefix('(') {
            let (vector, after) = inside.split_once(')').unwrap_or((inside, ""));
            vectors.push(Some(vector.split(',').map(|value| value.trim().parse().unwrap_or(f64::NAN)).collect()));
            after
        } else {
            vectors.push(None);
            rest.split_once([' ', '\t', '(']).map_or("", |(word, _)| &rest[word.len()..])
        };
        rest = end.trim_start();
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_may_be_absent_and_hold_spaces() {
        assert_eq!(vectors("none (1, 2e0 ,-3)(0,0,1) none"), [None, Some(vec![1.0, 2.0, -3.0]), Some(vec![0.0, 0.0, 1.0]), None]);
        assert_eq!(vectors("(1,2"), [Some(vec![1.0, 2.0])]);
    }

    fn header(lines: &[&str]) -> Header {
        let mut header = Header::new();
        lines.iter().for_each(|line| header.line(line).unwrap());
        header
    }

    #[test]
    fn channels_come_first_or_last_and_have_no_spacing() {
        let first = header(&["dimension: 4", "sizes: 3 7 6 5", "kinds: vector domain domain domain", "spacings: nan 1 2 3"]);
        let layout = first.layout().unwrap();
        assert_eq!((layout.shape(), layout.is_interleaved()), ([3, 5, 6, 7], true));
        assert_eq!(first.geometry(&layout).spacing(), [3.0, 2.0, 1.0]);

        let last =
            header(&["dimension: 4", "sizes: 7 6 5 3", "kinds: space space space list", "space directions: (1,0,0) (0,2,0) (0,0,3) none"]);
        let layout = last.layout().unwrap();
        assert_eq!((layout.shape(), layout.is_interleaved()), ([3, 5, 6, 7], false));
        assert_eq!(last.geometry(&layout).spacing(), [3.0, 2.0, 1.0]);

        let colours = header(&["dimension: 3", "sizes: 3 7 6", "kinds: RGB-color domain domain"]);
        assert_eq!(colours.layout().unwrap().shape(), [3, 1, 6, 7]);

        for (dimension, sizes, kinds) in [
            ("3", "7 3 6", "domain list domain"),
            ("5", "1 1 1 1 1", ""),
            ("1", "9", ""),
            ("2", "3 0", ""),
            ("3", "3 3", ""),
            ("2", "9 -9", ""),
        ] {
            let header = header(&[&format!("dimension: {dimension}"), &format!("sizes: {sizes}"), &format!("kinds: {kinds}")]);
            assert!(header.layout().is_err(), "{sizes} {kinds}");
        }
    }
}
