//! What the program prints: nothing that names, headers or plugins bring along reaches a terminal, a table or a log as a command to it.
//!
//! Control characters, line breaks among them, and marks that change the direction of writing are shown as what they are: `\n`, `\u{1b}`,
//! `\u{202e}`. Everything that is printed goes through here: lines and texts through `say!` and [`text`], JSON through [`json`], messages
//! through [`logger`], an error at the end through [`plain`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

/// Whether a character moves the cursor, ends a line, or turns the writing around it.
fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// One line without active characters.
pub fn plain(line: &str) -> Cow<'_, str> {
    escaped(line, is_active)
}

/// The same of several lines, which the program itself has broken.
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_active(c))
}

fn escaped(text: &str, is_active: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_active) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
}

/// Prints one line, as `println!` does; an error where nobody reads it any more, as behind `| head`.
macro_rules! say {
    ($($part:tt)*) => { $crate::console::line(&format!($($part)*)) };
}
pub(crate) use say;

/// Prints one line.
///
/// # Errors
/// When nobody takes it.
pub fn line(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{}", plain(line))
}

/// Prints a text that ends its lines itself.
///
/// # Errors
/// When nobody takes it.
pub fn text(text: &str) -> io::Result<()> {
    write!(io::stdout(), "{}", plain_lines(text))
}

/// Prints JSON, in which every active character is written as an escape.
///
/// # Errors
/// When nobody takes it.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    writeln!(io::stdout(), "{}", plain_json(&serde_json::to_string_pretty(value)?))
}

fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings there is nothing active but line breaks.
        if c == '\n' || !is_active(c) {
            plain.push(c);
        } else {
            let _ = write!(plain, "\\u{:04x}", c as u32);
        }
    }
    plain
}

/// The log, from messages of this level on unless RUST_LOG says otherwise.
pub fn logger(level: &str) -> env_logger::Builder {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level));
    builder.format(|out, record| {
        let style = out.default_level_style(record.level());
        let (target, message) = (record.target(), record.args().to_string());
        writeln!(out, "[{style}{:<5}{style:#} {}] {}", record.level(), plain(target), plain(&message))
    });
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_characters_are_shown_as_what_they_are() {
        for (given, shown) in [
            ("plain – ünï «text»", "plain – ünï «text»"),
            ("a\x1b[31mred", "a\\u{1b}[31mred"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}\u{200f}\u{7f}\0", "\\u{2066}x\\u{2069}\\u{200f}\\u{7f}\\u{0}"),
        ] {
            assert_eq!(plain(given), shown);
        }
        assert_eq!(plain_lines("a\nb\x07"), "a\nb\\u{7}");
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({"a\x1b\u{202e}": ["\u{9b}", "\n", "ü"]});
        let text = plain_json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(!text.chars().any(|c| c != '\n' && is_active(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
