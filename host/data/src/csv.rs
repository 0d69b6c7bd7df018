//! Tables for other programs: comma-separated values (RFC 4180).

use imaging::plain::plain;

/// One value of a table.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// A name, of whatever characters.
    Text(&'a str),
    /// A number, written as short as it can be read back.
    Number(f64),
}

/// Adds a row. Cells are quoted where they have to be; control characters in text are shown as what they are. A text that a spreadsheet
/// would take for a formula gets a leading apostrophe.
pub fn row<'a>(table: &mut String, cells: impl IntoIterator<Item = Cell<'a>>) {
    for (number, cell) in cells.into_iter().enumerate() {
        if number > 0 {
            table.push(',');
        }
        match cell {
            Cell::Text(text) => push_text(table, text),
            Cell::Number(value) => table.push_str(&value.to_string()),
        }
    }
    table.push_str("\r\n");
}

fn push_text(table: &mut String, text: &str) {
    let shown = plain(text);
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if shown.contains([',', '"']) {
        table.push('"');
        table.push_str(guard);
        table.push_str(&shown.replace('"', "\"\""));
        table.push('"');
    } else {
        table.push_str(guard);
        table.push_str(&shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_guarded_and_plain() {
        let mut table = String::new();
        row(&mut table, ["case", "a,b", "say \"x\"", "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a\nb", "'a"].map(Cell::Text));
        row(&mut table, [Cell::Number(-0.5), Cell::Number(f64::NAN)]);
        let expected = "case,\"a,b\",\"say \"\"x\"\"\",'=1+1,'+1,'-1,'@SUM(A1),'\\tx,'\\rx,a\\nb,'a\r\n-0.5,NaN\r\n";
        assert_eq!(table, expected);
    }
}
