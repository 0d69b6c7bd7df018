//! The picture itself: pixels, colours, and the PNG file.

pub(in crate::report) type Colour = [u8; 3];

/// Okabe and Ito's colours, which colour-blind readers can tell apart (black, for grey images, left out).
pub(in crate::report) const PALETTE: [Colour; 7] =
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];
/// Moreland's cool-warm map, by its ends and its middle.
pub(in crate::report) const DIVERGING: [Colour; 3] = [[59, 76, 192], [221, 221, 221], [180, 4, 38]];

/// -1 is the first colour, 0 the middle one, 1 the last.
pub(in crate::report) fn diverging(value: f32) -> Colour {
    let end = if value < 0.0 { DIVERGING[0] } else { DIVERGING[2] };
    // A map of zeros gives 0 / 0, and so the middle.
    let amount = if value.is_nan() { 0.0 } else { value.abs().min(1.0) };
    mix(DIVERGING[1], end, amount)
}

pub(in crate::report) fn mix(from: Colour, to: Colour, amount: f32) -> Colour {
    std::array::from_fn(|i| (f32::from(from[i]) + (f32::from(to[i]) - f32::from(from[i])) * amount).round() as u8)
}

/// 8-bit RGB, black at first.
#[derive(Debug)]
pub(in crate::report) struct Canvas {
    pub width: usize,
    pub height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * 3] }
    }

    /// All of `parts` below each other, aligned on the left.
    pub fn stacked(parts: &[Self]) -> Self {
        let mut all = Self::new(parts.iter().map(|part| part.width).max().unwrap_or(0), parts.iter().map(|part| part.height).sum());
        let mut rows = all.pixels.chunks_exact_mut((all.width * 3).max(1));
        for part in parts {
            for (row, source) in rows.by_ref().zip(part.pixels.chunks_exact(part.width * 3)) {
                row[..source.len()].copy_from_slice(source);
            }
        }
        all
    }

    pub fn set(&mut self, y: usize, x: usize, colour: Colour) {
        let start = (y * self.width + x) * 3;
        self.pixels[start..start + 3].copy_from_slice(&colour);
    }

    pub fn encode(&self, writer: &mut dyn std::io::Write) -> std::io::Result<()> {
        let too_large = |_| std::io::Error::other("the picture is too large for PNG");
        let (width, height) = (self.width.try_into().map_err(too_large)?, self.height.try_into().map_err(too_large)?);
        let mut encoder = png::Encoder::new(writer, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(())
    }

    #[cfg(test)]
    pub fn pixel(&self, y: usize, x: usize) -> Colour {
        let start = (y * self.width + x) * 3;
        [self.pixels[start], self.pixels[start + 1], self.pixels[start + 2]]
    }
}
