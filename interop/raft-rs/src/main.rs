//! The harness of interop/protocol.md, section "Quiet schedules", around the raft crate: reads scenarios on standard
//! input, runs them and answers what it sees at every quiet point.
//!
//! One file for each concern:
//!
//! * `main.rs`: the session, lines in and answers out
//! * `scenario.rs`: the lines of a scenario, the head and the inputs
//! * `cluster.rs`: the members, the links between them, and delivery until nothing moves
//! * `member.rs`: one member, its library and its state machine
//! * `disk.rs`: what a member has stored
//! * `text.rs`: entries, membership changes and configurations as answers show them
//!
//! A scenario that breaks the protocol ends the program with status 2 and a message on standard error.

// Messages of protobuf are made empty and filled.
#![allow(clippy::field_reassign_with_default)]

mod cluster;
mod disk;
mod member;
mod scenario;
mod text;

use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use cluster::Cluster;
use scenario::{Head, Line};

fn main() -> ExitCode {
    // A panic of the library is an answer; what it says of it is for those who look into one.
    if std::env::var_os("RAFT_RS_PANICS").is_none() {
        panic::set_hook(Box::new(|_| {}));
    }
    match serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-rs: {error}");
            ExitCode::from(2)
        }
    }
}

/// Answers scenario after scenario until the input ends.
fn serve(input: impl BufRead, mut output: impl Write) -> Result<(), String> {
    let mut session: Option<Session> = None;
    for (number, line) in input.lines().enumerate() {
        let at = |error: String| format!("line {}: {error}", number + 1);
        let line = line.map_err(|error| at(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        match (scenario::parse(&line).map_err(at)?, &mut session) {
            (Line::Head(head), None) => session = Some(Session::new(&head).map_err(at)?),
            (Line::Head(_), Some(_)) => return Err(at("a head in the middle of a scenario".into())),
            (_, None) => return Err(at("a step outside of a scenario".into())),
            (Line::Step(step), Some(running)) => running.take(&step),
            (Line::End { full }, Some(running)) => {
                let answer = running.answer(full);
                session = None;
                writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(|error| at(error.to_string()))?;
            }
        }
    }
    match session {
        None => Ok(()),
        Some(_) => Err("the input ends in the middle of a scenario".into()),
    }
}

/// One scenario on its way, and the answers so far.
struct Session {
    cluster: Cluster,
    answers: Vec<String>,
    over: bool,
}

impl Session {
    fn new(head: &Head) -> Result<Session, String> {
        Ok(Session { cluster: Cluster::new(head)?, answers: Vec::new(), over: false })
    }

    /// Runs a step; after a panic of the library there are no more.
    fn take(&mut self, step: &scenario::Step) {
        if self.over {
            return;
        }
        let cluster = &mut self.cluster;
        let answer = panic::catch_unwind(AssertUnwindSafe(|| cluster.run(step)));
        self.over = answer.is_err();
        self.answers.push(answer.unwrap_or_else(|_| "panic||".into()));
    }

    /// The line that ends a scenario: the sums of the answers, or all of them.
    fn answer(&self, full: bool) -> String {
        if full {
            return serde_json::to_string(&self.answers).expect("strings can be written");
        }
        let sums = self.answers.iter().map(|answer| crc32fast::hash(answer.as_bytes()));
        sums.map(|sum| format!("{sum:08x}")).collect()
    }
}
