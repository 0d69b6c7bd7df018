//! The pages of a TIFF that make up an array, decoded one at a time.

use std::fs::File;
use std::io::{self, BufReader, Read};

use ::tiff::decoder::{Decoder, DecodingResult, DecodingSampleType, Limits};
use ::tiff::tags::{ByteOrder, Tag};
use ::tiff::{ColorType, TiffError, TiffResult};

use super::directory::Directories;
use super::disguise::{CUT_OFF, Disguise, Disguised, FAX_4, Facts, JPEG, LZW, MOST_SHARED, Odd, PACKBITS, ZSTD, shared};
use crate::io::bits::unpack;
use crate::io::may_have;
use crate::io::source::{LARGEST_EXPANSION, Problem};
use crate::io::voxels::Number;

/// How many bytes LZW makes of one at most: codes of 12 bits that stand for the longest string in a full table.
const LARGEST_LZW: u64 = 2560;
/// How many bytes PackBits makes of one at most.
const LARGEST_PACKBITS: u64 = 64;
/// JPEG: some bits for a block of 64, or for a run of empty ones.
const LARGEST_JPEG: u64 = 1 << 12;
/// Zstandard: four bytes for a block of one value, of 128 KB. Rows of a fax, which may take a bit, are not longer in practice.
const LARGEST_ZSTD: u64 = 1 << 15;

/// What pages must have in common to be slices of one stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    pub width: usize,
    pub height: usize,
    /// Height and width of what is decoded: in whole tiles.
    stored: [usize; 2],
    /// Values of a pixel.
    pub samples: usize,
    /// Whether these are stored as one plane after the other.
    pub planar: bool,
    /// Bits of a value.
    bits: u8,
    sample: DecodingSampleType,
    /// Whether these are brightness and two differences of colour, of which JPEG makes colours.
    differences: bool,
    facts: Facts,
}

/// What the decoder reads.
type Source = Disguised<BufReader<File>>;

/// All pages that are like the first one.
pub struct Pages {
    decoder: Decoder<Source>,
    kind: Kind,
    indices: Vec<usize>,
    /// Whether the file has no other page.
    alone: bool,
    /// How many of these are decoded.
    decoded: usize,
    /// The page that is being read.
    page: Vec<u8>,
    at: usize,
}

const REWRITE: &str = "write all pages in one way, for example with libtiff's tools: tiffcp -c lzw in.tif out.tif";

fn problem(error: TiffError) -> Problem {
    (
        format!("is no TIFF that can be read ({error})"),
        "copy it again if it is damaged, else write it again, for example with libtiff's tools: tiffcp -c lzw in.tif out.tif",
    )
}

fn failed(error: TiffError) -> io::Error {
    match error {
        TiffError::IoError(error) if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::OutOfMemory => error,
        // What the decoder does not know and what is damaged look alike.
        other => io::Error::new(io::ErrorKind::Unsupported, other),
    }
}

