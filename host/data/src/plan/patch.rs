//! Which patch sizes a network can take.

use imaging::io::{may_have, most_voxels};

use super::Error;

/// More elements than that are beyond the indices of most convolutions, and of any memory.
const MOST_VOXELS: usize = i32::MAX as usize;

/// Checks that `patch` can be halved (or divided by whatever the `strides` of all stages together are) down to the bottleneck, which needs more
/// than one voxel for its normalisation to have a variance.
///
/// # Errors
/// Names the divisor and the nearest sizes that fit.
pub(super) fn check_patch(patch: &[usize], strides: &[usize]) -> Result<(), Error> {
    let voxels = patch.iter().try_fold(1, |voxels: usize, size| voxels.checked_mul(*size));
    if voxels.is_none_or(|voxels| voxels > MOST_VOXELS) || !may_have(patch.iter().copied()) {
        return Err(Error::LargePatch { found: show(patch), most: (MOST_VOXELS as u64).min(most_voxels()) });
    }
    let fits =
        patch.len() == strides.len() && patch.iter().zip(strides).all(|(size, stride)| *size > 0 && size % stride == 0) && patch != strides;
    if fits {
        return Ok(());
    }
    Err(Error::Patch { found: show(patch), divisor: show(strides), nearest: nearest(patch, strides) })
}

/// Two or three sizes as (Z, Y, X), where 2D has one slice; none for any other number of them.
pub fn three_dimensional(sizes: &[usize]) -> Option<[usize; 3]> {
    match *sizes {
        [y, x] => Some([1, y, x]),
        [z, y, x] => Some([z, y, x]),
        _ => None,
    }
}

/// The largest size below and the smallest above, each axis on its own; 40×40×40 for a single 40.
fn nearest(patch: &[usize], strides: &[usize]) -> String {
    let wanted = |axis: usize| patch.get(axis).or(patch.last()).copied().unwrap_or(0);
    let fit = |down: bool| -> Vec<usize> {
        let mut sizes: Vec<usize> = strides
            .iter()
            .enumerate()
            .map(|(axis, stride)| {
                let steps = if down { wanted(axis) / stride } else { wanted(axis).div_ceil(*stride) };
                steps.max(1).saturating_mul(*stride)
            })
            .collect();
        if sizes == strides {
            sizes.iter_mut().for_each(|size| *size = size.saturating_mul(2));
        }
        sizes
    };
    let (below, above) = (fit(true), fit(false));
    if below == above { show(&below) } else { format!("{}, {}", show(&below), show(&above)) }
}

fn show(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use crate::plan::Plans;

    #[test]
    fn patches_are_multiples_of_the_strides() {
        let plans: Plans = serde_json::from_str(include_str!("../../../../tests/golden/hippocampus_plans.json")).expect("golden file");
        let configuration = plans.configuration("3d_fullres").expect("planned");
        for patch in [[40, 56, 40], [8, 8, 16], [64, 64, 64]] {
            configuration.check_patch(&patch).expect("fits");
        }
        for (patch, nearest) in [
            (&[41, 56, 40][..], "nearest: 40×56×40, 48×56×40"),
            (&[8, 8, 8], "nearest: 16×16×16"),
            (&[0, 8, 8], "nearest: 16×16×16"),
            (&[36], "nearest: 32×32×32, 40×40×40"),
        ] {
            let message = configuration.check_patch(patch).expect_err("does not fit").to_string();
            assert!(message.contains("multiples of 8×8×8") && message.contains(nearest), "{message}");
        }
    }
}
