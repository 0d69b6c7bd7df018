//! Planes through a volume, and how image, labels and values are painted on them.

use imaging::Volume;

use crate::kinds::Drawn;

use super::canvas::{Canvas, PALETTE, diverging, mix};

/// What is drawn over the image. Only the first channel is.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// Label values; 0 and negative ones stay clear.
    Labels(&'a Volume<i16>),
    /// Values around zero, such as signed distances.
    Values(&'a Volume<f32>),
}

impl<'a> From<&'a Drawn> for Layer<'a> {
    fn from(drawn: &'a Drawn) -> Self {
        match drawn {
            Drawn::Labels(labels) => Self::Labels(labels),
            Drawn::Values(values) => Self::Values(values),
        }
    }
}

impl Layer<'_> {
    pub(super) fn spatial(self) -> [usize; 3] {
        match self {
            Self::Labels(labels) => labels.spatial(),
            Self::Values(values) => values.spatial(),
        }
    }

    /// The absolute value that gets the full colour.
    pub(super) fn limit(self) -> f32 {
        match self {
            Self::Labels(_) => 0.0,
            Self::Values(values) => {
                let magnitudes: Vec<f32> = values.channel(0).iter().map(|value| value.abs()).collect();
                Window::of(&magnitudes).high
            }
        }
    }
}

/// One plane: how its pixels lie in the volume, and its size in pixels.
pub(super) struct Plane {
    pub height: usize,
    pub width: usize,
    /// Number of voxels downwards and to the right.
    voxels: [usize; 2],
    /// Steps in the flat volume, downwards and to the right.
    strides: [usize; 2],
    /// Whether the first voxel is at the bottom.
    upwards: bool,
    /// Flat position of the plane's first voxel.
    origin: usize,
}

impl Plane {
    /// Axial, coronal and sagittal through the voxel `centre`; 2D images have the first only. The longest side gets `longest_side` pixels.
    pub fn through(spatial: [usize; 3], spacing: [f64; 3], centre: [usize; 3], longest_side: f64) -> Vec<Self> {
        let strides = [spatial[1] * spatial[2], spatial[2], 1];
        // (axis downwards, axis to the right, axis through)
        let axial = (1, 2, 0);
        let planes = if spatial[0] == 1 { vec![axial] } else { vec![axial, (0, 2, 1), (0, 1, 2)] };
        let size = |axis: usize| spatial[axis] as f64 * spacing[axis];
        let longest = planes.iter().map(|(down, right, _)| size(*down).max(size(*right))).fold(f64::MIN_POSITIVE, f64::max);
        let pixels = |axis: usize| ((size(axis) / longest * longest_side).round() as usize).max(1);
        let plane = |(down, right, through): (usize, usize, usize)| Self {
            height: pixels(down),
            width: pixels(right),
            voxels: [spatial[down], spatial[right]],
            strides: [strides[down], strides[right]],
            upwards: down == 0,
            origin: centre[through].min(spatial[through].saturating_sub(1)) * strides[through],
        };
        planes.into_iter().map(plane).collect()
    }

    /// Shows slice `slice` of a volume whose slices have `voxels` voxels, instead of the first.
    pub fn move_to_slice(&mut self, slice: usize, voxels: usize) {
        self.origin = slice * voxels;
    }

    /// Flat position of the voxel under a pixel (nearest neighbour).
    fn position(&self, y: usize, x: usize) -> usize {
        let mut down = y * self.voxels[0] / self.height;
        if self.upwards {
            down = self.voxels[0] - 1 - down;
        }
        self.origin + down * self.strides[0] + x * self.voxels[1] / self.width * self.strides[1]
    }

    /// Paints the plane with its upper left corner at `top`, `left`: `image` in grey, and `layer` over it. Without an image labels are
    /// painted on black. Values up to `limit` get the full colour, and cover the image as much as
    /// `opacity` says.
    pub fn paint(
        &self,
        canvas: &mut Canvas,
        [top, left]: [usize; 2],
        image: Option<(&[f32], &Window)>,
        layer: Option<Layer>,
        [limit, opacity]: [f32; 2],
    ) {
        for y in 0..self.height {
            for x in 0..self.width {
                let position = self.position(y, x);
                let background = image.map_or([0; 3], |(image, grey)| [grey.byte(image[position]); 3]);
                let colour = match layer {
                    None => background,
                    Some(Layer::Values(values)) => mix(background, diverging(values.channel(0)[position] / limit), opacity),
                    Some(Layer::Labels(labels)) => {
                        let labels = labels.channel(0);
                        let label = labels[position];
                        let differs = |y: usize, x: usize| labels[self.position(y, x)] != label;
                        let outline = differs(y.saturating_sub(1), x)
                            || differs((y + 1).min(self.height - 1), x)
                            || differs(y, x.saturating_sub(1))
                            || differs(y, (x + 1).min(self.width - 1));
                        match usize::try_from(label) {
                            Ok(label @ 1..) => {
                                mix(background, PALETTE[(label - 1) % PALETTE.len()], if outline || image.is_none() { 1.0 } else { 0.3 })
                            }
                            _ => background,
                        }
                    }
                };
                canvas.set(top + y, left + x, colour);
            }
        }
    }
}

/// Grey values between the 0.5 and 99.5 percentiles.
pub(super) struct Window {
    low: f32,
    pub high: f32,
}

impl Window {
    pub fn of(values: &[f32]) -> Self {
        let mut values: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let mut percentile = |fraction: f64| {
            let place = (fraction * values.len().saturating_sub(1) as f64).round() as usize;
            if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(place, f32::total_cmp).1 }
        };
        Self { low: percentile(0.005), high: percentile(0.995) }
    }

    fn byte(&self, value: f32) -> u8 {
        // A flat image gives 0 / 0, which the cast makes black.
        ((value - self.low) / (self.high - self.low) * 255.0).clamp(0.0, 255.0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_square_in_mm_and_the_longest_side_is_enlarged() {
        let planes = Plane::through([10, 40, 20], [2.0, 1.0, 1.0], [0, 0, 0], 320.0);
        let sizes: Vec<_> = planes.iter().map(|plane| (plane.height, plane.width)).collect();
        assert_eq!(sizes, [(320, 160), (160, 160), (160, 320)]);
        assert_eq!(Plane::through([1, 8, 8], [999.0, 1.0, 1.0], [0, 0, 0], 320.0).len(), 1, "2D has one plane");
    }

    #[test]
    fn coronal_and_sagittal_planes_have_z_upwards() {
        let planes = Plane::through([2, 2, 2], [1.0; 3], [1, 0, 1], 320.0);
        // Top left pixel: axial (z, y, x) = (1, 0, 0), coronal (1, 0, 0), sagittal (1, 0, 1).
        let corners: Vec<_> = planes.iter().map(|plane| plane.position(0, 0)).collect();
        assert_eq!(corners, [4, 4, 5]);
        assert_eq!(planes[1].position(319, 0), 0);
    }
}
