//! The pages of a TIFF that make up an array, decoded one at a time.

use std::fs::File;
use std::io::{self, BufReader, Read};

use ::tiff::decoder::{Decoder, DecodingResult, DecodingSampleType, Limits};
use ::tiff::tags::{ByteOrder, Tag};
use ::tiff::{ColorType, TiffError, TiffResult};

use super::check::values_fit;
use crate::io::bits::unpack;
use crate::io::source::{LARGEST_EXPANSION, Problem};
use crate::io::voxels::Number;

/// How many bytes LZW makes of one at most: codes of 12 bits that stand for the longest string in a full table.
const LARGEST_LZW: u64 = 2560;
/// How many bytes PackBits makes of one at most.
const LARGEST_PACKBITS: u64 = 64;

/// How often a file's bytes may be those of a page: lists of short strips take as much room as these.
const MOST_SHARED: u64 = 8;

const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const WHITE_IS_ZERO: u16 = 0;
const PALETTE: u16 = 3;

/// What pages must have in common to be slices of one stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    pub width: usize,
    pub height: usize,
    /// Values of a pixel.
    pub samples: usize,
    /// Whether these are stored as one plane after the other.
    pub planar: bool,
    /// Bits of a value: 8 and more, or 1, 2 or 4.
    bits: u8,
    sample: DecodingSampleType,
    white_is_zero: bool,
}

/// All pages that are like the first one.
pub struct Pages {
    decoder: Decoder<BufReader<File>>,
    kind: Kind,
    indices: Vec<usize>,
    /// How many of these are decoded.
    decoded: usize,
    /// The page that is being read.
    page: Vec<u8>,
    at: usize,
}

fn problem(error: TiffError) -> Problem {
    (
        format!("is no TIFF that can be read ({error})"),
        "write it again without compression or with LZW or deflate; copy it again if it is damaged",
    )
}

