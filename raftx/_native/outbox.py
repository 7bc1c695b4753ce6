"""Messages and the rows in which they wait, in plain Python: the definition of what ``outbox.pyx`` does faster.

Same names and results as the compiled module; both change in one commit. No log, no frames, no I/O, no clock,
no threads here, and nothing of Raft's rules. Every object belongs to one thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, final

from ..errors import FrameError
from ..types import (
    ENTRY_NORMAL,
    ENTRY_SESSION,
    ENTRY_SNAPSHOT,
    FLAG_REJECT,
    MESSAGE_NAMES,
    MSG_PROP,
    MSG_SNAP,
    ConfState,
    Snapshot,
)
from .checks import check_index
from .layout import BARRIER_BIT, ENTRY_HEADER, ENVELOPE, RECORD_KIND, RECORD_ORIGIN, RECORD_SEQUENCE
from .memory import (
    _ENVELOPE,
    _U64,
    Buffer,
    Bytes,
    Entry,
    Spans,
    _count_records,
    _int,
    _number,
    _put,
    _walk,
)


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
        return self._envelope(RECORD_ORIGIN)

    def sequence(self) -> int:
        """The number that the first proposal's maker gave it; 0 without an envelope."""
        return self._envelope(RECORD_SEQUENCE)

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
            first, *rest = _ENVELOPE.unpack_from(self.body, offset + ENTRY_HEADER)
            if (first & ~(2**BARRIER_BIT), *rest) != (origin, incarnation, sequence):
                return False
            sequence += 1
        return True

    def newest_of(self, origin: int, incarnation: int) -> int:
        """The highest sequence number of this life's proposals in the body, 0 for none of them."""
        newest = 0
        for offset, step, _, _ in _walk(self.body, self.body_size):
            if not step:
                break
            if step >= ENTRY_HEADER + ENVELOPE:
                first, life, sequence = _ENVELOPE.unpack_from(self.body, offset + ENTRY_HEADER)
                if (first & ~(2**BARRIER_BIT), life) == (origin, incarnation):
                    newest = max(newest, sequence)
        return newest

    def has_changes(self) -> bool:
        """Whether the body has anything but commands."""
        for offset, step, _, _ in _walk(self.body, self.body_size):
            if step and self.body[offset + RECORD_KIND] not in (ENTRY_NORMAL, ENTRY_SESSION):
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

    def __copy__(self) -> Message:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _message, self._key()

    def __repr__(self) -> str:
        text = f"{MESSAGE_NAMES.get(self.kind, self.kind)} {self.sender}->{self.to} term={self.term}"
        text += f" log={self.log_term}/{self.index} commit={self.commit}"
        if self.flags or self.hint or self.context:
            text += f" flags={self.flags} hint={self.hint} context={self.context}"
        return f"<{text} entries={self.count}>"


def _message(
    kind: int, to: int, sender: int, term: int, log_term: int, index: int, commit: int, hint: int, context: int,
    vote: int, flags: int, records: bytes, responses: list[Message], snapshot: Any,
) -> Message:  # fmt: skip
    """A message made from what another one holds, which owns its body (of ``Message._key``)."""
    m = Message(
        kind, to=to, sender=sender, term=term, log_term=log_term, index=index, commit=commit, hint=hint,
        context=context, vote=vote, flags=flags,
    )  # fmt: skip
    if records:
        m._own(records)
    m.responses = responses or None
    m._snapshot = snapshot
    return m


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

    def set_term(self, row: int, term: int) -> None:
        """Fill in a row's term."""
        check_index(row, len(self.rows))
        self.rows[row].term = term

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
        check_index(row, len(other.rows))
        return self.set_spans(other.rows[row].spans, other.rows[row].count)

    def put_body(self, row: int, out: Spans) -> int:
        """Append the body of a row to ``out``: the same bytes, where they lie."""
        check_index(row, len(self.rows))
        for span in self.rows[row].spans.items:
            out.push(span.block, span.data, span.size, span.first, span.count)
        return 0

    def find(self, kind: int, to: int) -> int:
        """The newest row of that kind for that member; -1 without one."""
        for row in range(len(self.rows) - 1, -1, -1):
            if self.rows[row].kind == kind and self.rows[row].to == to:
                return row
        return -1

    def take(self, other: Outbox, row: int, tag: int) -> int:
        """Append row ``row`` of ``other``, which keeps it, with a tag."""
        check_index(row, len(other.rows))
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
        check_index(row, len(self.rows))
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
        check_index(row, len(self.rows))
        return self.rows[row].kind

    def to_at(self, row: int) -> int:
        """Recipient of a row."""
        check_index(row, len(self.rows))
        return self.rows[row].to

    def sender_at(self, row: int) -> int:
        """Sender of a row."""
        check_index(row, len(self.rows))
        return self.rows[row].sender

    def index_at(self, row: int) -> int:
        """Index of a row."""
        check_index(row, len(self.rows))
        return self.rows[row].index

    def count_at(self, row: int) -> int:
        """How many records a row has."""
        check_index(row, len(self.rows))
        return self.rows[row].count

    def size_at(self, row: int) -> int:
        """How many bytes of records a row has."""
        check_index(row, len(self.rows))
        return self.rows[row].body_size

    def tag_at(self, row: int) -> int:
        """Tag of a row."""
        check_index(row, len(self.rows))
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
