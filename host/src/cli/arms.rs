//! Arguments that name several runs, to be trained side by side on the same batches.

use super::RecipeArgs;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// Several runs instead of one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Comparison")]
pub struct ArmsArgs {
    /// One of several runs that are trained on identical batches and then compared: a name, its plugin, and a JSON file of options, e.g. a=base
    /// or b=multi-output:b.json; once for each, the first is what the others are compared with. --set then begins with a name: b.outputs.…
    #[arg(long = "arm", value_name = "NAME=PLUGIN[:OPTIONS.json]")]
    pub arms: Vec<ArmArg>,

    /// Arguments of one arm's optimiser and weighting alone, e.g. "b=--learning-rate 0.001"
    #[arg(long = "arm-training", value_name = "NAME=ARGUMENTS", requires = "arms")]
    pub training: Vec<ArmTraining>,
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
    /// What is asked for.
    pub recipe: RecipeArgs,
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
        let (name, recipe) = named(text)?;
        Ok(Self { name, recipe: RecipeArgs::parse(recipe)? })
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

impl ArmsArgs {
    /// The arm that `name` means.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &str) -> Result<&ArmArg, String> {
        let names = self.arms.iter().map(|arm| arm.name.as_str());
        let unknown = || format!("there is no arm '{name}'{}", plugin_api::options::suggestion(name, names));
        self.arms.iter().find(|arm| arm.name == name).ok_or_else(unknown)
    }

    /// Refuses arms that cannot be told apart, or be compared.
    ///
    /// # Errors
    /// In one line.
    pub fn check(&self) -> Result<(), String> {
        if self.arms.len() == 1 {
            return Err("--arm was given once; give it for every run that is to be compared, or --plugin for a single one".to_owned());
        }
        for (i, arm) in self.arms.iter().enumerate() {
            if self.arms[..i].iter().any(|other| other.name == arm.name) {
                return Err(format!("--arm {}: the name is taken; every arm needs its own", arm.name));
            }
        }
        self.training.iter().try_for_each(|training| self.find(&training.name).map(drop).map_err(|e| format!("--arm-training: {e}")))
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
        let arms = |texts: &[&str]| ArmsArgs { arms: texts.iter().map(|text| arm(text)).collect(), training: Vec::new() };
        assert!(arms(&["a=base"]).check().is_err_and(|e| e.contains("given once")));
        assert!(arms(&["a=base", "a=base"]).check().is_err_and(|e| e.contains("name is taken")));
        let training = vec!["c=--learning-rate 0.1".parse().expect("valid")];
        let unknown = ArmsArgs { training, ..arms(&["a=base", "b=base"]) };
        assert!(unknown.check().is_err_and(|e| e.contains("--arm-training: there is no arm 'c'")));
    }
}
