import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.files cimport File
from .._native.memory cimport Buffer

cdef int WAIT
cdef size_t MAGIC_AT, VERSION_AT, CRC_AT, COUNT_AT, LOST_AT, ROWS_AT, STORE_AT
cdef size_t SLOT_CHECKED_FROM, SLOT_HEADER, SLOT_ROW
cdef uint64_t MAGIC
cdef uint32_t LIVES_VERSION
cdef uint64_t SLOTS, SLOT_BYTES
cdef int MET_MAX, COUNT_SHIFT
cdef int EAGAIN, EBADF, EDQUOT, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC
cdef int LATER, OTHER_STORE, REMOVED, EARLIER, TWIN

@cython.final
cdef class Ledger:
    cdef readonly File file
    cdef readonly uint64_t word0, word1, number, count
    cdef uint64_t written
    cdef public uint64_t lost
    cdef readonly int rows
    cdef uint64_t[::1] ids, lives, stores0, stores1, joined
    cdef Buffer slot

    @cython.locals(row=int)
    cdef int find(self, uint64_t id) noexcept nogil
    @cython.locals(row=int)
    cdef bint holds(self, uint64_t id, uint64_t word0, uint64_t word1, uint64_t joined) noexcept nogil
    cdef bint knows(self, uint64_t id, uint64_t life, uint64_t word0, uint64_t word1, uint64_t joined) noexcept nogil
    @cython.locals(row=int, lives=uint64_t, before=uint64_t)
    cdef int refusal(
        self, uint64_t id, uint64_t life, uint64_t word0, uint64_t word1, bint rebuilt, uint64_t joined
    ) noexcept nogil
    @cython.locals(row=int)
    cdef bint was(self, uint64_t id, uint64_t word0, uint64_t word1, uint64_t applied) noexcept nogil
    @cython.locals(row=int)
    cdef uint64_t known_life(self, uint64_t id) noexcept nogil
    @cython.locals(row=int, at=int)
    cdef int put(self, uint64_t id, uint64_t life, uint64_t word0, uint64_t word1, uint64_t joined) noexcept nogil
    @cython.locals(row=int, at=size_t, size=size_t)
    cdef int fill(self, uint64_t number) except -1 nogil
    cdef int write(self) except? -1 nogil
    @cython.locals(code=int)
    cdef int sync(self) noexcept nogil
    cdef bint is_short(self, int code) noexcept nogil
