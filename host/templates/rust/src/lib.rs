//! nnU-Net's heads and loss, and a loss of its own beside them.

use plugin_api::tch::{Kind::Float, Tensor};
use plugin_api::{
    Base, Batch, JsonSchema, Kind, Level, Loss, Outputs, Params, Result, Step, Task, Trainer,
    export_trainer,
};

/// What `--set` and `--options` may change.
#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Weight of this plugin's own loss; nnU-Net's has 1.
    weight: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { weight: 0.5 }
    }
}

struct Mine {
    base: Base,
    weight: f64,
}

impl Trainer for Mine {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        Ok(Self {
            base: Base::single(task, params)?,
            weight: options.weight,
        })
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = self.base.loss(outputs, batch, step)?;
        loss.term(
            "mine",
            self.weight,
            self.base
                .supervise("segmentation", outputs, batch, step, mine)?,
        );
        Ok(loss)
    }
}

/// The Brier score: mean squared difference of the probabilities (B, C, …) from what is true, at one level of deep supervision.
fn mine(level: &Level) -> Result<Tensor> {
    let (probabilities, truth) = match level.kind {
        Kind::Regions => (level.logits.f_sigmoid()?, level.target.f_to_kind(Float)?),
        _ => {
            let probabilities = level.logits.f_softmax(1, level.logits.kind())?;
            let truth = probabilities
                .f_zeros_like()?
                .f_scatter_value_(1, &level.target, 1.0)?;
            (probabilities, truth)
        }
    };
    // The mean over what may be believed: ignored voxels do not count.
    level.mean(&probabilities.f_sub(&truth)?.f_square()?)
}

// `forward` and `activate` are those of `Base`: take out what you override.
export_trainer!(Mine, keeps = [activate, forward]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_costs_nothing_where_it_is_right() {
        let logits = Tensor::from_slice(&[50.0f32, -50.0, -50.0, 50.0]).view([1, 2, 2]);
        let loss = |labels: &[i64]| {
            let level = Level::plain(
                Kind::Labels,
                logits.shallow_clone(),
                Tensor::from_slice(labels).view([1, 1, 2]),
            );
            f64::try_from(mine(&level).expect("good shapes")).expect("a number")
        };
        assert_eq!(loss(&[0, 1]), 0.0);
        assert_eq!(loss(&[1, 0]), 1.0);
    }
}
