//! Options that make no sense.

use super::given::{Given, Numbers};
use super::{Finding, Problem, Subject, World, must};
use crate::network::Parameters;
use crate::plugin::{CallError, describe, refused_by_schema};
use plugin_api::{Phase, Step};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tch::Device;

/// So many are tried.
const TRIES: usize = 200;

/// What a trainer makes of `options`.
fn create(subject: &Subject, options: &Value) -> Result<(), CallError> {
    let mut task = Problem::USUAL.task(&subject.targets, subject.seed);
    subject.create(&mut task, options, &mut Parameters::new(Device::Cpu, subject.seed)).map(drop)
}

/// A key too many.
pub(super) fn unknown(subject: &Subject) -> Result<(), Finding> {
    let mut options = subject.options.clone();
    options["no_such_option"] = json!(1);
    match create(subject, &options) {
        Ok(()) => Err(Finding::failed("an option 'no_such_option' was accepted: a user's typing mistake would go unnoticed")),
        Err(error) if error.panicked => Err(error.into()),
        Err(_) => Ok(()),
    }
}

/// Good options with a value, a key or a whole part replaced.
pub(super) fn fuzzed(subject: &Subject) -> Result<(), Finding> {
    let rng = &mut ChaCha8Rng::seed_from_u64(subject.seed);
    let schema = describe(&*subject.plugin)?.schema;
    let keys: Vec<String> = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    for _ in 0..TRIES {
        let mut options = subject.options.clone();
        for _ in 0..rng.random_range(1..3) {
            mutate(&mut options, &keys, rng, 0);
        }
        if let Err(error) = create(subject, &options) {
            must!(!error.panicked, "options {options}: {}", error.message);
            let said = error.message.trim_start_matches("failed:").trim();
            must!(!said.is_empty() && said != "no message", "options {options}: it failed without a word");
        }
    }
    taken_against_the_schema(subject, &keys)
}

/// Values of another type, which the schema refuses, must be refused by the plugin: a run asks the schema, too, but not every host does.
fn taken_against_the_schema(subject: &Subject, keys: &[String]) -> Result<(), Finding> {
    for key in keys {
        for value in [json!("nonsense"), json!(true), json!(-1e9)] {
            let mut options = subject.options.clone();
            options[key] = value;
            if let Some(why) = refused_by_schema(&*subject.plugin, &options)?
                && create(subject, &options).is_ok()
            {
                return Err(Finding::Warning(format!(
                    "it takes the options {options}, which its schema refuses ({why}): check them in `new`"
                )));
            }
        }
    }
    Ok(())
}

