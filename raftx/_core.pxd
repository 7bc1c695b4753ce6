# C types of flow control, log and codec. _core.py is their definition in plain
# Python: same names, same behaviour, byte-equal output. Both change in one commit.
#
# The memory under them is _native/memory's, messages and rows are _native/outbox's. Each name stands in one module:
# a compiled module that cimports a class and also imports it takes both from there, or Cython takes them for two.
#
# No method here takes the GIL except to raise, to construct and for the views made for Python.
import cython
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from ._native.memory cimport (
    ACQUIRE, Block, Entry, Span, Spans, View, block_data, block_new, block_ref, block_unref, refs_load,
    view_of,
)
from ._native.checks cimport DEBUG, check, check_index, check_part
from ._native.layout cimport FRAME_CLUSTER_BYTES
from ._native.outbox cimport Message, Outbox, Row

cdef enum:
    SLOTS = 64              # members at most: a set of members is one 64-bit mask

# A slot's bit in a mask. Masks are made with it and nothing else: ``1 << slot`` has C's type int, in which the bits of
# slots 31 and up do not stand, and the interpreted twin would not show it. (tests/native/test_widths.py looks.)
cdef inline uint64_t bit(int slot) noexcept nogil:
    check_index(slot, SLOTS)
    return <uint64_t>1 << slot

@cython.final
cdef class Inflights:
    """Per slot, the last index and the bytes of each append that is not yet acknowledged."""
    cdef readonly uint32_t capacity
    cdef readonly uint64_t max_bytes
    cdef uint64_t* index[SLOTS]
    cdef uint64_t* bytes[SLOTS]
    cdef uint32_t room[SLOTS]
    cdef uint32_t start[SLOTS]
    cdef uint32_t count[SLOTS]              # Invariant: count <= room, the entries of index and bytes
    cdef uint32_t limit[SLOTS]              # capacity of each window
    cdef uint64_t total[SLOTS]
    cdef int add(self, int slot, uint64_t index, uint64_t size) except -1 nogil
    cdef void free_to(self, int slot, uint64_t index) noexcept nogil
    cdef inline bint full(self, int slot) noexcept nogil:
        check_index(slot, SLOTS)
        return self.count[slot] >= self.limit[slot] or (self.max_bytes != 0 and self.total[slot] >= self.max_bytes)
    cdef void reset(self, int slot) noexcept nogil
    cdef void move(self, const int8_t[::1] places) noexcept nogil
    cdef void _move(self, const int8_t* places) noexcept nogil

@cython.final
cdef class Peers:
    """What is kept per member, one column each; slots are sorted by id."""
    cdef readonly int count                # Invariant: at most SLOTS
    cdef readonly uint64_t paused, recent_active       # masks of slots
    cdef uint64_t ids[SLOTS]
    cdef uint64_t match[SLOTS]             # Invariant: match < next
    cdef uint64_t next[SLOTS]
    cdef uint64_t sent_commit[SLOTS]
    cdef uint64_t pending_snapshot[SLOTS]
    cdef uint64_t requested_snapshot[SLOTS]  # least index of a snapshot that the peer asked for, 0: none
    cdef uint64_t commit_group[SLOTS]      # 0: in none
    cdef uint8_t state[SLOTS]
    cdef uint64_t* _column(self, int which) noexcept nogil
    cdef void move(self, const uint64_t[::1] ids, const int8_t[::1] places, int count) noexcept nogil
    cdef void _move(self, const uint64_t* ids, const int8_t* places, int count) noexcept nogil
    cdef inline int slot_of(self, uint64_t id) noexcept nogil:
        cdef int slot
        check(self.count <= SLOTS)
        for slot in range(self.count):
            if self.ids[slot] == id:
                return slot
        return -1
    cdef inline void set_paused(self, int slot, bint value) noexcept nogil:
        if value:
            self.paused |= bit(slot)
        else:
            self.paused &= ~bit(slot)
    cdef inline void set_recent_active(self, int slot, bint value) noexcept nogil:
        if value:
            self.recent_active |= bit(slot)
        else:
            self.recent_active &= ~bit(slot)

# Inline, and not __builtin_popcountll: without an option for newer processors that is a call of libgcc.
cdef inline int popcount(uint64_t mask) noexcept nogil:
    mask -= (mask >> 1) & <uint64_t>0x5555555555555555
    mask = (mask & <uint64_t>0x3333333333333333) + ((mask >> 2) & <uint64_t>0x3333333333333333)
    mask = (mask + (mask >> 4)) & <uint64_t>0x0F0F0F0F0F0F0F0F
    return <int>((mask * <uint64_t>0x0101010101010101) >> 56)

