//! Pages that the decoder does not know, described to it as others that it does, whose values are the same.
//!
//! - Indices of a palette, and grey values of which zero is white, become grey values: tifffile gives both as they are stored.
//! - Red, green and blue with further values become as many values of no colour: the decoder would drop values without a meaning (ExtraSamples).
//! - Rows of values with an odd number of bits, such as 12, become rows of bytes, which `unpack_odd` takes apart.
//! - An image whose last tiles reach beyond it becomes one of whole tiles, and is cropped: the decoder stumbles over what it has to skip
//!   (image-tiff 395).
//!
//! A file is never changed: [`Disguised`] replaces some bytes of its directories as they are read.

use std::io::{self, Read, Seek, SeekFrom};

use super::directory::{Directories, Entry};
use crate::io::source::Problem;

mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const SAMPLES: u16 = 277;
    pub const STRIP_LENGTHS: u16 = 279;
    pub const PLANES: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_LENGTHS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
}

/// A format of values.
const UNSIGNED: u64 = 1;
const WHITE_IS_ZERO: u64 = 0;
const BLACK_IS_ZERO: u64 = 1;
const RGB: u64 = 2;
const PALETTE: u64 = 3;
/// Compressions that look at bits as pixels.
const OF_PIXELS: [u64; 2] = [FAX_4, JPEG];
/// CCITT group 4.
pub const FAX_4: u64 = 4;
pub const LZW: u64 = 5;
pub const JPEG: u64 = 7;
pub const PACKBITS: u64 = 32773;
pub const ZSTD: u64 = 50000;
/// Compressions that no library decodes here.
const NOT_READ: [(u64, &str); 20] = [
    (2, "CCITT (run lengths, without a group)"),
    (3, "CCITT group 3"),
    (6, "JPEG as TIFF 6.0 had it at first"),
    (32766, "NeXT's run lengths"),
    (32809, "ThunderScan"),
    (32909, "PixarLog"),
    (33003, "JPEG 2000"),
    (33004, "JPEG 2000"),
    (33005, "JPEG 2000"),
    (34661, "JBIG"),
    (34676, "SGILog"),
    (34677, "SGILog"),
    (34712, "JPEG 2000"),
    (34887, "LERC"),
    (34892, "lossy JPEG of DNG"),
    (34925, "LZMA"),
    (34933, "PNG"),
    (34934, "JPEG XR"),
    (50001, "WebP"),
    (50002, "JPEG XL"),
];
/// The strips of all pages together may be this many times as long as the file: lists of short strips take as much room as the strips.
pub const MOST_SHARED: u64 = 8;
pub const CUT_OFF: &str = "the file is cut off or damaged; copy it again";
const CONVERT: &str = "write it again with LZW, deflate or no compression, for example with libtiff's tools: tiffcp -c lzw in.tif out.tif";

/// What is wrong with a file of `length` bytes whose pages need more.
pub fn shared(length: u64) -> Problem {
    let found = format!("is {length} bytes long and has pages that share their pixels");
    (found, "only pages with pixels of their own can be read; write it again")
}

/// What a page really is, where it is described as rows of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odd {
    pub width: usize,
    /// Values of a pixel.
    pub samples: usize,
    /// Bits of a value.
    pub bits: u32,
}

/// What a page is before it is described as something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    photometric: Option<u64>,
    /// 1 where it is not compressed.
    pub compression: u64,
    pub odd: Option<Odd>,
    /// Its height and width, where those of whole tiles stand for them.
    pub size: Option<[usize; 2]>,
    /// Height and width that the decoder finds, where they are replaced.
    pub described: Option<[u64; 2]>,
}

/// Places in a file, and the bytes that stand for those that are there.
type Patches = Vec<(u64, Vec<u8>)>;

/// What is replaced in a file, and what that hides.
#[derive(Debug, Default)]
pub struct Disguise {
    /// Place and bytes, by place.
    pub patches: Patches,
    /// One a page: how it is stored, or why it cannot be read.
    pub pages: Vec<Result<Facts, Problem>>,
    /// Height and width of every page, where it says so.
    pub sizes: Vec<Option<[u64; 2]>>,
}

