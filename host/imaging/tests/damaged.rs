//! Damaged and malicious files: none makes a panic, takes memory that its size does not justify, or is refused without its name.

use std::fs;
use std::path::{Path, PathBuf};

use imaging::io::{read_image, read_labels};

/// One golden file for each way through a reader.
const FILES: [&str; 23] = [
    "int16_scaled.nii",
    "int16_scaled.nii.gz",
    "int16.nrrd",
    "int16_compressed.nrrd",
    "encoding_ascii.nrrd",
    "encoding_hex.nrrd",
    "int16.mha",
    "int16_compressed.mha",
    "int16.gipl",
    "grey_16.png",
    "palette_bits_2.png",
    "palette.bmp",
    "rgb.bmp",
    "bits_1.bmp",
    "uint16.tif",
    "lzw.tiff",
    "packbits.tiff",
    "zlib.tiff",
    "float32_predictor.tif",
    "tiled.tif",
    "zstd.tif",
    "jpeg_ycbcr.tif",
    "fax4.tif",
];

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/io/files").join(name)).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        // Some file systems sync a file that is truncated and written anew, which takes milliseconds.
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Reads `bytes` both ways; what is refused is refused in one line that names the file.
    fn read(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let path = self.write(name, bytes);
        let message = |error: imaging::io::Error| {
            let message = error.to_string();
            assert!(message.contains(name) && !message.contains('\n'), "{message}");
            message
        };
        let _ = read_labels(&path).map_err(message);
        read_image(&path).map_err(message).err()
    }

    fn refusal(&self, name: &str, bytes: &[u8]) -> String {
        self.read(name, bytes).unwrap_or_else(|| panic!("{name} is read"))
    }
}

#[test]
fn no_cut_makes_a_panic_and_lost_voxels_are_noticed() {
    let folder = Folder::new();
    for name in FILES {
        let file = golden(name);
        for length in (0..file.len()).step_by(file.len().div_ceil(150)) {
            let refused = folder.read(name, &file[..length]).is_some();
            assert!(refused || length + 16 > file.len() || name.ends_with(".bmp"), "{length} of {} bytes of {name}", file.len());
        }
    }
}

#[test]
fn no_damaged_byte_makes_a_panic() {
    let folder = Folder::new();
    for name in FILES {
        let file = golden(name);
        for at in (0..file.len()).step_by(file.len().div_ceil(150)) {
            for value in [0x00, 0x20, 0x39, 0x7f, 0xff] {
                let mut bytes = file.clone();
                bytes[at] = value;
                folder.read(name, &bytes);
            }
        }
    }
}

#[test]
fn a_header_that_claims_more_than_its_file_holds_is_refused() {
    let folder = Folder::new();
    let replace = |name: &str, from: &str, to: &str| {
        let file = golden(name);
        let at = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
    };
    for (name, sizes, huge) in [
        ("int16.nrrd", "sizes: 4 3 2", ["sizes: 1048576 1048576 1048576", "sizes: 9999999999 9999999999 9999999999", "sizes: 4 3 3"]),
        ("int16_compressed.nrrd", "sizes: 4 3 2", ["sizes: 1048576 1048576 1048576", "sizes: 4 3 2000000", "sizes: 4 3 3"]),
        ("encoding_ascii.nrrd", "sizes: 4 3 2", ["sizes: 1048576 1048576 1048576", "sizes: 4 3 2000000", "sizes: 4 3 3"]),
        (
            "int16.mha",
            "DimSize = 4 3 2",
            ["DimSize = 1048576 1048576 1048576", "DimSize = 9999999999 9999999999 9999999999", "DimSize = 4 3 3"],
        ),
        ("int16_compressed.mha", "DimSize = 4 3 2", ["DimSize = 1048576 1048576 1048576", "DimSize = 4 3 2000000", "DimSize = 4 3 3"]),
    ] {
        for claim in huge {
            let message = folder.refusal(name, &replace(name, sizes, claim));
            assert!(message.contains("which need more") || message.contains("ends before its"), "{message}");
        }
    }
    let patched = |name: &str, at: usize, value: &[u8]| {
        let mut file = golden(name);
        file[at..at + value.len()].copy_from_slice(value);
        file
    };
    for (name, at, value) in [
        ("int16.gipl", 0, [0xff; 6].as_slice()),
        ("grey.bmp", 18, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]),
        ("rgb.bmp", 18, &[0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0]),
    ] {
        let message = folder.refusal(name, &patched(name, at, value));
        assert!(message.contains("which need more"), "{message}");
    }
}

