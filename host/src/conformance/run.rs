//! Runs cases, each in a process of its own, as many at a time as there are cores. One that does not finish in time is run again, alone.

use super::report::{Outcome, judge};
use super::{CASES, Case, FOUNDATION, Finding, Report, Status, Subject};
use crate::plugin::{Child, Done};
use std::io::Error;
use std::time::{Duration, Instant};

/// A case that runs again, alone, has so many times the limit.
const PATIENCE: u32 = 10;

/// Which cases are run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of cases; empty for all.
    pub only: Vec<String>,
    /// Of each case, waiting for a processor not counted. A case hangs if it does not finish in ten times as long either, alone.
    pub time_limit: Duration,
}

/// Runs the cases of `plan`. `subject` is made in every process anew, so that nothing of the plugin runs in this one; `describe` gives the
/// report's head.
pub fn run(plan: &Plan, head: Report, subject: &dyn Fn() -> Result<Subject, Finding>) -> Result<Report, Error> {
    let start = Instant::now();
    let wanted: Vec<&Case> = CASES.iter().filter(|case| plan.only.is_empty() || plan.only.iter().any(|name| name == case.name)).collect();
    let (foundation, rest): (Vec<&Case>, Vec<&Case>) =
        wanted.into_iter().partition(|case| CASES[..FOUNDATION].iter().any(|first| first.name == case.name));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (i, case) in foundation.iter().enumerate() {
        outcomes.extend(run_all(&[*case], plan, subject)?);
        if outcomes[i].status.is_bad() {
            let message = format!("first comes '{}'", case.name);
            let skipped = |case: &&Case| Outcome {
                case: case.name.to_owned(),
                status: Status::Skipped,
                message: message.clone(),
                seconds: 0.0,
                left_out: true,
            };
            outcomes.extend(foundation[i + 1..].iter().chain(&rest).map(skipped));
            return Ok(Report { outcomes, seconds: start.elapsed().as_secs_f64(), ..head });
        }
    }
    outcomes.extend(run_all(&rest, plan, subject)?);
    Ok(Report { outcomes, seconds: start.elapsed().as_secs_f64(), ..head })
}

fn run_all(cases: &[&'static Case], plan: &Plan, subject: &dyn Fn() -> Result<Subject, Finding>) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = run_together(cases, plan.time_limit, subject)?;
    confirm_hangs(&mut outcomes, |i| Ok(run_together(&cases[i..=i], plan.time_limit * PATIENCE, subject)?.remove(0)))?;
    Ok(outcomes)
}

/// Replaces the outcome of each case that did not finish in time by that of `alone`. Once a case has hung alone, too, the plugin hangs, and
/// the others are left as they are: where it hangs in every case, their second turns would take hours.
fn confirm_hangs(outcomes: &mut [Outcome], mut alone: impl FnMut(usize) -> Result<Outcome, Error>) -> Result<(), Error> {
    for (i, outcome) in outcomes.iter_mut().enumerate().filter(|(_, outcome)| outcome.status == Status::Hung) {
        *outcome = alone(i)?;
        if outcome.status == Status::Hung {
            break;
        }
    }
    Ok(())
}

/// Runs `cases`, as many at a time as there are cores.
fn run_together(
    cases: &[&'static Case],
    time_limit: Duration,
    subject: &dyn Fn() -> Result<Subject, Finding>,
) -> Result<Vec<Outcome>, Error> {
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes: Vec<Option<Outcome>> = vec![None; cases.len()];
    let (mut next, mut running) = (0, Vec::new());
    while next < cases.len() || !running.is_empty() {
        while next < cases.len() && running.len() < at_a_time {
            let case = cases[next];
            let work = move || subject().and_then(|subject| (case.run)(&subject));
            running.push((next, Child::start(time_limit, work)?));
            next += 1;
        }
        let mut ended = None;
        for (position, (_, child)) in running.iter_mut().enumerate() {
            if let Some(done) = child.look()? {
                ended = Some((position, done));
                break;
            }
        }
        match ended {
            Some((position, done)) => {
                let (index, _) = running.swap_remove(position);
                outcomes[index] = Some(outcome(cases[index], &done));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

fn outcome(case: &Case, done: &Done<Result<(), Finding>>) -> Outcome {
    let (mut status, mut message) = judge(&done.ended);
    if case.name == "stdout" && status == Status::Passed && !done.stdout.is_empty() {
        let line = done.stdout.lines().next().unwrap_or_default();
        (status, message) = (Status::Failed, format!("it wrote to standard output: {line:?}; use the `log` macros, which reach the host"));
    }
    // What libtorch or the plugin said last is the best hint there is.
    if matches!(status, Status::Crashed | Status::Aborted | Status::Hung)
        && let Some(said) = done.stderr.lines().rfind(|line| !line.trim().is_empty())
    {
        message = format!("{message}; it last said: {said}");
    }
    Outcome { case: case.name.to_owned(), status, message, seconds: done.took.as_secs_f64(), left_out: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(case: &str, status: Status) -> Outcome {
        Outcome { case: case.to_owned(), status, message: String::new(), seconds: 0.0, left_out: false }
    }

    #[test]
    fn a_case_hangs_only_if_it_hangs_alone_too() {
        let first = [
            ("shapes", Status::Passed),
            ("terms", Status::Hung),
            ("bf16", Status::Failed),
            ("layouts", Status::Hung),
            ("inputs", Status::Hung),
            ("state", Status::Hung),
        ];
        let mut outcomes = first.map(|(case, status)| outcome(case, status));
        let mut ran = Vec::new();
        let alone = |i: usize| {
            ran.push(first[i].0);
            Ok(outcome(first[i].0, [Status::Passed, Status::Failed, Status::Hung][ran.len() - 1]))
        };
        confirm_hangs(&mut outcomes, alone).expect("nothing to fail");
        assert_eq!(ran, ["terms", "layouts", "inputs"], "after a hang that is one, no other is tried");
        let expected = [Status::Passed, Status::Passed, Status::Failed, Status::Failed, Status::Hung, Status::Hung];
        assert_eq!(outcomes.map(|outcome| outcome.status), expected);
    }
}
