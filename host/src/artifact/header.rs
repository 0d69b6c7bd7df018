//! The header of a checkpoint: JSON under one metadata key of its safetensors file. It only grows: what is newer than the first checkpoints is left
//! out, or has a default.

use super::{Identity, Origin, Streams};
use crate::model::ProbeForm;
use serde::{Deserialize, Serialize};

/// The one metadata key: several would be written in random order.
pub(super) const KEY: &str = "checkpoint";

/// All of it, of a checkpoint that a training goes on with: where the training stands, in the training's own words, and whose it is.
#[derive(Serialize, Deserialize)]
pub(super) struct TrainingHeader<Progress> {
    pub progress: Progress,
    pub identity: Identity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeForm>,
}

/// What of it is about the network: all that weights without a training have.
#[derive(Serialize, Deserialize)]
pub(super) struct NetworkHeader {
    pub identity: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeForm>,
}

/// What its random numbers are keyed by, from the JSON at the beginning of a safetensors file; `None` where this is no checkpoint of ours.
pub(super) fn streams(json: &[u8]) -> Option<Streams> {
    #[derive(Deserialize)]
    struct Header {
        identity: Keyed,
    }
    #[derive(Deserialize)]
    struct Keyed {
        #[serde(default)]
        streams: Streams,
    }
    // A header of safetensors is an object of tensors by name, and one of what else there is to say.
    let all: serde_json::Value = serde_json::from_slice(json).ok()?;
    let header: Header = serde_json::from_str(all["__metadata__"][KEY].as_str()?).ok()?;
    Some(header.identity.streams)
}