@cython.final
cdef class EntryLog:
    """Entries (first .. last) in encoded form, with columns for term, place and size."""
    cdef readonly uint64_t first, last    # Invariant: first >= 1, last + 1 >= first
    cdef readonly uint64_t base_term      # term of the entry at first - 1 (0 when first is 1)
    cdef public uint64_t time             # that of what is appended next, unless the last entry's is later; 0: none
    cdef readonly uint64_t base_time      # time of the entry at first - 1; 0 where it is not known
    cdef readonly size_t block_bytes
    cdef Block* term_block                # the columns; [head + i] belongs to index first + i
    cdef Block* place_block
    cdef Block* size_block
    cdef uint64_t* term_at
    cdef uint8_t** place_at
    cdef uint32_t* size_at
    cdef size_t head, room                # Invariant: head + (last + 1 - first) <= room
    cdef Block** blocks
    cdef uint64_t* block_first            # index of the first entry in each block
    cdef size_t block_count, block_room   # Invariant: block_count <= block_room; none only if the log is empty
    cdef Block* spare                     # blocks that nobody refers to any more, for the entries to come
    cdef size_t spare_count
    cdef bint sealed                      # the last block takes no more (the log was truncated into it)
    cdef inline uint64_t term(self, uint64_t index) noexcept nogil:
        if index >= self.first:
            check(self.head + (self.last + 1 - self.first) <= self.room)
            return self.term_at[self.head + (index - self.first)] if index <= self.last else 0
        return self.base_term if index + 1 == self.first else 0
    cdef inline bint match(self, uint64_t index, uint64_t term) noexcept nogil:
        return index + 1 >= self.first and index <= self.last and self.term(index) == term
    cdef inline uint64_t last_term(self) noexcept nogil:
        return self.term(self.last)
    # Looks at the invariants in a debug build: at the end of whatever changes the log.
    cdef inline void _sound(self) noexcept nogil:
        check(self.first >= 1)
        check(self.first <= self.last + 1)
        check(self.head + (self.last + 1 - self.first) <= self.room)
        check(self.block_count <= self.block_room)
        if DEBUG and self.first <= self.last:
            check(self.block_count > 0)
            check(self.block_first[0] <= self.first)
            check(self.block_first[self.block_count - 1] <= self.last)
            check(self.blocks[self.block_count - 1].used <= self.blocks[self.block_count - 1].capacity)
    cdef int kind(self, uint64_t index) noexcept nogil
    cdef uint64_t last_time(self) noexcept nogil
    cdef uint64_t _time_at(self, uint64_t index) noexcept nogil
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
    cdef int fill(self, Outbox box, uint64_t low, uint64_t high) except -1 nogil
    cdef int extend(self, Outbox box, size_t row, uint64_t high, uint64_t commit) except -1 nogil
    cdef uint64_t _run(self, uint64_t low, uint64_t high) noexcept nogil
    cdef int _grow(self, size_t entries) except -1 nogil
    cdef uint8_t* _room(self, size_t size) except NULL nogil
    cdef size_t _block_of(self, uint64_t index) noexcept nogil
    cdef void _drop_blocks(self, size_t gone) noexcept nogil
    cdef void _drop_spare(self) noexcept nogil

@cython.final
cdef class Codec:
    """Frames: encodes rows of an Outbox for one recipient, verifies and splits received ones."""
    cdef uint8_t cluster[FRAME_CLUSTER_BYTES]
    cdef readonly uint64_t id, incarnation, group
    cdef uint8_t* out
    cdef size_t out_size, out_room         # Invariant: out_size <= out_room, the bytes that begin() was given
    cdef size_t elsewhere                  # bytes of bodies that belong to the frame and are not among these
    cdef const uint8_t* data
    cdef size_t size, offset               # Invariant: offset <= size
    cdef readonly uint64_t sender, sender_incarnation
    cdef public uint64_t connection        # the member that the next frame has to be of, by its connection; 0: any
    cdef readonly uint64_t sender_limit    # bytes of a frame that it takes; 0: it does not say
    cdef readonly uint64_t foreign         # who sent the last frame of another cluster, by its own account; 0: not known
    cdef public bint in_doubt              # every frame tells that this node is in doubt, or that its disk says so
    cdef readonly bint sender_in_doubt     # likewise its sender
    cdef public bint no_room               # every frame tells that this node's disk is full
    cdef public bint behind                # likewise that its state machine is far behind
    cdef readonly bint sender_no_room, sender_behind    # likewise its sender's
    cdef readonly bint sender_too_large    # it has something for this node that is larger than it takes
    cdef uint32_t limit_units              # of 64 KiB, told to others; 0: not said
    cdef readonly uint64_t rejected[16]    # dropped frames by reason
    cdef void mark(self) noexcept nogil
    cdef size_t measure(self, Outbox box, size_t row) noexcept nogil
    cdef bint refers(self, Outbox box, size_t row) noexcept nogil
    cdef size_t add_head(self, Outbox box, size_t row) noexcept nogil
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
    cdef uint64_t _foreign_sender(self, const uint8_t* data, size_t size) noexcept nogil
    cdef uint32_t _headers_crc(self, const uint8_t* data, size_t size, bint lean) noexcept nogil
    cdef void _add_head(self, const Row* row) noexcept nogil
    cdef void _seal(self, uint8_t* records, size_t size) noexcept nogil
