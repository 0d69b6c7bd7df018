//! Predictions of a whole folder against the references of another, case by case on several threads.

use super::{Case, Files, Summary, classification, regression, segmentation};
use crate::dataset::{Description, Labels, TargetKind, unnamed_labels, visible_names};
use crate::name::Name;
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use imaging::io::{Geometry, Reader, read_json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is compared.
#[derive(Debug)]
pub struct Folders<'a> {
    /// Folder of references; for classes a JSON file from case to class.
    pub reference: &'a Path,
    /// Folder of predictions.
    pub prediction: &'a Path,
    /// Meaning of the target.
    pub kind: &'a TargetKind,
    /// Ending of images and maps.
    pub ending: &'a str,
    /// Reads images and maps; where nobody says which, the first that opens the first reference.
    pub reader: Option<Reader>,
    /// Surfaces that are at most so many mm apart count as equal.
    pub tolerance: f64,
    /// Files are compared although they differ in spacing or direction.
    pub ignore_geometry: bool,
}

/// What is known of all cases. Case and reason, where there is one.
#[derive(Debug)]
pub struct Evaluated {
    /// Those that could be measured.
    pub summary: Summary,
    /// Those that could not.
    pub bad: Vec<(String, String)>,
    /// Those that have no prediction.
    pub unpredicted: Vec<String>,
    /// What was measured, or left out, and should be looked at.
    pub doubts: Vec<(String, String)>,
}

/// Measures every case that has a prediction, and tells what could not be measured and what is doubtful.
///
/// # Errors
/// When a folder cannot be read.
pub fn evaluate(folders: &Folders, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Result<Evaluated, String> {
    let Pairs { pairs, unpredicted, without_reference } = Pairs::find(folders)?;
    let reader = folders.reader.or_else(|| pairs.iter().find_map(Pair::reader)).or_else(|| Reader::usual(folders.ending));
    let reader = reader.unwrap_or(Reader::SimpleItk);
    let mut bad = Vec::new();
    let mut doubts: Vec<(String, String)> =
        without_reference.into_iter().map(|case| (case, "it has a prediction, but no reference; left out".to_owned())).collect();
    let work = |pair: &Pair| Ok::<_, String>((pair.case.clone(), guarded(&pair.case, || measure(folders, reader, pair))));
    let measured = for_each_case(&pairs, threads, Stage::Evaluate, progress, work)?;
    let mut summary = Summary::new(folders.kind);
    for (case, measured) in measured {
        match measured {
            Ok((measured, found)) => {
                doubts.extend(found.into_iter().map(|doubt| (case.clone(), doubt)));
                summary.add(measured);
            }
            Err(reason) => bad.push((case, reason)),
        }
    }
    Ok(Evaluated { summary, bad, unpredicted, doubts })
}

struct Pair {
    case: String,
    prediction: PathBuf,
    reference: Reference,
}

impl Pair {
    /// The first reader that opens its reference.
    fn reader(&self) -> Option<Reader> {
        match &self.reference {
            Reference::File(path) => Reader::of(path).ok(),
            Reference::Class(_) => None,
        }
    }
}

enum Reference {
    File(PathBuf),
    Class(usize),
}

/// Predictions and references, brought together by case.
struct Pairs {
    pairs: Vec<Pair>,
    unpredicted: Vec<String>,
    without_reference: Vec<String>,
}

impl Pairs {
    fn find(folders: &Folders) -> Result<Self, String> {
        let Folders { reference, prediction, ending, .. } = folders;
        let (references, ending) = match folders.kind {
            TargetKind::Class { classes } => (class_references(reference, classes)?, ".json"),
            _ => {
                let file = |case: String| (case.clone(), Reference::File(reference.join(format!("{case}{ending}"))));
                (cases_in(reference, ending)?.map(file).collect::<BTreeMap<_, _>>(), *ending)
            }
        };
        if references.is_empty() {
            return Err(format!("{} has no reference that ends in {ending}", reference.display()));
        }
        let without_reference = cases_in(prediction, ending)?.filter(|case| !references.contains_key(case));
        let without_reference = without_reference.filter(|case| !BESIDE_PREDICTIONS.contains(&&*format!("{case}{ending}"))).collect();
        let (mut pairs, mut unpredicted) = (Vec::new(), Vec::new());
        for (case, reference) in references {
            let prediction = prediction.join(format!("{case}{ending}"));
            if prediction.is_file() {
                pairs.push(Pair { case, prediction, reference });
            } else {
                unpredicted.push(case);
            }
        }
        Ok(Self { pairs, unpredicted, without_reference })
    }
}

/// What lies beside predictions and is none: ours and nnU-Net's.
pub const BESIDE_PREDICTIONS: [&str; 8] = [
    "dataset.json",
    "plans.json",
    "prediction.json",
    "summary.json",
    "predict_from_raw_data_args.json",
    "classes.csv",
    "cases.csv",
    "predict.lock",
];

/// Names of the files in `folder` that end in `ending`, without that.
fn cases_in<'a>(folder: &Path, ending: &'a str) -> Result<impl Iterator<Item = String> + use<'a>, String> {
    let names = visible_names(folder).map_err(|e| e.to_string())?;
    Ok(names.into_iter().filter_map(move |name| name.strip_suffix(ending).map(str::to_owned)))
}

