import cython
from libc.stdint cimport uint32_t, uint64_t
from .._native.memory cimport Buffer

cdef uint32_t BATCH_MAGIC, BATCH_IN_DOUBT, ENTRY_NORMAL, ENTRY_SNAPSHOT, KIND_RESTORE
cdef uint64_t BATCH_HEADER, BATCH_CHECKED, BLOCK, SECTOR, LENGTH_MAX, LOOK_AHEAD
cdef uint64_t BATCH_CHAIN_AT, BATCH_COMMIT_AT, BATCH_COUNT_AT, BATCH_CRC_AT, BATCH_FLAGS_AT, BATCH_INCARNATION_AT
cdef uint64_t BATCH_KIND_AT, BATCH_LENGTH_AT, BATCH_MAGIC_AT, BATCH_NUMBER_AT, BATCH_RECORDS_CRC_AT, BATCH_SEGMENT_AT
cdef uint64_t BATCH_TERM_AT, BATCH_VOTE_AT, BATCH_ZEROS_AT
cdef uint64_t ENTRY_HEADER, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH, RECORD_TERM

cdef uint32_t count_zero_sectors(Buffer buffer, uint64_t size) noexcept nogil

@cython.final
cdef class Reader:
    cdef readonly Buffer buffer
    cdef readonly bint torn, in_doubt
    cdef readonly uint32_t kind, previous_crc, count
    cdef readonly uint64_t batch_number, length, batch_bytes, term, vote, commit, incarnation
    cdef readonly uint64_t last_index, last_term, base, highest, founded
    cdef readonly bint replaces, loose, joined
    cdef readonly list pieces, changes
    cdef readonly tuple restored
    cdef public dict places
    cdef readonly str reason
    cdef bint note(self, uint64_t at, uint64_t index) noexcept nogil
    cdef bint is_header(self, uint64_t at) noexcept nogil
