//! Trains one fold of one run, or of several that are compared.

use super::{Existing, Session, Setup, checks};
use crate::artifact::{self, Identity, LibraryRecord, Machine, Origin, Streams};
use crate::environment::Stop;
use crate::loading::{Loader, Source};
use crate::report::RunLog;
use crate::train::{self, Arm, Average, EXAMPLES, End, Optimiser, Reach, SharedLayer, Training};
use anyhow::Result;
use data::dataset::splits::Fold;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a training goes on with.
struct Begun {
    identity: Identity,
    optimiser: Optimiser,
    average: Option<Average>,
    progress: train::Progress,
}

/// How the random numbers of a fold are keyed. A resumed fold keeps what its checkpoint says; all of `setups` get the same, since they see
/// the same batches.
///
/// # Errors
/// When a checkpoint cannot be read.
pub fn streams(setups: &[Setup], fold: Fold, existing: Existing) -> Result<Streams> {
    if matches!(existing, Existing::Resume { .. }) {
        for path in setups.iter().filter_map(|setup| artifact::newest_checkpoint(&setup.folder.join(format!("fold_{fold}")))) {
            let found = artifact::checkpoint_streams(&path)?;
            if found != Streams::NEW {
                return Ok(found);
            }
        }
    }
    Ok(Streams::NEW)
}

/// Trains one fold of one run, or of several that are compared, on the same batches.
///
/// # Errors
/// Among others, when they would not see the same batches.
pub fn train(sessions: &mut [Session], existing: Existing, stop: &Stop) -> Result<End> {
    checks::check_arms(sessions)?;
    let (first_options, _) = sessions[0].loader_options();
    first_options.check(&sessions[0].source(&sessions[0].split.train))?;
    sessions.iter_mut().try_for_each(Session::lock)?;
    let begun = sessions.iter_mut().map(|session| session.begin(existing)).collect::<Result<Vec<_>>>()?;
    // The last that can be refused; from here on files are written, or removed.
    let first = &sessions[0];
    let (train, validation) = first.loader_options();
    let transforms: Vec<_> = sessions.iter().map(|session| session.model.transform.clone()).collect();
    let source = |cases: &[String]| Arc::new(Source { transforms: transforms.clone(), ..first.source(cases) });
    let (batches, iterations) = (first.settings.recipe.common.accumulate, first.settings.config.training.val_iterations);
    // One that has stopped early sees no more batches.
    let going = begun.iter().filter(|begun| !begun.progress.stopped_early);
    let (epoch, iteration) = going.map(|begun| (begun.progress.epoch, begun.progress.iteration)).min().unwrap_or_default();
    let train = Loader::start(source(&first.split.train), train, first.task.iterations * batches, (epoch, iteration * batches))?;
    let validation = Loader::start(source(&first.split.validation), validation, iterations, (epoch, 0))?;
    let arms = sessions.iter_mut().zip(begun).enumerate();
    let arms = arms.map(|(number, (session, begun))| session.arm(number, begun, existing)).collect::<Result<_>>()?;
    Ok(Training { arms, train, validation, stop }.run()?)
}

impl Session<'_> {
    /// Everything that a training needs, from where its newest checkpoint left it if `existing` says so. A fold that was killed before its first
    /// checkpoint starts anew. Writes nothing.
    fn begin(&mut self, existing: Existing) -> Result<Begun> {
        self.check_existing(existing)?;
        let identity = self.identity(&self.data_key())?;
        let optimiser = Optimiser::new(&self.model.parameters, &self.settings.recipe);
        let average = self.settings.recipe.common.ema.map(|decay| Average::new(&self.model.parameters, decay));
        let mut progress = train::Progress::default();
        if let (Existing::Resume { anyway }, Some(path)) = (existing, artifact::newest_checkpoint(&self.folder)) {
            let state = optimiser.state().chain(average.iter().flat_map(Average::state));
            progress = artifact::load_checkpoint(&path, &mut self.model, state, &identity, anyway)?;
        }
        Ok(Begun { identity, optimiser, average, progress })
    }

    /// Writes, or removes, the first files, and puts the arm together.
    fn arm(&mut self, number: usize, begun: Begun, existing: Existing) -> Result<Arm<'_>> {
        let Begun { identity, optimiser, average, progress } = begun;
        if existing == Existing::Overwrite {
            self.remove()?;
        }
        self.write_description(&identity.origin)?;
        let mut log = RunLog::open(&self.folder, progress.log_lengths, self.name, &self.env.output)?;
        // Nobody else writes here: the fold is locked.
        let folders = [&self.folder, &self.folder.join(EXAMPLES)];
        folders.into_iter().for_each(|folder| imaging::io::remove_leftovers(folder, Duration::ZERO));
        self.write_debug(&identity, &progress)?;
        self.log_start(&mut log, &progress, &identity.data_key);
        let unseen = self.model.trainer.outputs().iter().filter_map(|output| output.target.clone()).collect();
        Ok(Arm {
            shared: SharedLayer::new(&self.model.parameters),
            level_weights: self.level_weights(),
            name: self.name.to_owned(),
            model: &mut self.model,
            task: &self.task,
            number,
            folder: self.folder.clone(),
            identity,
            upkeep: self.settings.config.upkeep.clone(),
            optimiser,
            average,
            progress,
            log,
            reach: Reach::default(),
            saved: Instant::now(),
            names_checked: false,
            probed: None,
            unseen,
        })
    }

    fn identity(&self, data_key: &str) -> Result<Identity> {
        let plugin = self.model.trainer.plugin();
        let origin = Origin {
            plugin: plugin.identity().manifest.id.clone(),
            plugin_version: plugin.identity().manifest.version.clone(),
            library: Some(LibraryRecord::of(plugin.identity())),
            options: self.settings.options(),
            plan: serde_json::to_value(&self.prepared.configuration)?,
            patch: self.patch,
            mirror: self.mirror.clone(),
            task: Some(self.host_task.clone()),
        };
        Ok(Identity {
            origin,
            data_key: data_key.to_owned(),
            streams: self.streams,
            pretrained: self.inherited.as_ref().map(|inherited| inherited.sha256.clone()),
            epochs: self.task.epochs,
            iterations: self.task.iterations,
            validation_iterations: self.settings.config.training.val_iterations,
            precision: self.model.precision,
            deep_supervision: self.deep_supervision(),
            recipe: self.settings.recipe.clone(),
            machine: Machine::here(&self.task.device),
        })
    }
}
