//! The scenario files of interop/scenarios.md on the raft crate: reads files, runs them and prints the trace of each.
//!
//! `python -m interop.scenarios` does the same on raftx; both print the same bytes, of a trace as of a mistake in a
//! file. No randomness, no clock and no files but those it is given. Exits with status 2, and runs nothing, when one
//! of them is not what it should be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::ExitCode;

use raft::eraftpb::{ConfState, Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, Error, RawNode, StateRole};
use serde_json::{Map, Value};
use slog::{o, Discard, Logger};

/// The largest id.
const ID_MAX: u64 = i64::MAX as u64;
const NODES_MAX: usize = 64;
const ELECTION_MAX: u64 = 100_000;
const HEARTBEAT_MAX: u64 = 10_000;
const COUNT_MAX: u64 = i32::MAX as u64;
/// Rounds of one delivery after which it counts as endless.
const ROUNDS: usize = 1_000_000;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: scenarios FILE...");
        return ExitCode::from(2);
    }
    let mut scenarios = Vec::new();
    for file in &files {
        match Scenario::read(file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(mistake) => eprintln!("{file}: {mistake}"),
        }
    }
    if scenarios.len() < files.len() {
        return ExitCode::from(2);
    }
    for scenario in &scenarios {
        print!("{}", Cluster::new(scenario).run(scenario));
    }
    ExitCode::SUCCESS
}

// --- files ---

struct Scenario {
    name: String,
    /// Ascending.
    nodes: Vec<u64>,
    election_ticks: BTreeMap<u64, usize>,
    heartbeat_ticks: usize,
    check_quorum: bool,
    steps: Vec<Step>,
}

enum Step {
    Campaign(u64),
    Tick(u64, u64),
    TickAll(u64),
    Propose(u64, String),
    Deliver,
    Isolate(BTreeSet<u64>),
    Heal,
}

type Object = Map<String, Value>;

impl Scenario {
    fn read(file: &str) -> Result<Scenario, String> {
        let bytes = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
        Scenario::parse(&value)
    }

    fn parse(value: &Value) -> Result<Scenario, String> {
        let object = value.as_object().ok_or("must be an object")?;
        fields(object, &["name", "nodes", "election_ticks", "heartbeat_ticks", "steps"], &["check_quorum"])?;
        let name = object["name"].as_str().filter(|name| is_name(name));
        let name = name.ok_or("name: must be of letters, digits, - and _, the first one a letter or a digit")?;
        let mut nodes = ids(object, "nodes")?;
        if nodes.len() > NODES_MAX {
            return Err(format!("nodes: must be at most {NODES_MAX}"));
        }
        let heartbeat_ticks = integer(object, "heartbeat_ticks", 1, HEARTBEAT_MAX)?;
        let timeouts = object["election_ticks"].as_object().ok_or("election_ticks: must be an object")?;
        for id in timeouts.keys() {
            if !id.starts_with(|first: char| matches!(first, '1'..='9')) || !id.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("election_ticks: {} is not an id", Value::from(id.as_str())));
            }
            integer(timeouts, id, 1, ELECTION_MAX).map_err(|mistake| format!("election_ticks.{mistake}"))?;
        }
        let mut election_ticks = BTreeMap::new();
        for id in &nodes {
            let ticks = timeouts.get(&id.to_string()).and_then(Value::as_u64);
            let ticks = ticks.ok_or(format!("election_ticks.{id}: missing"))?;
            if ticks <= heartbeat_ticks {
                return Err(format!("election_ticks.{id}: must be above heartbeat_ticks, which is {heartbeat_ticks}"));
            }
            election_ticks.insert(*id, ticks as usize);
        }
        let check_quorum = match object.get("check_quorum") {
            None => false,
            Some(value) => value.as_bool().ok_or("check_quorum: must be true or false")?,
        };
        let list = object["steps"].as_array().ok_or("steps: must be a list")?;
        let mut steps = Vec::new();
        for (number, step) in list.iter().enumerate() {
            steps.push(Step::parse(step, &nodes).map_err(|mistake| format!("step {}{mistake}", number + 1))?);
        }
        nodes.sort_unstable();
        Ok(Scenario {
            name: name.to_string(),
            nodes,
            election_ticks,
            heartbeat_ticks: heartbeat_ticks as usize,
            check_quorum,
            steps,
        })
    }
}

