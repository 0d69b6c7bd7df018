//! What varies across the patch: a smooth bump that brightens, or where gamma is stronger.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::math::power;
use crate::augment::random::{chance, uniform};
use crate::augment::scratch::Scratch;
use crate::multiversion::multiversion;

/// Adds a smooth bump to some channels (batchgeneratorsv2 `local/brightness_gradient.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrightnessGradient {
    /// Where bumps are and how wide.
    pub bump: BumpRange,
    /// Range of the height of the peak, which is positive or negative equally often.
    pub strength: [f64; 2],
    /// For each channel.
    pub channel_probability: f64,
}

/// A bump that is added.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct AddGradient {
    pub bump: Bump,
    pub strength: f64,
}

impl Transform for BrightnessGradient {
    type Drawn = AddGradient;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, AddGradient)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| {
            let bump = self.bump.draw(patch.size, rng);
            let sign = if chance(rng, 0.5) { -1.0 } else { 1.0 };
            AddGradient { bump, strength: sign * uniform(rng, self.strength) }
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        self.bump.check(place)?;
        place.range("strength", self.strength, 0.0, 1e3)
    }
}

impl Operate for AddGradient {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        add_gradient(channel, &self.bump, self.strength as f32);
    }
}

/// Blends some channels, scaled to 0 to 1, with a power of themselves where a smooth bump is high (batchgeneratorsv2
/// `local/local_gamma.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalGamma {
    /// Where bumps are and how wide.
    pub bump: BumpRange,
    /// Two ranges of the exponent; each is drawn from equally often.
    pub exponent: [[f64; 2]; 2],
    /// For each channel.
    pub channel_probability: f64,
}

/// A power where a bump is high.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct RaiseLocally {
    pub bump: Bump,
    pub exponent: f64,
}

impl Transform for LocalGamma {
    type Drawn = RaiseLocally;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, RaiseLocally)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| {
            let bump = self.bump.draw(patch.size, rng);
            let range = self.exponent[usize::from(!chance(rng, 0.5))];
            RaiseLocally { bump, exponent: uniform(rng, range) }
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        self.bump.check(place)?;
        self.exponent.iter().try_for_each(|exponent| place.range("exponent", *exponent, 0.01, 100.0))
    }
}

impl Operate for RaiseLocally {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        local_gamma(channel, &self.bump, self.exponent as f32);
    }
}

/// Where bumps are and how wide. Both are drawn for every axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BumpRange {
    /// Range of the centre, as a share of the patch's size.
    pub centre: [f64; 2],
    /// Range of the standard deviation along (z, y, x), in voxels; its logarithm is drawn uniformly.
    pub width: [[f64; 2]; 3],
}

impl BumpRange {
    fn check(&self, place: &Place) -> Result<(), Error> {
        place.range("bump.centre", self.centre, -10.0, 10.0)?;
        self.width.iter().try_for_each(|width| place.range("bump.width", *width, 0.1, 1e5))
    }

    fn draw(&self, size: [usize; 3], rng: &mut impl Rng) -> Bump {
        Bump {
            centre: size.map(|size| uniform(rng, self.centre) * size as f64),
            width: self.width.map(|range| uniform(rng, range.map(f64::ln)).exp()),
        }
    }
}

/// A Gaussian, integrated over each voxel and scaled to run from 0 to 1 within the patch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Bump {
    /// (z, y, x) in voxels, from the centre of the patch's first voxel; may lie outside.
    pub centre: [f64; 3],
    /// Standard deviation along (z, y, x) in voxels.
    pub width: [f64; 3],
}

/// A bump of one patch: a product of one factor for each axis.
struct Profile {
    axes: [Vec<f32>; 3],
    /// Scales the product to 0 to 1.
    factor: f32,
    shift: f32,
}

impl Bump {
    fn profile(&self, spatial: [usize; 3]) -> Profile {
        let axes: [Vec<f32>; 3] = std::array::from_fn(|axis| {
            if spatial[axis] == 1 {
                return vec![1.0];
            }
            let below = |face: usize| {
                let distance = (face as f64 - 0.5 - self.centre[axis]) / self.width[axis];
                0.5 * libm::erfc(-distance / std::f64::consts::SQRT_2)
            };
            let shares: Vec<f64> = (0..spatial[axis]).map(|i| below(i + 1) - below(i)).collect();
            // Only the form matters, and far from the centre the numbers are tiny.
            let most = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            shares.iter().map(|share| (share / most) as f32).collect()
        });
        let extreme = |pick: fn(f32, f32) -> f32| axes.iter().map(|axis| axis.iter().copied().reduce(pick).unwrap_or(1.0)).product::<f32>();
        let (low, high) = (extreme(f32::min), extreme(f32::max));
        let factor = if high > low { 1.0 / (high - low) } else { 1.0 };
        Profile { axes, factor, shift: -low * factor }
    }
}

impl Profile {
    /// Calls `visit` with every row of a channel, and what the factor for x has to be multiplied by there.
    fn for_each_row(&self, values: &mut [f32], mut visit: impl FnMut(&mut [f32], f32)) {
        let [zs, ys, xs] = &self.axes;
        let mut rows = values.chunks_exact_mut(xs.len());
        for z in zs {
            for (y, row) in ys.iter().zip(&mut rows) {
                visit(row, z * y * self.factor);
            }
        }
    }
}

/// Adds `bump`, its peak being `strength` high.
fn add_gradient(channel: &mut Channel, bump: &Bump, strength: f32) {
    let profile = bump.profile(channel.spatial);
    profile.for_each_row(channel.settle(), |row, factor| add_row(row, &profile.axes[2], factor * strength, profile.shift * strength));
}

multiversion! {
    fn add_row(row: &mut [f32], xs: &[f32], factor: f32, shift: f32) {
        for (value, x) in row.iter_mut().zip(xs) {
            *value += x * factor + shift;
        }
    }
}

/// Blends the channel with its power `exponent`, taken between its extremes, by the height of `bump`.
fn local_gamma(channel: &mut Channel, bump: &Bump, exponent: f32) {
    /// Of batchgeneratorsv2: keeps flat channels from dividing by zero.
    const EPSILON: f32 = 1e-8;
    let profile = bump.profile(channel.spatial);
    let before = channel.statistics();
    let range = (before.max - before.min).max(EPSILON);
    profile.for_each_row(channel.settle(), |row, factor| {
        raise_row(row, &profile.axes[2], [factor, profile.shift], [before.min, range], exponent);
    });
}

multiversion! {
    fn raise_row(row: &mut [f32], xs: &[f32], bump: [f32; 2], span: [f32; 2], exponent: f32) {
        let ([factor, shift], [min, range]) = (bump, span);
        for (value, x) in row.iter_mut().zip(xs) {
            let (share, position) = (x * factor + shift, (*value - min) / range);
            *value = (position * (1.0 - share) + power(position, exponent) * share) * range + min;
        }
    }
}
