//! Named outputs with heads, losses and deep supervision: what every trainer is built on.

use crate::heads::{DenseHead, ImageHead};
use crate::losses::{Criterion, LossList, LossTerm, deep_supervision};
use crate::options::{spelt, suggestion};
use crate::task::{Kind, Output, Target, Task};
use crate::tensors::{Batch, Features, Loss, Outputs, Pass, Step, Term, Value, Weight};
use crate::{Level, Params, Result, bail};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// One output, as options have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputOptions {
    /// Target that it learns. Default: the target of the output's own name.
    #[serde(default)]
    pub target: Option<String>,
    /// What it is. Default, and the only choice: what its target is.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its loss, by name or with settings, or several that are summed. Default: by kind (`dice_ce`, `dice_bce`, `l1`, `class_ce`).
    #[serde(default)]
    pub loss: Option<LossList>,
    /// Weight of its terms in the sum. Default 1. With 0 they are evaluated and logged, but train nothing.
    #[serde(default)]
    pub weight: Option<f64>,
    /// How much classes count, by name, `background` among them. Default: 1.
    #[serde(default)]
    pub class_weights: Option<IndexMap<String, f64>>,
    /// Target that says how much voxels count, or `none`. Default: the weight target `of` its target, where the data set has one.
    #[serde(default)]
    pub weight_map: Option<String>,
}

/// Named outputs: a head, losses and a weight each. Two outputs may share a target. The default has none, for trainers whose heads
/// are all their own.
#[derive(Debug, Default)]
pub struct Base {
    outputs: Vec<Output>,
    parts: Vec<Part>,
    patch_size: Vec<i64>,
    spacing: Vec<f64>,
    batch_dice: bool,
}

/// What stands behind one output.
#[derive(Debug)]
struct Part {
    head: Head,
    target: String,
    spec: Target,
    losses: Vec<NamedLoss>,
    class_weights: Option<Tensor>,
    weight_map: Option<String>,
    skeleton: Option<String>,
}

/// A loss as a term.
#[derive(Debug)]
struct NamedLoss {
    /// Of the term: the output's, with the loss's where there are several.
    name: String,
    term: LossTerm,
    /// Of output and term together.
    weight: f64,
    /// ln σ², where it is learned.
    log_variance: Option<Tensor>,
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

    /// Outputs in this order. The loss is Σ weightᵢ · lossᵢ, one term a loss, under the output's name, or `<output>.<loss>` where it has several.
    pub fn new(task: &Task, outputs: IndexMap<String, OutputOptions>, params: &mut Params) -> Result<Self> {
        if outputs.is_empty() {
            bail!("no outputs: name at least one, e.g. {{\"outputs\": {{\"segmentation\": {{}}}}}}");
        }
        let mut base =
            Self { patch_size: task.patch_size.clone(), spacing: task.spacing.clone(), batch_dice: task.batch_dice, ..Self::default() };
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
        let weight = options.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight < 0.0 {
            bail!("its weight is {weight}; expected a number of at least 0");
        }
        let losses = named_losses(name, weight, options.loss.unwrap_or_else(|| LossList::default_for(spec.kind)))?;
        let class_weights = options.class_weights.map(|weights| class_weights(&weights, &spec, &task.device)).transpose()?;
        let weight_map = weight_map(options.weight_map.as_deref(), &target, task)?;
        let mut skeleton = None;
        for NamedLoss { term, .. } in &losses {
            term.check_kind(spec.kind).map_err(crate::Error::new)?;
            let (name, takes) = (term.loss.name(), term.loss.criterion().takes());
            if class_weights.is_some() && !takes.class_weights {
                bail!("loss {name} cannot take class_weights into account; leave them out");
            }
            if let Some(map) = weight_map.as_ref().filter(|_| !takes.weight_map) {
                bail!("loss {name} cannot take the weight map '{map}' into account; set weight_map to none");
            }
            if takes.skeleton {
                skeleton = Some(skeleton_of(&target, task).map_err(|e| crate::Error::new(format!("loss {name}: {e}")))?);
            }
        }
        let (head, levels) = match spec.kind {
            Kind::Class => (Head::Image(ImageHead::new(name, spec.channels, task, params)?), 1),
            _ => (Head::Dense(DenseHead::new(name, spec.channels, task, params)?), task.levels()),
        };
        self.outputs.push(Output { name: name.to_owned(), kind: spec.kind, target: Some(target.clone()), channels: spec.channels, levels });
        self.parts.push(Part { head, target, spec, losses, class_weights, weight_map, skeleton });
        Ok(())
    }