impl Disguise {
    /// For a file of `length` bytes with these `directories`.
    pub fn new(reader: &mut (impl Read + Seek), directories: &Directories, length: u64) -> io::Result<Self> {
        let mut disguise = Self::default();
        let mut lists: u64 = 0;
        for entries in &directories.pages {
            let mut page = Page { reader, directories, entries };
            lists = [tag::STRIP_LENGTHS, tag::TILE_LENGTHS]
                .into_iter()
                .filter_map(|tag| page.entry(tag))
                .fold(lists, |sum, list| sum.saturating_add(list.length()));
            let facts = if entries.iter().any(|entry| entry.length() > length) {
                Err((format!("is {length} bytes long and has a directory with values that need more"), CUT_OFF))
            } else if lists > length.saturating_mul(MOST_SHARED) {
                Err(shared(length))
            } else {
                page.disguise(&mut disguise.patches)?
            };
            disguise.sizes.push(page.size()?);
            disguise.pages.push(facts);
        }
        disguise.patches.sort();
        reader.rewind()?;
        Ok(disguise)
    }
}

struct Page<'a, R> {
    reader: &'a mut R,
    directories: &'a Directories,
    entries: &'a [Entry],
}

impl<R: Read + Seek> Page<'_, R> {
    fn entry(&self, tag: u16) -> Option<Entry> {
        // Of several the decoder takes the last.
        self.entries.iter().rfind(|entry| entry.tag == tag).copied()
    }

    /// The first value of a tag.
    fn value(&mut self, tag: u16) -> io::Result<Option<u64>> {
        let Some(entry) = self.entry(tag) else { return Ok(None) };
        let values = self.directories.values(self.reader, &entry, 1)?;
        Ok(values.first().copied())
    }

    /// Replaces what a tag says by one value.
    fn replace(&self, tag: u16, value: u32, patches: &mut Patches) {
        if let Some(entry) = self.entry(tag) {
            patches.push((entry.at + 2, self.directories.single(value)));
        }
    }

    /// Whether some strip or tile has no bytes.
    fn has_holes(&mut self) -> io::Result<bool> {
        for entry in [tag::STRIP_LENGTHS, tag::TILE_LENGTHS].into_iter().filter_map(|tag| self.entry(tag)).collect::<Vec<_>>() {
            // Their number was compared with the length of the file.
            if self.directories.values(self.reader, &entry, entry.count)?.contains(&0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Height and width, where the directory itself says so.
    fn size(&mut self) -> io::Result<Option<[u64; 2]>> {
        let mut inline = [None; 2];
        for (value, tag) in inline.iter_mut().zip([tag::HEIGHT, tag::WIDTH]) {
            if self.entry(tag).is_some_and(|entry| self.directories.inline(&entry).is_some()) {
                *value = self.value(tag)?;
            }
        }
        let [height, width] = inline;
        Ok(height.zip(width).map(|(height, width)| [height, width]))
    }

    /// Height and width of a tile, where there are tiles.
    fn tile(&mut self) -> io::Result<Option<[u64; 2]>> {
        let [height, width] = [self.value(tag::TILE_HEIGHT)?, self.value(tag::TILE_WIDTH)?];
        Ok(height.zip(width).filter(|(height, width)| *height > 0 && *width > 0).map(|(height, width)| [height, width]))
    }

    fn disguise(&mut self, patches: &mut Patches) -> io::Result<Result<Facts, Problem>> {
        let (photometric, compression) = (self.value(tag::PHOTOMETRIC)?, self.value(tag::COMPRESSION)?.unwrap_or(1));
        if let Some((_, name)) = NOT_READ.iter().find(|(code, _)| *code == compression) {
            return Ok(Err((format!("is compressed by {name}, which is not read"), CONVERT)));
        }
        let bits = match self.entry(tag::BITS) {
            Some(entry) => self.directories.values(self.reader, &entry, 16)?,
            None => vec![1],
        };
        let bits = bits.first().copied().filter(|first| bits.iter().all(|other| other == first)).unwrap_or(0);
        let (predictor, format) = (self.value(tag::PREDICTOR)?.unwrap_or(1), self.value(tag::SAMPLE_FORMAT)?.unwrap_or(UNSIGNED));
        for (is_so, found) in [
            (
                self.value(tag::FILL_ORDER)?.unwrap_or(1) != 1 && compression != JPEG,
                "stores the bits of a byte in reverse order (FillOrder 2)",
            ),
            (self.has_holes()?, "has strips or tiles without data (a sparse file)"),
            (predictor != 1 && compression == 1, "has a predictor and no compression"),
            (format != UNSIGNED && (1..8).contains(&bits), "has values of less than 8 bits that are no whole numbers from 0 on"),
        ] {
            if is_so {
                return Ok(Err((format!("{found}, which is not read"), CONVERT)));
            }
        }
        let samples = self.value(tag::SAMPLES)?.unwrap_or(1);
        let [height, width] = [tag::HEIGHT, tag::WIDTH].map(|tag| self.value(tag));
        let (height, width) = (height?.unwrap_or(0), width?.unwrap_or(0));
        let is_odd = match bits {
            1 | 2 | 4 => samples > 1,
            8 | 16 => false,
            _ => (1..32).contains(&bits),
        };
        if !is_odd {
            if matches!(photometric, Some(WHITE_IS_ZERO | PALETTE)) || photometric == Some(RGB) && samples > 3 {
                self.replace(tag::PHOTOMETRIC, BLACK_IS_ZERO as u32, patches);
            }
            let (mut size, mut described) = (None, None);
            if let Some([tile_height, tile_width]) = self.tile()? {
                let whole = [(height, tile_height), (width, tile_width)].map(|(size, tile)| size.checked_next_multiple_of(tile));
                if let [Some(whole_height), Some(whole_width)] = whole
                    && [whole_height, whole_width] != [height, width]
                    && whole_height.max(whole_width) <= u32::MAX.into()
                {
                    size = Some([height as usize, width as usize]);
                    described = Some([whole_height, whole_width]);
                    self.replace(tag::HEIGHT, whole_height as u32, patches);
                    self.replace(tag::WIDTH, whole_width as u32, patches);
                }
            }
            return Ok(Ok(Facts { photometric, compression, odd: None, size, described }));
        }
        let refused = |found: String| {
            (found, "write it with 8, 16 or 32 bits a value, for example with ImageMagick: magick in.tif -depth 16 out.tif")
        };
        let known = matches!(photometric, Some(WHITE_IS_ZERO | BLACK_IS_ZERO | RGB | PALETTE))
            && !OF_PIXELS.contains(&compression)
            && predictor == 1
            && format == UNSIGNED
            && self.value(tag::PLANES)?.unwrap_or(1) == 1
            && self.entry(tag::BITS).is_some()
            && self.entry(tag::TILE_WIDTH).is_none()
            && self.entry(tag::EXTRA_SAMPLES).is_none()
            && matches!(samples, 1 | 3 | 4);
        // Of whole bytes nobody agrees which comes first.
        if !known || bits == 24 {
            return Ok(Err(refused(format!("has {bits} bits a value, stored in a way that is not read"))));
        }
        let row = width.saturating_mul(samples).saturating_mul(bits).div_ceil(8);
        let Some(row) = u32::try_from(row).ok().filter(|row| *row > 0) else {
            return Ok(Err(refused(format!("has {bits} bits a value and {width} pixels a row"))));
        };
        for (tag, value) in [(tag::WIDTH, row), (tag::BITS, 8), (tag::SAMPLES, 1), (tag::PHOTOMETRIC, BLACK_IS_ZERO as u32)] {
            self.replace(tag, value, patches);
        }
        self.replace(tag::SAMPLE_FORMAT, 1, patches);
        let odd = Odd { width: width as usize, samples: samples as usize, bits: bits as u32 };
        Ok(Ok(Facts { photometric, compression, odd: Some(odd), size: None, described: Some([height, row.into()]) }))
    }
}

/// A file, some bytes of which are others when they are read.
pub struct Disguised<R> {
    inner: R,
    position: u64,
    patches: Patches,
}

impl<R> Disguised<R> {
    /// `inner` is at its beginning; `patches` are sorted by place.
    pub fn new(inner: R, patches: Patches) -> Self {
        Self { inner, position: 0, patches }
    }
}

impl<R: Read> Read for Disguised<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        let end = self.position + length as u64;
        let first = self.patches.partition_point(|(at, bytes)| at + bytes.len() as u64 <= self.position);
        for (at, bytes) in self.patches[first..].iter().take_while(|(at, _)| *at < end) {
            for (byte, place) in bytes.iter().zip(*at..).filter(|(_, place)| (self.position..end).contains(place)) {
                out[(place - self.position) as usize] = *byte;
            }
        }
        self.position = end;
        Ok(length)
    }
}

impl<R: Seek> Seek for Disguised<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn bytes_are_replaced_wherever_reading_begins_and_ends() {
        let patches = vec![(2, vec![20, 30]), (7, vec![70])];
        for length in 1..=10 {
            let mut file = Disguised::new(Cursor::new((0..10).collect::<Vec<u8>>()), patches.clone());
            let mut bytes = Vec::new();
            while bytes.len() < 10 {
                let mut piece = vec![0; length];
                let read = file.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..read]);
            }
            assert_eq!(bytes, [0, 1, 20, 30, 4, 5, 6, 70, 8, 9], "{length}");
            assert_eq!(file.seek(SeekFrom::Start(3)).unwrap(), 3);
            let mut byte = [0];
            file.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [30]);
        }
    }
}
