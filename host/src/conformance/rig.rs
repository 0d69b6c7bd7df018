//! A trainer on a problem, ready to be called: what most cases begin with.

use super::Finding;
use super::made;
use super::problem::{self, Content, Problem, World};
use super::targets;
use crate::network::Parameters;
use crate::plugin::{CallError, LoadedTrainer, LoadedTransform, Plugin};
use crate::train::total;
use indexmap::IndexMap;
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, Epoch, EpochReport, Features, Kind, Outputs, Pass, Step, Task, Term};
use serde_json::Value;
use tch::{Device, Tensor};

/// Learning rate of [`Rig::train`].
const RATE: f64 = 0.05;

/// What is looked at: a plugin with its options, on the targets of a data set.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The plugin.
    pub plugin: Plugin,
    /// Its options.
    pub options: Value,
    /// Targets of the data set.
    pub targets: IndexMap<String, Spec>,
    /// The data set is made up: in other [worlds](World), its targets are others.
    pub made_up: bool,
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
        self.on(self.task(problem), problem)
    }

    /// What a trainer for `problem` is told.
    pub fn task(&self, problem: Problem) -> Task {
        let targets = if self.made_up { problem.world.targets(self.targets.clone()) } else { self.targets.clone() };
        problem.task(&targets, self.seed)
    }

    /// Calls `look` with a trainer in every world, on targets like `content`. A trainer may refuse worlds, but not all of them.
    pub fn in_every_world(&self, content: Content, look: impl FnMut(Rig) -> Result<(), Finding>) -> Result<(), Finding> {
        self.in_every_world_like(Problem::with(content), look)
    }

    /// The same, on problems like `problem` in all else.
    pub fn in_every_world_like(&self, problem: Problem, mut look: impl FnMut(Rig) -> Result<(), Finding>) -> Result<(), Finding> {
        let (mut looked, mut why, mut warning) = (false, String::new(), None);
        for (world, dims) in World::ALL {
            let problem = Problem { dims, world, ..problem };
            let found = self.able(problem).and_then(&mut look);
            match found.map_err(|finding| finding.in_words(&format!("{dims}D, {}", world.name(self.made_up)))) {
                Ok(()) => looked = true,
                Err(Finding::Skipped(reason)) => why = reason,
                Err(Finding::Warning(words)) => {
                    looked = true;
                    warning.get_or_insert(words);
                }
                Err(other) => return Err(other),
            }
        }
        match warning {
            Some(words) => Err(Finding::Warning(words)),
            None if looked => Ok(()),
            None => Err(Finding::Skipped(format!("cannot judge: {why}"))),
        }
    }

    /// A trainer for `problem`, unless it is another than the usual one and the trainer fails at it by an error: that is nothing that would
    /// go unnoticed in a training. `shapes` names such worlds.
    pub fn able(&self, problem: Problem) -> Result<Rig, Finding> {
        if problem.world != World::Usual || problem.content != Content::Whole {
            let mut rig = self.rig(problem)?;
            let step = rig.step(0);
            let tried = rig.whole_step(&step).map_err(Finding::from).and_then(|_| made::can_make(&rig));
            tried.map_err(|finding| Finding::Skipped(format!("the trainer fails at this problem: {finding}")))?;
        }
        self.rig(problem)
    }

    /// A trainer for `task`, which is that of `problem` or like it.
    pub fn on(&self, mut task: Task, problem: Problem) -> Result<Rig, Finding> {
        let mut parameters = Parameters::new(Device::Cpu, self.seed);
        let (transform, trainer) = self.create(&mut task, &self.options, &mut parameters).map_err(refused)?;
        tch::manual_seed(self.seed as i64);
        let features = problem::features(&task);
        let batch = targets::batch(&task, problem.content);
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
        let transform = LoadedTransform::create(&self.plugin, task, options)?;
        Ok((transform, LoadedTrainer::create(&self.plugin, task, options, parameters)?))
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

    /// State and buffers as they are.
    pub fn keep(&self) -> Result<Kept, Finding> {
        let buffers = self.parameters.buffers().map(|buffer| (buffer.shallow_clone(), buffer.detach().copy())).collect();
        Ok(Kept { state: self.trainer.save_state()?, buffers })
    }

    /// Sizes of the maps of all stages, finest first.
    pub fn map_sizes(&self) -> Vec<Vec<i64>> {
        self.features.decoder.iter().chain([&self.features.bottleneck]).map(|map| map.size()[2..].to_vec()).collect()
    }

    /// Steps of a training, which move parameters as SGD does, with the hooks of an epoch around them.
    pub fn train(&mut self, iterations: std::ops::Range<u64>) -> Result<(), Finding> {
        let epoch = self.step(iterations.start).epoch;
        self.trainer.epoch_start(&Epoch { epoch, epochs: self.task.epochs })?;
        let mut means = IndexMap::new();
        for iteration in iterations {
            let step = self.step(iteration);
            let terms = self.whole_step(&step)?;
            for term in &terms {
                means.insert(term.name.clone(), f64::try_from(&term.value)?);
            }
            if let Some(loss) = total(&terms)? {
                loss.f_backward()?;
            }
            let _no_grad = tch::no_grad_guard();
            let gradients = self.parameters.trained().map(|(_, parameter)| (parameter.tensor.shallow_clone(), parameter.tensor.grad()));
            let gradients: Vec<(Tensor, Tensor)> = gradients.filter(|(_, gradient)| gradient.defined()).collect();
            // Clipped, as in a training: a sum over voxels is large.
            let norm = gradients.iter().map(|(_, gradient)| gradient.norm().double_value(&[]).powi(2)).sum::<f64>().sqrt();
            for (mut parameter, mut gradient) in gradients {
                let _ = parameter.f_sub_(&(&gradient * (RATE / norm.max(1.0))))?;
                let _ = gradient.f_zero_()?;
            }
        }
        self.trainer.epoch_end(&self.report(epoch, means))?;
        Ok(())
    }

    /// What a trainer is told after an epoch, with the names of its own terms and outputs.
    pub fn report(&self, epoch: u64, means: IndexMap<String, f64>) -> EpochReport {
        let metric = |kind: Kind| match kind {
            Kind::Labels | Kind::Regions => Some("dice"),
            Kind::Regression => Some("mae"),
            Kind::Class => Some("accuracy"),
            Kind::Aux => None,
        };
        let outputs = self.trainer.outputs().iter();
        let metrics = outputs.filter_map(|output| Some((output.name.clone(), IndexMap::from([(metric(output.kind)?.to_owned(), 0.5)]))));
        EpochReport { epoch, train: means.clone(), validation: means, metrics: metrics.collect() }
    }

    /// Every parameter that is trained, by the plugin's own name.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.trained().map(|(name, parameter)| (name.strip_prefix("plugin.").unwrap_or(name), &parameter.tensor))
    }
}

