//! Which engine computes a trunk in prediction: libtorch, or the project's own on CPUs (`kernels`).
//!
//! The choice hangs on the processor's features and never on a clock, so that the same command computes the same numbers every time.

use super::Precision;
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

/// What computes the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// libtorch.
    Torch,
    /// The CPU engine, in single precision.
    Native,
}

/// An engine that was decided for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineChoice {
    /// What computes the trunk.
    pub engine: Engine,
    /// It was asked for by name: that it cannot compute a network is an error. Otherwise libtorch computes such networks.
    pub is_required: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// The faster one for this processor and precision
    #[default]
    Auto,
    /// libtorch
    Torch,
    /// The CPU engine: single precision, on processors with AVX2
    Native,
}

/// `--engine native` does not go with the rest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("--engine native computes in single precision on CPUs with AVX2, but {0}; leave out one of the two")]
pub struct Refused(String);

/// A processor as `choose` sees it.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Whether the CPU engine runs on it.
    pub runs_native: bool,
    /// Whether it multiplies in bfloat16 (AVX512-BF16, AMX).
    pub has_bf16: bool,
}

impl Processor {
    /// The one that this program runs on.
    pub fn this() -> Self {
        Self { runs_native: kernels::Instructions::best().is_some(), has_bf16: Precision::for_device(Device::Cpu) == Precision::Bf16 }
    }
}

/// Engine and precision. `precision` is what was asked for, `None` for `auto`; `like_nnunet` is `--nnunet-exact`.
///
/// | Processor | `--precision auto` | `fp32` |
/// |---|---|---|
/// | AVX2, AVX-512 | the CPU engine | the CPU engine |
/// | AVX512-BF16, AMX | libtorch in bf16 | the CPU engine |
/// | others | libtorch | libtorch |
///
/// # Errors
/// When `native` is asked for, and something else that it cannot do.
pub fn choose(
    name: EngineName,
    precision: Option<Precision>,
    like_nnunet: bool,
    device: Device,
    processor: Processor,
) -> Result<(EngineChoice, Precision), Refused> {
    let obstacle = if device != Device::Cpu {
        Some(format!("the device is {}", crate::device::name(device)))
    } else if like_nnunet {
        Some("--nnunet-exact is libtorch's arithmetic".to_owned())
    } else if let Some(precision) = precision.filter(|precision| *precision != Precision::Fp32) {
        Some(format!("the precision is {}", precision.name()))
    } else {
        (!processor.runs_native).then(|| "this processor lacks AVX2".to_owned())
    };
    // What libtorch computes in.
    let usual = match precision {
        Some(precision) => precision,
        // nnU-Net's arithmetic is single precision on CPUs and float16 on GPUs.
        None if like_nnunet && device.is_cuda() => Precision::Fp16,
        None if like_nnunet => Precision::Fp32,
        None => Precision::for_device(device),
    };
    let choice = |engine| EngineChoice { engine, is_required: name != EngineName::Auto };
    let torch = Ok((choice(Engine::Torch), usual));
    match (name, obstacle) {
        (EngineName::Torch, _) | (EngineName::Auto, Some(_)) => torch,
        (EngineName::Native, Some(obstacle)) => Err(Refused(obstacle)),
        (EngineName::Auto, None) if precision.is_none() && processor.has_bf16 => torch,
        (EngineName::Auto | EngineName::Native, None) => Ok((choice(Engine::Native), Precision::Fp32)),
    }
}

impl Engine {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Native => "native",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineName::{Auto, Native};
    use Precision::{Bf16, Fp32};

    const AVX2: Processor = Processor { runs_native: true, has_bf16: false };
    const AMX: Processor = Processor { runs_native: true, has_bf16: true };
    const OLD: Processor = Processor { runs_native: false, has_bf16: false };

    #[test]
    fn auto_is_the_faster_one() {
        let engine = |name, precision, exact, processor| {
            let (choice, precision) = choose(name, precision, exact, Device::Cpu, processor)?;
            Ok::<_, Refused>((choice.engine, precision))
        };
        let cpu = |name, precision, processor| engine(name, precision, false, processor);
        assert_eq!(cpu(Auto, None, AVX2), Ok((Engine::Native, Fp32)));
        assert_eq!(cpu(Auto, Some(Fp32), AMX), Ok((Engine::Native, Fp32)));
        assert_eq!(cpu(Auto, Some(Bf16), AVX2), Ok((Engine::Torch, Bf16)));
        assert_eq!(cpu(Native, None, AMX), Ok((Engine::Native, Fp32)));
        assert_eq!(cpu(Auto, Some(Fp32), OLD), Ok((Engine::Torch, Fp32)));
        assert_eq!(cpu(EngineName::Torch, Some(Fp32), AVX2), Ok((Engine::Torch, Fp32)));
        assert_eq!(engine(Auto, None, true, AVX2), Ok((Engine::Torch, Fp32)));
        assert_eq!(cpu(Auto, None, AMX).map(|(engine, _)| engine), Ok(Engine::Torch));
    }

    #[test]
    fn native_is_refused_with_the_reason() {
        let refusal =
            |precision, exact, device, processor| choose(Native, precision, exact, device, processor).expect_err("refused").to_string();
        assert!(refusal(Some(Bf16), false, Device::Cpu, AVX2).contains("but the precision is bf16; leave out"));
        assert!(refusal(None, true, Device::Cpu, AVX2).contains("--nnunet-exact"));
        assert!(refusal(None, false, Device::Cuda(1), AVX2).contains("the device is cuda:1"));
        assert!(refusal(None, false, Device::Cpu, OLD).contains("lacks AVX2"));
    }
}
