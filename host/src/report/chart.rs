//! Line charts of a training as one PNG: panels under each other, in two columns where there are many.
//!
//! A panel finds its axes from the points, and then draws grid, lines and legend. Lines are smooth: a pixel takes as much of the colour as
//! they cover of it. The font comes as pixels, so that none need be installed.

use std::path::Path;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::picture::canvas::{Canvas, Colour, PALETTE, mix};

/// Width and height of a panel in pixels.
const SIZE: [usize; 2] = [960, 300];
/// Left and right, top and bottom of the plot in a panel.
const PLOT: [[usize; 2]; 2] = [[88, 756], [36, 248]];
/// Where samples begin and end, and names begin; height of a row.
const LEGEND: ([usize; 3], usize) = ([774, 802, 810], 18);
/// The palette without yellow, which is lost on white; the strongest first.
const COLOURS: [Colour; 6] = [PALETTE[4], PALETTE[5], PALETTE[2], PALETTE[6], PALETTE[1], PALETTE[0]];
const GRID: Colour = [230; 3];
const FRAME: Colour = [130; 3];
const TEXT: Colour = [50; 3];
const FONT: RasterHeight = RasterHeight::Size16;
/// Half the width of a line, and of a dot.
const RADIUS: [f64; 2] = [0.9, 3.0];
/// Length of a dash, without and with the gap after it.
const DASH: [f64; 2] = [7.0, 11.0];

/// One line of a panel.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// In the legend, which has room for 21 characters.
    pub name: String,
    /// (x, y) from left to right. One that is not finite breaks the line; one between two of these is a dot.
    pub points: Vec<(f64, f64)>,
    /// Drawn in dashes.
    pub dashed: bool,
}

/// One chart.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Above the chart.
    pub title: String,
    /// Below the horizontal axis; may be empty.
    pub x_label: String,
    /// Later ones lie over earlier ones. Six have colours of their own, and twelve a place in the legend.
    pub lines: Vec<Line>,
}

/// Draws `panels` and writes a PNG.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, panels: &[Panel]) -> Result<(), imaging::io::Error> {
    imaging::io::write_atomically(path, |writer| draw(panels).encode(writer))
}

fn draw(panels: &[Panel]) -> Canvas {
    let columns = if panels.len() > 6 { 2 } else { 1 };
    let rows = panels.len().div_ceil(columns).max(1); // no PNG is empty
    let mut canvas = Canvas::new(columns * SIZE[0], rows * SIZE[1]);
    for index in 0..rows * columns {
        let pane = panels.get(index).map_or_else(Pane::new, Panel::draw);
        let [left, top] = [index % columns * SIZE[0], index / columns * SIZE[1]];
        for (pixel, colour) in pane.pixels.into_iter().enumerate() {
            canvas.set(top + pixel / SIZE[0], left + pixel % SIZE[0], colour);
        }
    }
    canvas
}

impl Panel {
    fn draw(&self) -> Pane {
        let [[left, right], [top, bottom]] = PLOT;
        let mut pane = Pane::new();
        pane.text(left, 10, 0.0, &self.title, FontWeight::Bold);
        pane.text((left + right) / 2, bottom + 26, 0.5, &self.x_label, FontWeight::Regular);
        if let Some([x, y]) = self.axes() {
            pane.grid(&x, &y);
            for (line, colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
                let place = |point: &(f64, f64)| is_drawn(point).then(|| [x.place(point.0), y.place(point.1)]);
                pane.stroke(&line.points.iter().map(place).collect::<Vec<_>>(), line.dashed, colour);
            }
            self.draw_legend(&mut pane);
        } else {
            pane.text((left + right) / 2, (top + bottom - FONT.val()) / 2, 0.5, "no data yet", FontWeight::Regular);
        }
        pane.fill([left - 1, left], [top, bottom + 1], FRAME);
        pane.fill([left, right], [bottom, bottom + 1], FRAME);
        pane
    }

    /// `None` where there is nothing to draw.
    fn axes(&self) -> Option<[Axis; 2]> {
        let (xs, ys): (Vec<_>, Vec<_>) = self.lines.iter().flat_map(|line| &line.points).filter(|point| is_drawn(point)).copied().unzip();
        let [columns, [top, bottom]] = PLOT;
        // There is no half of an epoch.
        let least = if xs.iter().all(|x| x.fract() == 0.0) { 1.0 } else { 0.0 };
        Some([Axis::new(&xs, least, 10.0, columns)?, Axis::new(&ys, 0.0, 8.0, [bottom, top])?])
    }