/// Everything that a trainer with `options` gives at several times of a training, in both phases; `None` where it refuses them.
fn everything(subject: &Subject, options: &Value) -> Result<Option<Vec<Numbers>>, Finding> {
    let subject = Subject { options: options.clone(), ..subject.clone() };
    let mut all = Vec::new();
    for (world, dims) in World::ALL {
        let mut rig = match subject.able(Problem { dims, world, ..Problem::USUAL }) {
            Err(Finding::Skipped(_)) => continue,
            rig => rig?,
        };
        for epoch in [0, 1, rig.task.epochs / 2, rig.task.epochs - 1] {
            for phase in [Phase::Train, Phase::Validate] {
                let step = Step { epoch, phase, ..rig.step(epoch) };
                let given = if phase == Phase::Train { Given::with_gradient(&mut rig, &step) } else { Given::at(&mut rig, &step) };
                all.push(given?.numbers()?);
            }
        }
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn differ(a: &[Numbers], b: &[Numbers]) -> bool {
    a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a.difference(b).is_some())
}

/// What the schema says of every option, where that is plain.
fn properties(subject: &Subject) -> Result<Vec<(String, Value)>, Finding> {
    let schema = describe(&*subject.plugin)?.schema;
    let resolve = |property: &Value| {
        let inner = property["$ref"].as_str().and_then(|reference| schema.pointer(reference.strip_prefix('#')?));
        inner.unwrap_or(property).clone()
    };
    let of = |(name, property): (&String, &Value)| {
        let mut resolved = resolve(property);
        // A default stands beside the reference.
        if let (Some(default), Some(object)) = (property.get("default"), resolved.as_object_mut()) {
            object.insert("default".to_owned(), default.clone());
        }
        (name.clone(), resolved)
    };
    Ok(schema["properties"].as_object().into_iter().flatten().map(of).collect())
}

/// No options at all, and the defaults of the schema spelt out.
pub(super) fn defaults(subject: &Subject) -> Result<(), Finding> {
    let spelt: serde_json::Map<String, Value> =
        properties(subject)?.into_iter().filter_map(|(name, property)| Some((name, property.get("default")?.clone()))).collect();
    if spelt.is_empty() {
        return Err(Finding::Skipped("its schema has no defaults".to_owned()));
    }
    let Some(without) = everything(subject, &json!({}))? else {
        return Err(Finding::Skipped("cannot judge: without options there is no trainer".to_owned()));
    };
    for (name, value) in &spelt {
        match everything(subject, &json!({ name: value }))? {
            None => return Err(Finding::Warning(format!("the schema says that '{name}' is {value} by default, which `new` refuses"))),
            Some(with) if differ(&without, &with) => {
                return Err(Finding::Warning(format!(
                    "the schema says that '{name}' is {value} by default, but without it the trainer is another"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Some other value of every option changes something.
pub(super) fn every_one_counts(subject: &Subject) -> Result<(), Finding> {
    let Some(now) = everything(subject, &subject.options)? else {
        return Err(Finding::Skipped("cannot judge: the trainer refuses these problems".to_owned()));
    };
    let (mut silent, mut unjudged) = (Vec::new(), Vec::new());
    for (name, property) in properties(subject)? {
        let current = subject.options.get(&name).or(property.get("default")).cloned().unwrap_or(Value::Null);
        let (mut tried, mut counts) = (false, false);
        for value in others(&property, &current) {
            let mut options = subject.options.clone();
            options[&name] = value;
            if let Ok(Some(with)) = everything(subject, &options) {
                tried = true;
                counts = differ(&now, &with);
                if counts {
                    break;
                }
            }
        }
        match (tried, counts) {
            (true, false) => silent.push(name),
            (false, _) => unjudged.push(name),
            _ => {}
        }
    }
    match (silent.as_slice(), unjudged.as_slice()) {
        ([], []) => Ok(()),
        ([], unjudged) => Err(Finding::Skipped(format!("cannot judge: no other value of {} was taken", unjudged.join(", ")))),
        (silent, _) => {
            Err(Finding::Warning(format!("other values of these options change nothing that was looked at: {}", silent.join(", "))))
        }
    }
}

/// Other values than `current` that a property may have.
fn others(property: &Value, current: &Value) -> Vec<Value> {
    let listed = property["enum"].as_array().cloned().unwrap_or_default();
    let constants = ["oneOf", "anyOf"].iter().filter_map(|key| property[*key].as_array()).flatten();
    let constants =
        constants.flat_map(|one| one.get("const").cloned().into_iter().chain(one["enum"].as_array().cloned().unwrap_or_default()));
    let mut values: Vec<Value> = listed.into_iter().chain(constants).collect();
    let is =
        |name: &str| property["type"] == name || property["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == name));
    if is("boolean") {
        values.extend([json!(true), json!(false)]);
    }
    if is("integer") {
        let current = current.as_i64().unwrap_or(1);
        values.extend([current + 1, current - 1, current * 2, 2, 0].map(|value| json!(value)));
    }
    if is("number") {
        let current = current.as_f64().unwrap_or(1.0);
        values.extend([current * 0.5, current * 2.0 + 0.25, current + 1.0, 0.3, 0.0].map(|value| json!(value)));
    }
    values.retain(|value| value != current);
    values
}

/// Replaces something in `value`, at the top or further in.
fn mutate(value: &mut Value, keys: &[String], rng: &mut ChaCha8Rng, depth: usize) {
    let deeper = depth < 6 && rng.random_range(0..3) > 0;
    match value {
        Value::Object(object) if deeper && !(object.is_empty() && keys.is_empty()) => {
            let known: Vec<String> = object.keys().cloned().chain(keys.iter().cloned()).collect();
            let key = &known[rng.random_range(0..known.len())];
            if rng.random_range(0..8) == 0 {
                object.remove(key);
            } else {
                mutate(object.entry(key.clone()).or_insert(Value::Null), &[], rng, depth + 1);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = rng.random_range(0..items.len());
            mutate(&mut items[index], &[], rng, depth + 1);
        }
        _ => *value = nonsense(rng),
    }
}

fn nonsense(rng: &mut ChaCha8Rng) -> Value {
    const TEXT: &str = "äöü\u{0}\n\"\\{}";
    match rng.random_range(0..13) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(0),
        4 => json!(1),
        5 => json!(0.5),
        6 => json!(1e308),
        7 => json!(u64::MAX),
        8 => json!(""),
        9 => json!(TEXT.repeat(rng.random_range(1..20))),
        10 => json!([]),
        11 => json!({}),
        _ => (0..rng.random_range(1..30)).fold(json!(1), |inner, _| json!([inner])),
    }
}
