//! Options that make no sense.

use super::{Finding, Problem, Subject, must};
use crate::network::Parameters;
use crate::plugin::{CallError, LoadedTrainer};
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
    let schema = LoadedTrainer::describe(&subject.library)?.schema;
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
    Ok(())
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
