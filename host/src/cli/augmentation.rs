//! Arguments that say how training patches are varied, and of the commands that show it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{Arguments, Augmenting, Data, Foreground, PlanChoice};

/// `host augmentation …`.
#[derive(Debug, Subcommand)]
pub enum AugmentationCommand {
    /// Print an augmentation with all its parameters, as the JSON that `--augmentation FILE` takes
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        augmentation: Arguments<Augmenting>,
        /// Patch that it is for: ranges follow from its shape
        #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X", default_value = "128,128,128")]
        patch_size: Vec<usize>,
    },
    /// Draw patches of a preprocessed case before and after augmentation: image, every target, and both together
    Preview(PreviewArgs),
}

/// Arguments of `host augmentation preview`.
#[derive(Args, Debug)]
pub struct PreviewArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Arguments<Data>,

    /// Id of the case; default: the first
    #[arg(long, value_name = "ID")]
    pub case: Option<String>,

    /// Number of patches
    #[arg(short = 'n', long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub number: u16,

    /// The picture
    #[arg(long, default_value = "augmentation.png", value_name = "OUT")]
    pub png: PathBuf,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub planned: Arguments<PlanChoice>,

    /// Patch in voxels; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X")]
    pub patch_size: Vec<usize>,

    /// Decides which patches and how they are varied
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub augmentation: Arguments<Augmenting>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub foreground: Arguments<Foreground>,
}
