//! Resampling of images: plane by plane, then along z, then clipped to the input's range.
//!
//! nnU-Net computes in 64 bits with several copies of the volume. Here values between the axes are the 32 bits that images have
//! anyway, and no second volume is ever held: planes are written where the output will be, and z is resampled there in place, a few
//! columns at a time. The difference stays at some units of the last bit.

use super::axis::Axis;
use super::plane::{self, Scratch};
use super::range::Range;
use super::{Order, Rule};
use crate::Volume;

/// Resamples `image` from `spacing` to the grid of `new_shape` at `new_spacing`; spacings in mm, (z, y, x).
///
/// Spacings only decide whether an axis is separate (see the module's page); the positions follow from the two shapes. Interpolated
/// values are clipped to the range of their channel, or of their plane where an axis is separate; what is then interpolated along
/// that axis is not clipped, as in nnU-Net. When the shape stays the same, so does every bit.
///
/// # Panics
/// When `image` is empty, or `new_shape` is.
pub fn resample_image(image: &Volume<f32>, new_shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3], rule: Rule) -> Volume<f32> {
    if image.spatial() == new_shape {
        return image.clone();
    }
    let separate = rule.separate_axis(spacing, new_spacing);
    let order_z = if separate.is_some() { rule.order_z } else { rule.order };
    match separate {
        // Planes lie across z; another separate axis changes places with it meanwhile.
        Some(axis @ (1 | 2)) => {
            let mut swapped = [0, 1, 2];
            swapped.swap(0, axis);
            let image = image.transpose(swapped);
            resample_volume(&image, swapped.map(|axis| new_shape[axis]), [order_z, rule.order], true).transpose(swapped)
        }
        _ => resample_volume(image, new_shape, [order_z, rule.order], separate.is_some()),
    }
}

fn resample_volume(image: &Volume<f32>, new_shape: [usize; 3], [order_z, order]: [Order; 2], separate: bool) -> Volume<f32> {
    let shape = image.spatial();
    let resampling = Resampling {
        shape,
        new_shape,
        z: Axis::new(shape[0], new_shape[0], order_z),
        y: Axis::new(shape[1], new_shape[1], order),
        x: Axis::new(shape[2], new_shape[2], order),
        separate,
    };
    let plane = new_shape[1] * new_shape[2];
    let voxels = new_shape[0] * plane;
    // While z is still to be shrunk, planes reach beyond a channel's end, where the next channel has not begun yet.
    let waiting = resampling.waiting_planes().saturating_sub(new_shape[0]) * plane;
    let mut data = vec![0.0; image.channels() * voxels + waiting];
    let mut scratch = Scratch::default();
    for c in 0..image.channels() {
        let end = (c + 1) * voxels + waiting;
        resampling.channel(image.channel(c), &mut data[c * voxels..end], &mut scratch);
    }
    data.truncate(image.channels() * voxels);
    data.shrink_to_fit();
    Volume::new([image.channels(), new_shape[0], new_shape[1], new_shape[2]], data)
}

/// What to do with every channel of a volume.
struct Resampling {
    shape: [usize; 3],
    new_shape: [usize; 3],
    z: Axis,
    y: Axis,
    x: Axis,
    /// Whether z is.
    separate: bool,
}

impl Resampling {
    /// Planes that wait in the output until they are resampled along z.
    fn waiting_planes(&self) -> usize {
        if self.z.interpolates() && !self.keeps_planes() { self.shape[0] } else { 0 }
    }

    fn keeps_planes(&self) -> bool {
        self.y.is_same() && self.x.is_same()
    }

    /// Resamples `channel` into `out`, which may be longer.
    fn channel(&self, channel: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let interpolates = [&self.z, &self.y, &self.x].into_iter().any(Axis::interpolates);
        let range = (interpolates && !self.separate).then(|| Range::of(channel));
        match &self.z {
            Axis::Same => self.planes(channel, 0..self.shape[0], range, out, scratch),
            Axis::Nearest(nearest) => self.planes(channel, nearest.iter().copied(), range, out, scratch),
            Axis::Linear(_) | Axis::Cubic(_) if self.keeps_planes() => self.columns(Some(channel), range, out, scratch),
            Axis::Linear(_) | Axis::Cubic(_) => {
                self.planes(channel, 0..self.shape[0], None, out, scratch);
                self.columns(None, range, out, scratch);
            }
        }
    }

