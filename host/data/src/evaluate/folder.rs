//! Predictions of a whole folder against the references of another, case by case on several threads.

use crate::dataset::{Description, visible_names};
use crate::kinds::{CaseTarget, Comparison, Form, Summary, TargetKind};
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use imaging::io::Reader;
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
    let work =
        |pair: &Pair| Ok::<_, String>((pair.case.clone(), guarded(&pair.case, || folders.kind.compare(&pair.comparison(folders, reader)))));
    let measured = for_each_case(&pairs, threads, Stage::Evaluate, progress, work)?;
    let mut summary = folders.kind.summary();
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
    reference: CaseTarget,
}

impl Pair {
    /// The first reader that opens its reference.
    fn reader(&self) -> Option<Reader> {
        Reader::of(self.reference.file()?).ok()
    }

    fn comparison<'a>(&'a self, folders: &Folders, reader: Reader) -> Comparison<'a> {
        let Folders { tolerance, ignore_geometry, .. } = *folders;
        let Self { case, prediction, reference } = self;
        Comparison { case, prediction, reference, reader, tolerance, ignore_geometry }
    }
}

/// Predictions and references, brought together by case.
struct Pairs {
    pairs: Vec<Pair>,
    unpredicted: Vec<String>,
    without_reference: Vec<String>,
}

impl Pairs {
    fn find(folders: &Folders) -> Result<Self, String> {
        let Folders { reference, prediction, .. } = folders;
        let ending = folders.kind.ending(folders.ending);
        let references = match folders.kind.form() {
            Form::Whole(kind) => kind.references(reference)?,
            Form::Voxels(_) => {
                let file = |case: String| (case.clone(), CaseTarget::File(reference.join(format!("{case}{ending}"))));
                cases_in(reference, ending)?.map(file).collect::<BTreeMap<_, _>>()
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
