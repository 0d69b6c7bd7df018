//! `ResidualEncoderUNet` of nnU-Net: a stem, then stages of residual blocks (`dynamic_network_architectures/architectures/unet.py`).

use super::super::unet::{BlockKind, Encoder, Unet};
use super::Class;
use data::plan::RESIDUAL;

pub(super) const CLASS: Class = Class {
    name: RESIDUAL.class,
    read: |kwargs| {
        let stage = |i| format!("encoder.stages.{i}");
        Ok(Box::new(Unet::read(kwargs, Encoder { blocks_key: RESIDUAL.blocks_key, block: BlockKind::Residual, has_stem: true, stage })?))
    },
};
