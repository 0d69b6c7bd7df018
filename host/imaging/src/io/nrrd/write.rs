//! Writing NRRD, compressed, with the fields that ITK writes.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::io::source::data_file;
use crate::io::values::Values;
use crate::io::voxels::Number;
use crate::io::{Error, Geometry, ends_with, write_atomically};

/// Writes `values`; a `.nhdr` file gets its voxels beside it, in a file that ends with `.raw.gz`.
pub fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    let mut header = header(&values, geometry);
    let compress = |file: &mut dyn Write| {
        let mut encoder = GzEncoder::new(file, Compression::default());
        values.encode(&mut encoder, false)?;
        encoder.finish().map(drop)
    };
    if ends_with(path, ".nhdr") {
        let (data, name) = data_file(path, "raw.gz");
        write_atomically(&data, compress)?;
        header.push_str(&format!("data file: {name}\n"));
        return write_atomically(path, |file| file.write_all(header.as_bytes()));
    }
    write_atomically(path, |file| {
        writeln!(file, "{header}")?;
        compress(file)
    })
}

/// All lines but the empty one that ends it.
fn header(values: &Values, geometry: &Geometry) -> String {
    let [channels, depth, height, width] = values.shape();
    let planar = geometry.is_planar() && depth == 1;
    let rank = if planar { 2 } else { 3 };
    let placement = geometry.in_itk();
    let ([z, y, x], directions) = (geometry.spacing(), placement.direction);
    let steps = [x, y, z];
    let vector = |values: &[f64]| format!("({})", values.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
    let mut sizes = [width, height, depth][..rank].to_vec();
    let mut vectors: Vec<String> = (0..rank).map(|axis| vector(&directions[axis].map(|value| value * steps[axis])[..rank])).collect();
    let mut kinds = vec!["domain"; rank];
    if channels > 1 {
        sizes.push(channels);
        vectors.push("none".to_owned());
        kinds.push("list");
    }
    let number = match values.number() {
        Number::U8 => "unsigned char",
        Number::I16 => "short",
        Number::U16 => "unsigned short",
        _ => "float",
    };
    let space = if planar { "space dimension: 2" } else { "space: left-posterior-superior" };
    [
        "NRRD0004".to_owned(),
        "# Complete NRRD file format specification at:".to_owned(),
        "# http://teem.sourceforge.net/nrrd/format.html".to_owned(),
        format!("type: {number}"),
        format!("dimension: {}", sizes.len()),
        space.to_owned(),
        format!("sizes: {}", sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")),
        format!("space directions: {}", vectors.join(" ")),
        format!("kinds: {}", kinds.join(" ")),
        "endian: little".to_owned(),
        "encoding: gzip".to_owned(),
        format!("space origin: {}\n", vector(&placement.origin[..rank])),
    ]
    .join("\n")
}