impl Step {
    /// A mistake begins with what follows the number of the step.
    fn parse(value: &Value, nodes: &[u64]) -> Result<Step, String> {
        let object = value.as_object().ok_or(": must be an object")?;
        let op = object.get("op").ok_or(": op: missing")?;
        let op = op.as_str().ok_or(": op: must be a string")?;
        let needs: &[&str] = match op {
            "campaign" => &["op", "node"],
            "tick" => &["op", "node", "count"],
            "tick_all" => &["op", "count"],
            "propose" => &["op", "node", "command"],
            "isolate" => &["op", "nodes"],
            "deliver" | "heal" => &["op"],
            _ => return Err(format!(": op: {} is not a step", Value::from(op))),
        };
        let in_step = |mistake: String| format!(" ({op}): {mistake}");
        fields(object, needs, &[]).map_err(in_step)?;
        let known = |field: &str, id: u64| match nodes.contains(&id) {
            true => Ok(id),
            false => Err(in_step(format!("{field}: {id} is not one of the nodes"))),
        };
        let node = || known("node", integer(object, "node", 1, ID_MAX).map_err(in_step)?);
        let count = || integer(object, "count", 0, COUNT_MAX).map_err(in_step);
        Ok(match op {
            "campaign" => Step::Campaign(node()?),
            "tick" => Step::Tick(node()?, count()?),
            "tick_all" => Step::TickAll(count()?),
            "propose" => {
                let id = node()?;
                let command = object["command"].as_str();
                let command = command.ok_or_else(|| in_step("command: must be a string".into()))?;
                Step::Propose(id, command.to_string())
            }
            "deliver" => Step::Deliver,
            "isolate" => {
                let ids = ids(object, "nodes").map_err(in_step)?;
                Step::Isolate(ids.into_iter().map(|id| known("nodes", id)).collect::<Result<_, _>>()?)
            }
            _ => Step::Heal,
        })
    }
}

/// All that must be there is, and nothing else but what may.
fn fields(object: &Object, needs: &[&str], takes: &[&str]) -> Result<(), String> {
    if let Some(missing) = needs.iter().find(|name| !object.contains_key(**name)) {
        return Err(format!("{missing}: missing"));
    }
    match object.keys().find(|name| !needs.contains(&name.as_str()) && !takes.contains(&name.as_str())) {
        Some(unknown) => Err(format!("{unknown}: unknown field")),
        None => Ok(()),
    }
}

fn integer(object: &Object, field: &str, low: u64, high: u64) -> Result<u64, String> {
    let number = object[field].as_u64().filter(|number| (low..=high).contains(number));
    number.ok_or(format!("{field}: must be an integer from {low} to {high}"))
}

