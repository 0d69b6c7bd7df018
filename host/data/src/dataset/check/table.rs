//! Findings as a table for people.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Finding, Severity};
use imaging::plain::plain;

const HEADER: [&str; 4] = ["SEVERITY", "FILE", "FOUND", "REMEDY"];
const GAP: &str = "  ";
/// Narrower columns cannot be read.
const NARROWEST: usize = 12;

/// Columns for severity, file, what was found and what to do, wrapped to `width` characters in all.
pub(super) fn layout(findings: &[Finding], width: Option<usize>) -> String {
    let rows: Vec<[Cow<str>; 4]> = std::iter::once(HEADER).chain(findings.iter().map(row)).map(|row| row.map(plain)).collect();
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut widths = [0, 1, 2, 3].map(longest);
    if let Some(width) = width {
        let left = width.saturating_sub(widths[0] + 3 * GAP.len());
        widths[1] = widths[1].min((left / 4).max(NARROWEST));
        let left = left.saturating_sub(widths[1]);
        widths[2] = widths[2].min((left * 11 / 20).max(NARROWEST));
        widths[3] = widths[3].min(left.saturating_sub(widths[2]).max(NARROWEST));
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, width)).collect();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let pieces = cells.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", cell.get(line).map_or("", String::as_str)));
            let _ = writeln!(text, "{}", pieces.collect::<Vec<_>>().join(GAP).trim_end());
        }
    }
    text
}

fn row(finding: &Finding) -> [&str; 4] {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    [severity, &finding.path, &finding.found, &finding.remedy]
}

/// Breaks `text` at spaces into lines of at most `width` characters; a longer word is broken where the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length <= width {
            lines.last_mut().expect("never empty").push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for letter in word.chars() {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("never empty").push(letter);
            used += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, found: &str, remedy: &str) -> Finding {
        Finding { severity: Severity::Error, path: path.to_owned(), found: found.to_owned(), remedy: remedy.to_owned() }
    }

    #[test]
    fn columns_wrap_to_the_width_and_stay_on_one_line_without_one() {
        let findings = [finding("imagesTr/a_long_name_0000.nii.gz", "every voxel is 0", "replace the file, or leave the case out")];
        let table = layout(&findings, Some(70));
        assert!(table.lines().count() > 3 && table.lines().all(|line| line.chars().count() <= 70), "{table}");
        let column = table.find("FILE").expect("a header")..table.find("FOUND").expect("a header");
        let joined: String =
            table.lines().skip(1).map(|line| line[..line.len().min(column.end)].get(column.start..).unwrap_or("").trim()).collect();
        assert_eq!(joined, findings[0].path);
        let table = layout(&findings, None);
        assert_eq!(table.lines().count(), 2);
        assert!(table.ends_with("every voxel is 0  replace the file, or leave the case out\n"), "{table}");
    }
}
