"""The hot structures in plain Python: the definition of what ``_core.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``. Same names, same results and the same bytes
as the compiled module; both change in one commit. No I/O, no clock, no threads here, and nothing of
Raft's rules: the log, messages and frames only. The memory under them is ``_memory``'s, windows and
columns are ``_flow``'s; the public names of both are given on from here.

Where the compiled module has a pointer there is a bytes-like object here. Methods without a ``py_``
twin that take rows trust them, as the compiled ones do. Every object belongs to one thread at a time.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, final

from ._flow import COLUMN_NAMES as COLUMN_NAMES
from ._flow import SLOTS as SLOTS
from ._flow import Inflights as Inflights
from ._flow import Peers as Peers
from ._flow import popcount as popcount
from ._memory import (
    _ENVELOPE,
    _U32,
    _U64,
    _bytes,
    _count_records,
    _encode_record,
    _int,
    _number,
    _put,
    _record_valid,
    _walk,
)
from ._memory import ENTRY_HEADER as ENTRY_HEADER
from ._memory import ENVELOPE as ENVELOPE
from ._memory import Block as Block
from ._memory import Buffer as Buffer
from ._memory import Bytes as Bytes
from ._memory import Cursor as Cursor
from ._memory import Entry as Entry
from ._memory import Span as Span
from ._memory import Spans as Spans
from ._memory import View as View
from ._memory import block_data as block_data
from ._memory import block_new as block_new
from ._memory import block_ref as block_ref
from ._memory import block_unref as block_unref
from ._memory import crc32 as crc32
from ._memory import py_crc32 as py_crc32
from .errors import Corruption, FrameError
from .types import (
    ENTRY_SNAPSHOT,
    FLAG_REJECT,
    LOCAL_KINDS,
    MESSAGE_NAMES,
    MSG_APP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    NUMBER_MAX,
    ConfState,
    Snapshot,
)

FRAME_HEADER = 64
MESSAGE_HEADER = 64
REASONS = (
    "ok", "short", "magic", "version", "cluster", "group", "recipient", "length", "checksum", "kind", "range",
    "records", "sender",
)  # fmt: skip

_MAGIC = b"RXF1"
_VERSION = 1
_TOO_LARGE = 1  # flag of a frame: its sender has something for the recipient that is larger than it takes
_FRAME = struct.Struct("<4sBBH16sQQQQII")
_HEAD = struct.Struct("<BBHIIIQQQQQQ")  # kind, flags, 0, count, size, 0, term .. context
_SHORT, _BAD_MAGIC, _BAD_VERSION, _CLUSTER, _GROUP, _RECIPIENT, _LENGTH, _CHECKSUM, _KIND, _RANGE, _RECORDS, _SENDER = (
    range(1, 13)
)
_WIRE_KINDS = frozenset(MESSAGE_NAMES) - LOCAL_KINDS


def snapshot_record(snapshot: Snapshot) -> bytes:
    """The record of a snapshot: its membership, then its data, under index and term."""
    data = snapshot.conf_state.encode() + snapshot.data
    return Entry(snapshot.index, snapshot.term, data, ENTRY_SNAPSHOT).encode()


def snapshot_from(records: bytes) -> Snapshot:
    """The snapshot of a record; raises FrameError("records")."""
    entries = Entry.decode_all(records)
    if len(entries) != 1 or entries[0].kind != ENTRY_SNAPSHOT:
        raise FrameError("records")
    try:
        conf_state, data = ConfState.decode(entries[0].data)
    except ValueError as error:
        raise FrameError("records") from error
    return Snapshot(entries[0].index, entries[0].term, conf_state, data)


_MESSAGE_NUMBERS = ("to", "sender", "term", "log_term", "index", "commit", "hint", "context", "vote")
_MESSAGE_LIMITS = {"flags": 2**32, "count": 2**32} | dict.fromkeys(_MESSAGE_NUMBERS, 2**64)


@final
class Message:
    """A message received or made; its body is entry records that somebody else may own.

    Numbers are checked when they are set: OverflowError, TypeError.
    """

    __slots__ = ("_snapshot", "body", "body_size", "count", "flags", "kind", "responses", *_MESSAGE_NUMBERS)
    __hash__ = None  # type: ignore[assignment]

    kind: int
    flags: int
    count: int
    to: int
    sender: int
    term: int
    log_term: int
    index: int
    commit: int
    hint: int
    context: int
    vote: int
    body: Bytes
    body_size: int
    responses: list[Message] | None
    _snapshot: Any

    def __init__(
        self,
        kind: int = 0,
        *,
        to: int = 0,
        sender: int = 0,
        term: int = 0,
        log_term: int = 0,
        index: int = 0,
        commit: int = 0,
        hint: int = 0,
        context: int = 0,
        vote: int = 0,
        flags: int = 0,
        entries: Iterable[Entry | bytes] | None = None,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.kind = kind
        self.to = to
        self.sender = sender
        self.term = term
        self.log_term = log_term
        self.index = index
        self.commit = commit
        self.hint = hint
        self.context = context
        self.vote = vote
        self.flags = flags
        self.set_body(b"", 0, 0)
        self.responses = None
        self._snapshot = None
        if entries:
            self._own(b"".join([e if isinstance(e, bytes) else e.encode() for e in entries]))
        if snapshot is not None:
            self.snapshot = snapshot

    def __setattr__(self, name: str, value: Any) -> None:
        limit = _MESSAGE_LIMITS.get(name)
        if limit:
            value = _number(value, limit)
        elif name == "kind":
            value = _int(value)
        elif name == "responses" and not isinstance(value, (list, type(None))):
            raise TypeError(f"a list or None is required, not {type(value).__name__}")
        _put(self, name, value)

    def _own(self, records: bytes) -> None:
        """Take records as the body; raises FrameError when they are not whole."""
        count = _count_records(memoryview(records), False)
        if count < 0:
            raise FrameError("records")
        self.set_body(records, len(records), count)

    def reset(self, kind: int) -> None:
        """Zero every number and the body."""
        for name in _MESSAGE_NUMBERS:
            _put(self, name, 0)
        _put(self, "kind", kind)
        _put(self, "flags", 0)
        self.set_body(b"", 0, 0)

    def set_body(self, body: Bytes, size: int, count: int) -> None:
        """Refer to ``count`` records in the first ``size`` bytes of ``body``."""
        _put(self, "body", body if len(body) == size else memoryview(body)[:size])
        _put(self, "body_size", size)
        _put(self, "count", count)

    def body_from(self, buffer: Buffer, offset: int, size: int, count: int) -> int:
        """Refer to records in ``buffer``, valid until it changes; -1 when they are not inside of it."""
        if offset + size > buffer.size:
            return -1
        self.set_body(memoryview(buffer.data)[offset : offset + size], size, count)
        return 0

    def body_of(self, other: Message, offset: int, size: int, count: int) -> int:
        """Refer to records in the body of ``other``, valid as long as that is; -1 when they are not inside of it."""
        if offset + size > other.body_size:
            return -1
        self.set_body(memoryview(other.body)[offset : offset + size], size, count)
        return 0

    def origin(self) -> int:
        """Who made the first proposal of the body, from its envelope; 0 without one."""
        return self._envelope(32)

    def sequence(self) -> int:
        """The number that the first proposal's maker gave it; 0 without an envelope."""
        return self._envelope(48)

    def _envelope(self, offset: int) -> int:
        if self.body_size < ENTRY_HEADER + ENVELOPE:
            return 0
        value: int = _U64.unpack_from(self.body, offset)[0]
        return value

    def is_from(self, origin: int, incarnation: int, sequence: int) -> bool:
        """Whether each proposal of the body has an envelope of this life, numbered from ``sequence`` on."""
        for offset, step, _, _ in _walk(self.body, self.body_size):
            if step < ENTRY_HEADER + ENVELOPE:
                return False
            if _ENVELOPE.unpack_from(self.body, offset + ENTRY_HEADER) != (origin, incarnation, sequence):
                return False
            sequence += 1
        return True

    def has_changes(self) -> bool:
        """Whether the body has anything but normal entries."""
        for offset, step, _, _ in _walk(self.body, self.body_size):
            if step and self.body[offset + 24]:
                return True
        return False

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot that the message carries, or None; raises FrameError("records") when it is damaged."""
        if self._snapshot is None and self.kind == MSG_SNAP and self.body_size:
            return snapshot_from(self.records)
        kept: Snapshot | None = self._snapshot
        return kept

    @snapshot.setter
    def snapshot(self, value: Snapshot | None) -> None:
        if self.kind == MSG_SNAP:
            self._own(snapshot_record(value) if value is not None else b"")
        else:
            self._snapshot = value

    @property
    def reject(self) -> bool:
        """Whether an answer is a refusal."""
        return bool(self.flags & FLAG_REJECT)

    @reject.setter
    def reject(self, value: object) -> None:
        self.flags = (self.flags & ~FLAG_REJECT) | (FLAG_REJECT if value else 0)

    @property
    def records(self) -> bytes:
        """The body: entry records, back to back."""
        return bytes(self.body)

    @property
    def entries(self) -> list[Entry]:
        """The entries of the body; raises FrameError("records") when one is damaged."""
        return Entry.decode_all(self.body, self.kind == MSG_PROP)

    def set_entries(self, other: Message) -> None:
        """Take the body of ``other``, which owns it and keeps it."""
        if not isinstance(other, Message):
            raise TypeError(f"a Message is required, not {type(other).__name__}")
        if not isinstance(other.body, bytes):
            raise ValueError("the other message does not own its body")
        self.set_body(other.body, other.body_size, other.count)

    def copy(self) -> Message:
        """A copy that owns its body."""
        m = Message(flags=self.flags)
        for name in ("kind", *_MESSAGE_NUMBERS, "responses", "_snapshot"):
            _put(m, name, getattr(self, name))
        m._own(self.records)
        return m

    def _key(self) -> tuple[Any, ...]:
        numbers = [getattr(self, name) for name in _MESSAGE_NUMBERS]
        return (self.kind, *numbers, self.flags, self.records, self.responses or [], self._snapshot)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Message) else NotImplemented

    def __repr__(self) -> str:
        text = f"{MESSAGE_NAMES.get(self.kind, self.kind)} {self.sender}->{self.to} term={self.term}"
        text += f" log={self.log_term}/{self.index} commit={self.commit}"
        if self.flags or self.hint or self.context:
            text += f" flags={self.flags} hint={self.hint} context={self.context}"
        return f"<{text} entries={self.count}>"


@final
class EntryLog:
    """Entries (first .. last) in encoded form, with columns for term, place and size.

    Bytes of a block never change once they are written: whoever holds a view keeps what it saw.
    """

    __slots__ = (
        "_blocks", "_firsts", "_places", "_sealed", "_sizes", "_terms", "base_term", "block_bytes", "first", "last",
    )  # fmt: skip

    first: int
    last: int
    base_term: int
    _terms: array[int]
    _sizes: array[int]
    _places: list[tuple[Block, int]]
    _blocks: list[Block]
    _firsts: list[int]  # index of the first entry in each block
    _sealed: bool  # the last block takes no more

    def __init__(self, first: int = 1, base_term: int = 0, block_bytes: int = 1 << 20) -> None:
        self.first = _number(first)
        self.base_term = _number(base_term)
        self.block_bytes = _number(block_bytes)
        if not 1 <= self.first <= NUMBER_MAX:
            raise ValueError("first must be in 1..2^63-1")
        if not 4096 <= self.block_bytes <= 1 << 30:
            raise ValueError("block_bytes must be in 4096..2^30")
        self.restore(self.first - 1, self.base_term)

    def __len__(self) -> int:
        return len(self._terms)

    def term(self, index: int) -> int:
        """Term of an entry or of the one before the first; 0 when it is not here."""
        if index >= self.first:
            return self._terms[index - self.first] if index <= self.last else 0
        return self.base_term if index + 1 == self.first else 0

    def match(self, index: int, term: int) -> bool:
        """Whether the entry at ``index`` (or the one before the first) is known and of ``term``."""
        return self.first <= index + 1 and index <= self.last and self.term(index) == term

    def last_term(self) -> int:
        """Term of the last entry."""
        return self.term(self.last)

    def kind(self, index: int) -> int:
        """Kind of an entry, -1 when it is not here."""
        if not self.first <= index <= self.last:
            return -1
        block, offset = self._places[index - self.first]
        return block.data[offset + 24]

    def append(self, term: int, kind: int, data: Bytes, size: int) -> int:
        """Append one entry; returns its index."""
        return self._add(_encode_record(self.last + 1, term, kind & 255, memoryview(data)[:size]), term)

    def append_empty(self, term: int) -> int:
        """Append an entry without data; returns its index."""
        return self.append(term, 0, b"", 0)

    def append_change(self, term: int) -> int:
        """Append a membership change without data, which leaves a joint configuration; returns its index."""
        return self.append(term, 2, b"", 0)

    def append_proposals(self, term: int, body: Bytes, size: int) -> int:
        """Append proposal records, giving each index, ``term`` and crc; returns the last index."""
        view = memoryview(body)
        before = self.last
        for offset, step, _, _ in _walk(view, size):
            if not step:
                self.truncate(before)
                raise FrameError("records")
            data = view[offset + ENTRY_HEADER : offset + step]
            self._add(_encode_record(self.last + 1, term, view[offset + 24], data), term)
        if not size:
            raise Corruption("a proposal without entries")
        return self.last

    def append_records(self, body: Bytes, size: int) -> int:
        """Replace everything from the first record's index on; returns the last index."""
        if size < ENTRY_HEADER:
            raise Corruption("an append without entries")
        view = memoryview(body)
        first = _U64.unpack_from(view, 8)[0]
        if first < self.first or first > self.last + 1:
            raise Corruption(f"append at {first} does not fit the log [{self.first}, {self.last}]")
        # All of it is looked at before anything is replaced.
        found = list(_walk(view, size))
        for number, (_, step, index, _) in enumerate(found, first):
            if not step or index != number:
                raise Corruption(f"entry after {number - 1} is missing or broken")
        if first <= self.last:
            self.truncate(first - 1)
        for offset, step, _, term in found:
            self._add(view[offset : offset + step], term)
        return self.last

    def _add(self, record: Bytes, term: int) -> int:
        size = len(record)
        if self._sealed or self._blocks[-1].used + size > self._blocks[-1].capacity:
            self._blocks.append(Block(max(size, self.block_bytes)))
            self._firsts.append(self.last + 1)
            self._sealed = False
        block = self._blocks[-1]
        block.data[block.used : block.used + size] = record
        self._terms.append(term)
        self._places.append((block, block.used))
        self._sizes.append(size)
        block.used += size
        self.last += 1
        return self.last

    def append_from(self, body: Bytes, size: int, index: int) -> int:
        """``append_records`` without the leading records whose index is below ``index``."""
        view = memoryview(body)
        start = 0
        for offset, step, its, _ in _walk(view, size):
            if not step or its >= index:
                break
            start = offset + step
        return self.append_records(view[start:size], size - start)

    def find_conflict(self, body: Bytes, size: int) -> int:
        """Index of the first record that the log does not hold with the same term, or 0."""
        for _, step, index, term in _walk(body, size):
            if not step:
                return 0
            if not self.match(index, term):
                return index
        return 0

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The largest (i, its term) with i <= ``index`` and a term <= ``term``; term 0 where it is unknown."""
        if index > self.last:
            return index, 0
        while index > 0:
            if index + 1 < self.first:
                return index, 0
            ours = self.term(index)
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    def truncate(self, last: int) -> int:
        """Keep first .. ``last``; what follows goes to a fresh block."""
        if last > self.last or last + 1 < self.first:
            raise Corruption(f"truncate to {last} is outside of the log [{self.first}, {self.last}]")
        if last == self.last:
            return 0
        keep = last + 1 - self.first
        del self._terms[keep:], self._places[keep:], self._sizes[keep:]
        self.last = last
        self._sealed = True
        while self._firsts and self._firsts[-1] > last:
            del self._firsts[-1], self._blocks[-1]
        return 0

    def compact(self, index: int) -> int:
        """Drop entries up to ``index`` and the blocks that only they were in."""
        if index > self.last:
            raise Corruption(f"compact to {index} is beyond the last index {self.last}")
        if index < self.first:
            return 0
        self.base_term = self.term(index)
        drop = index + 1 - self.first
        del self._terms[:drop], self._places[:drop], self._sizes[:drop]
        self.first = index + 1
        gone = 0
        while gone + 1 < len(self._blocks) and self._firsts[gone + 1] <= self.first:
            gone += 1
        if self.last < self.first:
            gone = len(self._blocks)
            self._sealed = True
        del self._blocks[:gone], self._firsts[:gone]
        return 0

    def restore(self, index: int, term: int) -> int:
        """Empty the log: it begins after ``index``, whose term is ``term``."""
        self.first = index + 1
        self.last = index
        self.base_term = term
        self._terms = array("Q")
        self._sizes = array("I")
        self._places = []
        self._blocks = []
        self._firsts = []
        self._sealed = True
        return 0

    def limit(self, low: int, high: int, max_bytes: int) -> int:
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        place = low - self.first
        total = self._sizes[place]
        while low < high:
            place += 1
            total += self._sizes[place]
            if total > max_bytes:
                break
            low += 1
        return low

    def payload(self, low: int, high: int) -> int:
        """Bytes of data in the entries low .. high."""
        sizes = self._sizes[low - self.first : high + 1 - self.first] if low <= high else ()
        return sum(sizes) - ENTRY_HEADER * len(sizes)

    def spans(self, low: int, high: int, out: Spans) -> int:
        """Append the records low .. high to ``out``: one span for each block they are in."""
        if low < self.first or high > self.last:
            raise Corruption(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")
        number = bisect_right(self._firsts, low) - 1
        while low <= high:
            end = high
            if number + 1 < len(self._firsts):
                end = min(high, self._firsts[number + 1] - 1)
            block, start = self._places[low - self.first]
            stop = self._places[end - self.first][1] + self._sizes[end - self.first]
            out.push(block, block.view[start:stop], stop - start, low, end + 1 - low)
            low = end + 1
            number += 1
        return 0

    # What follows is for Python: tests, RawNode's views, tools.

    def py_append(self, term: int, data: bytes, kind: int = 0) -> int:
        """Append one entry at last + 1; returns its index."""
        return self.append(_number(term), _int(kind), _bytes(data), len(data))

    def py_extend(self, entries: list[Entry] | Bytes) -> int:
        """Append records or entries, replacing everything from the first one's index on; all of them or none."""
        m = Message(entries=entries if isinstance(entries, list) else [bytes(entries)])
        return self.append_records(m.body, m.body_size)

    def py_truncate(self, last: int) -> None:
        """Keep entries up to ``last``."""
        self.truncate(_number(last))

    def py_compact(self, index: int) -> None:
        """Drop entries up to and including ``index``."""
        self.compact(_number(index))

    def py_restore(self, index: int, term: int) -> None:
        """Empty the log behind a snapshot; ``index`` is in 0..2^63-1 (ValueError)."""
        index, term = _number(index), _number(term)
        if index > NUMBER_MAX:
            raise ValueError("index must be in 0..2^63-1")
        self.restore(index, term)

    def py_term(self, index: int) -> int:
        """Term of an entry, 0 when it is not here."""
        return self.term(_number(index))

    def py_find_conflict(self, records: Bytes) -> int:
        """Index of the first record that the log does not hold, or 0."""
        return self.find_conflict(bytes(records), len(records))

    def py_find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """Where a probe should go on: the largest index not above with a term not above."""
        return self.find_conflict_by_term(_number(index), _number(term))

    def py_limit(self, low: int, high: int, max_bytes: int) -> int:
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        max_bytes = _number(max_bytes)
        self._check(low, high)
        return self.limit(low, high, max_bytes)

    def _check(self, low: int, high: int) -> None:
        low, high = _number(low), _number(high)
        if low < self.first or high > self.last or low > high:
            raise IndexError(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")

    def _spans(self, low: int, high: int) -> Spans:
        self._check(low, high)
        out = Spans()
        self.spans(low, high, out)
        return out

    def entries(self, low: int, high: int) -> list[Entry]:
        """The entries low .. high, both included."""
        return self._spans(low, high).entries() if _number(low) <= _number(high) else []

    def records(self, low: int, high: int) -> bytes:
        """The records low .. high as bytes."""
        return self._spans(low, high).tobytes() if _number(low) <= _number(high) else b""

    def view(self, low: int, high: int) -> list[View]:
        """Read-only views of the records low .. high, one for each contiguous run."""
        return self._spans(low, high).pieces()

    def terms(self) -> View:
        """Read-only buffer ("Q") of the terms of first .. last."""
        return memoryview(self._terms[:]).toreadonly()

    def sizes(self) -> View:
        """Read-only buffer ("I") of the record sizes of first .. last, in bytes."""
        return memoryview(self._sizes[:]).toreadonly()


class Row:
    """One message of an Outbox; ``tag`` is the write that releases it."""

    __slots__ = ("body_size", "flags", "kind", "count", "spans", "tag", *_MESSAGE_NUMBERS)

    def __init__(self, kind: int, to: int, sender: int, term: int) -> None:
        self.kind = kind
        self.to = to
        self.sender = sender
        self.term = term
        self.flags = self.count = self.body_size = self.tag = 0
        self.log_term = self.index = self.commit = self.hint = self.context = self.vote = 0
        self.spans = Spans()


@final
class Outbox:
    """Messages to be sent, first in first out; row numbers count from the oldest."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()

    def __len__(self) -> int:
        return len(self.rows)

    def length(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def push(self, kind: int, to: int, sender: int, term: int) -> int:
        """Append a row with all else zero; returns its number."""
        self.rows.append(Row(kind, to, sender, term))
        return len(self.rows) - 1

    def put(
        self,
        kind: int,
        to: int,
        sender: int,
        term: int,
        index: int,
        log_term: int,
        commit: int,
        flags: int,
        hint: int,
        context: int,
    ) -> int:
        """Append a row without a body: push, set_log and set_answer in one."""
        self.rows.append(Row(kind, to, sender, term))
        self.set_log(index, log_term, commit)
        self.set_answer(flags, hint, context)
        return 0

    def set_log(self, index: int, log_term: int, commit: int) -> None:
        """Fill in the newest row's place in the log."""
        row = self.rows[-1]
        row.index = index
        row.log_term = log_term
        row.commit = commit

    def set_answer(self, flags: int, hint: int, context: int) -> None:
        """Fill in what the newest row answers."""
        row = self.rows[-1]
        row.flags = flags
        row.hint = hint
        row.context = context

    def set_entries(self, log: EntryLog, low: int, high: int) -> int:
        """Give the newest row the entries low .. high, none when low > high."""
        if low <= high:
            row = self.rows[-1]
            log.spans(low, high, row.spans)
            row.body_size = row.spans.size
            row.count = high + 1 - low
        return 0

    def set_body(self, body: Bytes, size: int, count: int) -> int:
        """Give the newest row a copy of ``count`` records."""
        if size:
            row = self.rows[-1]
            row.spans.push_copy(body, size, 0, count)
            row.body_size = size
            row.count = count
        return 0

    def set_spans(self, spans: Spans, count: int) -> int:
        """Give the newest row these spans of ``count`` records; ``spans`` keeps them."""
        row = self.rows[-1]
        for span in spans.items:
            row.spans.push(span.block, span.data, span.size, span.first, span.count)
        row.body_size = spans.size
        row.count = count
        return 0

    def share_body(self, other: Outbox, row: int) -> int:
        """Give the newest row the records of row ``row`` of ``other``, which keeps them."""
        return self.set_spans(other.rows[row].spans, other.rows[row].count)

    def find(self, kind: int, to: int) -> int:
        """The newest row of that kind for that member; -1 without one."""
        for row in range(len(self.rows) - 1, -1, -1):
            if self.rows[row].kind == kind and self.rows[row].to == to:
                return row
        return -1

    def extend(self, row: int, log: EntryLog, high: int, commit: int) -> int:
        """Give an append the entries up to ``high``, and this commit index."""
        target = self.rows[row]
        target.commit = commit
        if high > target.index + target.count:
            target.spans.clear()
            log.spans(target.index + 1, high, target.spans)
            target.body_size = target.spans.size
            target.count = high - target.index
        return 0

    def take(self, other: Outbox, row: int, tag: int) -> int:
        """Append row ``row`` of ``other``, which keeps it, with a tag."""
        source = other.rows[row]
        self.push(source.kind, source.to, source.sender, source.term)
        target = self.rows[-1]
        for name in (*_MESSAGE_NUMBERS, "flags", "count", "body_size"):
            setattr(target, name, getattr(source, name))
        for span in source.spans.items:
            target.spans.push(span.block, span.data, span.size, span.first, span.count)
        target.tag = tag
        return 0

    def load(self, row: int, m: Message) -> None:
        """Fill ``m`` from a row; its body only when that lies in one piece."""
        source = self.rows[row]
        m.reset(source.kind)
        _put(m, "flags", source.flags)
        for name in _MESSAGE_NUMBERS:
            _put(m, name, getattr(source, name))
        if source.spans.count == 1:
            m.set_body(source.spans.items[0].data, source.body_size, source.count)

    def tag_last(self, tag: int) -> None:
        """Give the newest row a tag."""
        self.rows[-1].tag = tag

    def kind_at(self, row: int) -> int:
        """Kind of a row."""
        return self.rows[row].kind

    def to_at(self, row: int) -> int:
        """Recipient of a row."""
        return self.rows[row].to

    def sender_at(self, row: int) -> int:
        """Sender of a row."""
        return self.rows[row].sender

    def index_at(self, row: int) -> int:
        """Index of a row."""
        return self.rows[row].index

    def count_at(self, row: int) -> int:
        """How many records a row has."""
        return self.rows[row].count

    def size_at(self, row: int) -> int:
        """How many bytes of records a row has."""
        return self.rows[row].body_size

    def tag_at(self, row: int) -> int:
        """Tag of a row."""
        return self.rows[row].tag

    def discard(self, rows: int) -> None:
        """Drop the ``rows`` oldest."""
        for _ in range(min(rows, len(self.rows))):
            self.rows.popleft()

    def clear(self) -> None:
        """Drop all rows."""
        self.rows.clear()

    def message(self, row: int) -> Message:
        """A copy of one row as a message that owns its entries."""
        if _number(row) >= len(self.rows):
            raise IndexError("no such row")
        m = Message()
        self.load(row, m)
        m._own(self.rows[row].spans.tobytes())
        return m

    def messages(self) -> list[Message]:
        """All rows as messages."""
        return [self.message(row) for row in range(len(self.rows))]

    def py_clear(self) -> None:
        """Drop all rows."""
        self.clear()

    def py_push(self, m: Message) -> None:
        """Append any message; its body is copied."""
        if not isinstance(m, Message):
            raise TypeError(f"a Message is required, not {type(m).__name__}")
        self.push(m.kind, m.to, m.sender, m.term)
        self.set_log(m.index, m.log_term, m.commit)
        self.set_answer(m.flags, m.hint, m.context)
        self.rows[-1].vote = m.vote
        self.set_body(m.body, m.body_size, m.count)

    def py_take(self, other: Outbox, row: int) -> None:
        """Append row ``row`` of ``other``, which keeps it and may be this box."""
        if not isinstance(other, Outbox):
            raise TypeError(f"an Outbox is required, not {type(other).__name__}")
        if _number(row) >= len(other.rows):
            raise IndexError("no such row")
        self.take(other, row, 0)


@final
class Codec:
    """Frames of one node of one cluster. Not shared between threads.

    A frame is a header (``_FRAME``) and for each message a header (``_HEAD``) and its records. The
    frame's crc covers the frame header before it and every message header; each record has its own.
    """

    __slots__ = (
        "_data", "_limit_units", "_offset", "_out", "_out_size", "cluster", "group", "id", "incarnation", "rejected",
        "sender", "sender_incarnation", "sender_limit", "sender_too_large",
    )  # fmt: skip

    def __init__(self, cluster: bytes, id: int, incarnation: int = 0, group: int = 0) -> None:
        if len(_bytes(cluster)) != 16:
            raise ValueError("cluster must be 16 bytes")
        id = _number(id)
        if not 1 <= id <= NUMBER_MAX:
            raise ValueError("id must be in 1..2^63-1")
        self.cluster = cluster
        self.id = id
        self.incarnation = _number(incarnation)
        self.group = _number(group)
        self.sender = self.sender_incarnation = 0
        self.sender_limit = 0  # bytes of a frame that it takes; 0: it does not say
        self.sender_too_large = False  # it has something for this node that is larger than it takes
        self._limit_units = 0  # of 64 KiB, told to others; 0: not said
        self.rejected = [0] * 16  # dropped frames by reason
        self._out = memoryview(bytearray())
        self._out_size = 0
        self._data = memoryview(b"")
        self._offset = 0

    def announce(self, limit: int) -> None:
        """Tell in every frame from now on that frames of up to ``limit`` bytes are taken here.

        It is a multiple of 64 KiB, at most 65535 of them: a header has no room for less. Raises ValueError.
        """
        if not 1 << 16 <= limit < 1 << 32 or limit % (1 << 16):
            raise ValueError("limit must be a multiple of 65536, from 65536 to 2^32 - 65536")
        self._limit_units = limit >> 16

    def mark(self) -> None:
        """In the frame that is being made: something for its recipient is larger than it takes."""
        self._out[5] = _TOO_LARGE

    def measure(self, box: Outbox, row: int) -> int:
        """Bytes that a row takes in a frame."""
        return MESSAGE_HEADER + box.rows[row].body_size

    def begin(self, out: bytearray | memoryview, size: int, recipient: int) -> int:
        """Begin a frame in ``out``; -1 when its ``size`` bytes cannot hold the header."""
        if size < FRAME_HEADER:
            return -1
        self._out = memoryview(out)
        self._pack_header(recipient, 0, 0)
        self._out_size = FRAME_HEADER
        return 0

    def _pack_header(self, recipient: int, length: int, crc: int) -> None:
        addresses = (self.group, self.id, recipient, self.incarnation)
        _FRAME.pack_into(self._out, 0, _MAGIC, _VERSION, 0, self._limit_units, self.cluster, *addresses, length, crc)

    def add(self, box: Outbox, row: int) -> int:
        """Append a row; the room was measured before."""
        r = box.rows[row]
        at = self._out_size
        numbers = (r.term, r.log_term, r.index, r.commit, r.hint, r.context)
        _HEAD.pack_into(self._out, at, r.kind & 255, r.flags & 255, 0, r.count, r.body_size, 0, *numbers)
        at += MESSAGE_HEADER
        for span in r.spans.items:
            self._out[at : at + span.size] = span.data
            at += span.size
        if r.kind == MSG_PROP:
            # Proposals have no checksum until somebody needs one: here, where they leave the node.
            body = self._out[at - r.body_size : at]
            for offset, step, _, _ in _walk(body, r.body_size):
                if step:
                    _U32.pack_into(body, offset, zlib.crc32(body[offset + 4 : offset + step]))
        self._out_size = at
        return 0

    def finish(self) -> int:
        """Fill in length and crc; returns the size of the frame."""
        size = self._out_size
        _U32.pack_into(self._out, 56, size - FRAME_HEADER)
        _U32.pack_into(self._out, 60, self._headers_crc(self._out, size))
        self._out = memoryview(bytearray())
        return size

    def _headers_crc(self, frame: memoryview, size: int) -> int:
        crc = zlib.crc32(frame[: FRAME_HEADER - 4])
        at = FRAME_HEADER
        while size - at >= MESSAGE_HEADER:
            crc = zlib.crc32(frame[at : at + MESSAGE_HEADER], crc)
            at += MESSAGE_HEADER + _U32.unpack_from(frame, at + 8)[0]
        return crc

    def open(self, data: Bytes, size: int) -> int:
        """Verify a received frame before anything of it is used; returns 0 or the reason why it is dropped."""
        frame = memoryview(data)[:size]
        reason = self._verify(frame, size)
        self.rejected[reason] += reason > 0
        self._data = memoryview(b"") if reason else frame
        self._offset = FRAME_HEADER
        if not reason:
            self.sender = _U64.unpack_from(frame, 32)[0]
            self.sender_incarnation = _U64.unpack_from(frame, 48)[0]
            self.sender_limit = (frame[7] * 256 + frame[6]) * 65536
            self.sender_too_large = frame[5] & _TOO_LARGE != 0
        return reason

    def _verify(self, frame: memoryview, size: int) -> int:
        if size < FRAME_HEADER:
            return _SHORT
        magic, version, _, _, cluster, group, sender, recipient, _, length, crc = _FRAME.unpack_from(frame)
        for wrong, reason in (
            (magic != _MAGIC, _BAD_MAGIC),
            (version != _VERSION, _BAD_VERSION),
            (cluster != self.cluster, _CLUSTER),
            (group != self.group, _GROUP),
            (recipient != self.id, _RECIPIENT),
            (length != size - FRAME_HEADER, _LENGTH),
            (crc != self._headers_crc(frame, size), _CHECKSUM),
            (sender in (0, self.id) or sender > NUMBER_MAX, _SENDER),
        ):
            if wrong:
                return reason
        at = FRAME_HEADER
        while at < size:
            if size - at < MESSAGE_HEADER:
                return _LENGTH
            body = frame[at + MESSAGE_HEADER :]
            reason = self._check_message(_HEAD.unpack_from(frame, at), body)
            if reason:
                return reason
            at += MESSAGE_HEADER + _U32.unpack_from(frame, at + 8)[0]
        return 0

    def _check_message(self, head: Sequence[int], rest: memoryview) -> int:
        kind, _, _, count, size, _, *numbers = head
        if kind not in _WIRE_KINDS:
            return _KIND
        if max(numbers) > NUMBER_MAX:
            return _RANGE
        if size > len(rest):
            return _LENGTH
        if size and kind not in (MSG_APP, MSG_PROP):
            return self._check_single(kind, numbers[0], rest[:size], count)
        if kind in (MSG_SNAP, MSG_READ_INDEX, MSG_READ_INDEX_RESP):
            return _RECORDS
        term, previous, index = numbers[:3]
        for offset, step, at, its in _walk(rest, size):
            if not step or not _record_valid(rest, offset, step) or rest[offset + 24] >= ENTRY_SNAPSHOT:
                return _RECORDS
            if kind == MSG_APP:
                index += 1
                if at != index or index > NUMBER_MAX or its == 0 or not previous <= its <= term:
                    return _RECORDS
                previous = its
            elif at or its:
                return _RECORDS
            count -= 1
        return _RECORDS if count else 0

    def _check_single(self, kind: int, term: int, body: memoryview, count: int) -> int:
        # Messages with exactly one record: a snapshot, or the context of a read.
        found = list(_walk(body, len(body)))
        if count != 1 or len(found) != 1 or found[0][1] != len(body) or not _record_valid(body, 0, len(body)):
            return _RECORDS
        index, its = found[0][2:]
        if kind in (MSG_READ_INDEX, MSG_READ_INDEX_RESP):
            return _RECORDS if body[24] or index or its else 0
        if kind != MSG_SNAP or body[24] != ENTRY_SNAPSHOT or not 1 <= index <= NUMBER_MAX or not 1 <= its <= term:
            return _RECORDS
        try:
            ConfState.decode(bytes(body[ENTRY_HEADER:]))
        except ValueError:
            return _RECORDS
        return 0

    def next(self, m: Message) -> int:
        """Fill ``m`` with the next message, whose body lies in the frame; 0 at the end."""
        if self._offset >= len(self._data):
            return 0
        kind, flags, _, count, size, _, *numbers = _HEAD.unpack_from(self._data, self._offset)
        start = self._offset + MESSAGE_HEADER
        m.reset(kind)
        _put(m, "flags", flags)
        _put(m, "to", self.id)
        _put(m, "sender", self.sender)
        for name, value in zip(("term", "log_term", "index", "commit", "hint", "context"), numbers):
            _put(m, name, value)
        m.set_body(self._data[start : start + size], size, count)
        self._offset = start + size
        return 1

    def encode(self, recipient: int, messages: Iterable[Message]) -> bytes:
        """One frame for ``recipient``. The messages' own addresses are not on the wire."""
        box = Outbox()
        for m in messages:
            box.py_push(m)
        out = bytearray(FRAME_HEADER + sum([self.measure(box, row) for row in range(box.length())]))
        self.begin(out, len(out), _number(recipient))
        for row in range(box.length()):
            self.add(box, row)
        self.finish()
        return bytes(out)

    def decode(self, frame: bytes) -> list[Message]:
        """The messages of a frame for this node; raises FrameError, and counts, when it is refused."""
        reason = self.open(_bytes(frame), len(frame))
        if reason:
            raise FrameError(REASONS[reason])
        m = Message()
        out = []
        while self.next(m):
            out.append(m.copy())
        self._data = memoryview(b"")
        return out

    def rejected_by_reason(self) -> dict[str, int]:
        """How many frames were dropped, by reason."""
        return {name: self.rejected[i] for i, name in enumerate(REASONS) if i}
