//! What is written is read back: voxels, and as much of the geometry as the format holds.

use std::fs;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{Error, Geometry, endings, read_image, read_labels, write_image, write_labels};

const PHOTOGRAPHS: [&str; 2] = [".png", ".bmp"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/io/files").join(name)
}

/// The geometry of a golden file.
fn geometry(name: &str) -> Geometry {
    read_image(&golden(name)).unwrap().geometry
}

fn counting(shape: [usize; 4]) -> Volume<f32> {
    Volume::new(shape, (0..shape.iter().product::<usize>()).map(|i| i as f32 / 7.0 - 1.0).collect())
}

#[test]
fn oblique_volumes_go_from_any_format_to_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let (image, labels) = (counting([1, 3, 5, 6]), Volume::new([1, 3, 5, 6], (0..90).collect::<Vec<i16>>()));
    let sources = ["sform.nii.gz", "qform.nii.gz", "int16.nrrd", "space_RAS_words.nrrd", "offset.mha", "int16.gipl", "spaced_0000.tif"];
    for source in sources {
        let geometry = geometry(source);
        for ending in endings().filter(|ending| !PHOTOGRAPHS.contains(ending)) {
            let path = folder.path().join(format!("case{ending}"));
            write_image(&path, &image, &geometry).unwrap();
            let copy = read_image(&path).unwrap();
            assert_eq!(copy.volume, image, "{source} to {ending}");
            write_labels(&path, &labels, &geometry).unwrap();
            let copied = read_labels(&path).unwrap();
            assert_eq!(copied.volume, labels, "{source} to {ending}");
            let difference = copied.geometry.differs_from(&geometry);
            match ending {
                ".tif" | ".tiff" => assert_eq!(copied.geometry.spacing(), geometry.spacing(), "{source}"),
                ".gipl" => assert!(difference.is_none_or(|words| words.starts_with("direction")), "{source}"),
                _ => assert_eq!(difference, None, "{source} to {ending}"),
            }
            assert_eq!(copied.geometry.differs_from(&copy.geometry), None);
        }
    }
}

#[test]
fn two_dimensions_stay_two() {
    let folder = tempfile::tempdir().unwrap();
    let labels = Volume::new([1, 1, 3, 4], (0..12).collect::<Vec<i16>>());
    for source in ["two_dimensions.nii.gz", "two_dimensions.nrrd", "two_dimensions.mha", "grey.png", "grey.bmp", "two_dimensions.tif"] {
        let geometry = geometry(source);
        for ending in endings().filter(|ending| *ending != ".gipl") {
            let path = folder.path().join(format!("case{ending}"));
            write_labels(&path, &labels, &geometry).unwrap();
            let copy = read_labels(&path).unwrap();
            assert_eq!(copy.volume, labels, "{source} to {ending}");
            match ending {
                ".png" | ".bmp" | ".tif" | ".tiff" => assert_eq!(copy.geometry.spacing(), [999.0, 1.0, 1.0], "{source} to {ending}"),
                _ => assert_eq!(copy.geometry.differs_from(&geometry), None, "{source} to {ending}"),
            }
        }
        assert!(!folder.path().join("case.json").exists());
    }
}

#[test]
fn a_single_slice_of_a_stack_stays_a_stack() {
    let folder = tempfile::tempdir().unwrap();
    let geometry = Geometry::with_spacing([2.5, 0.75, 0.5]);
    for depth in [1, 3, 4] {
        for ending in [".tif", ".tiff", ".nrrd", ".mha", ".nii"] {
            let path = folder.path().join(format!("case{ending}"));
            let image = counting([1, depth, 5, 6]);
            write_image(&path, &image, &geometry).unwrap();
            let copy = read_image(&path).unwrap();
            assert_eq!((copy.volume, copy.geometry.spacing()), (image, [2.5, 0.75, 0.5]), "{depth} {ending}");
        }
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("case.json")).unwrap().replace(char::is_whitespace, ""),
        r#"{"spacing":[2.5,0.75,0.5]}"#
    );
}

#[test]
fn several_channels_where_the_format_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let image = counting([2, 3, 5, 6]);
    for ending in endings() {
        let path = folder.path().join(format!("case{ending}"));
        let written = write_image(&path, &image, &geometry("int16.nrrd"));
        if [".png", ".bmp", ".tif", ".tiff"].contains(&ending) {
            let message = written.unwrap_err().to_string();
            assert!(message.contains(ending) && message.contains("write ") && !message.contains('\n'), "{message}");
            assert!(!path.exists());
        } else {
            let copy = read_image(&path).unwrap();
            assert_eq!((copy.volume, copy.geometry.spacing()), (image.clone(), [2.5, 0.75, 0.5]), "{ending}");
        }
    }
}

#[test]
fn labels_take_the_smallest_type_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for ending in endings() {
        let path = folder.path().join(format!("case{ending}"));
        for value in [254, 255, 32767, -1] {
            let labels = Volume::new([1, 1, 1, 2], vec![0, value]);
            match write_labels(&path, &labels, &geometry("grey.png")) {
                Ok(()) => assert_eq!(read_labels(&path).unwrap().volume, labels, "{value} {ending}"),
                Err(error) => {
                    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
                    assert!(ending == ".png" && value < 0 || ending == ".bmp" && value != 254, "{value} {ending}");
                }
            }
        }
    }
}

#[test]
fn the_spacing_beside_a_stack_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case_0000.tif");
    write_image(&path, &counting([1, 2, 5, 6]), &Geometry::with_spacing([1.0; 3])).unwrap();
    fs::remove_file(folder.path().join("case_0000.json")).unwrap();
    assert_eq!(read_image(&path).unwrap().geometry.spacing(), [1.0; 3]);
    for text in ["", "[]", r#"{"spacing": 3}"#, r#"{"spacing": [1, 2]}"#, r#"{"spacing": [1, 2, 0]}"#, r#"{"spacing": [1, 2, "x"]}"#] {
        fs::write(folder.path().join("case.json"), text).unwrap();
        let message = read_image(&path).unwrap_err().to_string();
        assert!(message.contains("case.json") && message.contains("case_0000.tif") && !message.contains('\n'), "{message}");
    }
    fs::write(folder.path().join("case.json"), r#"{"spacing": [3, 2, 1.5]}"#).unwrap();
    assert_eq!(read_image(&path).unwrap().geometry.spacing(), [3.0, 2.0, 1.5]);
}
