//! Folds: nnU-Net's five-fold split, a split of the user's own, or all cases.
//!
//! nnU-Net draws `KFold(5, shuffle=True, random_state=12345)` over the sorted ids and writes `splits_final.json`; a file
//! that is there is used as it is (`nnUNetTrainer.do_split`, `crossval_split.py`).

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::numpy::RandomState;

pub(super) const FILE: &str = "splits_final.json";
const SEED: u32 = 12345;
pub(super) const FOLDS: usize = 5;

/// Which cases train and which validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Written")]
pub enum Fold {
    /// A fold of the split file; beyond its end a seeded 80:20 split.
    Number(usize),
    /// All cases train, all cases validate.
    All,
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Fold {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text == "all" => Ok(Self::All),
            Err(_) => Err(Error::Fold { found: text.to_owned() }),
        }
    }
}

impl From<Fold> for String {
    fn from(fold: Fold) -> Self {
        fold.to_string()
    }
}

/// A fold in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(usize),
    Text(String),
}

impl TryFrom<Written> for Fold {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        match written {
            Written::Number(number) => Ok(Self::Number(number)),
            Written::Text(text) => text.parse(),
        }
    }
}

/// Case ids of one fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Cases to train on.
    pub train: Vec<String>,
    /// Cases to validate on.
    #[serde(rename = "val")]
    pub validation: Vec<String>,
    /// It is none of the file's, but was drawn for a fold that the file does not have.
    #[serde(skip)]
    pub drawn: bool,
}

/// The split of `fold`, from `splits_final.json` in `preprocessed` (the folder of this data set's preprocessed data).
///
/// Where that file is not there, it is copied from `raw` (the data set's folder) or else made, except for [`Fold::All`],
/// which needs none. `case_ids` are the ids of all cases.
///
/// # Errors
/// When the file cannot be read or written, contradicts the one in `raw`, or names a case that does not exist; when there
/// are fewer than five cases to make five folds of.
pub fn split_for(fold: Fold, preprocessed: &Path, raw: &Path, case_ids: &[String]) -> Result<Split, Error> {
    let ids = sorted(case_ids);
    let Fold::Number(number) = fold else { return Ok(Split { train: ids.clone(), validation: ids, drawn: false }) };
    let splits = load_or_create_splits(preprocessed, raw, &ids)?;
    let Some(split) = splits.get(number) else { return Ok(random_split(number, &ids)) };
    check(split, number, &ids.iter().collect(), &preprocessed.join(FILE))?;
    Ok(split.clone())
}

/// Refuses fold `fold` of the file at `path` if it names a case that is not `known`.
fn check(split: &Split, fold: usize, known: &BTreeSet<&String>, path: &Path) -> Result<(), Error> {
    match split.train.iter().chain(&split.validation).find(|id| !known.contains(id)) {
        None => Ok(()),
        Some(case) => Err(Error::SplitCase { path: path.to_path_buf(), fold, case: case.clone() }),
    }
}

/// The splits in `splits_final.json` of `preprocessed`; copied from `raw` or made and written where it is missing.
///
/// # Errors
/// As [`split_for`]; that the cases of all folds exist is asked where the file in `raw` is copied.
pub fn load_or_create_splits(preprocessed: &Path, raw: &Path, case_ids: &[String]) -> Result<Vec<Split>, Error> {
    let (ours, manual) = (preprocessed.join(FILE), raw.join(FILE));
    let from_raw = if manual.is_file() { Some(read(&manual)?) } else { None };
    if !ours.is_file() {
        let splits = match from_raw {
            Some(splits) => {
                // Before it is copied: a copy of a wrong file would stand in the way of the corrected one.
                let known: BTreeSet<&String> = case_ids.iter().collect();
                for (fold, split) in splits.iter().enumerate() {
                    check(split, fold, &known, &manual)?;
                }
                splits
            }
            None if case_ids.len() < FOLDS => return Err(Error::TooFewCases { found: case_ids.len(), path: manual }),
            None => five_folds(&sorted(case_ids)),
        };
        match write(&ours, &splits) {
            // A folder that cannot be written is only read; every program makes the same splits of the same cases.
            Err(Error::Io(imaging::io::Error::Write { cause, .. })) if is_read_only(&cause) => {
                log::info!("{}: cannot be written ({cause}); the splits are used all the same", ours.display());
            }
            written => written?,
        }
        return Ok(splits);
    }
    let splits = read(&ours)?;
    let named: BTreeSet<&String> = splits.iter().flat_map(|split| split.train.iter().chain(&split.validation)).collect();
    let new = case_ids.iter().filter(|id| !named.contains(id)).count();
    if new > 0 {
        log::warn!("{}: {new} cases are in no fold, so nothing is trained on them; remove the file to have it made anew", ours.display());
    }
    for (fold, source) in from_raw.iter().flatten().enumerate() {
        // The file may have more folds than its source, as nnU-Net allows.
        if !splits.get(fold).is_some_and(|split| same_cases(split, source)) {
            return Err(Error::SplitsDiffer { raw: manual, preprocessed: ours, fold });
        }
    }
    Ok(splits)
}

