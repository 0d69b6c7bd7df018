//! From logits on the preprocessed grid to predictions in the raw image's frame: by the plugin's activation, or by the [kind](crate::kinds) alone.

use crate::kinds::{self, Exported, Extras, Frame};
use crate::model::{self, Model};
use data::dataset::TargetKind;
use data::plan::{Configuration, Plans};
use data::preprocess::Properties;
use indexmap::IndexMap;
use plugin_api::Outputs;
use plugin_api::manifest::ACTIVATE;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tch::Tensor;

/// Plugins of which the log has said that they are asked for predictions.
static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Turns logits into predictions, in the same way for every case of a model.
#[derive(Debug)]
pub struct Exporter<'a> {
    targets: &'a IndexMap<String, TargetKind>,
    plans: &'a Plans,
    configuration: &'a Configuration,
    extras: Extras,
    /// The plugin leaves activation as it is, so that it need not be asked.
    by_kind: bool,
}

impl<'a> Exporter<'a> {
    /// For `model`, whose outputs have these `targets`, and whose plugin keeps what it [says](Model::check_keeps).
    pub fn new(
        model: &Model,
        targets: &'a IndexMap<String, TargetKind>,
        plans: &'a Plans,
        configuration: &'a Configuration,
        extras: Extras,
    ) -> Self {
        let plugin = &model.trainer.identity().manifest;
        let by_kind = plugin.keeps(ACTIVATE);
        if !by_kind && ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(plugin.id.clone()) {
            log::info!(
                "plugin {} {} is asked for predictions, which takes memory for all classes at the size of the image: its manifest does not say that it \
                 keeps `activate`",
                plugin.id,
                plugin.version
            );
        }
        Self { targets, plans, configuration, extras, by_kind }
    }

    /// Whether [`Self::export_without_plugin`] can be called, from any thread.
    pub fn needs_no_plugin(&self) -> bool {
        self.by_kind
    }

    /// Turns the `logits` of every output into predictions. `model` is what the exporter is for.
    ///
    /// Label maps are made in small pieces, so that logits of many classes are never held at the image's size, unless the plugin has an
    /// activation of its own or probabilities are wanted.
    pub fn export(
        &self,
        model: &Model,
        logits: IndexMap<String, Tensor>,
        properties: &Properties,
    ) -> Result<IndexMap<String, Exported>, model::Error> {
        if self.by_kind {
            return self.export_without_plugin(logits, properties);
        }
        let frame = self.frame(properties);
        let device = model.parameters.device();
        let mut resampled = Outputs::new();
        for (name, logits) in logits {
            resampled.push(&name, frame.resampled(&logits)?.f_to_device(device)?);
        }
        let mut exported = IndexMap::new();
        for (name, levels) in model.trainer.activate(&resampled)? {
            let (Some(active), Some(kind)) = (levels.first(), self.targets.get(&name)) else { continue };
            exported.insert(name, kinds::of(kind).export_active(&active.f_to_device(tch::Device::Cpu)?, &frame)?);
        }
        Ok(exported)
    }

    /// The same where the plugin [need not be asked](Self::needs_no_plugin).
    pub fn export_without_plugin(
        &self,
        logits: IndexMap<String, Tensor>,
        properties: &Properties,
    ) -> Result<IndexMap<String, Exported>, model::Error> {
        let frame = self.frame(properties);
        let mut exported = IndexMap::new();
        for (name, logits) in logits {
            let Some(kind) = self.targets.get(&name) else { continue };
            let done = kinds::of(kind).export(&logits, &frame)?;
            exported.insert(name, done);
        }
        Ok(exported)
    }

    fn frame<'f>(&'f self, properties: &'f Properties) -> Frame<'f> {
        Frame { plans: self.plans, configuration: self.configuration, properties, extras: self.extras }
    }
}
