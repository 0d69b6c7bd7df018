//! Small made-up feature maps, to ask heads about: the same numbers on every machine, without a draw.

use super::Error;
use plugin_api::{Features, Task};
use tch::{Device, Kind as Dtype, Tensor};

/// Maps of every stage, of these sizes.
pub(super) fn features(task: &Task, sizes: &[Vec<i64>], device: Device) -> Result<Features, Error> {
    let map = |stage: usize, phase: i64| waves(&[&[1, task.features[stage]], &*sizes[stage]].concat(), phase, device);
    let maps = |phase: i64| (0..task.levels()).map(move |stage| map(stage, phase + stage as i64)).collect::<Result<Vec<_>, _>>();
    Ok(Features { decoder: maps(1)?, bottleneck: map(task.levels(), 20)?, skips: maps(40)? })
}

/// Sizes `([z,] y, x)` of all stages, finest first, that heads are tried on: as small as can be, with a cube for the bottleneck, then
/// larger ones, at last those of the patch.
pub(super) fn sizes(task: &Task) -> Vec<Vec<Vec<i64>>> {
    let shrunk = |stages: std::ops::Range<usize>, axis: usize| task.strides[stages].iter().map(|stride| stride[axis]).product::<i64>();
    let stages = task.strides.len();
    let all = |size: &dyn Fn(usize, usize) -> i64| -> Vec<Vec<i64>> {
        (0..stages).map(|stage| (0..task.dims).map(|axis| size(stage, axis)).collect()).collect()
    };
    let cubes = (0..).map(|i| all(&|stage, axis| (1 << i) * shrunk(stage + 1..stages, axis)));
    let smaller = |sizes: &Vec<Vec<i64>>| sizes[0].iter().zip(&task.patch_size).all(|(size, patch)| size < patch);
    let patch = all(&|stage, axis| task.patch_size[axis] / shrunk(0..stage + 1, axis));
    cubes.take_while(smaller).chain([patch]).collect()
}

/// Numbers from −1 to 1 that do not repeat themselves; others for another `phase`.
pub(super) fn waves(shape: &[i64], phase: i64, device: Device) -> Result<Tensor, Error> {
    let numbers = Tensor::f_arange(shape.iter().product::<i64>(), (Dtype::Float, device))?;
    Ok(numbers.f_mul_scalar(1.7)?.f_add_scalar(phase as f64)?.f_sin()?.f_view(shape)?)
}
