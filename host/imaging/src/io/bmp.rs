//! BMP: a single image, grey or in colours, as scikit-image reads it for nnU-Net's `NaturalImage2DIO`.
//!
//! That is pillow's way: a palette in which every grey value stands for itself is none, one of black and white makes 0 and 1, others are
//! looked up, and the fourth byte of a pixel counts for nothing. In a label map, indices of a palette are the labels.

use std::io::{Cursor, Read};
use std::path::Path;

use super::bits::unpack;
use super::format::Format;
use super::reader::Purpose;
use super::source::{Problem, Source};
use super::values::Values;
use super::voxels::{Number, Scaling, Stored};
use super::{Error, Geometry, Reader, limit, write_atomically};

/// Bytes of the file's header and of the shortest of the image's headers that is read.
const LENGTH: usize = 14 + 40;

/// What the header says.
struct Header {
    width: usize,
    height: usize,
    /// Whether the first row is the lowest.
    upwards: bool,
    bits: u8,
    /// Where the palette begins, how many colours it has, and where the pixels begin.
    palette: (u64, usize),
    pixels: u64,
}

impl Header {
    fn parse(bytes: [u8; LENGTH]) -> Result<Self, Problem> {
        let long = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if !bytes.starts_with(b"BM") || long(14) < 40 {
            return Err((
                "is no BMP that can be read".to_owned(),
                "its header lacks the mark 'BM' or 40 bytes of what follows; write it again",
            ));
        }
        let (width, height, bits, compression) = (long(18) as i32, long(22) as i32, short(28), long(30));
        let colours = if long(46) == 0 { 1 << bits.min(8) } else { long(46) };
        if compression != 0 || !matches!(bits, 1 | 4 | 8 | 24 | 32) {
            let found = format!("has {bits} bits a pixel, stored in the way {compression}");
            return Err((found, "only 1, 4, 8, 24 and 32 bits without compression (0) can be read; write it as PNG"));
        }
        if width < 1 || height == 0 || colours > 256 {
            return Err((format!("claims {width} x {height} pixels and {colours} colours"), "the header is damaged; copy it again"));
        }
        Ok(Self {
            width: width as usize,
            height: height.unsigned_abs() as usize,
            upwards: height > 0,
            bits: bits as u8,
            palette: (14 + u64::from(long(14)), if bits > 8 { 0 } else { colours as usize }),
            pixels: u64::from(long(10)),
        })
    }

    /// Bytes of a row, which are a multiple of four.
    fn row(&self) -> usize {
        (self.width * usize::from(self.bits)).div_ceil(32) * 4
    }
}

pub(super) const FORMAT: Format = Format {
    name: "BMP",
    endings: &[(".bmp", &[Reader::NaturalImage2D])],
    open: |path, reader, purpose| (reader == Reader::NaturalImage2D).then(|| open(path, purpose)),
    write: |path, values, _| write(path, values),
    beside: |_, _| None,
};

/// Opens and decodes a file.
fn open(path: &Path, purpose: Purpose) -> Result<Stored<'static>, Error> {
    let wrong = |(found, advice): (&str, _)| Error::content(path, (found.to_owned(), advice));
    let mut source = Source::open(path)?;
    let cut = || wrong(("ends before its header does", "it is empty, damaged or not BMP"));
    let header = Header::parse(source.array()?.ok_or_else(cut)?).map_err(|problem| Error::content(path, problem))?;
    let (at, colours) = header.palette;
    source.skip(at.saturating_sub(LENGTH as u64))?;
    let mut palette = Vec::new();
    for _ in 0..colours {
        let [blue, green, red, _] = source.array()?.ok_or_else(cut)?;
        palette.push([red, green, blue]);
    }
    source.skip(header.pixels.saturating_sub(at + 4 * colours as u64))?;
    let (row, claim) = (header.row(), || format!("{} x {} pixels", header.width, header.height));
    let length = source.check_length(row.checked_mul(header.height), false, claim)?;
    limit::check(path, [1, 1, header.height, header.width])?;
    let mut rows = vec![0; length];
    let mut reader = source.into_reader();
    reader.read_exact(&mut rows).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;

    let mut pixels = Vec::new();
    for y in 0..header.height {
        let y = if header.upwards { header.height - 1 - y } else { y };
        let row = &rows[y * row..(y + 1) * row];
        match header.bits {
            24 => pixels.extend(row.as_chunks::<3>().0.iter().take(header.width).flat_map(|&[b, g, r]| [r, g, b])),
            32 => pixels.extend(row.as_chunks::<4>().0.iter().take(header.width).flat_map(|&[b, g, r, _]| [r, g, b])),
            8 => pixels.extend_from_slice(&row[..header.width]),
            bits => unpack(&row[..(header.width * usize::from(bits)).div_ceil(8)], header.width, bits, &mut pixels),
        }
    }
    let black_and_white = header.bits == 1 && palette == [[0; 3], [255; 3]];
    let is_grey = black_and_white || colours > 2 && (0..=255).zip(&palette).all(|(value, colour)| *colour == [value; 3]);
    let mut channels = if header.bits > 8 { 3 } else { 1 };
    if header.bits <= 8 && !is_grey && purpose == Purpose::Image {
        let looked_up: Option<Vec<[u8; 3]>> = pixels.iter().map(|index| palette.get(usize::from(*index)).copied()).collect();
        pixels = looked_up.ok_or_else(|| wrong(("has pixels beyond its palette", "the file is damaged; write it again")))?.into_flattened();
        channels = 3;
    }
    Ok(Stored {
        shape: [channels, 1, header.height, header.width],
        interleaved: true,
        number: Number::U8,
        big_endian: false,
        scaling: Scaling::None,
        geometry: Geometry::unplaced(None),
        bytes: Box::new(Cursor::new(pixels)),
    })
}

/// Writes labels as grey values of 8 bits.
fn write(path: &Path, values: Values) -> Result<(), Error> {
    let [channels, depth, height, width] = values.shape();
    let instead = "write .png, .tif, .nii.gz, .nrrd or .mha instead";
    if channels * depth != 1 || values.number() != Number::U8 {
        return Err(Error::unwritable(path, "BMP holds a single slice of labels below 255".to_owned(), instead));
    }
    let row = width.div_ceil(4) * 4;
    let colours = (0..=255u8).flat_map(|value| [value, value, value, 0]);
    let start = LENGTH + 4 * 256;
    let size = row.checked_mul(height).and_then(|length| u32::try_from(length + start).ok());
    let (Some(size), Ok(columns), Ok(rows)) = (size, i32::try_from(width), i32::try_from(height)) else {
        return Err(Error::TooLarge { path: path.to_owned(), shape: values.shape(), limit: i32::MAX as usize });
    };
    let mut labels = Vec::new();
    let encoded = values.encode(&mut labels, false);
    write_atomically(path, |file| {
        encoded?;
        file.write_all(b"BM")?;
        let shorts = |low: u32, high: u32| low | high << 16;
        let fields = [size, 0, start as u32, 40, columns as u32, rows as u32, shorts(1, 8), 0, 0, 0, 0, 256, 0];
        file.write_all(fields.map(u32::to_le_bytes).as_flattened())?;
        file.write_all(&colours.collect::<Vec<_>>())?;
        labels.chunks_exact(width).rev().try_for_each(|pixels| {
            file.write_all(pixels)?;
            file.write_all(&[0; 3][..row - width])
        })
    })
}
