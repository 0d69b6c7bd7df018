//! What a plan's `architecture` asks for, read once and checked: [`Spec`] is all that [`Unet`](super::Unet) is built from.

use super::Error;
use data::plan::{ArchKwargs, Architecture};
use serde_json::{Map, Value};

/// A U-Net of the plan.
#[derive(Debug)]
pub(super) struct Spec {
    pub encoder: EncoderKind,
    /// Feature channels of every stage, finest first.
    pub features: Vec<i64>,
    /// Convolution kernel of every stage.
    pub kernels: Vec<Vec<i64>>,
    /// Stride at the entrance of every stage.
    pub strides: Vec<Vec<i64>>,
    /// Convolutions or residual blocks of every encoder stage.
    pub blocks: Vec<usize>,
    /// Convolutions of every decoder stage, coarsest first.
    pub decoder_convs: Vec<usize>,
    pub layers: LayerSpec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncoderKind {
    /// Stacked convolutions.
    Plain,
    /// A stem, then residual blocks.
    Residual,
}

/// What surrounds every convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerSpec {
    pub bias: bool,
    pub dropout: Option<Dropout>,
    pub norm: Option<NormSpec>,
    pub nonlinearity: Nonlinearity,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    /// Share that is dropped.
    pub p: f64,
    /// Whole channels rather than single values (`Dropout2d`, `Dropout3d`).
    pub channels: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NormSpec {
    /// Batch norm rather than instance norm.
    pub batch: bool,
    pub eps: f64,
    pub affine: bool,
    /// Weight of the newest batch in the running statistics of batch norm.
    pub momentum: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Nonlinearity {
    /// With the slope below zero.
    LeakyRelu(f64),
    Relu,
}

impl Spec {
    /// Reads `architecture`.
    ///
    /// # Errors
    /// Names what is not there, or does not fit together.
    pub fn of(architecture: &Architecture) -> Result<Self, Error> {
        let kwargs = &architecture.arch_kwargs;
        let encoder = match last(&architecture.network_class_name) {
            "PlainConvUNet" => EncoderKind::Plain,
            "ResidualEncoderUNet" => EncoderKind::Residual,
            other => return unsupported(&format!("network class '{other}' (expected PlainConvUNet or ResidualEncoderUNet)")),
        };
        let blocks = match encoder {
            EncoderKind::Plain => &kwargs.n_conv_per_stage,
            EncoderKind::Residual => &kwargs.n_blocks_per_stage,
        };
        // What these classes take beyond nnU-Net's planners; at these values they change nothing.
        let harmless =
            |key: &str, value: &Value| key == "deep_supervision" || value.is_null() || *value == Value::Bool(false) || *value == 0.0;
        if let Some((key, value)) = kwargs.extra.iter().find(|(key, value)| !harmless(key, value)) {
            return unsupported(&format!("the network's argument {key} = {value}"));
        }
        let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
        let spec = Self {
            encoder,
            features: signed(&kwargs.features_per_stage),
            kernels: kwargs.kernel_sizes.iter().map(|kernel| signed(kernel)).collect(),
            strides: kwargs.strides.iter().map(|stride| signed(stride)).collect(),
            blocks: blocks.clone(),
            decoder_convs: kwargs.n_conv_per_stage_decoder.clone(),
            layers: LayerSpec {
                bias: kwargs.conv_bias,
                dropout: dropout(kwargs)?,
                norm: norm(kwargs)?,
                nonlinearity: nonlinearity(kwargs)?,
            },
        };
        spec.check(kwargs)?;
        Ok(spec)
    }

    fn check(&self, kwargs: &ArchKwargs) -> Result<(), Error> {
        let stages = kwargs.n_stages;
        let lengths = [self.features.len(), self.kernels.len(), self.strides.len(), self.blocks.len(), self.decoder_convs.len() + 1];
        if stages < 2 || lengths != [stages; 5] {
            return Err(Error::Architecture(format!("n_stages is {stages}, but its lists have {lengths:?} entries")));
        }
        let dims = match last(&kwargs.conv_op) {
            "Conv2d" => 2,
            "Conv3d" => 3,
            other => return unsupported(&format!("convolution '{other}' (expected Conv2d or Conv3d)")),
        };
        if self.kernels.iter().chain(&self.strides).any(|sizes| sizes.len() != dims) {
            return Err(Error::Architecture(format!("a kernel or stride has not {dims} sizes, one for every axis of {}", kwargs.conv_op)));
        }
        Ok(())
    }
}

fn unsupported<T>(what: &str) -> Result<T, Error> {
    Err(Error::Architecture(format!("{what} is not there")))
}

/// The class of a Python path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

fn number(kwargs: Option<&Map<String, Value>>, key: &str, default: f64) -> f64 {
    kwargs.and_then(|kwargs| kwargs.get(key)).and_then(Value::as_f64).unwrap_or(default)
}

fn norm(kwargs: &ArchKwargs) -> Result<Option<NormSpec>, Error> {
    let Some(class) = &kwargs.norm_op else { return Ok(None) };
    let batch = match last(class) {
        "InstanceNorm2d" | "InstanceNorm3d" => false,
        "BatchNorm2d" | "BatchNorm3d" => true,
        other => return unsupported(&format!("normalisation '{other}' (expected InstanceNorm or BatchNorm)")),
    };
    let given = kwargs.norm_op_kwargs.as_ref();
    let flag = |key: &str, default| given.and_then(|given| given.get(key)).and_then(Value::as_bool).unwrap_or(default);
    if flag("track_running_stats", batch) != batch {
        return unsupported(&format!("{} with track_running_stats = {}", last(class), !batch));
    }
    // torch's defaults: only batch norm has weights unless it is told otherwise.
    let affine = flag("affine", batch);
    Ok(Some(NormSpec { batch, eps: number(given, "eps", 1e-5), affine, momentum: number(given, "momentum", 0.1) }))
}

fn dropout(kwargs: &ArchKwargs) -> Result<Option<Dropout>, Error> {
    let Some(class) = &kwargs.dropout_op else { return Ok(None) };
    let channels = match last(class) {
        "Dropout" => false,
        "Dropout2d" | "Dropout3d" => true,
        other => return unsupported(&format!("dropout '{other}' (expected Dropout, Dropout2d or Dropout3d)")),
    };
    let p = number(kwargs.dropout_op_kwargs.as_ref(), "p", 0.5);
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Architecture(format!("the dropout's p is {p}; expected at least 0 and less than 1")));
    }
    Ok(Some(Dropout { p, channels }))
}

fn nonlinearity(kwargs: &ArchKwargs) -> Result<Nonlinearity, Error> {
    match kwargs.nonlin.as_deref().map(last) {
        Some("LeakyReLU") => Ok(Nonlinearity::LeakyRelu(number(kwargs.nonlin_kwargs.as_ref(), "negative_slope", 0.01))),
        Some("ReLU") => Ok(Nonlinearity::Relu),
        other => unsupported(&format!("nonlinearity '{}' (expected LeakyReLU or ReLU)", other.unwrap_or("none"))),
    }
}
