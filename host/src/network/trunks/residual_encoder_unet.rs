//! `ResidualEncoderUNet` of nnU-Net: a stem, then stages of residual blocks (`dynamic_network_architectures/architectures/unet.py`).

use super::super::unet::{BlockKind, Encoder, Unet};
use super::Class;

pub(super) const CLASS: Class = Class {
    name: "ResidualEncoderUNet",
    read: |kwargs| {
        let stage = |i| format!("encoder.stages.{i}");
        Ok(Box::new(Unet::read(kwargs, Encoder { blocks_key: "n_blocks_per_stage", block: BlockKind::Residual, has_stem: true, stage })?))
    },
};