    /// Resamples the planes of `channel` at each of `sources` into `out`, one after the other.
    fn planes(&self, channel: &[f32], sources: impl Iterator<Item = usize>, range: Option<Range>, out: &mut [f32], scratch: &mut Scratch) {
        let [_, height, width] = self.shape;
        let [_, new_height, new_width] = self.new_shape;
        let plane = new_height * new_width;
        let interpolates = self.y.interpolates() || self.x.interpolates();
        let mut previous = None;
        for (z, source) in sources.enumerate() {
            if previous == Some(source) {
                out.copy_within((z - 1) * plane..z * plane, z * plane);
                continue;
            }
            previous = Some(source);
            let from = &channel[source * height * width..][..height * width];
            let to = &mut out[z * plane..][..plane];
            plane::resample(from, [height, width], [&self.y, &self.x], [new_height, new_width], to, scratch);
            // What was not interpolated is in the range already.
            if interpolates && let Some(range) = if self.separate { Some(Range::of(from)) } else { range } {
                range.clip(to);
            }
        }
    }

    /// Resamples along z from planes of the output's size: those of `source`, else those that wait in `out`.
    fn columns(&self, source: Option<&[f32]>, range: Option<Range>, out: &mut [f32], scratch: &mut Scratch) {
        let plane = self.new_shape[1] * self.new_shape[2];
        let Scratch { columns, made, lines, .. } = scratch;
        for first in (0..plane).step_by(COLUMNS) {
            let count = COLUMNS.min(plane - first);
            columns.clear();
            for z in 0..self.shape[0] {
                columns.extend_from_slice(&source.unwrap_or(out)[z * plane + first..][..count]);
            }
            made.resize(self.new_shape[0] * count, 0.0);
            plane::along_columns(&self.z, columns, count, made, lines);
            if let Some(range) = range {
                range.clip(made);
            }
            for (z, made) in made.chunks_exact(count).enumerate() {
                out[z * plane + first..][..count].copy_from_slice(made);
            }
        }
    }
}

/// Columns that are resampled along z at a time: enough for whole cache lines, few enough for the cache.
const COLUMNS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATE: Rule = Rule { separate: Some(true), ..Rule::CUBIC };
    /// Spacings whose longest is z.
    const LONG_Z: [f64; 3] = [5.0, 1.0, 1.0];

    fn waves(shape: [usize; 4]) -> Volume<f32> {
        Volume::new(shape, (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.7).sin()).collect())
    }

    #[test]
    fn the_same_shape_returns_the_same_bits() {
        let mut image = waves([2, 3, 4, 5]);
        image.data_mut()[7] = f32::NAN;
        let same = resample_image(&image, [3, 4, 5], LONG_Z, [1.0; 3], Rule::CUBIC);
        assert!(same.data().iter().zip(image.data()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn an_unchanged_axis_keeps_its_lines_apart() {
        let mut image = Volume::filled([1, 2, 3, 3], 0.0);
        image.data_mut()[9..].fill(1.0);
        let out = resample_image(&image, [2, 6, 5], [1.0; 3], [1.0; 3], Rule::CUBIC);
        assert!(out.data()[..30].iter().all(|v| *v == 0.0) && out.data()[30..].iter().all(|v| (v - 1.0).abs() < 1e-6));
    }

    #[test]
    fn the_separate_axis_repeats_and_drops_planes_bit_by_bit() {
        let image = waves([1, 3, 2, 2]);
        let plane = |z: usize| &image.data()[z * 4..][..4];
        let more = resample_image(&image, [5, 2, 2], LONG_Z, [3.0, 1.0, 1.0], SEPARATE);
        assert_eq!(more.data(), [plane(0), plane(0), plane(1), plane(2), plane(2)].concat());
        let fewer = resample_image(&image, [1, 2, 2], LONG_Z, [15.0, 1.0, 1.0], SEPARATE);
        assert_eq!(fewer.data(), plane(1));
    }

    #[test]
    fn channels_do_not_meet_while_planes_wait() {
        let image = waves([3, 9, 6, 5]);
        let all = resample_image(&image, [4, 7, 3], [1.0; 3], [1.0; 3], Rule::CUBIC);
        for c in 0..3 {
            let one = Volume::new([1, 9, 6, 5], image.channel(c).to_vec());
            assert_eq!(resample_image(&one, [4, 7, 3], [1.0; 3], [1.0; 3], Rule::CUBIC).data(), all.channel(c));
        }
    }

    #[test]
    fn an_image_of_nan_stays_nan() {
        let image = Volume::filled([1, 3, 3, 3], f32::NAN);
        assert!(resample_image(&image, [4, 4, 4], [1.0; 3], [1.0; 3], Rule::CUBIC).data().iter().all(|v| v.is_nan()));
    }

    #[test]
    fn values_stay_in_range_although_splines_overshoot() {
        let mut image = Volume::filled([1, 1, 1, 12], 0.0);
        image.data_mut()[6..].fill(1.0);
        let out = resample_image(&image, [1, 1, 31], [1.0; 3], [1.0; 3], Rule::CUBIC);
        assert!(out.data().iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
