# C types of messages and of the rows in which they wait. outbox.py is their definition in plain
# Python: same names, same behaviour. Both change in one commit.
#
# No method here takes the GIL except to raise and to construct.
import cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from .checks cimport check, check_index
from .memory cimport Buffer, Entry, Span, Spans

@cython.final
cdef class Message:
    """A message received or made; its body is entry records that somebody else owns."""
    cdef public int kind
    cdef public uint32_t flags, count
    cdef public uint64_t to, sender, term, log_term, index, commit, hint, context, vote
    cdef const uint8_t* body
    cdef readonly size_t body_size
    cdef object owner       # the bytes object behind body, when Python made the message
    cdef public list responses
    cdef object _snapshot   # of a message to or from the storage; MSG_SNAP has it as its body
    cdef inline void reset(self, int kind) noexcept nogil:
        self.kind = kind
        self.flags = self.count = 0
        self.to = self.sender = self.term = self.log_term = self.index = 0
        self.commit = self.hint = self.context = self.vote = 0
        self.body = NULL
        self.body_size = 0
    cdef inline void set_body(self, const uint8_t* body, size_t size, uint32_t count) noexcept nogil:
        self.body = body
        self.body_size = size
        self.count = count
    cdef inline int body_from(self, Buffer buffer, size_t offset, size_t size, uint32_t count) noexcept nogil:
        if offset > buffer.size or size > buffer.size - offset:
            return -1
        self.set_body(buffer.data + offset, size, count)
        return 0
    cdef inline int body_of(self, Message other, size_t offset, size_t size, uint32_t count) noexcept nogil:
        if offset > other.body_size or size > other.body_size - offset:
            return -1
        self.set_body(other.body + offset, size, count)
        return 0
    cdef uint64_t origin(self) noexcept nogil
    cdef uint64_t sequence(self) noexcept nogil
    cdef bint is_from(self, uint64_t origin, uint64_t incarnation, uint64_t sequence) noexcept nogil
    cdef uint64_t newest_of(self, uint64_t origin, uint64_t incarnation) noexcept nogil
    cdef bint has_changes(self) noexcept nogil

cdef struct Row:
    int kind
    uint32_t flags, count
    uint64_t to, sender, term, log_term, index, commit, hint, context, vote
    uint64_t tag            # the write that releases it
    size_t span_low, span_high
    size_t body_size

@cython.final
cdef class Outbox:
    """Messages to be sent, first in first out; entries stay where they are until they are framed."""
    cdef Row* rows
    cdef size_t head, tail, room          # Invariant: head <= tail <= room
    cdef Spans spans
    cdef inline size_t length(self) noexcept nogil:
        return self.tail - self.head
    cdef int push(self, int kind, uint64_t to, uint64_t sender, uint64_t term) except -1 nogil
    cdef inline int put(
        self, int kind, uint64_t to, uint64_t sender, uint64_t term, uint64_t index, uint64_t log_term,
        uint64_t commit, uint32_t flags, uint64_t hint, uint64_t context
    ) except -1 nogil:
        # push, set_log and set_answer in one: what most messages need.
        cdef Row* row
        if self.tail == self.room:
            self._make_room()
        check(self.head <= self.tail)
        check_index(self.tail, self.room)
        row = self.rows + self.tail
        self.tail += 1
        row.kind = kind
        row.flags = flags
        row.count = 0
        row.to = to
        row.sender = sender
        row.term = term
        row.log_term = log_term
        row.index = index
        row.commit = commit
        row.hint = hint
        row.context = context
        row.vote = row.tag = 0
        row.span_low = row.span_high = self.spans.count
        row.body_size = 0
        return 0
    cdef int _make_room(self) except -1 nogil
    cdef inline void set_log(self, uint64_t index, uint64_t log_term, uint64_t commit) noexcept nogil:
        cdef Row* row = self.rows + self.tail - 1
        check(self.head < self.tail)
        row.index = index
        row.log_term = log_term
        row.commit = commit
    cdef inline void set_answer(self, uint32_t flags, uint64_t hint, uint64_t context) noexcept nogil:
        cdef Row* row = self.rows + self.tail - 1
        check(self.head < self.tail)
        row.flags = flags
        row.hint = hint
        row.context = context
    cdef inline void set_term(self, size_t row, uint64_t term) noexcept nogil:
        check_index(row, self.tail - self.head)
        self.rows[self.head + row].term = term
    cdef int set_body(self, const uint8_t* body, size_t size, uint32_t count) except -1 nogil
    cdef int set_spans(self, Spans spans, uint32_t count) except -1 nogil
    cdef int share_body(self, Outbox other, size_t row) except -1 nogil
    cdef int put_body(self, size_t row, Spans out) except -1 nogil
    cdef inline int take(self, Outbox other, size_t row, uint64_t tag) except -1 nogil:
        cdef Row* source
        cdef Row* target
        if self.tail == self.room:
            self._make_room()
        check_index(row, other.tail - other.head)
        source = other.rows + other.head + row      # after that: the rows may be our own
        target = self.rows + self.tail
        self.tail += 1
        target[0] = source[0]
        target.tag = tag
        target.span_low = target.span_high = self.spans.count
        if source.span_low != source.span_high:
            self._take_entries(other, source.span_low, source.span_high)
        return 0
    cdef int _take_entries(self, Outbox other, size_t low, size_t high) except -1 nogil
    cdef long find(self, int kind, uint64_t to) noexcept nogil
    cdef void load(self, size_t row, Message m) noexcept nogil
    cdef inline void tag_last(self, uint64_t tag) noexcept nogil:
        check(self.head < self.tail)
        self.rows[self.tail - 1].tag = tag
    cdef inline int kind_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].kind
    cdef inline uint64_t to_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].to
    cdef inline uint64_t sender_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].sender
    cdef inline uint64_t index_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].index
    cdef inline uint32_t count_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].count
    cdef inline size_t size_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].body_size
    cdef inline uint64_t tag_at(self, size_t row) noexcept nogil:
        check_index(row, self.tail - self.head)
        return self.rows[self.head + row].tag
    cdef inline void discard(self, size_t rows) noexcept nogil:
        # References go when the box is empty, which it is after every round of the one who drains it.
        self.head += min(rows, self.tail - self.head)
        if self.head == self.tail:
            self.clear()
    cdef inline void clear(self) noexcept nogil:
        self.head = self.tail = 0
        self.spans.clear()
