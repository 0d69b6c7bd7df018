//! Statistics of paired samples: whether one method (a loss, say) is better than another on the same cases, and by how much.

use std::iter::repeat_n;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// Most differences for which the signed-rank test enumerates all signs, whether or not some are tied or zero.
const EXACT: usize = 13;

/// The same where none is tied or zero.
const EXACT_UNTIED: usize = 50;

/// What paired values of two methods say of their difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Pairs in which both values are finite; those whose difference overflows are left out, too.
    pub pairs: usize,
    /// Mean of the first method over these.
    pub first: f64,
    /// Mean of the second method over these.
    pub second: f64,
    /// Mean of second − first.
    pub difference: f64,
    /// 95 % bootstrap confidence interval of the difference (percentile, 10,000 resamples of cases).
    pub interval: [f64; 2],
    /// Pairs in which the second is larger.
    pub larger: usize,
    /// Pairs in which the second is smaller.
    pub smaller: usize,
    /// Two-sided p of Wilcoxon's signed-rank test; 1 where all differences are 0.
    pub p: f64,
}

/// Compares two methods by their values (first, second) of the same cases. None without any finite pair.
///
/// Equal pairs, order included, and an equal `seed` give equal results.
pub fn compare(pairs: &[(f64, f64)], seed: u64) -> Option<Paired> {
    // The difference of a pair that is not finite is not finite either.
    let pairs: Vec<(f64, f64)> = pairs.iter().copied().filter(|(first, second)| (second - first).is_finite()).collect();
    if pairs.is_empty() {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    Some(Paired {
        pairs: pairs.len(),
        first: mean(pairs.iter().map(|pair| pair.0)),
        second: mean(pairs.iter().map(|pair| pair.1)),
        difference: mean(differences.iter().copied()),
        interval: mean_interval(&differences, seed).unwrap_or([f64::NAN; 2]),
        larger: differences.iter().filter(|&&d| d > 0.0).count(),
        smaller: differences.iter().filter(|&&d| d < 0.0).count(),
        p: wilcoxon(&differences),
    })
}

/// Two-sided p of Wilcoxon's signed-rank test that differences are symmetric about 0; 1 where all are 0, or there are none.
///
/// It is that of SciPy 1.17's `wilcoxon` with its defaults: zeros are dropped before ranking, tied differences share their mean
/// rank, and there is no correction for continuity. The distribution of the rank sum is exact up to 13 differences (zeros included),
/// or up to 50 if none is tied or zero; beyond, it is normal, with the variance corrected for ties. Nothing is random. Differences
/// that are not finite are dropped. SciPy gives NaN for more than 13 zeros, and an error for a single one.
pub fn wilcoxon(differences: &[f64]) -> f64 {
    let finite = differences.iter().copied().filter(|d| d.is_finite());
    let count = finite.clone().count();
    let mut nonzero: Vec<f64> = finite.filter(|&d| d != 0.0).collect();
    if nonzero.is_empty() {
        return 1.0;
    }
    nonzero.sort_by(|a, b| a.abs().total_cmp(&b.abs()));

    // Ranks are doubled, to be whole: the mean of tied ones may be a half.
    let mut ranks = Vec::with_capacity(nonzero.len());
    let mut positive = 0;
    let mut ties = 0.0;
    for tied in nonzero.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = 2 * ranks.len() + tied.len() + 1;
        positive += rank * tied.iter().filter(|&&d| d > 0.0).count();
        let size = tied.len() as f64;
        ties += size * size * size - size;
        ranks.extend(repeat_n(rank, tied.len()));
    }

    let untied = nonzero.len() == count && ties == 0.0;
    if count <= if untied { EXACT_UNTIED } else { EXACT } {
        return exact(&ranks, positive);
    }
    let n = nonzero.len() as f64;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
    let z = (positive as f64 / 2.0 - n * (n + 1.0) / 4.0) / variance.sqrt();
    libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
}

