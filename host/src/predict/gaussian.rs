//! How much a voxel of a tile counts: most in the centre, where the network has seen its surroundings.

use tch::{Kind, Tensor};

/// Peak value, as in nnU-Net.
const PEAK: f32 = 10.0;

/// A Gaussian over a tile of `patch` voxels with σ = patch / 8, scaled to a peak of 10; zeros become the smallest positive value
/// (`sliding_window_prediction.py`, `compute_gaussian`). nnU-Net has it in float16 (`half`), where more of it is zero.
pub(super) fn importance(patch: [usize; 3], half: bool) -> Tensor {
    let [z, y, x] = patch.map(line);
    let mut values = Vec::with_capacity(patch.iter().product());
    for z in &z {
        for y in &y {
            values.extend(x.iter().map(|x| (z * y * x) as f32));
        }
    }
    let peak = values.iter().copied().fold(0.0, f32::max);
    values.iter_mut().for_each(|value| *value *= PEAK / peak);
    if half {
        let rounded = Tensor::from_slice(&values).to_kind(Kind::Half).to_kind(Kind::Float);
        values = Vec::try_from(rounded).expect("one dimension");
    }
    let smallest = values.iter().copied().filter(|value| *value > 0.0).fold(f32::MAX, f32::min);
    values.iter_mut().filter(|value| **value == 0.0).for_each(|value| *value = smallest);
    let kind = if half { Kind::Half } else { Kind::Float };
    Tensor::from_slice(&values).to_kind(kind).view(patch.map(|size| size as i64).as_slice())
}

/// What scipy's `gaussian_filter` makes of a single 1 at `size / 2`: a Gaussian cut off at 4σ.
fn line(size: usize) -> Vec<f64> {
    let sigma = size as f64 / 8.0;
    let radius = (4.0 * sigma + 0.5) as i64;
    let centre = (size / 2) as i64;
    let weight = |d: i64| (-0.5 * (d as f64 / sigma).powi(2)).exp();
    (0..size as i64).map(|i| i - centre).map(|d| if d.abs() <= radius { weight(d) } else { 0.0 }).collect()
}
