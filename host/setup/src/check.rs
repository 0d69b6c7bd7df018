//! Whether a folder holds a whole libtorch of the right version.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::libtorch::{VERSION, Variant};
use crate::tools;

/// Checks an installed folder file by file, then loads the library: what pip's `RECORD`s list is there with the size that
/// they give, and the loader finds all that libtorch needs. Returns what is wrong.
pub fn packages(folder: &Path, variant: Variant) -> Result<(), String> {
    version(&folder.join("torch"))?;
    for (name, version) in variant.packages() {
        let record = folder.join(format!("{}-{version}.dist-info/RECORD", name.replace('-', "_")));
        if !record.is_file() {
            return Err(format!("{name} {version} is not installed"));
        }
    }
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "dist-info") {
            let record = fs::read_to_string(path.join("RECORD")).map_err(|error| format!("{}: {error}", path.display()))?;
            files(folder, &record)?;
        }
    }
    loads(&folder.join("torch/lib").join(variant.library()))
}

/// Checks the version that the headers name; every libtorch has them, from whatever source.
pub fn version(torch: &Path) -> Result<(), String> {
    let path = torch.join("include/torch/headeronly/version.h");
    let header = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match header_version(&header) {
        Some(found) if found == VERSION => Ok(()),
        Some(found) => Err(format!("it is version {found}")),
        None => Err(format!("{} names no version", path.display())),
    }
}

/// `MAJOR.MINOR.PATCH` from the text of `version.h`.
fn header_version(header: &str) -> Option<String> {
    let number = |part: &str| {
        header.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let named = words.next() == Some("#define") && words.next() == Some(&format!("TORCH_VERSION_{part}"));
            words.next().filter(|_| named)?.parse::<u32>().ok()
        })
    };
    Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}

/// Checks the files of one package; `record` is the text of its `RECORD` (CSV: path, hash, size).
fn files(folder: &Path, record: &str) -> Result<(), String> {
    for line in record.lines() {
        // From the right: only the path can hold a comma.
        let mut fields = line.rsplitn(3, ',');
        let (size, _hash, Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!("a RECORD holds the line {line:?}"));
        };
        let path = path.trim_matches('"').replace("\"\"", "\"");
        let (Some(Ok(size)), false) = (size.map(str::parse::<u64>), path.starts_with("..")) else {
            // Without a size: RECORD itself. Outside: scripts, which `--target` puts elsewhere than RECORD says.
            continue;
        };
        match fs::metadata(folder.join(&path)) {
            Ok(found) if found.len() == size => {}
            Ok(found) => {
                return Err(format!("{path} has {} bytes instead of {size}", found.len()));
            }
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(())
}

/// Loads a library in a process of its own, every symbol resolved. Python can do that, and is there: pip needs it.
fn loads(library: &Path) -> Result<(), String> {
    let script = "import ctypes, sys; ctypes.CDLL(sys.argv[1])";
    tools::output(Command::new(tools::python()).args(["-c", script]).arg(library)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_header_s_three_numbers() {
        let header = "#pragma once\n\n/// Indicates the major version of LibTorch.\n#define TORCH_VERSION_MAJOR 2\n\
                      #define TORCH_VERSION_MINOR 13\n#define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION_ABI_TAG 7\n\
                      #define TORCH_VERSION \\\n  \"2.13.0\"\n";
        assert_eq!(header_version(header).as_deref(), Some("2.13.0"));
        assert_eq!(header_version(&header.replace("_MINOR 13", "_MINOR 4")).as_deref(), Some("2.4.0"));
        assert_eq!(header_version("#define TORCH_VERSION_MAJOR 2\n"), None);
    }

    #[test]
    fn a_missing_or_short_file_is_named() {
        let folder = tempdir("files");
        fs::write(folder.join("whole,1.so"), "1234").unwrap();
        let record = "../../bin/tool,sha256=x,9\n\"whole,1.so\",sha256=y,4\na.dist-info/RECORD,,\n";
        assert_eq!(files(&folder, record), Ok(()));
        assert_eq!(files(&folder, "\"whole,1.so\",sha256=y,5\n"), Err("whole,1.so has 4 bytes instead of 5".into()));
        assert!(files(&folder, "gone.h,sha256=y,5\n").unwrap_err().starts_with("gone.h: "));
        assert!(files(&folder, "cut off").unwrap_err().contains("cut off"));
        fs::remove_dir_all(folder).unwrap();
    }

    fn tempdir(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("setup-check-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}
