from libc.stdint cimport uint32_t, uint64_t

cdef uint64_t BLOCK, KEPT_MOST, KEPT_PART
cdef uint32_t KIND_ENTRIES, KIND_OPEN

cdef uint64_t kept(uint64_t size) noexcept nogil
cdef uint64_t end_for(uint64_t size, uint64_t usual, uint32_t kind, uint64_t batch) noexcept nogil
cdef uint64_t room_for(uint64_t size, uint64_t usual, uint64_t offset, uint64_t batch) noexcept nogil