    fn draw_legend(&self, pane: &mut Pane) {
        let ([left, right, name], height) = LEGEND;
        for ((row, line), colour) in (PLOT[1][0]..PLOT[1][1]).step_by(height).zip(&self.lines).zip(COLOURS.into_iter().cycle()) {
            let sample = [left, right].map(|column| Some([column as f64, (row + height / 2) as f64]));
            pane.stroke(&sample, line.dashed, colour);
            pane.text(name, row + 1, 0.0, &line.name, FontWeight::Regular);
        }
    }
}

/// Whether a point is finite, and the range of such points as well.
fn is_drawn((x, y): &(f64, f64)) -> bool {
    x.abs() < 1e300 && y.abs() < 1e300
}

/// How values lie on the columns or rows of a plot.
struct Axis {
    range: [f64; 2],
    /// Between two ticks.
    step: f64,
    /// Where the range ends, in pixels.
    ends: [f64; 2],
}

impl Axis {
    /// With about `most` ticks at most, and no nearer to each other than `least`. `None` without values.
    fn new(values: &[f64], least: f64, most: f64, ends: [usize; 2]) -> Option<Self> {
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        // What is constant lies in the middle.
        let margin = match low.abs().max(high.abs()) {
            size if size < 1e-30 => 0.5,
            size if high - low < size * 1e-6 => size * 0.1,
            _ => (high - low) * 0.03,
        };
        let range = [low - margin, high + margin];
        Some(Self { range, step: step((range[1] - range[0]) / most).max(least), ends: ends.map(|end| end as f64) })
    }

