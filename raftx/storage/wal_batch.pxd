import cython
from libc.stdint cimport uint32_t, uint64_t
from .._native.files cimport File
from .._native.memory cimport Buffer, Cursor, Spans
from . cimport wal_header, wal_reader

cdef size_t PARTS_MAX
cdef uint32_t ENTRY_SNAPSHOT, KIND_RESTORE
cdef uint64_t BATCH_COUNT_AT, BATCH_CRC_AT, BATCH_HEADER, BATCH_KIND_AT, BATCH_RECORDS_CRC_AT, BATCH_ZEROS_AT
cdef uint64_t BLOCK, ENTRY_HEADER, LARGE, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH, SECTOR

@cython.final
cdef class Batch:
    cdef Buffer head, header
    cdef Spans spans
    cdef uint64_t zeros
    cdef readonly uint64_t size, last, highest, base
    cdef readonly uint32_t kind, count
    cdef Cursor cursor
    cdef int fill(self, Spans spans, uint32_t kind, Buffer header) except -1 nogil
    @cython.locals(end=uint64_t, span=size_t, kind=uint32_t)
    cdef bint refer(self, Spans spans) except -1 nogil
    cdef int copy(self, Spans spans, Buffer header) except -1 nogil
    @cython.locals(at=uint64_t)
    cdef int note_indexes(self, uint64_t length, Buffer header) except -1 nogil
    @cython.locals(length=uint64_t)
    cdef int describe(self, uint64_t term, uint64_t vote, uint64_t commit, uint32_t flags) except -1 nogil
    cdef int write(self, File file, uint64_t position) noexcept nogil
    cdef uint32_t crc(self) noexcept nogil
    cdef int clear(self) noexcept nogil
