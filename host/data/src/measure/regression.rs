//! Errors of voxel-wise regression, beside those of the best constant.

use std::path::Path;

use imaging::Volume;
use serde::Serialize;

use super::metric::{Column, Metric, Numbers, Shown, columns};
use super::{CaseRecord, Collect, Error, Files, Notes, Summarise, json, mean, nan_mean, table};

/// Errors in the unit of the target, over all channels and valid voxels of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Mean absolute error.
    pub absolute: f64,
    /// Mean squared error.
    pub squared: f64,
}

const fn error(name: &'static str, column: u8, shown: Shown, of: fn(&Errors) -> f64) -> Metric<Errors> {
    Metric { name, of, is_count: false, larger_is_better: Some(false), column: Some(column), shown }
}

/// What is measured of a map, in the order of `summary.json`.
pub const METRICS: [Metric<Errors>; 2] =
    [error("MAE", 0, Shown::Tested, |errors| errors.absolute), error("RMSE", 1, Shown::InComparisons, |errors| errors.squared.sqrt())];

/// One measured case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its files.
    pub files: Files,
    /// NaN when no voxel is valid.
    pub errors: Errors,
    /// The reference's values by channel, for the best constant.
    distributions: Vec<Distribution>,
}

/// Measures one case where `valid` (one channel, for all of the target's) holds, or everywhere.
///
/// # Errors
/// When shapes differ.
pub fn case_metrics(files: Files, prediction: &Volume<f32>, reference: &Volume<f32>, valid: Option<&Volume<bool>>) -> Result<Case, Error> {
    files.check_shapes(prediction.shape(), reference.shape())?;
    if let Some(valid) = valid {
        let [_, depth, height, width] = reference.shape();
        files.check_shapes(valid.shape(), [1, depth, height, width])?;
    }
    let (mut absolute, mut squared, mut count) = (0.0, 0.0, 0.0);
    let mut distributions = Vec::new();
    for channel in 0..reference.channels() {
        let mut distribution = Distribution::default();
        let pairs = prediction.channel(channel).iter().zip(reference.channel(channel));
        for (position, (predicted, expected)) in pairs.enumerate() {
            if valid.is_none_or(|valid| valid.data()[position]) {
                let difference = f64::from(*predicted) - f64::from(*expected);
                absolute += difference.abs();
                squared += difference * difference;
                count += 1.0;
                distribution.add(*expected);
            }
        }
        distributions.push(distribution);
    }
    let errors = Errors { absolute: absolute / count, squared: squared / count };
    Ok(Case { files, errors, distributions })
}

/// The cases of one output, and their means.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    cases: Vec<Case>,
}

impl Summary {
    /// The cases, sorted by prediction.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Mean of `metric` over the cases that have valid voxels.
    pub fn mean(&self, metric: &Metric<Errors>) -> f64 {
        nan_mean(self.errors().map(metric.of))
    }

    fn errors(&self) -> impl Iterator<Item = &Errors> {
        self.cases.iter().map(|case| &case.errors)
    }

    /// MAE, as [`Summary::mean`] takes it, of the best constant of each channel: the median, every case weighing the same. It
    /// is chosen on these very cases, so nothing that ignores the image can do better.
    pub fn constant_mae(&self) -> f64 {
        let channels = self.cases.first().map_or(0, |case| case.distributions.len());
        mean((0..channels).map(|channel| {
            let mut pooled = Distribution::default();
            for case in &self.cases {
                if let Some(distribution) = case.distributions.get(channel) {
                    pooled.add_normalised(distribution);
                }
            }
            pooled.median_absolute_deviation()
        }))
    }
}

impl Summarise for Summary {
    fn measured(&self) -> usize {
        self.cases.len()
    }

    fn columns(&self) -> Vec<Column> {
        columns(&METRICS).map(|metric| Column::new("", metric, self.errors())).collect()
    }

    /// `summary.json`, laid out as nnU-Net's for segmentation.
    fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error> {
        let mut mean = Numbers::of_means(&METRICS, |metric| self.mean(metric));
        mean.push("constant_MAE", self.constant_mae());
        let cases = self.cases.iter().map(|case| CaseRecord { metrics: Numbers::of_case(&METRICS, &case.errors), files: &case.files });
        Ok(json::write(path, &Record { mean, metric_per_case: cases.collect(), notes })?)
    }
    fn table(&self) -> String {
        table::of_files(self.cases.iter().map(|case| &case.files), &self.columns(), false)
    }

    fn in_words(&self) -> String {
        let each: Vec<String> = METRICS.iter().map(|metric| format!("{} {:.4}", metric.name, self.mean(metric))).collect();
        format!("{} (best constant: MAE {:.4})", each.join(", "), self.constant_mae())
    }
}

impl Collect for Summary {
    type Case = Case;

    fn add(&mut self, case: Case) {
        let place = self.cases.partition_point(|other| other.files < case.files);
        self.cases.insert(place, case);
    }
}

