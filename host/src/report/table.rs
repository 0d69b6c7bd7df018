//! Tables as text.

use std::borrow::Cow;

use imaging::plain::plain;

/// Rows under each other: the first column to the left, the others to the right.
pub fn lines(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cow<str>>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> =
            cells.map(|(c, (cell, width))| if c == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }).collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}
