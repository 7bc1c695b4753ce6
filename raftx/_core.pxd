# C types of the log, messages and frames. _core.py is their definition in plain
# Python: same names, same behaviour, byte-equal output. Both change in one commit.
#
# The memory under them is _memory's, windows and columns are _flow's. Their names are given on from here: a
# cimport from _core finds them. A compiled module that also imports one of their classes (``from ... import``)
# must do that from _memory or _flow, because Cython takes the two for one name only when the modules agree.
#
# No method here takes the GIL except to raise, to construct and for the views made for Python.
import cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from ._flow cimport SLOTS, Inflights, Peers, popcount
from ._memory cimport (
    ACQUIRE, ENTRY_HEADER, ENVELOPE, Block, Buffer, Cursor, Entry, Span, Spans, View, block_data, block_new, block_ref,
    block_unref, crc32, refs_load, view_of,
)

cdef enum:
    FRAME_HEADER = 64
    MESSAGE_HEADER = 64

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
    cdef bint has_changes(self) noexcept nogil

@cython.final
cdef class EntryLog:
    """Entries (first .. last) in encoded form, with columns for term, place and size."""
    cdef readonly uint64_t first, last    # Invariant: first >= 1, last + 1 >= first
    cdef readonly uint64_t base_term      # term of the entry at first - 1 (0 when first is 1)
    cdef readonly size_t block_bytes
    cdef Block* term_block                # the columns; [head + i] belongs to index first + i
    cdef Block* place_block
    cdef Block* size_block
    cdef uint64_t* term_at
    cdef uint8_t** place_at
    cdef uint32_t* size_at
    cdef size_t head, room
    cdef Block** blocks
    cdef uint64_t* block_first            # index of the first entry in each block
    cdef size_t block_count, block_room
    cdef Block* spare                     # blocks that nobody refers to any more, for the entries to come
    cdef size_t spare_count
    cdef bint sealed                      # the last block takes no more (the log was truncated into it)
    cdef inline uint64_t term(self, uint64_t index) noexcept nogil:
        if index >= self.first:
            return self.term_at[self.head + (index - self.first)] if index <= self.last else 0
        return self.base_term if index + 1 == self.first else 0
    cdef inline bint match(self, uint64_t index, uint64_t term) noexcept nogil:
        return index + 1 >= self.first and index <= self.last and self.term(index) == term
    cdef inline uint64_t last_term(self) noexcept nogil:
        return self.term(self.last)
    cdef int kind(self, uint64_t index) noexcept nogil
    cdef uint64_t append(self, uint64_t term, int kind, const uint8_t* data, size_t size) except 0 nogil
    cdef uint64_t append_empty(self, uint64_t term) except 0 nogil
    cdef uint64_t append_change(self, uint64_t term) except 0 nogil
    cdef uint64_t append_proposals(self, uint64_t term, const uint8_t* body, size_t size) except 0 nogil
    cdef uint64_t append_records(self, const uint8_t* body, size_t size) except 0 nogil
    cdef uint64_t append_from(self, const uint8_t* body, size_t size, uint64_t index) except 0 nogil
    cdef uint64_t find_conflict(self, const uint8_t* body, size_t size) noexcept nogil
    cdef (uint64_t, uint64_t) find_conflict_by_term(self, uint64_t index, uint64_t term) noexcept nogil
    cdef int truncate(self, uint64_t last) except -1 nogil
    cdef int compact(self, uint64_t index) except -1 nogil
    cdef int restore(self, uint64_t index, uint64_t term) except -1 nogil
    cdef uint64_t limit(self, uint64_t low, uint64_t high, uint64_t max_bytes) noexcept nogil
    cdef uint64_t payload(self, uint64_t low, uint64_t high) noexcept nogil
    cdef int spans(self, uint64_t low, uint64_t high, Spans out) except -1 nogil
    cdef uint64_t _run(self, uint64_t low, uint64_t high) noexcept nogil
    cdef int _grow(self, size_t entries) except -1 nogil
    cdef uint8_t* _room(self, size_t size) except NULL nogil
    cdef size_t _block_of(self, uint64_t index) noexcept nogil
    cdef void _drop_blocks(self, size_t gone) noexcept nogil
    cdef void _drop_spare(self) noexcept nogil

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
    cdef size_t head, tail, room
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
        row.index = index
        row.log_term = log_term
        row.commit = commit
    cdef inline void set_answer(self, uint32_t flags, uint64_t hint, uint64_t context) noexcept nogil:
        cdef Row* row = self.rows + self.tail - 1
        row.flags = flags
        row.hint = hint
        row.context = context
    cdef int set_entries(self, EntryLog log, uint64_t low, uint64_t high) except -1 nogil
    cdef int set_body(self, const uint8_t* body, size_t size, uint32_t count) except -1 nogil
    cdef int set_spans(self, Spans spans, uint32_t count) except -1 nogil
    cdef int share_body(self, Outbox other, size_t row) except -1 nogil
    cdef int take(self, Outbox other, size_t row, uint64_t tag) except -1 nogil
    cdef long find(self, int kind, uint64_t to) noexcept nogil
    cdef int extend(self, size_t row, EntryLog log, uint64_t high, uint64_t commit) except -1 nogil
    cdef void load(self, size_t row, Message m) noexcept nogil
    cdef inline void tag_last(self, uint64_t tag) noexcept nogil:
        self.rows[self.tail - 1].tag = tag
    cdef inline int kind_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].kind
    cdef inline uint64_t to_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].to
    cdef inline uint64_t sender_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].sender
    cdef inline uint64_t index_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].index
    cdef inline uint32_t count_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].count
    cdef inline size_t size_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].body_size
    cdef inline uint64_t tag_at(self, size_t row) noexcept nogil:
        return self.rows[self.head + row].tag
    cdef inline void discard(self, size_t rows) noexcept nogil:
        # References go when the box is empty, which it is after every round of the one who drains it.
        self.head += min(rows, self.tail - self.head)
        if self.head == self.tail:
            self.clear()
    cdef inline void clear(self) noexcept nogil:
        self.head = self.tail = 0
        self.spans.clear()

