//! Settings as flags of the command line: the setting `learning_rate` is the flag `--learning-rate`. Everything about a flag comes from the schema.

use super::schema::{allows, check, choices, defaults, of, properties, required, schema, typed};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};
use plugin_api::options::suggestion;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use std::ffi::OsStr;
use std::marker::PhantomData;

/// What the command line says of the settings of `T`, and no more.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// JSON by setting; not checked yet.
    pub values: Map<String, Value>,
    of: PhantomData<T>,
}

/// Settings `T` of a command line: what it does not say is as by default.
#[derive(Clone, Debug)]
pub struct Arguments<T>(pub T);

impl<T: JsonSchema + DeserializeOwned> Args for Given<T> {
    fn augment_args(command: Command) -> Command {
        command.args(flags(&of::<T>(), false))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: JsonSchema + DeserializeOwned> FromArgMatches for Given<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self { values: checked::<T>(&of::<T>(), matches)?, of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: JsonSchema + DeserializeOwned> Args for Arguments<T> {
    fn augment_args(command: Command) -> Command {
        command.args(flags(&of::<T>(), true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: JsonSchema + DeserializeOwned> FromArgMatches for Arguments<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let schema = of::<T>();
        let mut values = defaults(&schema);
        values.extend(checked::<T>(&schema, matches)?);
        typed(values).map(Self).map_err(|reason| wrong(&reason))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What messages call the command line.
pub(super) const COMMAND_LINE: &str = "the command line";

/// What was given, if it is valid.
fn checked<T: JsonSchema + DeserializeOwned>(schema: &Value, matches: &ArgMatches) -> Result<Map<String, Value>, Error> {
    let values = given(schema, matches);
    check::<T>(schema, &values).map_err(|reason| wrong(&reason))?;
    Ok(values)
}

fn wrong(reason: &str) -> Error {
    Error::raw(ErrorKind::ValueValidation, format!("{COMMAND_LINE}: {reason}\n"))
}

/// The settings of `T` that words such as `--optimiser adamw` give.
///
/// # Errors
/// Words that are none of these, in one line.
pub(super) fn parse<T: JsonSchema>(words: &str) -> Result<Map<String, Value>, String> {
    let schema = of::<T>();
    let command = Command::new("").no_binary_name(true).disable_help_flag(true).args(flags(&schema, false));
    let first_line = |error: &Error| error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let known = command.clone();
    let matches = command.try_get_matches_from(words.split_whitespace());
    matches.map(|matches| given(&schema, &matches)).map_err(|error| explain(&error, &known).unwrap_or_else(|| first_line(&error)))
}

/// What `error` of `command` says in the words of other places of settings, where it is about one: a flag that is none.
fn explain(error: &Error, command: &Command) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument) else {
        return None;
    };
    let name = flag.strip_prefix("--")?.split('=').next()?.replace('-', "_");
    let known: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(|long| long.replace('-', "_")).collect();
    if known.contains(&name) {
        return Some(format!("there is no flag '{flag}'; write --{}", name.replace('_', "-")));
    }
    Some(format!("there is no setting '{name}'{}", suggestion(&name, known.iter().map(String::as_str))))
}

/// What is wrong with settings on the command line, in one line and in the words of other places of settings. `command` is one whose flags are settings.
pub fn explain_flags(error: &Error, command: Option<&Command>) -> Option<String> {
    if let Some(reason) = command.and_then(|command| explain(error, command)) {
        return Some(format!("{COMMAND_LINE}: {reason}"));
    }
    let text = error.to_string();
    let line = text.lines().next()?.strip_prefix("error: ")?;
    line.starts_with(COMMAND_LINE).then(|| line.to_owned())
}

/// The words of the command line that give `values`, as far as these have flags.
pub fn words(values: &Map<String, Value>) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| {
        let (flag, property) = (format!("--{}", name.replace('_', "-")), &schema()["properties"][name]);
        match value {
            _ if property["x-flag"] == false => Vec::new(),
            Value::Null | Value::Bool(false) => Vec::new(),
            Value::Bool(true) => vec![flag],
            Value::Array(items) if property["x-repeated"] == true => items.iter().flat_map(|item| [flag.clone(), text(item)]).collect(),
            value => vec![flag, text(value)],
        }
    };
    values.iter().flat_map(of).collect()
}

/// A value as the command line has it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// Flags of all settings of `schema`; with `whole`, those must be given that have to be.
fn flags(schema: &Value, whole: bool) -> Vec<Arg> {
    let settings = properties(schema).filter(|(_, property)| property["x-flag"] != false);
    settings.map(|(name, property)| flag(name, property).required(whole && required(schema).any(|given| given == name))).collect()
}

fn flag(name: &str, property: &Value) -> Arg {
    let mut arg = Arg::new(name.to_owned()).long(name.replace('_', "-"));
    arg = arg.help(property["description"].as_str().unwrap_or_default().replace('\n', " "));
    if let Some(heading) = property["x-heading"].as_str() {
        arg = arg.help_heading(heading.to_owned());
    }
    let value = property["x-value"].as_str();
    if allows(property, "boolean") {
        let Some(value) = value else { return arg.action(ArgAction::SetTrue) };
        let possible = ["true", "false"].map(PossibleValue::new).to_vec();
        return arg.num_args(0..=1).default_missing_value("true").value_name(value.to_owned()).value_parser(Raw(possible));
    }
    let possible = choices(property).into_iter().map(|(value, about)| PossibleValue::new(value).help(about.unwrap_or_default()));
    arg = arg.value_parser(Raw(possible.collect())).allow_negative_numbers(true);
    arg = arg.value_hint(match value {
        Some("DIR") => ValueHint::DirPath,
        Some("FILE") => ValueHint::FilePath,
        Some(value) if value.contains("FILE") || value.contains("PATH") => ValueHint::AnyPath,
        _ => ValueHint::Unknown,
    });
    arg = arg.value_name(value.map_or_else(|| name.to_uppercase(), str::to_owned));
    if property["x-repeated"] == true {
        arg = arg.action(ArgAction::Append);
    } else if allows(property, "array") {
        arg = arg.value_delimiter(',').action(ArgAction::Append);
    }
    let without = property["x-without"].as_array().into_iter().flatten().filter_map(Value::as_str);
    arg = arg.conflicts_with_all(without.map(str::to_owned).collect::<Vec<_>>());
    match property.get("default").map(text).filter(|default| !default.is_empty()) {
        Some(default) => arg.default_value(default),
        None => arg,
    }
}

/// What was given of the settings of `schema`.
fn given(schema: &Value, matches: &ArgMatches) -> Map<String, Value> {
    let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let settings = properties(schema).filter(|(name, property)| property["x-flag"] != false && is_given(name));
    let value = |(name, property): (&str, &Value)| {
        if allows(property, "boolean") && property.get("x-value").is_none() {
            return (name.to_owned(), true.into());
        }
        let mut texts = matches.get_many::<String>(name).into_iter().flatten();
        let value = match allows(property, "array") {
            true => Value::Array(texts.map(|text| read(&property["items"], text)).collect()),
            false => texts.next_back().map_or(Value::Null, |text| read(property, text)),
        };
        (name.to_owned(), value)
    };
    settings.map(value).collect()
}

/// A word as JSON: text where text is asked for, else what it says in JSON, or to Rust: `.5` is a number, too.
fn read(property: &Value, text: &str) -> Value {
    if allows(property, "string") || !choices(property).is_empty() {
        return text.into();
    }
    let word = text.trim();
    let of_rust = || {
        let whole = word.parse::<u64>().map(Value::from).ok().or_else(|| word.parse::<i64>().map(Value::from).ok());
        whole.or_else(|| word.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number))
    };
    let is_number = allows(property, "number") || allows(property, "integer");
    serde_json::from_str(word).ok().or_else(|| of_rust().filter(|_| is_number)).unwrap_or_else(|| text.into())
}

/// Takes every word; whether it is right is for the schema to say, as of all places of settings.
#[derive(Clone)]
struct Raw(Vec<PossibleValue>);

impl TypedValueParser for Raw {
    type Value = String;

    fn parse_ref(&self, command: &Command, _arg: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        value.to_str().map(str::to_owned).ok_or_else(|| Error::new(ErrorKind::InvalidUtf8).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if self.0.is_empty() { None } else { Some(Box::new(self.0.iter().cloned())) }
    }
}
