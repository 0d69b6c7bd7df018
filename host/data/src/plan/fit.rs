//! The largest patch and network that fit the memory.
//!
//! nnU-Net starts from a patch of the spacing's proportions, no larger than the images, derives the network from it, estimates the
//! memory, and shortens one axis after the other until it fits (`get_plans_for_configuration` of both planner files).

use super::estimate::feature_map_elements;
use super::topology::{Topology, topology};
use super::unet::{PlannedUnet, Stages, features};
use super::{Error, PlanOptions};

const BASE_FEATURES: usize = 32;
/// What a planner lets a 2D or 3D network have.
pub(super) struct Budget {
    /// GPU memory in GB, for messages.
    memory_gb: f64,
    /// Feature map elements that fit the memory at batch size `batch_size`.
    elements: f64,
    batch_size: f64,
    max_features: usize,
    /// Volume of the first guess of a patch, and its root.
    initial_voxels: f64,
    root: f64,
    unet: &'static PlannedUnet,
}

/// A patch with the network that it is for.
pub(super) struct Fit {
    pub patch: Vec<usize>,
    pub stages: Stages,
    /// Samples a step that the memory takes.
    pub batch_size: f64,
}

impl Budget {
    pub(super) fn new(options: &PlanOptions, dims: usize) -> Self {
        let preset = options.planner.preset();
        let [elements_2d, elements_3d] = preset.elements;
        let scale = options.memory_gb() / preset.memory_gb;
        let common = Self {
            memory_gb: options.memory_gb(),
            elements: elements_3d * scale,
            batch_size: 2.0,
            max_features: 320,
            initial_voxels: 256f64 * 256.0 * 256.0,
            root: 1.0 / 3.0,
            unet: preset.unet,
        };
        if dims == 2 {
            let initial_voxels = 2048f64 * 2048.0;
            Self { elements: elements_2d * scale, batch_size: 12.0, max_features: 512, initial_voxels, root: 1.0 / 2.0, ..common }
        } else {
            common
        }
    }

    /// Patch and network for images of `median_shape` voxels at `spacing`, with `classes` output channels; one value an axis.
    pub(super) fn fit(&self, spacing: &[f64], median_shape: &[f64], classes: usize) -> Result<Fit, Error> {
        let mut network = topology(spacing, &self.first_guess(spacing, median_shape)?);
        let mut elements = self.elements(&network, spacing, classes)?;
        while self.is_too_large(elements) {
            let ratio = |axis: usize| network.patch[axis] as f64 / median_shape[axis];
            // The last of the largest, as argsort(...)[-1] has it.
            let axis = (1..spacing.len()).fold(0, |best, axis| if ratio(axis) >= ratio(best) { axis } else { best });
            // Subtracting today's divisor would skip valid sizes (192 follows 256 although 224 is one): the divisor that
            // holds after a trial subtraction is what is taken off.
            let reduce = |by: usize| -> Result<Vec<f64>, Error> {
                let mut patch: Vec<f64> = network.patch.iter().map(|size| *size as f64).collect();
                patch[axis] -= by as f64;
                if patch[axis] < 1.0 {
                    return Err(Error::DoesNotFit { memory_gb: self.memory_gb, classes });
                }
                Ok(patch)
            };
            let trial = topology(spacing, &reduce(network.divisor[axis])?);
            network = topology(spacing, &reduce(trial.divisor[axis])?);
            elements = self.elements(&network, spacing, classes)?;
        }
        let count = network.strides.len();
        Ok(Fit {
            patch: network.patch,
            stages: Stages {
                features: self.features(count),
                kernel_sizes: network.kernel_sizes,
                strides: network.strides,
                blocks: self.unet.blocks[..count].to_vec(),
                decoder_convs: self.unet.decoder_convs[..count - 1].to_vec(),
            },
            batch_size: (self.elements / elements * self.batch_size).round_ties_even(),
        })
    }

    /// A patch of the spacing's proportions and of a fixed volume, no larger than the images.
    fn first_guess(&self, spacing: &[f64], median_shape: &[f64]) -> Result<Vec<f64>, Error> {
        let inverse: Vec<f64> = spacing.iter().map(|spacing| 1.0 / spacing).collect();
        let scale = (self.initial_voxels / inverse.iter().product::<f64>()).powf(self.root);
        let patch: Vec<f64> = inverse.iter().map(|inverse| (inverse * scale).round_ties_even()).collect();
        // With no axis below one voxel, none is much longer than the volume either.
        if !patch.iter().chain(median_shape).all(|size| *size > 0.0 && size.is_finite()) {
            let reason = "an axis of the patch would have no voxels".to_owned();
            return Err(Error::NoNetwork { spacing: spacing.to_vec(), reason });
        }
        Ok(patch.iter().zip(median_shape).map(|(size, median)| size.min(*median)).collect())
    }

    fn is_too_large(&self, elements: f64) -> bool {
        let compared = if self.unet.at_reference_batch { elements } else { elements / self.batch_size * 2.0 };
        compared > self.elements
    }

    fn elements(&self, network: &Topology, spacing: &[f64], classes: usize) -> Result<f64, Error> {
        let (stages, most) = (network.strides.len(), self.unet.blocks.len());
        if stages > most {
            let reason = format!("the patch {:?} would need {stages} stages, at most {most} are possible", network.patch);
            return Err(Error::NoNetwork { spacing: spacing.to_vec(), reason });
        }
        let convs: Vec<usize> = self.unet.encoder_convs().take(stages).collect();
        let features = self.features(stages);
        Ok(feature_map_elements(&network.patch, &network.strides, &features, &convs, self.unet.decoder_convs, classes))
    }

    fn features(&self, stages: usize) -> Vec<usize> {
        features(BASE_FEATURES, stages, self.max_features)
    }
}
