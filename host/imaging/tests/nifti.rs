//! NIfTI files in and out: numbers of every type, geometry, damaged files, and a real case.

use std::fs;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{Error, Geometry, read_image, read_labels, write_image, write_labels};

/// A header for a volume of 3 x 2 x 2 voxels (x, y, z), with some geometry.
fn header(datatype: i16, big_endian: bool) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
        if big_endian {
            bytes[at..at + value.len()].reverse();
        }
    };
    put(0, &348i32.to_le_bytes());
    for (i, size) in [3i16, 3, 2, 2, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &size.to_le_bytes());
    }
    put(70, &datatype.to_le_bytes());
    for (i, size) in [-1f32, 0.5, 0.75, 2.5].into_iter().enumerate() {
        put(76 + 4 * i, &size.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(252, &1i16.to_le_bytes()); // qform_code
    put(256, &0.6f32.to_le_bytes()); // quatern_b
    put(268, &(-12.5f32).to_le_bytes()); // quatern_x
    bytes[148..153].copy_from_slice(b"hello"); // descrip
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    // Some file systems sync a file that is truncated and written anew, which takes milliseconds.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    path
}

/// Where a header says its own length, spacing, codes, quaternion and matrix, and that it is one.
const GEOMETRY: [std::ops::Range<usize>; 4] = [0..4, 76..92, 252..328, 344..348];

/// A file of 12 signed 16-bit voxels, 0 to 11.
fn small_file() -> Vec<u8> {
    let mut bytes = header(4, false);
    bytes.extend((0..12i16).flat_map(i16::to_le_bytes));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_type_in_both_byte_orders() {
    let folder = tempfile::tempdir().unwrap();
    macro_rules! check {
        ($($code:literal $type:ty),*) => {$(
            for big_endian in [false, true] {
                let mut bytes = header($code, big_endian);
                for i in 0..12 {
                    let value = (i * 10) as $type;
                    bytes.extend(if big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
                }
                let path = write(&folder, "typed.nii", &bytes);
                let image = read_image(&path).unwrap();
                assert_eq!(image.volume.shape(), [1, 2, 2, 3]);
                assert_eq!(image.geometry.spacing(), [2.5, 0.75, 0.5]);
                assert!(image.volume.data().iter().enumerate().all(|(i, &value)| value == 10.0 * i as f32), "{}", stringify!($type));
                assert_eq!(read_labels(&path).unwrap().volume.data()[11], 110);

                // Written back, geometry is the same, in the same byte order.
                let copy = folder.path().join("copy.nii");
                write_image(&copy, &image.volume, &image.geometry).unwrap();
                let copied = fs::read(&copy).unwrap();
                for unchanged in GEOMETRY {
                    assert_eq!(copied[unchanged.clone()], bytes[unchanged]);
                }
                assert_eq!(read_image(&copy).unwrap().volume, image.volume);
            }
        )*};
    }
    check!(2 u8, 256 i8, 512 u16, 4 i16, 768 u32, 8 i32, 1280 u64, 1024 i64, 16 f32, 64 f64);
}

#[test]
fn slope_and_intercept_are_applied_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = small_file();
    put(&mut bytes, 112, &0.5f32.to_le_bytes());
    put(&mut bytes, 116, &(-1f32).to_le_bytes());
    let path = write(&folder, "scaled.nii", &bytes);
    let image = read_image(&path).unwrap();
    assert_eq!(image.volume.data()[..4], [-1.0, -0.5, 0.0, 0.5]);
    assert!(matches!(read_labels(&path), Err(Error::NotALabel { value: -0.5, .. })));

    let copy = folder.path().join("copy.nii.gz");
    write_image(&copy, &image.volume, &image.geometry).unwrap();
    assert_eq!(read_image(&copy).unwrap().volume, image.volume);
}

#[test]
fn the_fourth_dimension_is_channels_and_two_dimensions_are_one_slice() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = small_file();
    put(&mut bytes, 40, &[4i16, 3, 2, 1, 2].map(i16::to_le_bytes).concat());
    let path = write(&folder, "4d.nii", &bytes);
    let image = read_image(&path).unwrap();
    assert_eq!(image.volume.shape(), [2, 1, 2, 3]);
    assert!(matches!(read_labels(&path), Err(Error::LabelChannels { channels: 2, .. })));
    let labels = Volume::filled([1, 1, 2, 3], 1);
    write_labels(&path, &labels, &image.geometry).unwrap();
    assert_eq!(read_labels(&path).unwrap().volume, labels);

    let mut bytes = small_file();
    put(&mut bytes, 40, &[2i16, 3, 4].map(i16::to_le_bytes).concat());
    let path = write(&folder, "2d.nii", &bytes);
    let image = read_image(&path).unwrap();
    assert_eq!(image.volume.shape(), [1, 1, 4, 3]);
    assert_eq!(image.geometry.spacing(), [999.0 * 0.75, 0.75, 0.5]);
    write_image(&path, &image.volume, &image.geometry).unwrap();
    assert_eq!(fs::read(&path).unwrap()[40], 2);
}

#[test]
fn labels_take_the_smallest_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.nii");
    for (value, datatype) in [(254, 2), (255, 512), (32767, 512), (-1, 4)] {
        let labels = Volume::new([1, 1, 1, 2], vec![0, value]);
        write_labels(&path, &labels, &Geometry::with_spacing([1.0; 3])).unwrap();
        assert_eq!(fs::read(&path).unwrap()[70..72], i16::to_le_bytes(datatype));
        assert_eq!(read_labels(&path).unwrap().volume, labels);
    }
    // One voxel too long for NIfTI-1.
    let mut wide = Volume::filled([1, 1, 1, 32768], 0);
    wide.data_mut()[32767] = 3;
    write_labels(&path, &wide, &Geometry::with_spacing([1.5, 2.0, 2.5])).unwrap();
    assert_eq!(fs::read(&path).unwrap()[..8], [28, 2, 0, 0, b'n', b'+', b'2', 0]);
    let copy = read_labels(&path).unwrap();
    assert_eq!((copy.volume, copy.geometry.spacing()), (wide, [1.5, 2.0, 2.5]));
}

