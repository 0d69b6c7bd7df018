//! Overlap of label maps, counted and summarised as nnU-Net's `evaluation/evaluate_predictions.py` does.

use std::collections::BTreeMap;
use std::path::Path;

use crate::labels::Labels;
use imaging::Volume;
use imaging::surface::{SurfaceScratch, surface_metrics};
use serde::Serialize;

use super::metric::{Column, Metric, Numbers, Shown, columns};
use super::{CaseRecord, Collect, Error, Files, Notes, Summarise, json, mean, nan_mean, table};

/// What is measured of one class or region of one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// How many voxels prediction and reference share.
    pub overlap: Overlap,
    /// How far their surfaces are apart, where that was asked for.
    pub surface: Option<Surface>,
}

/// Numbers of voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// In both.
    pub true_positives: u64,
    /// Of the prediction.
    pub n_pred: u64,
    /// Of the reference.
    pub n_ref: u64,
    /// Of the image.
    pub voxels: u64,
}

impl Overlap {
    fn union(&self) -> u64 {
        self.n_pred + self.n_ref - self.true_positives
    }
}

/// A ratio; 0 / 0 is NaN, as nnU-Net wants it where neither prediction nor reference has the class.
fn ratio(numerator: u64, denominator: u64) -> f64 {
    numerator as f64 / denominator as f64
}

impl Measured {
    fn surface(&self, of: fn(&Surface) -> f64) -> f64 {
        self.surface.as_ref().map_or(f64::NAN, of)
    }
}

/// How many of [`METRICS`] are nnU-Net's. The others are of surfaces.
const OVERLAPS: usize = 8;

const fn overlap(name: &'static str, column: Option<u8>, shown: Shown, of: fn(&Measured) -> f64) -> Metric<Measured> {
    Metric { name, of, is_count: false, larger_is_better: Some(true), column, shown }
}

const fn count(name: &'static str, column: Option<u8>, of: fn(&Measured) -> f64) -> Metric<Measured> {
    Metric { name, of, is_count: true, larger_is_better: None, column, shown: Shown::InFiles }
}

const fn distance(name: &'static str, column: Option<u8>, of: fn(&Measured) -> f64) -> Metric<Measured> {
    Metric { name, of, is_count: false, larger_is_better: Some(false), column, shown: Shown::OnConsole }
}

/// What is measured of a class or region, in the order of `summary.json`.
pub const METRICS: [Metric<Measured>; 12] = [
    // 2 TP / (2 TP + FP + FN)
    overlap("Dice", Some(0), Shown::Tested, |m| ratio(2 * m.overlap.true_positives, m.overlap.n_pred + m.overlap.n_ref)),
    count("FN", Some(8), |m| (m.overlap.n_ref - m.overlap.true_positives) as f64),
    count("FP", Some(7), |m| (m.overlap.n_pred - m.overlap.true_positives) as f64),
    // TP / (TP + FP + FN)
    overlap("IoU", Some(1), Shown::InFiles, |m| ratio(m.overlap.true_positives, m.overlap.union())),
    count("TN", None, |m| (m.overlap.voxels - m.overlap.union()) as f64),
    count("TP", Some(6), |m| m.overlap.true_positives as f64),
    count("n_pred", Some(9), |m| m.overlap.n_pred as f64),
    count("n_ref", Some(10), |m| m.overlap.n_ref as f64),
    distance("ASSD", Some(4), |m| m.surface(|surface| surface.assd)),
    distance("HD95", Some(3), |m| m.surface(|surface| surface.hd95)),
    overlap("NSD", Some(2), Shown::OnConsole, |m| m.surface(|surface| surface.nsd)),
    Metric {
        name: "volume_difference",
        of: |m| m.surface(|surface| surface.volume_difference),
        is_count: false,
        // The nearer to 0 the better.
        larger_is_better: None,
        column: Some(5),
        shown: Shown::InFiles,
    },
];

/// nnU-Net's measure of a prediction.
pub const DICE: &Metric<Measured> = &METRICS[0];

/// How far the surfaces of one class or region are apart ([`imaging::surface`]); distances are NaN where one of the two has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surface {
    /// Average symmetric surface distance, mm.
    pub assd: f64,
    /// Hausdorff distance of 95 % of the surfaces, mm.
    pub hd95: f64,
    /// Normalised surface Dice: the part of both surfaces that is within the tolerance of the other.
    pub nsd: f64,
    /// Predicted volume less that of the reference, mm³.
    pub volume_difference: f64,
}

