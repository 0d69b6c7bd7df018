//! Which label a voxel gets: its logits are shown class after class, and none is kept but the largest.

use crate::multiversion::multiversion;

/// How logits decide on labels, and the label of every class.
#[derive(Clone, Copy)]
pub(super) enum Decision<'a> {
    /// The first class with the largest logit.
    Largest(&'a [i16]),
    /// The last class whose logit is positive, else 0.
    Positive(&'a [i16]),
}

impl<'a> Decision<'a> {
    pub fn labels(self) -> &'a [i16] {
        match self {
            Self::Largest(labels) | Self::Positive(labels) => labels,
        }
    }

    /// Prepares some voxels for their first class.
    pub fn start(self, largest: &mut [f32], labels: &mut [i16]) {
        match self {
            Self::Largest(values) => {
                largest.fill(f32::NEG_INFINITY);
                labels.fill(values[0]);
            }
            Self::Positive(_) => labels.fill(0),
        }
    }

    /// Takes the logits of `class` into account; all slices are about the same voxels.
    pub fn take(self, class: usize, logits: &[f32], largest: &mut [f32], labels: &mut [i16]) {
        match self {
            Self::Largest(values) => keep_largest(logits, values[class], largest, labels),
            Self::Positive(values) => paint_positive(logits, values[class], labels),
        }
    }
}

multiversion! {
    fn keep_largest(logits: &[f32], value: i16, largest: &mut [f32], labels: &mut [i16]) {
        for ((&logit, largest), label) in logits.iter().zip(largest).zip(labels) {
            // Not so for NaN; nor among equals, where the first stays.
            let wins = logit > *largest;
            *largest = if wins { logit } else { *largest };
            *label = if wins { value } else { *label };
        }
    }
}

multiversion! {
    fn paint_positive(logits: &[f32], value: i16, labels: &mut [i16]) {
        for (&logit, label) in logits.iter().zip(labels) {
            *label = if logit > 0.0 { value } else { *label };
        }
    }
}
