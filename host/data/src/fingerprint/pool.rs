//! Statistics of what was drawn from all cases together: numpy's `mean`, `std`, `min`, `max` and `percentile`.
//!
//! Two passes over values and how often each came: the first gives sum and extremes and finds out where the percentiles
//! roughly are, the second gives the deviation and finds them to the bit. Nothing is sorted or copied.

use imaging::normalise::IntensityProperties;

use super::sample::Sample;

/// nnU-Net's percentiles: 0.5, 50 and 99.5.
const QUANTILES: [f64; 3] = [0.5 / 100.0, 50.0 / 100.0, 99.5 / 100.0];

/// Statistics of all samples together; `None` when all are empty.
///
/// nnU-Net pools 32-bit floats, unless a case has no foreground: its empty list makes numpy go over to 64 bits. Mean and
/// deviation come out in that precision, but from sums in 64 bits, which agree with numpy's to the last bit or two.
pub(super) fn pool(samples: &[&Sample]) -> Option<IntensityProperties> {
    let values = || samples.iter().flat_map(|sample| sample.iter());
    let (mut count, mut sum, mut min, mut max) = (0, 0.0, f32::INFINITY, f32::NEG_INFINITY);
    let mut upper = Histogram::new();
    for (value, times) in values() {
        count += times;
        sum += f64::from(value) * times as f64;
        min = min.min(value);
        max = max.max(value);
        upper.add(key(value) >> 16, times);
    }
    if count == 0 {
        return None;
    }
    let mean = sum / count as f64;

    // The values at two ranks make a percentile. A rank's upper half of bits is known now; what shares it is told apart by
    // the lower half.
    let positions = QUANTILES.map(|quantile| (count - 1) as f64 * quantile);
    let ranks = positions.map(|position| [position as u64, (position as u64 + 1).min(count - 1)]);
    let located = ranks.map(|pair| pair.map(|rank| upper.find(rank)));
    let mut lower_of = vec![None; 1 << 16];
    let mut lower = Vec::new();
    for (half, _) in located.as_flattened() {
        lower_of[*half as usize].get_or_insert_with(|| {
            lower.push(Histogram::new());
            lower.len() - 1
        });
    }
    let mut squares = 0.0;
    for (value, times) in values() {
        squares += (f64::from(value) - mean).powi(2) * times as f64;
        let key = key(value);
        if let Some(index) = lower_of[(key >> 16) as usize] {
            lower[index].add(key & 0xffff, times);
        }
    }
    let value_at = |(half, rank): (u32, u64)| {
        let index = lower_of[half as usize].expect("every located half has a histogram");
        value_of(half << 16 | lower[index].find(rank).0)
    };

    let single = samples.iter().all(|sample| !sample.is_empty());
    let percentile = |index: usize| {
        let [a, b] = located[index].map(value_at);
        interpolate(a, b, positions[index].fract(), single)
    };
    let round = |value: f64| if single { f64::from(value as f32) } else { value };
    Some(IntensityProperties {
        max: f64::from(max),
        mean: round(mean),
        median: percentile(1),
        min: f64::from(min),
        percentile_00_5: percentile(0),
        percentile_99_5: percentile(2),
        std: round((squares / count as f64).sqrt()),
    })
}

/// How often each of 2^16 halves of a key came.
struct Histogram(Vec<u64>);

impl Histogram {
    fn new() -> Self {
        Self(vec![0; 1 << 16])
    }

    fn add(&mut self, half: u32, times: u64) {
        self.0[half as usize] += times;
    }

    /// The half at `rank` in ascending order, from 0, and the rank among those with that half.
    fn find(&self, rank: u64) -> (u32, u64) {
        let mut rest = rank;
        for (half, times) in self.0.iter().enumerate() {
            if rest < *times {
                return (half as u32, rest);
            }
            rest -= times;
        }
        unreachable!("ranks are below the number of values")
    }
}

/// Bits that order as the value does.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// numpy's `_lerp`, which takes the difference in the precision of the values.
fn interpolate(a: f32, b: f32, fraction: f64, single: bool) -> f64 {
    let difference = if single { f64::from(b - a) } else { f64::from(b) - f64::from(a) };
    let [a, b] = [a, b].map(f64::from);
    if fraction >= 0.5 { b - difference * (1.0 - fraction) } else { a + difference * fraction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_values_do_and_give_them_back() {
        let values = [f32::MIN, -2.5, -1e-40, 0.0, 1e-40, 1.0, 1.0000001, f32::MAX];
        assert!(values.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert!(values.iter().all(|value| value_of(key(*value)) == *value));
    }

    #[test]
    fn empty_samples_have_no_statistics() {
        assert!(pool(&[&Sample::default(), &Sample::default()]).is_none());
        assert!(pool(&[]).is_none());
    }
}