#[test]
fn what_cannot_be_read_is_explained() {
    let folder = Folder::new();
    for (name, content, words) in [
        ("a.nrrd", "NRRD0004\ntype: block\nencoding: raw\ndimension: 2\nsizes: 2 2\n\n", "type 'block'"),
        ("a.nrrd", "NRRD0004\ntype: int\nencoding: bzip2\ndimension: 2\nsizes: 2 2\n\n", "encoding 'bzip2'"),
        ("a.nrrd", "NRRD0004\ntype: int\nencoding: raw\ndimension: 2\nsizes: 2 2\n\n", "'endian'"),
        ("a.nrrd", "NRRD0004\ntype: int\nencoding: raw\ndimension: 2\n\n", "'sizes'"),
        ("a.nrrd", "NRRD0004\nsomething\n\n", "'something'"),
        ("a.nrrd", "NRRD0006\n\n", "is not an NRRD file"),
        ("a.nrrd", "NRRD0004\ntype: uchar\nencoding: raw\ndimension: 2\nsizes: 2 2\ndata file: LIST\n\n", "several files"),
        ("a.nhdr", "NRRD0004\ntype: uchar\nencoding: raw\ndimension: 2\nsizes: 2 2\ndata file: %03d.raw 1 2 1\n", "several files"),
        ("a.nrrd", "NRRD0004\ntype: uchar\nencoding: ascii\ndimension: 2\nsizes: 2 2\n\n1 2 3 four", "'four'"),
        ("a.mha", "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR_ARRAY\nElementDataFile = LOCAL\n1234", "MET_UCHAR_ARRAY"),
        ("a.mha", "NDims = 3\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n1234", "3 dimensions"),
        ("a.mha", "NDims = 2\nBinaryData = False\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n1 2 3 4", "BinaryData"),
        ("a.mhd", "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = LIST\na.raw", "several files"),
        ("a.mha", "a text", "expected 'key = value'"),
        ("a.mha", "NDims = 2\n", "ElementDataFile"),
        ("a.png", "a text", "no PNG"),
        ("a.bmp", "a text", "ends before"),
        ("a.gipl", "a text", "256-byte header"),
        ("a.tif", "a text", "no TIFF"),
    ] {
        let message = folder.refusal(name, content.as_bytes());
        assert!(message.contains(words), "{message}");
    }
    let header = "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = absent.raw\n";
    let message = read_image(&folder.write("a.mhd", header.as_bytes())).unwrap_err().to_string();
    assert!(message.contains("absent.raw"), "{message}");
}

#[test]
fn headers_with_their_voxels_elsewhere() {
    let folder = Folder::new();
    folder.write("voxels.raw", b"head1234");
    for (name, header) in [
        ("a.nhdr", "NRRD0004\ntype: uchar\nencoding: raw\ndimension: 2\nsizes: 2 2\nbyte skip: 4\ndata file: voxels.raw\n"),
        ("b.nhdr", "NRRD0004\ntype: uchar\nencoding: raw\ndimension: 2\nsizes: 2 2\nbyte skip: -1\ndatafile: voxels.raw\n"),
        ("a.mhd", "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nHeaderSize = 4\nElementDataFile = voxels.raw\n"),
        ("b.mhd", "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nHeaderSize = -1\nElementDataFile = voxels.raw\n"),
    ] {
        let labels = read_labels(&folder.write(name, header.as_bytes())).unwrap();
        assert_eq!(labels.volume.data(), [49, 50, 51, 52], "{name}");
    }
}

/// Found by fuzzing: the decoder reads the first directory, and takes 32 bytes for each of its values, before it is told how long the file is.
#[test]
fn a_directory_that_claims_millions_of_values_is_refused() {
    const STRIP_BYTE_COUNTS: [u8; 8] = [0x17, 1, 4, 0, 1, 0, 0, 0];
    let mut file = golden("rgb.tif");
    let entry = file.windows(8).position(|window| window == STRIP_BYTE_COUNTS).unwrap();
    file[entry + 6] = 0x5a;
    let message = Folder::new().refusal("rgb.tif", &file);
    assert!(message.contains("a directory with values that need more"), "{message}");
}

