//! Median and percentile to the last bit: planning decisions hang on ties.

/// `numpy.median(values)`, NaN without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// `numpy.percentile(values, q)` with its linear interpolation; `values` not empty.
pub fn percentile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = q / 100.0 * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (a, b, t) = (sorted[below], sorted[above], position - position.floor());
    // numpy interpolates from the nearer end.
    if t >= 0.5 { b - (b - a) * (1.0 - t) } else { a + (b - a) * t }
}

/// Applies `statistic` to every column.
pub fn per_axis(rows: &[[f64; 3]], statistic: impl Fn(&[f64]) -> f64) -> [f64; 3] {
    std::array::from_fn(|axis| statistic(&rows.iter().map(|row| row[axis]).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_equal_numpy() {
        let values = [3.0, 1.0, 2.0, 10.0];
        assert_eq!(percentile(&values, 50.0), 2.5);
        // numpy.percentile([3, 1, 2, 10], 10) and 99.5
        assert_eq!(percentile(&values, 10.0), 1.3);
        assert_eq!(percentile(&values, 99.5), 9.895);
        assert_eq!(percentile(&[7.0], 50.0), 7.0);
    }
}
