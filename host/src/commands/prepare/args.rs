//! Arguments of the commands before training: fingerprint, plan, preprocess.

use std::str::FromStr;

use clap::Args;

use super::super::place::CaseThreads;
use crate::config::{Arguments, Data};
use data::name::Name;
use data::plan::PlannerKind;

/// Arguments of `host fingerprint`.
#[derive(Args, Debug)]
pub struct FingerprintArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Arguments<Data>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Extract it although it is there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
}

/// How it is planned.
#[derive(Args, Debug)]
pub struct PlannerArgs {
    /// Which of nnU-Net's planners
    #[arg(long, default_value = "default", value_name = "NAME", value_parser = PlannerKind::from_str, help_heading = "Planning")]
    pub planner: PlannerKind,

    /// Name of the plans; default: the planner's, e.g. nnUNetPlans
    #[arg(long, value_name = "NAME", help_heading = "Planning")]
    pub plans: Option<Name>,

    /// Memory in GB that the networks may need; default: the planner's. Give such plans a name of their own (--plans)
    #[arg(long, value_name = "GB", help_heading = "Planning")]
    pub gpu_memory: Option<f64>,

    /// Spacing in mm of 3d_fullres, in the axes of the files; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "Z,Y,X", help_heading = "Planning")]
    pub spacing: Vec<f64>,
}

/// Arguments of `host plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Arguments<Data>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub planner: PlannerArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Replace plans of that name that are nnU-Net's or were edited, and (plan-and-preprocess) cases that are there; added configurations stay
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
}

/// Arguments of `host preprocess`.
#[derive(Args, Debug)]
pub struct PreprocessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Arguments<Data>,

    /// Name of the plans
    #[arg(long, default_value = "nnUNetPlans", value_name = "NAME")]
    pub plans: Name,

    /// Configurations, separated by commas; default: all of the plans
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub configuration: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Preprocess also the cases that are there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,

    /// Only list and remove what was preprocessed for plans or labels that are no longer there, unless another program uses it
    #[arg(long, conflicts_with_all = ["overwrite", "configuration", "plans"], help_heading = "Files")]
    pub clean: bool,
}

/// Arguments of `host plan-and-preprocess`.
#[derive(Args, Debug)]
pub struct PlanAndPreprocessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub plan: PlanArgs,

    /// Configurations, separated by commas; default: all of the plans
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub configuration: Vec<String>,
}
