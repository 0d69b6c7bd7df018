//! Text that a user pastes into a shell, or has it evaluate.

use std::path::Path;

/// `text` as one word for a shell, whatever is in it.
pub fn quoted(text: impl AsRef<Path>) -> String {
    let text = text.as_ref().display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("/a/b-c.so"), "/a/b-c.so");
        assert_eq!(quoted("/a b/c's"), r"'/a b/c'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
