//! nnU-Net's default trainer: one output, Dice + cross-entropy (regions: Dice + BCE), deep supervision.

use plugin_api::{Base, JsonSchema, Params, Result, Task, Trainer, export_trainer};

/// There are no options.
#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(deny_unknown_fields)]
struct Options {}

struct Single(Base);

impl Trainer for Single {
    type Options = Options;

    fn new(task: &Task, _options: Options, params: &mut Params) -> Result<Self> {
        Ok(Self(Base::single(task, params)?))
    }

    fn base(&self) -> &Base {
        &self.0
    }
}

export_trainer!(Single, keeps = [activate, forward]);
