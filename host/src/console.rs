//! What the program prints: nothing that names, headers or plugins bring along reaches a terminal, a table or a log as a command to it.
//!
//! Control characters, line breaks among them, and marks that change the direction of writing are shown as what they are: `\n`, `\u{1b}`,
//! `\u{202e}`. Results are printed through [`Output`], messages through [`logger`].

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imaging::plain::{is_active, plain, plain_lines};
use serde::Serialize;

/// Prints one line, as `println!` does; an error where nobody reads it any more, as behind `| head`.
macro_rules! say {
    ($env:expr, $($part:tt)*) => { $env.output.line(&format!($($part)*)) };
}
pub(crate) use say;

/// Where results that are printed go.
#[derive(Clone)]
pub struct Output {
    to: Arc<Mutex<dyn Write + Send>>,
    /// Characters of a line, where a person reads it on a terminal.
    pub width: Option<usize>,
}

impl Output {
    /// To `to`, whose lines have `width` characters if a person reads them on a terminal.
    pub fn new(to: impl Write + Send + 'static, width: Option<usize>) -> Self {
        Self { to: Arc::new(Mutex::new(to)), width }
    }

    /// Prints one line.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn line(&self, line: &str) -> io::Result<()> {
        writeln!(self.lock(), "{}", plain(line))
    }

    /// Prints a text that ends its lines itself.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn text(&self, text: &str) -> io::Result<()> {
        write!(self.lock(), "{}", plain_lines(text))
    }

    /// Prints JSON, in which every active character is written as an escape.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn json(&self, value: &impl Serialize) -> io::Result<()> {
        writeln!(self.lock(), "{}", plain_json(&serde_json::to_string_pretty(value)?))
    }

    fn lock(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("width", &self.width).finish_non_exhaustive()
    }
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
    fn json_stays_json() {
        let value = serde_json::json!({"a\x1b\u{202e}": ["\u{9b}", "\n", "ü"]});
        let text = plain_json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(!text.chars().any(|c| c != '\n' && is_active(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
