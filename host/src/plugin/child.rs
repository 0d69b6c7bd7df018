//! Work with a plugin in a process of its own, so that a crash, a hang or a leak of the plugin is that process's alone.
//!
//! The process is a fork: libtorch is loaded and its operators are registered already, which takes a fifth of a second that a new program would spend
//! again. Forking is sound as long as this process has one thread, which is checked. The child answers in JSON through a file without a name.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Error, Read, Seek, Write};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How often a running child is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Of what a child prints, so much is kept.
const KEPT: u64 = 64 << 10;

/// How a child ended.
#[derive(Debug, PartialEq)]
pub enum Ended<T> {
    /// With an answer.
    Answered(T),
    /// Without one, with this exit code: something called `exit`.
    Exited(i32),
    /// By a signal.
    Killed(i32),
    /// Not in time; it was killed.
    TimedOut(Duration),
}

/// A child that has ended.
#[derive(Debug)]
pub struct Done<T> {
    /// How.
    pub ended: Ended<T>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// A child at work.
#[derive(Debug)]
pub struct Child<T> {
    pid: libc::pid_t,
    limit: Duration,
    start: Instant,
    answer: File,
    stdout: File,
    stderr: File,
    answered: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Child<T> {
    /// Starts `work` in a process of its own, which has `limit` to finish it.
    pub fn start(limit: Duration, work: impl FnOnce() -> T) -> Result<Self, Error> {
        ensure_one_thread()?;
        let [mut answer, stdout, stderr] = [tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?];
        // What is in the buffers would be written by both.
        std::io::stdout().flush()?;
        // SAFETY: this process has one thread, so the child may go on as it would have.
        match unsafe { libc::fork() } {
            -1 => Err(Error::last_os_error()),
            0 => {
                // SAFETY: plain system calls on open files of this process.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
                    libc::dup2(stdout.as_raw_fd(), libc::STDOUT_FILENO);
                    libc::dup2(stderr.as_raw_fd(), libc::STDERR_FILENO);
                }
                let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_writer(&mut answer, &work()).is_ok()));
                // SAFETY: C's buffers are written out; neither destructors of libraries nor this program's own exit handlers run.
                unsafe {
                    libc::fflush(std::ptr::null_mut());
                    libc::_exit(if matches!(written, Ok(true)) { 0 } else { 101 })
                }
            }
            pid => Ok(Self { pid, limit, start: Instant::now(), answer, stdout, stderr, answered: PhantomData }),
        }
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Result<Done<T>, Error> {
        loop {
            match self.look()? {
                Some(done) => return Ok(done),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// What has become of it; `None` while it is at work.
    pub fn look(&mut self) -> Result<Option<Done<T>>, Error> {
        let (mut status, took) = (0, self.start.elapsed());
        // SAFETY: the child is ours and has not been waited for.
        let ended = match unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } {
            0 if took < self.limit => return Ok(None),
            0 => {
                // SAFETY: as above; a child that is killed ends.
                unsafe {
                    libc::kill(self.pid, libc::SIGKILL);
                    libc::waitpid(self.pid, &mut status, 0);
                }
                Ended::TimedOut(self.limit)
            }
            -1 => return Err(Error::last_os_error()),
            _ if libc::WIFSIGNALED(status) => Ended::Killed(libc::WTERMSIG(status)),
            _ => {
                self.answer.rewind()?;
                match (libc::WEXITSTATUS(status), serde_json::from_reader(&self.answer)) {
                    (0, Ok(answer)) => Ended::Answered(answer),
                    (code, _) => Ended::Exited(code),
                }
            }
        };
        Ok(Some(Done { ended, stdout: text(&mut self.stdout)?, stderr: text(&mut self.stderr)?, took }))
    }
}

impl<T> std::fmt::Display for Ended<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(_) => f.write_str("finished"),
            Self::Exited(code) => write!(f, "ended the process with exit code {code}"),
            Self::Killed(libc::SIGABRT) => f.write_str("aborted the process (SIGABRT)"),
            Self::Killed(signal) => write!(f, "crashed the process ({})", signal_name(*signal)),
            Self::TimedOut(limit) => write!(f, "had not finished after {} s and was killed", limit.as_secs_f64()),
        }
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGSEGV => "SIGSEGV".to_owned(),
        libc::SIGBUS => "SIGBUS".to_owned(),
        libc::SIGILL => "SIGILL".to_owned(),
        libc::SIGFPE => "SIGFPE".to_owned(),
        libc::SIGKILL => "SIGKILL, perhaps for want of memory".to_owned(),
        other => format!("signal {other}"),
    }
}

fn text(file: &mut File) -> Result<String, Error> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(KEPT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A fork of a process with several threads has only one of them, and whatever locks the others held stay locked.
fn ensure_one_thread() -> Result<(), Error> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        threads => Err(Error::other(format!("this process has {threads} threads and cannot be forked"))),
    }
}
