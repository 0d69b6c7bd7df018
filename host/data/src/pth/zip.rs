//! The ZIP file: which entries there are, and where their bytes lie. Names are compared, never used as paths.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rawzip::{CompressionMethod, Crc32, ErrorKind, FileReader, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive};

use super::error::{Problem, excerpt, unexpected};

/// Most entries; a file has one for every storage.
const MAX_ENTRIES: u64 = 1 << 16;
/// Longest name of an entry; torch's are `archive/data/17`, where `archive` is the file's name.
const MAX_NAME: usize = 512;
/// How files of PyTorch before 1.6 begin: a pickle (protocol 2) of a magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19";
const PICKLE: &str = "/data.pkl";
/// Bytes that are read at once for a checksum.
const BLOCK: u64 = 1 << 18;

/// An open ZIP file.
#[derive(Debug)]
pub(super) struct Archive {
    reader: FileReader,
    size: u64,
    /// The folder that everything lies in.
    prefix: String,
    entries: HashMap<String, Entry>,
    /// An entry that cannot be read as it is.
    compressed: Option<String>,
}

/// A file in the ZIP file.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    range: Range<u64>,
    crc: u32,
    verified: AtomicBool,
}

impl Entry {
    /// Its bytes.
    pub(super) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Archive {
    /// Reads the directory.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let mut file = imaging::io::open_file(path)?;
        let size = file.metadata()?.len();
        let mut start = Vec::new();
        (&mut file).take(LEGACY.len() as u64).read_to_end(&mut start)?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file, &mut buffer).map_err(|error| not_a_zip(error, &start))?;
        let (mut entries, mut compressed) = (HashMap::new(), None);
        let mut directory = zip.entries(&mut buffer);
        while let Some(entry) = directory.next_entry().map_err(broken)? {
            if entries.len() as u64 >= MAX_ENTRIES {
                return Err(Problem::TooLarge { what: "the entries of its ZIP file", limit: MAX_ENTRIES });
            }
            let path = entry.file_path();
            let name = str::from_utf8(path.as_ref()).map_err(|_| unexpected("an entry whose name is not text", "names in UTF-8"))?;
            let odd = name.strip_suffix('/').unwrap_or(name).split('/').any(|part| part == ".." || part.is_empty());
            if odd || name.len() > MAX_NAME || name.contains(['\\', '\0']) {
                return Err(unexpected(format!("the entry \"{}\"", excerpt(name)), "names such as \"archive/data/0\""));
            }
            let name = name.to_owned();
            if entry.compression_method() != CompressionMethod::STORE || entry.flags().is_encrypted() {
                compressed = compressed.or_else(|| Some(name.clone()));
            }
            let (crc, full) = (entry.crc32(), entry.uncompressed_size_hint());
            let (start, end) = zip.get_entry(entry.wayfinder()).map_err(broken)?.compressed_data_range();
            if start > end || end > size || compressed.is_none() && full != end - start {
                return Err(unexpected(format!("{name:?}, {full} bytes, beyond the end"), format!("all of it within {size} bytes")));
            }
            let entry = Entry { name: name.clone(), range: start..end, crc, verified: AtomicBool::new(false) };
            if let Some(twice) = entries.insert(name, entry) {
                return Err(unexpected(format!("{:?} twice", twice.name), "every entry once"));
            }
        }
        if entries.len() as u64 != zip.entries_hint() {
            return Err(unexpected(format!("{} entries", entries.len()), format!("{}, as its end says", zip.entries_hint())));
        }
        let mut prefixes = entries.keys().filter_map(|name| name.strip_suffix(PICKLE)).filter(|prefix| !prefix.contains('/'));
        let (prefix, more) = (prefixes.next().map(str::to_owned), prefixes.count());
        let prefix = prefix.filter(|_| more == 0);
        let prefix =
            prefix.ok_or_else(|| unexpected("a ZIP file without data.pkl, or with several", "a file of torch.save, which has one"))?;
        Ok(Self { reader: zip.into_inner(), size, prefix, entries, compressed })
    }

    /// Refuses what `torch.save` never writes.
    pub(super) fn expect_uncompressed(&self) -> Result<(), Problem> {
        match &self.compressed {
            Some(name) => Err(unexpected(format!("{name:?} compressed or encrypted"), "entries as they are, as torch.save writes them")),
            None => Ok(()),
        }
    }

    /// The file's bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether there is such an entry.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// An entry by its name within the prefix.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(&format!("{}/{name}", self.prefix))
    }

    /// A tensor's numbers.
    pub(super) fn storage(&self, key: &str) -> Option<&Entry> {
        self.entry(&format!("data/{key}"))
    }

    /// A part of an entry, whose checksum is checked at the first time.
    pub(super) fn read(&self, entry: &Entry, part: Range<u64>) -> Result<Vec<u8>, Problem> {
        let Range { start, end } = entry.range;
        let length = part.end.checked_sub(part.start).filter(|_| part.end <= end - start).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| unexpected(format!("{} bytes", end - start), format!("{part:?} of {:?}", entry.name)))?;
        if !entry.verified.load(Ordering::Relaxed) {
            self.verify(entry)?;
            entry.verified.store(true, Ordering::Relaxed);
        }
        let mut bytes = vec![0; length];
        self.reader.read_exact_at(&mut bytes, start + part.start)?;
        Ok(bytes)
    }

    fn verify(&self, entry: &Entry) -> Result<(), Problem> {
        let Range { start, end } = entry.range;
        let mut crc = Crc32::new();
        let mut block = vec![0; BLOCK.min(end - start) as usize];
        let mut position = start;
        while position < end {
            let length = BLOCK.min(end - position) as usize;
            self.reader.read_exact_at(&mut block[..length], position)?;
            crc.update(&block[..length]);
            position += length as u64;
        }
        if crc.checksum() == entry.crc { Ok(()) } else { Err(Problem::Checksum { entry: format!("{:?}", entry.name) }) }
    }
}

fn not_a_zip(error: rawzip::Error, start: &[u8]) -> Problem {
    match error.kind() {
        ErrorKind::IO(_) => broken(error),
        _ if start == LEGACY => Problem::Legacy,
        _ if start.starts_with(b"PK\x03\x04") => unexpected("a ZIP file without its end", "a whole one"),
        _ => unexpected("no ZIP file", "a file of torch.save"),
    }
}

fn broken(error: rawzip::Error) -> Problem {
    match error.into_kind() {
        ErrorKind::IO(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => Problem::Read(cause),
        kind => unexpected(format!("a damaged ZIP file ({})", rawzip::Error::from(kind)), "a whole one"),
    }
}
