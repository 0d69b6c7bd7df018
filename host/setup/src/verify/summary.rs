//! What a whole `cargo test` came to, read from what it prints.

use std::fmt::Write;
use std::time::Duration;

/// So many of the programs that took longest are named.
const LONGEST: usize = 8;
/// So many lines of a panic's message are told.
const MESSAGE_LINES: usize = 4;
/// So many characters of each.
const MESSAGE_WIDTH: usize = 400;

/// Everything that is worth repeating at the end.
#[derive(Default)]
pub struct Summary {
    programs: Vec<Program>,
}

/// A program with tests, in the order in which cargo ran them.
#[derive(Default)]
struct Program {
    /// As cargo names it: `tests/soak.rs (target/debug/deps/soak-0123)`, `Doc-tests plugin_api`.
    name: String,
    passed: u64,
    seconds: f64,
    failed: Vec<Failed>,
    ignored: Vec<String>,
    /// Arguments of `cargo test` that run it again; cargo says them where it failed.
    again: Option<String>,
    /// It came to its end: a crash leaves no result.
    ended: bool,
    /// The failed test whose output is being read, and whether this is the message of its panic.
    telling: Option<(usize, bool)>,
}

struct Failed {
    test: String,
    /// Place and message of its panics, a line each.
    said: Vec<String>,
}

impl Summary {
    /// Takes note of a line.
    pub fn read(&mut self, line: &str) {
        let started = line.trim_start().strip_prefix("Running ").filter(|_| line.starts_with(' ') && line.ends_with(')'));
        if let Some(name) = started.or(line.trim_start().strip_prefix("Doc-tests ").map(|_| line.trim_start())) {
            self.programs.push(Program { name: name.to_owned(), ..Program::default() });
            return;
        }
        let Some(program) = self.programs.last_mut() else { return };
        if let Some(counts) = line.strip_prefix("test result: ") {
            let number = |word: &str| counts.split("; ").find_map(|part| part.split_once(word)?.0.rsplit(' ').next()?.parse().ok());
            // Documentation's tests run in parts, each with a result.
            program.passed += number(" passed").unwrap_or(0);
            let seconds = counts.rsplit_once("finished in ").and_then(|(_, time)| time.trim_end_matches('s').parse::<f64>().ok());
            program.seconds += seconds.unwrap_or(0.0);
            program.ended = true;
        } else if let Some((test, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            if outcome == "FAILED" {
                program.failed.push(Failed { test: test.to_owned(), said: Vec::new() });
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                program.ignored.push(format!("{test}{}", reason.replacen(", ", ": ", 1)));
            }
        } else if let Some((_, again)) = line.split_once("to rerun pass `") {
            program.again = Some(again.trim_end_matches('`').to_owned());
        } else if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            program.telling = program.failed.iter().position(|failed| failed.test == test).map(|number| (number, false));
        } else if line == "failures:" {
            program.telling = None;
        } else {
            program.read_message(line);
        }
    }

    /// The lines for the end, after `took` in all.
    pub fn text(&self, took: Duration) -> String {
        let count = |of: fn(&Program) -> usize| self.programs.iter().map(of).sum::<usize>();
        let (failed, ignored) = (count(|program| program.failed.len()), count(|program| program.ignored.len()));
        let passed: u64 = self.programs.iter().map(|program| program.passed).sum();
        let mut text = format!("verify: {passed} tests passed, {failed} failed, {ignored} ignored, in {} s", took.as_secs());
        let mut longest: Vec<&Program> = self.programs.iter().collect();
        longest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let named = longest.iter().take(LONGEST).map(|program| format!("{} {:.0} s", program.short_name(), program.seconds));
        let _ = write!(text, "\n  longest: {}", named.collect::<Vec<_>>().join(", "));
        let mut list = |heading: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(text, "\n{heading}:\n  {}", lines.join("\n  "));
            }
        };
        list("not run", self.programs.iter().flat_map(|program| program.ignored.clone()).collect());
        list("failed, and how to run each alone", self.programs.iter().flat_map(Program::failures).collect());
        text
    }
}

