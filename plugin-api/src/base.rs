//! Named outputs with heads, losses and deep supervision: what every trainer is built on.

use crate::heads::{DenseHead, ImageHead};
use crate::losses::{LossName, deep_supervision};
use crate::options::spelt;
use crate::task::{Kind, Output, Target, Task};
use crate::tensors::{Batch, Features, Level, Loss, Outputs, Pass, Step};
use crate::{Params, Result, bail};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// One output, as options have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputOptions {
    /// Target of the data set that it learns. Default: the target of the output's own name.
    #[serde(default)]
    pub target: Option<String>,
    /// What it is. Default, and the only choice: what its target is.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its loss. Default: by kind (`dice_ce`, `dice_bce`, `l1`, `class_ce`).
    #[serde(default)]
    pub loss: Option<LossName>,
    /// Weight of its term in the sum. Default 1. With 0 it is evaluated and logged, but trains nothing.
    #[serde(default)]
    pub weight: Option<f64>,
}

/// Named outputs: a head, a loss and a weight each. Two outputs may share a target. The default has none, for trainers whose heads
/// are all their own.
#[derive(Debug, Default)]
pub struct Base {
    outputs: Vec<Output>,
    parts: Vec<Part>,
    batch_dice: bool,
}

/// What stands behind one output.
#[derive(Debug)]
struct Part {
    head: Head,
    target: String,
    spec: Target,
    loss: LossName,
    weight: f64,
}

#[derive(Debug)]
enum Head {
    Dense(DenseHead),
    Image(ImageHead),
}

impl Base {
    /// nnU-Net's default trainer: one output, `segmentation`, Dice + cross-entropy (regions: Dice + BCE), deep supervision.
    pub fn single(task: &Task, params: &mut Params) -> Result<Self> {
        Self::new(task, IndexMap::from([("segmentation".to_owned(), OutputOptions::default())]), params)
    }

    /// Outputs in this order. The loss is Σ weightᵢ · lossᵢ, one term an output, under the output's name.
    pub fn new(task: &Task, outputs: IndexMap<String, OutputOptions>, params: &mut Params) -> Result<Self> {
        if outputs.is_empty() {
            bail!("no outputs: name at least one, e.g. {{\"outputs\": {{\"segmentation\": {{}}}}}}");
        }
        let mut base = Self { outputs: Vec::new(), parts: Vec::new(), batch_dice: task.batch_dice };
        for (name, options) in outputs {
            base.add(task, &name, options, params).map_err(|e| crate::Error::new(format!("output '{name}': {e}")))?;
        }
        Ok(base)
    }

    fn add(&mut self, task: &Task, name: &str, options: OutputOptions, params: &mut Params) -> Result<()> {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            bail!("a name has only letters, digits, '_' and '-': it becomes a folder");
        }
        let target = options.target.unwrap_or_else(|| name.to_owned());
        let spec = task.target(&target)?.clone();
        if let Some(kind) = options.kind.filter(|kind| *kind != spec.kind) {
            bail!("its kind is {}, but its target '{target}' is {}", spelt(&kind), spelt(&spec.kind));
        }
        let loss = options.loss.or(LossName::default_for(spec.kind)).filter(|loss| loss.fits(spec.kind));
        let Some(loss) = loss else {
            bail!("loss {} does not fit a target of kind {}", spelt(&options.loss), spelt(&spec.kind));
        };
        let weight = options.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight < 0.0 {
            bail!("its weight is {weight}; expected a number of at least 0");
        }
        let (head, levels) = match spec.kind {
            Kind::Class => (Head::Image(ImageHead::new(name, spec.channels, task, params)?), 1),
            _ => (Head::Dense(DenseHead::new(name, spec.channels, task, params)?), task.levels()),
        };
        self.outputs.push(Output { name: name.to_owned(), kind: spec.kind, target: Some(target.clone()), channels: spec.channels, levels });
        self.parts.push(Part { head, target, spec, loss, weight });
        Ok(())
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Every head, as many levels as `pass` wants.
    pub fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs> {
        let mut outputs = Outputs::new();
        for (output, part) in self.outputs.iter().zip(&self.parts) {
            match &part.head {
                Head::Dense(head) => head.forward(features, pass)?.into_iter().for_each(|level| outputs.push(&output.name, level)),
                Head::Image(head) => outputs.push(&output.name, head.forward(features, pass)?),
            }
        }
        Ok(outputs)
    }

    /// One term an output. A term of weight 0 is evaluated without a graph.
    pub fn loss(&self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = Loss::new();
        for (output, part) in self.outputs.iter().zip(&self.parts) {
            let _no_graph = (part.weight == 0.0).then(tch::no_grad_guard);
            loss.term(&output.name, part.weight, self.output_loss(&output.name, outputs, batch, step)?);
        }
        Ok(loss)
    }

    /// The unweighted loss of output `name` as its options say, deep supervision included: for trainers that make their own sum.
    pub fn output_loss(&self, name: &str, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Option<Tensor>> {
        let part = self.part(name)?;
        self.supervise(name, outputs, batch, step, |level| part.loss.compute(level, &part.spec, self.batch_dice))
    }

    /// A loss of your own for output `name`: `loss` at every level that deep supervision gives a weight, summed with these weights.
    /// `None` where no case of the batch has the output's target: nothing to learn from it, and nothing to log.
    pub fn supervise(
        &self,
        name: &str,
        outputs: &Outputs,
        batch: &Batch,
        step: &Step,
        loss: impl Fn(&Level) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let part = self.part(name)?;
        let levels = outputs.get(name)?;
        let target = batch.target(&part.target)?;
        let weights = match part.head {
            Head::Dense(_) => step.deep_supervision_weights.as_slice(),
            Head::Image(_) => &[1.0],
        };
        deep_supervision(weights, levels.len(), |i| Level::new(&levels[i], target, &part.spec, i)?.map(|level| loss(&level)).transpose())
    }

    fn part(&self, name: &str) -> Result<&Part> {
        match self.outputs.iter().position(|output| output.name == name) {
            Some(index) => Ok(&self.parts[index]),
            None => bail!("there is no output '{name}'{}", crate::options::suggestion(name, self.outputs.iter().map(|o| o.name.as_str()))),
        }
    }
}
