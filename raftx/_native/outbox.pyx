"""Messages, and the rows in which those to be sent wait: what the core hands out and takes in.

outbox.py is the readable definition of the same behaviour; both change together. What may not stand here: the log,
frames, rules of Raft, I/O, clocks, threads. The records of a row stay in the blocks in which they were written.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.number cimport PyNumber_Index as integer
from cpython.object cimport PyObject_GenericSetAttr
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from .checks cimport DEBUG
from .layout cimport BARRIER_BIT, ENTRY_HEADER, ENVELOPE, RECORD_INCARNATION, RECORD_KIND, RECORD_ORIGIN, RECORD_SEQUENCE

from ..errors import FrameError
from ..types import MESSAGE_NAMES, ConfState, Snapshot

cdef extern from "_native/memory.h":
    uint64_t LD64(const uint8_t*) noexcept nogil
    size_t record_size(const uint8_t*, size_t) noexcept nogil

cdef enum:
    KIND_PROP = 2
    KIND_SNAP = 7
    ENTRY_KINDS = 3         # as etcd has them, of entries that stand in a log; the next one is a snapshot's
    SESSION_ENTRY = 4       # and raftx's own

_NUMBERS = frozenset("kind flags count to sender term log_term index commit hint context vote".split())


def snapshot_record(snapshot):
    """The record of a snapshot: its membership, then its data, under index and term."""
    data = snapshot.conf_state.encode() + snapshot.data
    return Entry(snapshot.index, snapshot.term, data, ENTRY_KINDS).encode()


def snapshot_from(records):
    """The snapshot of a record; raises FrameError("records")."""
    entries = Entry.decode_all(records)
    if len(entries) != 1 or entries[0].kind != ENTRY_KINDS:
        raise FrameError("records")
    try:
        conf_state, data = ConfState.decode(entries[0].data)
    except ValueError as error:
        raise FrameError("records") from error
    return Snapshot(entries[0].index, entries[0].term, conf_state, data)


cdef class Message:
    """A Raft message. ``entries`` of a message that Python made are owned by it."""

    def __init__(self, kind=0, *, to=0, sender=0, term=0, log_term=0, index=0, commit=0, hint=0, context=0, vote=0,
                 flags=0, entries=None, snapshot=None):
        self.kind = integer(kind)
        self.to = integer(to)
        self.sender = integer(sender)
        self.term = integer(term)
        self.log_term = integer(log_term)
        self.index = integer(index)
        self.commit = integer(commit)
        self.hint = integer(hint)
        self.context = integer(context)
        self.vote = integer(vote)
        self.flags = integer(flags)
        self.body = NULL
        self.body_size = 0
        self.count = 0
        if entries:
            self._own(b"".join([e if isinstance(e, bytes) else e.encode() for e in entries]))
        if snapshot is not None:
            self.snapshot = snapshot

    def __setattr__(self, name, value):
        # Only for Python: compiled code writes the fields themselves.
        if name in _NUMBERS:
            value = integer(value)
        PyObject_GenericSetAttr(self, name, value)

    def _own(self, bytes records not None):
        """Take records that Python owns as the body; raises FrameError when they are not whole."""
        cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(records)
        cdef size_t left = PyBytes_GET_SIZE(records), step
        cdef uint32_t count = 0
        while left:
            step = record_size(p, left)
            if not step:
                raise FrameError("records")
            p += step
            left -= step
            count += 1
        self.owner = records
        self.body = <const uint8_t*>PyBytes_AS_STRING(records)
        self.body_size = PyBytes_GET_SIZE(records)
        self.count = count

    cdef uint64_t origin(self) noexcept nogil:
        return LD64(self.body + RECORD_ORIGIN) if self.body_size >= ENTRY_HEADER + ENVELOPE else 0

    cdef uint64_t sequence(self) noexcept nogil:
        return LD64(self.body + RECORD_SEQUENCE) if self.body_size >= ENTRY_HEADER + ENVELOPE else 0

    cdef bint is_from(self, uint64_t origin, uint64_t incarnation, uint64_t sequence) noexcept nogil:
        cdef const uint8_t* p = self.body
        cdef size_t left = self.body_size, step
        while left:
            step = record_size(p, left)
            if step < ENTRY_HEADER + ENVELOPE or LD64(p + RECORD_ORIGIN) & ~(<uint64_t>1 << BARRIER_BIT) != origin:
                return False
            if LD64(p + RECORD_INCARNATION) != incarnation or LD64(p + RECORD_SEQUENCE) != sequence:
                return False
            sequence += 1
            p += step
            left -= step
        return True

    cdef uint64_t newest_of(self, uint64_t origin, uint64_t incarnation) noexcept nogil:
        # The highest sequence number of this life's proposals in the body, 0 for none of them.
        cdef const uint8_t* p = self.body
        cdef size_t left = self.body_size, step
        cdef uint64_t newest = 0
        while left:
            step = record_size(p, left)
            if not step:
                break
            if step >= ENTRY_HEADER + ENVELOPE and LD64(p + RECORD_ORIGIN) & ~(<uint64_t>1 << BARRIER_BIT) == origin:
                if LD64(p + RECORD_INCARNATION) == incarnation:
                    newest = max(newest, LD64(p + RECORD_SEQUENCE))
            p += step
            left -= step
        return newest

    cdef bint has_changes(self) noexcept nogil:
        cdef const uint8_t* p = self.body
        cdef size_t left = self.body_size, step
        while left:
            step = record_size(p, left)
            if not step:
                return False
            if p[RECORD_KIND] and p[RECORD_KIND] != SESSION_ENTRY:
                return True
            p += step
            left -= step
        return False

    @property
    def snapshot(self):
        """The snapshot that the message carries, or None; raises FrameError("records") when it is damaged."""
        if self._snapshot is None and self.kind == KIND_SNAP and self.body_size:
            return snapshot_from(self.records)
        return self._snapshot

    @snapshot.setter
    def snapshot(self, value):
        if self.kind == KIND_SNAP:
            self._own(snapshot_record(value) if value is not None else b"")
        else:
            self._snapshot = value

    @property
    def reject(self):
        """Whether an answer is a refusal."""
        return bool(self.flags & 1)

    @reject.setter
    def reject(self, value):
        self.flags = (self.flags | 1) if value else (self.flags & ~<uint32_t>1)

    @property
    def records(self):
        """The body: entry records, back to back."""
        return PyBytes_FromStringAndSize(<const char*>self.body, self.body_size) if self.body_size else b""

    @property
    def entries(self):
        """The entries of the body; raises FrameError("records") when one is damaged."""
        return Entry.decode_all(self.records, self.kind == KIND_PROP)

    def set_entries(self, Message other not None):
        """Take the body of ``other``, which owns it and keeps it."""
        if other.owner is None and other.body_size:
            raise ValueError("the other message does not own its body")
        self.owner = other.owner
        self.set_body(other.body, other.body_size, other.count)

    def copy(self):
        """A copy that owns its body."""
        cdef Message m = Message(
            self.kind, to=self.to, sender=self.sender, term=self.term, log_term=self.log_term, index=self.index,
            commit=self.commit, hint=self.hint, context=self.context, vote=self.vote, flags=self.flags,
        )
        if self.body_size:
            m._own(self.records)
        m.responses = self.responses
        m._snapshot = self._snapshot
        return m

    def _key(self):
        return (
            self.kind, self.to, self.sender, self.term, self.log_term, self.index, self.commit, self.hint,
            self.context, self.vote, self.flags, self.records, self.responses or [], self._snapshot,
        )

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, Message) else NotImplemented

    __hash__ = None

    def __copy__(self):
        return self.copy()

    def __reduce__(self):
        return _message, self._key()

    def __repr__(self):
        text = f"{MESSAGE_NAMES.get(self.kind, self.kind)} {self.sender}->{self.to} term={self.term}"
        text += f" log={self.log_term}/{self.index} commit={self.commit}"
        if self.flags or self.hint or self.context:
            text += f" flags={self.flags} hint={self.hint} context={self.context}"
        return f"<{text} entries={self.count}>"


def _message(
    kind, to, sender, term, log_term, index, commit, hint, context, vote, flags, records, responses, snapshot
):
    """A message made from what another one holds, which owns its body (of ``Message._key``)."""
    cdef Message m = Message(
        kind, to=to, sender=sender, term=term, log_term=log_term, index=index, commit=commit, hint=hint,
        context=context, vote=vote, flags=flags,
    )
    if records:
        m._own(records)
    m.responses = responses or None
    m._snapshot = snapshot
    return m


cdef class Outbox:
    """Rows of messages, first in first out. Row numbers count from the oldest."""

    def __cinit__(self):
        self.spans = Spans()
        self.rows = NULL
        self.head = self.tail = self.room = 0

    def __dealloc__(self):
        free(self.rows)

    cdef int push(self, int kind, uint64_t to, uint64_t sender, uint64_t term) except -1 nogil:
        self.put(kind, to, sender, term, 0, 0, 0, 0, 0, 0)
        return <int>(self.tail - self.head - 1)

    cdef int _make_room(self) except -1 nogil:
        cdef Row* rows
        if self.head > self.room // 2:
            memmove(self.rows, self.rows + self.head, (self.tail - self.head) * sizeof(Row))
            self.tail -= self.head
            self.head = 0
            return 0
        rows = <Row*>realloc(self.rows, (self.room * 2 + 16) * sizeof(Row))
        if rows == NULL:
            raise MemoryError()
        self.rows = rows
        self.room = self.room * 2 + 16
        return 0

    cdef int set_body(self, const uint8_t* body, size_t size, uint32_t count) except -1 nogil:
        cdef Row* row = self.rows + self.tail - 1
        if not size:
            return 0
        self.spans.push_copy(body, size, 0, count)
        row.span_high = self.spans.count
        row.body_size = size
        row.count = count
        return 0

    cdef int set_spans(self, Spans spans, uint32_t count) except -1 nogil:
        cdef Row* row = self.rows + self.tail - 1
        cdef Span* span
        cdef size_t i
        if DEBUG and self.head == self.tail:
            raise IndexError("no such row")
        for i in range(spans.count):
            span = spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        row.span_high = self.spans.count
        row.body_size = spans.size
        row.count = count
        return 0

    cdef int share_body(self, Outbox other, size_t row) except -1 nogil:
        cdef Row* source = other.rows + other.head + row
        cdef Row* target = self.rows + self.tail - 1
        cdef Span* span
        cdef size_t i
        if DEBUG and (self.head == self.tail or row >= other.tail - other.head):
            raise IndexError("no such row")
        check(source.span_low <= source.span_high)
        check(source.span_high <= other.spans.count)
        for i in range(source.span_low, source.span_high):
            span = other.spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        target.span_high = self.spans.count
        target.body_size = source.body_size
        target.count = source.count
        return 0

    cdef int put_body(self, size_t row, Spans out) except -1 nogil:
        cdef Row* source = self.rows + self.head + row
        cdef Span* span
        cdef size_t i
        check_index(row, self.tail - self.head)
        check(source.span_low <= source.span_high)
        check(source.span_high <= self.spans.count)
        for i in range(source.span_low, source.span_high):
            span = self.spans.items + i
            out.push(span.block, span.data, span.size, span.first, span.count)
        return 0

    cdef long find(self, int kind, uint64_t to) noexcept nogil:
        cdef size_t i = self.tail
        while i > self.head:
            i -= 1
            if self.rows[i].kind == kind and self.rows[i].to == to:
                return <long>(i - self.head)
        return -1

    cdef int _take_entries(self, Outbox other, size_t low, size_t high) except -1 nogil:
        # For the newest row; the spans may be our own, and move when there is no room for more.
        cdef Span* span
        cdef size_t i
        check(low <= high)
        check(high <= other.spans.count)
        for i in range(low, high):
            span = other.spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        self.rows[self.tail - 1].span_high = self.spans.count
        return 0

    cdef void load(self, size_t row, Message m) noexcept nogil:
        cdef Row* source = self.rows + self.head + row
        check_index(row, self.tail - self.head)
        m.reset(source.kind)
        m.flags = source.flags
        m.to = source.to
        m.sender = source.sender
        m.term = source.term
        m.log_term = source.log_term
        m.index = source.index
        m.commit = source.commit
        m.hint = source.hint
        m.context = source.context
        m.vote = source.vote
        if source.span_high == source.span_low + 1:
            check_index(source.span_low, self.spans.count)
            m.set_body(self.spans.items[source.span_low].data, source.body_size, source.count)

    def __len__(self):
        return self.tail - self.head

    def message(self, row):
        """A copy of one row as a message that owns its entries."""
        cdef Message m = Message()
        cdef size_t at = integer(row), i
        cdef Row* source
        if at >= self.tail - self.head:
            raise IndexError("no such row")
        self.load(at, m)
        m.set_body(NULL, 0, 0)
        source = self.rows + self.head + at
        if source.body_size:
            m._own(b"".join([
                PyBytes_FromStringAndSize(<const char*>self.spans.items[i].data, self.spans.items[i].size)
                for i in range(source.span_low, source.span_high)
            ]))
        return m

    def messages(self):
        """All rows as messages."""
        return [self.message(i) for i in range(self.tail - self.head)]

    def py_clear(self):
        """Drop all rows."""
        self.clear()

    def py_push(self, Message m not None):
        """Append any message; its body is copied."""
        cdef Row* row
        self.push(m.kind, m.to, m.sender, m.term)
        self.set_log(m.index, m.log_term, m.commit)
        self.set_answer(m.flags, m.hint, m.context)
        row = self.rows + self.tail - 1
        row.vote = m.vote
        self.set_body(m.body, m.body_size, m.count)

    def py_take(self, Outbox other not None, row):
        """Append row ``row`` of ``other``, which keeps it and may be this box."""
        cdef size_t at = integer(row)
        if at >= other.tail - other.head:
            raise IndexError("no such row")
        self.take(other, at, 0)
