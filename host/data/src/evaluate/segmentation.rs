//! Overlap of label maps, counted and summarised as nnU-Net's `evaluation/evaluate_predictions.py` does.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dataset::Labels;
use imaging::Volume;
use imaging::surface::{SurfaceScratch, surface_metrics};
use serde::Serialize;

use super::{Error, Files, Notes, json, mean, nan_mean};

/// Overlap for one class or region; `N` is `u64` for one case and `f64` for a mean over cases. Fields have the names and
/// the order of `summary.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metrics<N> {
    /// 2 TP / (2 TP + FP + FN); NaN where neither prediction nor reference has the class.
    #[serde(rename = "Dice")]
    pub dice: f64,
    /// Voxels of the reference that are missing from the prediction.
    #[serde(rename = "FN")]
    pub false_negatives: N,
    /// Voxels of the prediction that are not in the reference.
    #[serde(rename = "FP")]
    pub false_positives: N,
    /// TP / (TP + FP + FN); NaN as Dice.
    #[serde(rename = "IoU")]
    pub iou: f64,
    /// Voxels in neither.
    #[serde(rename = "TN")]
    pub true_negatives: N,
    /// Voxels in both.
    #[serde(rename = "TP")]
    pub true_positives: N,
    /// Voxels of the prediction.
    pub n_pred: N,
    /// Voxels of the reference.
    pub n_ref: N,
}

impl Metrics<u64> {
    fn from_counts(true_positives: u64, n_pred: u64, n_ref: u64, voxels: u64) -> Self {
        let union = n_pred + n_ref - true_positives;
        // 0 / 0 is NaN, as nnU-Net wants it.
        let ratio = |numerator: u64, denominator: u64| numerator as f64 / denominator as f64;
        Self {
            dice: ratio(2 * true_positives, n_pred + n_ref),
            false_negatives: n_ref - true_positives,
            false_positives: n_pred - true_positives,
            iou: ratio(true_positives, union),
            true_negatives: voxels - union,
            true_positives,
            n_pred,
            n_ref,
        }
    }

    fn as_f64(&self) -> Metrics<f64> {
        Metrics {
            dice: self.dice,
            false_negatives: self.false_negatives as f64,
            false_positives: self.false_positives as f64,
            iou: self.iou,
            true_negatives: self.true_negatives as f64,
            true_positives: self.true_positives as f64,
            n_pred: self.n_pred as f64,
            n_ref: self.n_ref as f64,
        }
    }
}

impl Metrics<f64> {
    /// Combines several, metric by metric.
    fn combine(all: &[Self], combine: impl Fn(&mut dyn Iterator<Item = f64>) -> f64) -> Self {
        let of = |metric: fn(&Self) -> f64| combine(&mut all.iter().map(metric));
        Self {
            dice: of(|metrics| metrics.dice),
            false_negatives: of(|metrics| metrics.false_negatives),
            false_positives: of(|metrics| metrics.false_positives),
            iou: of(|metrics| metrics.iou),
            true_negatives: of(|metrics| metrics.true_negatives),
            true_positives: of(|metrics| metrics.true_positives),
            n_pred: of(|metrics| metrics.n_pred),
            n_ref: of(|metrics| metrics.n_ref),
        }
    }
}

/// How far the surfaces of one class or region are apart ([`imaging::surface`]); distances are NaN where one of the two has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Surface {
    /// Average symmetric surface distance, mm.
    #[serde(rename = "ASSD")]
    pub assd: f64,
    /// Hausdorff distance of 95 % of the surfaces, mm.
    #[serde(rename = "HD95")]
    pub hd95: f64,
    /// Normalised surface Dice: the part of both surfaces that is within the tolerance of the other.
    #[serde(rename = "NSD")]
    pub nsd: f64,
    /// Predicted volume less that of the reference, mm³.
    #[serde(rename = "volume_difference")]
    pub volume_difference: f64,
}

/// One measured case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its files.
    pub files: Files,
    /// For every class or region, in the order of `foreground`.
    pub metrics: Vec<Metrics<u64>>,
    /// The same, where it was asked for.
    pub surfaces: Option<Vec<Surface>>,
}

