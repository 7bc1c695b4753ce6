# C types of the hot structures. _core.py is their definition in plain Python: same names, same
# behaviour, byte-equal output. Both change in one commit.
#
# Rules of this layer
# * Memory that holds entries or frames is a Block: append-only, counted atomically, freed with its
#   last reference. Whoever holds a Span holds a reference, so a write or an apply on another thread
#   keeps its bytes alive whatever the log does meanwhile.
# * No method here takes the GIL except to raise, to construct and for the views made for Python.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    SLOTS = 64              # members at most: a set of members is one 64-bit mask
    ENTRY_HEADER = 32
    FRAME_HEADER = 64
    MESSAGE_HEADER = 64

cdef struct Block:
    int64_t refs            # atomic
    size_t capacity
    size_t used             # bytes [0, used) never change again

cdef struct Span:
    Block* block            # one reference
    const uint8_t* data
    size_t size
    uint64_t first          # index of the first entry; for a frame, whom it is for
    uint32_t count          # entries

cdef Block* block_new(size_t capacity) except NULL nogil
cdef uint8_t* block_data(Block* block) noexcept nogil
cdef void block_ref(Block* block) noexcept nogil
cdef void block_unref(Block* block) noexcept nogil

cdef uint32_t crc32(uint32_t seed, const uint8_t* data, size_t size) noexcept nogil

@cython.final
cdef class View:
    """Read-only buffer over a piece of a Block; holds a reference."""
    cdef Block* block
    cdef const void* data
    cdef Py_ssize_t size, itemsize
    cdef const char* format
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

@cython.final
cdef class Buffer:
    """Growable bytes with little-endian access at any offset."""
    cdef uint8_t* data
    cdef readonly size_t size
    cdef size_t capacity, alignment
    cdef int reserve(self, size_t extra) except -1 nogil
    cdef void clear(self) noexcept nogil
    cdef void swap(self, Buffer other) noexcept nogil
    cdef int put(self, const uint8_t* data, size_t size) except -1 nogil
    cdef int put_spans(self, Spans spans) except -1 nogil
    cdef int fill(self, size_t size) except -1 nogil
    cdef int pad(self, size_t alignment) except -1 nogil
    cdef uint32_t get_u32(self, size_t offset) noexcept nogil
    cdef uint64_t get_u64(self, size_t offset) noexcept nogil
    cdef void set_u32(self, size_t offset, uint32_t value) noexcept nogil
    cdef void set_u64(self, size_t offset, uint64_t value) noexcept nogil
    cdef uint32_t crc(self, size_t offset, size_t size) noexcept nogil
    cdef bint zeros(self, size_t offset, size_t size) noexcept nogil
    cdef uint32_t records_crc(self, size_t offset, size_t size) noexcept nogil
    cdef long check_records(self, size_t offset, size_t size, bint verify) noexcept nogil
    cdef int put_proposal(self, int kind, uint64_t origin, uint64_t incarnation, uint64_t sequence,
                          const uint8_t* data, size_t size) except -1 nogil

@cython.final
cdef class Spans:
    """A list of Spans, each with a reference of its own."""
    cdef Span* items
    cdef readonly size_t count, size      # spans; bytes of all of them
    cdef size_t capacity
    cdef int push(self, Block* block, const uint8_t* data, size_t size, uint64_t first, uint32_t entries) except -1 nogil
    cdef int push_copy(self, const uint8_t* data, size_t size, uint64_t first, uint32_t entries) except -1 nogil
    cdef int take(self, Spans other) except -1 nogil
    cdef void clear(self) noexcept nogil
    cdef void swap(self, Spans other) noexcept nogil
    cdef const uint8_t* data_at(self, size_t span) noexcept nogil
    cdef size_t size_at(self, size_t span) noexcept nogil

@cython.final
cdef class Cursor:
    """Walks the records of a Spans, one entry at a time."""
    cdef const uint8_t* place
    cdef size_t left
    cdef readonly uint64_t index, term, origin, incarnation, sequence   # the envelope's are 0 without one
    cdef readonly int kind
    cdef const uint8_t* data
    cdef size_t size
    cdef void open(self, Spans spans, size_t span) noexcept nogil
    cdef bint next(self) noexcept nogil
    cdef object payload(self, size_t skip) with gil

