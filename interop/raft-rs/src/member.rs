//! One member: what it has stored, its library while it is up, and its state machine.

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use raft::{Config, Error, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, NO_LIMIT};
use slog::{o, Discard, Logger};

use crate::disk::Disk;
use crate::scenario::Spec;
use crate::text::{change_of, conf_text, entry_text, parse_change, Change};

/// What an input came to.
pub type Outcome = Result<(), Refused>;

/// The library refused it; the protocol has one word for all reasons.
pub struct Refused;

/// How far the state machine is: after the entry at `index`, the sum over everything applied and the configuration.
#[derive(Clone)]
struct Point {
    index: u64,
    chain: u32,
    conf: ConfState,
}

pub struct Member {
    pub spec: Spec,
    seed: u64,
    disk: Disk,
    logger: Logger,
    /// None while it is down.
    raw: Option<RawNode<Disk>>,
    /// Every point since the beginning; the last one is the present.
    points: Vec<Point>,
    /// What left and is not under way yet.
    pub out: Vec<Message>,
    /// `index:context` of the reads that were answered since the last input.
    pub reads: Vec<String>,
}

impl Member {
    pub fn new(spec: &Spec, seed: u64) -> Result<Member, String> {
        let mut member = Member {
            spec: spec.clone(),
            seed,
            disk: Disk::default(),
            logger: Logger::root(Discard, o!()),
            raw: None,
            points: Vec::new(),
            out: Vec::new(),
            reads: Vec::new(),
        };
        let mut conf = ConfState::default();
        if spec.start > 0 {
            conf.voters = spec.voters.clone();
            conf.voters_outgoing = spec.outgoing.clone();
            conf.learners = spec.learners.clone();
            conf.learners_next = spec.learners_next.clone();
            conf.auto_leave = spec.auto_leave;
            let mut stored = member.disk.0.borrow_mut();
            stored.hard.term = 1;
            stored.hard.commit = spec.start;
            let snapshot = snapshot_at(spec.start, 1, &conf, 0);
            stored.restore(&snapshot);
        }
        member.points.push(Point { index: spec.start, chain: 0, conf });
        member.start(spec.start)?;
        Ok(member)
    }

    pub fn is_up(&self) -> bool {
        self.raw.is_some()
    }

    /// Begins from what is stored, with a state machine that is at `applied`.
    fn start(&mut self, applied: u64) -> Result<(), String> {
        let snapshot = self.disk.0.borrow().snapshot.clone();
        self.points.retain(|point| point.index <= applied);
        let newest = self.points.last().map_or(0, |point| point.index);
        if self.points.is_empty() || newest < snapshot.get_metadata().index {
            self.take_snapshot(&snapshot);
        }
        let last = self.points.last().expect("a state machine is somewhere").clone();
        if last.index < applied {
            self.points.push(Point { index: applied, ..last.clone() });
        }
        self.disk.0.borrow_mut().conf = last.conf;
        let spec = &self.spec;
        let config = Config {
            id: spec.id,
            election_tick: spec.election,
            heartbeat_tick: spec.heartbeat,
            applied,
            max_size_per_msg: if spec.one_entry_messages { 0 } else { NO_LIMIT },
            max_inflight_msgs: spec.max_inflight,
            check_quorum: spec.check_quorum,
            pre_vote: spec.pre_vote,
            read_only_option: if spec.lease_reads { ReadOnlyOption::LeaseBased } else { ReadOnlyOption::Safe },
            skip_bcast_commit: spec.skip_bcast_commit,
            batch_append: spec.batch_append,
            priority: spec.priority,
            max_uncommitted_size: if spec.max_uncommitted > 0 { spec.max_uncommitted } else { NO_LIMIT },
            max_committed_size_per_ready: if spec.one_entry_applies { 1 } else { NO_LIMIT },
            ..Config::default()
        };
        let mut raw = RawNode::new(&config, self.disk.clone(), &self.logger).map_err(|error| error.to_string())?;
        raw.raft.enable_group_commit(spec.group_commit);
        self.raw = Some(raw);
        self.pin();
        Ok(())
    }

