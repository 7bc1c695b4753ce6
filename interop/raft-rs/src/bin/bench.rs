//! What raft-rs costs, one case at a time, for bench/core_compare.py.
//!
//! A line of JSON on stdin is a case, a line of JSON on stdout what it took. What the cases are, and what counts as
//! one operation, is written in docs/benchmarks.md; the three programs (this one, interop/etcd-raft/bench and
//! bench/core_sides.py) do the same and differ only in the library they drive. Nothing is printed but answers, and a
//! result that is not what it must be ends the program.

use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use raft::eraftpb::{Entry, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};
use serde_json::{json, Value};

const WINDOW: usize = 1024;
const MESSAGE_BYTES: u64 = 1 << 20;
/// Messages that are stepped, or campaigns that are held, between two readings of the clock.
const GROUP: u64 = 256;

/// A member with its storage and a state machine that counts.
struct Member {
    id: u64,
    node: RawNode<MemStorage>,
    keep: u64,
    first: u64,
    applied: u64,
    bytes: u64,
}

impl Member {
    fn new(id: u64, voters: u64, keep: u64) -> Member {
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: WINDOW,
            ..Default::default()
        };
        let ids: Vec<u64> = (1..=voters).collect();
        let storage = MemStorage::new_with_conf_state((ids, vec![]));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, storage, &logger).unwrap();
        Member { id, node, keep, first: 1, applied: 0, bytes: 0 }
    }

    fn apply(&mut self, entries: &[Entry]) {
        for e in entries {
            assert_eq!(e.index, self.applied + 1);
            self.applied = e.index;
            self.bytes += e.data.len() as u64;
        }
    }

    /// One Ready: persist, apply, advance. What is to be sent is added to `out`.
    fn work(&mut self, out: &mut Vec<Message>) {
        let mut rd = self.node.ready();
        out.append(&mut rd.take_messages());
        let committed = rd.take_committed_entries();
        self.apply(&committed);
        {
            let store = self.node.mut_store();
            let mut core = store.wl();
            if !rd.entries().is_empty() {
                core.append(rd.entries()).unwrap();
            }
            if let Some(hs) = rd.hs() {
                core.set_hardstate(hs.clone());
            }
        }
        out.append(&mut rd.take_persisted_messages());
        let mut light = self.node.advance(rd);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().wl().mut_hard_state().commit = commit;
        }
        out.append(&mut light.take_messages());
        let committed = light.take_committed_entries();
        self.apply(&committed);
        self.node.advance_apply();
        if self.first + 2 * self.keep < self.applied {
            self.first = self.applied - self.keep + 1;
            self.node.mut_store().wl().compact(self.first).unwrap();
        }
    }

    /// Work until nothing is left; what was to be sent is dropped. Returns how many messages that were.
    fn drain(&mut self) -> u64 {
        let mut out = Vec::new();
        while self.node.has_ready() {
            self.work(&mut out);
        }
        out.len() as u64
    }

    fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    fn last(&self) -> u64 {
        self.node.store().last_index().unwrap()
    }

    /// The caller keeps its payload: a proposal gets a copy.
    fn propose(&mut self, payload: &[u8], batch: u64) {
        if batch == 1 {
            self.node.propose(vec![], payload.to_vec()).unwrap();
            return;
        }
        let mut m = Message::default();
        m.set_msg_type(MessageType::MsgPropose);
        m.from = self.id;
        m.entries = proposals(payload, batch).into();
        self.node.step(m).unwrap();
    }
}

fn proposals(payload: &[u8], batch: u64) -> Vec<Entry> {
    let entry = |_| Entry { data: payload.to_vec().into(), ..Default::default() };
    (0..batch).map(entry).collect()
}

fn message(kind: MessageType, from: u64, to: u64, term: u64) -> Message {
    let mut m = Message::default();
    m.set_msg_type(kind);
    m.from = from;
    m.to = to;
    m.term = term;
    m
}

/// One leader of several voters that others have elected and acknowledged.
fn leader(voters: u64, keep: u64) -> Member {
    let mut member = Member::new(1, voters, keep);
    member.node.campaign().unwrap();
    member.drain();
    for id in 2..=voters {
        let term = member.node.raft.term;
        member.node.step(message(MessageType::MsgRequestVoteResponse, id, 1, term)).unwrap();
        member.drain();
    }
    assert_eq!(member.node.raft.state, StateRole::Leader);
    for id in 2..=voters {
        acknowledge(&mut member, id);
        member.drain();
    }
    assert_eq!(member.commit(), 1);
    member
}

fn acknowledge(member: &mut Member, id: u64) {
    let mut m = message(MessageType::MsgAppendResponse, id, 1, member.node.raft.term);
    m.index = member.last();
    member.node.step(m).unwrap();
}

/// A follower of member 1, in term 1.
fn follower(keep: u64) -> Member {
    let mut member = Member::new(2, 3, keep);
    member.node.step(message(MessageType::MsgHeartbeat, 1, 2, 1)).unwrap();
    member.drain();
    member
}

