//! Arrays for numpy: `np.load(path)["name"]`.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use imaging::Volume;
use imaging::io::{Error, write_atomically};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::io::{self, Write};
use std::path::Path;

/// numpy starts the numbers at a multiple of so many bytes.
const ALIGNMENT: usize = 64;
/// Numbers that are turned into bytes at once.
const BLOCK: usize = 1 << 14;

/// Writes `values` (C, Z, Y, X) as `np.savez_compressed(path, name=values)` does.
pub fn write(path: &Path, name: &str, values: &Volume<f32>) -> Result<(), Error> {
    write_atomically(path, |out| {
        let mut zip = ZipArchiveWriter::new(out);
        let (mut entry, config) =
            zip.new_file(&*format!("{name}.npy")).compression_method(CompressionMethod::DEFLATE).start().map_err(io::Error::other)?;
        let mut file = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
        file.write_all(&header(values.shape()))?;
        for block in values.data().chunks(BLOCK) {
            let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
        let (encoder, descriptor) = file.finish().map_err(io::Error::other)?;
        encoder.finish()?;
        entry.finish(descriptor).map_err(io::Error::other)?;
        zip.finish().map_err(io::Error::other)?;
        Ok(())
    })
}

/// Version 1.0 of the format.
fn header(shape: [usize; 4]) -> Vec<u8> {
    let [c, z, y, x] = shape;
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({c}, {z}, {y}, {x}), }}");
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let length = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT) - MAGIC.len() - 2;
    text += &" ".repeat(length - text.len() - 1);
    text.push('\n');
    [MAGIC, &(length as u16).to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_at_a_multiple_of_64() {
        let header = header([3, 10, 200, 3000]);
        assert_eq!((header.len() % ALIGNMENT, header.last()), (0, Some(&b'\n')));
        assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])) + 10, header.len());
    }
}