    /// The library's random draw is not left to it.
    fn pin(&mut self) {
        let (id, seed, election) = (self.spec.id, self.seed, self.spec.election as u64);
        if let Some(raw) = &mut self.raw {
            let mut x = seed
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(id.wrapping_mul(0xBF58_476D_1CE4_E5B9))
                .wrapping_add(raw.raft.term.wrapping_mul(0x94D0_49BB_1331_11EB));
            x ^= x >> 31;
            x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x ^= x >> 29;
            raw.raft.set_randomized_election_timeout((election + (x >> 11) % election) as usize);
        }
    }

    /// Calls the library, then does what it wants done.
    pub fn call(&mut self, call: impl FnOnce(&mut RawNode<Disk>) -> raft::Result<()>) -> Outcome {
        let raw = self.raw.as_mut().expect("only members that are up are called");
        let result = call(raw);
        self.pin();
        self.work();
        match result {
            Ok(()) => Ok(()),
            Err(Error::ProposalDropped | Error::RequestSnapshotDropped) => Err(Refused),
            // From somebody who is no member: not for the caller.
            Err(Error::StepPeerNotFound) => Ok(()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Ready after Ready until there is none.
    fn work(&mut self) {
        while self.raw.as_ref().is_some_and(RawNode::has_ready) {
            let raw = self.raw.as_mut().expect("it is up");
            let mut ready = raw.ready();
            self.out.append(&mut ready.take_messages());
            let snapshot = ready.snapshot().clone();
            {
                let mut stored = self.disk.0.borrow_mut();
                if !snapshot.is_empty() {
                    stored.restore(&snapshot);
                }
                stored.append(ready.entries());
                if let Some(hard) = ready.hs() {
                    stored.hard = hard.clone();
                }
            }
            self.out.append(&mut ready.take_persisted_messages());
            for read in ready.take_read_states() {
                let context: String = read.request_ctx.iter().map(|byte| format!("{byte:02x}")).collect();
                self.reads.push(format!("{}:{context}", read.index));
            }
            if !snapshot.is_empty() {
                self.take_snapshot(&snapshot);
            }
            self.apply(&ready.take_committed_entries());
            let raw = self.raw.as_mut().expect("it is up");
            let mut light = raw.advance_append(ready);
            if let Some(commit) = light.commit_index() {
                self.disk.0.borrow_mut().hard.commit = commit;
            }
            self.out.append(&mut light.take_messages());
            self.apply(&light.take_committed_entries());
            let raw = self.raw.as_mut().expect("it is up");
            let last = raw.raft.raft_log.last_index();
            raw.advance_apply();
            // The entry that leaves a joint configuration would wait for the next heartbeat (protocol.md).
            if raw.raft.raft_log.last_index() > last {
                raw.raft.bcast_append();
            }
            self.pin();
        }
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot) {
        let text = String::from_utf8_lossy(snapshot.get_data()).into_owned();
        let chain =
            text.split(':').nth(1).map_or(0, |sum| u32::from_str_radix(sum, 16).expect("the sum of a snapshot"));
        let metadata = snapshot.get_metadata();
        self.points.retain(|point| point.index < metadata.index);
        self.points.push(Point { index: metadata.index, chain, conf: metadata.get_conf_state().clone() });
    }

    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            let mut point = self.points.last().expect("a state machine is somewhere").clone();
            if entry.index <= point.index {
                continue;
            }
            point.index = entry.index;
            let mut sum = crc32fast::Hasher::new_with_initial(point.chain);
            sum.update(entry_text(entry).as_bytes());
            point.chain = sum.finalize();
            if entry.get_entry_type() != EntryType::EntryNormal {
                let change = change_of(entry).expect("an entry with a change");
                let raw = self.raw.as_mut().expect("it is up");
                // A change that cannot be made ends the schedule, as where the library gives up.
                point.conf = raw.apply_conf_change(&change).expect("a change that can be made");
            }
            self.points.push(point);
        }
    }

    // --- inputs ---

    pub fn tick(&mut self) {
        let _ = self.call(|raw| {
            raw.tick();
            Ok(())
        });
    }

    pub fn propose(&mut self, data: &[String]) -> Outcome {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.spec.id;
        for text in data {
            let mut entry = Entry::default();
            entry.data = text.clone().into_bytes().into();
            message.mut_entries().push(entry);
        }
        self.call(|raw| raw.step(message))
    }

    pub fn change(&mut self, words: &str, transition: u64, v1: bool) -> Outcome {
        self.call(|raw| match parse_change(words, transition, v1) {
            Change::Old(change) => raw.propose_conf_change(Vec::new(), change),
            Change::New(change) => raw.propose_conf_change(Vec::new(), change),
        })
    }

    pub fn deliver(&mut self, message: &Message) {
        // As if it had come over a wire.
        let bytes = message.write_to_bytes().expect("a message can be written");
        let mut copy = Message::default();
        copy.merge_from_bytes(&bytes).expect("what was written can be read");
        let _ = self.call(|raw| raw.step(copy));
    }

    pub fn report_snapshot(&mut self, to: u64, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        let _ = self.call(|raw| {
            raw.report_snapshot(to, status);
            Ok(())
        });
    }

    pub fn crash(&mut self) {
        self.raw = None;
        self.out.clear();
    }

    /// `from_state_machine`: its state machine has kept what it had; else it begins with the snapshot.
    pub fn restart(&mut self, from_state_machine: bool) {
        let (snapshot, commit) = {
            let stored = self.disk.0.borrow();
            (stored.snapshot.get_metadata().index, stored.hard.commit)
        };
        let applied = self.points.last().map_or(0, |point| point.index);
        let applied = if from_state_machine { snapshot.max(applied.min(commit)) } else { snapshot };
        self.start(applied).expect("it began from this before");
        self.work();
    }

    /// A snapshot of what is applied, and no more of the log than `keep` entries before it. False: nothing to do.
    pub fn compact(&mut self, keep: u64) -> bool {
        let point = self.points.last().expect("a state machine is somewhere").clone();
        let mut stored = self.disk.0.borrow_mut();
        let mut done = false;
        if point.index > stored.snapshot.get_metadata().index {
            let term = stored.term_of(point.index);
            stored.snapshot = snapshot_at(point.index, term, &point.conf, point.chain);
            done = true;
        }
        let index = stored.snapshot.get_metadata().index.saturating_sub(keep);
        if index > stored.base {
            stored.compact(index);
            done = true;
        }
        done
    }

    /// `id term vote lead role commit applied sum conf`.
    pub fn text(&self) -> String {
        let Some(raw) = &self.raw else {
            return format!("{} down", self.spec.id);
        };
        let raft = &raw.raft;
        let point = self.points.last().expect("a state machine is somewhere");
        let role = match raft.state {
            StateRole::Follower => 0,
            StateRole::Candidate => 1,
            StateRole::Leader => 2,
            StateRole::PreCandidate => 3,
        };
        format!(
            "{} {} {} {} {role} {} {} {:08x} {}",
            self.spec.id,
            raft.term,
            raft.vote,
            raft.leader_id,
            raft.raft_log.committed,
            raft.raft_log.applied,
            point.chain,
            conf_text(&raft.prs().conf().to_conf_state())
        )
    }
}

/// A snapshot whose data tell the sum over everything up to it.
fn snapshot_at(index: u64, term: u64, conf: &ConfState, chain: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.data = format!("{index}:{chain:08x}").into_bytes().into();
    let metadata = snapshot.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(conf.clone());
    snapshot
}