fn ids(object: &Object, field: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("{field}: must be a list of integers from 1 to {ID_MAX}");
    let list = object[field].as_array().ok_or_else(wrong)?;
    if list.is_empty() {
        return Err(format!("{field}: must not be empty"));
    }
    let mut ids = Vec::new();
    for value in list {
        ids.push(value.as_u64().filter(|id| (1..=ID_MAX).contains(id)).ok_or_else(wrong)?);
    }
    match (1..ids.len()).find(|at| ids[..*at].contains(&ids[*at])) {
        Some(at) => Err(format!("{field}: {} is there twice", ids[at])),
        None => Ok(ids),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

// --- running ---

struct Member {
    raw: RawNode<MemStorage>,
    /// What is on its way to it, the oldest first.
    inbox: VecDeque<Message>,
    committed: Vec<String>,
}

struct Cluster {
    members: BTreeMap<u64, Member>,
    isolated: BTreeSet<u64>,
}

impl Cluster {
    fn new(scenario: &Scenario) -> Cluster {
        let conf = ConfState { voters: scenario.nodes.clone(), ..ConfState::default() };
        let start = |(id, ticks): (&u64, &usize)| {
            let config = Config {
                id: *id,
                election_tick: *ticks,
                // The library draws from this range, in which there is one number.
                min_election_tick: *ticks,
                max_election_tick: *ticks + 1,
                heartbeat_tick: scenario.heartbeat_ticks,
                check_quorum: scenario.check_quorum,
                max_size_per_msg: 1 << 20,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state(conf.clone());
            let raw = RawNode::new(&config, storage, &Logger::root(Discard, o!())).expect("settings that were checked");
            let member = Member { raw, inbox: VecDeque::new(), committed: Vec::new() };
            (*id, member)
        };
        Cluster { members: scenario.election_ticks.iter().map(start).collect(), isolated: BTreeSet::new() }
    }

    /// Runs all steps and what is on its way at the end. Returns the trace.
    fn run(mut self, scenario: &Scenario) -> String {
        for step in &scenario.steps {
            match step {
                Step::Campaign(id) => self.call(*id, RawNode::campaign),
                Step::Tick(id, count) => (0..*count).for_each(|_| self.tick(*id)),
                Step::TickAll(count) => {
                    for _ in 0..*count {
                        scenario.nodes.iter().for_each(|id| self.tick(*id));
                    }
                }
                Step::Propose(id, command) => {
                    self.call(*id, |raw| raw.propose(Vec::new(), command.clone().into_bytes()));
                }
                Step::Deliver => self.deliver(),
                Step::Isolate(ids) => self.isolated = ids.clone(),
                Step::Heal => self.isolated.clear(),
            }
        }
        self.deliver();
        self.trace(&scenario.name)
    }

    fn tick(&mut self, id: u64) {
        self.call(id, |raw| {
            raw.tick();
            Ok(())
        });
    }

    /// Calls a member's library, then does what it wants done.
    fn call(&mut self, id: u64, call: impl FnOnce(&mut RawNode<MemStorage>) -> raft::Result<()>) {
        self.step(id, call);
        self.work_off(id);
    }

    fn step(&mut self, id: u64, call: impl FnOnce(&mut RawNode<MemStorage>) -> raft::Result<()>) {
        let member = self.members.get_mut(&id).expect("steps name members");
        match call(&mut member.raw) {
            // Nobody to take a proposal: it is lost, its proposer's or one that was passed on.
            Ok(()) | Err(Error::ProposalDropped) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Rounds until nothing is on its way. In each, everybody takes the oldest message, then everybody works it off.
    fn deliver(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for _ in 0..ROUNDS {
            let mut took = Vec::new();
            for id in &ids {
                if let Some(message) = self.members.get_mut(id).and_then(|member| member.inbox.pop_front()) {
                    self.step(*id, |raw| raw.step(message));
                    took.push(*id);
                }
            }
            if took.is_empty() {
                return;
            }
            took.into_iter().for_each(|id| self.work_off(id));
        }
        panic!("it does not come to rest");
    }

    /// Ready after Ready until there is none.
    fn work_off(&mut self, id: u64) {
        loop {
            let member = self.members.get_mut(&id).expect("steps name members");
            let raw = &mut member.raw;
            if !raw.has_ready() {
                return;
            }
            let mut ready = raw.ready();
            let mut sent = ready.take_messages();
            let mut applied = ready.take_committed_entries();
            {
                let mut stored = raw.store().wl();
                stored.append(ready.entries()).expect("entries that fit");
                if let Some(hard) = ready.hs() {
                    stored.set_hardstate(hard.clone());
                }
            }
            sent.append(&mut ready.take_persisted_messages());
            let mut light = raw.advance(ready);
            sent.append(&mut light.take_messages());
            applied.append(&mut light.take_committed_entries());
            raw.advance_apply();
            member.committed.extend(applied.iter().filter(|entry| is_command(entry)).map(text_of));
            sent.into_iter().for_each(|message| self.send(message));
        }
    }

    /// What crosses the border of the isolated is lost when it is sent, not when it would arrive.
    fn send(&mut self, message: Message) {
        if self.isolated.contains(&message.from) == self.isolated.contains(&message.to) {
            let member = self.members.get_mut(&message.to).expect("members know members only");
            member.inbox.push_back(message);
        }
    }

    fn trace(&self, name: &str) -> String {
        let mut leader = 0;
        let mut term = 0;
        for (id, member) in &self.members {
            let raft = &member.raw.raft;
            term = term.max(raft.term);
            // The first leader counts with the term it has, a later one if nobody before it is ahead of it.
            if raft.state == StateRole::Leader && (leader == 0 || raft.term == term) {
                leader = *id;
                term = raft.term;
            }
        }
        let nodes: Vec<String> = self.members.iter().map(|(id, member)| node_text(*id, &member.committed)).collect();
        format!(
            "{{\n  \"name\": \"{name}\",\n  \"leader\": {leader},\n  \"term\": {term},\n  \"nodes\": [\n{}\n  ]\n}}\n",
            nodes.join(",\n")
        )
    }
}

/// Not a leader's first entry, which is empty.
fn is_command(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty()
}

fn text_of(entry: &Entry) -> String {
    String::from_utf8(entry.data.to_vec()).expect("what was proposed")
}

fn node_text(id: u64, committed: &[String]) -> String {
    let commands: Vec<String> =
        committed.iter().map(|command| format!("\n        {}", Value::from(command.as_str()))).collect();
    let end = if commands.is_empty() { "" } else { "\n      " };
    format!("    {{\n      \"id\": {id},\n      \"committed\": [{}{end}]\n    }}", commands.join(","))
}
