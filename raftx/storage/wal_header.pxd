import cython
from libc.stdint cimport uint32_t, uint64_t
from .._native.memory cimport Buffer
from . cimport wal_reader

cdef uint64_t BLOCK, COUNTS, IDS_AT, ENTRY_HEADER, RECORD_INDEX, RECORD_LENGTH, RECORD_TERM
cdef uint64_t HEAD_BASE_AT, HEAD_BASE_TERM_AT, HEAD_MEMBERS_AT, HEAD_USED_AT, HEAD_ZEROS_AT

cdef uint64_t membership_size(Buffer buffer, uint64_t at) noexcept nogil
cdef int copy_words(Buffer source, uint64_t start, Buffer target, uint64_t at, uint64_t size) noexcept nogil
cdef int put_behind(Buffer header, Buffer records, uint64_t at, Buffer out) except -1 nogil
