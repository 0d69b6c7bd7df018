//! The largest patch and network that fit the memory.
//!
//! nnU-Net starts from a patch of the spacing's proportions, no larger than the images, derives the network from it, estimates the
//! memory, and shortens one axis after the other until it fits (`get_plans_for_configuration` of both planner files).

use super::estimate::feature_map_elements;
use super::topology::{Topology, topology};
use super::{Error, PlanOptions};

const BASE_FEATURES: usize = 32;
/// Convolutions of every stage of the plain network; nnU-Net lists 14 stages of the encoder.
const CONVS: [usize; 14] = [2; 14];
/// Residual blocks of the encoder's stages, and convolutions of the decoder's; nnU-Net lists 13 and 12.
const RESIDUAL_BLOCKS: [usize; 13] = [1, 3, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6];
const RESIDUAL_CONVS_DECODER: [usize; 12] = [1; 12];

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
    /// By stage; as long as the deepest network that nnU-Net can plan.
    encoder: &'static [usize],
    decoder: &'static [usize],
    residual: bool,
}

/// A patch with the network that it is for.
pub(super) struct Fit {
    /// Patch, strides and kernels.
    pub topology: Topology,
    /// Feature channels of every stage.
    pub features: Vec<usize>,
    /// Convolutions, or residual blocks, of every encoder stage.
    pub encoder: Vec<usize>,
    /// Convolutions of every decoder stage.
    pub decoder: Vec<usize>,
    /// Samples a step that the memory takes.
    pub batch_size: f64,
}

impl Budget {
    pub(super) fn new(options: &PlanOptions, dims: usize) -> Self {
        let preset = options.planner.preset();
        let ([elements_2d, elements_3d], residual) = (preset.elements, preset.is_residual);
        let scale = options.memory_gb() / preset.memory_gb;
        let (encoder, decoder) = if residual { (&RESIDUAL_BLOCKS[..], &RESIDUAL_CONVS_DECODER[..]) } else { (&CONVS[..], &CONVS[1..]) };
        let common = Self {
            memory_gb: options.memory_gb(),
            elements: elements_3d * scale,
            batch_size: 2.0,
            max_features: 320,
            initial_voxels: 256f64 * 256.0 * 256.0,
            root: 1.0 / 3.0,
            encoder,
            decoder,
            residual,
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
        let stages = network.strides.len();
        Ok(Fit {
            features: self.features(stages),
            encoder: self.encoder[..stages].to_vec(),
            decoder: self.decoder[..stages - 1].to_vec(),
            batch_size: (self.elements / elements * self.batch_size).round_ties_even(),
            topology: network,
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

    /// The residual planners compare at the batch size that their reference value is for, the plain one at batch size 2.
    fn is_too_large(&self, elements: f64) -> bool {
        if self.residual { elements > self.elements } else { elements / self.batch_size * 2.0 > self.elements }
    }

    fn elements(&self, network: &Topology, spacing: &[f64], classes: usize) -> Result<f64, Error> {
        let stages = network.strides.len();
        if stages > self.encoder.len() {
            let reason = format!("the patch {:?} would need {stages} stages, at most {} are possible", network.patch, self.encoder.len());
            return Err(Error::NoNetwork { spacing: spacing.to_vec(), reason });
        }
        // A residual block has two convolutions. Every stage has one more: the skip of its first block, the first one the stem.
        let convs = self.encoder.iter().map(|blocks| if self.residual { 2 * blocks + 1 } else { *blocks });
        let convs: Vec<usize> = convs.take(stages).collect();
        Ok(feature_map_elements(&network.patch, &network.strides, &self.features(stages), &convs, self.decoder, classes))
    }

    fn features(&self, stages: usize) -> Vec<usize> {
        (0..stages).map(|stage| (BASE_FEATURES << stage).min(self.max_features)).collect()
    }
}
