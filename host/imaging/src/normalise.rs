//! Intensity normalisation of one channel, as nnU-Net does it (`default_normalization_schemes.py`): after cropping, before
//! resampling, in 32-bit arithmetic.

use serde::{Deserialize, Serialize};

use crate::io::number;

/// Standard deviations are not divided by when smaller than this.
const EPSILON: f64 = 1e-8;

/// How the intensities of a channel are scaled; a plans file names one per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// Clip to the dataset's foreground percentiles 0.5 and 99.5, then z-score with the dataset's foreground mean and deviation.
    Ct,
    /// Subtract the image's mean, divide by its standard deviation; over the mask alone where one is given.
    ZScore,
    /// Leave the intensities alone.
    None,
    /// Shift and scale so that the image's range becomes 0 to 1.
    RescaleTo01,
    /// Divide 8-bit colours by 255.
    RgbTo01,
}

/// Intensities of a channel's foreground over the whole dataset, under the names that nnU-Net's fingerprint and plans use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it all
pub struct IntensityProperties {
    #[serde(deserialize_with = "number")]
    pub max: f64,
    #[serde(deserialize_with = "number")]
    pub mean: f64,
    #[serde(deserialize_with = "number")]
    pub median: f64,
    #[serde(deserialize_with = "number")]
    pub min: f64,
    #[serde(deserialize_with = "number")]
    pub percentile_00_5: f64,
    #[serde(deserialize_with = "number")]
    pub percentile_99_5: f64,
    #[serde(deserialize_with = "number")]
    pub std: f64,
}

impl IntensityProperties {
    /// Whether those by which a channel is normalised are numbers.
    fn are_known(&self) -> bool {
        [self.mean, self.std, self.percentile_00_5, self.percentile_99_5].iter().all(|value| value.is_finite())
    }
}

/// Why a channel cannot be normalised. The caller knows which file it came from and adds that.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// [`Normalisation::Ct`] needs the dataset's intensities.
    #[error(
        "CTNormalization needs this channel's foreground intensity properties, and the plans have none; run the fingerprint and plan again"
    )]
    PropertiesMissing,
    /// [`Normalisation::RgbTo01`] is for 8-bit colours.
    #[error("RGBTo01Normalization expects values from 0 to 255 and found {found}; name the channel by what it holds in dataset.json")]
    NotRgb {
        /// The first value outside of the range.
        found: f32,
    },
    /// A plans file names a scheme that is not known here.
    #[error(
        "unknown normalisation scheme '{name}'; known are CTNormalization, ZScoreNormalization, NoNormalization, RescaleTo01Normalization and RGBTo01Normalization"
    )]
    UnknownScheme {
        /// As the plans file has it.
        name: String,
    },
}

impl Normalisation {
    /// The scheme that a plans file names, for instance `ZScoreNormalization`.
    pub fn from_plans_name(name: &str) -> Result<Self, Error> {
        [Self::Ct, Self::ZScore, Self::None, Self::RescaleTo01, Self::RgbTo01]
            .into_iter()
            .find(|scheme| scheme.plans_name() == name)
            .ok_or_else(|| Error::UnknownScheme { name: name.to_owned() })
    }

    /// The name of this scheme in a plans file.
    pub fn plans_name(self) -> &'static str {
        match self {
            Self::Ct => "CTNormalization",
            Self::ZScore => "ZScoreNormalization",
            Self::None => "NoNormalization",
            Self::RescaleTo01 => "RescaleTo01Normalization",
            Self::RgbTo01 => "RGBTo01Normalization",
        }
    }

    /// The scheme for a channel that `dataset.json` calls `name`; names without a meaning get z-score
    /// (nnU-Net's `map_channel_name_to_normalization.py`).
    pub fn from_channel_name(name: &str) -> Self {
        match name.to_lowercase().as_str() {
            "ct" => Self::Ct,
            "nonorm" => Self::None,
            "rescale_to_0_1" => Self::RescaleTo01,
            "rgb_to_0_1" => Self::RgbTo01,
            _ => Self::ZScore,
        }
    }

    /// Refuses a channel whose values this scheme is not for.
    ///
    /// # Errors
    /// When a value is no 8-bit colour, and the scheme wants such.
    pub fn check(self, channel: &[f32]) -> Result<(), Error> {
        // Written so that NaN is refused, too.
        match channel.iter().find(|value| self == Self::RgbTo01 && !(0.0..=255.0).contains(*value)) {
            Some(&found) => Err(Error::NotRgb { found }),
            None => Ok(()),
        }
    }

    /// Normalises `channel` in place.
    ///
    /// `mask` is for [`Self::ZScore`] alone: voxels outside of it are neither counted nor changed. `properties` is for [`Self::Ct`].
    /// An error leaves the channel as it was.
    pub fn apply(self, channel: &mut [f32], mask: Option<&[bool]>, properties: Option<&IntensityProperties>) -> Result<(), Error> {
        match self {
            Self::None => {}
            Self::Ct => ct(channel, properties.filter(|properties| properties.are_known()).ok_or(Error::PropertiesMissing)?),
            Self::ZScore => z_score(channel, mask),
            Self::RescaleTo01 => rescale_to_01(channel),
            Self::RgbTo01 => {
                self.check(channel)?;
                channel.iter_mut().for_each(|value| *value /= 255.0);
            }
        }
        Ok(())
    }
}

