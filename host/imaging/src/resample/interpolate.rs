//! Spline interpolation of images, one axis after the other in 64 bits, then clipped to the input's range.

use super::{Order, axis, separate_axis};
use crate::Volume;

/// Resamples `image` from `spacing` to the grid of `new_shape` at `new_spacing`; spacings in mm, (z, y, x).
///
/// Spacings only decide whether one axis takes nearest slices (see the module's page); the positions follow from the two shapes.
/// Every channel is clipped to its range before, since cubic splines overshoot; with a separate axis, every slice to its own.
/// When the shape stays the same, so does every bit.
///
/// # Panics
/// When `image` is empty, or `new_shape` is.
pub fn resample_image(image: &Volume<f32>, new_shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3], order: Order) -> Volume<f32> {
    if image.spatial() == new_shape {
        return image.clone();
    }
    let separate = separate_axis(spacing, new_spacing);
    let mut data = Vec::with_capacity(image.channels() * new_shape.iter().product::<usize>());
    for c in 0..image.channels() {
        data.extend(resample_channel(image.channel(c), image.spatial(), new_shape, separate, order));
    }
    Volume::new([image.channels(), new_shape[0], new_shape[1], new_shape[2]], data)
}

fn resample_channel(
    channel: &[f32],
    mut shape: [usize; 3],
    new_shape: [usize; 3],
    separate: Option<usize>,
    order: Order,
) -> impl Iterator<Item = f32> {
    let ranges = ranges(channel, shape, separate);
    let mut data: Vec<f64> = channel.iter().map(|&value| f64::from(value)).collect();

    let mut axes: Vec<usize> = (0..3).filter(|&axis| Some(axis) != separate && shape[axis] != new_shape[axis]).collect();
    // The result does not depend on the order of the axes, but the work does: those that shrink go first.
    axes.sort_by(|&a, &b| (new_shape[a] * shape[b]).cmp(&(new_shape[b] * shape[a])));
    for &axis in &axes {
        let (size, new_size) = (shape[axis], new_shape[axis]);
        data = match order {
            Order::Linear => resample_axis(&data, shape, axis, &linear_taps(size, new_size), 0),
            Order::Cubic => resample_axis(&data, shape, axis, &cubic_taps(size, new_size), PADDING),
        };
        shape[axis] = new_shape[axis];
    }
    // Interpolation alone leaves the range; what was not interpolated must not be touched, not even in the last bit.
    if !axes.is_empty() {
        let slice_of = slice_index(shape, separate);
        data.iter_mut().enumerate().for_each(|(voxel, value)| *value = ranges[slice_of(voxel)].clip(*value));
    }
    if let Some(axis) = separate {
        data = take_nearest(&data, shape, axis, new_shape[axis]);
    }
    data.into_iter().map(|value| value as f32)
}

/// Smallest and largest value of some voxels, NaN left out.
#[derive(Clone, Copy)]
struct Range {
    min: f64,
    max: f64,
}

