//! Targets of the plugin's own on mirror images: what points somewhere must be declared as vectors, or test-time mirroring averages +v and −v.

use super::made::{Given, Owned, Patch, samples, transform};
use super::{Content, Finding, Subject};
use plugin_api::task::Kind;

/// A channel turns its sign if it fits the mirror image's so much better turned than not.
const BETTER: f64 = 0.1;

/// Every target that is no vector, beside the same of the mirrored sample.
pub(super) fn directions(subject: &Subject) -> Result<(), Finding> {
    transform(&subject.usual()?)?;
    subject.in_every_world(Content::Whole, |rig| {
        let transform = transform(&rig)?;
        for sample in samples(&rig)? {
            let made = sample.apply(transform)?;
            for axis in 3 - rig.task.dims..3 {
                let mirrored = sample.mirrored(axis).apply(transform)?;
                for (one, other) in made.iter().zip(&mirrored) {
                    let spec = &rig.task.targets[&one.name];
                    if spec.kind != Kind::Regression || spec.vectors {
                        continue;
                    }
                    if let Some(channel) = turned(one, other, &sample, axis) {
                        return Err(Finding::failed(format!(
                            "target transform: channel {channel} of target '{}' changes its sign when the sample is mirrored along {}, so it points somewhere; \
                             declare the target as `vectors` (all axes, in mm): else mirroring in training and prediction mixes +v and −v",
                            one.name,
                            ["z", "y", "x"][axis]
                        )));
                    }
                }
            }
        }
        Ok(())
    })
}

/// The first channel of `other`, made of the mirror image, that is the opposite of `one`.
fn turned(one: &Patch, other: &Patch, sample: &Given, axis: usize) -> Option<usize> {
    let (Owned::Regression(one), Owned::Regression(other)) = (&one.values, &other.values) else { return None };
    let voxels = sample.voxels();
    (0..one.len() / voxels).find(|channel| {
        let part = |values: &[f32]| values[channel * voxels..(channel + 1) * voxels].to_vec();
        let (expected, found) = (sample.mirror(&part(one), axis), part(other));
        let off = |sign: f32| expected.iter().zip(&found).map(|(a, b)| f64::from((a - sign * b).abs())).sum::<f64>();
        off(-1.0) < BETTER * off(1.0)
    })
}