/// What a step may change of a trainer beside its parameters.
#[derive(Debug)]
pub struct Kept {
    state: Vec<u8>,
    /// Buffers, and what they held.
    buffers: Vec<(Tensor, Tensor)>,
}

impl Kept {
    /// Puts everything back.
    pub fn put_back(&self, trainer: &mut LoadedTrainer) -> Result<(), Finding> {
        let _no_grad = tch::no_grad_guard();
        for (buffer, kept) in &self.buffers {
            buffer.shallow_clone().f_copy_(kept)?;
        }
        Ok(trainer.load_state(&self.state)?)
    }
}

/// Name and value of every term of `outputs` on `batch`, by `trainer` as it was `kept`.
pub fn evaluate(
    trainer: &mut LoadedTrainer,
    outputs: &Outputs,
    batch: &Batch,
    step: &Step,
    kept: &Kept,
) -> Result<Vec<(String, f64)>, Finding> {
    kept.put_back(trainer)?;
    let terms = trainer.loss(outputs, batch, step)?;
    terms.iter().map(|term| Ok((term.name.clone(), f64::try_from(&term.value)?))).collect()
}

/// The gradient of `value` by `leaf`; `None` where there is none.
pub fn gradient(value: &Tensor, leaf: &Tensor) -> Result<Option<Tensor>, Finding> {
    if !value.requires_grad() {
        return Ok(None);
    }
    let gradient = Tensor::f_run_backward(&[value], &[leaf], true, false)?.swap_remove(0);
    Ok(Some(gradient).filter(Tensor::defined))
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
