//! Arguments that name several runs, to be trained side by side on the same batches.

use crate::config::Layer;
use clap::Args;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::str::FromStr;

/// Several runs instead of one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Comparison")]
pub struct ArmsArgs {
    /// One of several runs that are trained on identical batches and then compared: a name, its plugin, and a JSON file of options, e.g. a=base
    /// or b=multi-output:b.json; once for each, the first is what the others are compared with. --set then begins with a name: b.outputs.…
    #[arg(long, value_name = "NAME=PLUGIN[:OPTIONS.json]", conflicts_with = "plugin")]
    pub arm: Vec<ArmArg>,

    /// Arguments of one arm's optimiser and weighting alone, e.g. "b=--learning-rate 0.001"
    #[arg(long, value_name = "NAME=ARGUMENTS")]
    pub arm_training: Vec<ArmTraining>,
}

/// One `--arm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmArg {
    /// Its name.
    pub name: String,
    /// An id, or the path of a library.
    pub plugin: String,
    /// Its options.
    pub options: Option<PathBuf>,
}

/// One `--arm-training`.
#[derive(Clone, Debug)]
pub struct ArmTraining {
    /// The arm's name.
    pub name: String,
    /// What is asked for, by setting.
    pub values: Map<String, Value>,
}

impl FromStr for ArmArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, plugin) = named(text)?;
        let (plugin, options) = match plugin.rsplit_once(':') {
            Some((plugin, options)) if options.ends_with(".json") => (plugin, Some(PathBuf::from(options))),
            _ => (plugin, None),
        };
        if plugin.is_empty() {
            return Err("expected NAME=PLUGIN or NAME=PLUGIN:OPTIONS.json".to_owned());
        }
        Ok(Self { name, plugin: plugin.to_owned(), options })
    }
}

impl FromStr for ArmTraining {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, words) = named(text)?;
        Ok(Self { name, values: Layer::words_of_arm(words)? })
    }
}

fn named(text: &str) -> Result<(String, &str), String> {
    match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) => {
            Ok((name.to_owned(), rest))
        }
        _ => Err("expected NAME=…, a name of letters, digits, '_' and '-'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_read_or_refused() {
        let arm = |text: &str| text.parse::<ArmArg>().expect("valid");
        let expected = |name: &str, plugin: &str, options: Option<&str>| ArmArg {
            name: name.to_owned(),
            plugin: plugin.to_owned(),
            options: options.map(PathBuf::from),
        };
        assert_eq!(arm("a=base"), expected("a", "base", None));
        assert_eq!(arm("b=multi-output:some/b.json"), expected("b", "multi-output", Some("some/b.json")));
        assert_eq!(arm("c=./lib:x.so"), expected("c", "./lib:x.so", None));
        for text in ["base", "=base", "a b=base", "a=", "a=:b.json"] {
            assert!(text.parse::<ArmArg>().is_err(), "{text}");
        }
        let training: ArmTraining = "c=--learning-rate 0.1 --ema 0.9".parse().expect("valid");
        assert_eq!(Value::Object(training.values), serde_json::json!({"learning_rate": 0.1, "ema": 0.9}));
        let message = "c=--lerning-rate 0.1".parse::<ArmTraining>().expect_err("must be refused");
        assert_eq!(message, "there is no setting 'lerning_rate': did you mean 'learning_rate'?");
    }
}
