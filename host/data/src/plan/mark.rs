//! Whose a plans file is: this program marks what it wrote, so that what was edited since is never replaced unasked.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plans;
use crate::hash::sha256;
use crate::name::Name;

/// Key of the mark in a plans file; nnU-Net ignores it.
const KEY: &str = "written_by";

/// What the planner wrote. Configurations that were added since are not part of it.
#[derive(Serialize, Deserialize)]
struct Mark {
    program: String,
    configurations: Vec<Name>,
    /// Hash of these configurations and everything around them.
    sha256: String,
}

/// Marks `plans` as this program's, as they are.
pub(super) fn mark(plans: &mut Plans) {
    let configurations: Vec<Name> = plans.configurations.keys().cloned().collect();
    let mark =
        Mark { program: concat!("host ", env!("CARGO_PKG_VERSION")).to_owned(), sha256: hash(plans, &configurations), configurations };
    plans.extra.insert(KEY.to_owned(), serde_json::to_value(mark).unwrap_or_default());
}

/// Names of the configurations that this program's planner wrote into `plans`; none in somebody else's file.
pub(super) fn planned(plans: &Plans) -> Vec<Name> {
    read(plans).map_or_else(Vec::new, |mark| mark.configurations)
}

/// Whether `plans` are still as this program wrote them, but for configurations that were added.
pub(super) fn is_unchanged(plans: &Plans) -> bool {
    read(plans).is_some_and(|mark| hash(plans, &mark.configurations) == mark.sha256)
}

fn read(plans: &Plans) -> Option<Mark> {
    serde_json::from_value(plans.extra.get(KEY)?.clone()).ok()
}

fn hash(plans: &Plans, configurations: &[Name]) -> String {
    let mut content = plans.clone();
    content.extra.shift_remove(KEY);
    content.configurations.retain(|name, _| configurations.contains(name));
    let text = serde_json::to_value(content).unwrap_or(Value::Null).to_string();
    sha256(text)
}
