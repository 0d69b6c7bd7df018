//! What the program has around it. `main` fills one [`Environment`] in and hands it down; nothing else asks which program this is, registers
//! signals, or knows where results are printed: the host may live in another program.

use crate::console::Output;
use crate::plugin;
use data::scratch::Folders;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the program has around it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The program, which authors of plugins call; `None` where the system does not tell.
    pub program: Option<PathBuf>,
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
    /// Of the host as `program`, beside which the plugins lie that ship with it.
    pub fn new(program: Option<PathBuf>, stop: Stop, output: Output, folders: Folders) -> Self {
        let plugins = plugin::this_host(program.as_deref().and_then(Path::parent).map(PathBuf::from));
        Self { program, plugins, stop, output, folders }
    }
}

/// Who stops a run: after the iteration that it is at, and what it has is saved.
#[derive(Clone)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    listens: Arc<AtomicBool>,
    listen: Arc<Listen>,
}

type Listen = dyn Fn(Stop) -> io::Result<()> + Send + Sync;

impl Stop {
    /// `listen` is called when something begins that can be stopped; from then on it calls [`ask`](Self::ask) when the user wants that.
    pub fn new(listen: impl Fn(Self) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), listens: Arc::default(), listen: Arc::new(listen) }
    }

    /// Begins to listen, unless it does so already.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn listen(&self) -> io::Result<()> {
        if self.listens.swap(true, Ordering::Relaxed) { Ok(()) } else { (self.listen)(self.clone()) }
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
