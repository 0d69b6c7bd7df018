//! Our side of `tests/compare/step`: `bench-step fp32|bf16 BATCH STEPS` times training steps of nnU-Net's network for Hippocampus
//! (`base` plugin; forward, loss, backward, clip, SGD) on random data, and prints one line `step SECONDS` each.

use data::plan::Plans;
use gate::search::resolve;
use host::config::Recipe;
use host::model::Model;
use host::network::{Precision, task, trunk};
use host::plugin;
use host::train::{Optimiser, deep_supervision_weights, total};
use plugin_api::task::Target as TargetSpec;
use plugin_api::{Batch, IndexMap, Kind, Phase, Step, Target, Task};
use std::time::Instant;
use tch::{Device, Kind as Dtype, Tensor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let usage = "usage: bench-step fp32|bf16 BATCH STEPS";
    let mut args = std::env::args().skip(1);
    let precision = match args.next().as_deref() {
        Some("fp32") => Precision::Fp32,
        Some("bf16") => Precision::Bf16,
        _ => return Err(usage.into()),
    };
    let batch_size: i64 = args.next().ok_or(usage)?.parse()?;
    let steps: usize = args.next().ok_or(usage)?.parse()?;

    let this_host = tests::artifact::this_host();
    let plans: Plans = serde_json::from_str(include_str!("../../golden/hippocampus_plans.json"))?;
    let configuration = plans.configuration("3d_fullres")?;
    let classes = vec!["anterior".to_owned(), "posterior".to_owned()];
    let spec = TargetSpec { classes, ..TargetSpec::new(Kind::Labels, 3) };
    let targets = IndexMap::from([("segmentation".to_owned(), spec)]);
    let (patch_size, spacing) = (&configuration.patch_size, &configuration.spacing);
    let trunk = trunk(&configuration.architecture)?;
    let task = Task { batch_size, batch_dice: configuration.batch_dice, ..task(&*trunk, patch_size, spacing, targets) };
    let library = plugin::load(&resolve("base", &this_host)?, &this_host)?;
    let options = serde_json::json!({});
    let mut model = Model::new(&*trunk, 1, &library, &task, &options, Device::Cpu, precision)?;
    let mut optimiser = Optimiser::new(&model.parameters, &Recipe::default());

    tch::manual_seed(0);
    let weights = deep_supervision_weights(task.levels());
    let mut shape = vec![batch_size, 1];
    shape.extend(&task.patch_size);
    let label_map = |level: usize| {
        let mut shape = shape.clone();
        for stride in &task.strides[..=level] {
            shape.iter_mut().skip(2).zip(stride).for_each(|(size, stride)| *size /= stride);
        }
        Tensor::randint(3, shape, (Dtype::Int64, Device::Cpu))
    };
    let target = Target {
        levels: (0..task.levels()).map(label_map).collect(),
        valid: Vec::new(),
        presence: Tensor::ones([batch_size], (Dtype::Bool, Device::Cpu)),
    };
    let batch = Batch {
        image: Tensor::randn(&shape, (Dtype::Float, Device::Cpu)),
        cases: (0..batch_size).map(|i| format!("case_{i}")).collect(),
        targets: IndexMap::from([("segmentation".to_owned(), target)]),
    };
    let levels = weights.iter().filter(|weight| **weight != 0.0).count();
    let step = Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: weights };
    for i in 0..=steps {
        let start = Instant::now();
        optimiser.clear_gradients()?;
        let outputs = model.forward(&batch.image, levels, true, 0)?;
        let terms = model.trainer.loss(&outputs, &batch, &step)?;
        let loss = total(&terms)?.ok_or("no loss")?;
        loss.f_backward()?;
        optimiser.clip_gradients(1.0)?;
        optimiser.step(0.01)?;
        let _value = f64::try_from(&loss)?;
        // The first step also pays for what libtorch compiles and allocates.
        if i > 0 {
            println!("step {:.4}", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
