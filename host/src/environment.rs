//! What the program has around it. `main` fills one [`Environment`] in and hands it down; nothing else asks which program this is, registers
//! signals, or knows where output goes: the host may live in another program.

use crate::console::Output;
use crate::plugin;
use data::scratch::Folders;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the program has around it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The program, which authors of plugins call.
    pub program: PathBuf,
    /// What plugins find in this host, and where they are looked for.
    pub plugins: gate::Host,
    /// Who stops a run.
    pub stop: Stop,
    /// Where results that are printed go.
    pub output: Output,
    /// Temporary folders.
    pub folders: Folders,
}

impl Environment {
    /// Of the host as `program`, beside which its plugins lie.
    pub fn new(program: PathBuf, stop: Stop, output: Output, folders: Folders) -> Self {
        let plugins = plugin::this_host(program.parent().map(PathBuf::from));
        Self { program, plugins, stop, output, folders }
    }
}

/// Who stops a run: after the iteration that it is at, and what it has is saved.
#[derive(Clone)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    listen: Arc<Listen>,
}

type Listen = dyn Fn(Stop) -> io::Result<()> + Send + Sync;

impl Stop {
    /// `listen` is called when something begins that can be stopped; from then on it calls [`ask`](Self::ask) when the user wants that.
    pub fn new(listen: impl Fn(Self) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), listen: Arc::new(listen) }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn listen(&self) -> io::Result<()> {
        (self.listen)(self.clone())
    }

    /// Asks for the end; false if that was asked for before.
    pub fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Whether the end is asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("asked", &self.is_asked()).finish_non_exhaustive()
    }
}
