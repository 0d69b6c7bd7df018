//! The images that are to be predicted: which files belong to one case.

use data::dataset::{split_channel, visible_names};
use data::name::Name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The image files of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// Its id, which names what is predicted.
    pub id: Name,
    /// Its files, one a channel, or fewer that hold several.
    pub images: Vec<PathBuf>,
}

/// A case that cannot be predicted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {reason}")]
pub struct BadCase {
    /// The case, or the file.
    pub case: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// The cases in `paths`, each a folder of images or an image, sorted by id, and what cannot be taken.
///
/// Names are nnU-Net's: `<case>_0000<ending>`, the number being that of the channel. A file that is named itself need not have one.
pub fn find_cases(paths: &[PathBuf], channels: usize, ending: &str) -> (Vec<CaseFiles>, Vec<BadCase>) {
    let mut found: BTreeMap<String, BTreeMap<usize, PathBuf>> = BTreeMap::new();
    let mut bad = Vec::new();
    for (path, is_named) in paths.iter().flat_map(|path| files(path, ending, &mut bad)).collect::<Vec<_>>() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(ending) else {
            let reason = format!("does not end in {ending}, as the images do that the model was trained on; convert it");
            bad.push(BadCase { case: path.display().to_string(), reason });
            continue;
        };
        let (id, channel) = match split_channel(stem) {
            Some(named) => named,
            None if is_named => (stem, 0),
            None => {
                let reason = format!("its name has no channel number; expected {stem}_0000{ending}");
                bad.push(BadCase { case: path.display().to_string(), reason });
                continue;
            }
        };
        let files = found.entry(id.to_owned()).or_default();
        if let Some(other) = files.get(&channel) {
            let reason = format!("is channel {channel} of case {id}, as {} is; rename one of them", other.display());
            bad.push(BadCase { case: path.display().to_string(), reason });
        } else {
            files.insert(channel, path);
        }
    }
    let mut cases = Vec::new();
    for (id, files) in found {
        // Files may hold several channels, which shows when they are opened; a gap shows here.
        match (0..files.len()).find(|channel| !files.contains_key(channel)) {
            Some(missing) => {
                let there: Vec<String> = files.keys().map(|channel| format!("{channel:04}")).collect();
                let reason = format!("has channels {}, but no {id}_{missing:04}{ending}; add it", there.join(", "));
                bad.push(BadCase { case: id, reason });
            }
            None if files.len() > channels => {
                let reason =
                    format!("has {} files, but the model takes {channels} channels; remove those that are not its own", files.len());
                bad.push(BadCase { case: id, reason });
            }
            None => match Name::new(id) {
                Ok(id) => cases.push(CaseFiles { id, images: files.into_values().collect() }),
                Err(error) => bad.push(BadCase { case: String::new(), reason: error.to_string() }),
            },
        }
    }
    (cases, bad)
}

/// The images that `path` means, and whether each was named itself.
fn files(path: &Path, ending: &str, bad: &mut Vec<BadCase>) -> Vec<(PathBuf, bool)> {
    if path.is_file() {
        return vec![(path.to_owned(), true)];
    }
    match visible_names(path) {
        Ok(names) => names.iter().filter(|name| name.ends_with(ending)).map(|name| (path.join(name), false)).collect(),
        Err(error) => {
            bad.push(BadCase { case: path.display().to_string(), reason: error.to_string() });
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_cases() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in
            ["b_0000.nii", "b_0001.nii", "a_0000.nii", "a_0001.nii", "gap_0001.nii", "many_0000.nii", "many_0001.nii", "many_0002.nii"]
        {
            std::fs::write(folder.path().join(name), []).expect("written");
        }
        std::fs::write(folder.path().join("plain.nii"), []).expect("written");
        std::fs::write(folder.path().join("notes.txt"), []).expect("written");
        let (cases, bad) = find_cases(&[folder.path().to_owned()], 2, ".nii");
        assert_eq!(cases.iter().map(|input| (&*input.id, input.images.len())).collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
        let reasons: Vec<String> = bad.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), 3);
        assert!(reasons[0].contains("plain.nii") && reasons[0].contains("expected plain_0000.nii"), "{reasons:?}");
        assert!(reasons[1].contains("gap: has channels 0001, but no gap_0000.nii"), "{reasons:?}");
        assert!(reasons[2].contains("many: has 3 files"), "{reasons:?}");

        let again = [folder.path().to_owned(), folder.path().join("a_0000.nii")];
        let (_, bad) = find_cases(&again, 2, ".nii");
        assert!(bad.iter().any(|bad| bad.reason.contains("is channel 0 of case a, as")), "{bad:?}");

        let named = [folder.path().join("plain.nii"), folder.path().join("notes.txt"), folder.path().join("absent.nii")];
        let (cases, bad) = find_cases(&named, 1, ".nii");
        assert_eq!(cases[0].id, "plain");
        assert!(bad[0].to_string().contains("absent.nii") && bad[1].to_string().contains("does not end in .nii"), "{bad:?}");
    }
}