fn class_references(path: &Path, classes: &[String]) -> Result<BTreeMap<String, Reference>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}; expected a JSON object from case to class", path.display());
    let named: BTreeMap<Name, String> = read_json(path).map_err(|e| wrong(&e))?;
    let index = |(case, class): (Name, String)| match classes.iter().position(|known| *known == class) {
        Some(index) => Ok((case.into(), Reference::Class(index))),
        None => Err(wrong(&format!("case {case} is {class:?}, but the classes are {}", classes.join(", ")))),
    };
    named.into_iter().map(index).collect()
}

/// The score of every class, from the JSON that a prediction is written as.
///
/// # Errors
/// When it cannot be read, or lacks a class.
pub fn read_scores(path: &Path, classes: &[String]) -> Result<Vec<f64>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let named: BTreeMap<String, f64> = read_json(path).map_err(|e| wrong(&e))?;
    classes.iter().map(|class| named.get(class).copied().ok_or_else(|| wrong(&format!("has no score for class {class:?}")))).collect()
}

/// What is measured of a case, and what is doubtful about it.
fn measure(folders: &Folders, reader: Reader, pair: &Pair) -> Result<(Case, Vec<String>), String> {
    let told = |e: &dyn std::fmt::Display| e.to_string();
    match (folders.kind, &pair.reference) {
        (TargetKind::Labels(labels), Reference::File(path)) => {
            let (case, doubts) = labels_case(folders, reader, labels, pair, path)?;
            Ok((Case::Labels(case), doubts))
        }
        (TargetKind::Regression { .. }, Reference::File(path)) => {
            let files = Files { prediction: pair.prediction.clone(), reference: path.clone() };
            let read = |path: &Path| reader.read_image(path).map_err(|e| told(&e));
            let (prediction, reference) = (read(&pair.prediction)?, read(path)?);
            let case = regression::case_metrics(files, &prediction.volume, &reference.volume, None).map_err(|e| told(&e))?;
            let doubt = lie_on_each_other(folders, pair, &prediction.geometry, &reference.geometry)?;
            Ok((Case::Regression(case), doubt.into_iter().collect()))
        }
        (TargetKind::Class { classes }, Reference::Class(index)) => {
            let scores = read_scores(&pair.prediction, classes)?;
            let case = classification::case_metrics(pair.case.clone(), scores, *index).map_err(|e| told(&e))?;
            Ok((Case::Class(case), Vec::new()))
        }
        _ => unreachable!("references are of the target's kind"),
    }
}

fn labels_case(
    folders: &Folders,
    reader: Reader,
    labels: &Labels,
    pair: &Pair,
    path: &Path,
) -> Result<(segmentation::Case, Vec<String>), String> {
    let files = Files { prediction: pair.prediction.clone(), reference: path.to_owned() };
    let prediction = reader.read_labels(&pair.prediction).map_err(|e| e.to_string())?;
    let reference = reader.read_labels(path).map_err(|e| e.to_string())?;
    // Before surfaces are measured, which takes longest.
    files.check_shapes(prediction.volume.shape(), reference.volume.shape()).map_err(|e| e.to_string())?;
    let mut doubts: Vec<String> = lie_on_each_other(folders, pair, &prediction.geometry, &reference.geometry)?.into_iter().collect();
    let (foreground, ignore) = (labels.foreground(), labels.ignore);
    let scale = Some((reference.geometry.spacing(), folders.tolerance));
    let case =
        segmentation::case_metrics(files, &prediction.volume, &reference.volume, &foreground, ignore, scale).map_err(|e| e.to_string())?;
    for (what, map) in [("prediction", &prediction.volume), ("reference", &reference.volume)] {
        let unnamed: Vec<String> = unnamed_labels(map, labels).iter().map(|(value, voxels)| format!("{value} ({voxels} voxels)")).collect();
        if !unnamed.is_empty() {
            doubts.push(format!("its {what} has values that dataset.json does not name, and that count nowhere: {}", unnamed.join(", ")));
        }
    }
    Ok((case, doubts))
}

/// Refuses a prediction whose voxels are of another size than the reference's, or run in another direction; one that lies elsewhere is doubtful.
fn lie_on_each_other(folders: &Folders, pair: &Pair, prediction: &Geometry, reference: &Geometry) -> Result<Option<String>, String> {
    let refused = prediction.spacing_differs(reference).or_else(|| prediction.direction_differs(reference));
    let doubt = refused.clone().or_else(|| prediction.origin_differs(reference));
    let told = |difference: String| format!("{} and its reference differ: {difference}", pair.prediction.display());
    match refused {
        Some(difference) if !folders.ignore_geometry => Err(format!(
            "{}. One of them is turned, mirrored, or of another resolution; compare files that belong together, or give --ignore-geometry",
            told(difference)
        )),
        _ => Ok(doubt.map(told)),
    }
}

/// The `dataset.json` that belongs to a folder of predictions: the nearest one in it or above.
pub fn find_description(prediction: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(prediction).ok()?;
    absolute.ancestors().take(4).map(|folder| folder.join("dataset.json")).find(|path| path.is_file())
}

/// The target `name` of `description`.
///
/// # Errors
/// When there is none.
pub fn target<'a>(description: &'a Description, name: &str) -> Result<&'a TargetKind, String> {
    let unknown = || format!("there is no target {name:?}; {}", crate::nearest::hint(name, description.targets.keys().map(String::as_str)));
    description.targets.get(name).map(|target| &target.kind).ok_or_else(unknown)
}
