"""The caps and windows of a member's settings, looked at from outside in what it hands out.

``Limits`` is told of messages, proposals and applies and raises Violation. Windows are counted twice: as the
core says, and by what was sent since a peer was last heard of, which knows nothing of the core's books.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._native.layout import ENTRY_HEADER
from .._native.memory import Entry
from .._native.outbox import Message
from ..config import Config
from ..types import MSG_APP, MSG_SNAP
from .invariants import Violation

if TYPE_CHECKING:
    from ..consensus.rawnode import RawNode


class Limits:
    """The limits of one cluster whose members have the same settings. Keyed by (leader, peer)."""

    def __init__(self, config: Config) -> None:
        self.config = config
        #: term, appends with entries and their bytes since the peer was last heard of
        self.sent: dict[tuple[int, int], tuple[int, int, int]] = {}
        #: term of a snapshot after which nothing was heard of the peer
        self.snapshots: dict[tuple[int, int], int] = {}
        self.full_windows = 0

    def heard(self, id: int, peer: int) -> None:
        """A leader learns something of a peer: what it is sent from here on is counted anew."""
        self.sent.pop((id, peer), None)
        self.snapshots.pop((id, peer), None)

    def renewed(self, id: int) -> None:
        """A life ended, or the membership changed: all that was counted is void."""
        for key in [key for key in (*self.sent, *self.snapshots) if key[0] == id]:
            self.heard(*key)

    def sends(self, raw: RawNode, message: Message, lone: bool) -> None:
        """A message for a peer is handed out. ``lone``: nothing was heard between it and its Ready's other ones."""
        if message.kind == MSG_APP and message.count:
            self._append(raw, message, lone)
        elif message.kind == MSG_SNAP:
            key = (message.sender, message.to)
            if lone and self.snapshots.get(key) == message.term:
                raise Violation(f"node {key[0]} sends {key[1]} another snapshot before anything was heard of the first")
            self.snapshots[key] = message.term

    def _append(self, raw: RawNode, message: Message, lone: bool) -> None:
        config = self.config
        size = message.body_size
        if message.count > 1 and size > config.max_message_bytes:
            raise Violation(
                f"node {message.sender} sends {message.count} entries of {size} bytes in one message, "
                f"max_message_bytes is {config.max_message_bytes}"
            )
        tracker = raw.core.tracker
        slot = tracker.peers.py_slot_of(message.to)
        if slot >= 0:
            count, total = tracker.inflights.count_of(slot), tracker.inflights.bytes_of(slot)
            if count >= config.max_inflight_messages or total >= config.max_inflight_bytes:
                self.full_windows += 1
                window = tracker.inflights.contents(slot)
                if count > config.max_inflight_messages or total - window[-1][1] >= config.max_inflight_bytes:
                    raise Violation(
                        f"the window of node {message.sender} to {message.to} holds {window}: more than "
                        f"{config.max_inflight_messages} messages or {config.max_inflight_bytes} bytes"
                    )
        if not lone:
            return
        key = (message.sender, message.to)
        term, count, total = self.sent.get(key, (0, 0, 0))
        if term != message.term:
            count = total = 0
        if count >= config.max_inflight_messages or total >= config.max_inflight_bytes:
            raise Violation(
                f"node {message.sender} sends {message.to} one more append after {count} of {total} bytes "
                f"to which nothing was answered"
            )
        self.sent[key] = (message.term, count + 1, total + size - message.count * ENTRY_HEADER)

    def accepted(self, id: int, before: int, after: int) -> None:
        """A leader has appended proposals: bytes that are not applied yet, before and after it."""
        if before and after > max(before, self.config.max_uncommitted_bytes):
            raise Violation(
                f"node {id} keeps {after} bytes uncommitted, {before} before the last proposal; "
                f"max_uncommitted_bytes is {self.config.max_uncommitted_bytes}"
            )

    def refused(self, id: int, before: int, size: int) -> None:
        """A leader has refused proposals of ``size`` bytes and nothing but the cap was in the way."""
        if not before or before + size <= self.config.max_uncommitted_bytes:
            raise Violation(f"node {id} refuses a proposal of {size} bytes with {before} uncommitted")

    def handed(self, id: int, before: int, entries: Sequence[Entry]) -> int:
        """Entries are handed to a state machine that has ``before`` bytes still to apply. Returns their bytes."""
        limit = self.config.max_apply_bytes
        size = sum([len(entry.data) for entry in entries]) + len(entries) * ENTRY_HEADER
        if before >= limit or (len(entries) > 1 and before + size > limit):
            raise Violation(
                f"node {id} hands out {len(entries)} entries of {size} bytes while {before} are not applied; "
                f"max_apply_bytes is {limit}"
            )
        return size