/// A little endian TIFF of `pages` grey pages of 4 x 4 bytes, page `i` all `i + 1`; `change` may replace values of the entries of a page.
fn tiff(pages: usize, description: &str, change: impl Fn(usize, u16, u32) -> u32) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    for page in 0..pages {
        let entries: &[(u16, u16, u32, u32)] = &[
            (256, 4, 1, 4),
            (257, 4, 1, 4),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, description.len() as u32, 0),
            (273, 4, 1, 0),
            (277, 3, 1, 1),
            (278, 4, 1, 4),
            (279, 4, 1, 16),
        ];
        let after = file.len() as u32 + 2 + 12 * entries.len() as u32 + 4;
        let (text, pixels) = (after, after + description.len() as u32);
        file.extend((entries.len() as u16).to_le_bytes());
        for &(tag, kind, count, value) in entries {
            let value = match tag {
                270 => text,
                273 => pixels,
                _ => value,
            };
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            file.extend(change(page, tag, value).to_le_bytes());
        }
        file.extend(if page + 1 < pages { pixels + 16 } else { 0 }.to_le_bytes());
        file.extend(description.as_bytes());
        file.extend([page as u8 + 1; 16]);
    }
    file
}

#[test]
fn no_slice_of_a_stack_is_lost_without_a_word() {
    let folder = Folder::new();
    let text = "{\"shape\": [5, 4, 4]}\0";
    let image = read_image(&folder.write("whole.tif", &tiff(5, text, |_, _, value| value))).unwrap();
    assert_eq!(image.volume.shape(), [1, 5, 4, 4]);
    assert!(image.volume.data().chunks(16).enumerate().all(|(z, slice)| slice.iter().all(|value| *value == z as f32 + 1.0)));
    // A page without data, a compressed one, one whose colours are turned, one whose bits are, one of other bits, in the middle or at the end.
    for page in [1, 2, 4] {
        for (tag, value, words) in
            [(279, 0, "sparse"), (259, 34925, "LZMA"), (262, 0, "another way"), (266, 2, "FillOrder"), (258, 24, "24 bits")]
        {
            let spoilt = tiff(5, text, |at, found, old| if at == page && found == tag { value } else { old });
            // The one tag that is not there takes the place of another.
            let spoilt = if tag == 266 { replace_tag(&spoilt, page, 277, 266, 2) } else { spoilt };
            let message = read_image(&folder.write("spoilt.tif", &spoilt)).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains(&format!("page {}", page + 1)), "{words}: {message}");
        }
        // A page of another size is a preview.
        let preview = tiff(5, "\0", |at, found, old| if at == page && found == 256 { 2 } else { old });
        assert_eq!(read_image(&folder.write("preview.tif", &preview)).unwrap().volume.shape(), [1, 4, 4, 4]);
    }
    // Only the file's only page may stand for all that follow.
    let one = tiff(5, text, |at, tag, old| if at > 0 && tag == 256 { 2 } else { old });
    assert!(read_image(&folder.write("one.tif", &one)).unwrap_err().to_string().contains("describes 5 slices and has 1"));
}

