//! The one way to predict: preprocessed images in, named outputs out, with reading and writing beside the network.
//!
//! ```text
//! thread:  read, preprocess ─┐
//! caller:                    └ sliding window ─┐
//! thread:                                      └ resample, decide, finish
//! ```
//! Each waits until the next one takes what it has made: two images and two sets of logits are in memory at most. Everything that calls the
//! plugin stays on the caller's thread.

use super::fold::Fold;
use super::{CaseFiles, Error, Exported, Exporter, Extras, Preprocessed, Window, sliding_window};
use crate::environment::Stop;
use crate::model::{self, Model};
use crate::network::{Engine, EngineChoice};
use data::dataset::TargetKind;
use data::parallel::guarded;
use data::plan::{Configuration, Plans};
use data::preprocess::Properties;
use imaging::io::Geometry;
use indexmap::IndexMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Networks, and how they predict.
#[derive(Debug)]
pub struct Predictor<'a> {
    /// Of one network.
    folds: Vec<Fold<'a>>,
    window: Window,
    exporter: Exporter<'a>,
    is_sparing: bool,
}

/// What is predicted of a case.
#[derive(Debug)]
pub struct Predicted {
    /// By output, in the raw image's frame.
    pub outputs: IndexMap<String, Exported>,
    /// What preprocessing did.
    pub properties: Properties,
    /// Where the raw image lies in the patient.
    pub geometry: Geometry,
}

/// How a run went.
#[derive(Debug)]
pub struct Run {
    /// Time that the network took.
    pub network: Duration,
    /// `stop` ended it before all cases were predicted.
    pub stopped: bool,
}

/// What the network has made of a case.
struct Computed<'c> {
    case: &'c CaseFiles,
    properties: Properties,
    geometry: Geometry,
    outputs: Outputs,
}

enum Outputs {
    /// What is left does not need the plugin.
    Logits(IndexMap<String, Tensor>),
    /// What the plugin has activated.
    Exported(IndexMap<String, Exported>),
}

impl<'a> Predictor<'a> {
    /// For `models`, the folds of one network, whose outputs have these `targets`.
    pub fn new(
        models: &'a [Model],
        plans: &'a Plans,
        configuration: &'a Configuration,
        targets: &'a IndexMap<String, TargetKind>,
        window: Window,
        extras: Extras,
    ) -> Self {
        Self {
            folds: models.iter().map(Fold::new).collect(),
            window,
            exporter: Exporter::new(&models[0], targets, plans, configuration, extras),
            is_sparing: false,
        }
    }

    /// The same with one set of logits in memory: those of a case are resampled before the network begins with the next one.
    pub fn sparing(self) -> Self {
        Self { is_sparing: true, ..self }
    }

    /// The same with the engine of `choice`, and the engine that it is now. Says in one line what runs where.
    ///
    /// # Errors
    /// When the CPU engine is required, and cannot compute the network.
    pub fn on(mut self, choice: EngineChoice) -> Result<(Self, Engine), model::Error> {
        if choice.engine == Engine::Torch {
            return Ok((self, Engine::Torch));
        }
        let models: Vec<&Model> = self.folds.iter().map(|fold| fold.model).collect();
        match Fold::on_engine(&models, &self.window) {
            Ok(folds) => self.folds = folds,
            Err(error) if !choice.is_required => {
                log::info!("{error}; libtorch computes it");
                return Ok((self, Engine::Torch));
            }
            Err(error) => return Err(error),
        }
        log::info!("the CPU engine computes the trunk, libtorch the plugin's heads");
        Ok((self, Engine::Native))
    }

    /// Predicts one case on the caller's thread.
    ///
    /// # Errors
    /// When libtorch or the plugin fails.
    pub fn predict(&self, case: &Preprocessed) -> Result<IndexMap<String, Exported>, model::Error> {
        let logits = sliding_window(&self.folds, case.inputs.image.view(), &self.window)?;
        self.exporter.export(self.folds[0].model, logits, &case.properties)
    }