/// Measures one case. `foreground` names the classes or regions with their label values; voxels whose reference is `ignore`
/// count nowhere.
///
/// # Errors
/// When the two differ in shape.
pub fn case_metrics(
    files: Files,
    prediction: &Volume<i16>,
    reference: &Volume<i16>,
    foreground: &[(String, Vec<i16>)],
    ignore: Option<i16>,
) -> Result<Case, Error> {
    files.check_shapes(prediction.shape(), reference.shape())?;
    let table = ConfusionTable::count(prediction.data(), reference.data(), foreground, ignore);
    let metrics = foreground.iter().map(|(_, values)| table.metrics(values)).collect();
    Ok(Case { files, metrics, surfaces: None })
}

/// Measures the surfaces of one case at `spacing` (z, y, x) in mm; those that are at most `tolerance` mm apart count as equal. Otherwise as
/// [`case_metrics`].
pub fn case_surfaces(
    prediction: &Volume<i16>,
    reference: &Volume<i16>,
    foreground: &[(String, Vec<i16>)],
    ignore: Option<i16>,
    (spacing, tolerance): ([f64; 3], f64),
) -> Vec<Surface> {
    let mut scratch = SurfaceScratch::default();
    // What is ignored is in neither: the reference's label is none of the foreground's.
    let masked = ignore.filter(|ignore| reference.data().contains(ignore)).map(|ignore| {
        let pairs = prediction.data().iter().zip(reference.data());
        pairs.map(|(predicted, expected)| if *expected == ignore { ignore } else { *predicted }).collect::<Vec<i16>>()
    });
    let prediction = masked.as_deref().unwrap_or(prediction.data());
    let surface = |(_, values): &(String, Vec<i16>)| {
        let found = surface_metrics(prediction, reference.data(), reference.spatial(), spacing, values, tolerance, &mut scratch);
        let finite = |distance: f64| if distance.is_finite() { distance } else { f64::NAN };
        Surface { assd: finite(found.assd), hd95: finite(found.hd95), nsd: found.nsd, volume_difference: found.volume_difference }
    };
    foreground.iter().map(surface).collect()
}

/// How many voxels have which pair of values: one pass over the voxels, however many classes and regions there are.
struct ConfusionTable {
    /// Every value of any class, sorted; row and column 0 of the table stand for all others.
    values: Vec<i16>,
    /// Row: prediction; column: reference.
    counts: Vec<u64>,
    voxels: u64,
}

impl ConfusionTable {
    fn count(prediction: &[i16], reference: &[i16], foreground: &[(String, Vec<i16>)], ignore: Option<i16>) -> Self {
        let mut values: Vec<i16> = foreground.iter().flat_map(|(_, values)| values).copied().collect();
        values.sort_unstable();
        values.dedup();
        let size = values.len() + 1;
        let mut index = vec![0; 1 << 16];
        for (position, value) in values.iter().enumerate() {
            index[usize::from(value.cast_unsigned())] = position + 1;
        }
        let index_of = |value: i16| index[usize::from(value.cast_unsigned())];
        let mut counts = vec![0; size * size];
        let mut voxels = 0;
        for (predicted, expected) in prediction.iter().zip(reference) {
            if Some(*expected) != ignore {
                counts[index_of(*predicted) * size + index_of(*expected)] += 1;
                voxels += 1;
            }
        }
        Self { values, counts, voxels }
    }

    fn metrics(&self, region: &[i16]) -> Metrics<u64> {
        let size = self.values.len() + 1;
        let mut inside = vec![false; size];
        for (position, value) in self.values.iter().enumerate() {
            inside[position + 1] = region.contains(value);
        }
        let (mut both, mut predicted, mut expected) = (0, 0, 0);
        for (position, count) in self.counts.iter().enumerate() {
            let (in_prediction, in_reference) = (inside[position / size], inside[position % size]);
            both += if in_prediction && in_reference { *count } else { 0 };
            predicted += if in_prediction { *count } else { 0 };
            expected += if in_reference { *count } else { 0 };
        }
        Metrics::from_counts(both, predicted, expected, self.voxels)
    }
}

