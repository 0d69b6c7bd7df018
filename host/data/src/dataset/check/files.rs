//! Which files belong to which case, which are missing, and which belong to nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::description::Usable;
use super::finding::Findings;
use crate::dataset::discovery::{CaseFiles, find_target, found_files, listed_files, read_value_files, visible_names};
use crate::dataset::{Case, Description, Error, SEGMENTATION, Target, TargetSource};
use crate::entry::Entry;
use crate::name::Name;

/// A case with those of its files that are there.
pub(super) struct Found {
    pub case: Case,
    /// Whether its image files are as many as those of other cases.
    pub complete: bool,
}

/// All cases. Without any, targets and folds are not looked at: whatever they name would be unknown.
pub(super) fn find(folder: &Path, usable: &Usable, findings: &mut Findings) -> Vec<Found> {
    let description = &usable.description;
    let json_path = folder.join("dataset.json");
    let listed = Entry::root(&json_path, &description.json).get("dataset");
    let files = match &listed {
        Some(list) => listed_cases(folder, list, description, findings),
        None => found_cases(folder, description, findings),
    };
    if usable.says("numTraining") && files.len() != description.num_training && (listed.is_some() || folder.join("imagesTr").is_dir()) {
        let error = Error::CaseCount { path: folder.join("imagesTr"), found: files.len(), expected: description.num_training };
        findings.refused(&json_path, &error);
    } else if files.is_empty() && !findings.has_errors() {
        findings.error(&folder.join("imagesTr"), "holds no training case", "add the images");
    }
    if files.is_empty() {
        return Vec::new();
    }
    let mut cases: Vec<Found> = files
        .iter()
        .map(|(id, files)| Found {
            case: Case { id: id.clone(), images: files.images.clone(), targets: IndexMap::new() },
            complete: files.complete,
        })
        .collect();
    for (name, target) in &description.targets {
        let Some(place) = place(folder, target) else { continue };
        let Some(values) = open_target(folder, description, name, target, &place, listed.is_some(), findings) else { continue };
        for (found, files) in cases.iter_mut().zip(files.values()) {
            let value = find_target(folder, description, &found.case.id, files, name, &values);
            let value = value.map_err(|error| findings.refused(&place, &error)).ok().flatten();
            found.case.targets.insert(name.clone(), value);
        }
        let named = values.get(name).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        for id in named.filter(|id| !files.contains_key(id.as_str())) {
            findings.warning(&place, format!("has an entry for {id:?}, which is no case"), "remove it, or add images of that case");
        }
    }
    find_strays(folder, usable, &cases, listed.is_some(), findings);
    cases
}

type Files = IndexMap<Name, CaseFiles>;

/// Cases that `dataset.json` lists.
fn listed_cases(folder: &Path, list: &Entry, description: &Description, findings: &mut Findings) -> Files {
    let mut files = Files::new();
    let cases = match list.object("an object from case to its files") {
        Ok(cases) => cases,
        Err(error) => {
            findings.refused(folder, &error);
            return files;
        }
    };
    for (id, value) in cases {
        let alone = Value::Object(Map::from_iter([(id.clone(), value.clone())]));
        match listed_files(folder, &list.with_value(&alone), description) {
            Ok(case) => files.extend(case),
            Err(error) => findings.refused(folder, &error),
        }
    }
    files
}

/// Cases by the file names in `imagesTr`.
fn found_cases(folder: &Path, description: &Description, findings: &mut Findings) -> Files {
    let images = folder.join("imagesTr");
    let found = found_files(folder, description, &mut |error| {
        findings.refused(&images, &error);
        Ok(())
    });
    found.unwrap_or_else(|error| {
        findings.refused(&images, &error);
        Files::new()
    })
}

