import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.files cimport Directory, File
from .._native.threads cimport Cells, Event, Runner

cdef int WAIT
cdef int RESERVE_CODE, RESERVE_DROP, RESERVE_FAILED, RESERVE_MAKING, RESERVE_NONE, RESERVE_READY, RESERVE_STATE
cdef int MARK_FAILED, MARK_NOTHING, MARK_SYNCING, MARK_WANTED, RESERVE_KEEP, RESERVE_MARK
cdef int RESERVE_FILL, RESERVE_STOP, RESERVE_TAKEN, RESERVE_TROUBLE, RESERVE_UNTRIED, RESERVE_WANTED
cdef int ROOM_UNKNOWN
cdef int EAGAIN, EDQUOT, EFBIG, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC
cdef int64_t ASK_NS
cdef uint64_t FILL_STEP
cdef int SPARE_NONE, SPARE_NAME, SPARE_ZERO, SPARE_READY

@cython.final
cdef class Reserve(Runner):
    cdef readonly File file
    cdef readonly Directory directory
    cdef readonly File spare
    cdef File no_file
    cdef public File mark
    cdef readonly uint64_t segment_bytes, number, size, filled, spare_filled
    cdef readonly int spare_step
    cdef readonly Cells cells
    cdef readonly Event event
    cdef public Event writer
    cdef int64_t said
    cdef bint syncing, to_fill, fill_syncing, spare_syncing, mark_syncing
    cdef readonly int64_t first
    cdef bint is_shortage(self, int code) noexcept nogil
    cdef bint is_full(self, int code) noexcept nogil
    cdef int64_t full(self) noexcept nogil
    cdef int want(self, uint64_t number) noexcept nogil
    cdef int claim(self) noexcept nogil
    cdef bint is_making(self) noexcept nogil
    cdef int create(self, uint64_t number) noexcept nogil
    cdef int grow(self, uint64_t size) noexcept nogil
    cdef int make_durable(self) noexcept nogil
    cdef int hand_over(self, File to) noexcept nogil
    cdef int settle(self, int64_t keep) noexcept nogil
    cdef bint take_back(self) noexcept nogil
    cdef bint is_settling(self) noexcept nogil
    cdef bint has_lost_mark(self) noexcept nogil
    @cython.locals(keep=int64_t)
    cdef int settle_mark(self) noexcept nogil
    cdef int drop(self, int64_t below) noexcept nogil
    cdef int drop_next(self) noexcept nogil
    cdef int fill(self, int64_t number) noexcept nogil
    cdef int fill_piece(self) noexcept nogil
    cdef int reuse(self, uint64_t number) noexcept nogil
    @cython.locals(length=uint64_t)
    cdef int release_next(self) noexcept nogil
    cdef int prepare_spare(self) noexcept nogil
    cdef int spare_done(self, int code) noexcept nogil
    cdef int remove_spare(self) noexcept nogil
    cdef bint has_work(self) noexcept nogil
    @cython.locals(number=uint64_t)
    cdef bint may_fill(self) noexcept nogil
    cdef int tell(self, int64_t trouble) noexcept nogil
    cdef int made(self, int code) noexcept nogil
    cdef bint has_news(self) noexcept nogil
    cdef int say(self, int64_t trouble, int64_t before) except -1 with gil    # a log line
