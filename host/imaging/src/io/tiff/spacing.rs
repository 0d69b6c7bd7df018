//! The spacing of a TIFF stack: `{"spacing": [z, y, x]}` in a JSON file beside it (`tif_reader_writer.py`).
//!
//! It has the name of the case: `a.json` belongs to the label map `a.tif` and to the images `a_0000.tif`, `a_0001.tif`. A file `a_0000.json`, which
//! nnU-Net does not know, is read where there is no `a.json`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::io::{Error, JsonError, read_json, write_atomically};

const EXPECTED: &str = "expected {\"spacing\": [z, y, x]} with sizes above 0 in mm";

/// The spacing (z, y, x) that lies beside the stack at `path`, if there is any.
pub fn read(path: &Path) -> Result<Option<[f64; 3]>, Error> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let case = stem.len().checked_sub(5).and_then(|end| Some((stem.get(..end)?, stem.get(end..)?.strip_prefix('_')?)));
    let case = case.filter(|(_, channel)| channel.bytes().all(|byte| byte.is_ascii_digit())).map(|(case, _)| format!("{case}.json"));
    let beside = [case, Some(format!("{stem}.json"))].into_iter().flatten().map(|name| path.with_file_name(name));
    let Some(beside) = beside.into_iter().find(|beside| beside.is_file()) else { return Ok(None) };
    let unusable = |why: String| Error::content(&beside, (format!("has no usable spacing for {}{why}", path.display()), EXPECTED));
    let json: Value = read_json(&beside).map_err(|error| match error {
        JsonError::Read(cause) => Error::Read { path: beside.clone(), cause },
        other => unusable(format!(" ({other})")),
    })?;
    let listed = || {
        let spacing = <[Value; 3]>::try_from(json.get("spacing")?.as_array()?.clone()).ok()?;
        let spacing = spacing.map(|size| size.as_f64().filter(|size| *size > 0.0 && size.is_finite()));
        if let [Some(z), Some(y), Some(x)] = spacing { Some([z, y, x]) } else { None }
    };
    listed().map(Some).ok_or_else(|| unusable(String::new()))
}

/// Writes the spacing of the stack at `path`.
pub fn write(path: &Path, spacing: [f64; 3]) -> Result<(), Error> {
    write_atomically(&spacing_path(path), |file| Ok(serde_json::to_writer_pretty(file, &json!({ "spacing": spacing }))?))
}

/// Where the spacing of a label map or prediction is written.
pub fn spacing_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_of_the_case_comes_before_that_of_a_channel() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, z: f64| fs::write(folder.path().join(name), json!({ "spacing": [z, 1.0, 1.0] }).to_string()).unwrap();
        let depth = |name: &str| read(&folder.path().join(name)).unwrap().map(|[z, ..]| z);
        write("a_0000.json", 3.0);
        assert_eq!((depth("a_0000.tif"), depth("a_0001.tif"), depth("a.tif")), (Some(3.0), None, None));
        write("a.json", 2.0);
        assert_eq!((depth("a_0000.tif"), depth("a_0001.tif"), depth("a.tif")), (Some(2.0), Some(2.0), Some(2.0)));
    }
}
