//! Arguments of `host predict`.

use crate::config::PrecisionName;
use crate::network::EngineName;
use clap::{Args, ValueEnum};
use data::dataset::splits::Fold;
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments of `host predict`.
#[derive(Args, Clone, Debug)]
pub struct PredictArgs {
    /// Model folder, ours or nnU-Net's (plans.json, dataset.json, fold_0/checkpoint_final.safetensors or .pth), or a ZIP file of one
    #[arg(long, value_name = "DIR|ZIP")]
    pub model: PathBuf,

    /// Folders of images, or images such as CASE_0000.nii.gz, the number being that of the channel
    #[arg(long, required = true, num_args = 1.., value_name = "DIR|FILE")]
    pub input: Vec<PathBuf>,

    /// Where predictions go: those of the first output there, those of further outputs in folders of their own
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,

    /// Folds whose mean is predicted, e.g. 0,1,2 or all (the fold `all`); default: every numbered one that is there
    #[arg(long, value_delimiter = ',', value_name = "N|all")]
    pub folds: Vec<Fold>,

    /// Which checkpoint of every fold
    #[arg(long, value_enum, default_value_t)]
    pub checkpoint: CheckpointName,

    /// Mean over mirror images: on (as it was trained), off, or the axes, counted from 0, e.g. 0,2
    #[arg(long, default_value = "on", value_name = "on|off|AXES", help_heading = "Sliding window")]
    pub tta: Tta,

    /// From one tile to the next, as a share of the patch, at most
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", help_heading = "Sliding window")]
    pub step: f64,

    /// nnU-Net's arithmetic: sums of logits in float16, and single precision unless --precision says otherwise
    #[arg(long, help_heading = "Sliding window")]
    pub nnunet_exact: bool,

    /// Write probabilities of label maps, too, as CASE.npz
    #[arg(long, help_heading = "What is written")]
    pub save_probabilities: bool,

    /// Write a mask of every region, too, in folders of their own: in a label map later regions hide earlier ones
    #[arg(long, help_heading = "What is written")]
    pub separate_regions: bool,

    /// Keep the largest connected component only: of all foreground at once, or of every label that is named, e.g. liver,spleen
    #[arg(long, num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = FOREGROUND, value_name = "LABELS", help_heading = "What is written")]
    pub largest_component: Vec<String>,

    /// Draw the first 32 cases, below each other: three planes, a row for every output
    #[arg(long, value_name = "PNG", help_heading = "What is written")]
    pub preview: Option<PathBuf>,

    /// Leave out cases whose files are there already
    #[arg(long = "continue", help_heading = "Which cases")]
    pub go_on: bool,

    /// Only every m-th case, from the n-th on: 1/4, 2/4, 3/4 and 4/4 on four machines are all cases
    #[arg(long, default_value = "1/1", value_name = "n/m", help_heading = "Which cases")]
    pub parts: Part,

    /// Plugin of the network: an id or a path; default: the id that the checkpoint names
    #[arg(long, value_name = "ID|PATH")]
    pub plugin: Option<String>,

    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Machine")]
    pub device: String,

    /// Arithmetic of the network
    #[arg(long, value_enum, default_value = "auto", help_heading = "Machine")]
    pub precision: PrecisionName,

    /// What computes the network's trunk on CPUs
    #[arg(long, value_enum, default_value_t, help_heading = "Machine")]
    pub engine: EngineName,

    /// Threads of the network; default: all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub threads: Option<u16>,
}

/// What `--largest-component` means without a value.
pub const FOREGROUND: &str = "foreground";

/// Which checkpoint of a fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckpointName {
    /// After the last epoch.
    #[default]
    Final,
    /// With the best moving average of its metric.
    Best,
    /// The newest.
    Latest,
}

impl CheckpointName {
    /// As files are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Best => "best",
            Self::Latest => "latest",
        }
    }
}

/// Mirror images in prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tta {
    /// Along the axes of training.
    On,
    /// None.
    Off,
    /// Along these.
    Axes(Vec<usize>),
}

impl FromStr for Tta {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => {
                let axes: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
                let axes = axes.map_err(|_| format!("'{text}' is neither on nor off, nor axes such as 0,1,2"))?;
                let twice = axes.iter().enumerate().any(|(i, axis)| axes[..i].contains(axis));
                if twice { Err(format!("'{text}' names an axis twice")) } else { Ok(Self::Axes(axes)) }
            }
        }
    }
}

/// One of several equal parts of the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0 on.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

impl Part {
    /// Name of the file that says what computed it.
    pub fn record(self) -> String {
        match self.count {
            1 => "prediction.json".to_owned(),
            count => format!("prediction_{}_of_{count}.json", self.index + 1),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(n, m)| Some((n.parse::<usize>().ok()?, m.parse().ok()?)));
        match numbers {
            Some((n, count)) if (1..=count).contains(&n) => Ok(Self { index: n - 1, count }),
            _ => Err(format!("'{text}' is no part; expected n/m with n from 1 to m, e.g. 1/4")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_understood_or_refused_by_name() {
        assert_eq!("0,2".parse(), Ok(Tta::Axes(vec![0, 2])));
        assert!("maybe".parse::<Tta>().unwrap_err().contains("neither on nor off"));
        assert!("1,1".parse::<Tta>().unwrap_err().contains("twice"));
        assert_eq!("2/4".parse(), Ok(Part { index: 1, count: 4 }));
        for wrong in ["0/4", "5/4", "1", "a/b"] {
            assert!(wrong.parse::<Part>().unwrap_err().contains("expected n/m"), "{wrong}");
        }
    }
}
