//! `PlainConvUNet` of nnU-Net: an encoder of stacked convolutions (`dynamic_network_architectures/architectures/unet.py`).

use super::super::unet::{BlockKind, Encoder, Unet};
use super::Class;
use data::plan::PLAIN;

pub(super) const CLASS: Class = Class {
    name: PLAIN.class,
    read: |kwargs| {
        // nnU-Net wraps a stage of stacked convolutions, but not one of residual blocks.
        let stage = |i| format!("encoder.stages.{i}.0");
        Ok(Box::new(Unet::read(kwargs, Encoder { blocks_key: PLAIN.blocks_key, block: BlockKind::Plain, has_stem: false, stage })?))
    },
};