/// What reading `bytes` says, which must be one line that names the file.
fn refusal(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let message = read_image(&write(folder, name, bytes)).unwrap_err().to_string();
    assert!(message.contains(name) && !message.contains('\n'), "{message}");
    message
}

#[test]
fn what_is_not_nifti_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let expect = |name: &str, bytes: &[u8], words: &str| {
        let message = refusal(&folder, name, bytes);
        assert!(message.contains(words), "{message}");
    };
    expect("empty.nii", b"", "ends before its header does");
    expect("text.nii.gz", &[b'x'; 1000], "is not a NIfTI file");
    expect("image.dcm", &small_file(), "none of the known file endings");
    expect("garbage.nii.gz", &[b"\x1f\x8b\x08\0".as_slice(), &[7; 500]].concat(), "cannot read");
    expect("short.nii", &small_file()[..375], "is 375 bytes long");

    let mut bytes = small_file();
    put(&mut bytes, 70, &128i16.to_le_bytes());
    expect("colours.nii", &bytes, "data type 128");
    let mut bytes = small_file();
    put(&mut bytes, 42, &(-2i16).to_le_bytes());
    expect("negative.nii", &bytes, "claims the dimensions");

    // 2 GB that a file of some hundred bytes cannot hold, and more than there are addresses.
    let mut bytes = small_file();
    put(&mut bytes, 42, &[1000i16; 3].map(i16::to_le_bytes).concat());
    expect("bomb.nii", &bytes, "which need more");
    expect("bomb.nii.gz", &gzip(&bytes), "which need more");
    put(&mut bytes, 40, &[7i16, 32767, 32767, 32767, 32767, 32767, 32767, 32767].map(i16::to_le_bytes).concat());
    expect("huge.nii.gz", &gzip(&bytes), "which need more");

    let packed = gzip(&small_file());
    expect("cut.nii.gz", &packed[..packed.len() - 12], "cannot read");
    let mut damaged = packed.clone();
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    expect("damaged.nii.gz", &damaged, "cannot read");
    assert!(read_image(&folder.path().join("absent.nii")).unwrap_err().to_string().contains("absent.nii"));
}