    fn place(&self, value: f64) -> f64 {
        self.ends[0] + (value - self.range[0]) / (self.range[1] - self.range[0]) * (self.ends[1] - self.ends[0])
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    // Not the next but one because of rounding.
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step > least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// The multiples of `step` in the range, and how they are written.
fn ticks([low, high]: [f64; 2], step: f64) -> Vec<(f64, String)> {
    let power = |value: f64| (value.abs().log10() + 1e-9).floor();
    let is_exponential = !(1e-3..1e6).contains(&low.abs().max(high.abs()));
    let label = |value: f64| match power(step) {
        _ if value == 0.0 => "0".to_owned(),
        last if is_exponential => format!("{value:.*e}", (power(value) - last).max(0.0) as usize),
        last => format!("{value:.*}", (-last).max(0.0) as usize),
    };
    let [first, last] = [(low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64];
    (first..=last).map(|index| index as f64 * step).map(|value| (value, label(value))).collect()
}

/// The pixels of a panel, row by row. What lies outside is not drawn.
struct Pane {
    pixels: Vec<Colour>,
}

impl Pane {
    fn new() -> Self {
        Self { pixels: vec![[255; 3]; SIZE[0] * SIZE[1]] }
    }

    fn blend(&mut self, column: usize, row: usize, colour: Colour, amount: f32) {
        if column < SIZE[0] && row < SIZE[1] {
            let pixel = &mut self.pixels[row * SIZE[0] + column];
            *pixel = mix(*pixel, colour, amount);
        }
    }

    fn fill(&mut self, columns: [usize; 2], rows: [usize; 2], colour: Colour) {
        for row in rows[0]..rows[1] {
            (columns[0]..columns[1]).for_each(|column| self.blend(column, row, colour, 1.0));
        }
    }

    /// `share` of the text is left of `column`.
    fn text(&mut self, column: usize, row: usize, share: f64, text: &str, weight: FontWeight) {
        let width = get_raster_width(weight, FONT);
        let left = column.saturating_sub(((text.chars().count() * width) as f64 * share) as usize);
        let glyphs = text.chars().filter_map(|character| get_raster(character, weight, FONT).or_else(|| get_raster('?', weight, FONT)));
        for (index, glyph) in glyphs.enumerate() {
            for (pixel, amount) in glyph.pixels().iter().enumerate() {
                self.blend(left + index * width + pixel % width, row + pixel / width, TEXT, f32::from(*amount) / 255.0);
            }
        }
    }

    fn grid(&mut self, x: &Axis, y: &Axis) {
        let [[left, right], [top, bottom]] = PLOT;
        for (value, label) in ticks(x.range, x.step) {
            let column = x.place(value).round() as usize;
            self.fill([column, column + 1], [top, bottom + 5], GRID);
            self.text(column, bottom + 7, 0.5, &label, FontWeight::Regular);
        }
        for (value, label) in ticks(y.range, y.step) {
            let row = y.place(value).round() as usize;
            self.fill([left - 5, right], [row, row + 1], GRID);
            self.text(left - 8, row - FONT.val() / 2, 1.0, &label, FontWeight::Regular);
        }
    }

    /// Through points given by column and row. One between gaps is a dot.
    fn stroke(&mut self, points: &[Option<[f64; 2]>], dashed: bool, colour: Colour) {
        // Discs close enough for a line. They overlap, and colour only once.
        let mut mask = vec![0.0; SIZE[0] * SIZE[1]];
        for run in points.split(Option::is_none) {
            let run: Vec<_> = run.iter().copied().flatten().collect();
            let radius = if run.len() == 1 { RADIUS[1] } else { RADIUS[0] };
            run.first().into_iter().for_each(|start| add_disc(&mut mask, *start, radius));
            let mut travelled = 0.0;
            for ends in run.windows(2) {
                let along = [ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]];
                let length = along[0].hypot(along[1]);
                let steps = (2.0 * length).ceil();
                for share in (1..=steps as usize).map(|index| index as f64 / steps) {
                    if !dashed || (travelled + share * length) % DASH[1] < DASH[0] {
                        add_disc(&mut mask, [0, 1].map(|axis| ends[0][axis] + share * along[axis]), radius);
                    }
                }
                travelled += length;
            }
        }
        for (pixel, amount) in mask.into_iter().enumerate().filter(|(_, amount)| *amount > 0.0) {
            self.blend(pixel % SIZE[0], pixel / SIZE[0], colour, amount);
        }
    }
}

/// Raises `mask` to how much of each pixel is in the disc.
fn add_disc(mask: &mut [f32], [x, y]: [f64; 2], radius: f64) {
    let span = |middle: f64| (middle - radius).floor() as usize..=(middle + radius).ceil() as usize;
    for (row, column) in span(y).flat_map(|row| span(x).map(move |column| (row, column))) {
        let distance = (column as f64 - x).hypot(row as f64 - y);
        let pixel = &mut mask[row * SIZE[0] + column];
        *pixel = pixel.max((radius + 0.5 - distance).clamp(0.0, 1.0) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(points: &[(f64, f64)], dashed: bool) -> Pane {
        Panel { lines: vec![Line { points: points.to_vec(), dashed, ..Line::default() }], ..Panel::default() }.draw()
    }

    #[test]
    fn lines_are_solid_or_dashed_and_break_and_one_point_is_a_dot() {
        // Pixels of the colour in the middle row, where constants lie.
        let row = 142 * SIZE[0]..143 * SIZE[0] - 200;
        let count = |points: &_, dashed| pane(points, dashed).pixels[row.clone()].iter().filter(|pixel| **pixel == COLOURS[0]).count();
        let mut constant = [0.0, 1.0, 2.0, 3.0, 4.0].map(|x| (x, -7.0));
        let [solid, dashed, dot] = [count(&constant, false), count(&constant, true), count(&[(3.0, 0.0)], true)];
        assert!(solid > 600 && (solid / 2..solid * 4 / 5).contains(&dashed) && (4..8).contains(&dot), "{solid} {dashed} {dot}");
        constant[1].1 = f64::NAN;
        assert!((solid / 2 + 1..=solid / 2 + 10).contains(&count(&constant, false)), "half a line and a dot");
    }

    #[test]
    fn without_finite_points_a_panel_says_so() {
        let nothing = Panel::default().draw().pixels;
        assert!(nothing.contains(&TEXT));
        assert_eq!(pane(&[(0.0, f64::NAN), (f64::INFINITY, 1.0)], false).pixels, nothing);
    }

    #[test]
    fn ticks_are_round_numbers() {
        let labels = |values: &[f64]| {
            let axis = Axis::new(values, 0.0, 6.0, [0, 100]).unwrap();
            ticks(axis.range, axis.step).into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(&[-0.31, 0.1]), "-0.3 -0.2 -0.1 0 0.1");
        assert_eq!(labels(&[0.0, 1000.0]), "0 200 400 600 800 1000");
        assert_eq!(labels(&[8e-6, 12e-6]), "8e-6 9e-6 1.0e-5 1.1e-5 1.2e-5");
        assert_eq!(labels(&[0.0]), "-0.4 -0.2 0 0.2 0.4");
    }

    #[test]
    fn many_panels_take_two_columns_and_any_text_and_value_is_drawn() {
        let lines = vec![Line { name: "→ ×".repeat(20), points: vec![(0.0, 9e299), (0.5, -9e299), (0.5, 5e-324)], dashed: true }; 20];
        let panel = Panel { title: "µ→".repeat(200), x_label: "−".repeat(200), lines };
        let sizes = [0, 6, 7].map(|count| draw(&vec![panel.clone(); count])).map(|canvas| [canvas.width, canvas.height]);
        assert_eq!(sizes, [[960, 300], [960, 1800], [1920, 1200]]);
    }
}