fn ct(channel: &mut [f32], properties: &IntensityProperties) {
    let (lower, upper) = (properties.percentile_00_5 as f32, properties.percentile_99_5 as f32);
    let (mean, std) = (properties.mean as f32, properties.std.max(EPSILON) as f32);
    for value in channel {
        // Not `clamp`, which panics on the bounds of a damaged plans file.
        let clipped = if *value < lower { lower } else { *value };
        let clipped = if clipped > upper { upper } else { clipped };
        *value = (clipped - mean) / std;
    }
}

fn z_score(channel: &mut [f32], mask: Option<&[bool]>) {
    let (mean, std) = mean_and_std(channel, mask);
    match mask {
        None => channel.iter_mut().for_each(|value| *value = (*value - mean) / std),
        Some(mask) => {
            for (value, inside) in channel.iter_mut().zip(mask) {
                *value = if *inside { (*value - mean) / std } else { *value };
            }
        }
    }
}

/// Mean and population standard deviation of what is inside `mask`, the latter at least [`EPSILON`]. Sums are in 64 bits: a plain
/// 32-bit sum over an image loses several digits, which numpy avoids by adding in pairs.
fn mean_and_std(channel: &[f32], mask: Option<&[bool]>) -> (f32, f32) {
    let count = mask.map_or(channel.len(), |mask| mask.iter().filter(|inside| **inside).count()) as f64;
    let mean = sum(channel, mask, |value| value) / count;
    let variance = sum(channel, mask, |value| (value - mean) * (value - mean)) / count;
    (mean as f32, variance.sqrt().max(EPSILON) as f32)
}

/// The sum of `term` over the values inside `mask`.
fn sum(channel: &[f32], mask: Option<&[bool]>, term: impl Fn(f64) -> f64) -> f64 {
    // Side by side, since every addition to a single sum would wait for the one before.
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    match mask {
        None => {
            for values in channel.chunks(LANES) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += term(f64::from(*value)));
            }
        }
        Some(mask) => {
            for (values, inside) in channel.chunks(LANES).zip(mask.chunks(LANES)) {
                for ((sum, value), inside) in sums.iter_mut().zip(values).zip(inside) {
                    *sum += if *inside { term(f64::from(*value)) } else { 0.0 };
                }
            }
        }
    }
    sums.iter().sum()
}

fn rescale_to_01(channel: &mut [f32]) {
    let min = channel.iter().copied().fold(f32::INFINITY, f32::min);
    let max = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = (max - min).max(EPSILON as f32);
    channel.iter_mut().for_each(|value| *value = (*value - min) / range);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z_score_with_a_mask_leaves_the_outside_alone() {
        let mut channel = [1.0, 3.0, 100.0, -7.0];
        Normalisation::ZScore.apply(&mut channel, Some(&[true, true, false, false]), None).unwrap();
        assert_eq!(channel, [-1.0, 1.0, 100.0, -7.0]);
    }

    #[test]
    fn z_score_of_a_constant_image_is_zero() {
        let mut channel = [5.0; 4];
        Normalisation::ZScore.apply(&mut channel, None, None).unwrap();
        assert_eq!(channel, [0.0; 4]);
    }

    #[test]
    fn ct_clips_before_it_scales() {
        let properties =
            IntensityProperties { max: 9.0, mean: 1.0, median: 1.0, min: -9.0, percentile_00_5: -3.0, percentile_99_5: 5.0, std: 2.0 };
        let mut channel = [-100.0, 1.0, 100.0, f32::NAN];
        Normalisation::Ct.apply(&mut channel, None, Some(&properties)).unwrap();
        assert_eq!(channel[..3], [-2.0, 0.0, 2.0]);
        assert!(channel[3].is_nan());
        assert_eq!(Normalisation::Ct.apply(&mut channel, None, None), Err(Error::PropertiesMissing));
    }

    #[test]
    fn ranges_are_brought_to_0_and_1() {
        let mut channel = [-2.0, 0.0, 2.0];
        Normalisation::RescaleTo01.apply(&mut channel, None, None).unwrap();
        assert_eq!(channel, [0.0, 0.5, 1.0]);

        let mut rgb = [0.0, 51.0, 255.0];
        Normalisation::RgbTo01.apply(&mut rgb, None, None).unwrap();
        assert_eq!(rgb, [0.0, 0.2, 1.0]);
        assert_eq!(Normalisation::RgbTo01.apply(&mut [3.0, 256.0], None, None), Err(Error::NotRgb { found: 256.0 }));
    }

    #[test]
    fn names_are_those_of_nnunet() {
        assert_eq!(Normalisation::from_channel_name("CT"), Normalisation::Ct);
        assert_eq!(Normalisation::from_channel_name("MRI"), Normalisation::ZScore);
        assert_eq!(Normalisation::from_plans_name("RGBTo01Normalization"), Ok(Normalisation::RgbTo01));
        assert!(Normalisation::from_plans_name("zscore").unwrap_err().to_string().contains("'zscore'"));
    }
}
