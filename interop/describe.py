"""Messages, entries, Readys and progress as text, in the form that etcd's interaction scripts have.

Text only: reads raftx's objects by attribute, so that those of either implementation will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from raftx.types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_SNAPSHOT,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MESSAGE_NAMES,
    MSG_FORGET_LEADER,
    MSG_READ_INDEX,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
)

KIND_NAMES = {kind: f"Msg{name}" for kind, name in MESSAGE_NAMES.items() if kind <= MSG_FORGET_LEADER}
ROLE_NAMES = ("StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate")
PROGRESS_NAMES = ("StateProbe", "StateReplicate", "StateSnapshot")
ENTRY_NAMES = ("EntryNormal", "EntryConfChange", "EntryConfChangeV2")

_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def quote(data: bytes) -> str:
    """Bytes as Go's strconv.Quote has them.

    What is UTF-8 and can be printed stands for itself. Which characters can be printed is a matter of the version of
    Unicode, Python's here.
    """
    parts = []
    # Bytes that are no UTF-8 come one by one as 0xDC00 + byte, which UTF-8 cannot mean.
    for letter in data.decode("utf-8", "surrogateescape"):
        code = ord(letter)
        if letter in _ESCAPES:
            parts.append(_ESCAPES[letter])
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif letter.isprintable():
            parts.append(letter)
        elif code < 0x20 or code == 0x7F:
            parts.append(f"\\x{code:02x}")
        elif code < 0x10000:
            parts.append(f"\\u{code:04x}")
        else:
            parts.append(f"\\U{code:08x}")
    return f'"{"".join(parts)}"'


def id_list(ids: Iterable[int]) -> str:
    """A slice of numbers."""
    return f"[{' '.join([str(id) for id in ids])}]"


def target(id: int) -> str:
    """Whom a message is from or for."""
    names = {0: "None", LOCAL_APPEND_THREAD: "AppendThread", LOCAL_APPLY_THREAD: "ApplyThread"}
    return names.get(id) or f"{id:x}"


def hard_state(state: Any) -> str:
    """Term, vote and commit; no vote is left out."""
    return f"Term:{state.term}{f' Vote:{state.vote}' if state.vote else ''} Commit:{state.commit}"


def conf_state(state: Any) -> str:
    """A membership as snapshots carry it."""
    return (
        f"Voters:{id_list(state.voters)} VotersOutgoing:{id_list(state.voters_outgoing)}"
        f" Learners:{id_list(state.learners)} LearnersNext:{id_list(state.learners_next)}"
        f" AutoLeave:{'true' if state.auto_leave else 'false'}"
    )


def snapshot(value: Any) -> str:
    """A snapshot without its data."""
    return f"Index:{value.index} Term:{value.term} ConfState:{conf_state(value.conf_state)}"


#: From an entry's data and whether it is of the old kind to a change that ``str`` can write.
DecodeChange = Callable[[bytes, bool], Any]


def entry(value: Any, decode_change: DecodeChange) -> str:
    """``term/index kind data``."""
    if value.kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
        data = str(decode_change(value.data, value.kind == ENTRY_CONF_CHANGE))
    else:
        data = quote(value.data)
    return f"{value.term}/{value.index} {ENTRY_NAMES[value.kind]}{f' {data}' if data else ''}"


def entries(values: Iterable[Any], decode_change: DecodeChange) -> str:
    """One line each."""
    return "".join([f"{entry(value, decode_change)}\n" for value in values])


def sender(m: Any) -> int:
    """Whom a message is from, in etcd's sense: a member that is passed over to or that asks is the sender."""
    if m.kind in (MSG_TRANSFER_LEADER, MSG_READ_INDEX) and m.hint:
        return int(m.hint)
    return int(m.sender)


def message(m: Any, decode_change: DecodeChange, indent: str = "", *, responses: bool = True) -> str:
    """A message; several lines when it has several entries, a snapshot or responses. No newline at the end."""
    # What was applied is named by the entries; raftx's answer has the last index besides.
    index = 0 if m.kind == MSG_STORAGE_APPLY_RESP else m.index
    who = f"{target(sender(m))}->{target(m.to)}"
    parts = [f"{indent}{who} {KIND_NAMES.get(m.kind, m.kind)} Term:{m.term} Log:{m.log_term}/{index}"]
    if m.reject:
        parts.append(f" Rejected (Hint: {m.hint})")
    if m.commit:
        parts.append(f" Commit:{m.commit}")
    if m.vote:
        parts.append(f" Vote:{m.vote}")
    # A snapshot travels as a record among the entries, and is shown as what it is.
    found = [value for value in m.entries if value.kind != ENTRY_SNAPSHOT]
    if len(found) == 1:
        parts.append(f" Entries:[{entry(found[0], decode_change)}]")
    elif found:
        lines = [f"\n{indent}  {entry(value, decode_change)}" for value in found]
        parts.append(f" Entries:[{''.join(lines)}\n{indent}]")
    if m.snapshot is not None and m.snapshot.index:
        parts.append(f"\n{indent}  Snapshot: {snapshot(m.snapshot)}")
    if responses and m.responses:
        lines = ["\n" + message(response, decode_change, f"{indent}  ") for response in m.responses]
        parts.append(f" Responses:[{''.join(lines)}\n{indent}]")
    return "".join(parts)


