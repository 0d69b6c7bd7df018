//! What is predicted, and the way back to the raw image's frame.

use data::plan::{Configuration, Plans};
use data::preprocess::Properties;
use imaging::Volume;
use imaging::resample::{Rule, resample_image};
use indexmap::IndexMap;
use tch::{TchError, Tensor};

/// What is predicted for one output, in the raw image's frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// A label map (1, Z, Y, X).
    Labels(Volume<i16>),
    /// Real values (C, Z, Y, X).
    Regression(Volume<f32>),
    /// Probability of every class.
    Class(Vec<f64>),
}

/// What is made of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// What is predicted.
    pub prediction: Prediction,
    /// Probability of every class, or region, of a label map (C, Z, Y, X), where it is [wanted](Extras).
    pub probabilities: Option<Volume<f32>>,
    /// A mask of every region (1, Z, Y, X), where they are wanted: in a label map later regions hide earlier ones.
    pub regions: IndexMap<String, Volume<i16>>,
}

impl Exported {
    /// A prediction with nothing beside it.
    pub(super) fn alone(prediction: Prediction) -> Self {
        Self { prediction, probabilities: None, regions: IndexMap::new() }
    }
}

/// What is made beside label maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Probabilities: all classes at the image's size at once.
    pub probabilities: bool,
    /// Masks of regions.
    pub regions: bool,
}

/// How a preprocessed image lies in the raw one.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Of the model.
    pub plans: &'a Plans,
    /// The grid of its logits.
    pub configuration: &'a Configuration,
    /// Of the image.
    pub properties: &'a Properties,
    /// What is made beside label maps.
    pub extras: Extras,
}

impl Frame<'_> {
    /// Spacing of the plans and of the raw image along transposed axes, and how logits are resampled.
    pub(super) fn spacings(&self) -> ([f64; 3], [f64; 3], Rule) {
        let spacing = self.plans.transpose_forward.map(|axis| self.properties.spacing[axis]);
        (self.configuration.spacing_zyx(spacing[0]), spacing, self.configuration.logit_rule())
    }

    /// Logits at the raw spacing, in the shapes that the plugin knows: (1, C, Z, Y, X), or (Z, C, Y, X) from a 2D network; (1, C).
    pub(crate) fn resampled(&self, logits: &Tensor) -> Result<Tensor, TchError> {
        if logits.dim() == 1 {
            return logits.f_unsqueeze(0);
        }
        let (planned, spacing, rule) = self.spacings();
        let volume = resample_image(&to_volume(logits)?, self.properties.shape_after_crop, planned, spacing, rule);
        let shape = volume.shape().map(|size| size as i64);
        let tensor = Tensor::f_from_slice(volume.data())?.f_view(shape.as_slice())?;
        if self.configuration.dims() == 2 { tensor.f_permute([1, 0, 2, 3]) } else { tensor.f_unsqueeze(0) }
    }

    /// (C, Z, Y, X), from the shapes that the plugin knows.
    pub(super) fn dense(&self, active: &Tensor) -> Result<Tensor, TchError> {
        if self.configuration.dims() == 2 { active.f_permute([1, 0, 2, 3]) } else { active.f_squeeze_dim(0) }
    }

    /// Puts what was predicted for the cropped image where that lay in the raw one.
    pub(super) fn paste<T: Copy>(&self, volume: &Volume<T>, fill: T) -> Volume<T> {
        let transposed = self.plans.transpose_forward.map(|axis| self.properties.shape[axis]);
        volume.uncrop(&self.properties.bbox, transposed, fill).transpose(self.plans.transpose_backward)
    }
}

/// A dense tensor (C, Z, Y, X) as voxels.
pub(super) fn to_volume(tensor: &Tensor) -> Result<Volume<f32>, TchError> {
    let size = tensor.size();
    let shape = std::array::from_fn(|axis| size[axis] as usize);
    Ok(Volume::new(shape, Vec::<f32>::try_from(tensor.f_contiguous()?.f_view(-1)?)?))
}
