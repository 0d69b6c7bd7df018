//! Predicts and measures the validation cases of a fold.

use super::{CaseFiles, Error, Exported, Extras, Layout, Predicted, Prediction, Predictor, Preprocessed, Window};
use crate::environment::Stop;
use crate::kinds::{self, Measurable};
use crate::model::Model;
use crate::network::EngineChoice;
use crate::report::Bar;
use data::dataset::{Case, Dataset, Operation, Origin, TargetKind, TargetSource};
use data::kinds::Summary;
use data::measure::Notes;
use data::preprocess::{self, Prepared};
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
            kinds::of(&targets[&name]).write(&path, &prediction, &geometry)?;
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
        let measured = Measurable { case: &case.id, path: &path, prediction, reader: self.reader };
        match kinds::of(self.kind).measure(&measured, target)? {
            Some(measured) => self.summary.add(measured),
            None => {
                let reason = format!("the prediction is of another kind than target '{}'", self.target);
                return Err(Error::Target { path, reason });
            }
        }
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
        let kind = dataset.description.targets.get(from).and_then(|target| target.kind.labels());
        let (Some(kind), Some(file)) = (kind, case.targets.get(from).and_then(|target| target.as_ref()?.file())) else { return Ok(()) };
        let map = self.reader.read_labels(file)?;
        let origin = Origin { kind, labels: map.volume.data(), spatial: map.volume.spatial(), spacing: map.geometry.spacing() };
        let measured = Measurable { case: &case.id, path: &path, prediction, reader: self.reader };
        if let Some(measured) = kinds::of(self.kind).measure_derived(&measured, operation, &origin, file)? {
            self.summary.add(measured);
        }
        Ok(())
    }
}
