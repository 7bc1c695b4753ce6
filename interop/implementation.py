"""A copy of raftx, compiled or interpreted, as harnesses use it, and its objects as answers show them (protocol.md)."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

CLUSTER = b"raftx interop\0\0\0"

# Kinds of messages, with etcd's numbers, and flags
_PROP, _APP_RESP, _VOTE, _SNAP, _HEARTBEAT, _HEARTBEAT_RESP = 2, 4, 5, 7, 8, 9
_TRANSFER_LEADER, _READ_INDEX, _PRE_VOTE, _STORAGE_APPLY_RESP = 13, 15, 17, 22
_BEATS = (_HEARTBEAT, _HEARTBEAT_RESP)
_REQUESTS = (_VOTE, _PRE_VOTE)
_REJECT = 1
_TRANSFER = 2


def conf_text(conf: Any) -> str:
    """A configuration as answers show it."""
    sets = (conf.voters, conf.voters_outgoing, conf.learners, conf.learners_next)
    return "/".join([",".join([str(id) for id in ids]) for ids in sets]) + ("/1" if conf.auto_leave else "/0")


class Implementation:
    """The names of one copy of raftx that the harness uses, compiled or interpreted."""

    def __init__(self, package: ModuleType) -> None:
        core = importlib.import_module(package.__name__ + "._core")
        errors = importlib.import_module(package.__name__ + ".errors")
        types = importlib.import_module(package.__name__ + ".types")
        self.Codec = core.Codec
        self.EntryLog = core.EntryLog
        self.Config = package.Config
        self.RawNode = package.RawNode
        self.ConfState = types.ConfState
        self.ConfChange = types.ConfChange
        self.HardState = types.HardState
        self.Snapshot = types.Snapshot
        self.NO_LIMIT: int = types.NO_LIMIT
        self.FrameError = errors.FrameError
        self.ProposalDropped = errors.ProposalDropped
        self.ConfChangeRefused = errors.ConfChangeRefused
        self.ReadDropped = errors.ReadDropped
        self.SnapshotRequestDropped = errors.SnapshotRequestDropped
        self.UnknownPeer = errors.UnknownPeer
        self.StepLocalMessage = errors.StepLocalMessage
        # Where Go panics: an invariant that the library guards, a change that cannot be applied.
        self.gives_up = (errors.Corruption, errors.ConfChangeError)
        self.changes: dict[tuple[bytes, int], str] = {}

    def change_text(self, data: bytes, kind: int) -> str:
        """The data of a membership change as answers show them."""
        text = self.changes.get((data, kind))
        if text is None:
            change = self.ConfChange.decode(data, kind == 1)
            text = self.changes[data, kind] = f"{change.transition}:{change}"
        return text

    def entries_text(self, entries: Iterable[Any]) -> str:
        """Entries, joined by semicolons."""
        return ";".join(
            [
                f"{e.term}/{e.index}/0/{e.data.hex()}"
                if e.kind == 0
                else f"{e.term}/{e.index}/{e.kind}/{self.change_text(e.data, e.kind)}"
                for e in entries
            ]
        )

    def message_text(self, m: Any) -> str:
        """A message with its responses, followed by a space."""
        kind = m.kind
        sender = m.sender
        index = m.index
        hint = context = 0
        if kind == _APP_RESP:
            hint = m.hint
        elif kind in _BEATS:
            context = m.context
        elif kind in _REQUESTS:
            context = 1 if m.flags & _TRANSFER else 0
        elif kind == _PROP:
            sender = 0
        elif kind == _TRANSFER_LEADER:
            sender = m.hint
        elif kind == _READ_INDEX:
            sender = m.hint or sender
        elif kind == _STORAGE_APPLY_RESP:
            index = 0  # the entries say it
        entries = snapshot = responses = ""
        if m.count and kind != _SNAP:
            entries = self.entries_text(m.entries)
        taken = m.snapshot
        if taken is not None:
            snapshot = f"{taken.index},{taken.term},{conf_text(taken.conf_state)}"
        if m.responses:
            responses = "".join([self.message_text(each) for each in m.responses])
        return (
            f"{kind},{sender},{m.to},{m.term},{m.log_term},{index},{m.commit},{m.vote},{m.flags & _REJECT},{hint},"
            f"{context},[{entries}],({snapshot}),{{{responses}}} "
        )


@functools.cache
def implementation(package: ModuleType) -> Implementation:
    """The names of a copy of raftx, looked up once."""
    return Implementation(package)
