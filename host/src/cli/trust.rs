//! Arguments of `host plugin trust`.

use clap::Subcommand;

/// `host plugin trust …`.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Pin plugins by the sha256 that they have now: --locked then runs them, and others under their ids are warned of
    Add {
        /// Ids or paths of libraries
        #[arg(required = true, value_name = "ID|PATH")]
        plugins: Vec<String>,
    },
    /// List what is pinned, and whether it is still what was pinned
    List,
    /// Take back what was pinned
    Remove {
        /// Ids (everything that is pinned under them), paths of libraries, or sha256s or the first digits of one
        #[arg(required = true, value_name = "ID|PATH|SHA256")]
        plugins: Vec<String>,
    },
}
