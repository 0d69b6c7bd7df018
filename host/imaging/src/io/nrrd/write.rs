//! Writing NRRD, compressed, with the fields that ITK writes.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::io::format::ends_with;
use crate::io::geometry::Placement;
use crate::io::source::written_name;
use crate::io::values::Values;
use crate::io::voxels::Number;
use crate::io::{Error, Geometry, write_atomically};

/// Writes `values`; a `.nhdr` file gets its voxels beside it, in a file that ends with `.raw.gz`.
pub fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    let mut header = header(&values, geometry);
    let compress = |file: &mut dyn Write| {
        let mut encoder = GzEncoder::new(file, Compression::default());
        values.encode(&mut encoder, false)?;
        encoder.finish().map(drop)
    };
    if ends_with(path, ".nhdr") {
        let data = data_path(path);
        let name = written_name(&data)?;
        write_atomically(&data, compress)?;
        header.push_str(&format!("data file: {name}\n"));
        return write_atomically(path, |file| file.write_all(header.as_bytes()));
    }
    write_atomically(path, |file| {
        writeln!(file, "{header}")?;
        compress(file)
    })
}

/// Where the voxels go that belong to the header at `path`.
pub fn data_path(path: &Path) -> PathBuf {
    path.with_extension("raw.gz")
}

/// All lines but the empty one that ends it.
fn header(values: &Values, geometry: &Geometry) -> String {
    let [channels, depth, height, width] = values.shape();
    // Several channels need a z before them.
    let planar = geometry.is_planar() && depth == 1 && channels == 1;
    let dimensions = if planar { 2 } else { 3 };
    let ([z, y, x], Placement { origin, direction }) = (geometry.spacing(), geometry.in_itk());
    let (sizes, steps) = ([width, height, depth], [x, y, z]);
    let mut sizes = sizes[..dimensions].to_vec();
    let mut vectors: Vec<Vec<f64>> =
        (0..dimensions).map(|axis| direction[axis].map(|part| part * steps[axis])[..dimensions].to_vec()).collect();
    let mut origin = origin[..dimensions].to_vec();
    let mut space = if planar { "space dimension: 2" } else { "space: left-posterior-superior" };
    if channels > 1 {
        // A dimension like the others, as ITK writes it, and as nnU-Net takes it for channels.
        sizes.push(channels);
        vectors.iter_mut().for_each(|vector| vector.push(0.0));
        vectors.push((0..=dimensions).map(|axis| if axis == dimensions { 1.0 } else { 0.0 }).collect());
        origin.push(0.0);
        space = "space dimension: 4";
    }
    let number = match values.number() {
        Number::U8 => "unsigned char",
        Number::I16 => "short",
        Number::U16 => "unsigned short",
        _ => "float",
    };
    let vector = |values: &Vec<f64>| format!("({})", values.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
    [
        "NRRD0004".to_owned(),
        "# Complete NRRD file format specification at:".to_owned(),
        "# http://teem.sourceforge.net/nrrd/format.html".to_owned(),
        format!("type: {number}"),
        format!("dimension: {}", sizes.len()),
        space.to_owned(),
        format!("sizes: {}", sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")),
        format!("space directions: {}", vectors.iter().map(vector).collect::<Vec<_>>().join(" ")),
        format!("kinds: {}", vec!["domain"; sizes.len()].join(" ")),
        "endian: little".to_owned(),
        "encoding: gzip".to_owned(),
        format!("space origin: {}\n", vector(&origin)),
    ]
    .join("\n")
}