/// Whether nothing can be written where this error comes from.
fn is_read_only(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

fn same_cases(a: &Split, b: &Split) -> bool {
    let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    set(&a.train) == set(&b.train) && set(&a.validation) == set(&b.validation)
}

/// scikit-learn's `KFold(5, shuffle=True, random_state=12345)` over sorted ids; both lists keep the order of the ids.
fn five_folds(ids: &[String]) -> Vec<Split> {
    let order = RandomState::new(SEED).permutation(ids.len() as u32);
    let (size, longer) = (ids.len() / FOLDS, ids.len() % FOLDS);
    let mut start = 0;
    (0..FOLDS)
        .map(|fold| {
            let end = start + size + usize::from(fold < longer);
            let chosen: BTreeSet<u32> = order[start..end].iter().copied().collect();
            start = end;
            let part = |inside: bool| {
                let indexed = ids.iter().enumerate();
                indexed.filter(|(i, _)| chosen.contains(&(*i as u32)) == inside).map(|(_, id)| id.clone()).collect()
            };
            Split { train: part(false), validation: part(true), drawn: false }
        })
        .collect()
}

/// nnU-Net's split for a fold that the file does not have: 80 % drawn by `RandomState(12345 + fold)`.
fn random_split(fold: usize, ids: &[String]) -> Split {
    let n = ids.len() as u32;
    // Python: int(len(keys) * 0.8)
    let train = (f64::from(n) * 0.8) as u32;
    let chosen = RandomState::new(SEED.wrapping_add(fold as u32)).choice(n, train);
    let taken: BTreeSet<u32> = chosen.iter().copied().collect();
    Split {
        train: chosen.iter().map(|i| ids[*i as usize].clone()).collect(),
        validation: (0..n).filter(|i| !taken.contains(i)).map(|i| ids[i as usize].clone()).collect(),
        drawn: true,
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Split>, Error> {
    imaging::io::read_json(path).map_err(|error| Error::json(path, error))
}

fn write(path: &Path, splits: &[Split]) -> Result<(), Error> {
    imaging::io::write_json(path, splits)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("case_{i:03}")).collect()
    }

    #[test]
    fn five_folds_equal_scikit_learn() {
        // Validation indices of every fold and, last, the training indices of the random fold 7, for several n.
        let golden = include_str!("../../../../tests/golden/splits.json");
        let golden: serde_json::Map<String, serde_json::Value> = serde_json::from_str(golden).expect("golden file");
        for (n, expected) in golden {
            let ids = ids(n.parse().expect("number of cases"));
            let indices = |list: &[String]| -> Vec<usize> {
                list.iter().map(|id| ids.iter().position(|other| other == id).expect("known")).collect()
            };
            let mut found: Vec<Vec<usize>> = five_folds(&ids).iter().map(|split| indices(&split.validation)).collect();
            found.push(indices(&random_split(7, &ids).train));
            assert_eq!(serde_json::json!(found), expected, "n = {n}");
        }
    }

    #[test]
    fn a_split_is_written_once_and_then_honoured() {
        let preprocessed = tempfile::tempdir().expect("temporary folder");
        let raw = tempfile::tempdir().expect("temporary folder");
        let ids = ids(10);
        let split = |fold| split_for(fold, preprocessed.path(), raw.path(), &ids);
        let backwards: Vec<String> = ids.iter().rev().cloned().collect();
        load_or_create_splits(preprocessed.path(), raw.path(), &backwards).expect("made in whatever order the cases are");
        let first = split(Fold::Number(0)).expect("there");
        assert_eq!(first, five_folds(&ids)[0]);
        assert_eq!((first.train.len(), first.validation.len()), (8, 2));
        let manual = vec![Split { train: ids[..2].to_vec(), validation: ids[2..].to_vec(), drawn: false }];
        write(&preprocessed.path().join(FILE), &manual).expect("written");
        assert_eq!(split(Fold::Number(0)).expect("read"), manual[0]);
        assert_eq!(split(Fold::Number(1)).expect("random").train.len(), 8);
        assert_eq!(split(Fold::All).expect("all").train, split(Fold::All).expect("all").validation);
    }

    #[test]
    fn a_split_beside_the_raw_data_is_copied_and_compared() {
        let preprocessed = tempfile::tempdir().expect("temporary folder");
        let raw = tempfile::tempdir().expect("temporary folder");
        let ids = ids(6);
        let manual = vec![Split { train: ids[..3].to_vec(), validation: ids[3..].to_vec(), drawn: false }];
        write(&raw.path().join(FILE), &manual).expect("written");
        let split = || split_for(Fold::Number(0), preprocessed.path(), raw.path(), &ids);
        assert_eq!(split().expect("copied"), manual[0]);
        write(&raw.path().join(FILE), &five_folds(&ids)).expect("written");
        assert!(matches!(split(), Err(Error::SplitsDiffer { fold: 0, .. })));
    }

    #[test]
    fn a_wrong_split_is_not_copied() {
        let preprocessed = tempfile::tempdir().expect("temporary folder");
        let raw = tempfile::tempdir().expect("temporary folder");
        let ids = ids(6);
        let split = || split_for(Fold::Number(0), preprocessed.path(), raw.path(), &ids);
        let right = Split { train: ids[..3].to_vec(), validation: ids[3..].to_vec(), drawn: false };
        let wrong = Split { train: vec!["nobody".to_owned()], validation: ids[3..].to_vec(), drawn: false };
        // Wrong in a fold that nobody has asked for.
        for folds in [vec![wrong.clone()], vec![right.clone(), wrong]] {
            write(&raw.path().join(FILE), &folds).expect("written");
            let message = split().expect_err("refused").to_string();
            assert!(message.contains(raw.path().to_str().expect("UTF-8")) && message.contains("nobody"), "{message}");
            assert!(!preprocessed.path().join(FILE).exists());
        }
        std::fs::write(raw.path().join(FILE), "[{\"train\": 1}]").expect("written");
        assert!(split().is_err() && !preprocessed.path().join(FILE).exists());
        write(&raw.path().join(FILE), std::slice::from_ref(&right)).expect("written");
        assert_eq!(split().expect("copied"), right);
        // Once it is copied, a fold that is wrong stands in nobody else's way.
        let wrong = Split { train: vec!["nobody".to_owned()], ..right.clone() };
        for folder in [&raw, &preprocessed] {
            write(&folder.path().join(FILE), &[right.clone(), wrong.clone()]).expect("written");
        }
        assert_eq!(split().expect("right"), right);
        let message = split_for(Fold::Number(1), preprocessed.path(), raw.path(), &ids).expect_err("refused").to_string();
        assert!(message.contains("fold 1") && message.contains("nobody"), "{message}");
    }

    #[test]
    fn impossible_splits_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let split = |ids: &[String]| split_for(Fold::Number(0), folder.path(), Path::new("raw"), ids);
        assert!(split(&ids(4)).expect_err("four cases").to_string().contains("found 4 cases, expected at least 5"));
        split(&ids(7)).expect("made for seven");
        assert!(split(&ids(6)).expect_err("one case less").to_string().contains("case_006"));
        assert!("first".parse::<Fold>().is_err());
        assert_eq!("all".parse::<Fold>().expect("valid"), Fold::All);
    }
}
