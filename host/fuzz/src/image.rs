//! What all image targets do: a file with the fuzzer's bytes is read as an image and as a label map, along the very path that a user's file takes,
//! by the reader that is found for it and by all others.
//!
//! Whatever the bytes are, the readers give a volume or an error of one line that names the file. Panics and memory beyond the fuzzer's
//! limit are findings.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use imaging::io::{Error, Reader, read_image, read_labels};

use crate::scratch;

/// NIfTI, packed or not.
pub fn nifti(bytes: &[u8]) {
    read(".nii", bytes);
    read(".nii.gz", bytes);
}

/// The first byte says where the rest is cut: what comes before is packed, in two members, and what comes after follows as it is.
pub fn gzip(bytes: &[u8]) {
    read(".nii.gz", bytes);
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (packed, rest) = bytes.split_at(bytes.len() * usize::from(*cut) / 256);
    let mut file = Vec::new();
    for part in packed.chunks(packed.len().div_ceil(2).max(1)) {
        let mut member = GzEncoder::new(&mut file, Compression::fast());
        member.write_all(part).expect("memory");
        member.finish().expect("memory");
    }
    file.extend_from_slice(rest);
    read(".nii.gz", &file);
    read(".nrrd", &file);
}

/// NRRD with its voxels in the same file.
pub fn nrrd(bytes: &[u8]) {
    read(".nrrd", bytes);
}

/// MetaImage with its voxels in the same file.
pub fn metaimage(bytes: &[u8]) {
    read(".mha", bytes);
}

/// GIPL.
pub fn gipl(bytes: &[u8]) {
    read(".gipl", bytes);
}

/// PNG.
pub fn png(bytes: &[u8]) {
    read(".png", bytes);
}

/// BMP.
pub fn bmp(bytes: &[u8]) {
    read(".bmp", bytes);
}

/// TIFF, which is read in another way by another ending.
pub fn tiff(bytes: &[u8]) {
    read(".tif", bytes);
    read(".tiff", bytes);
}

/// Reads `bytes` from a file with `ending`.
fn read(ending: &str, bytes: &[u8]) {
    let path = scratch(ending);
    fs::write(&path, bytes).expect("the folder can be written to");
    let images = Reader::ALL.map(|reader| reader.read_image(&path));
    for image in images.iter().flatten() {
        assert!(!image.volume.data().is_empty());
        assert_eq!(image.volume.data().len(), image.volume.shape().iter().product::<usize>());
        assert!(image.geometry.spacing().iter().all(|size| *size > 0.0 && size.is_finite()), "{:?}", image.geometry);
        assert!(image.geometry.origin().iter().all(|value| value.is_finite()), "{:?}", image.geometry);
    }
    let labels = Reader::ALL.into_iter().filter_map(|reader| reader.read_labels(&path).err());
    let others = [read_image(&path).err(), read_labels(&path).err()].into_iter().flatten();
    for error in images.into_iter().filter_map(Result::err).chain(labels).chain(others) {
        // The two errors that mean something else than a bad file.
        assert!(!matches!(error, Error::UnknownEnding { .. } | Error::Write { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("host-fuzz-") && !message.contains('\n'), "{message}");
    }
    let _ = fs::remove_file(&path);
}