#[test]
fn labels_are_judged_as_32_bits_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    let scaled = |slope: f32, intercept: f32, stored: [u16; 3]| {
        let mut bytes = header(512, false);
        put(&mut bytes, 112, &slope.to_le_bytes());
        put(&mut bytes, 116, &intercept.to_le_bytes());
        bytes.extend(stored.repeat(4).into_iter().flat_map(u16::to_le_bytes));
        bytes
    };
    // As nibabel saves what was read as real numbers: the stored integers fill the type, and no slope of 32 bits makes 1 of 255 exactly.
    for (slope, intercept, stored) in [(1.0 / 255.0, 0.0, [0, 255, 510]), (1.0 / 21845.0, 0.0, [0, 21845, 43690]), (1.0, 1e-46, [0, 1, 2])]
    {
        for name in ["a.nii", "a.nii.gz"] {
            let labels = read_labels(&write(&folder, name, &scaled(slope, intercept, stored))).map(|map| map.volume.into_data());
            assert!(labels.as_ref().is_ok_and(|labels| labels[..2] == [0, 1]), "{slope} {intercept}: {labels:?}");
        }
    }
    for (slope, intercept) in [(1.000001, 0.0), (0.5, 0.0), (1.0, 1e-3)] {
        let message = read_labels(&write(&folder, "a.nii.gz", &scaled(slope, intercept, [0, 1, 2]))).unwrap_err().to_string();
        assert!(
            message.contains(&format!("(scl_slope {}", f64::from(slope))) && message.contains("save the label map as integers"),
            "{message}"
        );
    }
    let reals = |values: [f64; 12]| [header(64, false), values.map(f64::to_le_bytes).concat()].concat();
    let mut values = [1.0; 12];
    values[3] = 2.000_000_000_1;
    assert_eq!(read_labels(&write(&folder, "a.nii", &reals(values))).unwrap().volume.data()[3], 2);
    values[3] = 2.0001;
    let message = read_labels(&write(&folder, "a.nii", &reals(values))).unwrap_err().to_string();
    assert!(message.contains("2.0001") && message.contains("was an image given"), "{message}");
}

#[test]
fn bytes_after_the_last_gzip_member_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let packed = gzip(&small_file());
    let halves = [gzip(&small_file()[..360]), gzip(&small_file()[360..])].concat();
    for rest in [&b"\n"[..], &[0; 512], &[0; 3], b"garbage!", &[0x1f]] {
        for whole in [&packed, &halves] {
            let image = read_image(&write(&folder, "a.nii.gz", &[whole, rest].concat())).unwrap();
            assert_eq!(image.volume.data()[11], 11.0);
        }
    }
    // The second member is cut off.
    refusal(&folder, "a.nii.gz", &halves[..halves.len() - 9]);
}

#[test]
fn no_damaged_byte_makes_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = small_file();
    for at in 0..348 {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = file.clone();
            bytes[at] = value;
            let path = write(&folder, "flipped.nii", &bytes);
            if let Ok(image) = read_image(&path) {
                assert!(image.geometry.spacing().iter().all(|size| *size > 0.0));
            }
            let _ = read_labels(&path);
        }
    }
    for length in 0..file.len() {
        refusal(&folder, "cut.nii", &file[..length]);
    }
}

/// `cargo test -p imaging --test nifti -- --ignored` runs it.
#[test]
#[ignore = "needs shared/data/Dataset004_Hippocampus beside the clone"]
fn a_real_case_keeps_its_geometry() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/Dataset004_Hippocampus");
    assert!(data.is_dir(), "{} is no folder: put nnU-Net's Dataset004_Hippocampus, with imagesTr and labelsTr, there", data.display());
    let first = |folder: &str| {
        let mut files: Vec<PathBuf> = fs::read_dir(data.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.to_string_lossy().ends_with(".nii.gz"));
        files.sort();
        files.swap_remove(0)
    };
    let image = read_image(&first("imagesTr")).unwrap();
    let labels_path = first("labelsTr");
    let labels = read_labels(&labels_path).unwrap();
    assert_eq!(image.volume.spatial(), labels.volume.spatial());
    assert_eq!(image.geometry.differs_from(&labels.geometry), None);
    let mut values = labels.volume.data().to_vec();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values, [0, 1, 2]);

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.nii.gz");
    write_labels(&copy, &labels.volume, &image.geometry).unwrap();
    let copied = read_labels(&copy).unwrap();
    assert_eq!(copied.volume, labels.volume);
    assert_eq!(copied.geometry.differs_from(&image.geometry), None);

    let header = |path: &Path| {
        use std::io::Read;
        let mut bytes = vec![0; 348];
        flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_exact(&mut bytes).unwrap();
        bytes
    };
    let (source, written) = (header(&first("imagesTr")), header(&copy));
    for unchanged in GEOMETRY {
        assert_eq!(source[unchanged.clone()], written[unchanged]);
    }
    // The unit of space, without that of time.
    assert_eq!(written[123], source[123] & 7);
    // Whatever else it says is left out: it may name the patient.
    for left_out in [4..40, 56..70, 92..108, 120..123, 124..252, 328..344] {
        assert!(written[left_out].iter().all(|byte| *byte == 0));
    }
}
