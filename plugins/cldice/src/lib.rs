//! A loss for what is thin and connected, where resolution matters.
//!
//! A vessel that is missed for two voxels costs Dice nearly nothing, and is a vessel no more. clDice (Shit et al. 2021) compares centre lines: how
//! much of the predicted one lies in the annotated vessel, and of the annotated one in the prediction. They share it with Dice as (1 − share) Dice +
//! share clDice; here Dice + cross-entropy is in its place.
//!
//! `multi-output` with `"loss": ["dice_ce", "cldice"]` evaluates clDice on every level of deep supervision. On the coarser ones, which are labels
//! at every second or fourth voxel, thin vessels are crumbs, and the centre line of a crumb teaches nothing. Here clDice sees full resolution alone,
//! and Dice + cross-entropy all levels: no option says that, a few lines of a plugin do.
//!
//! What to take from it:
//! - A [`Criterion`] is a loss with its settings as fields, for one [`Level`](plugin_api::Level). Its `check` refuses settings that cannot be.
//! - `Base::supervise` runs any function of a level, hence any sum or product of criteria, over the levels of an output, with masks and weights.
//! - How much levels weigh is part of [`Step`], and a trainer may hand on a step of its own.

use plugin_api::losses::{ClDice, Criterion};
use plugin_api::{Base, Batch, JsonSchema, Loss, Outputs, Params, Result, Step, Task, Trainer, bail, export_trainer};

#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Weight of clDice, from 0 to 1; Dice + cross-entropy has the rest.
    share: f64,
    /// Voxels from the surface of the thickest vessel to its centre line.
    iterations: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { share: 0.5, iterations: ClDice::default().iterations }
    }
}

struct CentreLines {
    base: Base,
    share: f64,
    cldice: ClDice,
}

impl Trainer for CentreLines {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        let Options { share, iterations } = options;
        if !(0.0..=1.0).contains(&share) {
            bail!("share is {share}; expected a number from 0 to 1");
        }
        let cldice = ClDice { iterations, ..ClDice::default() };
        cldice.check()?;
        Ok(Self { base: Base::single(task, params)?, share, cldice })
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut finest = step.clone();
        finest.deep_supervision_weights.iter_mut().enumerate().for_each(|(level, weight)| *weight = f64::from(level == 0));
        let mut loss = Loss::new();
        loss.term("segmentation", 1.0 - self.share, self.base.output_loss("segmentation", outputs, batch, step)?);
        let cldice = self.base.supervise_by("segmentation", outputs, batch, &finest, &self.cldice)?;
        loss.term("cldice", self.share, cldice);
        Ok(loss)
    }
}

export_trainer!(CentreLines, keeps = [activate, forward]);
