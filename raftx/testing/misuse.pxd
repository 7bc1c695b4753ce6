from libc.stdint cimport uint64_t
from .. cimport _core
from .._core cimport EntryLog, Inflights
from .._native.memory cimport Buffer, Spans
from .._native.outbox cimport Outbox
from .._native.threads cimport Cells, Handoff, ProposalQueue
from ..consensus.raft cimport Raft
from ..consensus.tracker cimport Tracker

cpdef uint64_t word(Buffer buffer, size_t offset)
cpdef uint64_t checksum(Buffer buffer, size_t offset, size_t size)
cpdef uint64_t span_size(Spans spans, size_t span)
cpdef uint64_t row_kind(Outbox box, size_t row)
cpdef object share_row(Outbox box, Outbox other, size_t row)
cpdef uint64_t cell(Cells cells, int number)
cpdef uint64_t handed_over(Handoff handoff, size_t row, int column)
cpdef object consume(ProposalQueue queue, size_t size)
cpdef uint64_t limit(EntryLog log, uint64_t low, uint64_t high)
cpdef object window(Inflights inflights, int slot)
cpdef object add_to_window(Inflights inflights, int slot)
cpdef uint64_t mask(int slot)
cpdef object progress(Tracker tracker, int slot)
cpdef object match_beyond_next(Tracker tracker, int slot)
cpdef object applied_beyond_committed(Raft raft)