@cython.final
cdef class Codec:
    """Frames: encodes rows of an Outbox for one recipient, verifies and splits received ones."""
    cdef uint8_t cluster[16]
    cdef readonly uint64_t id, incarnation, group
    cdef uint8_t* out
    cdef size_t out_size
    cdef uint32_t out_crc
    cdef const uint8_t* data
    cdef size_t size, offset
    cdef readonly uint64_t sender, sender_incarnation
    cdef readonly uint64_t sender_limit    # bytes of a frame that it takes; 0: it does not say
    cdef readonly bint sender_too_large    # it has something for this node that is larger than it takes
    cdef uint32_t limit_units              # of 64 KiB, told to others; 0: not said
    cdef readonly uint64_t rejected[16]    # dropped frames by reason
    cdef void mark(self) noexcept nogil
    cdef size_t measure(self, Outbox box, size_t row) noexcept nogil
    cdef int begin(self, uint8_t* out, size_t size, uint64_t recipient) noexcept nogil
    cdef int add(self, Outbox box, size_t row) noexcept nogil
    cdef size_t finish(self) noexcept nogil
    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil
    cdef int next(self, Message m) noexcept nogil
    cdef int _check_message(self, const uint8_t* head, size_t left) noexcept nogil
    cdef int _check_single(
        self, int kind, const uint8_t* head, const uint8_t* p, size_t size, uint32_t count
    ) noexcept nogil
    cdef int _verify(self, const uint8_t* data, size_t size) noexcept nogil
    cdef uint32_t _headers_crc(self, const uint8_t* data, size_t size) noexcept nogil
    cdef void _seal(self, uint8_t* records, size_t size) noexcept nogil