fn failed(error: TiffError) -> io::Error {
    match error {
        TiffError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl Pages {
    /// Looks at all pages, and checks that a file of `length` bytes can hold those like the first.
    pub fn new(mut reader: BufReader<File>, length: u64) -> Result<Self, Problem> {
        if !values_fit(&mut reader, length).map_err(|error| problem(error.into()))? {
            let found = format!("is {length} bytes long and has a directory with values that need more");
            return Err((found, "the file is cut off or damaged; copy it again"));
        }
        let mut decoder = Decoder::new(reader).map_err(problem)?.with_limits(limits(length));
        let kind = Kind::of(&mut decoder)?;
        let (mut indices, mut index) = (vec![0], 0);
        let mut expansion = largest_expansion(&mut decoder).map_err(problem)?;
        let mut strips = strips_of(&mut decoder);
        while decoder.more_images() && strips <= length.saturating_mul(MOST_SHARED) {
            index += 1;
            decoder.seek_to_image(index).map_err(problem)?;
            // A page of another kind, such as a small preview, is no slice, whether it can be decoded or not.
            if Kind::of(&mut decoder).is_ok_and(|other| other == kind) {
                indices.push(index);
                expansion = largest_expansion(&mut decoder).map_err(problem)?.max(expansion);
            }
            strips = strips.saturating_add(strips_of(&mut decoder));
        }
        if strips > length.saturating_mul(MOST_SHARED) {
            let found = format!("is {length} bytes long and has pages that share their pixels");
            return Err((found, "only pages with pixels of their own can be read; write it again"));
        }
        decoder.seek_to_image(0).map_err(problem)?;
        let fits = |bytes: usize| bytes as u64 / expansion <= length;
        if !indices.len().checked_mul(kind.bytes()).is_some_and(fits) {
            let found = format!(
                "is {length} bytes long and claims {} pages of {} x {} pixels, which need more",
                indices.len(),
                kind.width,
                kind.height
            );
            return Err((found, "the file is cut off or damaged; copy it again"));
        }
        Ok(Self { decoder, kind, indices, decoded: 0, page: Vec::new(), at: 0 })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn count(&self) -> usize {
        self.indices.len()
    }

    /// The first page's description.
    pub fn description(&mut self) -> Option<String> {
        self.decoder.get_tag_ascii_string(Tag::ImageDescription).ok()
    }

    /// Where the voxels begin, and whether their most significant bytes come first, if they are stored as they are, one after the other.
    pub fn raw_offset(&mut self) -> Option<(u64, bool)> {
        let raw =
            self.decoder.find_tag_unsigned(Tag::Compression).ok()?.unwrap_or(1u16) == 1 && self.kind.bits >= 8 && !self.kind.white_is_zero;
        // Half floats are widened when they are decoded.
        let raw = raw && usize::from(self.kind.bits) == self.number().size() * 8;
        let offsets = self.decoder.get_tag_u64_vec(Tag::StripOffsets).ok()?;
        let counts = self.decoder.get_tag_u64_vec(Tag::StripByteCounts).ok()?;
        let follows = |(pair, count): (&[u64], &u64)| pair[0].checked_add(*count) == Some(pair[1]);
        let raw = raw && offsets.windows(2).zip(&counts).all(follows);
        let big_endian = self.decoder.byte_order() == ByteOrder::BigEndian;
        offsets.first().filter(|_| raw).map(|offset| (*offset, big_endian))
    }

    /// The type that pages are decoded to, in the machine's own byte order.
    pub fn number(&self) -> Number {
        self.kind.number()
    }

    fn decode_next(&mut self) -> TiffResult<bool> {
        let Some(&index) = self.indices.get(self.decoded) else { return Ok(false) };
        self.decoder.seek_to_image(index)?;
        let mut decoded = DecodingResult::U8(Vec::new());
        self.decoder.read_image_to_buffer(&mut decoded)?;
        self.page.clear();
        self.at = 0;
        match &decoded {
            DecodingResult::F16(values) => self.page.extend(values.iter().flat_map(|value| value.to_f32().to_ne_bytes())),
            DecodingResult::U8(packed) if self.kind.bits < 8 => {
                unpack(packed, self.kind.width * self.kind.samples, self.kind.bits, &mut self.page);
            }
            _ => self.page.extend_from_slice(decoded.as_buffer(0).as_bytes()),
        }
        if self.kind.white_is_zero {
            // The decoder has turned these over, which tifffile does not.
            let ones = if self.kind.bits < 8 { (1 << self.kind.bits) - 1 } else { 0xff };
            self.page.iter_mut().for_each(|byte| *byte = ones - *byte);
        }
        self.decoded += 1;
        Ok(true)
    }
}

impl Read for Pages {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.page.len() && !self.decode_next().map_err(failed)? {
            return Ok(0);
        }
        let length = out.len().min(self.page.len() - self.at);
        out[..length].copy_from_slice(&self.page[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl Kind {
    /// The current page's.
    fn of(decoder: &mut Decoder<BufReader<File>>) -> Result<Self, Problem> {
        let photometric = decoder.find_tag_unsigned::<u16>(Tag::Unknown(PHOTOMETRIC)).map_err(problem)?;
        if photometric == Some(PALETTE) {
            return Err((
                "has a palette of colours".to_owned(),
                "only grey values and colours themselves can be read; write it as grey values",
            ));
        }
        let ((width, height), colour) = (decoder.dimensions().map_err(problem)?, decoder.colortype().map_err(problem)?);
        let layout = decoder.image_buffer_layout().map_err(problem)?;
        let unsupported =
            |found: String| (found, "only integers and floats of up to 64 bits, grey or in 3 or 4 colours, can be read; convert it");
        if width == 0 || height == 0 {
            return Err(("has pages without pixels".to_owned(), "the file is damaged; copy it again"));
        }
        let samples = match colour {
            ColorType::Gray(_) => 1,
            ColorType::RGB(_) => 3,
            ColorType::RGBA(_) | ColorType::CMYK(_) => 4,
            ColorType::Multiband { num_samples: samples @ 3..=4, .. } => usize::from(samples),
            other => return Err(unsupported(format!("has pixels of the kind {other:?}"))),
        };
        let bits = colour.bit_depth();
        let sample = layout.sample_type.filter(|_| matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64));
        let sample = sample.ok_or_else(|| unsupported(format!("has values of {bits} bits ({:?})", layout.sample_format)))?;
        let white_is_zero = photometric == Some(WHITE_IS_ZERO);
        let kind = Self { width: width as usize, height: height as usize, samples, planar: layout.planes > 1, bits, sample, white_is_zero };
        if white_is_zero && matches!(sample, DecodingSampleType::F16 | DecodingSampleType::F32 | DecodingSampleType::F64) {
            return Err(unsupported("has floating-point values of which zero is white".to_owned()));
        }
        Ok(kind)
    }

    /// Shape of a page as tifffile gives it.
    pub fn shape(&self) -> Vec<usize> {
        match (self.samples, self.planar) {
            (1, _) => vec![self.height, self.width],
            (samples, false) => vec![self.height, self.width, samples],
            (samples, true) => vec![samples, self.height, self.width],
        }
    }

    fn number(&self) -> Number {
        match self.sample {
            DecodingSampleType::U8 => Number::U8,
            DecodingSampleType::U16 => Number::U16,
            DecodingSampleType::U32 => Number::U32,
            DecodingSampleType::U64 => Number::U64,
            DecodingSampleType::I8 => Number::I8,
            DecodingSampleType::I16 => Number::I16,
            DecodingSampleType::I32 => Number::I32,
            DecodingSampleType::I64 => Number::I64,
            DecodingSampleType::F64 => Number::F64,
            // Half floats are widened.
            _ => Number::F32,
        }
    }

    /// Bytes of a page as stored, before compression; with rows of whole bytes. The largest number there is, if they are more.
    fn bytes(&self) -> usize {
        let row = self.width.saturating_mul(self.samples).saturating_mul(usize::from(self.bits)).div_ceil(8);
        row.saturating_mul(self.height)
    }
}

/// Bytes of the current page's pixels as they are stored, and of the lists that say where.
fn strips_of(decoder: &mut Decoder<BufReader<File>>) -> u64 {
    let counts = [Tag::StripByteCounts, Tag::TileByteCounts].into_iter().find_map(|tag| decoder.get_tag_u64_vec(tag).ok());
    counts.into_iter().flatten().fold(0, |sum: u64, count| sum.saturating_add(count).saturating_add(8))
}

/// How many bytes the current page's compression makes of one at most.
fn largest_expansion(decoder: &mut Decoder<BufReader<File>>) -> TiffResult<u64> {
    const LZW: u16 = 5;
    const PACKBITS: u16 = 32773;
    Ok(match decoder.find_tag_unsigned(Tag::Unknown(COMPRESSION))? {
        None | Some(1) => 1,
        Some(LZW) => LARGEST_LZW,
        Some(PACKBITS) => LARGEST_PACKBITS,
        Some(_) => LARGEST_EXPANSION,
    })
}

/// Nothing in a file of `length` bytes can be longer than this.
fn limits(length: u64) -> Limits {
    let clamp = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = clamp(length.saturating_mul(LARGEST_LZW));
    limits.intermediate_buffer_size = clamp(length.saturating_mul(LARGEST_LZW));
    limits.ifd_value_size = clamp(length);
    limits
}
