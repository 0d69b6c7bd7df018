//! What is lent to a plugin for a call, by name, and whether the plugin wrote to it.
//!
//! Arms of a comparison share batches, and the host measures predictions after the loss has seen them: a write in place would make another arm's
//! training, or a metric, silently wrong. libtorch counts writes in place, so looking costs two numbers a tensor.

use crate::shim::versions;
use plugin_api::{Batch, Features, Outputs};
use std::fmt;
use tch::Tensor;

/// The name of a tensor that is lent.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// A decoder map.
    Decoder(usize),
    /// The last encoder stage.
    Bottleneck,
    /// An encoder map.
    Skip(usize),
    /// A level of an output.
    Output(&'a str, usize),
    /// The images.
    Image,
    /// A level of a target.
    Target(&'a str, usize),
    /// Where that level may be believed.
    Valid(&'a str, usize),
    /// Which cases have the target.
    Presence(&'a str),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decoder(level) => write!(f, "features.decoder[{level}]"),
            Self::Bottleneck => f.write_str("features.bottleneck"),
            Self::Skip(level) => write!(f, "features.skips[{level}]"),
            Self::Output(name, level) => write!(f, "level {level} of output '{name}'"),
            Self::Image => f.write_str("batch.image"),
            Self::Target(name, level) => write!(f, "level {level} of target '{name}'"),
            Self::Valid(name, level) => write!(f, "the validity of level {level} of target '{name}'"),
            Self::Presence(name) => write!(f, "the presence of target '{name}'"),
        }
    }
}

/// Tensors that are lent, by name.
pub type Lent<'a> = Vec<(Name<'a>, &'a Tensor)>;

/// All maps of `features`.
pub fn of_features(features: &Features) -> Lent<'_> {
    let decoder = features.decoder.iter().enumerate().map(|(level, map)| (Name::Decoder(level), map));
    let skips = features.skips.iter().enumerate().map(|(level, map)| (Name::Skip(level), map));
    decoder.chain([(Name::Bottleneck, &features.bottleneck)]).chain(skips).collect()
}

/// All levels of `outputs`.
pub fn of_outputs(outputs: &Outputs) -> Lent<'_> {
    outputs.iter().flat_map(|(name, levels)| levels.iter().enumerate().map(move |(level, map)| (Name::Output(name, level), map))).collect()
}

/// All levels of `outputs`, and everything of `batch`.
pub fn of_loss<'a>(outputs: &'a Outputs, batch: &'a Batch) -> Lent<'a> {
    let mut lent = of_outputs(outputs);
    lent.push((Name::Image, &batch.image));
    for (name, target) in &batch.targets {
        lent.extend(target.levels.iter().enumerate().map(|(level, map)| (Name::Target(name, level), map)));
        lent.extend(target.valid.iter().enumerate().map(|(level, map)| (Name::Valid(name, level), map)));
        lent.push((Name::Presence(name), &target.presence));
    }
    lent
}

/// Tensors as they were before a call.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    lent: Lent<'a>,
    before: Vec<u32>,
}

impl<'a> Watched<'a> {
    pub fn new(lent: Lent<'a>) -> Self {
        let before = versions(lent.iter().map(|(_, tensor)| *tensor));
        Self { lent, before }
    }

    /// The first tensor that was written to since.
    pub fn written(&self) -> Option<Name<'a>> {
        let now = versions(self.lent.iter().map(|(_, tensor)| *tensor));
        self.lent.iter().zip(&self.before).zip(now).find(|((_, before), now)| *before != now).map(|(((name, _), _), _)| *name)
    }
}
