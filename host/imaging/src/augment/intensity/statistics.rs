//! Mean, spread and range of a channel.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statistics {
    pub mean: f64,
    /// With Bessel's correction, as `torch.Tensor.std`.
    pub std: f64,
    pub min: f32,
    pub max: f32,
}

impl Statistics {
    /// In one pass; sums in f64. Several partial results side by side let the compiler use vector instructions.
    pub(super) fn of(values: &[f32]) -> Self {
        const LANES: usize = 8;
        let mut sum = [0.0_f64; LANES];
        let mut squares = [0.0_f64; LANES];
        let mut min = [f32::INFINITY; LANES];
        let mut max = [f32::NEG_INFINITY; LANES];
        for chunk in values.chunks(LANES) {
            for (lane, &value) in chunk.iter().enumerate() {
                let wide = f64::from(value);
                sum[lane] += wide;
                squares[lane] += wide * wide;
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
            }
        }
        let n = values.len().max(1) as f64;
        let mean = sum.iter().sum::<f64>() / n;
        let variance = (squares.iter().sum::<f64>() - n * mean * mean) / (n - 1.0).max(1.0);
        Self {
            mean,
            std: variance.max(0.0).sqrt(),
            min: min.into_iter().fold(f32::INFINITY, f32::min),
            max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_few_values() {
        let values: Vec<f32> = (1..=11).map(|i| i as f32).collect();
        let statistics = Statistics::of(&values);
        assert_eq!((statistics.mean, statistics.min, statistics.max), (6.0, 1.0, 11.0));
        assert!((statistics.std - 11.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Statistics::of(&[4.0; 9]).std, 0.0);
    }
}
