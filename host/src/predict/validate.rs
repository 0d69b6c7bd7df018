//! Predicts and measures the validation cases of a fold.

use super::{CaseFiles, Error, Exported, Extras, Layout, Predicted, Prediction, Predictor, Preprocessed, Window, write};
use crate::environment::Stop;
use crate::model::Model;
use crate::report::Bar;
use data::dataset::{
    Case, CaseTarget, Dataset, DeriveMemory, Derived, Labels, Operation, Origin, TargetKind, TargetSource, clear_unknown, derive,
};
use data::evaluate::{Files, Notes, classification, regression, segmentation};
use data::preprocess::{self, Prepared};
use imaging::Volume;
use imaging::io::{ABANDONED, Reader, remove_leftovers};
use indexmap::IndexMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is validated.
#[derive(Debug)]
pub struct Validation<'a> {
    /// The raw data.
    pub dataset: &'a Dataset,
    /// Its plans and store.
    pub prepared: &'a Prepared,
    /// Kind of every output's target.
    pub targets: IndexMap<String, TargetKind>,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of test-time mirroring.
    pub mirror: &'a [usize],
    /// Identifiers of the cases.
    pub cases: &'a [String],
    /// The fold's `validation` folder.
    pub folder: PathBuf,
    /// What summaries say of the choice of cases.
    pub notes: Notes,
    /// Set by Ctrl-C.
    pub stop: &'a Stop,
}

/// One line a metric, for the log.
type Lines = Vec<String>;

/// Predicts every case with `model`, writes one file an output and case and `summary.json` per output, and returns the results in
/// words; `None` when stopped. The first output's files lie in the folder itself, where nnU-Net has them, those of every further output in one of its own.
pub fn validate(model: &Model, validation: &Validation) -> Result<Option<Lines>, Error> {
    let outputs = model.trainer.outputs();
    let targets = &validation.targets;
    let reader = validation.prepared.plans.reader().map_err(preprocess::Error::from)?;
    let mut summaries: IndexMap<&str, Summary> = IndexMap::new();
    let layout = Layout {
        output: &validation.folder,
        targets,
        ending: &validation.dataset.description.file_ending,
        reader,
        plans: &validation.prepared.plans,
        extras: Extras::default(),
    };
    for output in outputs {
        let Some(kind) = targets.get(&output.name) else { continue };
        let folder = layout.folder(&output.name);
        remove_leftovers(&folder, ABANDONED);
        summaries.insert(&output.name, Summary::new(kind, output.target.as_deref().unwrap_or_default(), folder, reader));
    }
    let Prepared { plans, configuration, store, .. } = validation.prepared;
    let window = Window::new(configuration, validation.patch, validation.mirror, targets);
    let predictor = Predictor::new(std::slice::from_ref(model), plans, configuration, targets, window, Extras::default());
    let left_out = AtomicUsize::new(0);
    let leave_out = |id: &str, reason: &dyn Display| {
        log::warn!("validation case {id} {reason}; left out");
        left_out.fetch_add(1, Ordering::Relaxed);
    };
    let of_dataset = |id: &str| validation.dataset.cases.iter().find(|case| case.id == id);
    let mut cases = Vec::new();
    for id in validation.cases {
        match of_dataset(id) {
            Some(case) => cases.push(CaseFiles { id: case.id.clone(), images: case.images.clone() }),
            None => leave_out(id, &"is in the splits but not in the data set"),
        }
    }
    let bar = Bar::new("validation", cases.len() as u64);
    let read = |case: &CaseFiles| {
        let geometry = reader.read_geometry(&case.images[0])?;
        if let Err(reason) = layout.check(case, &geometry) {
            leave_out(&case.id, &reason);
            return Ok(None);
        }
        Preprocessed::stored(&store.open(&case.id)?, geometry).map(Some)
    };
    let finish = |files: &CaseFiles, Predicted { outputs, geometry, .. }: Predicted| {
        let case = of_dataset(&files.id).expect("found above");
        for (name, Exported { prediction, .. }) in outputs {
            let Some(summary) = summaries.get_mut(name.as_str()) else { continue };
            let path = layout.path(&name, &case.id);
            write(&path, &prediction, &targets[&name], &geometry)?;
            summary.add(validation.dataset, case, path, &prediction)?;
        }
        bar.step();
        Ok(())
    };
    let failed = |case: &CaseFiles, error: Error| {
        Err(match error {
            Error::Model(source) => Error::Network { case: case.id.to_string(), source },
            other => other,
        })
    };
    predictor.run(&cases, read, finish, failed, validation.stop)?;
    if validation.stop.is_asked() {
        return Ok(None);
    }
    let left_out = left_out.into_inner();
    if left_out > 0 && left_out == validation.cases.len() {
        return Err(Error::NothingValidated { cases: left_out });
    }
    let mut lines = Lines::new();
    for (name, summary) in &summaries {
        let result = summary.finish(&validation.notes)?;
        // Such a target is made of patches in training, never of whole cases.
        let of_plugin = !validation.dataset.description.targets.contains_key(&summary.target);
        let result = if of_plugin { format!("not measured: the plugin makes its target '{}'", summary.target) } else { result };
        lines.push(format!("  {name:<15} {result}"));
    }
    Ok(Some(lines))
}

/// Results of one output.
struct Summary {
    folder: PathBuf,
    /// Reads the references.
    reader: Reader,
    target: String,
    metrics: Metrics,
}

enum Metrics {
    Labels { labels: Labels, summary: segmentation::Summary },
    Regression(regression::Summary),
    Class(classification::Summary),
}

