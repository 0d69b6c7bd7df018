//! What is to be seen on the pictures that the program draws.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Width and height of a PNG file, which must have something drawn on it: pixels of more than one colour.
pub fn expect_drawn(path: &Path) -> (u32, u32) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut samples = vec![0; reader.output_buffer_size().expect("a picture that fits into memory")];
    let frame = reader.next_frame(&mut samples).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let pixel = frame.color_type.samples() * frame.bit_depth as usize / 8;
    assert!(pixel > 0, "{}: pixels of less than a byte", path.display());
    let mut pixels = samples[..frame.buffer_size()].chunks_exact(pixel);
    let first = pixels.next().unwrap_or_else(|| panic!("{}: no pixels", path.display()));
    assert!(pixels.any(|other| other != first), "{}: all pixels are {first:?}", path.display());
    (frame.width, frame.height)
}