/// Replaces an entry of the directory of `page` in what [`tiff`] made.
fn replace_tag(file: &[u8], page: usize, tag: u16, by: u16, value: u32) -> Vec<u8> {
    let mut file = file.to_vec();
    let places: Vec<usize> =
        (0..file.len() - 12).filter(|at| file[*at..at + 4] == [&tag.to_le_bytes()[..], &3u16.to_le_bytes()].concat()).collect();
    let at = places[page];
    file[at..at + 2].copy_from_slice(&by.to_le_bytes());
    file[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
    file
}

/// A little endian TIFF whose pages have these entries, of 32-bit numbers each, and `pixels` bytes of 1; offsets of strips and tiles count from
/// the first of these.
fn pages(pages: &[&[(u16, &[u32])]], pixels: usize) -> Vec<u8> {
    let lengths = pages.iter().map(|entries| 6 + entries.iter().map(|(_, values)| 12 + 4 * values.len()).sum::<usize>());
    let first = 8 + lengths.sum::<usize>() as u32;
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    for (number, entries) in pages.iter().enumerate() {
        file.extend((entries.len() as u16).to_le_bytes());
        let mut lists = file.len() + 12 * entries.len() + 4;
        let mut all = Vec::new();
        for (tag, values) in *entries {
            let begin = if matches!(tag, 273 | 324) { first } else { 0 };
            let values = values.iter().flat_map(|value| (value + begin).to_le_bytes()).collect::<Vec<u8>>();
            file.extend(tag.to_le_bytes());
            file.extend(4u16.to_le_bytes());
            file.extend((values.len() as u32 / 4).to_le_bytes());
            file.extend(if values.len() == 4 { values.clone() } else { (lists as u32).to_le_bytes().to_vec() });
            lists += values.len();
            all.extend(values);
        }
        file.extend(if number + 1 < pages.len() { lists as u32 } else { 0 }.to_le_bytes());
        file.extend(all);
    }
    file.resize(first as usize, 0);
    file.resize(first as usize + pixels, 1);
    file
}

#[test]
fn entries_that_stand_twice_or_not_at_all() {
    let folder = Folder::new();
    let offsets: [u32; 9] = std::array::from_fn(|i| i as u32 * 256);
    let tiles = |widths: &[u32]| {
        let mut entries: Vec<(u16, &[u32])> = widths.iter().map(|width| (256, std::slice::from_ref(width))).collect();
        let further: [(u16, &[u32]); 9] = [
            (257, &[45]),
            (258, &[8]),
            (259, &[1]),
            (262, &[1]),
            (277, &[1]),
            (322, &[16]),
            (323, &[16]),
            (324, &offsets),
            (325, &[256; 9]),
        ];
        entries.extend(further);
        pages(&[&entries], 9 * 256)
    };
    let image = read_image(&folder.write("tiles.tif", &tiles(&[37]))).unwrap();
    assert_eq!((image.volume.shape(), image.volume.data().iter().all(|value| *value == 1.0)), ([1, 1, 45, 37], true));
    // The last one counts.
    let twice = read_image(&folder.write("twice.tif", &tiles(&[1000, 37]))).unwrap();
    assert!(twice.volume.shape() == [1, 1, 45, 37] && twice.volume.data() == image.volume.data());
    assert!(read_image(&folder.write("twice.tif", &tiles(&[37, 1000]))).is_err());

    // Three values a pixel, and nothing that says of how many bits: of one.
    let entries: [(u16, &[u32]); 8] =
        [(256, &[16]), (257, &[4]), (259, &[1]), (262, &[2]), (273, &[0]), (277, &[3]), (278, &[4]), (279, &[24])];
    let message = read_image(&folder.write("bits.tif", &pages(&[&entries], 24))).unwrap_err().to_string();
    assert!(message.contains("1 bits a value"), "{message}");

    // The same values in strips and in tiles.
    let strips: [(u16, &[u32]); 9] =
        [(256, &[4]), (257, &[4]), (258, &[8]), (259, &[1]), (262, &[1]), (273, &[0]), (277, &[1]), (278, &[4]), (279, &[16])];
    let tile: [(u16, &[u32]); 10] = [
        (256, &[4]),
        (257, &[4]),
        (258, &[8]),
        (259, &[1]),
        (262, &[1]),
        (277, &[1]),
        (322, &[16]),
        (323, &[16]),
        (324, &[16]),
        (325, &[256]),
    ];
    let message = read_image(&folder.write("mixed.tif", &pages(&[&strips, &tile, &strips], 272))).unwrap_err().to_string();
    assert!(message.contains("page 2") && message.contains("another way"), "{message}");
}

#[test]
fn sizes_of_tiles_and_lists_of_strips_cannot_overflow() {
    let folder = Folder::new();
    // Height and width of 64 bits in a file with 64-bit offsets, in tiles of 16.
    let mut file = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec();
    let entries: [(u16, u16, u64); 10] = [
        (256, 16, u64::MAX),
        (257, 16, u64::MAX),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, 16),
        (323, 4, 16),
        (324, 16, 300),
        (325, 16, 16),
    ];
    file.extend((entries.len() as u64).to_le_bytes());
    for (tag, kind, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(0u64.to_le_bytes());
    file.resize(400, 0);
    assert!(read_image(&folder.write("tiles.tif", &file)).is_err());
    // A directory that claims as many entries as there are numbers.
    file[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(read_image(&folder.write("entries.tif", &file)).is_err());

    // Thousands of pages that share one list of strips: read once a page, they would take hours.
    let strips = 50_000u32;
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let pages = 3000;
    let list = 8 + pages * (2 + 12 * 9 + 4);
    for page in 0..pages {
        let entries: [(u16, u16, u32, u32); 9] = [
            (256, 4, 1, 1),
            (257, 4, 1, strips),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, strips, list),
            (277, 3, 1, 1),
            (278, 4, 1, 1),
            (279, 4, strips, list),
        ];
        file.extend(9u16.to_le_bytes());
        for (tag, kind, count, value) in entries {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file.extend(if page + 1 < pages { 8 + (page + 1) * (2 + 12 * 9 + 4) } else { 0 }.to_le_bytes());
    }
    file.extend((0..strips).flat_map(|_| 1u32.to_le_bytes()));
    let message = read_image(&folder.write("shared.tif", &file)).unwrap_err().to_string();
    assert!(message.contains("share their pixels"), "{message}");
}