impl Pages {
    /// Looks at all pages, and checks that a file of `length` bytes can hold those like the first.
    pub fn new(mut reader: BufReader<File>, length: u64) -> Result<Self, Problem> {
        let io = |error: io::Error| problem(error.into());
        let directories = Directories::read(&mut reader).map_err(io)?;
        let Disguise { patches, pages, sizes } = Disguise::new(&mut reader, &directories, length).map_err(io)?;
        let mut facts = pages.into_iter();
        let unreadable = || ("has a page that cannot be read".to_owned(), CUT_OFF);
        // A directory says why its page is not read. Where there is none, the decoder says what the file is.
        let first = facts.next().transpose()?;
        let mut decoder = Decoder::new(Disguised::new(reader, patches)).map_err(problem)?.with_limits(limits(length));
        let kind = Kind::of(&mut decoder, first.ok_or_else(unreadable)?)?;
        let (mut indices, mut index) = (vec![0], 0);
        let mut strips = strips_of(&mut decoder);
        while decoder.more_images() && strips <= length.saturating_mul(MOST_SHARED) {
            index += 1;
            decoder.seek_to_image(index).map_err(problem)?;
            let other = facts.next().unwrap_or_else(|| Err(unreadable())).and_then(|facts| Kind::of(&mut decoder, facts));
            let has_size_of_first = sizes.get(index).is_none_or(|size| size.is_none() || *size == sizes[0]);
            match other {
                Ok(other) if other == kind => indices.push(index),
                // Of what looks like a slice none may be missing.
                Ok(other) if other.differs_in_storage(&kind) => {
                    return Err((format!("has a page {} that is stored in another way than the first", index + 1), REWRITE));
                }
                Err((found, advice)) if has_size_of_first => return Err((format!("{found} (page {})", index + 1), advice)),
                // A page of another kind, such as a small preview, is no slice, whether it can be decoded or not.
                _ => {}
            }
            strips = strips.saturating_add(strips_of(&mut decoder));
        }
        if strips > length.saturating_mul(MOST_SHARED) {
            return Err(shared(length));
        }
        decoder.seek_to_image(0).map_err(problem)?;
        if !may_have([kind.stored[0], kind.stored[1], kind.samples]) {
            let found = format!("claims pages of {} x {} pixels in whole tiles", kind.stored[1], kind.stored[0]);
            return Err((found, "that is more than an image may have; is it damaged? --max-voxels raises the limit"));
        }
        let fits = |bytes: usize| bytes as u64 / kind.largest_expansion() <= length;
        if !indices.len().checked_mul(kind.bytes()).is_some_and(fits) {
            let found = format!(
                "is {length} bytes long and claims {} pages of {} x {} pixels, which need more",
                indices.len(),
                kind.width,
                kind.height
            );
            return Err((found, CUT_OFF));
        }
        let alone = sizes.len() == 1;
        Ok(Self { decoder, kind, indices, alone, decoded: 0, page: Vec::new(), at: 0 })
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

    /// Where the voxels begin, and whether their most significant bytes come first, if they are stored as they are, one after the other, and the
    /// file's only page begins there.
    pub fn raw_offset(&mut self) -> Option<(u64, bool)> {
        let raw = self.alone && self.kind.facts.compression == 1 && self.kind.facts.odd.is_none();
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
        let kind = self.kind;
        let (planes, values) = if kind.planar { (kind.samples, 1) } else { (1, kind.samples) };
        let pixel = kind.number().size() * values;
        let length = planes * kind.height * kind.width * pixel;
        self.page.clear();
        self.page.try_reserve_exact(length).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        self.at = 0;
        let (chunk_width, chunk_height) = self.decoder.chunk_dimensions();
        let chunk_width = kind.facts.odd.map_or(chunk_width as usize, |odd| odd.width);
        let (across, down) = (kind.stored[1].div_ceil(chunk_width), kind.stored[0].div_ceil(chunk_height as usize));
        let mut rows = Vec::new();
        for chunk in 0..planes * down * across {
            kind.unpack(&mut self.decoder.read_chunk(u32::try_from(chunk)?)?, chunk_width * values, &mut rows);
            // Nothing is filled before something is decoded.
            self.page.resize(length, 0);
            let (plane, top, left) = (chunk / across / down, chunk / across % down * chunk_height as usize, chunk % across * chunk_width);
            let length = chunk_width.min(kind.width.saturating_sub(left)) * pixel;
            let rows = rows.chunks_exact(chunk_width * pixel);
            if rows.len() < (chunk_height as usize).min(kind.height.saturating_sub(top)) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a strip or tile has fewer rows than it should have").into());
            }
            for (y, row) in (top..kind.height).zip(rows) {
                let start = ((plane * kind.height + y) * kind.width + left) * pixel;
                self.page[start..start + length].copy_from_slice(&row[..length]);
            }
        }
        if kind.differences {
            self.page.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = colours(*pixel));
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
    /// The current page's; `facts` are what is hidden from the decoder.
    fn of(decoder: &mut Decoder<Source>, facts: Facts) -> Result<Self, Problem> {
        let ((width, height), colour) = (decoder.dimensions().map_err(problem)?, decoder.colortype().map_err(problem)?);
        let layout = decoder.image_buffer_layout().map_err(problem)?;
        if facts.described.is_some_and(|described| described != [u64::from(height), u64::from(width)]) {
            return Err(("has directories that lie on each other".to_owned(), CUT_OFF));
        }
        let unsupported =
            |found: String| (found, "only integers and floats of up to 64 bits, grey or in 3 or 4 colours, can be read; convert it");
        if width == 0 || height == 0 {
            return Err(("has pages without pixels".to_owned(), "the file is damaged; copy it again"));
        }
        let differences = matches!(colour, ColorType::YCbCr(_)) && facts.compression == JPEG;
        let samples = match colour {
            ColorType::Gray(_) => 1,
            ColorType::RGB(_) => 3,
            ColorType::RGBA(_) | ColorType::CMYK(_) => 4,
            ColorType::YCbCr(8) if differences && layout.planes == 1 => 3,
            ColorType::Multiband { num_samples: samples @ 3..=4, .. } => usize::from(samples),
            other => return Err(unsupported(format!("has pixels of the kind {other:?}"))),
        };
        let bits = colour.bit_depth();
        let sample = layout.sample_type.filter(|_| matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64));
        let sample = sample.ok_or_else(|| unsupported(format!("has values of {bits} bits ({:?})", layout.sample_format)))?;
        let (width, height, planar) = (width as usize, height as usize, layout.planes > 1);
        let plain = Self { width, height, stored: [height, width], samples, planar, bits, sample, differences, facts };
        Ok(match facts {
            Facts { odd: Some(odd), .. } => {
                let stored = [height, odd.width];
                Self { width: odd.width, stored, samples: odd.samples, bits: odd.bits as u8, sample: odd.sample(), ..plain }
            }
            Facts { size: Some([height, width]), .. } => Self { width, height, ..plain },
            _ => plain,
        })
    }

