//! A picture of one predicted case: three planes through one voxel, prediction on the left, reference on the right.
//!
//! Every output is one row. A label map is drawn over the grey image, filled lightly and outlined; a map of values is
//! shown in colours of its own, blue below zero and red above. Planes are axial, coronal and sagittal in array order, with
//! z upwards; pixels are square in mm.

use std::collections::BTreeMap;
use std::path::Path;

use imaging::Volume;

use super::canvas::Canvas;
use super::plane::{Layer, Plane, Window};
use super::{Error, check_shape};

/// Longest side of a plane in pixels.
const PLANE: f64 = 320.0;
/// Between two planes, and between prediction and reference.
const GAPS: [usize; 2] = [4, 16];

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
    let mut sheet = Sheet::default();
    sheet.add(path, image, spacing, centre, rows)?;
    sheet.write(path)
}

/// Several cases below each other.
#[derive(Debug, Default)]
pub struct Sheet {
    cases: Vec<Canvas>,
}

impl Sheet {
    /// Adds a case as [`write()`] draws it; `path` is for messages.
    ///
    /// # Errors
    /// When a layer differs from the image in shape.
    pub fn add(&mut self, path: &Path, image: &Volume<f32>, spacing: [f64; 3], centre: [usize; 3], rows: &[Row]) -> Result<(), Error> {
        for layer in rows.iter().flat_map(Row::layers) {
            check_shape(path, layer, image)?;
        }
        self.cases.push(draw(image, spacing, centre, rows));
        Ok(())
    }

    /// Whether no case was added.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Writes all of them as one PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let canvas = Canvas::stacked(&self.cases);
        Ok(imaging::io::write_atomically(path, |writer| canvas.encode(writer))?)
    }
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
    let planes = Plane::through(image.spatial(), spacing, centre, PLANE);
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
                plane.paint(&mut canvas, [row_index * height, left], Some((image.channel(0), &grey)), Some(layer), [limit, 1.0]);
                left += plane.width + GAPS[0];
            }
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::super::canvas::{DIVERGING, PALETTE, mix};
    use super::*;

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
        assert_eq!(canvas.pixel(80, 120), PALETTE[0], "outline");
        assert_eq!(canvas.pixel(120, 120), mix([85; 3], PALETTE[0], 0.3), "fill over grey 5 / 15");
        assert_eq!(canvas.pixel(319, 319), [255; 3]);
        let (row, right) = (320 + GAPS[0], 320 + GAPS[0] + GAPS[1]);
        assert_eq!(canvas.pixel(row, right), DIVERGING[0], "the reference's lowest value");
        assert_eq!(canvas.pixel(row, 0), mix(DIVERGING[1], DIVERGING[0], 0.5), "half of it in the prediction");
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
