//! The members, the links between them, and delivery until nothing moves.

use std::collections::{BTreeMap, HashSet};

use raft::eraftpb::{Message, MessageType};

use crate::member::{Member, Outcome};
use crate::scenario::{Head, Step};

/// Rounds of delivery after which a schedule counts as one that never comes to rest.
const ROUNDS: usize = 1000;

pub struct Cluster {
    members: BTreeMap<u64, Member>,
    /// Links, from and to, over which nothing gets through.
    cut: HashSet<(u64, u64)>,
}

impl Cluster {
    pub fn new(head: &Head) -> Result<Cluster, String> {
        let mut members = BTreeMap::new();
        for spec in &head.nodes {
            members.insert(spec.id, Member::new(spec, head.seed)?);
        }
        Ok(Cluster { members, cut: HashSet::new() })
    }

    /// One input, then delivery until nothing moves; returns the answer.
    pub fn run(&mut self, step: &Step) -> String {
        let result = self.input(step);
        let quiet = self.deliver();
        let result = if quiet { result } else { "restless" };
        let mut reads = Vec::new();
        for (id, member) in &mut self.members {
            reads.extend(member.reads.drain(..).map(|read| format!("{id}:{read}")));
        }
        reads.sort_unstable();
        let states: Vec<String> = self.members.values().map(Member::text).collect();
        format!("{result}|{}|{}", reads.join(" "), states.join(";"))
    }

    fn input(&mut self, step: &Step) -> &'static str {
        let outcome = match *step {
            Step::Tick(count) => {
                for _ in 0..count {
                    self.up().for_each(Member::tick);
                }
                Ok(())
            }
            Step::Links(ref cut) => {
                self.cut = cut.iter().copied().collect();
                Ok(())
            }
            Step::Restart(id, from_state_machine) => match self.members.get_mut(&id) {
                Some(member) if !member.is_up() => {
                    member.restart(from_state_machine);
                    Ok(())
                }
                _ => return "nothing",
            },
            Step::Compact(id, keep) => match self.member(id) {
                None => return "down",
                Some(member) => match member.compact(keep) {
                    true => Ok(()),
                    false => return "nothing",
                },
            },
            _ => match self.member(id_of(step)) {
                Some(member) => ask(member, step),
                None => return "down",
            },
        };
        match outcome {
            Ok(()) => "ok",
            Err(_) => "dropped",
        }
    }

    fn up(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut().filter(|member| member.is_up())
    }

    fn member(&mut self, id: u64) -> Option<&mut Member> {
        self.members.get_mut(&id).filter(|member| member.is_up())
    }

    /// Rounds of delivery: everything under way arrives, ordered by recipient and sender, before anything that it
    /// causes does. False: it never ends.
    fn deliver(&mut self) -> bool {
        for _ in 0..ROUNDS {
            // With the member that sent it: some messages name another one as their origin.
            let mut under_way: Vec<(u64, Message)> = Vec::new();
            for (id, member) in &mut self.members {
                under_way.extend(member.out.drain(..).map(|message| (*id, message)));
            }
            if under_way.is_empty() {
                return true;
            }
            under_way.sort_by_key(|(sender, message)| (message.to, *sender));
            for (sender, message) in under_way {
                let passes = !self.cut.contains(&(sender, message.to));
                let recipient = self.member(message.to).filter(|_| passes);
                let arrives = recipient.is_some();
                if let Some(member) = recipient {
                    member.deliver(&message);
                }
                // Who sends a snapshot hears what became of it; nobody else hears of anything.
                if message.get_msg_type() == MessageType::MsgSnapshot {
                    if let Some(sender) = self.member(sender) {
                        sender.report_snapshot(message.to, arrives);
                    }
                }
            }
        }
        false
    }
}

/// The member that an input is for.
fn id_of(step: &Step) -> u64 {
    match *step {
        Step::Campaign(id)
        | Step::Propose(id, _)
        | Step::Change { id, .. }
        | Step::Read(id, _)
        | Step::Transfer(id, _)
        | Step::Crash(id)
        | Step::Unreachable(id, _)
        | Step::Ping(id)
        | Step::RequestSnapshot(id)
        | Step::Priority(id, _)
        | Step::Groups(id, _) => id,
        Step::Tick(_) | Step::Links(_) | Step::Restart(..) | Step::Compact(..) => 0,
    }
}

/// An input that is for one member, which is up.
fn ask(member: &mut Member, step: &Step) -> Outcome {
    match step {
        Step::Campaign(_) => member.call(|raw| raw.campaign()),
        Step::Propose(_, data) => member.propose(data),
        Step::Change { changes, transition, v1, .. } => member.change(changes, *transition, *v1),
        Step::Read(_, context) => member.call(|raw| {
            raw.read_index(context.clone().into_bytes());
            Ok(())
        }),
        Step::Transfer(_, to) => member.call(|raw| {
            raw.transfer_leader(*to);
            Ok(())
        }),
        Step::Unreachable(_, peer) => member.call(|raw| {
            raw.report_unreachable(*peer);
            Ok(())
        }),
        Step::Ping(_) => member.call(|raw| {
            raw.ping();
            Ok(())
        }),
        Step::RequestSnapshot(_) => member.call(|raw| raw.request_snapshot()),
        Step::Priority(_, priority) => member.call(|raw| {
            raw.set_priority(*priority);
            Ok(())
        }),
        Step::Groups(_, pairs) => member.call(|raw| {
            raw.raft.assign_commit_groups(pairs);
            Ok(())
        }),
        Step::Crash(_) => {
            member.crash();
            Ok(())
        }
        Step::Tick(_) | Step::Links(_) | Step::Restart(..) | Step::Compact(..) => unreachable!("not for one member"),
    }
}
