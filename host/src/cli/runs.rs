//! Arguments of `host runs`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `host runs …`. A run is the folder of a fold, or of a model with one fold, or the end of its path: `base__nnUNetPlans__3d_fullres/fold_0`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List all runs, and how far they are
    List {
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Show one run: what it was made with, and its numbers, epoch by epoch
    Show {
        /// The run
        run: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Compare runs, term by term and output by output, in a table and a chart
    Compare {
        /// The runs
        #[arg(required = true, num_args = 2.., value_name = "RUN")]
        runs: Vec<String>,
        /// The chart
        #[arg(long, default_value = "compare.png", value_name = "FILE")]
        png: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Test whether other runs are better than the first, case by case of their validations: differences, intervals, Wilcoxon's test, a plot
    Test {
        /// The runs: models with all their folds, or single folds
        #[arg(required = true, num_args = 2.., value_name = "RUN")]
        runs: Vec<String>,
        /// Folder of the report
        #[arg(long, default_value = "comparison", value_name = "DIR")]
        report: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Print the JSON Schema of the lines of metrics.jsonl
    Schema,
}

/// Where results are.
#[derive(Args, Clone, Debug)]
pub struct ResultsArgs {
    /// Where results are; default: nnUNet_results, else ./results
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
