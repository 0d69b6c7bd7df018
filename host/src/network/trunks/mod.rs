//! Trunks by the name of their class in nnU-Net's plans: what a plan's `architecture` asks for, read and checked, and the layers that it makes.
//!
//! Another trunk is another file here, and its line in `TRUNKS`. Nothing outside that file knows its arguments, its stages, or what nnU-Net's
//! checkpoints call its tensors.

mod plain_conv_unet;
mod residual_encoder_unet;

use super::{Error, Parameters};
use data::plan::{Architecture, Configuration, Plans};
use plugin_api::Features;
use serde_json::{Map, Value};
use std::fmt;
use tch::Tensor;

/// A trunk as a plan asks for it. It has no tensors before [`build`](Self::build).
pub trait Trunk: fmt::Debug {
    /// Feature channels of every stage, finest first; heads get maps of these.
    fn features(&self) -> &[i64];

    /// Stride at the entrance of every stage, finest first: `([z,] y, x)`.
    fn strides(&self) -> &[Vec<i64>];

    /// Whether the plan lets coarser levels be supervised.
    fn deep_supervision(&self) -> bool {
        true
    }

    /// Makes the layers for images of `input_channels`; their tensors are added to `parameters`.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    fn build(&self, input_channels: usize, parameters: &mut Parameters) -> Result<Box<dyn Layers>, Error>;

    /// Whether a tensor of this name is one of its own, among all that a checkpoint of ours holds.
    fn owns(&self, name: &str) -> bool;

    /// What the names of nnU-Net's segmentation layers begin with in its checkpoints of this class.
    fn seg_layers(&self) -> &'static str;

    /// Every name that nnU-Net's checkpoints have for the tensor that is `name` here, that one first: torch lists a module under every name that
    /// it is reached by. Segmentation layers have the names that [`seg_layers`](Self::seg_layers) says.
    fn aliases(&self, name: &str) -> Vec<String>;

    /// Whether `key` of nnU-Net's checkpoints is a tensor that is there under its own name, too, or none that is trained.
    fn is_alias(&self, key: &str) -> bool;
}

/// The layers of a trunk.
pub trait Layers: fmt::Debug + Send {
    /// Whether a forward pass in training draws random numbers.
    fn draws(&self) -> bool {
        false
    }

    /// Features of `image` `(B, C, [Z,] Y, X)`, every spatial size divisible by the product of the strides. In training, dropout drops, and batch
    /// norm works on the batch and updates its running statistics.
    ///
    /// # Errors
    /// When libtorch fails.
    fn forward(&self, image: &Tensor, training: bool) -> Result<Features, Error>;

    /// The same in evaluation for the CPU engine, with the weights that they have now.
    ///
    /// # Errors
    /// When the engine has no such layers: names one.
    fn graph(&self) -> Result<TrunkGraph, Error>;
}

/// A trunk for the CPU engine, and where its features are: as [`Features`] has them.
#[derive(Debug)]
pub struct TrunkGraph {
    /// All layers.
    pub graph: kernels::Graph,
    /// Decoder maps, finest first.
    pub decoder: Vec<kernels::Value>,
    /// The last encoder stage.
    pub bottleneck: kernels::Value,
    /// Encoder maps, finest first, without the bottleneck.
    pub skips: Vec<kernels::Value>,
}

/// A class of trunks.
struct Class {
    /// Last part of nnU-Net's `network_class_name`.
    name: &'static str,
    /// Reads the class's arguments, `arch_kwargs`.
    read: Read,
}

type Read = fn(&Map<String, Value>) -> Result<Box<dyn Trunk>, Error>;

const TRUNKS: &[Class] = &[plain_conv_unet::CLASS, residual_encoder_unet::CLASS];

/// The configuration `name` of `plans`, and the trunk that it asks for.
///
/// # Errors
/// When there is no such configuration, or one of them cannot be used: names the configuration.
pub fn planned(plans: &Plans, name: &str) -> Result<(Configuration, Box<dyn Trunk>), Error> {
    let configuration = plans.configuration(name).map_err(|error| Error::Plans(Box::new(error)))?;
    let trunk = trunk(&configuration.architecture);
    let trunk = trunk.map_err(|source| Error::Configuration { name: name.to_owned(), source: Box::new(source) })?;
    Ok((configuration, trunk))
}

/// The trunk that `architecture` asks for.
///
/// # Errors
/// Names what is not there, or does not fit together.
pub fn trunk(architecture: &Architecture) -> Result<Box<dyn Trunk>, Error> {
    let name = architecture.network_class_name.rsplit('.').next().unwrap_or_default();
    let Some(class) = TRUNKS.iter().find(|class| class.name == name) else {
        let names = TRUNKS.iter().map(|class| class.name).collect::<Vec<_>>().join(" or ");
        return Err(Error::Architecture(format!("network class '{name}' (expected {names}) is not there")));
    };
    (class.read)(&architecture.arch_kwargs)
}
