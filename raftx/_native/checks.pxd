# What a debug build looks at, and other builds do not: see check.h. One comparison each, without calls: its text is what
# is written when it does not hold, and other builds are to drop it whole. checks.py is the twin; nothing is compiled from it.
cdef extern from "_native/check.h":
    enum:
        DEBUG "RAFTX_CHECKED"             # for what can raise: ``if DEBUG and ...: raise`` is not compiled elsewhere
    void check "raftx_check"(bint holds) noexcept nogil
    void check_index "raftx_check_index"(size_t index, size_t count) noexcept nogil              # 0 <= index < count
    void check_part "raftx_check_part"(size_t offset, size_t size, size_t whole) noexcept nogil  # [offset, offset + size)
