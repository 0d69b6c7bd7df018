//! Trains one fold of one run, or of several that are compared.

use super::{Existing, Session, Setup, checks};
use crate::artifact::{self, Identity, LibraryRecord, Machine, Origin, Streams};
use crate::environment::Stop;
use crate::loading::{Loader, Share};
use crate::report::RunLog;
use crate::train::{self, Arm, Average, EXAMPLES, End, Learner, Makers, Optimiser, State, Training, observers};
use anyhow::Result;
use data::dataset::splits::Fold;
use std::sync::Arc;
use std::time::Duration;

/// What a training goes on with.
struct Begun {
    identity: Identity,
    state: State,
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
    let makers = Arc::new(Makers(sessions.iter().map(|session| session.model.transform.clone()).collect()));
    let source = |cases: &[String]| Arc::new(first.source(cases));
    let (batches, iterations) = (first.settings.recipe.common.accumulate, first.settings.config.training.val_iterations);
    // One that has stopped early sees no more batches.
    let going = begun.iter().filter(|begun| !begun.state.progress.stopped_early);
    let (epoch, iteration) = going.map(|begun| (begun.state.progress.epoch, begun.state.progress.iteration)).min().unwrap_or_default();
    let (per_epoch, start) = (first.task.iterations * batches, (epoch, iteration * batches));
    let train = Loader::with_stage(source(&first.split.train), train, Arc::clone(&makers), per_epoch, start)?;
    let validation = Loader::with_stage(source(&first.split.validation), validation, makers, iterations, (epoch, 0))?;
    let arms = sessions.iter_mut().zip(begun).map(|(session, begun)| session.arm(begun, existing)).collect::<Result<_>>()?;
    Ok(Training { arms, train, validation, validation_iterations: iterations, stop }.run()?)
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
        Ok(Begun { identity, state: State { optimiser, average, progress } })
    }

    /// Writes, or removes, the first files, and puts the arm together.
    fn arm(&mut self, begun: Begun, existing: Existing) -> Result<Arm<'_>> {
        let Begun { identity, state } = begun;
        if existing == Existing::Overwrite {
            self.remove()?;
        }
        self.write_description(&identity.origin)?;
        let mut log = RunLog::open(&self.folder, state.progress.log_lengths, self.name, &self.env.output)?;
        // Nobody else writes here: the fold is locked.
        let folders = [&self.folder, &self.folder.join(EXAMPLES)];
        folders.into_iter().for_each(|folder| imaging::io::remove_leftovers(folder, Duration::ZERO));
        self.write_debug(&identity, &state.progress)?;
        self.log_start(&mut log, &state.progress, &identity.data_key);
        let (level_weights, upkeep) = (self.level_weights(), &self.settings.config.upkeep);
        let learner = Learner::new(&mut self.model, &self.task, (&identity.recipe, upkeep), level_weights, Share::default(), state);
        let observers = observers(&self.folder, &identity, upkeep, &learner);
        Ok(Arm { name: self.name.to_owned(), learner, log, observers })
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