@cython.final
cdef class Entry:
    cdef readonly uint64_t index, term
    cdef readonly int kind
    cdef readonly bytes data

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
    cdef public object snapshot
    cdef void reset(self, int kind) noexcept nogil
    cdef void set_body(self, const uint8_t* body, size_t size, uint32_t count) noexcept nogil
    cdef int body_from(self, Buffer buffer, size_t offset, size_t size, uint32_t count) noexcept nogil
    cdef uint64_t origin(self) noexcept nogil
    cdef uint64_t sequence(self) noexcept nogil

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
    cdef bint sealed                      # the last block takes no more (the log was truncated into it)
    cdef uint64_t term(self, uint64_t index) noexcept nogil
    cdef bint match(self, uint64_t index, uint64_t term) noexcept nogil
    cdef uint64_t last_term(self) noexcept nogil
    cdef int kind(self, uint64_t index) noexcept nogil
    cdef uint64_t append(self, uint64_t term, int kind, const uint8_t* data, size_t size) except 0 nogil
    cdef uint64_t append_empty(self, uint64_t term) except 0 nogil
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
    cdef int _grow(self, size_t entries) except -1 nogil
    cdef uint8_t* _room(self, size_t size) except NULL nogil
    cdef size_t _block_of(self, uint64_t index) noexcept nogil
    cdef void _drop_blocks(self, size_t gone) noexcept nogil

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
    cdef size_t length(self) noexcept nogil
    cdef int push(self, int kind, uint64_t to, uint64_t sender, uint64_t term) except -1 nogil
    cdef void set_log(self, uint64_t index, uint64_t log_term, uint64_t commit) noexcept nogil
    cdef void set_answer(self, uint32_t flags, uint64_t hint, uint64_t context) noexcept nogil
    cdef int set_entries(self, EntryLog log, uint64_t low, uint64_t high) except -1 nogil
    cdef int set_body(self, const uint8_t* body, size_t size, uint32_t count) except -1 nogil
    cdef int take(self, Outbox other, size_t row, uint64_t tag) except -1 nogil
    cdef void load(self, size_t row, Message m) noexcept nogil
    cdef void tag_last(self, uint64_t tag) noexcept nogil
    cdef int kind_at(self, size_t row) noexcept nogil
    cdef uint64_t to_at(self, size_t row) noexcept nogil
    cdef uint64_t tag_at(self, size_t row) noexcept nogil
    cdef void discard(self, size_t rows) noexcept nogil
    cdef void clear(self) noexcept nogil

@cython.final
cdef class Inflights:
    """Per slot, the last index and the bytes of each append that is not yet acknowledged."""
    cdef readonly uint32_t capacity
    cdef readonly uint64_t max_bytes
    cdef uint64_t* index[SLOTS]
    cdef uint64_t* bytes[SLOTS]
    cdef uint32_t room[SLOTS]
    cdef uint32_t start[SLOTS]
    cdef uint32_t count[SLOTS]
    cdef uint64_t total[SLOTS]
    cdef int add(self, int slot, uint64_t index, uint64_t size) except -1 nogil
    cdef void free_to(self, int slot, uint64_t index) noexcept nogil
    cdef bint full(self, int slot) noexcept nogil
    cdef void reset(self, int slot) noexcept nogil

@cython.final
cdef class Peers:
    """What is kept per member, one column each; slots are sorted by id."""
    cdef readonly int count
    cdef readonly uint64_t paused, recent_active       # masks of slots
    cdef uint64_t ids[SLOTS]
    cdef uint64_t match[SLOTS]             # Invariant: match < next
    cdef uint64_t next[SLOTS]
    cdef uint64_t sent_commit[SLOTS]
    cdef uint64_t pending_snapshot[SLOTS]
    cdef uint8_t state[SLOTS]
    cdef int slot_of(self, uint64_t id) noexcept nogil
    cdef void set_paused(self, int slot, bint value) noexcept nogil
    cdef void set_recent_active(self, int slot, bint value) noexcept nogil

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
    cdef readonly uint64_t rejected[16]    # dropped frames by reason
    cdef size_t measure(self, Outbox box, size_t row) noexcept nogil
    cdef int begin(self, uint8_t* out, size_t size, uint64_t recipient) noexcept nogil
    cdef int add(self, Outbox box, size_t row) noexcept nogil
    cdef size_t finish(self) noexcept nogil
    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil
    cdef int next(self, Message m) noexcept nogil
    cdef int _check_message(self, const uint8_t* head, size_t left) noexcept nogil
    cdef int _verify(self, const uint8_t* data, size_t size) noexcept nogil
    cdef uint32_t _headers_crc(self, const uint8_t* data, size_t size) noexcept nogil
    cdef void _seal(self, uint8_t* records, size_t size) noexcept nogil

cdef int popcount(uint64_t mask) noexcept nogil
