//! Text without characters that act on a terminal, a table or a log: they are shown as what they are, `\n`, `\u{1b}`, `\u{202e}`.
//!
//! Names, headers and plugins bring such characters along.

use std::borrow::Cow;

/// Whether a character moves the cursor, ends a line, or turns the writing around it.
pub fn is_active(c: char) -> bool {
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
}
