//! How long heads and loss of a plugin take and how much memory they need, on a problem of the size of a real one, or on recorded outputs.

use super::Finding;
use super::made::apply_once;
use super::problem::Problem;
use super::rig::{Rig, Subject, levels, map};
use crate::train::total;
use indexmap::IndexMap;
use plugin_api::{Batch, Outputs, Target, Task};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use tch::{Kind as Dtype, Tensor};

/// Repetitions end when so much time has passed, after [`LEAST`] of them.
const BUDGET: Duration = Duration::from_millis(250);
/// So many at least.
const LEAST: usize = 3;

/// What one plugin takes, per step: medians, but for memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Id and version.
    pub plugin: String,
    /// Milliseconds of the heads; none on recorded outputs.
    pub forward: Option<f64>,
    /// Milliseconds of the loss.
    pub loss: f64,
    /// Milliseconds of backward, through the heads where there are any.
    pub backward: f64,
    /// Milliseconds of the targets that it makes itself, a sample, on one thread of the loader; none where it makes none.
    pub targets: Option<f64>,
    /// MiB at the peak, above what was there before the step.
    pub memory: f64,
    /// Steps measured.
    pub steps: usize,
}

/// A step of nnU-Net's Hippocampus plan: patch 40×56×40, batch 2, four stages, three levels.
fn task(subject: &Subject) -> Task {
    let usual = Problem::USUAL.task(&subject.targets, subject.seed);
    let strides = [1, 2, 2, 2].map(|stride| vec![stride; 3]).to_vec();
    Task { patch_size: vec![40, 56, 40], spacing: vec![1.0; 3], features: vec![32, 64, 128, 256], strides, ..usual }
}

/// Times `subject`, on the outputs and targets of `fixture` if there is one.
pub fn bench(subject: &Subject, fixture: Option<&Path>) -> Result<Timing, Finding> {
    let mut rig = subject.on(task(subject), Problem::USUAL)?;
    let step = rig.step(0);
    let recorded = fixture.map(|path| read_fixture(path, &rig)).transpose()?;
    let mut once = || -> Result<[f64; 3], Finding> {
        let from = Instant::now();
        let outputs = match &recorded {
            None => rig.forward(&step)?,
            Some((outputs, _)) => map(outputs, |level| level.detach().set_requires_grad(true)),
        };
        let made = Instant::now();
        let batch = recorded.as_ref().map_or(&rig.batch, |(_, batch)| batch);
        let terms = rig.trainer.loss(&outputs, batch, &step)?;
        let judged = Instant::now();
        if let Some(loss) = total(&terms)? {
            loss.f_backward()?;
        }
        Ok([made - from, judged - made, judged.elapsed()].map(|took| took.as_secs_f64() * 1e3))
    };
    // The first step finds memory and primitives for all others.
    once()?;
    let peak = Peak::start();
    once()?;
    let memory = peak.grown();
    let (mut steps, start) = (Vec::new(), Instant::now());
    while steps.len() < LEAST || start.elapsed() < BUDGET {
        steps.push(once()?);
    }
    let targets = match (&rig.transform, &recorded) {
        (Some(_), None) => Some(median((0..LEAST).map(|_| apply_once(&rig)).collect::<Result<_, _>>()?)),
        _ => None,
    };
    let median = |part: usize| median(steps.iter().map(|step| step[part]).collect());
    Ok(Timing {
        plugin: format!("{} {}", subject.plugin.identity().manifest.id, subject.plugin.identity().manifest.version),
        forward: recorded.is_none().then(|| median(0)),
        loss: median(1),
        backward: median(2),
        targets,
        memory,
        steps: steps.len(),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Outputs and targets of a recorded step: a safetensors file with `outputs.<output>.<level>`, `targets.<target>.<level>`, and where they
/// say something `valid.<target>.<level>` and `presence.<target>`, levels from 0, of types and shapes as in a batch.
fn read_fixture(path: &Path, rig: &Rig) -> Result<(Outputs, Batch), Finding> {
    let wrong = |what: String| Finding::Failed(format!("{}: {what}", path.display()));
    let tensors: IndexMap<String, Tensor> = Tensor::read_safetensors(path).map_err(|e| wrong(e.to_string()))?.into_iter().collect();
    let all =
        |prefix: String| (0..).map_while(|level| tensors.get(&format!("{prefix}.{level}"))).map(Tensor::shallow_clone).collect::<Vec<_>>();
    let mut outputs = Outputs::new();
    for output in rig.trainer.outputs() {
        let levels = all(format!("outputs.{}", output.name));
        if levels.is_empty() {
            let there: Vec<&str> = tensors.keys().map(String::as_str).collect();
            return Err(wrong(format!("no tensor 'outputs.{}.0'; there are: {}", output.name, there.join(", "))));
        }
        levels.iter().for_each(|level| outputs.push(&output.name, level.to_kind(Dtype::Float)));
    }
    let samples = levels(&outputs).next().map_or(0, |level| level.size()[0]);
    let mut targets = IndexMap::new();
    for name in rig.task.targets.keys() {
        let levels = all(format!("targets.{name}"));
        if !levels.is_empty() {
            let presence = tensors
                .get(&format!("presence.{name}"))
                .map_or_else(|| Tensor::from_slice(&vec![true; samples as usize]), Tensor::shallow_clone);
            targets.insert(name.clone(), Target { levels, valid: all(format!("valid.{name}")), presence });
        }
    }
    if targets.is_empty() {
        return Err(wrong("no tensor 'targets.<target>.0'".to_owned()));
    }
    let image = Tensor::zeros([samples, 1], (Dtype::Float, tch::Device::Cpu));
    Ok((outputs, Batch { image, cases: (0..samples).map(|sample| format!("case_{sample}")).collect(), targets }))
}

/// The most memory that this process has had since.
struct Peak(f64);

impl Peak {
    fn start() -> Self {
        // SAFETY: gives free memory back, which would be used again unnoticed; touches nothing else.
        unsafe { libc::malloc_trim(0) };
        // Sets the high-water mark back to what is resident now.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self(Self::mark())
    }

    fn grown(&self) -> f64 {
        Self::mark() - self.0
    }

    /// In MiB; NaN where it is not told.
    fn mark() -> f64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
    }
}

/// `timings` as a table, the first against the last.
pub fn table(timings: &[Timing]) -> String {
    let milliseconds = |value: f64| format!("{value:.2} ms");
    let mut text = format!("{:<28} {:>12} {:>12} {:>12} {:>12}\n", "", "forward", "loss", "backward", "memory");
    for Timing { plugin, forward, loss, backward, memory, .. } in timings {
        let forward = forward.map_or_else(|| "recorded".to_owned(), milliseconds);
        text += &format!("{plugin:<28} {forward:>12} {:>12} {:>12} {:>8.1} MiB\n", milliseconds(*loss), milliseconds(*backward), memory);
    }
    if let [mine, .., other] = timings {
        let ratio = |mine: f64, other: f64| format!("{:.2}", mine / other);
        let forward = mine.forward.zip(other.forward).map_or_else(String::new, |(mine, other)| ratio(mine, other));
        let [loss, backward, memory] =
            [(mine.loss, other.loss), (mine.backward, other.backward), (mine.memory, other.memory)].map(|(a, b)| ratio(a, b));
        text += &format!("{:<28} {forward:>12} {loss:>12} {backward:>12} {memory:>12}\n", "ratio");
    }
    if let Some(Timing { plugin, targets: Some(targets), .. }) = timings.first() {
        text += &format!("{plugin:<28} {} a sample for targets of its own, on a thread of the loader\n", milliseconds(*targets));
    }
    text
}