    /// Predicts one case after another. `read` prepares a case, or leaves it out with `None`. `finish` takes its prediction. Each has a thread
    /// of its own. `failed` decides whether to go on after an error. `stop` ends the run after the case that the network is at.
    ///
    /// # Errors
    /// What `failed` returns, of the first case for which it does.
    pub fn run(
        &self,
        cases: &[CaseFiles],
        read: impl Fn(&CaseFiles) -> Result<Option<Preprocessed>, Error> + Send,
        finish: impl FnMut(&CaseFiles, Predicted) -> Result<(), Error> + Send,
        failed: impl Fn(&CaseFiles, Error) -> Result<(), Error> + Sync,
        stop: &Stop,
    ) -> Result<Run, Error> {
        let (to_network, prepared) = sync_channel(0);
        let (to_finish, computed) = sync_channel(0);
        // Threads share no network: libtorch's tensors stay with one thread at a time.
        let (exporter, failed) = (&self.exporter, &failed);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || read_all(cases, read, failed, stop, &to_network));
            let finisher = scope.spawn(move || finish_all(&computed, exporter, finish, failed));
            let computed = self.compute_all(prepared, failed, stop, &to_finish);
            drop(to_finish);
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let finished = finisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // The later the stage, the earlier the case.
            finished?;
            let run = computed?;
            let all_read = read?;
            Ok(Run { stopped: run.stopped || !all_read, ..run })
        })
    }

    /// Computes cases until none is read any more, or nobody takes the results.
    fn compute_all<'c>(
        &self,
        prepared: Receiver<(&'c CaseFiles, Preprocessed)>,
        failed: impl Fn(&CaseFiles, Error) -> Result<(), Error>,
        stop: &Stop,
        to_finish: &SyncSender<Computed<'c>>,
    ) -> Result<Run, Error> {
        let mut run = Run { network: Duration::ZERO, stopped: false };
        for (case, preprocessed) in prepared {
            if stop.is_asked() {
                run.stopped = true;
                break;
            }
            let outputs = guarded(&case.id, || self.compute(&preprocessed, &mut run.network));
            let Preprocessed { inputs, properties, geometry } = preprocessed;
            // The finishing thread may be busy for long.
            drop(inputs);
            match outputs {
                Ok(outputs) => {
                    if to_finish.send(Computed { case, properties, geometry, outputs }).is_err() {
                        break;
                    }
                }
                Err(error) => failed(case, error)?,
            }
        }
        Ok(run)
    }

    fn compute(&self, case: &Preprocessed, time: &mut Duration) -> Result<Outputs, Error> {
        let started = Instant::now();
        let logits = sliding_window(&self.folds, case.inputs.image.view(), &self.window)?;
        *time += started.elapsed();
        if !self.is_sparing && self.exporter.needs_no_plugin() {
            return Ok(Outputs::Logits(logits));
        }
        Ok(Outputs::Exported(self.exporter.export(self.folds[0].model, logits, &case.properties)?))
    }
}

/// Reads until all cases are read, or nobody takes them; false when stopped.
fn read_all<'c>(
    cases: &'c [CaseFiles],
    read: impl Fn(&CaseFiles) -> Result<Option<Preprocessed>, Error>,
    failed: impl Fn(&CaseFiles, Error) -> Result<(), Error>,
    stop: &Stop,
    to_network: &SyncSender<(&'c CaseFiles, Preprocessed)>,
) -> Result<bool, Error> {
    for case in cases {
        if stop.is_asked() {
            return Ok(false);
        }
        match guarded(&case.id, || read(case)) {
            Ok(None) => {}
            Ok(Some(preprocessed)) => {
                if to_network.send((case, preprocessed)).is_err() {
                    break;
                }
            }
            Err(error) => failed(case, error)?,
        }
    }
    Ok(true)
}

fn finish_all(
    computed: &Receiver<Computed>,
    exporter: &Exporter,
    mut finish: impl FnMut(&CaseFiles, Predicted) -> Result<(), Error>,
    failed: impl Fn(&CaseFiles, Error) -> Result<(), Error>,
) -> Result<(), Error> {
    for Computed { case, properties, geometry, outputs } in computed {
        let done = guarded(&case.id, || {
            let outputs = match outputs {
                Outputs::Logits(logits) => exporter.export_without_plugin(logits, &properties)?,
                Outputs::Exported(exported) => exported,
            };
            finish(case, Predicted { outputs, properties, geometry })
        });
        if let Err(error) = done {
            failed(case, error)?;
        }
    }
    Ok(())
}
