# C types of windows and columns. _flow.py is their definition in plain Python: same names, same behaviour.
# Both change in one commit. No method here takes the GIL except to raise and for Python.
import cython
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from ._memory cimport Block, View, block_data, block_new, block_unref, view_of

cdef enum:
    SLOTS = 64              # members at most: a set of members is one 64-bit mask

# A slot's bit in a mask. Masks are made with it and nothing else: ``1 << slot`` has C's type int, in which the bits of
# slots 31 and up do not stand, and the interpreted twin would not show it. (tests/native/test_widths.py looks.)
cdef inline uint64_t bit(int slot) noexcept nogil:
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
    cdef uint32_t count[SLOTS]
    cdef uint32_t limit[SLOTS]              # capacity of each window
    cdef uint64_t total[SLOTS]
    cdef int add(self, int slot, uint64_t index, uint64_t size) except -1 nogil
    cdef void free_to(self, int slot, uint64_t index) noexcept nogil
    cdef inline bint full(self, int slot) noexcept nogil:
        return self.count[slot] >= self.limit[slot] or (self.max_bytes != 0 and self.total[slot] >= self.max_bytes)
    cdef void reset(self, int slot) noexcept nogil
    cdef void move(self, const int8_t[::1] places) noexcept nogil
    cdef void _move(self, const int8_t* places) noexcept nogil

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
    cdef uint64_t requested_snapshot[SLOTS]  # least index of a snapshot that the peer asked for, 0: none
    cdef uint64_t commit_group[SLOTS]      # 0: in none
    cdef uint8_t state[SLOTS]
    cdef uint64_t* _column(self, int which) noexcept nogil
    cdef void move(self, const uint64_t[::1] ids, const int8_t[::1] places, int count) noexcept nogil
    cdef void _move(self, const uint64_t* ids, const int8_t* places, int count) noexcept nogil
    cdef inline int slot_of(self, uint64_t id) noexcept nogil:
        cdef int slot
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
