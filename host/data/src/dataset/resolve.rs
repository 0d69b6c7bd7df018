//! From what the user typed to a data set folder.

use std::path::{Path, PathBuf};

use super::Error;
use crate::name::Name;
use crate::nearest::nearest;

/// The folder that a path, name or id means.
pub(super) fn folder(spec: &str, raw_root: Option<&Path>) -> Result<PathBuf, Error> {
    let path = Path::new(spec);
    let is_dataset = path.join("dataset.json").is_file();
    let names = match raw_root.map(dataset_names) {
        None => Vec::new(),
        Some(Ok(names)) => names,
        // A path that is there needs no root.
        Some(Err(_)) if is_dataset => Vec::new(),
        Some(Err(error)) => return Err(error),
    };
    let mut found: Vec<PathBuf> = Vec::new();
    if let Some(root) = raw_root {
        let id = spec.parse::<u32>().ok();
        let meant = names.iter().filter(|name| *name == spec || (id.is_some() && id_of(name) == id));
        found.extend(meant.map(|name| root.join(name)));
    }
    if is_dataset && !found.iter().any(|other| same(other, path)) {
        found.push(path.to_path_buf());
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(not_found(spec, raw_root, &names)),
        _ => Err(Error::Ambiguous { spec: spec.to_owned(), found: found.iter().map(|folder| folder.display().to_string()).collect() }),
    }
}

/// Name of a data set: that of its folder, also for `.` and `..`.
pub(super) fn name(folder: &Path) -> Result<Name, Error> {
    // A link keeps its own name; only a path such as `.` or `..` has to be resolved to have one.
    let full = match folder.file_name() {
        Some(_) => folder.to_path_buf(),
        None => folder.canonicalize().map_err(|source| Error::Read { path: folder.to_path_buf(), source })?,
    };
    Ok(full.file_name().and_then(|name| Name::new(name.to_string_lossy()).ok()).unwrap_or_else(|| Name::known("dataset")))
}

/// `4` of `Dataset004_Hippocampus`.
pub(super) fn id_of(name: &str) -> Option<u32> {
    let (digits, _) = name.strip_prefix("Dataset")?.split_once('_')?;
    digits.parse().ok()
}

fn dataset_names(root: &Path) -> Result<Vec<String>, Error> {
    let read = |source| Error::Read { path: root.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(read)? {
        let entry = entry.map_err(read)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn not_found(spec: &str, raw_root: Option<&Path>, names: &[String]) -> Error {
    let path = Path::new(spec);
    let here = if path.is_dir() { format!("folder {spec} has no dataset.json") } else { format!("there is no folder {spec}") };
    let (searched, hint) = match raw_root {
        Some(root) => (
            format!("{here}, and no data set of that name or id in {}", root.display()),
            match nearest(spec, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean {name:?}?"),
                None => "give the path of the folder that holds dataset.json".to_owned(),
            },
        ),
        None => (here, "give the path of the folder that holds dataset.json, or set nnUNet_raw to find it by name or id".to_owned()),
    };
    Error::NotFound { spec: spec.to_owned(), searched, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary folder");
        for name in names {
            std::fs::create_dir(root.path().join(name)).expect("folder");
            std::fs::write(root.path().join(name).join("dataset.json"), "{}").expect("file");
        }
        root
    }

    #[test]
    fn path_name_and_id_mean_the_same_folder() {
        let root = root(&["Dataset004_Hippocampus", "Dataset041_Other"]);
        let expected = root.path().join("Dataset004_Hippocampus");
        for spec in ["4", "004", "Dataset004_Hippocampus", expected.to_str().expect("UTF-8")] {
            assert_eq!(folder(spec, Some(root.path())).expect(spec), expected);
        }
        assert_eq!(name(&expected).expect("exists"), "Dataset004_Hippocampus");
        let nowhere = root.path().join("nowhere");
        assert_eq!(folder(expected.to_str().expect("UTF-8"), Some(&nowhere)).expect("a path needs no root"), expected);
        assert!(folder("4", Some(&nowhere)).expect_err("no root").to_string().contains("nowhere: cannot be read"));
    }

    #[test]
    fn an_ambiguous_id_names_both_folders() {
        let root = root(&["Dataset004_A", "Dataset004_B"]);
        let message = folder("4", Some(root.path())).expect_err("two folders").to_string();
        assert!(message.contains("Dataset004_A or ") && message.contains("Dataset004_B"), "{message}");
    }

    #[test]
    fn a_misspelt_name_gets_a_hint() {
        let root = root(&["Dataset004_Hippocampus"]);
        let message = folder("Dataset004_Hipocampus", Some(root.path())).expect_err("misspelt").to_string();
        assert!(message.contains("did you mean \"Dataset004_Hippocampus\"?"), "{message}");
        assert!(folder("7", None).expect_err("no root").to_string().contains("nnUNet_raw"));
    }
}
