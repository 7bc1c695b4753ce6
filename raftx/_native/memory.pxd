# C types of the memory that holds entries and frames. memory.py is their definition in plain Python:
# same names, same behaviour, byte-equal output. Both change in one commit.
#
# Rules of this layer
# * Memory that holds entries or frames is a Block: append-only, counted atomically, freed with its
#   last reference. Whoever holds a Span holds a reference, so a write or an apply on another thread
#   keeps its bytes alive whatever the log does meanwhile.
# * No method here takes the GIL except to raise, to construct and for the views made for Python.
import cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from .checks cimport check, check_index, check_part

cdef extern from *:
    int64_t refs_add "__atomic_add_fetch"(int64_t*, int64_t, int) noexcept nogil
    int64_t refs_load "__atomic_load_n"(int64_t*, int) noexcept nogil
    int RELAXED "__ATOMIC_RELAXED"
    int ACQUIRE "__ATOMIC_ACQUIRE"
    int ACQ_REL "__ATOMIC_ACQ_REL"

cdef enum:
    BLOCK_HEAD = 64         # keeps the data of a block on a cache line of its own

cdef struct Block:
    int64_t refs            # atomic
    size_t capacity
    size_t used             # bytes [0, used) never change again
    Block* spare            # the next one in the list of a log that keeps it to use it again

cdef struct Span:
    Block* block            # one reference
    const uint8_t* data
    size_t size
    uint64_t first          # index of the first entry; for a frame, whom it is for
    uint32_t count          # entries

cdef Block* block_new(size_t capacity) except NULL nogil

# What every message does is inline: a call into another module costs more than it does.
cdef inline uint8_t* block_data(Block* block) noexcept nogil:
    return <uint8_t*>block + BLOCK_HEAD

cdef inline void block_ref(Block* block) noexcept nogil:
    check(block.refs > 0)
    refs_add(&block.refs, 1, RELAXED)

cdef inline void block_unref(Block* block) noexcept nogil:
    if block != NULL:
        check(block.refs > 0)
        if refs_add(&block.refs, -1, ACQ_REL) == 0:
            free(block)

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
    cdef readonly size_t size             # Invariant: size <= capacity
    cdef size_t capacity, alignment
    cdef int reserve(self, size_t extra) except -1 nogil
    cdef bint try_reserve(self, size_t extra) noexcept nogil    # False without memory: for who holds a mutex
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
    # The same where there is memory for it already.
    cdef void append_proposal(self, int kind, uint64_t origin, uint64_t incarnation, uint64_t sequence,
                              const uint8_t* data, size_t size) noexcept nogil

@cython.final
cdef class Spans:
    """A list of Spans, each with a reference of its own."""
    cdef Span* items
    cdef readonly size_t count, size      # spans, at most capacity; bytes of all of them
    cdef size_t capacity
    cdef inline int push(
        self, Block* block, const uint8_t* data, size_t size, uint64_t first, uint32_t entries
    ) except -1 nogil:
        if self.count == self.capacity:
            self._grow()
        check_index(self.count, self.capacity)
        check_part(data - block_data(block), size, block.capacity)
        block_ref(block)
        self.items[self.count].block = block
        self.items[self.count].data = data
        self.items[self.count].size = size
        self.items[self.count].first = first
        self.items[self.count].count = entries
        self.count += 1
        self.size += size
        return 0
    cdef int push_copy(self, const uint8_t* data, size_t size, uint64_t first, uint32_t entries) except -1 nogil
    cdef int push_shared(self, Spans other, size_t span) except -1 nogil    # the same bytes, not a copy
    cdef int take(self, Spans other) except -1 nogil
    cdef inline void clear(self) noexcept nogil:
        cdef size_t i
        for i in range(self.count):
            block_unref(self.items[i].block)
        self.count = self.size = 0
    cdef void swap(self, Spans other) noexcept nogil
    cdef int _grow(self) except -1 nogil
    # Of a batch of a log that is written from where it stands
    cdef uint32_t records_crc(self) noexcept nogil
    cdef size_t zero_parts(self, size_t before, size_t size) noexcept nogil
    cdef const uint8_t* data_at(self, size_t span) noexcept nogil
    cdef size_t size_at(self, size_t span) noexcept nogil

@cython.final
cdef class Cursor:
    """Walks the records of a Spans, one entry at a time."""
    cdef const uint8_t* place
    cdef size_t left
    cdef readonly uint64_t index, term, time, origin, incarnation, sequence   # the envelope's are 0 without one
    cdef readonly int kind
    cdef const uint8_t* data
    cdef size_t size
    cdef void open(self, Spans spans, size_t span) noexcept nogil
    cdef bint next(self) noexcept nogil
    cdef object payload(self, size_t skip) with gil

@cython.final
cdef class Entry:
    cdef readonly uint64_t index, term, time, session_sequence
    cdef readonly int kind
    cdef readonly bytes data, session

# A read-only view of part of a block, for Python: takes a reference of its own.
cdef View view_of(Block* block, const void* data, size_t size, const char* format, int itemsize) with gil