/// The cases of one output, and their means.
#[derive(Clone, Debug)]
pub struct Summary {
    foreground: Vec<(String, Vec<i16>)>,
    keys: Vec<String>,
    cases: Vec<Case>,
}

impl Summary {
    /// Without cases yet, of the foreground of `labels`.
    pub fn new(labels: &Labels) -> Self {
        Self { foreground: labels.foreground(), keys: labels.summary_keys(), cases: Vec::new() }
    }

    /// Adds a case that was measured with the same `foreground`.
    pub fn add(&mut self, case: Case) {
        let place = self.cases.partition_point(|other| other.files < case.files);
        self.cases.insert(place, case);
    }

    /// Names of the classes or regions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.foreground.iter().map(|(name, _)| name.as_str())
    }

    /// The cases, sorted by prediction.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Name and mean over the cases of every class or region; cases where a metric is NaN are left out of its mean.
    pub fn mean(&self) -> impl Iterator<Item = (&str, Metrics<f64>)> {
        self.foreground.iter().enumerate().map(|(class, (name, _))| {
            let all: Vec<_> = self.cases.iter().map(|case| case.metrics[class].as_f64()).collect();
            (name.as_str(), Metrics::combine(&all, |values| nan_mean(values)))
        })
    }

    /// Mean over the classes or regions of their means. NaN when a class is NaN in every case, as in nnU-Net.
    pub fn foreground_mean(&self) -> Metrics<f64> {
        let all: Vec<_> = self.mean().map(|(_, metrics)| metrics).collect();
        Metrics::combine(&all, |values| mean(values))
    }

    /// Means over the cases of every class or region, NaN left out; none where a case has none.
    pub fn surfaces(&self) -> Option<Vec<Surface>> {
        let all: Vec<&Vec<Surface>> = self.cases.iter().map(|case| case.surfaces.as_ref()).collect::<Option<_>>()?;
        let mean = |class: usize| {
            let of = |metric: fn(&Surface) -> f64| nan_mean(all.iter().map(|case| metric(&case[class])));
            Surface { assd: of(|s| s.assd), hd95: of(|s| s.hd95), nsd: of(|s| s.nsd), volume_difference: of(|s| s.volume_difference) }
        };
        Some((0..self.foreground.len()).map(mean).collect())
    }

    /// Writes nnU-Net's `summary.json`, with the surfaces' metrics beside those that nnU-Net has. `notes` say which cases it is about.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error> {
        let keys = || self.keys.iter().map(String::as_str);
        let surfaces = self.surfaces();
        let both = |overlap, surface: Option<&Vec<Surface>>, class: usize| Both { overlap, surface: surface.map(|all| all[class]) };
        let cases = self.cases.iter().map(|case| CaseRecord {
            metrics: keys().zip(case.metrics.iter().enumerate().map(|(i, metrics)| both(*metrics, case.surfaces.as_ref(), i))).collect(),
            files: &case.files,
        });
        let means = self.mean().enumerate().map(|(i, (_, overlap))| Both { overlap, surface: surfaces.as_ref().map(|all| all[i]) });
        let (foreground_mean, mean) = (self.foreground_mean(), keys().zip(means).collect());
        let record = Record { foreground_mean, mean, metric_per_case: cases.collect(), notes };
        Ok(json::write(path, &record)?)
    }
}

/// `summary.json`; maps and fields are sorted, as Python writes them.
#[derive(Serialize)]
struct Record<'a> {
    foreground_mean: Metrics<f64>,
    mean: BTreeMap<&'a str, Both<f64>>,
    metric_per_case: Vec<CaseRecord<'a>>,
    #[serde(flatten)]
    notes: &'a Notes,
}

#[derive(Serialize)]
struct CaseRecord<'a> {
    metrics: BTreeMap<&'a str, Both<u64>>,
    #[serde(flatten)]
    files: &'a Files,
}

#[derive(Serialize)]
struct Both<N> {
    #[serde(flatten)]
    overlap: Metrics<N>,
    #[serde(flatten)]
    surface: Option<Surface>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Files {
        Files { prediction: format!("pred/{name}.nii.gz").into(), reference: format!("ref/{name}.nii.gz").into() }
    }

