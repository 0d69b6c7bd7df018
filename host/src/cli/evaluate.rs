//! Arguments of `host evaluate`.

use super::CaseThreads;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `host evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// Folder of references, such as labelsTr; for classes the JSON file from case to class
    pub reference: PathBuf,

    /// Folder of predictions
    pub prediction: PathBuf,

    /// What labels mean; default: the dataset.json in the folder of predictions, or the nearest above it
    #[arg(long, value_name = "FILE")]
    pub dataset_json: Option<PathBuf>,

    /// Target of dataset.json that was predicted
    #[arg(long, default_value = "segmentation", value_name = "NAME")]
    pub target: String,

    /// Surfaces that are at most so many mm apart count as equal (NSD)
    #[arg(long, default_value_t = data::evaluate::TOLERANCE, value_name = "MM")]
    pub tolerance: f64,

    /// Compare files voxel by voxel although their headers say that they do not lie on each other
    #[arg(long)]
    pub ignore_geometry: bool,

    /// Cases without a prediction are no failure
    #[arg(long)]
    pub chill: bool,

    /// Where summary.json and cases.csv go; default: the folder of predictions
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,
}
