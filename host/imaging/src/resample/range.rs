//! The range that interpolated images are clipped to, since cubic splines overshoot.

/// Smallest and largest of some values, NaN left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    min: f32,
    max: f32,
}

impl Range {
    /// The range of `values`; an empty one, which clips nothing, when all are NaN.
    pub fn of(values: &[f32]) -> Self {
        // Side by side, since a single running minimum would wait for itself. A comparison with NaN is false, which leaves it out.
        const LANES: usize = 32;
        let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (chunks, rest) = values.as_chunks::<LANES>();
        let rest: [f32; LANES] = std::array::from_fn(|i| rest.get(i).copied().unwrap_or(f32::NAN));
        for chunk in chunks.iter().chain([&rest]) {
            for lane in 0..LANES {
                min[lane] = if chunk[lane] < min[lane] { chunk[lane] } else { min[lane] };
                max[lane] = if chunk[lane] > max[lane] { chunk[lane] } else { max[lane] };
            }
        }
        Self { min: min.into_iter().fold(f32::INFINITY, f32::min), max: max.into_iter().fold(f32::NEG_INFINITY, f32::max) }
    }

    /// Brings `values` into the range. NaN stays.
    pub fn clip(self, values: &mut [f32]) {
        if self.min > self.max {
            return;
        }
        for value in values {
            let raised = if *value < self.min { self.min } else { *value };
            *value = if raised > self.max { self.max } else { raised };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_neither_counts_nor_changes() {
        let mut values: Vec<f32> = (0..77).map(|i| i as f32 - 40.0).collect();
        values[3] = f32::NAN;
        let range = Range::of(&values);
        assert_eq!(range, Range { min: -40.0, max: 36.0 });
        let mut wild = [-50.0, 50.0, f32::NAN, 0.5];
        range.clip(&mut wild);
        assert_eq!((wild[0], wild[1], wild[3]), (-40.0, 36.0, 0.5));
        assert!(wild[2].is_nan());
    }

    #[test]
    fn a_range_of_nothing_clips_nothing() {
        let mut values = [1.0, -1.0];
        Range::of(&[f32::NAN; 2]).clip(&mut values);
        assert_eq!(values, [1.0, -1.0]);
    }
}
