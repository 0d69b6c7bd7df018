//! A trainer on a problem, ready to be called: what most cases begin with.

use super::Finding;
use super::made;
use super::problem::{self, Content, Problem};
use crate::network::Parameters;
use crate::plugin::{CallError, Library, LoadedTrainer, LoadedTransform};
use indexmap::IndexMap;
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, Features, Outputs, Pass, Step, Task, Term};
use serde_json::Value;
use tch::{Device, Tensor};

/// What is looked at: a plugin with its options, on the targets of a data set.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The plugin.
    pub library: Library,
    /// Its options.
    pub options: Value,
    /// Targets of the data set.
    pub targets: IndexMap<String, Spec>,
    /// Of weights, and of everything that is made up.
    pub seed: u64,
}

/// A trainer with all that its calls need.
#[derive(Debug)]
pub struct Rig {
    /// What it is tried on.
    pub problem: Problem,
    /// What it was told.
    pub task: Task,
    /// What it created.
    pub parameters: Parameters,
    /// What makes targets of the plugin's own, if it makes any.
    pub transform: Option<LoadedTransform>,
    /// The trainer.
    pub trainer: LoadedTrainer,
    /// Leaves of the graph.
    pub features: Features,
    /// Targets.
    pub batch: Batch,
}

impl Subject {
    /// A trainer for `problem`. The same problem has the same features, batch and weights every time.
    pub fn rig(&self, problem: Problem) -> Result<Rig, Finding> {
        self.on(problem.task(&self.targets, self.seed), problem)
    }

    /// A trainer for `task`, which is that of `problem` or like it.
    pub fn on(&self, mut task: Task, problem: Problem) -> Result<Rig, Finding> {
        let mut parameters = Parameters::new(Device::Cpu, self.seed);
        let (transform, trainer) = self.create(&mut task, &self.options, &mut parameters).map_err(refused)?;
        tch::manual_seed(self.seed as i64);
        let features = problem::features(&task);
        let batch = problem::batch(&task, problem.content);
        let mut rig = Rig { problem, task, parameters, transform, trainer, features, batch };
        made::put(&mut rig)?;
        Ok(rig)
    }

    /// What the plugin makes of `task` and `options`: a transform, of whose targets `task` is then told, and a trainer.
    pub fn create(
        &self,
        task: &mut Task,
        options: &Value,
        parameters: &mut Parameters,
    ) -> Result<(Option<LoadedTransform>, LoadedTrainer), CallError> {
        let transform = LoadedTransform::create(&self.library, task, options)?;
        Ok((transform, LoadedTrainer::create(&self.library, task, options, parameters)?))
    }

    /// A trainer for the usual problem.
    pub fn usual(&self) -> Result<Rig, Finding> {
        self.rig(Problem::USUAL)
    }

    /// A trainer for a small problem, where it is called very often.
    pub fn small(&self) -> Result<Rig, Finding> {
        self.rig(Problem::SMALL)
    }

    /// A trainer for the usual problem, with other targets.
    pub fn with(&self, content: Content) -> Result<Rig, Finding> {
        self.rig(Problem::with(content))
    }
}

/// A trainer was not made: a panic is a mistake of its, an error is its right.
pub fn refused(error: CallError) -> Finding {
    match error.panicked {
        true => Finding::Failed(error.to_string()),
        false => Finding::Skipped(format!("the trainer refuses this problem: {error}")),
    }
}

impl Rig {
    /// Training, all levels.
    pub fn pass(&self) -> Pass {
        Pass { training: true, levels: self.problem.levels, amp: false }
    }

    /// Step number `iteration`.
    pub fn step(&self, iteration: u64) -> Step {
        self.problem.step(iteration)
    }

    /// The heads on this rig's features, in training.
    pub fn forward(&self, step: &Step) -> Result<Outputs, CallError> {
        self.trainer.forward(&self.features, &self.pass(), step.seed)
    }

    /// Terms of `outputs` on this rig's batch.
    pub fn loss(&mut self, outputs: &Outputs, step: &Step) -> Result<Vec<Term>, CallError> {
        self.trainer.loss(outputs, &self.batch, step)
    }

    /// Heads and loss of one step.
    pub fn whole_step(&mut self, step: &Step) -> Result<Vec<Term>, CallError> {
        let outputs = self.forward(step)?;
        self.loss(&outputs, step)
    }

    /// Random outputs of the shapes that the heads return, leaves of the graph.
    pub fn logits(&self) -> Result<Outputs, CallError> {
        let outputs = self.forward(&self.step(0))?;
        tch::manual_seed(self.trainer.outputs().len() as i64);
        Ok(map(&outputs, |level| level.detach().randn_like().set_requires_grad(true)))
    }

    /// Every parameter that is trained, by the plugin's own name.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.trained().map(|(name, parameter)| (name.strip_prefix("plugin.").unwrap_or(name), &parameter.tensor))
    }
}

/// `change` of every level.
pub fn map(outputs: &Outputs, mut change: impl FnMut(&Tensor) -> Tensor) -> Outputs {
    let mut changed = Outputs::new();
    for (name, levels) in outputs.iter() {
        levels.iter().for_each(|level| changed.push(name, change(level)));
    }
    changed
}

/// Every level of every output.
pub fn levels(outputs: &Outputs) -> impl Iterator<Item = &Tensor> {
    outputs.iter().flat_map(|(_, levels)| levels)
}
