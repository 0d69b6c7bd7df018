//! What a target consists of: one file a kind, and one list.
//!
//! ```text
//! dataset.json ─ Declare ─→ TargetKind ┬ Voxels: a map a case ─ read ─→ Map ─ cropped, resampled, stored by its type
//!                                      └ Whole:  one file, a value a case
//! prediction, reference ─ Kind::compare ─→ Case ─→ Summary ─→ summary.json ─ Kind::read_summary ─→ comparisons
//! ```
//! A kind is added in two files, this folder's and that of the same name in the program's `kinds` (patches, export, files, pictures), and
//! in the list [`for_every_kind`](crate::for_every_kind). Everything else asks [`Kind`].

mod class;
mod files;
mod labels;
mod regression;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::Path;

use imaging::io::JsonError;
use serde_json::Value;

use crate::entry::Entry;
use crate::fault::Error;
use crate::measure::record::Recorded;
use crate::measure::{Collect, Summarise};

pub use crate::labels::Labels;
pub use class::Class;
pub use files::{Beside, CaseTarget, Comparison, Look, Map};
pub use regression::{MOST_CHANNELS, Regression};

/// Hands the list of all kinds to the macro `$of`. Their order is that of messages.
#[macro_export]
macro_rules! for_every_kind {
    ($of:ident) => {
        $of! { Labels, Regression, Class }
    };
}

/// What the rest of the program asks of a kind.
pub trait Kind: fmt::Debug + Send + Sync {
    /// What there is of a case.
    fn form(&self) -> Form<'_>;

    /// What the values mean, if it is a label map: only these have foreground, and others can be derived from them.
    fn labels(&self) -> Option<&Labels> {
        None
    }

    /// Whether its channels are the components (z, y, x) of a vector, which turns with space.
    fn is_vector(&self) -> bool {
        false
    }

    /// Measures the files of a case, and tells what is doubtful about them.
    ///
    /// # Errors
    /// When they cannot be compared: why, in words.
    fn compare(&self, pair: &Comparison) -> Result<(Case, Vec<String>), String>;

    /// Measured cases of this kind, none yet.
    fn summary(&self) -> Summary;

    /// Reads the `summary.json` of an output whose files end in `ending`.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    fn read_summary(&self, path: &Path, ending: &str) -> Result<Recorded, JsonError>;

    /// For programmers, and in data keys, which are hashes of this text among others: it stays as it is.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What there is of a case of a kind.
#[derive(Debug)]
pub enum Form<'a> {
    /// A map: something at every voxel. Its files are one a case.
    Voxels(&'a dyn Voxels),
    /// A value for the whole case. One JSON file has those of all cases.
    Whole(&'a dyn Whole),
}

/// A kind that says something at every voxel.
pub trait Voxels: fmt::Debug {
    /// Reads the map of a case.
    ///
    /// # Errors
    /// When it cannot be read, differs from the image in shape or spacing, or is not what was declared.
    fn read(&self, path: &Path, beside: &Beside) -> Result<Map, Error>;

    /// What the stored array depends on besides its file. It is part of a store's key.
    fn stored_as(&self) -> Value;

    /// Looks for everything that is wrong with the map at `path`. Without `is_told`, `dataset.json` does not say how it was declared. Returns
    /// whether it shows foreground, if that can be said.
    fn check(&self, path: &Path, is_told: bool, look: &mut dyn Look) -> Option<bool>;
}

/// A kind that says something of the whole case.
pub trait Whole: fmt::Debug {
    /// The value of a case, as an entry of the target's file has it.
    ///
    /// # Errors
    /// When the entry is no such value.
    fn value(&self, entry: &Entry) -> Result<CaseTarget, Error>;

    /// What can be written there, for messages.
    fn values(&self) -> String;

    /// The values of all cases, from a JSON file of references that predictions are measured by.
    ///
    /// # Errors
    /// When it cannot be read, or has another value: why, in words.
    fn references(&self, path: &Path) -> Result<BTreeMap<String, CaseTarget>, String>;
}

/// How a kind is declared in `dataset.json`, in the entry of a target.
trait Declare: Kind + Sized {
    /// Its name: `"kind": "labels"`.
    const NAME: &str;
    /// All keys that an entry may have.
    const KEYS: &[&str];

    /// Reads the entry, whose keys are among [`Self::KEYS`].
    fn declare(entry: &Entry) -> Result<Self, Error>;
}

/// How cases of a kind are measured.
pub trait Measure: Kind {
    /// The measured cases of an output.
    type Summary: Collect<Case: fmt::Debug + Clone + Send> + Clone + Send;
}

macro_rules! define {
    ($($kind:ident),*) => {
        /// What a target consists of.
        #[derive(Clone, PartialEq)]
        pub enum TargetKind {
            $(#[doc = concat!("See [`", stringify!($kind), "`].")] $kind($kind),)*
        }

        impl TargetKind {
            /// Their names in `dataset.json`.
            pub(crate) const NAMES: &[&str] = &[$($kind::NAME),*];

            /// Reads an entry whose kind is called `name`; none where no kind is.
            pub(crate) fn declare(name: &str, entry: &Entry) -> Result<Option<Self>, Error> {
                $(if name == $kind::NAME {
                    entry.only($kind::KEYS)?;
                    return Ok(Some(Self::$kind($kind::declare(entry)?)));
                })*
                Ok(None)
            }
        }

        impl Deref for TargetKind {
            type Target = dyn Kind;

            fn deref(&self) -> &(dyn Kind + 'static) {
                match self {
                    $(Self::$kind(kind) => kind,)*
                }
            }
        }

        /// One measured case.
        #[derive(Clone, Debug)]
        pub enum Case {
            $(#[doc = concat!("Of [`", stringify!($kind), "`].")] $kind(<<$kind as Measure>::Summary as Collect>::Case),)*
        }

        /// The measured cases of one output.
        #[derive(Clone, Debug)]
        pub enum Summary {
            $(#[doc = concat!("Of [`", stringify!($kind), "`].")] $kind(<$kind as Measure>::Summary),)*
        }

        impl Summary {
            /// Adds a case of its kind.
            pub fn add(&mut self, case: Case) {
                match (self, case) {
                    $((Self::$kind(summary), Case::$kind(case)) => summary.add(case),)*
                    _ => unreachable!("all cases of an output are of one kind"),
                }
            }
        }

        impl Deref for Summary {
            type Target = dyn Summarise;

            fn deref(&self) -> &(dyn Summarise + 'static) {
                match self {
                    $(Self::$kind(summary) => summary,)*
                }
            }
        }
    };
}

for_every_kind!(define);

impl fmt::Debug for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)
    }
}

impl TargetKind {
    /// Whether it says something at every voxel.
    pub fn is_dense(&self) -> bool {
        matches!(self.form(), Form::Voxels(_))
    }

    /// What the files of predictions end in, where maps end in `of_maps`.
    pub fn ending<'a>(&self, of_maps: &'a str) -> &'a str {
        if self.is_dense() { of_maps } else { ".json" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keys_see_the_texts_that_they_always_saw() {
        let labels = TargetKind::Labels(Labels::default());
        assert_eq!(format!("{labels:?}"), "Labels(Labels { names: {}, ignore: None, region_order: None })");
        let regression = TargetKind::Regression(Regression { channels: 1, pad: 0.0, vectors: false });
        assert_eq!(format!("{regression:?}"), "Regression { channels: 1, pad: 0.0, vectors: false }");
        let class = TargetKind::Class(Class { classes: vec!["a".to_owned()] });
        assert_eq!(format!("{class:?}"), "Class { classes: [\"a\"] }");
    }
}
