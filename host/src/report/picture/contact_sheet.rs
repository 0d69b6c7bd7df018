//! Many small pictures side by side: rows of tiles, each one axial plane.

use std::path::Path;

use imaging::Volume;

use super::canvas::Canvas;
use super::plane::{Layer, Plane, Window};
use super::{Error, check_shape};

/// Longest side of a tile in pixels.
const TILE: f64 = 160.0;
/// Between tiles.
const GAP: usize = 4;

/// A line of the sheet: an image and what is drawn of it.
#[derive(Debug)]
pub struct Line<'a> {
    /// Its first channel is the first tile.
    pub image: &'a Volume<f32>,
    /// Two tiles each: alone, and over the image.
    pub layers: Vec<Layer<'a>>,
    /// Slice that is shown.
    pub slice: usize,
}

/// Draws `lines` and writes a PNG. Voxels are `spacing` (z, y, x) mm apart. The first layers of all lines
/// share the scale of their colours, and so on.
///
/// # Errors
/// When a layer differs from its image in shape, or the file cannot be written.
pub fn write(path: &Path, spacing: [f64; 3], lines: &[Line]) -> Result<(), Error> {
    for line in lines {
        for layer in &line.layers {
            check_shape(path, *layer, line.image)?;
        }
    }
    let canvas = draw(spacing, lines);
    imaging::io::write_atomically(path, |writer| canvas.encode(writer))?;
    Ok(())
}

fn draw(spacing: [f64; 3], lines: &[Line]) -> Canvas {
    let planes: Vec<Plane> = lines
        .iter()
        .map(|line| {
            // The axial plane comes first; one slice alone makes it as large as it gets.
            let [_, height, width] = line.image.spatial();
            let mut plane = Plane::through([1, height, width], spacing, [0; 3], TILE).swap_remove(0);
            plane.move_to_slice(line.slice, height * width);
            plane
        })
        .collect();
    let columns = lines.iter().map(|line| 1 + 2 * line.layers.len()).max().unwrap_or(0);
    let side = |pick: fn(&Plane) -> usize| planes.iter().map(pick).max().unwrap_or(0) + GAP;
    let (tile_height, tile_width) = (side(|plane| plane.height), side(|plane| plane.width));
    let mut canvas = Canvas::new(columns * tile_width, lines.len() * tile_height);
    let layers = lines.iter().map(|line| line.layers.len()).max().unwrap_or(0);
    let limits: Vec<f32> = (0..layers)
        .map(|layer| lines.iter().filter_map(|line| line.layers.get(layer)).map(|layer| layer.limit()).fold(0.0, f32::max))
        .collect();
    for (number, (line, plane)) in lines.iter().zip(&planes).enumerate() {
        let grey = Window::of(line.image.channel(0));
        let image = Some((line.image.channel(0), &grey));
        let place = |column: usize| [number * tile_height, column * tile_width];
        plane.paint(&mut canvas, place(0), image, None, [0.0; 2]);
        for (layer, (shown, limit)) in line.layers.iter().zip(&limits).enumerate() {
            plane.paint(&mut canvas, place(1 + 2 * layer), None, Some(*shown), [*limit, 1.0]);
            plane.paint(&mut canvas, place(2 + 2 * layer), image, Some(*shown), [*limit, 0.5]);
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::super::canvas::{DIVERGING, PALETTE, mix};
    use super::*;

    #[test]
    fn a_line_shows_the_image_then_every_layer_alone_and_over_it() {
        let image = Volume::new([1, 2, 2, 2], (0..8_u8).map(f32::from).collect());
        let labels = Volume::new([1, 2, 2, 2], vec![0, 0, 0, 0, 1, 1, 1, 1]);
        let values = Volume::new([1, 2, 2, 2], (-4..4_i8).map(f32::from).collect());
        let line = |slice| Line { image: &image, layers: vec![Layer::Labels(&labels), Layer::Values(&values)], slice };
        let canvas = draw([5.0, 1.0, 1.0], &[line(0), line(1)]);
        assert_eq!((canvas.width, canvas.height), (5 * 164, 2 * 164));
        assert_eq!((canvas.pixel(0, 0), canvas.pixel(164 + 159, 159)), ([0; 3], [255; 3]));
        assert_eq!((canvas.pixel(0, 164), canvas.pixel(164, 164)), ([0; 3], PALETTE[0]), "labels alone");
        assert_eq!(canvas.pixel(164, 2 * 164), mix([145; 3], PALETTE[0], 0.3), "labels over grey 4 / 7");
        assert_eq!(canvas.pixel(0, 3 * 164), DIVERGING[0], "the lowest value");
    }
}