/// What a case is asked for.
struct Case {
    size: u64,
    batch: u64,
    voters: u64,
    keep: u64,
    warm: u64,
    seconds: f64,
}

/// Run `chunk`, which does some operations and says how many and how long they took, for a while. Before that for a
/// quarter of the time, and for at least `warm` operations, so that logs are as long as they become.
fn measure(case: &Case, mut chunk: impl FnMut() -> (u64, Duration)) -> (u64, f64) {
    let (mut count, mut spent) = (0, 0.0);
    while spent < case.seconds / 4.0 || count < case.warm {
        let (done, took) = chunk();
        count += done;
        spent += took.as_secs_f64();
    }
    (count, spent) = (0, 0.0);
    while spent < case.seconds {
        let (done, took) = chunk();
        count += done;
        spent += took.as_secs_f64();
    }
    (count, spent)
}

fn report(counted: (u64, f64), work: Value) -> Value {
    json!({"ns": counted.1 * 1e9 / counted.0 as f64, "count": counted.0, "seconds": counted.1, "work": work})
}

fn one(case: &Case) -> Value {
    let mut member = leader(1, case.keep);
    let payload = vec![0x5a; case.size as usize];
    let (rounds, before) = ((GROUP / case.batch).max(1), member.commit());
    let mut proposed = 0;
    member.bytes = 0;
    let counted = measure(case, || {
        let started = Instant::now();
        for _ in 0..rounds {
            member.propose(&payload, case.batch);
            member.drain();
        }
        proposed += rounds * case.batch;
        (rounds * case.batch, started.elapsed())
    });
    assert_eq!(member.commit(), before + proposed);
    assert_eq!(member.applied, before + proposed);
    assert_eq!(member.bytes, proposed * case.size);
    report(counted, json!({}))
}

/// Let all members work, and step what each has sent, until nothing is left. Returns how many messages that were.
fn settle(members: &mut [Member], out: &mut Vec<Message>) -> u64 {
    let mut sent = 0;
    loop {
        let mut idle = true;
        for at in 0..members.len() {
            if !members[at].node.has_ready() {
                continue;
            }
            idle = false;
            members[at].work(out);
            sent += out.len() as u64;
            for m in out.drain(..) {
                let to = m.to as usize - 1;
                members[to].node.step(m).unwrap();
            }
        }
        if idle {
            return sent;
        }
    }
}

fn three(case: &Case) -> Value {
    let mut members: Vec<Member> = (1..=3).map(|id| Member::new(id, 3, case.keep)).collect();
    let mut out = Vec::new();
    members[0].node.campaign().unwrap();
    settle(&mut members, &mut out);
    assert_eq!(members[0].node.raft.state, StateRole::Leader);
    let payload = vec![0x5a; case.size as usize];
    let (rounds, before) = ((GROUP / case.batch).max(1), members[0].commit());
    let (mut proposed, mut sent) = (0, 0);
    for member in &mut members {
        member.bytes = 0;
    }
    let counted = measure(case, || {
        let started = Instant::now();
        for _ in 0..rounds {
            members[0].propose(&payload, case.batch);
            sent += settle(&mut members, &mut out);
        }
        proposed += rounds * case.batch;
        (rounds * case.batch, started.elapsed())
    });
    for member in &members {
        assert_eq!(member.commit(), before + proposed);
        assert_eq!(member.applied, before + proposed);
        assert_eq!(member.bytes, proposed * case.size);
    }
    report(counted, json!({"messages": (sent * case.batch) as f64 / proposed as f64}))
}

fn append(case: &Case) -> Value {
    let mut member = follower(case.keep);
    let payload = vec![0x5a; case.size as usize];
    let (group, mut last, mut answers) = ((GROUP / case.batch).max(16), 0, 0);
    let counted = measure(case, || {
        let begin = last;
        let mut messages = Vec::new();
        for _ in 0..group {
            let mut m = message(MessageType::MsgAppend, 1, 2, 1);
            m.index = last;
            m.log_term = if last == 0 { 0 } else { 1 };
            m.commit = last;
            let mut entries = proposals(&payload, case.batch);
            for e in &mut entries {
                last += 1;
                e.index = last;
                e.term = 1;
            }
            m.entries = entries.into();
            messages.push(m);
        }
        let started = Instant::now();
        for m in messages {
            member.node.step(m).unwrap();
        }
        let took = started.elapsed();
        assert_eq!(member.commit(), last - case.batch);
        assert_eq!(last - begin, group * case.batch);
        answers += member.drain();
        assert_eq!(member.last(), last);
        (group, took)
    });
    assert_eq!(answers, last / case.batch);
    report(counted, json!({"messages": 1}))
}

