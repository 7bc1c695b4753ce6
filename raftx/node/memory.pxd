import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Spans
from .._native.threads cimport Cells, Event, Runner
from ..storage.ledger cimport Ledger
from .channels cimport CommandQueue
from .meetings cimport MeetQueue

cdef int WAIT
cdef uint64_t MET_STORE, OWN, STRANGER, REBUILT, REMOVED_LIFE
cdef int LATER, REMOVED
cdef int64_t ASK_NS
cdef int CELL_STOP

@cython.final
cdef class Memory(Runner):
    cdef readonly uint64_t id
    cdef readonly Ledger ledger
    cdef object storage
    cdef bint asks, writes, syncing, unwritten, single, copying
    cdef CommandQueue commands
    cdef MeetQueue queue
    cdef readonly Event event
    cdef Spans empty_spans
    cdef Cells cells
    cdef size_t rows, row
    cdef readonly int failed

    @cython.locals(sender=uint64_t, life=uint64_t, word0=uint64_t, word1=uint64_t, joined=uint64_t, why=int)
    cdef int take(self) except -1 nogil
    @cython.locals(code=int)
    cdef int learn(self, uint64_t sender, uint64_t life, uint64_t word0, uint64_t word1, uint64_t joined) except -1 nogil
    cdef int learned(self, int code) except -1 nogil
    @cython.locals(code=int)
    cdef int copy(self) except -1 nogil
    cdef int copied(self, int code) except -1 nogil
    @cython.locals(sender=uint64_t, life=uint64_t, joined=uint64_t)
    cdef int say(self, uint64_t known, int why) except -1 nogil
    cdef bint ask(self, uint64_t sender, uint64_t life) except -1 with gil
