//! `PlainConvUNet` of nnU-Net: an encoder of stacked convolutions (`dynamic_network_architectures/architectures/unet.py`).

use super::super::unet::{BlockKind, Encoder, Unet};
use super::Class;

pub(super) const CLASS: Class = Class {
    name: "PlainConvUNet",
    read: |kwargs| {
        // nnU-Net wraps a stage of stacked convolutions, but not one of residual blocks.
        let stage = |i| format!("encoder.stages.{i}.0");
        Ok(Box::new(Unet::read(kwargs, Encoder { blocks_key: "n_conv_per_stage", block: BlockKind::Plain, has_stem: false, stage })?))
    },
};