    /// Whether two pages differ only in how their values are compressed, cut into strips or tiles, or shown as colours.
    fn differs_in_storage(&self, other: &Self) -> bool {
        let Facts { odd, .. } = self.facts;
        let plain = |kind: &Self| Self { facts: other.facts, stored: other.stored, planar: other.planar, differences: false, ..*kind };
        plain(self) == plain(other) && odd == other.facts.odd
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

    /// How many bytes the page's compression makes of one at most.
    fn largest_expansion(&self) -> u64 {
        match self.facts.compression {
            1 => 1,
            // A bit may stand for a row.
            FAX_4 => (self.width as u64).clamp(1, LARGEST_ZSTD),
            LZW => LARGEST_LZW,
            JPEG => LARGEST_JPEG,
            PACKBITS => LARGEST_PACKBITS,
            ZSTD => LARGEST_ZSTD,
            _ => LARGEST_EXPANSION,
        }
    }

    /// Bytes of a page as stored, before compression; with rows of whole bytes. The largest number there is, if they are more.
    fn bytes(&self) -> usize {
        let [height, width] = self.stored;
        let row = width.saturating_mul(self.samples).saturating_mul(usize::from(self.bits)).div_ceil(8);
        row.saturating_mul(height)
    }

    /// The values of a decoded strip or tile, each of as many bytes as its [number](Self::number) has, in rows of `row` values.
    fn unpack(&self, decoded: &mut DecodingResult, row: usize, out: &mut Vec<u8>) {
        out.clear();
        match (decoded, self.facts.odd) {
            (DecodingResult::U8(packed), Some(odd)) => unpack_odd(packed, odd, out),
            (DecodingResult::F16(values), _) => out.extend(values.iter().flat_map(|value| value.to_f32().to_ne_bytes())),
            (DecodingResult::U8(packed), _) if self.bits < 8 => unpack(packed, row, self.bits, out),
            (values, _) => out.extend_from_slice(values.as_buffer(0).as_bytes()),
        }
    }
}

/// Bytes of the current page's pixels as they are stored, and of the lists that say where.
fn strips_of(decoder: &mut Decoder<Source>) -> u64 {
    let counts = [Tag::StripByteCounts, Tag::TileByteCounts].into_iter().find_map(|tag| decoder.get_tag_u64_vec(tag).ok());
    counts.into_iter().flatten().fold(0, |sum: u64, count| sum.saturating_add(count).saturating_add(8))
}

/// Nothing in a file of `length` bytes can be longer than this.
fn limits(length: u64) -> Limits {
    let clamp = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = clamp(length.saturating_mul(LARGEST_ZSTD));
    limits.intermediate_buffer_size = clamp(length.saturating_mul(LARGEST_ZSTD));
    limits.ifd_value_size = clamp(length);
    limits
}

impl Odd {
    /// The type that values are unpacked to, as tifffile does.
    fn sample(&self) -> DecodingSampleType {
        match self.bits {
            ..=8 => DecodingSampleType::U8,
            9..=16 => DecodingSampleType::U16,
            _ => DecodingSampleType::U32,
        }
    }
}

/// Appends values of an odd number of bits, most significant bit first, in rows that begin with a new byte; in the machine's byte order.
fn unpack_odd(packed: &[u8], odd: Odd, out: &mut Vec<u8>) {
    let Odd { width, samples, bits } = odd;
    let row = (width * samples * bits as usize).div_ceil(8);
    for row in packed.chunks_exact(row.max(1)) {
        let (mut kept, mut count, mut bytes) = (0_u64, 0, row.iter());
        for _ in 0..width * samples {
            while count < bits {
                kept = kept << 8 | u64::from(*bytes.next().unwrap_or(&0));
                count += 8;
            }
            count -= bits;
            let value = (kept >> count) as u32 & ((1 << bits) - 1);
            match odd.sample() {
                DecodingSampleType::U8 => out.push(value as u8),
                DecodingSampleType::U16 => out.extend((value as u16).to_ne_bytes()),
                _ => out.extend(value.to_ne_bytes()),
            }
        }
    }
}

/// Red, green and blue of brightness and two differences of colour, in libjpeg's whole numbers (`jdcolor.c`).
fn colours([y, blue, red]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let fixed = |factor: f64| (factor * 65536.0 + 0.5) as i32;
    let (y, blue, red) = (i32::from(y), i32::from(blue) - 128, i32::from(red) - 128);
    [
        y + ((fixed(1.402) * red + HALF) >> 16),
        y + ((-fixed(0.344_14) * blue - fixed(0.714_14) * red + HALF) >> 16),
        y + ((fixed(1.772) * blue + HALF) >> 16),
    ]
    .map(|value| value.clamp(0, 255) as u8)
}