/// One measured case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its files.
    pub files: Files,
    /// For every class or region, in the order of `foreground`.
    pub labels: Vec<Measured>,
}

/// Measures one case. `foreground` names the classes or regions with their label values; voxels whose reference is `ignore`
/// count nowhere. Surfaces are measured where a scale is given: a spacing (z, y, x) in mm, and what distance in mm counts as none.
///
/// # Errors
/// When the two differ in shape.
pub fn case_metrics(
    files: Files,
    prediction: &Volume<i16>,
    reference: &Volume<i16>,
    foreground: &[(String, Vec<i16>)],
    ignore: Option<i16>,
    scale: Option<([f64; 3], f64)>,
) -> Result<Case, Error> {
    files.check_shapes(prediction.shape(), reference.shape())?;
    let table = ConfusionTable::count(prediction.data(), reference.data(), foreground, ignore);
    let overlaps = foreground.iter().map(|(_, values)| table.overlap(values));
    let mut labels: Vec<Measured> = overlaps.map(|overlap| Measured { overlap, surface: None }).collect();
    if let Some(scale) = scale {
        let surfaces = case_surfaces(prediction, reference, foreground, ignore, scale);
        labels.iter_mut().zip(surfaces).for_each(|(label, surface)| label.surface = Some(surface));
    }
    Ok(Case { files, labels })
}

/// Measures the surfaces of one case at `spacing`; those that are at most `tolerance` mm apart count as equal.
fn case_surfaces(
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

    fn overlap(&self, region: &[i16]) -> Overlap {
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
        Overlap { true_positives: both, n_pred: predicted, n_ref: expected, voxels: self.voxels }
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

    /// Names of the classes or regions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.foreground.iter().map(|(name, _)| name.as_str())
    }

    /// The cases, sorted by prediction.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Mean of `metric` over the cases of every class or region; cases where it is NaN are left out.
    pub fn means(&self, metric: &Metric<Measured>) -> Vec<f64> {
        (0..self.foreground.len()).map(|class| nan_mean(self.of_class(class).map(metric.of))).collect()
    }

    /// Mean over the classes or regions of their means. NaN when a class is NaN in every case, as in nnU-Net.
    pub fn foreground_mean(&self, metric: &Metric<Measured>) -> f64 {
        mean(self.means(metric).into_iter())
    }

    fn of_class(&self, class: usize) -> impl Iterator<Item = &Measured> {
        self.cases.iter().map(move |case| &case.labels[class])
    }
}

impl Summarise for Summary {
    fn measured(&self) -> usize {
        self.cases.len()
    }

    fn columns(&self) -> Vec<Column> {
        let of_class =
            |(class, name): (usize, &str)| columns(&METRICS).map(|metric| Column::new(name, metric, self.of_class(class))).collect();
        self.names().enumerate().flat_map::<Vec<_>, _>(of_class).collect()
    }

    /// nnU-Net's `summary.json`, with the surfaces' metrics beside those that nnU-Net has.
    fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error> {
        // What is not measured has no key.
        let metrics = |has_surfaces: bool| if has_surfaces { &METRICS[..] } else { &METRICS[..OVERLAPS] };
        let has_surfaces = |case: &Case| case.labels.iter().all(|label| label.surface.is_some());
        let keys = || self.keys.iter().map(String::as_str);
        let cases = self.cases.iter().map(|case| CaseRecord {
            metrics: keys().zip(case.labels.iter().map(|label| Numbers::of_case(metrics(has_surfaces(case)), label))).collect(),
            files: &case.files,
        });
        let measured = metrics(self.cases.iter().all(has_surfaces));
        let mean = |class: usize| Numbers::of_means(measured, |metric| nan_mean(self.of_class(class).map(metric.of)));
        let record = Record {
            foreground_mean: Numbers::of_means(metrics(false), |metric| self.foreground_mean(metric)),
            mean: keys().zip((0..self.foreground.len()).map(mean)).collect(),
            metric_per_case: cases.collect(),
            notes,
        };
        Ok(json::write(path, &record)?)
    }
    fn table(&self) -> String {
        table::of_files(self.cases.iter().map(|case| &case.files), &self.columns(), true)
    }

