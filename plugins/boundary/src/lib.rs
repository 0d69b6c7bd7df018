//! A loss on a target that no output predicts, with a weight that rises over the epochs.
//!
//! The boundary loss (Kervadec et al. 2019) is the mean of p·φ over all voxels: p is the probability of foreground, φ the signed distance in mm to
//! the border of what was annotated, negative inside. It says how far off a border is rather than how many voxels are wrong, so small organs count
//! as much as large ones. By itself it hardly trains a network that knows nothing yet, so it is added to Dice + cross-entropy, and from nothing.
//!
//! What to take from it:
//! - A batch has every target of the data set, whether or not an output predicts it. The host derives this one from the augmented labels, on the
//!   threads that load data; `losses::Boundary` finds distances itself, class by class, and needs no target.
//! - A [`Level`] is any logits beside any target. It leaves out what is not known of the target: here, patches that show no border.
//! - A weight that follows from [`Step::epoch`] needs no state, so a run that is resumed has it right.
//!
//! A straight line could also be drawn from outside, for any term of any plugin: `--weighting boundary=linear:0:1`.

use plugin_api::task::Target;
use plugin_api::tch::{Kind::Float, Tensor};
use plugin_api::{
    Base, Batch, Error, JsonSchema, Kind, Level, Loss, Outputs, Params, Result, Step, Task, Trainer, Value, bail, export_trainer,
};

#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Target of signed distances in mm to the border of the foreground of `segmentation`.
    distance: String,
    /// Weight of the boundary loss in the last epoch; it rises from 0 in the first one, by the same amount every epoch.
    weight: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { distance: "distance".to_owned(), weight: 0.3 }
    }
}

struct Boundary {
    base: Base,
    options: Options,
    distance: Target,
    epochs: u64,
}

impl Trainer for Boundary {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        let Options { distance, weight } = &options;
        if !weight.is_finite() || *weight < 0.0 {
            bail!("weight is {weight}; expected a number of at least 0");
        }
        let target = task.target(distance).map_err(|e| Error::new(format!("{e} ({})", how_to_have(distance))))?;
        if target.kind != Kind::Regression || target.channels != 1 {
            bail!("target '{distance}' is no map of distances: {}", how_to_have(distance));
        }
        Ok(Self { base: Base::single(task, params)?, distance: target.clone(), epochs: task.epochs, options })
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = self.base.loss(outputs, batch, step)?;
        let weight = self.options.weight * step.epoch as f64 / self.epochs.saturating_sub(1).max(1) as f64;
        // At full resolution alone: what coarser levels have to add, Dice and cross-entropy say there.
        let finest = &outputs.get("segmentation")?[0];
        let segmentation = self.base.level("segmentation", outputs, batch, 0)?;
        if let Some(mut level) = Level::new(finest, batch.target(&self.options.distance)?, &self.distance, 0)? {
            // Distances say nothing of how much voxels count; the segmentation that they are derived from does, of the same cases.
            level.weight_map = segmentation.and_then(|segmentation| segmentation.weight_map);
            let value = level.mean(&(self.foreground(&level.logits)? * &level.target))?;
            // How low it can be depends on what is annotated: as good as no bound.
            loss.term("boundary", weight, Value { tensor: Some(value), lowest: f64::NEG_INFINITY, samples: Some(level.samples()) });
        }
        Ok(loss)
    }
}

impl Boundary {
    /// How likely every voxel is of any class, (B, 1, …), by logits (B, C, …).
    fn foreground(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(match self.base.outputs()[0].kind {
            Kind::Regions => logits.f_sigmoid()?.f_amax([1].as_slice(), true)?,
            _ => 1.0 - logits.f_softmax(1, Float)?.f_narrow(1, 0, 1)?,
        })
    }
}

fn how_to_have(target: &str) -> String {
    format!(r#"add to "targets" in dataset.json: "{target}": {{"kind": "derived", "from": "segmentation", "op": "signed_distance"}}"#)
}

export_trainer!(Boundary, keeps = [activate, forward]);
