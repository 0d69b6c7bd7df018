//! Predicts and measures the validation cases of a fold.

use super::{CaseFiles, Error, Exported, Extras, Layout, Predicted, Prediction, Predictor, Preprocessed, Window, write};
use crate::environment::Stop;
use crate::model::Model;
use crate::network::EngineChoice;
use crate::report::Bar;
use data::dataset::{Case, CaseTarget, Dataset, DeriveMemory, Derived, Operation, Origin, TargetKind, TargetSource, clear_unknown, derive};
use data::kinds::{Case as Measure, Summary};
use data::measure::{Files, Notes, TOLERANCE, classification, regression, segmentation};
use data::preprocess::{self, Prepared};
use imaging::Volume;
use imaging::io::{ABANDONED, Reader, remove_leftovers};
use indexmap::IndexMap;
use std::fmt::Display;
use std::path::PathBuf;
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
    /// What computes the trunk.
    pub engine: EngineChoice,
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

/// Predicts every case with `model`, writes one file an output and case and `summary.json` per output, and returns the results in words;
/// `None` when stopped. The first output's files lie in the folder itself, where nnU-Net has them, those of every further output in one of
/// its own.
pub fn validate(model: &Model, validation: &Validation) -> Result<Option<Lines>, Error> {
    let outputs = model.trainer.outputs();
    let targets = &validation.targets;
    let reader = validation.prepared.plans.reader().map_err(preprocess::Error::from)?;
    let mut measured: IndexMap<&str, Measured> = IndexMap::new();
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
        let (target, summary) = (output.target.as_deref().unwrap_or_default(), kind.summary());
        measured.insert(&output.name, Measured { folder, reader, kind, target, summary });
    }
    let Prepared { plans, configuration, store, .. } = validation.prepared;
    let window = Window::new(configuration, validation.patch, validation.mirror, targets);
    // The training is still in memory.
    let predictor = Predictor::new(std::slice::from_ref(model), plans, configuration, targets, window, Extras::default()).sparing();
    let (predictor, _) = predictor.on(validation.engine)?;
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
            let Some(measured) = measured.get_mut(name.as_str()) else { continue };
            let path = layout.path(&name, &case.id);
            write(&path, &prediction, &targets[&name], &geometry)?;
            measured.add(validation.dataset, case, path, &prediction)?;
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
    if predictor.run(&cases, read, finish, failed, validation.stop)?.stopped {
        return Ok(None);
    }
    let left_out = left_out.into_inner();
    if left_out > 0 && left_out == validation.cases.len() {
        return Err(Error::NothingValidated { cases: left_out });
    }
    let mut lines = Lines::new();
    for (name, Measured { folder, target, summary, .. }) in &measured {
        summary.write(&folder.join("summary.json"), &validation.notes)?;
        // Such a target is made of patches in training, never of whole cases.
        let of_plugin = !validation.dataset.description.targets.contains_key(*target);
        let result = if of_plugin { format!("not measured: the plugin makes its target '{target}'") } else { summary.in_words() };
        lines.push(format!("  {name:<15} {result}"));
    }
    Ok(Some(lines))
}

/// The measured cases of one output, and how they are measured.
struct Measured<'a> {
    folder: PathBuf,
    /// Reads the references.
    reader: Reader,
    kind: &'a TargetKind,
    target: &'a str,
    summary: Summary,
}

impl Measured<'_> {
    /// Compares a prediction with the case's own target; a case without it is left out.
    fn add(&mut self, dataset: &Dataset, case: &Case, path: PathBuf, prediction: &Prediction) -> Result<(), Error> {
        if let Some(TargetSource::Derived { from, operation }) = dataset.description.targets.get(self.target).map(|target| &target.source) {
            return self.add_derived(dataset, case, path, prediction, (from, operation));
        }
        let Some(Some(target)) = case.targets.get(self.target) else { return Ok(()) };
        let measured = match (self.kind, prediction, target) {
            (TargetKind::Labels(labels), Prediction::Labels(prediction), CaseTarget::File(reference)) => {
                let files = Files { prediction: path, reference: reference.clone() };
                let reference = self.reader.read_labels(reference)?;
                let scale = Some((reference.geometry.spacing(), TOLERANCE));
                let (foreground, ignore) = (labels.foreground(), labels.ignore);
                Measure::Labels(segmentation::case_metrics(files, prediction, &reference.volume, &foreground, ignore, scale)?)
            }
            (TargetKind::Regression(_), Prediction::Regression(prediction), CaseTarget::File(reference)) => {
                let files = Files { prediction: path, reference: reference.clone() };
                let reference = self.reader.read_image(reference)?.volume;
                Measure::Regression(regression::case_metrics(files, prediction, &reference, None)?)
            }
            (TargetKind::Class(_), Prediction::Class(scores), CaseTarget::Class(reference)) => {
                Measure::Class(classification::case_metrics(case.id.to_string(), scores.clone(), *reference)?)
            }
            _ => return Err(self.other_kind(path)),
        };
        self.summary.add(measured);
        Ok(())
    }

    /// Compares a prediction with what `operation` makes of the label map of target `from`, where that is known as training has it
    /// ([`clear_unknown`]). Cases without a border have no distance to it, and are left out. The reference is made of the whole file at its
    /// own spacing: in three dimensions also where the network was trained on what slices show.
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
        let measured = match (self.kind, prediction) {
            (TargetKind::Labels(labels), Prediction::Labels(prediction)) => {
                let mut reference = Volume::filled(map.volume.shape(), 0);
                derive(operation, &origin, memory, Derived::Labels(reference.data_mut()));
                clear_unknown(&origin, None, memory, valid.data_mut());
                reference.data_mut().iter_mut().zip(valid.data()).filter(|(_, valid)| !**valid).for_each(|(label, _)| *label = IGNORED);
                let scale = Some((origin.spacing, TOLERANCE));
                let foreground = labels.foreground();
                Measure::Labels(segmentation::case_metrics(files, prediction, &reference, &foreground, Some(IGNORED), scale)?)
            }
            (TargetKind::Regression(_), Prediction::Regression(prediction)) => {
                let mut reference = Volume::filled(map.volume.shape(), 0.0);
                if !derive(operation, &origin, memory, Derived::Values(reference.data_mut())) {
                    return Ok(());
                }
                clear_unknown(&origin, Some(reference.data()), memory, valid.data_mut());
                Measure::Regression(regression::case_metrics(files, prediction, &reference, Some(&valid))?)
            }
            _ => return Err(self.other_kind(files.prediction)),
        };
        self.summary.add(measured);
        Ok(())
    }

    fn other_kind(&self, path: PathBuf) -> Error {
        Error::Target { path, reason: format!("the prediction is of another kind than target '{}'", self.target) }
    }
}
