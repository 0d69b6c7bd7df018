//! Writing MetaImage, compressed, with the fields that ITK writes.

use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::io::format::ends_with;
use crate::io::source::written_name;
use crate::io::values::Values;
use crate::io::voxels::Number;
use crate::io::{Error, Geometry, write_atomically};

/// Writes `values`; a `.mhd` file gets its voxels beside it, in a file that ends with `.zraw`.
pub fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    // The header comes first and says how long the compressed voxels are.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = values.encode(&mut encoder, false).and_then(|()| encoder.finish());
    let compressed = compressed.map_err(|cause| Error::Write { path: path.to_owned(), cause })?;
    let header = header(&values, geometry, compressed.len());
    if ends_with(path, ".mhd") {
        let data = data_path(path);
        let name = written_name(&data)?;
        write_atomically(&data, |file| file.write_all(&compressed))?;
        return write_atomically(path, |file| writeln!(file, "{header}{name}"));
    }
    write_atomically(path, |file| {
        writeln!(file, "{header}LOCAL")?;
        file.write_all(&compressed)
    })
}

/// Where the voxels go that belong to the header at `path`.
pub fn data_path(path: &Path) -> PathBuf {
    path.with_extension("zraw")
}

/// All but the name of the file of voxels.
fn header(values: &Values, geometry: &Geometry, compressed: usize) -> String {
    let [channels, depth, height, width] = values.shape();
    let rank = if channels > 1 {
        4
    } else if geometry.is_planar() && depth == 1 {
        2
    } else {
        3
    };
    let placement = geometry.in_itk();
    let [z, y, x] = geometry.spacing();
    // A fourth axis has unit steps along itself.
    let spacing = [x, y, z, 1.0];
    let [ox, oy, oz] = placement.origin;
    let origin = [ox, oy, oz, 0.0];
    let entry = |row: usize, column: usize| match (row, column) {
        (..3, ..3) => placement.direction[row][column],
        _ => f64::from(u8::from(row == column)),
    };
    let matrix: Vec<f64> = (0..rank * rank).map(|i| entry(i / rank, i % rank)).collect();
    let number = match values.number() {
        Number::U8 => "MET_UCHAR",
        Number::I16 => "MET_SHORT",
        Number::U16 => "MET_USHORT",
        _ => "MET_FLOAT",
    };
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let sizes = [width, height, depth, channels][..rank].iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "ObjectType = Image\nNDims = {rank}\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n\
         CompressedDataSize = {compressed}\nTransformMatrix = {}\nOffset = {}\nCenterOfRotation = {}\nElementSpacing = {}\n\
         DimSize = {sizes}\nElementType = {number}\nElementDataFile = ",
        list(&matrix),
        list(&origin[..rank]),
        list(&vec![0.0; rank]),
        list(&spacing[..rank]),
    )
}
