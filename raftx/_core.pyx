"""The hot structures: entry log, inflight windows, flow control, framing codec.

Each stands in an included file of its own, in raftx/_core/; together they are one module, in which a call from one to
another costs nothing. _core.py is the readable definition of the same behaviour; both change together. What may not
stand here: rules of Raft, I/O, clocks, threads, anything that is not one of the structures of _core.pxd.

Entry bytes are written once, when the leader appends them or a follower receives them, and never
move while a Span refers to them. Pointers handed out by nogil methods are valid until the owner's
next change. The memory itself is _native/memory's, messages and rows are _native/outbox's.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.number cimport PyNumber_Index as integer
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from ._native.layout cimport (
    FRAME_CLUSTER_BYTES, ENTRY_HEADER, FRAME_CLUSTER, FRAME_CRC, FRAME_FLAGS, FRAME_GROUP, FRAME_HEADER, FRAME_INCARNATION,
    FRAME_LENGTH, FRAME_LIMIT, FRAME_MAGIC, FRAME_MAGIC_VALUE,
    FRAME_RECIPIENT, FRAME_SENDER, FRAME_VERSION, LIMIT_UNIT, MEMBERSHIP_AUTO_LEAVE,
    MEMBERSHIP_HEAD, MESSAGE_COMMIT, MESSAGE_CONTEXT, MESSAGE_COUNT, MESSAGE_FLAGS, MESSAGE_HEADER, MESSAGE_HINT,
    MESSAGE_INDEX, MESSAGE_KIND, MESSAGE_LOG_TERM, MESSAGE_SIZE, MESSAGE_TERM, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH,
    RECORD_TERM, RECORD_TIME, TIME_UNIT,
)

from .errors import Corruption, FrameError
from .types import LOCAL_KINDS, MESSAGE_NAMES

cdef extern from "_native/memory.h":
    void raftx_crc_init() noexcept nogil
    uint32_t raftx_crc32(uint32_t, const uint8_t*, size_t) noexcept nogil
    uint32_t LD32(const uint8_t*) noexcept nogil
    uint64_t LD64(const uint8_t*) noexcept nogil
    void ST32(uint8_t*, uint32_t) noexcept nogil
    void ST64(uint8_t*, uint64_t) noexcept nogil
    void record_place(uint8_t*, const uint8_t*, size_t, uint64_t, uint64_t, uint64_t) noexcept nogil
    void record_stamp(uint8_t*, uint64_t) noexcept nogil
    void record_seal(uint8_t*) noexcept nogil
    size_t record_size(const uint8_t*, size_t) noexcept nogil
    bint record_valid(const uint8_t*, size_t) noexcept nogil

raftx_crc_init()

cdef uint64_t NUMBER_LIMIT = <uint64_t>1 << 63

include "_core/log.pxi"
include "_core/flow.pxi"
include "_core/codec.pxi"
