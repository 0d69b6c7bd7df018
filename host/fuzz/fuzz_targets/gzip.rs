#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

// The first byte says where the rest is cut: what comes before is packed, in two members, and what comes after follows as it is.
fuzz_target!(|bytes: &[u8]| {
    host_fuzz::image::read(".nii.gz", bytes);
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (packed, rest) = bytes.split_at(bytes.len() * usize::from(*cut) / 256);
    let mut file = Vec::new();
    for part in packed.chunks(packed.len().div_ceil(2).max(1)) {
        let mut member = GzEncoder::new(&mut file, Compression::fast());
        member.write_all(part).expect("memory");
        member.finish().expect("memory");
    }
    file.extend_from_slice(rest);
    host_fuzz::image::read(".nii.gz", &file);
    host_fuzz::image::read(".nrrd", &file);
});