    /// Lets the weights of all terms be learned: (L − lowest) exp(−s) + s / 2 for every term L, half of the first for regression, with a
    /// learned s = ln σ² that begins at 0, all times the term's own weight (Kendall, Gal and Cipolla 2018). The part without L is a
    /// term of its own, `<term>.log_variance`. Losses without a lower bound are refused: their σ would go to 0.
    pub fn learn_weights(&mut self, params: &mut Params) -> Result<()> {
        let losses = self.parts.iter_mut().flat_map(|part| &mut part.losses).filter(|named| named.weight != 0.0);
        for NamedLoss { name, term, log_variance, .. } in losses {
            if !term.loss.criterion().lowest().is_finite() {
                bail!("term '{name}': loss {} has no lower bound, so its weight cannot be learned", term.loss.name());
            }
            *log_variance = Some(params.loss_weight(&format!("{name}.log_variance"), 0.0)?);
        }
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

    /// One term a loss. A term of weight 0 is evaluated without a graph.
    pub fn loss(&self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = Loss::new();
        for (output, part) in self.outputs.iter().zip(&self.parts) {
            let levels = self.levels(&output.name, part, outputs, batch, step)?;
            for named in &part.losses {
                named.add_to(&mut loss, part.spec.kind, &levels)?;
            }
        }
        Ok(loss)
    }

    /// The loss of output `name`, deep supervision included, the weighted sum of all its losses where it has several, but without the output's
    /// own weight: for trainers that make their own terms. Empty where no case of the batch has the output's target.
    pub fn output_loss(&self, name: &str, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Value> {
        let losses = &self.part(name)?.losses;
        let counted = losses.iter().filter(|named| named.term.weight > 0.0); // 0 times infinity is no number
        let lowest = counted.map(|named| named.term.loss.criterion().lowest() * named.term.weight).sum();
        let value = self.supervise(name, outputs, batch, step, |level| {
            let weighted = losses.iter().map(|named| Ok(named.term.loss.criterion().compute(level)?.f_mul_scalar(named.term.weight)?));
            let weighted = weighted.collect::<Result<Vec<Tensor>>>()?;
            Ok(Tensor::f_stack(&weighted, 0)?.f_sum(level.logits.kind())?)
        })?;
        Ok(Value { lowest, ..value })
    }

    /// Level `index` of output `name` beside its target, with all that a loss has to respect: mask, weight map, class weights, spacing, the skeleton where a
    /// loss of the output asks for one. `None` where no case of the batch has the target. What [`Level::new`] makes has neither weights nor spacing.
    pub fn level(&self, name: &str, outputs: &Outputs, batch: &Batch, index: usize) -> Result<Option<Level>> {
        let (part, levels) = (self.part(name)?, outputs.get(name)?);
        let Some(logits) = levels.get(index) else { bail!("output '{name}' has {} levels, but level {index} is asked for", levels.len()) };
        self.beside_target(part, logits, batch, index)
    }

    /// A loss of your own for output `name`: `loss` at every level that deep supervision gives a weight, summed with these weights. One that can
    /// be below 0 says so, `Value { lowest: -1.0, ..value }`, or is a [`Criterion`], see [`Base::supervise_by`]. Empty where no case of the batch has the output's target: nothing to learn, nothing to log.
    pub fn supervise(
        &self,
        name: &str,
        outputs: &Outputs,
        batch: &Batch,
        step: &Step,
        loss: impl Fn(&Level) -> Result<Tensor>,
    ) -> Result<Value> {
        let levels = self.levels(name, self.part(name)?, outputs, batch, step)?;
        Ok(Value { tensor: levels.sum(loss)?, lowest: 0.0, samples: Some(levels.samples()) })
    }

    /// The same for a [`Criterion`], one of [`losses`](crate::losses) or your own, which knows the least that it can be.
    pub fn supervise_by(&self, name: &str, outputs: &Outputs, batch: &Batch, step: &Step, criterion: &dyn Criterion) -> Result<Value> {
        let value = self.supervise(name, outputs, batch, step, |level| criterion.compute(level))?;
        Ok(Value { lowest: criterion.lowest(), ..value })
    }

    /// All levels of an output that deep supervision gives a weight, with all that its losses take into account.
    fn levels(&self, name: &str, part: &Part, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Levels> {
        let logits = outputs.get(name)?;
        let weights = match part.head {
            Head::Dense(_) => step.deep_supervision_weights.clone(),
            Head::Image(_) => vec![1.0],
        };
        let mut levels = Vec::with_capacity(logits.len());
        for (i, logits) in logits.iter().enumerate() {
            let supervised = weights.get(i).is_none_or(|weight| *weight != 0.0);
            levels.push(if supervised { self.beside_target(part, logits, batch, i)? } else { None });
        }
        Ok(Levels { weights, levels })
    }

    /// `logits`, of level `index`, beside the target of `part`.
    fn beside_target(&self, part: &Part, logits: &Tensor, batch: &Batch, index: usize) -> Result<Option<Level>> {
        let Some(mut level) = Level::new(logits, batch.target(&part.target)?, &part.spec, index)? else { return Ok(None) };
        level.batch_dice = self.batch_dice;
        level.class_weights = part.class_weights.as_ref().map(Tensor::shallow_clone);
        let sizes = level.logits.size();
        let spacing = self.spacing.iter().zip(&self.patch_size).zip(&sizes[2..]);
        level.spacing = spacing.map(|((spacing, patch), size)| spacing * *patch as f64 / *size as f64).collect();
        if let Some(skeleton) = &part.skeleton {
            level.follow(batch.target(skeleton)?, index)?;
        }
        if let Some(map) = &part.weight_map {
            level.weigh(batch.target(map)?, index)?;
        }
        Ok(Some(level))
    }

    fn part(&self, name: &str) -> Result<&Part> {
        match self.outputs.iter().position(|output| output.name == name) {
            Some(index) => Ok(&self.parts[index]),
            None => bail!("there is no output '{name}'{}", suggestion(name, self.outputs.iter().map(|o| o.name.as_str()))),
        }
    }
}

/// The levels of an output, `None` where there is nothing to compare, and how much they count.
struct Levels {
    weights: Vec<f64>,
    levels: Vec<Option<Level>>,
}

impl Levels {
    /// Σ weight · `loss`; `None` where there is no level.
    fn sum(&self, loss: impl Fn(&Level) -> Result<Tensor>) -> Result<Option<Tensor>> {
        deep_supervision(&self.weights, self.levels.len(), |i| self.levels[i].as_ref().map(&loss).transpose())
    }

    /// Samples that they are about.
    fn samples(&self) -> u64 {
        self.levels.iter().flatten().next().map_or(0, Level::samples)
    }
}

impl NamedLoss {
    fn add_to(&self, loss: &mut Loss, kind: Kind, levels: &Levels) -> Result<()> {
        let criterion = self.term.loss.criterion();
        let _no_graph = (self.weight == 0.0).then(tch::no_grad_guard);
        let Some(value) = levels.sum(|level| criterion.compute(level))? else { return Ok(()) };
        let lowest = criterion.lowest();
        let term = |name: &str, weight, value, samples| Term { name: name.to_owned(), weight, value, lowest, samples: Some(samples) };
        let Some(log_variance) = &self.log_variance else {
            loss.terms.push(term(&self.name, Weight::Number(self.weight), value, levels.samples()));
            return Ok(());
        };
        let share = if kind == Kind::Regression { 0.5 } else { 1.0 };
        let precision = log_variance.f_neg()?.f_exp()?.f_mul_scalar(share)?;
        let rest = log_variance.f_mul_scalar(0.5)?.f_sub(&precision.f_mul_scalar(lowest)?)?;
        loss.terms.push(term(&self.name, Weight::Learned(precision.f_mul_scalar(self.weight)?), value, levels.samples()));
        loss.terms.push(term(&format!("{}.log_variance", self.name), Weight::Number(self.weight), rest, 0));
        Ok(())
    }
}

fn named_losses(output: &str, weight: f64, list: LossList) -> Result<Vec<NamedLoss>> {
    let single = list.0.len() == 1;
    let mut losses: Vec<NamedLoss> = Vec::new();
    for term in list.0 {
        let plain = if single { output.to_owned() } else { format!("{output}.{}", term.loss.name()) };
        let same = losses.iter().filter(|other| other.term.loss.name() == term.loss.name()).count();
        let name = if same == 0 { plain } else { format!("{plain}_{}", same + 1) };
        losses.push(NamedLoss { name, weight: weight * term.weight, term, log_variance: None });
    }
    if losses.is_empty() {
        bail!("it has no loss; leave the key out for the default");
    }
    Ok(losses)
}

fn class_weights(weights: &IndexMap<String, f64>, spec: &Target, device: &str) -> Result<Tensor> {
    let background = (spec.kind == Kind::Labels).then_some("background");
    let classes: Vec<&str> = background.into_iter().chain(spec.classes.iter().map(String::as_str)).collect();
    if let Some(unknown) = weights.keys().find(|name| !classes.contains(&name.as_str())) {
        bail!("class_weights: its target has no class '{unknown}'{}", suggestion(unknown, classes.iter().copied()));
    }
    let values: Vec<f64> = classes.iter().map(|class| weights.get(*class).copied().unwrap_or(1.0)).collect();
    if !values.iter().all(|value| value.is_finite() && *value >= 0.0) || values.iter().sum::<f64>() <= 0.0 {
        bail!("class_weights are {values:?}; expected numbers of at least 0, not all of them 0");
    }
    Ok(Tensor::f_from_slice(&values)?.f_to_kind(tch::Kind::Float)?.f_to_device(parse_device(device))?)
}

fn weight_map(asked: Option<&str>, target: &str, task: &Task) -> Result<Option<String>> {
    let mut maps = task.targets.iter().filter(|(_, map)| map.weighs.as_deref() == Some(target)).map(|(name, _)| name.as_str());
    match asked {
        Some("none") => Ok(None),
        Some(name) => match maps.clone().find(|map| *map == name) {
            Some(map) => Ok(Some(map.to_owned())),
            None => bail!("weight_map: '{target}' has no weight target '{name}'{}", suggestion(name, maps)),
        },
        None => match (maps.next(), maps.next()) {
            (Some(one), Some(other)) => {
                bail!("'{target}' has several weight targets ('{one}', '{other}'); name one as weight_map, or none")
            }
            (one, _) => Ok(one.map(str::to_owned)),
        },
    }
}

fn skeleton_of(target: &str, task: &Task) -> Result<String> {
    match task.targets.iter().find(|(_, other)| other.skeleton_of.as_deref() == Some(target)) {
        Some((name, _)) => Ok(name.clone()),
        None => bail!(
            "it needs the skeleton of '{target}'; add to \"targets\" in dataset.json: \"skeleton\": {{\"kind\": \"derived\", \"from\": \
             \"{target}\", \"op\": \"skeleton\"}}"
        ),
    }
}

/// `cpu`, `cuda:0`, … as the task has it.
fn parse_device(name: &str) -> Device {
    match name.strip_prefix("cuda") {
        Some(index) => Device::Cuda(index.trim_start_matches(':').parse().unwrap_or(0)),
        None => Device::Cpu,
    }
}