impl Summary {
    fn new(kind: &TargetKind, target: &str, folder: PathBuf, reader: Reader) -> Self {
        let metrics = match kind {
            TargetKind::Labels(labels) => Metrics::Labels { labels: labels.clone(), summary: segmentation::Summary::new(labels) },
            TargetKind::Regression { .. } => Metrics::Regression(regression::Summary::default()),
            TargetKind::Class { classes } => Metrics::Class(classification::Summary::new(classes.clone())),
        };
        Self { folder, reader, target: target.to_owned(), metrics }
    }

    /// Compares a prediction with the case's own target; a case without it is left out.
    fn add(&mut self, dataset: &Dataset, case: &Case, path: PathBuf, prediction: &Prediction) -> Result<(), Error> {
        if let Some(TargetSource::Derived { from, operation }) = dataset.description.targets.get(&self.target).map(|target| &target.source)
        {
            return self.add_derived(dataset, case, path, prediction, (from, operation));
        }
        let Some(Some(target)) = case.targets.get(&self.target) else { return Ok(()) };
        match (&mut self.metrics, prediction, target) {
            (Metrics::Labels { labels, summary }, Prediction::Labels(prediction), CaseTarget::File(reference)) => {
                let files = Files { prediction: path, reference: reference.clone() };
                let reference = self.reader.read_labels(reference)?.volume;
                summary.add(segmentation::case_metrics(files, prediction, &reference, &labels.foreground(), labels.ignore)?);
            }
            (Metrics::Regression(summary), Prediction::Regression(prediction), CaseTarget::File(reference)) => {
                let files = Files { prediction: path, reference: reference.clone() };
                summary.add(regression::case_metrics(files, prediction, &self.reader.read_image(reference)?.volume, None)?);
            }
            (Metrics::Class(summary), Prediction::Class(scores), CaseTarget::Class(reference)) => {
                summary.add(classification::case_metrics(case.id.to_string(), scores.clone(), *reference)?);
            }
            _ => return Err(Error::Target { path, reason: format!("the prediction is of another kind than target '{}'", self.target) }),
        }
        Ok(())
    }

    /// Compares a prediction with what `operation` makes of the label map of target `from`, where that is known as training has it
    /// ([`clear_unknown`]). Cases without a border have no distance to it, and are left out. The reference is made of the whole file at its own spacing: in three dimensions also where
    /// the network was trained on what slices show.
    fn add_derived(
        &mut self,
        dataset: &Dataset,
        case: &Case,
        path: PathBuf,
        prediction: &Prediction,
        (from, operation): (&str, &Operation),
    ) -> Result<(), Error> {
        /// No derived label.
        const IGNORED: i16 = i16::MAX;
        let kind = dataset.description.targets.get(from).map(|target| &target.kind);
        let (Some(TargetKind::Labels(kind)), Some(Some(CaseTarget::File(file)))) = (kind, case.targets.get(from)) else { return Ok(()) };
        let map = self.reader.read_labels(file)?;
        let origin = Origin { kind, labels: map.volume.data(), spatial: map.volume.spatial(), spacing: map.geometry.spacing() };
        let files = Files { prediction: path, reference: file.clone() };
        let memory = &mut DeriveMemory::default();
        let mut valid = Volume::filled(map.volume.shape(), true);
        match (&mut self.metrics, prediction) {
            (Metrics::Labels { labels, summary }, Prediction::Labels(prediction)) => {
                let mut reference = Volume::filled(map.volume.shape(), 0);
                derive(operation, &origin, memory, Derived::Labels(reference.data_mut()));
                clear_unknown(&origin, None, memory, valid.data_mut());
                reference.data_mut().iter_mut().zip(valid.data()).filter(|(_, valid)| !**valid).for_each(|(label, _)| *label = IGNORED);
                summary.add(segmentation::case_metrics(files, prediction, &reference, &labels.foreground(), Some(IGNORED))?);
            }
            (Metrics::Regression(summary), Prediction::Regression(prediction)) => {
                let mut reference = Volume::filled(map.volume.shape(), 0.0);
                if derive(operation, &origin, memory, Derived::Values(reference.data_mut())) {
                    clear_unknown(&origin, Some(reference.data()), memory, valid.data_mut());
                    summary.add(regression::case_metrics(files, prediction, &reference, Some(&valid))?);
                }
            }
            _ => {
                let reason = format!("the prediction is of another kind than target '{}'", self.target);
                return Err(Error::Target { path: files.prediction, reason });
            }
        }
        Ok(())
    }

    /// Writes `summary.json` and says the result in words.
    fn finish(&self, notes: &Notes) -> Result<String, Error> {
        let path: &Path = &self.folder.join("summary.json");
        match &self.metrics {
            Metrics::Labels { summary, .. } => {
                summary.write(path, notes)?;
                let each: Vec<String> = summary.mean().map(|(name, mean)| format!("{name} {:.4}", mean.dice)).collect();
                Ok(format!("mean Dice {:.4} ({})", summary.foreground_mean().dice, each.join(", ")))
            }
            Metrics::Regression(summary) => {
                summary.write(path, notes)?;
                let mean = summary.mean();
                Ok(format!("MAE {:.4}, RMSE {:.4} (best constant: MAE {:.4})", mean.mae, mean.rmse, summary.constant_mae()))
            }
            Metrics::Class(summary) => {
                summary.write(path, notes)?;
                let (accuracy, auc, majority) = (summary.accuracy(), summary.macro_auc(), summary.majority_rate());
                Ok(format!("accuracy {accuracy:.4}, AUC {auc:.4} (majority: accuracy {majority:.4})"))
            }
        }
    }
}
