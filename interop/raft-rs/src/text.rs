//! Entries, membership changes and configurations as answers show them.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use raft::eraftpb::{ConfState, Entry, EntryType};

/// A membership change of either kind.
pub enum Change {
    Old(ConfChange),
    New(ConfChangeV2),
}

/// Reads `v1 l2 r3`.
pub fn parse_change(words: &str, transition: u64, v1: bool) -> Change {
    let mut singles = Vec::new();
    for word in words.split_whitespace() {
        let mut single = ConfChangeSingle::default();
        single.node_id = word[1..].parse().expect("the id of a change");
        single.set_change_type(match &word[..1] {
            "v" => ConfChangeType::AddNode,
            "l" => ConfChangeType::AddLearnerNode,
            "r" => ConfChangeType::RemoveNode,
            other => panic!("a change {other}, which this library does not have"),
        });
        singles.push(single);
    }
    if v1 {
        let mut change = ConfChange::default();
        change.node_id = singles[0].node_id;
        change.set_change_type(singles[0].get_change_type());
        return Change::Old(change);
    }
    let mut change = ConfChangeV2::default();
    change.set_transition(match transition {
        0 => ConfChangeTransition::Auto,
        1 => ConfChangeTransition::Implicit,
        _ => ConfChangeTransition::Explicit,
    });
    change.set_changes(singles.into());
    Change::New(change)
}

/// The change that an entry carries; None for a normal entry.
pub fn change_of(entry: &Entry) -> Option<ConfChangeV2> {
    let mut change = ConfChangeV2::default();
    match entry.get_entry_type() {
        EntryType::EntryNormal => return None,
        EntryType::EntryConfChange => {
            let mut old = ConfChange::default();
            old.merge_from_bytes(entry.get_data()).expect("a membership change");
            let mut single = ConfChangeSingle::default();
            single.node_id = old.node_id;
            single.set_change_type(old.get_change_type());
            change.mut_changes().push(single);
        }
        EntryType::EntryConfChangeV2 => change.merge_from_bytes(entry.get_data()).expect("a membership change"),
    }
    Some(change)
}

/// `term/index/kind/data`: hexadecimal, or `transition:changes`.
pub fn entry_text(entry: &Entry) -> String {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    let data = match change_of(entry) {
        None => entry.get_data().iter().map(|byte| format!("{byte:02x}")).collect(),
        Some(change) => change_text(&change),
    };
    format!("{}/{}/{kind}/{data}", entry.term, entry.index)
}

fn change_text(change: &ConfChangeV2) -> String {
    let transition = match change.get_transition() {
        ConfChangeTransition::Auto => 0,
        ConfChangeTransition::Implicit => 1,
        ConfChangeTransition::Explicit => 2,
    };
    let words = change.get_changes().iter().map(|single| {
        let letter = match single.get_change_type() {
            ConfChangeType::AddNode => 'v',
            ConfChangeType::AddLearnerNode => 'l',
            ConfChangeType::RemoveNode => 'r',
        };
        format!("{letter}{}", single.node_id)
    });
    format!("{transition}:{}", words.collect::<Vec<_>>().join(" "))
}

/// `voters/outgoing/learners/learners_next/auto_leave`, ids ascending.
pub fn conf_text(conf: &ConfState) -> String {
    let set = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let words: Vec<String> = ids.iter().map(u64::to_string).collect();
        words.join(",")
    };
    format!(
        "{}/{}/{}/{}/{}",
        set(&conf.voters),
        set(&conf.voters_outgoing),
        set(&conf.learners),
        set(&conf.learners_next),
        u8::from(conf.auto_leave)
    )
}
