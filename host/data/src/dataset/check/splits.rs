//! `splits_final.json` beside the raw data, if there is one: the user's own folds.

use std::collections::BTreeSet;
use std::path::Path;

use super::files::Found;
use super::finding::Findings;
use crate::dataset::{Error, splits};

/// Folds must name cases that exist; training and validation should share none.
pub(super) fn check(folder: &Path, cases: &[Found], findings: &mut Findings) {
    let path = folder.join(splits::FILE);
    if !path.is_file() {
        if cases.len() < splits::FOLDS {
            let found = format!("too few cases for nnU-Net's {} folds: {}", splits::FOLDS, cases.len());
            findings.warning(&path, found, "train with --fold all, or write that file yourself");
        }
        return;
    }
    let folds = match splits::read(&path) {
        Ok(folds) => folds,
        Err(error) => return findings.refused(&path, &error),
    };
    let known: BTreeSet<&str> = cases.iter().map(|found| found.case.id.as_str()).collect();
    for (fold, split) in folds.iter().enumerate() {
        let sets = [&split.train, &split.validation].map(|ids| ids.iter().map(String::as_str).collect::<BTreeSet<_>>());
        let [train, validation] = &sets;
        for case in train.union(validation).filter(|case| !known.contains(*case)) {
            findings.refused(&path, &Error::SplitCase { path: path.clone(), fold, case: (*case).to_owned() });
        }
        let shared: Vec<&str> = train.intersection(validation).copied().collect();
        if !shared.is_empty() {
            let found = format!("fold {fold} trains on and validates with the same {}", list(&shared));
            findings.warning(&path, found, "take them from one of the two lists; scores of such a fold mean little");
        }
        if train.len() + validation.len() < split.train.len() + split.validation.len() {
            findings.warning(
                &path,
                format!("fold {fold} names cases more than once"),
                "remove the repetitions; repeated cases are drawn more often",
            );
        }
    }
}

/// `3 cases (a, b, c)`, and at most five names.
fn list(ids: &[&str]) -> String {
    let shown = ids.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let rest = if ids.len() > 5 { ", …" } else { "" };
    format!("{} case{} ({shown}{rest})", ids.len(), if ids.len() == 1 { "" } else { "s" })
}
