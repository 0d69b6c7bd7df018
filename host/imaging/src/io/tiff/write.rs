//! Writing TIFF, compressed: a stack with its spacing beside it, or a single image.

use std::io::Cursor;
use std::path::Path;

use ::tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, GrayI16};
use ::tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use ::tiff::tags::Tag;
use ::tiff::{TiffError, TiffResult};

use super::spacing;
use crate::io::values::Values;
use crate::io::voxels::Number;
use crate::io::{Error, Geometry, write_atomically};

/// From here on, files have 64-bit offsets; compressed files are shorter than their voxels, or hardly longer.
const BIG: u64 = 4_000_000_000;

/// Writes `values`; of a stack, the spacing goes into a JSON file beside it.
pub fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    let [channels, depth, height, width] = values.shape();
    if channels > 1 {
        return Err(Error::unwritable(path, format!("it would have {channels} channels"), "write .nii.gz, .nrrd or .mha instead"));
    }
    let voxels = (depth * height * width * values.number().size()) as u64;
    let stack = !(geometry.is_planar() && depth == 1);
    let file = if voxels < BIG { encode::<TiffKindStandard>(&values, stack) } else { encode::<TiffKindBig>(&values, stack) };
    let file = file.map_err(|error| match error {
        TiffError::IoError(cause) => Error::Write { path: path.to_owned(), cause },
        other => Error::unwritable(path, other.to_string(), "write .nii.gz, .nrrd or .mha instead"),
    })?;
    // First the spacing: a stack without it would be taken for one of 1 mm.
    if stack {
        spacing::write(path, geometry.spacing())?;
    }
    write_atomically(path, |out| out.write_all(&file))
}

/// The whole file, which refers to places in itself.
fn encode<K: TiffKind>(values: &Values, stack: bool) -> TiffResult<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::<_, K>::new_generic(&mut file)?.with_compression(Compression::Deflate(DeflateLevel::default()));
    match values {
        Values::Labels(labels, Number::U8) => pages::<Gray8, _, K>(&mut encoder, values, stack, labels.data(), |label| label as u8)?,
        Values::Labels(labels, Number::U16) => pages::<Gray16, _, K>(&mut encoder, values, stack, labels.data(), |label| label as u16)?,
        Values::Labels(labels, _) => pages::<GrayI16, _, K>(&mut encoder, values, stack, labels.data(), |label| label)?,
        Values::Image(image) => pages::<Gray32Float, _, K>(&mut encoder, values, stack, image.data(), |value| value)?,
    }
    Ok(file.into_inner())
}

/// Writes a page for each slice.
fn pages<C, T, K>(
    encoder: &mut TiffEncoder<&mut Cursor<Vec<u8>>, K>,
    values: &Values,
    stack: bool,
    data: &[T],
    convert: impl Fn(T) -> C::Inner,
) -> TiffResult<()>
where
    C: ColorType,
    [C::Inner]: TiffValue,
    T: Copy,
    K: TiffKind,
{
    let [_, depth, height, width] = values.shape();
    for (z, slice) in data.chunks(height * width).enumerate() {
        let mut page = encoder.new_image::<C>(u32::try_from(width)?, u32::try_from(height)?)?;
        if stack && z == 0 {
            // As tifffile writes it. Without, a single slice would be no stack.
            page.encoder().write_tag(Tag::ImageDescription, format!("{{\"shape\": [{depth}, {height}, {width}]}}").as_str())?;
        }
        page.write_data(&slice.iter().map(|&voxel| convert(voxel)).collect::<Vec<_>>())?;
    }
    Ok(())
}
