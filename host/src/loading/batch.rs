//! What a training step gets.

use indexmap::IndexMap;

/// A dense array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// All elements.
    pub data: Vec<T>,
}

impl<T: Copy> Array<T> {
    /// An array that holds `value` everywhere.
    pub fn filled(shape: Vec<usize>, value: T) -> Self {
        let data = vec![value; shape.iter().product()];
        Self { shape, data }
    }

    /// The part that belongs to index `index` of the first axis.
    pub(super) fn slot(&mut self, index: usize) -> &mut [T] {
        let size = self.shape[1..].iter().product::<usize>();
        &mut self.data[index * size..(index + 1) * size]
    }
}

/// Patches of several cases, with everything that is to be learned from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (B, C, Z, Y, X); Z = 1 in 2D.
    pub image: Array<f32>,
    /// Ids of the cases, (B,).
    pub cases: Vec<String>,
    /// By name.
    pub targets: IndexMap<String, TargetBatch>,
}

/// The patches of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetBatch {
    /// Its values. Those of cases that lack the target are zero.
    pub levels: Levels,
    /// For each level (B, 1, Z, Y, X): where the target says anything. False where a case lacks it, and for regression outside
    /// the volume. Empty when it says something everywhere, and for classes of whole cases, where `presence` tells.
    pub valid: Vec<Array<bool>>,
    /// (B,): whether the case has this target.
    pub presence: Vec<bool>,
}

/// Values of a target, one array for each level of deep supervision, finest first.
#[derive(Clone, Debug, PartialEq)]
pub enum Levels {
    /// (B, 1, Z, Y, X). What lies outside is background (0); the ignore label is kept.
    Labels(Vec<Array<i64>>),
    /// (B, R, Z, Y, X): one channel for each region, in the order of `Labels::foreground`; with an ignore label one more, which
    /// is true where that is.
    Regions(Vec<Array<bool>>),
    /// (B, C, Z, Y, X).
    Regression(Vec<Array<f32>>),
    /// (B,): index of the class of the whole case.
    Class(Array<i64>),
}
