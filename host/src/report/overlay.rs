//! A picture of one predicted case: three planes through one voxel, prediction on the left, reference on the right.
//!
//! Every output is one row. A label map is drawn over the grey image, filled lightly and outlined; a map of values is
//! shown in colours of its own, blue below zero and red above. Planes are axial, coronal and sagittal in array order, with
//! z upwards; pixels are square in mm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::Volume;

/// Longest side of a plane in pixels.
const PLANE: f64 = 320.0;
/// Between two planes, and between prediction and reference.
const GAPS: [usize; 2] = [4, 16];
/// Okabe and Ito's colours, which colour-blind readers can tell apart (black, for grey images, left out).
const PALETTE: [Colour; 7] = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];
/// Moreland's cool-warm map, by its ends and its middle.
const DIVERGING: [Colour; 3] = [[59, 76, 192], [221, 221, 221], [180, 4, 38]];

type Colour = [u8; 3];

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer does not lie on the image's voxels.
    #[error("{path}: cannot draw a map of shape (z y x) {found:?} over an image of shape {expected:?}: both must lie on the same voxels", path = .path.display())]
    Shape {
        /// The picture.
        path: PathBuf,
        /// Shape of the layer.
        found: [usize; 3],
        /// Shape of the image.
        expected: [usize; 3],
    },
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

/// What is drawn over the image. Only the first channel is.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// Label values; 0 and negative ones stay clear.
    Labels(&'a Volume<i16>),
    /// Values around zero, such as signed distances.
    Values(&'a Volume<f32>),
}

/// One output of the case.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Drawn on the left.
    pub prediction: Layer<'a>,
    /// Drawn on the right, where there is one.
    pub reference: Option<Layer<'a>>,
}

impl<'a> Row<'a> {
    fn layers(&self) -> impl Iterator<Item = Layer<'a>> {
        [Some(self.prediction), self.reference].into_iter().flatten()
    }
}

/// Draws `rows` over the first channel of `image` and writes a PNG. `spacing` is (z, y, x) in mm; the planes go through the
/// voxel `centre` (z, y, x). 2D images have one plane.
///
/// # Errors
/// When a layer differs from the image in shape, or the file cannot be written.
pub fn write(path: &Path, image: &Volume<f32>, spacing: [f64; 3], centre: [usize; 3], rows: &[Row]) -> Result<(), Error> {
    for found in rows.iter().flat_map(Row::layers).map(|layer| layer.spatial()) {
        if found != image.spatial() {
            return Err(Error::Shape { path: path.to_owned(), found, expected: image.spatial() });
        }
    }
    let canvas = draw(image, spacing, centre, rows);
    imaging::io::write_atomically(path, |writer| canvas.encode(writer))?;
    Ok(())
}

/// Where most is to be seen: along every axis the slice that shows most of the labels above 0, each counted as the square
/// root of the share of it that the slice shows, so that two small pieces are worth more than one large one. The middle
/// where there is no label.
pub fn best_planes(labels: &Volume<i16>) -> [usize; 3] {
    let spatial = labels.spatial();
    let [_, height, width] = spatial;
    // By label: voxels in every slice along each axis.
    let mut areas: BTreeMap<i16, [Vec<f64>; 3]> = BTreeMap::new();
    for (position, label) in labels.channel(0).iter().enumerate().filter(|(_, label)| **label > 0) {
        let area = areas.entry(*label).or_insert_with(|| spatial.map(|length| vec![0.0; length]));
        for (axis, index) in [position / (height * width), position / width % height, position % width].into_iter().enumerate() {
            area[axis][index] += 1.0;
        }
    }
    std::array::from_fn(|axis| {
        let shown = |index: usize| -> f64 { areas.values().map(|area| (area[axis][index] / area[axis].iter().sum::<f64>()).sqrt()).sum() };
        let middle = spatial[axis] / 2;
        (0..spatial[axis]).fold(middle, |best, index| if shown(index) > shown(best) { index } else { best })
    })
}