    fn map(values: &[i16]) -> Volume<i16> {
        Volume::new([1, 1, 1, values.len()], values.to_vec())
    }

    fn classes(regions: &[&[i16]]) -> Vec<(String, Vec<i16>)> {
        regions.iter().map(|values| (format!("{values:?}"), values.to_vec())).collect()
    }

    fn summary(regions: &[&[i16]]) -> Summary {
        Summary::new(&Labels { names: classes(regions).into_iter().collect(), ..Labels::default() })
    }

    #[test]
    fn counts_of_classes_overlapping_regions_and_unknown_values() {
        let (prediction, reference) = (map(&[0, 1, 1, 2, 9, 2]), map(&[1, 1, 2, 2, 0, 0]));
        let case = case_metrics(files("a"), &prediction, &reference, &classes(&[&[1], &[1, 2]]), None).unwrap();
        let [one, both] = case.metrics.as_slice() else { panic!("two classes") };
        assert_eq!((one.true_positives, one.false_positives, one.false_negatives, one.true_negatives), (1, 1, 1, 3));
        assert_eq!((both.true_positives, both.false_positives, both.false_negatives, both.true_negatives), (3, 1, 1, 1));
        assert_eq!((both.dice, both.iou, both.n_pred, both.n_ref), (6.0 / 8.0, 3.0 / 5.0, 4, 4));
    }

    #[test]
    fn ignored_voxels_count_nowhere() {
        let (prediction, reference) = (map(&[1, 1, 0, 1]), map(&[1, 3, 3, 0]));
        let case = case_metrics(files("a"), &prediction, &reference, &classes(&[&[1]]), Some(3)).unwrap();
        let found = case.metrics[0];
        assert_eq!((found.true_positives, found.false_positives, found.true_negatives, found.n_pred), (1, 1, 0, 2));
    }

    #[test]
    fn an_absent_class_is_nan_in_its_case_left_out_of_the_mean_and_spreads_only_when_absent_everywhere() {
        let mut summary = summary(&[&[1], &[2]]);
        for (name, prediction, reference) in [("b", [0, 0], [0, 0]), ("a", [1, 1], [1, 0])] {
            let case = case_metrics(files(name), &map(&prediction), &map(&reference), &summary.foreground, None).unwrap();
            summary.add(case);
        }
        assert_eq!(summary.cases()[0].files, files("a"), "sorted by prediction");
        let means: Vec<_> = summary.mean().map(|(_, metrics)| metrics).collect();
        assert_eq!((means[0].dice, means[0].false_positives), (2.0 / 3.0, 0.5));
        assert!(means[1].dice.is_nan() && means[1].true_negatives == 2.0);
        let foreground = summary.foreground_mean();
        assert!(foreground.dice.is_nan() && foreground.false_positives == 0.25);
    }

    #[test]
    fn different_shapes_are_refused_with_both_files() {
        let error = case_metrics(files("a"), &map(&[0]), &map(&[0, 1]), &classes(&[&[1]]), None).unwrap_err().to_string();
        assert!(error.contains("pred/a.nii.gz") && error.contains("ref/a.nii.gz") && error.contains("[1, 1, 1, 2]"), "{error}");
    }

    /// Three small cases with regions, an ignore label and a class that is nowhere, against what nnU-Net writes for the same maps
    /// (`tests/golden/make_summary.py`): every character.
    #[test]
    fn the_file_is_nnunet_s() {
        let values = |a: i32, b: i32, labels: i32| {
            let data = (0..60).map(|i| i16::try_from((i * i * a + i * b) / 3 % labels).unwrap()).collect();
            Volume::new([1, 3, 4, 5], data)
        };
        let mut summary = summary(&[&[1, 2, 3], &[2, 3], &[3], &[6]]);
        for (name, a, b, c, d) in [("a", 7, 3, 7, 4), ("b", 5, 1, 2, 9), ("c", 11, 2, 11, 2)] {
            let (prediction, reference) = (values(a, b, 4), values(c, d, 5));
            summary.add(case_metrics(files(name), &prediction, &reference, &summary.foreground, Some(4)).unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validation/summary.json");
        summary.write(&path, &Notes::default()).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), include_str!("../../../../tests/golden/summary.json"));
    }
}