/// The values of a target that has one file for all cases, nothing for the others; `None` where a whole target is missing, so that this is said once and not
/// for every case.
fn open_target(
    folder: &Path,
    description: &Description,
    name: &str,
    target: &Target,
    place: &Path,
    listed: bool,
    findings: &mut Findings,
) -> Option<IndexMap<String, Value>> {
    if is_one_file(target) {
        let alone = Description { targets: IndexMap::from([(name.to_owned(), target.clone())]), ..description.clone() };
        return read_value_files(folder, &alone).map_err(|error| findings.refused(place, &error)).ok();
    }
    if (name == SEGMENTATION && listed) || place.is_dir() {
        return Some(IndexMap::new());
    }
    if target.optional {
        findings.warning(
            place,
            format!("not found: no case has the optional target {name:?}"),
            "add the folder, or correct the target's entry",
        );
    } else {
        let found = format!("not found, expected as the folder of target {name:?} with one file for each case");
        findings.error(place, found, "add the folder, or correct its name");
    }
    None
}

/// Files in the folders of the data set that nothing uses.
fn find_strays(folder: &Path, usable: &Usable, cases: &[Found], listed: bool, findings: &mut Findings) {
    let description = &usable.description;
    let (images, targets) = (folder.join("imagesTr"), folder.join("targetsTr"));
    let mut folders = BTreeSet::from([images.clone()]);
    folders.extend(description.targets.values().filter(|target| !is_one_file(target)).filter_map(|target| place(folder, target)));
    if listed {
        // What is not on the list was left out on purpose.
        folders.remove(&images);
        folders.remove(&folder.join("labelsTr"));
    }
    let used: BTreeSet<&Path> = cases.iter().flat_map(|found| found.case.files()).collect();
    let ending = description.file_ending.as_str();
    let mut stems: BTreeSet<&str> = used.iter().filter_map(|path| path.file_name()?.to_str()?.strip_suffix(ending)).collect();
    stems.extend(cases.iter().map(|found| found.case.id.as_str()));
    for place in folders {
        for name in visible_names(&place).unwrap_or_default() {
            let path = place.join(&name);
            match name.strip_suffix(ending) {
                _ if used.contains(path.as_path()) || is_sidecar(&name, ending, &stems) => {}
                // Without a channel number; reported when cases were looked for.
                Some(_) if place == images => {}
                Some(_) => findings.warning(&path, "belongs to no image in imagesTr", "add the images of that case, or remove the file"),
                None => {
                    findings.warning(&path, format!("does not end with {ending:?} and is not used"), "convert it, or move it elsewhere")
                }
            }
        }
    }
    if usable.says_all_targets() {
        let declared: BTreeSet<PathBuf> = description.targets.values().filter_map(|target| place(folder, target)).collect();
        let names = visible_names(&targets).unwrap_or_default();
        for path in names.iter().map(|name| targets.join(name)).filter(|path| !declared.contains(path)) {
            findings.warning(&path, "no target of dataset.json uses it", "declare it under \"targets\" in dataset.json, or remove it");
        }
    }
}

/// What lies beside an image whose format has two files: the spacing of a TIFF in `<case>.json` or `<image>.json`, the voxels of a
/// `.nhdr` or `.mhd` under any ending.
fn is_sidecar(name: &str, ending: &str, stems: &BTreeSet<&str>) -> bool {
    match ending {
        ".tif" | ".tiff" => name.strip_suffix(".json").is_some_and(|stem| stems.contains(stem)),
        ".nhdr" | ".mhd" => name.match_indices('.').any(|(at, _)| stems.contains(&name[..at])),
        _ => false,
    }
}

/// Whether one file has the values of all cases.
fn is_one_file(target: &Target) -> bool {
    matches!(target.source, TargetSource::OneFile(_))
}

/// Folder or file of a target, if it has one.
fn place(folder: &Path, target: &Target) -> Option<PathBuf> {
    match &target.source {
        TargetSource::Maps(place) | TargetSource::OneFile(place) => Some(folder.join(place)),
        TargetSource::Derived { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_file_of_an_image_is_no_stray() {
        let stems = BTreeSet::from(["a", "a_0000"]);
        for (name, ending) in [("a.json", ".tif"), ("a_0000.json", ".tiff"), ("a_0000.zraw", ".mhd"), ("a_0000.raw.gz", ".nhdr")] {
            assert!(is_sidecar(name, ending, &stems), "{name}");
        }
        for (name, ending) in [("b.json", ".tif"), ("a.txt", ".tif"), ("b_0000.raw", ".mhd"), ("a.json", ".nii")] {
            assert!(!is_sidecar(name, ending, &stems), "{name}");
        }
    }
}
