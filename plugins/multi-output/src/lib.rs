//! Any number of outputs, each with its target, losses and weights: Loss = Σ wᵢ · lossᵢ.
//!
//! Two outputs on the same label map with weights (1, 1) are the classic `loss1 + loss2`. Everything is in the options:
//! `hippocampus.json` beside this crate is an example.

use plugin_api::{Base, IndexMap, JsonSchema, OutputOptions, Params, Result, Task, Trainer, export_trainer};

#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars", example = example())]
#[serde(deny_unknown_fields)]
struct Options {
    /// The outputs by name, in order; the first one is what is reported and saved first.
    outputs: IndexMap<String, OutputOptions>,
    /// The weights of all terms are learned, each as the log-variance of its task (Kendall et al. 2018).
    #[serde(default)]
    learned_weights: bool,
}

/// Two heads on one label map.
fn example() -> IndexMap<&'static str, IndexMap<&'static str, OutputOptions>> {
    let head = || OutputOptions { target: Some("segmentation".to_owned()), ..OutputOptions::default() };
    IndexMap::from([("outputs", IndexMap::from([("first", head()), ("second", OutputOptions { weight: Some(0.5), ..head() })]))])
}

struct MultiOutput(Base);

impl Trainer for MultiOutput {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        let mut base = Base::new(task, options.outputs, params)?;
        if options.learned_weights {
            base.learn_weights(params)?;
        }
        Ok(Self(base))
    }

    fn base(&self) -> &Base {
        &self.0
    }
}

export_trainer!(MultiOutput, keeps = [activate, forward]);