fn ack(case: &Case) -> Value {
    let mut member = leader(case.voters, case.keep);
    let payload = vec![0x5a; case.size as usize];
    let (mut sent, mut total) = (0, 0);
    let counted = measure(case, || {
        let begin = member.commit();
        for _ in 0..GROUP {
            member.propose(&payload, 1);
        }
        member.drain();
        assert_eq!(member.commit(), begin);
        let mut messages = Vec::new();
        for at in 1..=GROUP {
            let mut m = message(MessageType::MsgAppendResponse, 2, 1, member.node.raft.term);
            m.index = begin + at;
            messages.push(m);
        }
        let started = Instant::now();
        for m in messages {
            member.node.step(m).unwrap();
        }
        let took = started.elapsed();
        assert_eq!(member.commit(), begin + GROUP);
        sent += member.drain();
        total += GROUP;
        acknowledge(&mut member, 3);
        member.drain();
        (GROUP, took)
    });
    report(counted, json!({"messages": sent as f64 / total as f64}))
}

fn heartbeat(case: &Case) -> Value {
    let mut member = follower(case.keep);
    let counted = measure(case, || {
        let messages: Vec<Message> = (0..GROUP).map(|_| message(MessageType::MsgHeartbeat, 1, 2, 1)).collect();
        let started = Instant::now();
        for m in messages {
            member.node.step(m).unwrap();
        }
        let took = started.elapsed();
        assert_eq!(member.drain(), GROUP);
        (GROUP, took)
    });
    report(counted, json!({"messages": 1}))
}

fn ready(case: &Case) -> Value {
    let mut member = follower(case.keep);
    let mut out = Vec::new();
    let counted = measure(case, || {
        let messages: Vec<Message> = (0..GROUP).map(|_| message(MessageType::MsgHeartbeat, 1, 2, 1)).collect();
        let mut answers = 0;
        let started = Instant::now();
        for m in messages {
            member.node.step(m).unwrap();
            while member.node.has_ready() {
                member.work(&mut out);
            }
            answers += out.len() as u64;
            out.clear();
        }
        let took = started.elapsed();
        assert_eq!(answers, GROUP);
        (GROUP, took)
    });
    report(counted, json!({"messages": 1}))
}

fn campaign(case: &Case) -> Value {
    let mut member = Member::new(1, case.voters, case.keep);
    let counted = measure(case, || {
        let term = member.node.raft.term;
        let started = Instant::now();
        for _ in 0..GROUP {
            member.node.campaign().unwrap();
        }
        let took = started.elapsed();
        assert_eq!(member.node.raft.term, term + GROUP);
        assert_eq!(member.drain(), GROUP * (case.voters - 1));
        (GROUP, took)
    });
    report(counted, json!({"messages": case.voters - 1}))
}

fn commit(case: &Case) -> Value {
    let mut member = Member::new(1, case.voters, case.keep);
    let prs = member.node.raft.mut_prs();
    for slot in 0..case.voters {
        prs.get_mut(slot + 1).unwrap().matched = 1000 + 7 * (slot * 2 % case.voters);
    }
    let index = prs.maximal_committed_index().0;
    let (mut sum, mut total) = (0, 0);
    let counted = measure(case, || {
        let started = Instant::now();
        for _ in 0..4 * GROUP {
            sum += black_box(&mut *prs).maximal_committed_index().0;
        }
        total += 4 * GROUP;
        (4 * GROUP, started.elapsed())
    });
    assert_eq!(sum, total * index);
    report(counted, json!({"index": index}))
}

fn vote(case: &Case) -> Value {
    let mut member = Member::new(1, case.voters, case.keep);
    let prs = member.node.raft.mut_prs();
    for id in 1..=case.voters {
        prs.record_vote(id, true);
    }
    // The crate does not give the type of the result a name.
    let expected = prs.tally_votes().2;
    assert_eq!(format!("{expected:?}"), "Won");
    let (mut won, mut total) = (0, 0);
    let counted = measure(case, || {
        let started = Instant::now();
        for _ in 0..GROUP {
            prs.reset_votes();
            for id in 1..=case.voters / 2 + 1 {
                prs.record_vote(id, true);
            }
            won += u64::from(black_box(&*prs).tally_votes().2 == expected);
        }
        total += GROUP;
        (GROUP, started.elapsed())
    });
    assert_eq!(won, total);
    report(counted, json!({}))
}

fn main() {
    for line in io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let number = |name: &str| asked[name].as_u64().unwrap_or(0);
        let case = Case {
            size: number("size"),
            batch: number("batch").max(1),
            voters: number("voters").max(1),
            keep: number("keep"),
            warm: number("warm"),
            seconds: asked["seconds"].as_f64().unwrap(),
        };
        let answer = match asked["case"].as_str().unwrap() {
            "one" => one(&case),
            "three" => three(&case),
            "append" => append(&case),
            "ack" => ack(&case),
            "heartbeat" => heartbeat(&case),
            "ready" => ready(&case),
            "campaign" => campaign(&case),
            "commit" => commit(&case),
            "vote" => vote(&case),
            other => panic!("no such case: {other}"),
        };
        println!("{answer}");
        io::stdout().flush().unwrap();
    }
}
