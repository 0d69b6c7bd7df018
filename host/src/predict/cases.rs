//! Predicts one case after another, with reading and writing beside it.
//!
//! ```text
//! thread:  read, preprocess ─┐ (1 waits)
//! caller:                    └ sliding window ─┐ (1 waits)
//! thread:                                      └ resample, decide, write
//! ```
//! So at most three images and three sets of logits are in memory. A case that cannot be predicted is told at the end and does not stop the
//! others. Everything that calls the plugin stays on the caller's thread.

use super::{BadInput, Exported, Exporter, Extras, Input, Layout, Prediction, Window, sliding_window};
use crate::artifact::{ModelFolder, TrainedModel};
use crate::model;
use data::dataset::guarded;
use data::preprocess::{Properties, preprocess_image};
use imaging::Volume;
use imaging::io::Geometry;
use imaging::largest_component::keep_largest_component;
use indexmap::IndexMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tch::Tensor;

/// What is predicted, and what is made of it.
#[derive(Debug)]
pub struct Cases<'a> {
    /// Where the model comes from.
    pub folder: &'a ModelFolder,
    /// The model.
    pub model: &'a TrainedModel,
    /// The images.
    pub inputs: &'a [Input],
    /// Where files go: those of the first output there, those of every further one in a folder of its own.
    pub output: &'a Path,
    /// How images are covered.
    pub window: Window<'a>,
    /// What is written beside label maps.
    pub extras: Extras,
    /// Groups of labels of which only the largest connected component is kept, by output.
    pub largest: IndexMap<String, Vec<Vec<i16>>>,
}

/// How it went.
#[derive(Debug)]
pub struct Done {
    /// Cases that were not predicted, with the reason.
    pub bad: Vec<BadInput>,
    /// Time that the network took.
    pub network: Duration,
}

/// A case on its way.
struct Prepared<'a> {
    input: &'a Input,
    image: Volume<f32>,
    properties: Properties,
    geometry: Geometry,
}

/// What the network has made of it.
struct Predicted<'a> {
    input: &'a Input,
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

impl Cases<'_> {
    /// Predicts all cases, and calls `tell` after each.
    ///
    /// # Errors
    /// When the plugin fails at what concerns all cases.
    pub fn predict(&self, tell: impl Fn() + Sync) -> Result<Done, model::Error> {
        let TrainedModel { folds, configuration, targets, .. } = self.model;
        let exporter = Exporter::new(&folds[0], targets, &self.folder.plans, configuration, self.extras);
        // Of what threads share, nothing may hold a network: libtorch's tensors stay with one thread at a time.
        let (ending, plans) = (&self.folder.description.file_ending, &self.folder.plans);
        let reader = self.folder.reader;
        let layout = Layout { output: self.output, targets, ending, reader, plans, extras: self.extras };
        let (inputs, folder, exporter, tell) = (self.inputs, self.folder, &exporter, &tell);
        let writing = Writing { exporter, layout, largest: &self.largest };
        let (to_network, prepared) = sync_channel(1);
        let (to_files, predicted) = sync_channel(1);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let dims = configuration.dims();
                let preprocess = |images: &[PathBuf]| preprocess_image(images, &folder.plans, configuration);
                let prepare = |input| prepare(input, dims, layout, preprocess);
                prepare_all(inputs, prepare, &to_network)
            });
            let writer = scope.spawn(move || writing.all(&predicted, tell));
            let (mut bad, network) = self.run_network(prepared, exporter, to_files);
            bad.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let unwritten = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            bad.extend(unwritten);
            bad.sort_by(|a, b| a.case.cmp(&b.case));
            Ok(Done { bad, network })
        })
    }

    fn run_network<'i>(
        &self,
        prepared: Receiver<Prepared<'i>>,
        exporter: &Exporter,
        to_files: SyncSender<Predicted<'i>>,
    ) -> (Vec<BadInput>, Duration) {
        let (mut bad, mut time) = (Vec::new(), Duration::ZERO);
        for Prepared { input, image, properties, geometry } in prepared {
            let started = Instant::now();
            let outputs = guarded(&input.id, || {
                let told = |error: model::Error| error.to_string();
                let logits = sliding_window(&self.model.folds, image.view(), &self.window).map_err(told)?;
                time += started.elapsed();
                if exporter.needs_no_plugin() {
                    return Ok(Outputs::Logits(logits));
                }
                exporter.export(&self.model.folds[0], logits, &properties).map(Outputs::Exported).map_err(told)
            });
            match outputs {
                // A closed channel means that the writer thread panicked; the panic is reported after the join.
                Ok(outputs) => {
                    if to_files.send(Predicted { input, properties, geometry, outputs }).is_err() {
                        break;
                    }
                }
                Err(reason) => bad.push(BadInput { case: input.id.to_string(), reason }),
            }
        }
        (bad, time)
    }
}

fn prepare_all<'i>(
    inputs: &'i [Input],
    prepare: impl Fn(&'i Input) -> Result<Prepared<'i>, String>,
    to_network: &SyncSender<Prepared<'i>>,
) -> Vec<BadInput> {
    let mut bad = Vec::new();
    for input in inputs {
        match guarded(&input.id, || prepare(input)) {
            Ok(prepared) => {
                if to_network.send(prepared).is_err() {
                    break;
                }
            }
            Err(reason) => bad.push(BadInput { case: input.id.to_string(), reason }),
        }
    }
    bad
}

fn prepare<'i, E: std::fmt::Display>(
    input: &'i Input,
    dims: usize,
    layout: Layout,
    preprocess: impl Fn(&[PathBuf]) -> Result<(Volume<f32>, Properties, Geometry), E>,
) -> Result<Prepared<'i>, String> {
    let (image, properties, geometry) = preprocess(&input.images).map_err(|error| error.to_string())?;
    if dims == 3 && geometry.is_planar() {
        let path = input.images[0].display();
        return Err(format!("{path} has two dimensions, but the model takes volumes; predict it with a model of configuration 2d"));
    }
    layout.check(input, &geometry)?;
    Ok(Prepared { input, image, properties, geometry })
}

/// What the last thread does with every case.
struct Writing<'a> {
    exporter: &'a Exporter<'a>,
    layout: Layout<'a>,
    largest: &'a IndexMap<String, Vec<Vec<i16>>>,
}

impl Writing<'_> {
    /// Writes what comes.
    fn all(self, predicted: &Receiver<Predicted>, tell: &impl Fn()) -> Vec<BadInput> {
        let mut bad = Vec::new();
        for predicted in predicted {
            let case = predicted.input.id.to_string();
            if let Err(reason) = guarded(&case, || self.one(predicted)) {
                bad.push(BadInput { case, reason });
            }
            tell();
        }
        bad
    }

    fn one(&self, predicted: Predicted) -> Result<(), String> {
        let Predicted { input, properties, geometry, outputs } = predicted;
        let mut exported = match outputs {
            Outputs::Logits(logits) => self.exporter.export_without_plugin(logits, &properties).map_err(|error| error.to_string())?,
            Outputs::Exported(exported) => exported,
        };
        for (name, exported) in &mut exported {
            if let Prediction::Labels(labels) = &mut exported.prediction {
                self.largest.get(name).into_iter().flatten().for_each(|group| keep_largest_component(labels, group));
            }
        }
        self.layout.write(input, &exported, &geometry, &properties)
    }
}
