//! A look at the directories of a TIFF before the decoder reads them: the decoder reads them before it can be told how long the file is, and it
//! does not know palettes or odd numbers of bits. What the decoder would refuse is [described](crate::io::tiff::disguise) as something that it knows.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

/// Entries of all directories that are looked at. Real files have some dozens a page.
const MOST_ENTRIES: u64 = 1 << 22;

/// Where the entries of a file's directories are.
#[derive(Debug, Default)]
pub struct Directories {
    pub big_endian: bool,
    /// Whether offsets have 64 bits.
    wide: bool,
    /// One a page, in the file's order.
    pub pages: Vec<Vec<Entry>>,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub tag: u16,
    /// Type of its values.
    pub kind: u16,
    /// How many there are.
    pub count: u64,
    /// Where the entry begins in the file.
    pub at: u64,
}

impl Entry {
    /// Whether the decoder knows the type; it skips entries of others.
    fn is_known(&self) -> bool {
        matches!(self.kind, 1..=13 | 16..=18)
    }

    /// Bytes of all values.
    pub fn length(&self) -> u64 {
        self.count.saturating_mul(match self.kind {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        })
    }
}

impl Directories {
    /// Walks the directories of a file. Leaves the reader at the beginning. What is cut off is the decoder's to explain.
    pub fn read(reader: &mut (impl Read + Seek)) -> io::Result<Self> {
        let mut directories = Self::default();
        match directories.walk(reader) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
        reader.rewind()?;
        Ok(directories)
    }

    fn walk(&mut self, reader: &mut (impl Read + Seek)) -> io::Result<()> {
        self.big_endian = array(reader)? == *b"MM";
        // Classic files have version 42, and those with 64-bit offsets 43.
        self.wide = self.number::<2>(reader)? == 43;
        if self.wide {
            reader.seek_relative(4)?;
        }
        let (mut seen, mut entries) = (HashSet::new(), 0);
        let mut directory = self.long(reader)?;
        while directory != 0 && seen.insert(directory) && entries < MOST_ENTRIES {
            reader.seek(SeekFrom::Start(directory))?;
            let count = if self.wide { self.number::<8>(reader)? } else { self.number::<2>(reader)? };
            let first = directory + if self.wide { 8 } else { 2 };
            self.pages.push(Vec::new());
            for number in 0..count.min(MOST_ENTRIES - entries) {
                let at = first + number * self.entry_length();
                let (tag, kind, count) = (self.number::<2>(reader)? as u16, self.number::<2>(reader)? as u16, self.long(reader)?);
                self.long(reader)?;
                let entry = Entry { tag, kind, count, at };
                if entry.is_known() {
                    self.pages.last_mut().expect("just pushed").push(entry);
                }
            }
            entries = entries.saturating_add(count);
            directory = self.long(reader)?;
        }
        Ok(())
    }

    fn entry_length(&self) -> u64 {
        if self.wide { 20 } else { 12 }
    }

    /// Where the values of `entry` are, if they are in the entry itself.
    pub fn inline(&self, entry: &Entry) -> Option<u64> {
        let (value, room) = if self.wide { (12, 8) } else { (8, 4) };
        (entry.length() <= room).then_some(entry.at + value)
    }

    /// The values of `entry`, which are whole numbers of 8, 16, 32 or 64 bits; at most `most` of them.
    pub fn values(&self, reader: &mut (impl Read + Seek), entry: &Entry, most: u64) -> io::Result<Vec<u64>> {
        go(reader, entry.at + if self.wide { 12 } else { 8 })?;
        if self.inline(entry).is_none() {
            let at = self.long(reader)?;
            go(reader, at)?;
        }
        let number = |reader: &mut _| match entry.kind {
            1 | 6 | 7 => self.number::<1>(reader),
            3 => self.number::<2>(reader),
            16..=18 => self.number::<8>(reader),
            _ => self.number::<4>(reader),
        };
        (0..entry.count.min(most)).map(|_| number(reader)).collect()
    }

    /// A number as the file has it.
    pub fn bytes<const N: usize>(&self, number: u64) -> [u8; N] {
        let mut bytes = std::array::from_fn(|i| (number >> (8 * i)) as u8);
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    /// Type, number of values and value of an entry with one value of 32 bits, or of 16 where that is enough.
    pub fn single(&self, value: u32) -> Vec<u8> {
        let short = value <= u16::MAX.into();
        let mut bytes = self.bytes::<2>(if short { 3 } else { 4 }).to_vec();
        bytes.extend(if self.wide { self.bytes::<8>(1).to_vec() } else { self.bytes::<4>(1).to_vec() });
        bytes.extend(if short { self.bytes::<2>(value.into()).to_vec() } else { self.bytes::<4>(value.into()).to_vec() });
        bytes
    }

    fn long(&self, reader: &mut impl Read) -> io::Result<u64> {
        if self.wide { self.number::<8>(reader) } else { self.number::<4>(reader) }
    }

    fn number<const N: usize>(&self, reader: &mut impl Read) -> io::Result<u64> {
        let mut bytes: [u8; N] = array(reader)?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Goes to a place, and keeps what a buffered reader has read where the place is near.
fn go(reader: &mut (impl Read + Seek), place: u64) -> io::Result<()> {
    let here = reader.stream_position()?;
    match place.checked_signed_diff(here) {
        Some(offset) => reader.seek_relative(offset),
        None => reader.seek(SeekFrom::Start(place)).map(drop),
    }
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
