import cython
from libc.stdint cimport uint32_t, uint64_t
from .._native.memory cimport Buffer
from . cimport wal_reader

cdef uint64_t BLOCK, COUNTS, IDS_AT, ENTRY_HEADER, RECORD_INDEX, RECORD_LENGTH, RECORD_TERM
cdef uint32_t BATCH_MAGIC
cdef uint64_t BATCH_CHAIN_AT, BATCH_CHECKED, BATCH_COMMIT_AT, BATCH_CRC_AT, BATCH_FLAGS_AT, BATCH_INCARNATION_AT
cdef uint64_t BATCH_KIND_AT, BATCH_LENGTH_AT, BATCH_MAGIC_AT, BATCH_NUMBER_AT, BATCH_SEGMENT_AT, BATCH_TERM_AT
cdef uint64_t BATCH_VOTE_AT
cdef uint64_t HEAD_BASE_AT, HEAD_BASE_TERM_AT, HEAD_MEMBERS_AT, HEAD_USED_AT, HEAD_ZEROS_AT
cdef uint64_t HEAD_CHAIN_AT, HEAD_CHECKED, HEAD_CRC_AT, HEAD_FIRST_AT, HEAD_OLDEST_AT, HEAD_SEGMENT_AT, HEAD_SIZE_AT
cdef uint64_t MARK_CHAIN_AT, MARK_CHECKED, MARK_CRC_AT, MARK_NUMBER_AT, MARK_POSITION_AT, MARK_SEGMENT_AT, MARK_SLOT_AT

cdef uint64_t membership_size(Buffer buffer, uint64_t at) noexcept nogil
cdef int copy_words(Buffer source, uint64_t start, Buffer target, uint64_t at, uint64_t size) noexcept nogil
cdef int fill_head(
    Buffer header, uint64_t segment, uint32_t chain, uint64_t first, uint64_t size, uint64_t oldest
) noexcept nogil
cdef int fill_batch(
    Buffer batch, uint64_t length, uint64_t term, uint64_t vote, uint64_t commit, uint32_t flags
) noexcept nogil
cdef int seal_batch(
    Buffer batch, uint32_t chain, uint64_t number, uint64_t incarnation, uint64_t segment
) noexcept nogil
cdef int fill_mark(
    Buffer mark, uint64_t number, uint64_t segment, uint64_t position, uint32_t chain, uint32_t slot
) noexcept nogil
cdef int put_behind(Buffer header, Buffer records, uint64_t at, Buffer out) except -1 nogil