/// Two-sided p of a sum of positive `ranks` (at most 50), if each is positive with probability ½.
fn exact(ranks: &[usize], sum: usize) -> f64 {
    // Number of choices of signs for each sum.
    let mut choices = vec![0_u64; ranks.iter().sum::<usize>() + 1];
    choices[0] = 1;
    for &rank in ranks {
        for total in (rank..choices.len()).rev() {
            choices[total] += choices[total - rank];
        }
    }
    let lower: u64 = choices[..=sum].iter().sum();
    let upper: u64 = choices[sum..].iter().sum();
    (2.0 * lower.min(upper) as f64 / (1_u64 << ranks.len()) as f64).min(1.0)
}

/// Holm's correction of several p-values, in their order.
///
/// A NaN, of a test that could not be made, stays NaN and does not count as one of them.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = p.to_vec();
    let mut largest = 0.0_f64;
    for (smaller, &i) in order.iter().enumerate() {
        largest = largest.max((order.len() - smaller) as f64 * p[i]).min(1.0);
        corrected[i] = largest;
    }
    corrected
}

/// 95 % bootstrap confidence interval of the mean of `values`: 2.5 % and 97.5 % quantiles of the means of 10,000 resamples. None without a value.
pub fn mean_interval(values: &[f64], seed: u64) -> Option<[f64; 2]> {
    if values.is_empty() {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // The upper half of a widening product: the bias of an index is below n / 2⁶⁴.
    let mut draw = || values[((u128::from(rng.next_u64()) * values.len() as u128) >> 64) as usize];
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean((0..values.len()).map(|_| draw()))).collect();
    means.sort_by(f64::total_cmp);
    Some([0.025, 0.975].map(|share| quantile(&means, share)))
}

/// Quantile of `sorted` values, of which there must be some, by linear interpolation.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    let part = place - below as f64;
    // The bounds make the quantile of equal values exactly theirs.
    (low * (1.0 - part) + high * part).max(low).min(high)
}

