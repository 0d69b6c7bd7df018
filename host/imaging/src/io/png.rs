//! PNG: a single image, grey or in colours, as scikit-image reads it for nnU-Net's `NaturalImage2DIO`.
//!
//! That is pillow's way. Pixels of 2 and 4 bits are spread over 0 to 255, those of 1 bit are 0 and 1. A palette is looked up, but not in a
//! label map, where its indices are the labels and its colours only show them. Of colours
//! with 16 bits the lower 8 are dropped, and those of grey values are kept. A transparent colour counts for nothing.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Write};
use std::path::Path;

use ::png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, EncodingError, Reader, Transformations};

use super::bits::unpack;
use super::format::Format;
use super::reader::Purpose;
use super::source::{LARGEST_EXPANSION, Problem, Source};
use super::values::Values;
use super::voxels::{Number, Scaling, Stored};
use super::{Error, Geometry, limit, write_atomically};

pub(super) const FORMAT: Format = Format {
    name: "PNG",
    endings: &[(".png", &[super::Reader::NaturalImage2D])],
    open: |path, reader, purpose| (reader == super::Reader::NaturalImage2D).then(|| open(path, purpose)),
    write: |path, values, _| write(path, values),
    beside: |_, _| None,
};

/// Opens and decodes a file.
fn open(path: &Path, purpose: Purpose) -> Result<Stored<'static>, Error> {
    let wrong = |problem| Error::content(path, problem);
    let undecodable = |error| match error {
        DecodingError::IoError(cause) => Error::Read { path: path.to_owned(), cause },
        other => wrong((format!("is no PNG that can be read ({other})"), "it is damaged or was renamed; copy it again")),
    };
    let source = Source::open(path)?;
    let length = source.length();
    let mut decoder = Decoder::new(source.into_reader());
    // What is not needed takes no memory.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    if info.animation_control().is_some_and(|animation| animation.num_frames > 1) {
        return Err(wrong(("is animated".to_owned(), "only single images can be read; write each frame to a file of its own")));
    }
    limit::check(path, [1, 1, height, width])?;
    let fits = |bytes: &usize| *bytes as u64 / LARGEST_EXPANSION <= length;
    let size = reader.output_buffer_size().filter(fits).ok_or_else(|| {
        let found = format!("is {length} bytes long and claims {width} x {height} pixels, which need more");
        wrong((found, "the file is cut off or damaged; copy it again"))
    })?;
    let mut data = vec![0; size];
    reader.next_frame(&mut data).map_err(undecodable)?;
    reader.finish().map_err(undecodable)?;
    let (channels, number, data) = expand(&reader, data, width, purpose).map_err(wrong)?;
    Ok(Stored {
        shape: [channels, 1, height, width],
        interleaved: true,
        number,
        big_endian: true,
        scaling: Scaling::None,
        geometry: Geometry::unplaced(None),
        bytes: Box::new(Cursor::new(data)),
    })
}

/// Channels, number type and pixels of decoded `data`.
fn expand(reader: &Reader<BufReader<File>>, data: Vec<u8>, width: usize, purpose: Purpose) -> Result<(usize, Number, Vec<u8>), Problem> {
    let info = reader.info();
    let bits = info.bit_depth as u8;
    let bytes = |data: Vec<u8>| {
        if bits >= 8 {
            return data;
        }
        let mut bytes = Vec::new();
        unpack(&data, width, bits, &mut bytes);
        bytes
    };
    // The upper halves of 16 bits.
    let upper = |data: Vec<u8>| if bits == 16 { data.into_iter().step_by(2).collect() } else { data };
    match info.color_type {
        ColorType::Grayscale if bits == 16 => Ok((1, Number::U16, data)),
        ColorType::Grayscale => {
            let step = match bits {
                2 => 85,
                4 => 17,
                _ => 1,
            };
            Ok((1, Number::U8, bytes(data).into_iter().map(|value| value * step).collect()))
        }
        ColorType::Rgb => Ok((3, Number::U8, upper(data))),
        ColorType::Rgba => Ok((4, Number::U8, upper(data))),
        ColorType::Indexed if purpose == Purpose::Labels => Ok((1, Number::U8, bytes(data))),
        ColorType::Indexed => {
            let palette = info.palette.as_deref().unwrap_or_default();
            let colours = bytes(data).into_iter().map(|index| palette.as_chunks::<3>().0.get(usize::from(index)).copied());
            let colours: Option<Vec<[u8; 3]>> = colours.collect();
            let colours = colours.ok_or(("has pixels beyond its palette".to_owned(), "the file is damaged; write it again"))?;
            Ok((3, Number::U8, colours.into_flattened()))
        }
        ColorType::GrayscaleAlpha if bits == 16 => {
            Ok((4, Number::U8, data.as_chunks().0.iter().flat_map(|&[grey, _, alpha, _]| [grey, grey, grey, alpha]).collect()))
        }
        ColorType::GrayscaleAlpha => Err((
            "has grey values and transparency".to_owned(),
            "nnU-Net cannot read these either; write it again without transparency (an alpha channel)",
        )),
    }
}

/// Writes labels as grey values of 8 or 16 bits.
fn write(path: &Path, values: Values) -> Result<(), Error> {
    let [channels, depth, height, width] = values.shape();
    let instead = "write .tif, .nii.gz, .nrrd or .mha instead";
    if channels * depth != 1 {
        return Err(Error::unwritable(path, format!("PNG holds a single slice, not {channels} channels of {depth}"), instead));
    }
    let depth = match values.number() {
        Number::U8 => BitDepth::Eight,
        Number::U16 => BitDepth::Sixteen,
        _ => return Err(Error::unwritable(path, "PNG holds neither negative labels nor real numbers".to_owned(), instead)),
    };
    let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(Error::TooLarge { path: path.to_owned(), shape: values.shape(), limit: u32::MAX as usize });
    };
    let mut pixels = Vec::new();
    let encoded = values.encode(&mut pixels, true);
    write_atomically(path, |file| {
        encoded?;
        encode(file, [width, height], depth, &pixels).map_err(io::Error::other)
    })
}

fn encode(file: &mut dyn Write, [width, height]: [u32; 2], depth: BitDepth, pixels: &[u8]) -> Result<(), EncodingError> {
    let mut encoder = Encoder::new(file, width, height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}
