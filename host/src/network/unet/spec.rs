//! What the arguments of a U-Net ask for, read once and checked: [`Unet`] is all that its layers are built from.

use super::super::Error;
use data::plan::{PLAIN, RESIDUAL};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value};

/// A U-Net of the plan.
#[derive(Debug)]
pub(in super::super) struct Unet {
    pub(super) encoder: Encoder,
    /// Feature channels of every stage, finest first.
    pub(super) features: Vec<i64>,
    /// Convolution kernel of every stage.
    pub(super) kernels: Vec<Vec<i64>>,
    /// Stride at the entrance of every stage.
    pub(super) strides: Vec<Vec<i64>>,
    /// Blocks of every encoder stage.
    pub(super) blocks: Vec<i64>,
    /// Convolutions of every decoder stage, coarsest first.
    pub(super) decoder_convs: Vec<i64>,
    pub(super) layers: LayerSpec,
    pub(super) deep_supervision: bool,
}

/// In what encoders differ.
#[derive(Debug)]
pub(in super::super) struct Encoder {
    /// The class's argument with the number of blocks of every stage.
    pub blocks_key: &'static str,
    pub block: BlockKind,
    /// Whether a single convolution comes before the first stage.
    pub has_stem: bool,
    /// nnU-Net's name of a stage.
    pub stage: fn(usize) -> String,
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) enum BlockKind {
    /// A convolution.
    Plain,
    /// Two convolutions and a shortcut.
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

/// Arguments that all U-Nets of nnU-Net have.
#[derive(Deserialize)]
struct Kwargs {
    n_stages: Value,
    features_per_stage: Value,
    conv_op: String,
    kernel_sizes: Value,
    strides: Value,
    n_conv_per_stage_decoder: Value,
    conv_bias: bool,
    norm_op: Option<String>,
    norm_op_kwargs: Option<Map<String, Value>>,
    dropout_op: Option<String>,
    dropout_op_kwargs: Option<Map<String, Value>>,
    nonlin: Option<String>,
    nonlin_kwargs: Option<Map<String, Value>>,
    /// Of the encoder, and what these classes take beyond nnU-Net's planners.
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// The numbers of an encoder's blocks, as classes call them.
const BLOCKS_KEYS: [&str; 2] = [PLAIN.blocks_key, RESIDUAL.blocks_key];

/// Far beyond any network that was ever trained, and small enough that nothing computed from them overflows: plans may be a stranger's.
const MOST_STAGES: usize = 32;
const MOST_FEATURES: i64 = 1 << 15;
const LARGEST_KERNEL: i64 = 127;
const LARGEST_STRIDE: i64 = i32::MAX as i64;
const MOST_BLOCKS: i64 = 256;

impl Unet {
    /// Reads `arch_kwargs`.
    ///
    /// # Errors
    /// Names what is not there, or does not fit together.
    pub fn read(arch_kwargs: &Map<String, Value>, encoder: Encoder) -> Result<Self, Error> {
        let wrong = |error: serde_json::Error| Error::Architecture(format!("{error}; expected the arguments that nnU-Net writes"));
        let mut kwargs: Kwargs = read(&Value::Object(arch_kwargs.clone())).map_err(wrong)?;
        let missing = || wrong(serde_json::Error::missing_field(encoder.blocks_key));
        let blocks = kwargs.further.shift_remove(encoder.blocks_key).ok_or_else(missing)?;
        let deep_supervision = kwargs.further.shift_remove("deep_supervision") != Some(Value::Bool(false));
        // The other classes' numbers of blocks were never refused: plans and checkpoints may have them.
        kwargs.further.retain(|key, _| !BLOCKS_KEYS.contains(&key.as_str()));
        // At these values, further arguments change nothing.
        let harmless = |value: &Value| value.is_null() || *value == Value::Bool(false) || *value == 0.0;
        if let Some((key, value)) = kwargs.further.iter().find(|(_, value)| !harmless(value)) {
            return unsupported(&format!("the network's argument {key} = {value}"));
        }
        let stages: Option<usize> = read(&kwargs.n_stages).ok();
        let stages = stages.filter(|stages| (2..=MOST_STAGES).contains(stages));
        let stages = stages.ok_or_else(|| other("n_stages", &kwargs.n_stages, &format!("2 to {MOST_STAGES}")))?;
        let dims = match last(&kwargs.conv_op) {
            "Conv2d" => 2,
            "Conv3d" => 3,
            other => return unsupported(&format!("convolution '{other}' (expected Conv2d or Conv3d)")),
        };
        Ok(Self {
            features: numbers("features_per_stage", &kwargs.features_per_stage, stages, MOST_FEATURES)?,
            kernels: rows("kernel_sizes", &kwargs.kernel_sizes, [stages, dims], LARGEST_KERNEL)?,
            strides: rows("strides", &kwargs.strides, [stages, dims], LARGEST_STRIDE)?,
            blocks: numbers(encoder.blocks_key, &blocks, stages, MOST_BLOCKS)?,
            decoder_convs: numbers("n_conv_per_stage_decoder", &kwargs.n_conv_per_stage_decoder, stages - 1, MOST_BLOCKS)?,
            layers: LayerSpec {
                bias: kwargs.conv_bias,
                dropout: dropout(&kwargs)?,
                norm: norm(&kwargs)?,
                nonlinearity: nonlinearity(&kwargs)?,
            },
            encoder,
            deep_supervision,
        })
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// A list of `count` numbers of at most `most`.
fn numbers(key: &str, value: &Value, count: usize, most: i64) -> Result<Vec<i64>, Error> {
    let found: Option<Vec<i64>> = read(value).ok();
    let fits = |numbers: &Vec<i64>| numbers.len() == count && numbers.iter().all(|number| (1..=most).contains(number));
    found.filter(fits).ok_or_else(|| other(key, value, &format!("{count} positive numbers of at most {most}")))
}

/// A list of `count` lists of `dims` numbers of at most `most`.
fn rows(key: &str, value: &Value, [count, dims]: [usize; 2], most: i64) -> Result<Vec<Vec<i64>>, Error> {
    let rows = value.as_array().filter(|rows| rows.len() == count);
    let rows = rows.and_then(|rows| rows.iter().map(|row| numbers(key, row, dims, most).ok()).collect());
    rows.ok_or_else(|| other(key, value, &format!("{count} lists of {dims} positive numbers of at most {most}")))
}

fn other(key: &str, found: &Value, expected: &str) -> Error {
    Error::Architecture(format!("{key} is {found}; expected {expected}"))
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

fn norm(kwargs: &Kwargs) -> Result<Option<NormSpec>, Error> {
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

fn dropout(kwargs: &Kwargs) -> Result<Option<Dropout>, Error> {
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

fn nonlinearity(kwargs: &Kwargs) -> Result<Nonlinearity, Error> {
    match kwargs.nonlin.as_deref().map(last) {
        Some("LeakyReLU") => Ok(Nonlinearity::LeakyRelu(number(kwargs.nonlin_kwargs.as_ref(), "negative_slope", 0.01))),
        Some("ReLU") => Ok(Nonlinearity::Relu),
        other => unsupported(&format!("nonlinearity '{}' (expected LeakyReLU or ReLU)", other.unwrap_or("none"))),
    }
}