    fn in_words(&self) -> String {
        let each: Vec<String> = self.names().zip(self.means(DICE)).map(|(name, dice)| format!("{name} {dice:.4}")).collect();
        format!("mean Dice {:.4} ({})", self.foreground_mean(DICE), each.join(", "))
    }
}

impl Collect for Summary {
    type Case = Case;

    /// Adds a case that was measured with the same `foreground`.
    fn add(&mut self, case: Case) {
        let place = self.cases.partition_point(|other| other.files < case.files);
        self.cases.insert(place, case);
    }
}

/// `summary.json`; maps and fields are sorted, as Python writes them.
#[derive(Serialize)]
struct Record<'a> {
    foreground_mean: Numbers,
    mean: BTreeMap<&'a str, Numbers>,
    metric_per_case: Vec<CaseRecord<'a, BTreeMap<&'a str, Numbers>>>,
    #[serde(flatten)]
    notes: &'a Notes,
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

    fn metric(name: &str) -> &'static Metric<Measured> {
        METRICS.iter().find(|metric| metric.name == name).expect("known")
    }

    fn numbers<const N: usize>(measured: &Measured, names: [&str; N]) -> [f64; N] {
        names.map(|name| (metric(name).of)(measured))
    }

    #[test]
    fn counts_of_classes_overlapping_regions_and_unknown_values() {
        let (prediction, reference) = (map(&[0, 1, 1, 2, 9, 2]), map(&[1, 1, 2, 2, 0, 0]));
        let case = case_metrics(files("a"), &prediction, &reference, &classes(&[&[1], &[1, 2]]), None, None).unwrap();
        let [one, both] = case.labels.as_slice() else { panic!("two classes") };
        assert_eq!(numbers(one, ["TP", "FP", "FN", "TN"]), [1.0, 1.0, 1.0, 3.0]);
        assert_eq!(numbers(both, ["TP", "FP", "FN", "TN"]), [3.0, 1.0, 1.0, 1.0]);
        assert_eq!(numbers(both, ["Dice", "IoU", "n_pred", "n_ref"]), [6.0 / 8.0, 3.0 / 5.0, 4.0, 4.0]);
    }

    #[test]
    fn ignored_voxels_count_nowhere() {
        let (prediction, reference) = (map(&[1, 1, 0, 1]), map(&[1, 3, 3, 0]));
        let case = case_metrics(files("a"), &prediction, &reference, &classes(&[&[1]]), Some(3), None).unwrap();
        assert_eq!(numbers(&case.labels[0], ["TP", "FP", "TN", "n_pred"]), [1.0, 1.0, 0.0, 2.0]);
    }

    #[test]
    fn an_absent_class_is_nan_in_its_case_left_out_of_the_mean_and_spreads_only_when_absent_everywhere() {
        let mut summary = summary(&[&[1], &[2]]);
        for (name, prediction, reference) in [("b", [0, 0], [0, 0]), ("a", [1, 1], [1, 0])] {
            let case = case_metrics(files(name), &map(&prediction), &map(&reference), &summary.foreground, None, None).unwrap();
            summary.add(case);
        }
        assert_eq!(summary.cases()[0].files, files("a"), "sorted by prediction");
        let [dice, false_positives, true_negatives] = ["Dice", "FP", "TN"].map(metric);
        assert_eq!((summary.means(dice)[0], summary.means(false_positives)[0]), (2.0 / 3.0, 0.5));
        assert!(summary.means(dice)[1].is_nan() && summary.means(true_negatives)[1] == 2.0);
        assert!(summary.foreground_mean(dice).is_nan() && summary.foreground_mean(false_positives) == 0.25);
    }

    #[test]
    fn different_shapes_are_refused_with_both_files() {
        let error = case_metrics(files("a"), &map(&[0]), &map(&[0, 1]), &classes(&[&[1]]), None, None).unwrap_err().to_string();
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
            summary.add(case_metrics(files(name), &prediction, &reference, &summary.foreground, Some(4), None).unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validation/summary.json");
        summary.write(&path, &Notes::default()).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), include_str!("../../../../tests/golden/summary.json"));
    }
}
