import cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef size_t ENTRY_HEADER, RECORD_LENGTH, RECORD_INDEX, RECORD_TERM, RECORD_KIND
cdef size_t DATA_MAX

@cython.locals(value=uint32_t)
cdef uint32_t u32(const uint8_t* body, size_t at) noexcept nogil
@cython.locals(value=uint64_t)
cdef uint64_t u64(const uint8_t* body, size_t at) noexcept nogil
cdef size_t record_size(const uint8_t* body, size_t at, size_t end) noexcept nogil
