//! Names, headers and labels reach terminals, logs and tables as text, and spreadsheets as text.

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use serde_json::json;
use std::fs;
use tests::artifact::plugin;
use tests::case::image;
use tests::models;
use tests::program::{Bench, Ended};

/// What a stranger may put into a name: colours, the title of the window, a line of its own, backspaces, writing from right to left, C1.
const ACTIVE: [&str; 7] =
    ["\x1b[31mred", "\x1b]0;title\x07", "x\n[INFO  host] all is well", "x\rdone", "x\x08\x08y", "x\u{202e}iin.exe", "x\u{9b}2J"];

/// No character of the text moves anything.
fn expect_plain(text: &str, what: &str) {
    let active =
        |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert!(!text.contains(active), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("[INFO  host] all is well")), "{what}: {text:?}");
}

fn expect_plain_output(ended: &Ended, what: &str) {
    expect_plain(&ended.stdout, what);
    expect_plain(&ended.stderr, what);
}

#[test]
fn names_of_files_are_shown_and_not_obeyed() {
    let bench = Bench::new();
    let model = models::copy_to("plain_3d", bench.folder());
    let images = bench.folder().join("images");
    fs::create_dir(&images).expect("writable");
    for name in ACTIVE {
        // Some are predicted, some are not.
        fs::write(images.join(format!("{name}_bad_0000.nii.gz")), "no image").expect("writable");
        write_image(&images.join(format!("{name}_0000.nii.gz")), &image(), &Geometry::with_spacing([1.0; 3])).expect("writable");
    }
    let ended = bench.predict(&model, &images, &[]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    expect_plain_output(&ended, "predict");
    assert!(ended.stderr.contains("\\u{1b}[31mred_bad") && ended.stderr.contains("\\u{202e}"), "{ended:#?}");

    // The folder itself, and a data set of such names.
    let folder = bench.folder().join("raw").join("Dataset007_\x1b[2J\u{202e}");
    fs::rename(&bench.raw.folder, &folder).expect("renamed");
    for name in ACTIVE {
        fs::write(folder.join("imagesTr").join(format!("{name}.nii")), "no image").expect("writable");
        fs::write(folder.join("imagesTr").join(format!("{name}_0000.nii")), "no image").expect("writable");
    }
    let dataset = folder.to_str().expect("UTF-8");
    for further in [&[][..], &["--json"]] {
        let ended = bench.run(&[&["dataset", "check", "--dataset", dataset][..], further].concat());
        assert_eq!(ended.code, 1, "{ended:#?}");
        expect_plain_output(&ended, "check");
    }
    for command in
        [&["fingerprint", "--dataset", dataset][..], &["plan", "--dataset", dataset], &["run", "--plugin", "base", "--dataset", dataset]]
    {
        let ended = bench.run(command);
        assert_ne!(ended.code, 0, "{ended:#?}");
        expect_plain_output(&ended, command[0]);
    }
}

#[test]
fn labels_and_headers_are_shown_and_not_obeyed() {
    for name in ACTIVE {
        let bench = Bench::new();
        bench.raw.describe(json!({"labels": {"background": 0, name: 1, "box": 2}, "channel_names": {"0": name}}));
        let dataset = bench.raw.folder.display().to_string();
        bench.raw.relabel(1, |mut labels| {
            labels.data_mut()[0] = 7;
            labels
        });
        let ended = bench.run(&["dataset", "check", "--dataset", &dataset]);
        assert_eq!(ended.code, 1, "{ended:#?}");
        expect_plain_output(&ended, name);

        let header = format!("NRRD0004\ntype: {name}\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n\n");
        let odd = format!("ObjectType = Image\nNDims = 3\nDimSize = {name}\nElementType = MET_UCHAR\nElementDataFile = {name}\n");
        let images = bench.folder().join("images");
        fs::create_dir(&images).expect("writable");
        let model = models::copy_to("plain_3d", bench.folder());
        for (ending, header) in [(".nrrd", header), (".mhd", odd)] {
            fs::write(images.join(format!("a_0000{ending}")), header).expect("writable");
            let text = fs::read_to_string(models::folder().join("plain_3d/dataset.json")).expect("there").replace(".nii.gz", ending);
            fs::write(model.join("dataset.json"), text).expect("writable");
            let ended = bench.predict(&model, &images, &[]);
            assert_eq!(ended.code, 1, "{ended:#?}");
            expect_plain_output(&ended, name);
        }
    }
}

#[test]
fn logs_of_a_training_are_plain() {
    let bench = Bench::new();
    let name = "\x1b[31mball\u{202e}";
    bench.raw.describe(json!({"labels": {"background": 0, name: 1, "box": 2}}));
    let ended = bench.train(&plugin("base"), &[]).expect_success();
    expect_plain_output(&ended, "run");
    expect_plain(&fs::read_to_string(bench.fold().join("log.txt")).expect("written"), "log.txt");
    let ended = bench.run(&["runs", "show", bench.fold().to_str().expect("UTF-8")]).expect_success();
    expect_plain_output(&ended, "runs show");
}

/// The cells of comma-separated values (RFC 4180).
fn parse(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && letters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(letter),
        }
    }
    assert!(cell.is_empty() && row.is_empty() && !quoted, "{text:?}");
    rows
}

#[test]
fn tables_are_quoted_and_no_formula_is_live() {
    let bench = Bench::new();
    let (reference, prediction) = (bench.folder().join("reference"), bench.folder().join("prediction"));
    fs::create_dir_all(&reference).expect("writable");
    fs::create_dir_all(&prediction).expect("writable");
    let cases = ["=1+1", "+1", "-1", "@SUM(A1)", "a,b", "say \"x\"", "=cmd|' C'!A0", "\tx", "x\ny", "plain"];
    let labels = Volume::new([1, 4, 4, 4], (0..64).map(|i| i % 3).collect());
    for case in cases {
        for folder in [&reference, &prediction] {
            write_labels(&folder.join(format!("{case}.nii")), &labels, &Geometry::with_spacing([1.0; 3])).expect("writable");
        }
    }
    let description = json!({"channel_names": {"0": "MRI"}, "labels": {"background": 0, "=HYPERLINK(1)": 1, "b,c": 2}, "numTraining": 1, "file_ending": ".nii"});
    fs::write(prediction.join("dataset.json"), description.to_string()).expect("writable");
    let [a, b] = [&reference, &prediction].map(|path| path.to_str().expect("UTF-8"));
    expect_plain_output(&bench.run(&["evaluate", a, b]).expect_success(), "evaluate");
    let rows = parse(&fs::read_to_string(prediction.join("cases.csv")).expect("written"));
    assert_eq!(rows.len(), 1 + 2 * cases.len());
    let first: Vec<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    for shown in [
        "'=1+1.nii",
        "'+1.nii",
        "'-1.nii",
        "'@SUM(A1).nii",
        "a,b.nii",
        "say \"x\".nii",
        "'=cmd|' C'!A0.nii",
        "'\\tx.nii",
        "x\\ny.nii",
        "plain.nii",
    ] {
        assert_eq!(first.iter().filter(|name| **name == shown).count(), 2, "{shown}: {first:?}");
    }
    for row in &rows[1..] {
        assert!(row.len() == rows[0].len() && ["'=HYPERLINK(1)", "b,c"].contains(&row[1].as_str()), "{row:?}");
        // Numbers stay numbers, negative ones, too.
        assert!(row[2..].iter().all(|cell| cell.parse::<f64>().is_ok()), "{row:?}");
    }
}