fn draw(image: &Volume<f32>, spacing: [f64; 3], centre: [usize; 3], rows: &[Row]) -> Canvas {
    let planes = Plane::through(image.spatial(), spacing, centre);
    let columns = if rows.iter().any(|row| row.reference.is_some()) { 2 } else { 1 };
    let block = planes.iter().map(|plane| plane.width + GAPS[0]).sum::<usize>();
    let height = planes.iter().map(|plane| plane.height).max().unwrap_or(0) + GAPS[0];
    let mut canvas = Canvas::new(columns * (block + GAPS[1]), rows.len() * height);
    let grey = Window::of(image.channel(0));
    for (row_index, row) in rows.iter().enumerate() {
        // One scale for prediction and reference, or they could not be compared.
        let limit = row.layers().map(|layer| layer.limit()).fold(0.0, f32::max);
        for (column, layer) in row.layers().enumerate() {
            let mut left = column * (block + GAPS[1]);
            for plane in &planes {
                plane.paint(&mut canvas, [row_index * height, left], image.channel(0), &grey, layer, limit);
                left += plane.width + GAPS[0];
            }
        }
    }
    canvas
}

impl Layer<'_> {
    fn spatial(self) -> [usize; 3] {
        match self {
            Self::Labels(labels) => labels.spatial(),
            Self::Values(values) => values.spatial(),
        }
    }

    /// The absolute value that gets the full colour.
    fn limit(self) -> f32 {
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
struct Plane {
    height: usize,
    width: usize,
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
    fn through(spatial: [usize; 3], spacing: [f64; 3], centre: [usize; 3]) -> Vec<Self> {
        let strides = [spatial[1] * spatial[2], spatial[2], 1];
        // (axis downwards, axis to the right, axis through)
        let axial = (1, 2, 0);
        let planes = if spatial[0] == 1 { vec![axial] } else { vec![axial, (0, 2, 1), (0, 1, 2)] };
        let size = |axis: usize| spatial[axis] as f64 * spacing[axis];
        let longest = planes.iter().map(|(down, right, _)| size(*down).max(size(*right))).fold(f64::MIN_POSITIVE, f64::max);
        let pixels = |axis: usize| ((size(axis) / longest * PLANE).round() as usize).max(1);
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

    /// Flat position of the voxel under a pixel (nearest neighbour).
    fn position(&self, y: usize, x: usize) -> usize {
        let mut down = y * self.voxels[0] / self.height;
        if self.upwards {
            down = self.voxels[0] - 1 - down;
        }
        self.origin + down * self.strides[0] + x * self.voxels[1] / self.width * self.strides[1]
    }

    fn paint(&self, canvas: &mut Canvas, [top, left]: [usize; 2], image: &[f32], grey: &Window, layer: Layer, limit: f32) {
        for y in 0..self.height {
            for x in 0..self.width {
                let position = self.position(y, x);
                let background = [grey.byte(image[position]); 3];
                let colour = match layer {
                    Layer::Values(values) => diverging(values.channel(0)[position] / limit),
                    Layer::Labels(labels) => {
                        let labels = labels.channel(0);
                        let label = labels[position];
                        let differs = |y: usize, x: usize| labels[self.position(y, x)] != label;
                        let outline = differs(y.saturating_sub(1), x)
                            || differs((y + 1).min(self.height - 1), x)
                            || differs(y, x.saturating_sub(1))
                            || differs(y, (x + 1).min(self.width - 1));
                        match usize::try_from(label) {
                            Ok(label @ 1..) => mix(background, PALETTE[(label - 1) % PALETTE.len()], if outline { 1.0 } else { 0.3 }),
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
struct Window {
    low: f32,
    high: f32,
}

impl Window {
    fn of(values: &[f32]) -> Self {
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

/// -1 is the first colour, 0 the middle one, 1 the last.
fn diverging(value: f32) -> Colour {
    let end = if value < 0.0 { DIVERGING[0] } else { DIVERGING[2] };
    // A map of zeros gives 0 / 0, and so the middle.
    let amount = if value.is_nan() { 0.0 } else { value.abs().min(1.0) };
    mix(DIVERGING[1], end, amount)
}

fn mix(from: Colour, to: Colour, amount: f32) -> Colour {
    std::array::from_fn(|i| (f32::from(from[i]) + (f32::from(to[i]) - f32::from(from[i])) * amount).round() as u8)
}

/// 8-bit RGB, black at first.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * 3] }
    }

    fn set(&mut self, y: usize, x: usize, colour: Colour) {
        let start = (y * self.width + x) * 3;
        self.pixels[start..start + 3].copy_from_slice(&colour);
    }

    fn encode(&self, writer: &mut dyn std::io::Write) -> std::io::Result<()> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(canvas: &Canvas, y: usize, x: usize) -> Colour {
        let start = (y * canvas.width + x) * 3;
        [canvas.pixels[start], canvas.pixels[start + 1], canvas.pixels[start + 2]]
    }

    #[test]
    fn planes_are_square_in_mm_and_the_longest_side_is_enlarged() {
        let planes = Plane::through([10, 40, 20], [2.0, 1.0, 1.0], [0, 0, 0]);
        let sizes: Vec<_> = planes.iter().map(|plane| (plane.height, plane.width)).collect();
        assert_eq!(sizes, [(320, 160), (160, 160), (160, 320)]);
        assert_eq!(Plane::through([1, 8, 8], [999.0, 1.0, 1.0], [0, 0, 0]).len(), 1, "2D has one plane");
    }

    #[test]
    fn coronal_and_sagittal_planes_have_z_upwards() {
        let planes = Plane::through([2, 2, 2], [1.0; 3], [1, 0, 1]);
        // Top left pixel: axial (z, y, x) = (1, 0, 0), coronal (1, 0, 0), sagittal (1, 0, 1).
        let corners: Vec<_> = planes.iter().map(|plane| plane.position(0, 0)).collect();
        assert_eq!(corners, [4, 4, 5]);
        assert_eq!(planes[1].position(319, 0), 0);
    }

    #[test]
    fn labels_are_outlined_values_take_one_scale_and_the_rest_stays_grey() {
        let image = Volume::new([1, 1, 4, 4], (0..16_u8).map(f32::from).collect());
        let mut labels = Volume::filled([1, 1, 4, 4], 0);
        labels.data_mut()[5] = 1;
        let values = Volume::new([1, 1, 4, 4], (-8..8_i8).map(f32::from).collect());
        let half = Volume::new([1, 1, 4, 4], (-8..8_i8).map(|value| f32::from(value) / 2.0).collect());
        let rows = [
            Row { prediction: Layer::Labels(&labels), reference: None },
            Row { prediction: Layer::Values(&half), reference: Some(Layer::Values(&values)) },
        ];
        let canvas = draw(&image, [1.0; 3], [0, 0, 0], &rows);
        assert_eq!(pixel(&canvas, 80, 120), PALETTE[0], "outline");
        assert_eq!(pixel(&canvas, 120, 120), mix([85; 3], PALETTE[0], 0.3), "fill over grey 5 / 15");
        assert_eq!(pixel(&canvas, 319, 319), [255; 3]);
        let (row, right) = (320 + GAPS[0], 320 + GAPS[0] + GAPS[1]);
        assert_eq!(pixel(&canvas, row, right), DIVERGING[0], "the reference's lowest value");
        assert_eq!(pixel(&canvas, row, 0), mix(DIVERGING[1], DIVERGING[0], 0.5), "half of it in the prediction");
    }

    #[test]
    fn the_planes_show_both_of_two_labels_where_they_can() {
        let mut labels = Volume::filled([1, 5, 6, 7], 0);
        assert_eq!(best_planes(&labels), [2, 3, 3]);
        // Label 1: a row along x at (1, 2); label 2: two voxels along z at (y, x) = (4, 5), one of them beside that row's z.
        let at = |z: usize, y: usize, x: usize| (z * 6 + y) * 7 + x;
        for x in 1..6 {
            labels.data_mut()[at(1, 2, x)] = 1;
        }
        labels.data_mut()[at(1, 4, 5)] = 2;
        labels.data_mut()[at(2, 4, 5)] = 2;
        let [z, y, x] = best_planes(&labels);
        assert_eq!((z, x), (1, 5), "both labels");
        assert!(y == 2 || y == 4, "a whole label");
    }

    #[test]
    fn a_picture_is_written_and_another_shape_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.png");
        let image = Volume::filled([1, 3, 4, 5], f32::NAN);
        let labels = Volume::filled([1, 3, 4, 5], 1);
        let row = Row { prediction: Layer::Labels(&labels), reference: Some(Layer::Labels(&labels)) };
        write(&path, &image, [1.0; 3], best_planes(&labels), &[row]).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        // Planes of 4 × 5, 3 × 5 and 3 × 4 voxels at 64 pixels a voxel.
        assert_eq!((info.width, info.height), (2 * (320 + 320 + 256 + 3 * 4 + 16), 256 + 4));
        let other = Volume::filled([1, 3, 4, 4], 1);
        let row = Row { prediction: Layer::Labels(&other), reference: None };
        let error = write(&path, &image, [1.0; 3], [0, 0, 0], &[row]).unwrap_err().to_string();
        assert!(error.contains("case.png") && error.contains("[3, 4, 4]"), "{error}");
    }
}