impl Program {
    /// `soak` of `tests/soak.rs (target/debug/deps/soak-0123)`.
    fn short_name(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or(&self.name).trim_end_matches(')');
        file.rsplit_once('-').map_or(file, |(name, _)| if self.name.starts_with("Doc-tests") { self.name.as_str() } else { name })
    }

    /// Keeps what a failed test's panics say, out of all that the test printed.
    fn read_message(&mut self, line: &str) {
        let Some((number, message)) = &mut self.telling else { return };
        let said = &mut self.failed[*number].said;
        let panicked = line.starts_with("thread '").then(|| line.split_once(" panicked at ")).flatten();
        *message = panicked.is_some() || *message && !line.starts_with("stack backtrace:") && !line.starts_with("note: ");
        let text = panicked.map_or(line, |(_, place)| place).trim();
        if *message && !text.is_empty() && said.len() < MESSAGE_LINES {
            said.push(text.chars().take(MESSAGE_WIDTH).collect());
        }
    }

    /// A command for every test that failed, with what it said; one for the whole program where it crashed.
    fn failures(&self) -> Vec<String> {
        let again = self.again.as_deref().unwrap_or(&self.name);
        // The names of documentation's tests end with a place, which cannot be given.
        let exact = |test: &str| match test.split_once(" - ") {
            Some((file, _)) => format!("cargo test {again} -- {file}"),
            None => format!("cargo test {again} -- --exact {test}"),
        };
        let mut lines = Vec::new();
        for failed in &self.failed {
            lines.push(exact(&failed.test));
            lines.extend(failed.said.iter().map(|line| format!("    {line}")));
        }
        if !self.ended {
            lines.push(format!("cargo test {again}    (it ended in the middle of its tests)"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling tests v0.1.0 (/work/tests)
     Running unittests src/lib.rs (target/debug/deps/host-0a1b)

running 2 tests
test plan::a_plan_is_made ... ok
test fingerprint::real_data ... ignored, needs data

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 2.50s

     Running tests/training/main.rs (target/debug/deps/training-2c3d)

running 2 tests
test soak::killed ... FAILED
test arms::alone ... ok

failures:

---- soak::killed stdout ----
epoch 1

thread 'soak::killed' (27729) panicked at tests/training/soak.rs:149:5:
assertion `left == right` failed
  left: 1
 right: 2
stack backtrace:
   0: __rustc::rust_begin_unwind
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.


failures:
    soak::killed

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 88.02s

error: test failed, to rerun pass `-p tests --test training`
     Running tests/steady_memory.rs (target/debug/deps/steady_memory-4e5f)

running 1 test
error: test failed, to rerun pass `-p tests --test steady_memory`

Caused by:
  process didn't exit successfully: `steady_memory-4e5f` (signal: 11, SIGSEGV: invalid memory reference)
   Doc-tests plugin_api

running 3 tests
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s

running 1 test
test plugin-api/src/lib.rs - Trainer (line 12) ... FAILED

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s

error: doctest failed, to rerun pass `-p plugin-api --doc`
";

    #[test]
    fn the_end_says_what_failed_and_how_to_run_it() {
        let mut summary = Summary::default();
        OUTPUT.lines().for_each(|line| summary.read(line));
        let expected = "\
verify: 5 tests passed, 2 failed, 1 ignored, in 100 s
  longest: training 88 s, host 2 s, Doc-tests plugin_api 1 s, steady_memory 0 s
not run:
  fingerprint::real_data: needs data
failed, and how to run each alone:
  cargo test -p tests --test training -- --exact soak::killed
      tests/training/soak.rs:149:5:
      assertion `left == right` failed
      left: 1
      right: 2
  cargo test -p tests --test steady_memory    (it ended in the middle of its tests)
  cargo test -p plugin-api --doc -- plugin-api/src/lib.rs";
        assert_eq!(summary.text(Duration::from_secs(100)), expected);
    }
}