def read_states(states: Iterable[Any]) -> str:
    """Index and context of each; the context as numbers."""
    return f"[{' '.join([f'{{{state.index} {id_list(state.context)}}}' for state in states])}]"


def ready(value: Any, decode_change: DecodeChange) -> str:
    """Everything in a Ready."""
    parts = []
    if value.soft_state is not None:
        lead, role = value.soft_state
        parts.append(f"Lead:{lead} State:{ROLE_NAMES[role]}\n")
    hard = value.hard_state
    if hard is not None and (hard.term, hard.vote, hard.commit) != (0, 0, 0):
        parts.append(f"HardState {hard_state(hard)}\n")
    if value.read_states:
        parts.append(f"ReadStates {read_states(value.read_states)}\n")
    if value.entries:
        parts.append(f"Entries:\n{entries(value.entries, decode_change)}")
    if value.snapshot is not None and value.snapshot.index:
        parts.append(f"Snapshot {snapshot(value.snapshot)}\n")
    if value.committed_entries:
        parts.append(f"CommittedEntries:\n{entries(value.committed_entries, decode_change)}")
    if value.messages:
        parts.append("Messages:\n" + "".join([f"{message(m, decode_change)}\n" for m in value.messages]))
    if not parts:
        return "<empty Ready>"
    return f"Ready MustSync={'true' if value.must_sync else 'false'}:\n{''.join(parts)}"


def progress(
    match: int,
    next: int,
    state: int = 0,
    *,
    learner: bool = False,
    paused: bool = False,
    pending_snapshot: int = 0,
    recent_active: bool = True,
    inflight: int = 0,
    full: bool = False,
) -> str:
    """What a leader knows about one member."""
    parts = [f"{PROGRESS_NAMES[state]} match={match} next={next}"]
    if learner:
        parts.append("learner")
    if paused:
        parts.append("paused")
    if pending_snapshot:
        parts.append(f"pendingSnap={pending_snapshot}")
    if not recent_active:
        parts.append("inactive")
    if inflight:
        parts.append(f"inflight={inflight}{'[full]' if full else ''}")
    return " ".join(parts)


def majority(ids: Iterable[int]) -> str:
    """A set of voters or learners."""
    return f"({' '.join([f'{id:x}' for id in sorted(set(ids))])})"


def configuration(state: Any) -> str:
    """A membership as etcd's tracker prints it; what is empty is left out, but for the voters."""
    parts = [f"voters={majority(state.voters)}"]
    if state.voters_outgoing:
        parts.append(f"&&{majority(state.voters_outgoing)}")
    if state.learners:
        parts.append(f" learners={majority(state.learners)}")
    if state.learners_next:
        parts.append(f" learners_next={majority(state.learners_next)}")
    if state.auto_leave:
        parts.append(" autoleave")
    return "".join(parts)


def indented(text: str) -> str:
    """Every line two blanks further in."""
    return "".join([f"  {line}\n" for line in _lines(text)])


def _lines(text: str) -> Sequence[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


#: what etcd says of a change that does not fit, by what raftx says; a group is a member's id, or a kind
CHANGE_ERRORS = {
    r"the configuration is joint already: leave it first": "config is already joint",
    r"a configuration without voters cannot become joint": "can't make a zero-voter config joint",
    r"the configuration is not joint: there is nothing to leave": "can't leave a non-joint config",
    r"the configuration is joint: leave it before a simple change": "can't apply simple config change in joint config",
    r"a change of more than one voter must go through a joint configuration": (
        "more than one voter changed without entering joint config"
    ),
    r"a change cannot be of kind (\d+)": r"unexpected conf type \1",
    r"a change must leave a voter": "removed all voters",
    r"member (\d+) has no progress": r"no progress for \1",
    r"(\d+) is to become a learner, but is no outgoing voter": r"\1 is in LearnersNext, but not Voters[1]",
    r"(\d+) is to become a learner, but is one already": r"\1 is in LearnersNext, but is already marked as learner",
    r"(\d+) is a learner and an outgoing voter": r"\1 is in Learners and Voters[1]",
    r"(\d+) is a learner and a voter": r"\1 is in Learners and Voters[0]",
    r"(\d+) is a learner, but its progress is a voter's": r"\1 is in Learners, but is not marked as learner",
    r"learners_next must be empty unless the configuration is joint": "cfg.LearnersNext must be nil when not joint",
    r"auto_leave must be False unless the configuration is joint": "AutoLeave must be false when not joint",
}


def change_error(text: str) -> str:
    """What etcd says where raftx refuses a change with ``text``; as it is, where etcd has no such rule."""
    for own, theirs in CHANGE_ERRORS.items():
        match = re.fullmatch(own, text)
        if match:
            return match.expand(theirs)
    return text
