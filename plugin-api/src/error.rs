//! The error of a trainer: one line for the user.

/// What went wrong, in one line that names what was found and what was expected. `?` makes one from any error.
#[derive(Debug)]
pub struct Error(String);

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(first_line(&self.0))
    }
}

// `Error` itself does not implement `std::error::Error`, so that this conversion can be for every type that does.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// libtorch appends its C++ backtrace to a message, plain or escaped; the first line is what a person needs.
pub(crate) fn first_line(message: &str) -> &str {
    let end = ["\n", "\\n"].iter().filter_map(|newline| message.find(newline)).min();
    message[..end.unwrap_or(message.len())].trim_end()
}

/// Returns an [`Error`] with a formatted message.
#[macro_export]
macro_rules! bail {
    ($($message:tt)*) => { return Err($crate::Error::new(format!($($message)*))) };
}
