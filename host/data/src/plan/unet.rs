//! The networks that nnU-Net's planners plan: U-Nets with a plain or a residual encoder.

use serde_json::{Map, Value, json};

use super::Architecture;

/// A U-Net of nnU-Net's planners.
#[derive(Debug)]
pub struct PlannedUnet {
    /// nnU-Net's class.
    pub class: &'static str,
    /// The module that plans of nnU-Net 2.0 to 2.2 have it from.
    legacy_module: &'static str,
    /// The class's name for the numbers of blocks.
    pub blocks_key: &'static str,
    /// Blocks of the encoder's stages; as many as the deepest network has that nnU-Net can plan.
    pub(super) blocks: &'static [usize],
    /// Convolutions of the decoder's stages, coarsest first.
    pub(super) decoder_convs: &'static [usize],
    /// Convolutions of every block, and of every stage beside its blocks.
    convs: [usize; 2],
    /// Whether planners compare the memory that it needs at the batch size that their reference value is for, rather than at batch size 2.
    pub(super) at_reference_batch: bool,
}

/// `PlainConvUNet`. nnU-Net lists 14 stages of the encoder.
pub const PLAIN: PlannedUnet = PlannedUnet {
    class: "PlainConvUNet",
    legacy_module: "unet",
    blocks_key: "n_conv_per_stage",
    blocks: &[2; 14],
    decoder_convs: &[2; 13],
    convs: [1, 0],
    at_reference_batch: false,
};

/// `ResidualEncoderUNet`. A block has two convolutions. Every stage has one more: the skip of its first block, and the first stage the stem.
pub const RESIDUAL: PlannedUnet = PlannedUnet {
    class: "ResidualEncoderUNet",
    legacy_module: "residual_unet",
    blocks_key: "n_blocks_per_stage",
    blocks: &[1, 3, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
    decoder_convs: &[1; 12],
    convs: [2, 1],
    at_reference_batch: true,
};

const UNETS: [&PlannedUnet; 2] = [&PLAIN, &RESIDUAL];

/// The stages of a network, finest first.
pub(super) struct Stages {
    pub features: Vec<usize>,
    pub kernel_sizes: Vec<Vec<usize>>,
    /// At the entrance of every stage; all 1 for the first.
    pub strides: Vec<Vec<usize>>,
    pub blocks: Vec<usize>,
    /// Coarsest first, without the bottleneck.
    pub decoder_convs: Vec<usize>,
}

impl PlannedUnet {
    /// The U-Net that plans of nnU-Net 2.0 to 2.2 call `class`.
    pub(super) fn of_legacy(class: &str) -> Option<&'static Self> {
        UNETS.into_iter().find(|unet| unet.class == class)
    }

    /// Names of all classes, for messages.
    pub(super) fn classes() -> String {
        UNETS.map(|unet| unet.class).join(" or ")
    }

    /// Convolutions of every stage of the encoder, as far as memory is concerned.
    pub(super) fn encoder_convs(&self) -> impl Iterator<Item = usize> {
        let [of_block, beside] = self.convs;
        self.blocks.iter().map(move |blocks| blocks * of_block + beside)
    }

    /// The section of plans of today's nnU-Net.
    pub(super) fn architecture(&self, dims: usize, stages: Stages) -> Architecture {
        self.in_module("unet", dims, stages)
    }

    /// The section that nnU-Net makes of its older plans.
    pub(super) fn legacy_architecture(&self, dims: usize, stages: Stages) -> Architecture {
        self.in_module(self.legacy_module, dims, stages)
    }

    /// What all these networks share: convolutions with bias, instance norm, leaky ReLU.
    fn in_module(&self, module: &str, dims: usize, stages: Stages) -> Architecture {
        let Stages { features, kernel_sizes, strides, blocks, decoder_convs } = stages;
        let kwargs = [
            ("n_stages", json!(features.len())),
            ("features_per_stage", json!(features)),
            ("conv_op", json!(format!("torch.nn.modules.conv.Conv{dims}d"))),
            ("kernel_sizes", json!(kernel_sizes)),
            ("strides", json!(strides)),
            (self.blocks_key, json!(blocks)),
            ("n_conv_per_stage_decoder", json!(decoder_convs)),
            ("conv_bias", json!(true)),
            ("norm_op", json!(format!("torch.nn.modules.instancenorm.InstanceNorm{dims}d"))),
            ("norm_op_kwargs", json!({"eps": 1e-5, "affine": true})),
            ("dropout_op", Value::Null),
            ("dropout_op_kwargs", Value::Null),
            ("nonlin", json!("torch.nn.LeakyReLU")),
            ("nonlin_kwargs", json!({"inplace": true})),
        ];
        Architecture {
            network_class_name: format!("dynamic_network_architectures.architectures.{module}.{}", self.class),
            arch_kwargs: kwargs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<Map<_, _>>(),
            kw_requires_import: ["conv_op", "norm_op", "dropout_op", "nonlin"].map(str::to_owned).to_vec(),
        }
    }
}

/// Feature channels of every stage: `first`, then twice as many every further stage, at most `most`.
pub(super) fn features(first: usize, stages: usize, most: usize) -> Vec<usize> {
    let at = |stage| u32::try_from(stage).map_or(usize::MAX, |stage| first.saturating_mul(2usize.saturating_pow(stage)));
    (0..stages).map(|stage| at(stage).min(most)).collect()
}