/// Mean of values, updated one by one: unlike a sum it cannot overflow, and that of equal values is exactly theirs.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    values.zip(1_u64..).fold(0.0, |mean, (value, count)| mean + (value / count as f64 - mean / count as f64))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Written by make_paired.py.
    const GOLDEN: &str = include_str!("../../../../tests/golden/paired.json");

    fn golden(section: &str) -> Vec<Value> {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        golden[section].as_array().unwrap().clone()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn pairs(differences: &[f64]) -> Vec<(f64, f64)> {
        differences.iter().map(|&d| (0.0, d)).collect()
    }

    fn assert_close(actual: f64, expected: f64, what: &Value) {
        let error = (actual - expected).abs();
        assert!(error <= 1e-14 || error <= 1e-12 * expected.abs(), "{what}: {actual} instead of {expected}");
    }

    #[test]
    fn wilcoxon_is_that_of_scipy() {
        let cases = golden("wilcoxon");
        assert!(cases.len() >= 25);
        for case in cases {
            let mut differences = numbers(&case["differences"]);
            let expected = case["p"].as_f64().unwrap();
            assert_close(wilcoxon(&differences), expected, &case["name"]);
            // Neither the order, nor the direction, nor the unit matters.
            differences.reverse();
            differences.iter_mut().for_each(|d| *d *= -4.0);
            assert_close(wilcoxon(&differences), expected, &case["name"]);
        }
    }

    #[test]
    fn wilcoxon_of_nothing_or_of_zeros_is_one() {
        assert_eq!(wilcoxon(&[]), 1.0);
        assert_eq!(wilcoxon(&[f64::NAN, f64::INFINITY]), 1.0);
        assert_eq!(wilcoxon(&[0.0, -0.0]), 1.0);
        // Those dropped do not count towards the limit of the exact test.
        let differences: Vec<f64> = (1..=50).map(f64::from).chain([f64::NAN; 9]).collect();
        assert_eq!(wilcoxon(&differences), 0.5_f64.powi(49));
    }

    #[test]
    fn interval_is_near_that_of_scipy() {
        // Longer ones would say no more, and take seconds without optimisation.
        for case in golden("wilcoxon").into_iter().filter(|case| numbers(&case["differences"]).len() <= 60) {
            let differences = numbers(&case["differences"]);
            let result = compare(&pairs(&differences), 7).unwrap();
            let expected = case["interval"].as_array().map_or(vec![differences[0]; 2], |_| numbers(&case["interval"]));
            for (actual, expected_end) in result.interval.into_iter().zip(&expected) {
                let tolerance = 0.05 * (expected[1] - expected[0]);
                assert!((actual - expected_end).abs() <= tolerance, "{}: {:?} instead of {expected:?}", case["name"], result.interval);
            }
            assert!(result.interval[0] <= result.difference && result.difference <= result.interval[1], "{}", case["name"]);
        }
    }

    #[test]
    fn interval_of_equal_differences_is_their_value() {
        for (value, count) in [(0.1, 3), (-0.7, 11), (1.0 / 3.0, 50), (0.0, 20), (1e308, 30), (5e-324, 9), (0.1, 1)] {
            let result = compare(&pairs(&vec![value; count]), 1).unwrap();
            assert_eq!((result.difference, result.interval), (value, [value; 2]));
        }
    }

    #[test]
    fn interval_follows_from_the_seed() {
        let pairs = pairs(&[0.3, -0.1, 0.25, 0.9, -0.35, 0.05, 0.6]);
        assert_eq!(compare(&pairs, 1), compare(&pairs, 1));
        assert_ne!(compare(&pairs, 1), compare(&pairs, 2));
    }

    #[test]
    fn quantile_is_interpolated() {
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        assert_eq!([0.0, 0.25, 0.375, 0.9, 1.0].map(|share| quantile(&sorted, share)), [1.0, 2.0, 3.0, 12.8, 16.0]);
        assert_eq!(quantile(&[3.0], 0.975), 3.0);
        for value in (1..100).map(|i| f64::from(i) / 7.0) {
            assert_eq!([0.025, 0.3, 0.975].map(|share| quantile(&[value; 2], share)), [value; 3]);
        }
    }

    #[test]
    fn compare_counts_finite_pairs_only() {
        let nan = f64::NAN;
        let infinite = f64::INFINITY;
        let dropped = [(nan, 1.0), (1.0, nan), (infinite, infinite), (0.5, -infinite), (-f64::MAX, f64::MAX)];
        assert_eq!(compare(&dropped, 0), None);
        assert_eq!(compare(&[], 0), None);

        let kept = [(0.5, 0.75), (0.25, 0.25), (1.0, 0.5), (0.25, 1.5), (0.5, 1.0)];
        let mixed: Vec<_> = dropped.into_iter().chain(kept).collect();
        let result = compare(&mixed, 3).unwrap();
        assert_eq!(compare(&kept, 3).unwrap(), result);
        let expected = (5, 0.5, 0.8, 0.3, 3, 1);
        let close = |a: f64| (a * 1e12).round() / 1e12;
        let Paired { pairs, first, second, difference, larger, smaller, .. } = result;
        assert_eq!((pairs, close(first), close(second), close(difference), larger, smaller), expected);
        // Of the 16 choices of signs for the ranks 1, 2½, 2½ and 4, 4 have a sum of 7½ or more.
        assert_eq!(result.p, 0.5);
    }

    #[test]
    fn extreme_values_stay_finite() {
        let half = f64::MAX / 2.0;
        let result = compare(&[(-half, half), (half, -half), (f64::MAX, 0.0), (0.0, f64::MAX), (0.0, 5e-324)], 0).unwrap();
        assert_eq!(result.pairs, 5);
        for value in [result.first, result.second, result.difference, result.interval[0], result.interval[1]] {
            assert!(value.is_finite(), "{result:?}");
        }
    }

    #[test]
    fn holm_is_that_of_numpy() {
        let cases = golden("holm");
        assert!(!cases.is_empty());
        for case in cases {
            for (actual, expected) in holm(&numbers(&case["p"])).into_iter().zip(numbers(&case["corrected"])) {
                assert_close(actual, expected, &case["p"]);
            }
        }
    }

    #[test]
    fn holm_leaves_out_nan() {
        assert_eq!(holm(&[]), [0.0; 0]);
        let corrected = holm(&[0.04, f64::NAN, 0.01, -f64::NAN]);
        assert!(corrected[1].is_nan() && corrected[3].is_nan());
        assert_eq!([corrected[0], corrected[2]], [0.04, 0.02]);
    }
}
