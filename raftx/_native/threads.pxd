# C types of what touches the operating system: clock, wake-ups, hand-overs between threads.
# threads.py is the twin in plain Python. Nothing here knows Raft.
import cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from .memory cimport Buffer, Span, Spans

cdef extern from *:
    """
    #include <pthread.h>
    """
    ctypedef struct pthread_mutex_t:
        pass

cdef extern from "_native/cell.h":
    bint raftx_claim(int32_t*) noexcept nogil
    void raftx_publish(int32_t*, int32_t) noexcept nogil
    int32_t raftx_peek(int32_t*) noexcept nogil

# A state that many threads look at and one of them ends: cell[0] is the state, 0 at first, cell[1] whether it is taken.
cdef inline bint claim(int32_t* cell) noexcept nogil:
    return raftx_claim(cell + 1)

cdef inline void publish(int32_t* cell, int state) noexcept nogil:
    raftx_publish(cell, state)

cdef inline int peek(int32_t* cell) noexcept nogil:
    return raftx_peek(cell)

cdef class Clock:
    """Monotonic time in nanoseconds."""
    cdef int64_t now(self) noexcept nogil
    cdef int64_t boot(self) noexcept nogil                       # counts also while the system is suspended
    cdef int64_t until(self, int64_t deadline) noexcept nogil    # how long a waiter may sleep; -1: till woken
    cdef int64_t wall(self) noexcept nogil    # nanoseconds since the epoch, as the system has it; it may jump

@cython.final
cdef class ManualClock(Clock):
    cdef int64_t value, ahead             # ahead: of value, the wall clock
    cdef list events                      # weak references
    cdef void watch(self, Event event) with gil

@cython.final
cdef class Event:
    """One thread sleeps, any thread wakes it; a wake-up between look and sleep is not lost."""
    cdef int fd
    cdef int64_t sleeping
    cdef object __weakref__
    cdef void prepare(self) noexcept nogil
    cdef void cancel(self) noexcept nogil
    cdef void wait(self, int64_t timeout) noexcept nogil
    cdef void wake(self) noexcept nogil

@cython.final
cdef class Cells:
    """64-bit numbers that one thread writes and others read."""
    cdef int64_t* values
    cdef readonly int count               # Invariant: values has room for so many. A debug build looks at each cell
    cdef int64_t get(self, int cell) noexcept nogil
    cdef void set(self, int cell, int64_t value) noexcept nogil
    cdef bint replace(self, int cell, int64_t old, int64_t value) noexcept nogil

cdef class Handoff:
    """Rows of eight numbers and spans, from one side to another thread that takes all at once. Bounded.

    Subclasses give rows and columns names; they are final and have no state of their own."""
    cdef pthread_mutex_t mutex
    cdef readonly Event event             # of the taking side
    cdef readonly Event giver             # of the giving side: woken when there is room again after lacks()
    cdef readonly size_t capacity         # rows that may wait
    cdef readonly uint64_t refused        # rows that had no room
    cdef uint64_t* rows                   # being filled, under the mutex
    cdef size_t row_count, row_room       # Invariant: row_count <= row_room, row_count <= capacity
    cdef Spans filling
    cdef uint64_t* taken_rows             # owned by the taker until its next take()
    cdef size_t taken_count, taken_room
    cdef readonly Spans taken
    cdef readonly int64_t pending         # atomic: rows not yet taken. Invariant: at most capacity
    cdef int64_t ended, short             # atomic
    cdef int put(self, Spans spans, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                 uint64_t g, uint64_t h) except -1 nogil    # 0, or 1 when it is full: then nothing has moved
    cdef int lay(self, Spans spans, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                 uint64_t g, uint64_t h) except -1 nogil    # put() of what can wait for the next row: wakes nobody
    cdef int _take_spans(self, Spans spans) noexcept nogil
    cdef void end(self) noexcept nogil    # nothing follows; never fails
    cdef bint is_ended(self) noexcept nogil    # asked before take(): then that takes the last rows
    cdef size_t room(self) noexcept nogil
    cdef bint lacks(self, size_t rows) noexcept nogil    # fewer fit; giver is woken when there is room again
    cdef bint waiting(self) noexcept nogil
    cdef size_t take(self) noexcept nogil
    cdef uint64_t at(self, size_t row, int column) noexcept nogil
    cdef size_t backlog(self) noexcept nogil

@cython.final
cdef class ProposalQueue:
    """Proposals on their way to the engine, already as entry records without index and term."""
    cdef pthread_mutex_t mutex
    cdef readonly Event event
    cdef readonly Clock clock
    cdef readonly uint64_t origin, incarnation
    cdef uint64_t sequence                # of the last proposal accepted, under the mutex
    cdef readonly size_t limit            # bytes that may wait
    cdef Buffer filling
    cdef readonly Buffer taken
    cdef readonly size_t offset           # of the first record in taken not consumed. Invariant: at most taken.size
    cdef readonly uint64_t taken_sequence  # of that record
    cdef readonly int64_t taken_since     # when the oldest of them came, ns of the clock
    cdef uint64_t filling_first
    cdef int64_t filling_since
    cdef int64_t pending                  # atomic: bytes waiting in filling
    cdef int64_t held                     # atomic: bytes of taken that are not consumed
    cdef bint closed
    cdef uint32_t last_count
    cdef int64_t _put(self, const uint8_t* data, size_t size, int kind) noexcept nogil
    cdef bint _fits(self, size_t size) noexcept nogil
    cdef void _append(self, const uint8_t* data, size_t size, int kind) noexcept nogil
    cdef int64_t offer(self, const uint8_t* data, size_t size, int kind) except -2 nogil
    cdef bint waiting(self) noexcept nogil
    cdef size_t unhandled(self) noexcept nogil
    cdef bint take(self) noexcept nogil   # after this, records stand in taken from offset on
    cdef size_t chunk(self, size_t max_bytes) noexcept nogil      # bytes of the next whole records, at least one
    cdef uint32_t chunk_count(self) noexcept nogil                # how many records the last chunk() has
    cdef void consume(self, size_t size, uint32_t count) noexcept nogil

cdef class Runner:
    """The work of a thread without the GIL. ``round``: do what has arrived, wait for nothing; 0 after the last one.
    ``idle_for``: how long it may sleep now. ``rest``: sleep until a round would find something. ``loop``: round and rest
    in turn, to be overridden by what has no rounds."""
    cdef int round(self) except -1 nogil
    cdef int64_t idle_for(self) noexcept nogil
    cdef int rest(self) except -1 nogil
    cdef int loop(self) except -1 nogil
