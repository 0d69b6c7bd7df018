//! Validates one fold with its final checkpoint.

use super::Session;
use crate::artifact::{self, Checkpoint, target_kinds, trained_task, warn_of_options};
use crate::environment::Stop;
use crate::predict::{Validation, validate};
use crate::report::RunLog;
use crate::train::End;
use anyhow::{Result, ensure};
use data::dataset::TargetKind;
use data::measure::{Notes, Share};
use indexmap::IndexMap;

impl Session<'_> {
    /// Builds the network of the final checkpoint as prediction does, and loads its weights. Patch and mirroring are those that it was trained with,
    /// whatever was asked for.
    pub fn load_final(&mut self) -> Result<()> {
        let path = artifact::checkpoint_path(&self.folder, "final");
        ensure!(path.exists(), "{} does not exist; train this fold first", path.display());
        let checkpoint = Checkpoint::read(&path, &self.prepared.plans)?;
        let trained = &checkpoint.origin;
        let plugin = self.model.trainer.plugin();
        ensure!(
            trained.plugin == plugin.identity().manifest.id && trained.options == self.settings.options(),
            "{}: it was trained by plugin {} with options {}; give the same",
            path.display(),
            trained.plugin,
            trained.options
        );
        trained.tell_other_build(&path, plugin.identity());
        warn_of_options(plugin, trained);
        // As prediction builds it: from what the trainer was told then, whatever was asked for now.
        let (configuration, description) = (&self.prepared.configuration, &self.dataset.description);
        let task = trained_task(&checkpoint, configuration, &*self.trunk, description)?;
        let (plugin, channels) = (plugin.clone(), description.channel_names.len());
        let (device, precision) = (self.settings.device, self.settings.precision);
        self.model = checkpoint.build(&*self.trunk, channels, &plugin, &task, &trained.options, (device, precision))?;
        self.model.check_keeps()?;
        checkpoint.warn_of_other_predictions(&self.model);
        (self.patch, self.mirror) = (trained.patch, trained.mirror.clone());
        Ok(())
    }

    /// Kind of the target of every output that has one.
    pub fn targets(&self) -> IndexMap<String, TargetKind> {
        target_kinds(&self.model, &self.dataset.description)
    }

    /// Predicts and measures the validation cases, or the first `most` of them, with the final checkpoint.
    pub fn validate(&mut self, most: Option<u64>, stop: &Stop) -> Result<End> {
        if self.folder.is_dir() {
            self.lock()?;
        }
        self.load_final()?;
        let all = self.split.validation.len();
        let measured = most.map_or(all, |most| usize::try_from(most).unwrap_or(all).min(all));
        let notes = Notes { split: self.drawn_split(), validation_cases: (measured < all).then_some(Share { all, measured }) };
        let validation = Validation {
            dataset: self.dataset,
            prepared: self.prepared,
            targets: self.targets(),
            patch: self.patch,
            mirror: &self.mirror,
            engine: self.settings.engine,
            cases: &self.split.validation[..measured],
            folder: self.folder.join("validation"),
            notes,
            stop,
        };
        let Some(lines) = validate(&self.model, &validation)? else {
            return Ok(End::Interrupted);
        };
        let mut log = RunLog::append(&self.folder, self.name, &self.env.output)?;
        let of = if measured < all { format!(" of {all}") } else { String::new() };
        log.line(&format!("Validation of {measured}{of} cases, {}:", validation.folder.display()));
        lines.iter().for_each(|line| log.line(line));
        Ok(End::Finished)
    }

    /// How the split was made, where it is none of splits_final.json.
    pub(super) fn drawn_split(&self) -> Option<String> {
        let (train, validation) = (self.split.train.len(), self.split.validation.len());
        self.split
            .drawn
            .then(|| format!("not in splits_final.json: {train} training and {validation} validation cases, drawn as nnU-Net does"))
    }
}