impl Range {
    const EMPTY: Self = Self { min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Keeps NaN, which `f64::clamp` does too, but does not panic where all voxels were NaN and the range is empty.
    fn clip(self, value: f64) -> f64 {
        if value < self.min {
            self.min
        } else if value > self.max {
            self.max
        } else {
            value
        }
    }
}

/// The range of every slice across the separate axis, or of the whole channel.
fn ranges(channel: &[f32], shape: [usize; 3], separate: Option<usize>) -> Vec<Range> {
    let mut ranges = vec![Range::EMPTY; separate.map_or(1, |axis| shape[axis])];
    let slice_of = slice_index(shape, separate);
    for (voxel, &value) in channel.iter().enumerate() {
        let range = &mut ranges[slice_of(voxel)];
        *range = Range { min: range.min.min(f64::from(value)), max: range.max.max(f64::from(value)) };
    }
    ranges
}

/// Maps a voxel's place in C order to its slice across the separate axis; without such an axis all is one slice.
fn slice_index(shape: [usize; 3], separate: Option<usize>) -> impl Fn(usize) -> usize {
    let (stride, size) = separate.map_or((usize::MAX, 1), |axis| (shape[axis + 1..].iter().product(), shape[axis]));
    move |voxel| voxel / stride % size
}

/// Copies the nearest slice along `axis` for each of `new_size` output slices.
fn take_nearest(data: &[f64], shape: [usize; 3], axis: usize, new_size: usize) -> Vec<f64> {
    let inner: usize = shape[axis + 1..].iter().product();
    let nearest = axis::nearest(shape[axis], new_size);
    data.chunks_exact(shape[axis] * inner)
        .flat_map(|block| nearest.iter().flat_map(move |&slice| &block[slice * inner..(slice + 1) * inner]))
        .copied()
        .collect()
}

/// Lines that are worked on side by side, so that recurrences along a line still fill vector registers.
const LANES: usize = 16;
type Lanes = [f64; LANES];

/// Makes `taps.len()` voxels of every line along `axis`. With `padding`, a line's ends are repeated that often and the taps work on
/// its spline coefficients; without, they work on its voxels.
fn resample_axis<const N: usize>(data: &[f64], shape: [usize; 3], axis: usize, taps: &[Tap<N>], padding: usize) -> Vec<f64> {
    let (size, new_size) = (shape[axis], taps.len());
    let stride: usize = shape[axis + 1..].iter().product();
    let lines = data.len() / size;

    let mut out = vec![0.0; lines * new_size];
    let mut buffer = vec![[0.0; LANES]; size + 2 * padding];
    for first in (0..lines).step_by(LANES) {
        let count = LANES.min(lines - first);
        // Where lane `l` begins in an array whose lines are `size` long.
        let start = |lane: usize, size: usize| {
            let line = first + lane.min(count - 1);
            line / stride * stride * size + line % stride
        };
        let starts: [usize; LANES] = std::array::from_fn(|lane| start(lane, size));
        for (i, row) in buffer[padding..padding + size].iter_mut().enumerate() {
            *row = starts.map(|start| data[start + i * stride]);
        }
        if padding > 0 {
            let (head, tail) = (buffer[padding], buffer[padding + size - 1]);
            buffer[..padding].fill(head);
            buffer[padding + size..].fill(tail);
            spline_coefficients(&mut buffer);
        }
        let starts: [usize; LANES] = std::array::from_fn(|lane| start(lane, new_size));
        for (i, tap) in taps.iter().enumerate() {
            let mut sum = [0.0; LANES];
            for (&index, &weight) in tap.index.iter().zip(&tap.weight) {
                add_scaled(&mut sum, weight, &buffer[index]);
            }
            for (value, start) in sum.into_iter().zip(starts).take(count) {
                out[start + i * stride] = value;
            }
        }
    }
    out
}

/// The places of a (padded) line that make one output voxel, with their weights.
struct Tap<const N: usize> {
    index: [usize; N],
    weight: [f64; N],
}

fn linear_taps(size: usize, new_size: usize) -> Vec<Tap<2>> {
    axis::linear(size, new_size).into_iter().map(|axis::Pair { index, weight }| Tap { index, weight }).collect()
}

/// Voxels by which scipy repeats the ends of a line before it computes spline coefficients (`_prepad_for_spline_filter`).
const PADDING: usize = 12;

fn cubic_taps(size: usize, new_size: usize) -> Vec<Tap<4>> {
    let tap = |output| {
        let position = axis::position(output, size, new_size) + PADDING as f64;
        let lower = position.floor();
        let x = position - lower;
        let y = 1.0 - x;
        // Cubic B-spline at distances 1 + x, x, 1 - x and 2 - x.
        let mut weight = [y * y * y / 6.0, (x * x * (x - 2.0) * 3.0 + 4.0) / 6.0, (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0, 0.0];
        weight[3] = 1.0 - weight[0] - weight[1] - weight[2];
        Tap { index: std::array::from_fn(|i| lower as usize - 1 + i), weight }
    };
    (0..new_size).map(tap).collect()
}

/// Powers of the filter's pole beyond this are below the last bit.
const HORIZON: usize = 32;

/// Turns samples into the coefficients of the cubic B-spline through them, in place: a causal and an anti-causal recursive filter,
/// mirrored about the outer edge of the outermost voxels (Unser, Aldroubi and Eden, 1991; scipy's `ni_splines.c` for mode nearest).
fn spline_coefficients(line: &mut [Lanes]) {
    let pole = 3f64.sqrt() - 2.0;
    let gain = (1.0 - pole) * (1.0 - 1.0 / pole);
    for row in line.iter_mut() {
        row.iter_mut().for_each(|value| *value *= gain);
    }
    let mut start = line[0];
    let mut power = pole;
    for row in line.iter().take(HORIZON) {
        add_scaled(&mut start, power, row);
        power *= pole;
    }
    line[0] = start;

    for i in 1..line.len() {
        let previous = line[i - 1];
        add_scaled(&mut line[i], pole, &previous);
    }
    let last = line.len() - 1;
    line[last].iter_mut().for_each(|value| *value *= pole / (pole - 1.0));
    for i in (0..last).rev() {
        let next = line[i + 1];
        line[i].iter_mut().zip(next).for_each(|(value, next)| *value = pole * (next - *value));
    }
}

fn add_scaled(sum: &mut Lanes, weight: f64, row: &Lanes) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: [usize; 4]) -> Volume<f32> {
        Volume::new(shape, (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.7).sin()).collect())
    }

    #[test]
    fn the_same_shape_returns_the_same_bits() {
        let mut image = ramp([2, 3, 4, 5]);
        image.data_mut()[7] = f32::NAN;
        let same = resample_image(&image, [3, 4, 5], [5.0, 1.0, 1.0], [1.0; 3], Order::Cubic);
        assert!(same.data().iter().zip(image.data()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn a_constant_stays_constant_and_a_single_slice_spreads() {
        let image = Volume::filled([1, 1, 5, 4], 3.25);
        for order in [Order::Linear, Order::Cubic] {
            let out = resample_image(&image, [4, 9, 2], [1.0; 3], [1.0; 3], order);
            assert_eq!(out, Volume::filled([1, 4, 9, 2], 3.25));
        }
    }

    #[test]
    fn an_unchanged_axis_keeps_its_lines_apart() {
        let mut image = Volume::filled([1, 2, 3, 3], 0.0);
        image.data_mut()[9..].fill(1.0);
        let out = resample_image(&image, [2, 6, 5], [1.0; 3], [1.0; 3], Order::Cubic);
        assert!(out.data()[..30].iter().all(|&v| v == 0.0) && out.data()[30..].iter().all(|&v| v == 1.0));
    }

    #[test]
    fn an_image_of_nan_stays_nan() {
        let image = Volume::filled([1, 3, 3, 3], f32::NAN);
        assert!(resample_image(&image, [4, 4, 4], [1.0; 3], [1.0; 3], Order::Cubic).data().iter().all(|v| v.is_nan()));
    }

    #[test]
    fn values_stay_in_range_although_splines_overshoot() {
        let mut image = Volume::filled([1, 1, 1, 12], 0.0);
        image.data_mut()[6..].fill(1.0);
        let out = resample_image(&image, [1, 1, 31], [1.0; 3], [1.0; 3], Order::Cubic);
        assert!(out.data().iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
