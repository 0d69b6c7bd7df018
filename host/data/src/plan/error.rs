//! What can be wrong with plans, in one line each.

use std::path::PathBuf;

/// What can be wrong with plans.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read ({source}); check that it exists and may be read", .path.display())]
    Read {
        /// The plans file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] imaging::io::Error),
    /// The file is no plans file.
    #[error("{}: is no plans file ({source}); expected what nnU-Net's planner or this program writes: correct it, or remove it and plan anew", .path.display())]
    Json {
        /// The plans file.
        path: PathBuf,
        /// Where and why.
        source: imaging::io::JsonError,
    },
    /// The two transpositions do not undo each other.
    #[error("{}: transpose_forward {forward:?} and transpose_backward {backward:?}; expected two orders of the axes 0, 1, 2 that undo each other", .path.display())]
    Transpose {
        /// The plans file.
        path: PathBuf,
        /// From image to preprocessed axes.
        forward: [usize; 3],
        /// And back.
        backward: [usize; 3],
    },
    /// The file is somebody's own.
    #[error("{}: was not written by this program, or was edited since, and is left as it is; preprocess by it (host preprocess), plan under another name (--plans), or replace it (--overwrite)", .path.display())]
    NotOurs {
        /// The plans file.
        path: PathBuf,
    },
    /// The plans do not have a configuration.
    #[error("configuration {name:?} is not in plans {plans:?}; {hint}")]
    UnknownConfiguration {
        /// The plans.
        plans: String,
        /// What was asked for.
        name: String,
        /// What there is.
        hint: String,
    },
    /// Configurations inherit from each other in a circle.
    #[error("plans {plans:?}: inherits_from goes in a circle ({chain}); let one of them stand on its own")]
    Circular {
        /// The plans.
        plans: String,
        /// The configurations in the order of their inheritance.
        chain: String,
    },
    /// A configuration lacks keys or has some of the wrong type.
    #[error("configuration {name:?} of the plans: {source}; expected the keys that nnU-Net writes: plan anew or correct it")]
    Configuration {
        /// The configuration.
        name: String,
        /// Which key.
        source: serde_json::Error,
    },
    /// A configuration's values do not fit together.
    #[error("configuration {name:?} of the plans: {key} is {found}; expected {expected}")]
    Value {
        /// The configuration.
        name: String,
        /// Which key.
        key: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A configuration asks for what this version does not have.
    #[error("configuration {name:?} of the plans: {key} is {found:?}, which this version does not have; it has {available}")]
    NotThere {
        /// The configuration.
        name: String,
        /// Which key.
        key: String,
        /// What is there.
        found: String,
        /// What can be used instead.
        available: String,
    },
    /// There is no such planner.
    #[error("there is no planner {name:?}; {hint}")]
    UnknownPlanner {
        /// What was asked for.
        name: String,
        /// What there is.
        hint: String,
    },
    /// An option of planning makes no sense.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// What it is about.
        option: &'static str,
        /// What was given.
        found: String,
        /// What can be given.
        expected: &'static str,
    },
    /// Plans for images that somebody's own class reads.
    #[error(
        "plans {plans:?}: image_reader_writer is {reader:?}, which is not one of nnU-Net's own; this program reads as {available} do: name that of them which reads the same files in the same way"
    )]
    UnknownReader {
        /// The plans.
        plans: String,
        /// The class.
        reader: String,
        /// Those that there are.
        available: String,
    },
    /// A patch that the network cannot halve as often as it has to.
    #[error(
        "patch size {found} does not fit the network; expected multiples of {divisor} with more than one voxel at the bottleneck, nearest: {nearest}"
    )]
    Patch {
        /// What was given.
        found: String,
        /// Product of the strides along each axis.
        divisor: String,
        /// Sizes that fit.
        nearest: String,
    },
    /// A patch beyond any memory.
    #[error("patch size {found} has more than the {most} voxels that an image may have (--max-voxels); expected a smaller one")]
    LargePatch {
        /// What was given.
        found: String,
        /// The limit.
        most: u64,
    },
    /// No patch is small enough for the memory target.
    #[error(
        "no patch size found whose network fits {memory_gb} GB with {classes} classes; plan for more memory, use fewer classes, or write plans by hand"
    )]
    DoesNotFit {
        /// Memory that was planned for.
        memory_gb: f64,
        /// Number of classes.
        classes: usize,
    },
    /// No network can be planned for the proportions of the data.
    #[error(
        "no network can be planned at spacing {spacing:?}: {reason}; check the spacing of the images, or plan for another target spacing"
    )]
    NoNetwork {
        /// In transposed axes, in mm.
        spacing: Vec<f64>,
        /// What would be wrong with it.
        reason: String,
    },
    /// A fingerprint with nothing in it.
    #[error("the fingerprint has {found}; expected at least one case, all with positive spacing and shape: extract it anew")]
    Fingerprint {
        /// What it has.
        found: String,
    },
}