/// Number and sum of values in 2¹⁶ bins that follow the floats' own spacing (sign, exponent, 7 bits): enough for a median to
/// 0.4 % in fixed memory, where the values of a whole data set would not fit.
#[derive(Clone, Debug, Default)]
struct Distribution {
    /// By bin, in the order of the values: number, sum. Only bins that occur.
    bins: std::collections::BTreeMap<u16, (f64, f64)>,
}

impl Distribution {
    fn add(&mut self, value: f32) {
        // The usual map from floats to integers of the same order.
        let bits = value.to_bits();
        let ordered = if value.is_sign_negative() { !bits } else { bits | 1 << 31 };
        let (count, sum) = self.bins.entry((ordered >> 16) as u16).or_default();
        *count += 1.0;
        *sum += f64::from(value);
    }

    fn add_normalised(&mut self, other: &Self) {
        let total: f64 = other.bins.values().map(|(count, _)| count).sum();
        for (bin, (count, sum)) in &other.bins {
            let own = self.bins.entry(*bin).or_default();
            own.0 += count / total;
            own.1 += sum / total;
        }
    }

    /// Mean absolute deviation from the median, which is taken as the mean of the median's bin.
    fn median_absolute_deviation(&self) -> f64 {
        let total: f64 = self.bins.values().map(|(count, _)| count).sum();
        let mut below = 0.0;
        let median = self.bins.values().find_map(|(count, sum)| {
            below += count;
            (below >= total / 2.0).then(|| sum / count)
        });
        let Some(median) = median else { return f64::NAN };
        // Within a bin all values lie on one side of the median, but for the median's own.
        let deviation: f64 = self.bins.values().map(|(count, sum)| (sum - median * count).abs()).sum();
        deviation / total
    }
}

#[derive(Serialize)]
struct Record<'a> {
    mean: Numbers,
    metric_per_case: Vec<CaseRecord<'a, Numbers>>,
    #[serde(flatten)]
    notes: &'a Notes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Files {
        Files { prediction: format!("pred/{name}.nii.gz").into(), reference: format!("ref/{name}.nii.gz").into() }
    }

    fn line(values: &[f32]) -> Volume<f32> {
        Volume::new([1, 1, 1, values.len()], values.to_vec())
    }

    #[test]
    fn errors_by_hand_with_and_without_a_mask() {
        let (prediction, reference) = (line(&[1.0, 2.0, 9.0]), line(&[0.0, 4.0, 0.0]));
        let all = case_metrics(files("a"), &prediction, &reference, None).unwrap().errors;
        assert_eq!(all, Errors { absolute: 4.0, squared: 86.0 / 3.0 });
        let valid = Volume::new([1, 1, 1, 3], vec![true, true, false]);
        let part = case_metrics(files("a"), &prediction, &reference, Some(&valid)).unwrap().errors;
        assert_eq!(part, Errors { absolute: 1.5, squared: 2.5 });
    }

    #[test]
    fn the_constant_is_the_median_with_equal_weight_for_every_case() {
        // A big case of -3 and two small ones of 4 and 5: the weighted median is 4, whatever the numbers of voxels.
        let mut summary = Summary::default();
        for (name, values) in [("a", vec![-3.0; 50]), ("b", vec![4.0; 2]), ("c", vec![5.0])] {
            let reference = line(&values);
            summary.add(case_metrics(files(name), &reference, &reference, None).unwrap());
        }
        assert!((summary.constant_mae() - 8.0 / 3.0).abs() < 1e-12, "{}", summary.constant_mae());
        assert_eq!(METRICS.iter().map(|metric| summary.mean(metric)).collect::<Vec<_>>(), [0.0; 2]);
    }

    #[test]
    fn the_binned_median_is_as_good_as_a_sorted_one() {
        let values: Vec<f32> = (0..10_001_u32).map(|i| ((i * 7919 % 10_001) as f32 / 10_001.0).powi(3) * 20.0 - 4.0).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        let median = f64::from(sorted[5000]);
        let exact = mean(values.iter().map(|value| (f64::from(*value) - median).abs()));
        let mut summary = Summary::default();
        summary.add(case_metrics(files("a"), &line(&values), &line(&values), None).unwrap());
        let found = summary.constant_mae();
        assert!((found / exact - 1.0).abs() < 1e-4, "{found} instead of {exact}");
    }

    #[test]
    fn no_valid_voxel_is_nan_and_left_out_of_the_mean() {
        let nothing = Volume::new([1, 1, 1, 1], vec![false]);
        let mut summary = Summary::default();
        summary.add(case_metrics(files("a"), &line(&[1.0]), &line(&[0.0]), Some(&nothing)).unwrap());
        summary.add(case_metrics(files("b"), &line(&[2.0]), &line(&[0.0]), None).unwrap());
        assert!(summary.cases()[0].errors.absolute.is_nan());
        assert_eq!(summary.mean(&METRICS[0]), 2.0);
        assert_eq!(summary.constant_mae(), 0.0);
    }
}
