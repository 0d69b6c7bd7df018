//! Work with a plugin in a process of its own, so that a crash, a hang or a leak of the plugin is that process's alone.
//!
//! The process is a fork: libtorch is loaded and its operators are registered already, which takes a fifth of a second that a new program would spend
//! again. Forking is sound as long as this process has one thread, which is checked. The child answers in JSON through a file without a name.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Error, Read, Seek};
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
    /// Not within this limit; it was killed.
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
    /// The wall time after which it may have used up its limit; before, that need not be looked at.
    due: Duration,
    start: Instant,
    answer: File,
    stdout: File,
    stderr: File,
    answered: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Child<T> {
    /// Starts `work` in a process of its own, which has `limit` to finish it. Time that it spends waiting for a processor does not count: on a busy
    /// machine it takes as long as it takes.
    pub fn start(limit: Duration, work: impl FnOnce() -> T) -> Result<Self, Error> {
        ensure_one_thread()?;
        let [mut answer, stdout, stderr] = [tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?];
        // SAFETY: a call without conditions. What is in C's buffers would be written by both.
        unsafe { libc::fflush(std::ptr::null_mut()) };
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
            pid => Ok(Self { pid, limit, due: limit, start: Instant::now(), answer, stdout, stderr, answered: PhantomData }),
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
            0 if took < self.due => return Ok(None),
            0 => {
                let left = self.limit.saturating_sub(usable(took, &schedstats(self.pid)));
                if !left.is_zero() {
                    self.due = took + left;
                    return Ok(None);
                }
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
            Self::TimedOut(limit) => {
                write!(f, "had not finished after {} s, waiting for a processor not counted, and was killed", limit.as_secs_f64())
            }
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

/// What the scheduler says of each thread of a process: nanoseconds on a processor, nanoseconds waiting for one, and time slices. None
/// where the kernel does not tell.
fn schedstats(pid: libc::pid_t) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok()).collect()
}

/// How much of `wall` time a process could use: all but what that thread of it waited for a processor which waited longest.
fn usable(wall: Duration, schedstats: &[String]) -> Duration {
    let waited = |schedstat: &String| schedstat.split_whitespace().nth(1)?.parse().ok();
    wall.saturating_sub(Duration::from_nanos(schedstats.iter().filter_map(waited).max().unwrap_or(0)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_processor_does_not_use_up_the_limit() {
        let after_a_minute = |schedstats: &[&str]| {
            let schedstats: Vec<String> = schedstats.iter().map(|&schedstat| schedstat.to_owned()).collect();
            usable(Duration::from_secs(60), &schedstats).as_secs()
        };
        assert_eq!(after_a_minute(&["15000000000 45000000000 9000\n"]), 15, "it ran, three others did, too");
        assert_eq!(after_a_minute(&["1000000 0 3\n"]), 60, "it slept");
        assert_eq!(
            after_a_minute(&["1000000 2000000000 3\n", "10000000000 50000000000 80\n"]),
            10,
            "its first thread waited for its second one"
        );
        assert_eq!(after_a_minute(&["0 60000100000 1\n"]), 0, "it has not begun");
        for untold in [&[][..], &[""], &["0 0 0\n"], &["no numbers here\n"]] {
            assert_eq!(after_a_minute(untold), 60, "{untold:?}: then all time counts");
        }
    }

    #[test]
    fn every_thread_of_a_process_is_looked_at() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let threads = schedstats(std::process::id() as libc::pid_t);
        drop(done);
        assert!(thread.join().expect("it does not panic").is_err(), "nothing was sent");
        let told = std::path::Path::new("/proc/self/schedstat").exists();
        assert_eq!(threads.len() >= 2, told, "{threads:?}");
        assert!(threads.iter().all(|thread| thread.split_whitespace().count() == 3), "{threads:?}");
    }
}
