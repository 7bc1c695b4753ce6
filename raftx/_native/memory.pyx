"""Memory that holds entries and frames: blocks, buffers, spans, records and cursors over them.

memory.py is the readable definition of the same behaviour; both change together. What may not stand
here: messages (outbox has them), log and frames (_core has them), rules of Raft, I/O, clocks, threads.

Memory: a Block is append-only, counted atomically and freed with its last reference. Whoever holds
a Span holds a reference. Pointers handed out by nogil methods are valid until the owner's next change.
"""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.number cimport PyNumber_Index as integer
from libc.stdint cimport SIZE_MAX
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from .checks cimport DEBUG
from .layout cimport (
    ENTRY_HEADER, ENVELOPE, RECORD_INCARNATION, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH, RECORD_ORIGIN, RECORD_SEQUENCE,
    RECORD_TERM, RECORD_TIME, TIME_UNIT,
)

from ..errors import FrameError

cdef extern from "_native/memory.h":
    void raftx_crc_init() noexcept nogil
    uint32_t raftx_crc32(uint32_t, const uint8_t*, size_t) noexcept nogil
    uint32_t LD32(const uint8_t*) noexcept nogil
    uint64_t LD64(const uint8_t*) noexcept nogil
    void ST32(uint8_t*, uint32_t) noexcept nogil
    void ST64(uint8_t*, uint64_t) noexcept nogil
    uint8_t* raftx_alloc(size_t, size_t) noexcept nogil
    void record_seal(uint8_t*) noexcept nogil
    size_t record_size(const uint8_t*, size_t) noexcept nogil
    bint record_valid(const uint8_t*, size_t) noexcept nogil
    void record_make(uint8_t*, const uint8_t*, size_t) noexcept nogil

raftx_crc_init()


cdef uint32_t crc32(uint32_t seed, const uint8_t* data, size_t size) noexcept nogil:
    return raftx_crc32(seed, data, size)


def is_debug():
    """Whether this build looks at indexes and invariants, and ends the process where one does not hold."""
    return bool(DEBUG)


def py_crc32(data, seed=0):
    """zlib.crc32, computed by the same code that the nogil paths use."""
    cdef const uint8_t[::1] view = data
    cdef uint32_t crc = integer(seed)
    if view.shape[0] < 4096:
        return raftx_crc32(crc, &view[0] if view.shape[0] else NULL, view.shape[0])
    with nogil:
        crc = raftx_crc32(crc, &view[0], view.shape[0])
    return crc


# --- blocks --------------------------------------------------------------------------------------

cdef Block* block_new(size_t capacity) except NULL nogil:
    cdef Block* block = <Block*>malloc(BLOCK_HEAD + capacity)
    if block == NULL:
        with gil:
            raise MemoryError()
    block.refs = 1
    block.capacity = capacity
    block.used = 0
    return block


cdef class View:
    """Read-only buffer over a piece of a Block; the bytes stay while a view of them exists."""

    def __dealloc__(self):
        block_unref(self.block)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("the buffers of raftx are read-only")
        buffer.buf = <void*>self.data
        buffer.obj = self
        buffer.len = self.size
        buffer.itemsize = self.itemsize
        buffer.readonly = 1
        buffer.ndim = 1
        buffer.format = <char*>self.format if flags & PyBUF_FORMAT else NULL
        self.shape[0] = self.size // self.itemsize
        self.strides[0] = self.itemsize
        buffer.shape = self.shape if flags & PyBUF_ND else NULL
        buffer.strides = self.strides if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def __len__(self):
        return self.size // self.itemsize

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size)


cdef View view_of(Block* block, const void* data, size_t size, const char* format, int itemsize) with gil:
    cdef View view = View.__new__(View)
    block_ref(block)
    view.block = block
    view.data = data
    view.size = size
    view.format = format
    view.itemsize = itemsize
    return view


cdef class Buffer:
    """Growable bytes with little-endian numbers at any offset; ``alignment`` is that of its memory."""

    def __cinit__(self, alignment=0):
        self.alignment = integer(alignment)
        if self.alignment & (self.alignment - 1) or (self.alignment and self.alignment < sizeof(void*)):
            raise ValueError("alignment must be a power of two of at least 8, or 0")
        self.data = NULL
        self.size = self.capacity = 0

    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, size_t extra) except -1 nogil:
        if not self.try_reserve(extra):
            raise MemoryError()
        return 0

    cdef bint try_reserve(self, size_t extra) noexcept nogil:
        cdef size_t room = max(self.capacity, <size_t>4096)
        cdef uint8_t* data
        check(self.size <= self.capacity)
        if extra <= self.capacity - self.size:
            return True
        if extra > SIZE_MAX // 2 - self.size:
            return False
        while room < self.size + extra:
            room *= 2
        data = raftx_alloc(self.alignment, room)
        if data == NULL:
            return False
        if self.size:
            memcpy(data, self.data, self.size)
        free(self.data)
        self.data = data
        self.capacity = room
        return True

    cdef void clear(self) noexcept nogil:
        self.size = 0

    cdef void swap(self, Buffer other) noexcept nogil:
        self.data, other.data = other.data, self.data
        self.size, other.size = other.size, self.size
        self.capacity, other.capacity = other.capacity, self.capacity
        self.alignment, other.alignment = other.alignment, self.alignment

    cdef int put(self, const uint8_t* data, size_t size) except -1 nogil:
        self.reserve(size)
        if size:
            memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    cdef int put_spans(self, Spans spans) except -1 nogil:
        cdef size_t i
        self.reserve(spans.size)
        for i in range(spans.count):
            self.put(spans.items[i].data, spans.items[i].size)
        return 0

    cdef int fill(self, size_t size) except -1 nogil:
        self.reserve(size)
        if size:
            memset(self.data + self.size, 0, size)
        self.size += size
        return 0

    cdef int pad(self, size_t alignment) except -1 nogil:
        cdef size_t over = self.size % alignment
        return self.fill(alignment - over) if over else 0

    cdef uint32_t get_u32(self, size_t offset) noexcept nogil:
        check_part(offset, 4, self.size)
        return LD32(self.data + offset)

    cdef uint64_t get_u64(self, size_t offset) noexcept nogil:
        check_part(offset, 8, self.size)
        return LD64(self.data + offset)

    cdef void set_u32(self, size_t offset, uint32_t value) noexcept nogil:
        check_part(offset, 4, self.size)
        ST32(self.data + offset, value)

    cdef void set_u64(self, size_t offset, uint64_t value) noexcept nogil:
        check_part(offset, 8, self.size)
        ST64(self.data + offset, value)

    cdef uint32_t crc(self, size_t offset, size_t size) noexcept nogil:
        check_part(offset, size, self.size)
        return raftx_crc32(0, self.data + offset, size)

    cdef bint zeros(self, size_t offset, size_t size) noexcept nogil:
        # Each byte equals the next one, and the first is zero.
        check_part(offset, size, self.size)
        return not size or (
            self.data[offset] == 0 and memcmp(self.data + offset, self.data + offset + 1, size - 1) == 0
        )

    cdef uint32_t records_crc(self, size_t offset, size_t size) noexcept nogil:
        cdef uint32_t crc = 0
        cdef size_t end = offset + size, step
        check_part(offset, size, self.size)
        while offset < end:
            step = record_size(self.data + offset, end - offset)
            if not step:
                break
            crc = raftx_crc32(crc, self.data + offset, 4)
            offset += step
        return crc

    cdef long check_records(self, size_t offset, size_t size, bint verify) noexcept nogil:
        cdef size_t end = offset + size, step
        cdef long count = 0
        check_part(offset, size, self.size)
        while offset < end:
            step = record_size(self.data + offset, end - offset)
            if not step or (verify and not record_valid(self.data + offset, step)):
                return -1
            offset += step
            count += 1
        return count

    cdef int put_proposal(self, int kind, uint64_t origin, uint64_t incarnation, uint64_t sequence,
                          const uint8_t* data, size_t size) except -1 nogil:
        self.reserve(ENTRY_HEADER + ENVELOPE + size)
        self.append_proposal(kind, origin, incarnation, sequence, data, size)
        return 0

    cdef void append_proposal(self, int kind, uint64_t origin, uint64_t incarnation, uint64_t sequence,
                              const uint8_t* data, size_t size) noexcept nogil:
        cdef uint8_t* p = self.data + self.size
        check_part(self.size, ENTRY_HEADER + ENVELOPE + size, self.capacity)
        memset(p, 0, ENTRY_HEADER)
        ST32(p + RECORD_LENGTH, <uint32_t>(ENVELOPE + size))
        p[RECORD_KIND] = <uint8_t>kind
        ST64(p + RECORD_ORIGIN, origin)
        ST64(p + RECORD_INCARNATION, incarnation)
        ST64(p + RECORD_SEQUENCE, sequence)
        if size:
            memcpy(p + ENTRY_HEADER + ENVELOPE, data, size)
        self.size += ENTRY_HEADER + ENVELOPE + size

    def __len__(self):
        return self.size

    def tobytes(self):
        """A copy of the content."""
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size) if self.size else b""

    def py_put(self, data):
        """Append bytes."""
        cdef bytes b = bytes(data)
        self.put(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b))

    def py_clear(self):
        """Drop all; the memory stays for what comes next."""
        self.clear()


cdef class Spans:
    """Pieces of blocks in order, each holding a reference."""

    def __cinit__(self):
        self.items = NULL
        self.count = self.capacity = self.size = 0

    def __dealloc__(self):
        self.clear()
        free(self.items)

    cdef int _grow(self) except -1 nogil:
        cdef size_t room = self.capacity * 2 if self.capacity else 8
        cdef Span* items = <Span*>realloc(self.items, room * sizeof(Span))
        if items == NULL:
            raise MemoryError()
        self.items = items
        self.capacity = room
        return 0

    cdef int push_copy(self, const uint8_t* data, size_t size, uint64_t first, uint32_t entries) except -1 nogil:
        cdef Block* block = block_new(size)
        if size:
            memcpy(block_data(block), data, size)
        block.used = size
        self.push(block, block_data(block), size, first, entries)
        block_unref(block)
        return 0

    cdef int push_shared(self, Spans other, size_t span) except -1 nogil:
        check_index(span, other.count)
        return self.push(
            other.items[span].block, other.items[span].data, other.items[span].size, other.items[span].first,
            other.items[span].count,
        )

    cdef int take(self, Spans other) except -1 nogil:
        cdef size_t i
        cdef Span* span
        if not self.count:
            self.swap(other)
            return 0
        for i in range(other.count):
            span = &other.items[i]
            self.push(span.block, span.data, span.size, span.first, span.count)
        other.clear()
        return 0

    cdef void swap(self, Spans other) noexcept nogil:
        self.items, other.items = other.items, self.items
        self.count, other.count = other.count, self.count
        self.size, other.size = other.size, self.size
        self.capacity, other.capacity = other.capacity, self.capacity

    cdef uint32_t records_crc(self) noexcept nogil:
        cdef uint32_t crc = 0
        cdef size_t i, at, step
        for i in range(self.count):
            at = 0
            while at < self.items[i].size:
                step = record_size(self.items[i].data + at, self.items[i].size - at)
                if not step:
                    return crc
                crc = raftx_crc32(crc, self.items[i].data + at, 4)
                at += step
        return crc

    cdef size_t zero_parts(self, size_t before, size_t size) noexcept nogil:
        cdef size_t i, at, step, count = 0, place = before % size
        cdef const uint8_t* p
        # Invariant: of the part that is not at its end yet, everything is zero
        cdef bint zero = False
        for i in range(self.count):
            p = self.items[i].data
            at = 0
            while at < self.items[i].size:
                step = min(size - place, self.items[i].size - at)
                # Each byte equals the next one, and the first is zero.
                zero = (zero or not place) and p[at] == 0 and memcmp(p + at, p + at + 1, step - 1) == 0
                at += step
                place = (place + step) % size
                if not place:
                    count += zero
        return count + (zero and place != 0)

    cdef const uint8_t* data_at(self, size_t span) noexcept nogil:
        check_index(span, self.count)
        return self.items[span].data

    cdef size_t size_at(self, size_t span) noexcept nogil:
        check_index(span, self.count)
        return self.items[span].size

    def __len__(self):
        return self.count

    def tobytes(self):
        """All bytes, joined."""
        return b"".join([bytes(piece) for piece in self.pieces()])

    def pieces(self):
        """A read-only view of each span."""
        return [
            view_of(self.items[i].block, self.items[i].data, self.items[i].size, b"B", 1) for i in range(self.count)
        ]

    def firsts(self):
        """The ``first`` of each span."""
        return [self.items[i].first for i in range(self.count)]

    def entries(self):
        """The entries of all spans, taken as they are: nothing is verified but that records are whole."""
        cdef size_t i, left, step
        cdef const uint8_t* p
        out = []
        for i in range(self.count):
            p = self.items[i].data
            left = self.items[i].size
            while left:
                step = record_size(p, left)
                if not step:
                    raise FrameError("records")
                out.append(entry_at(p))
                p += step
                left -= step
        return out

    def py_push(self, data, first=0, entries=0):
        """Append a copy of bytes."""
        cdef bytes b = bytes(data)
        self.push_copy(
            <const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b), integer(first), integer(entries)
        )

    def py_push_record(self, data):
        """Append the record of an entry of kind, index and term 0 with these bytes, or those of a Buffer.

        Raises OverflowError.
        """
        cdef const uint8_t[::1] view
        cdef const uint8_t* start = NULL
        cdef size_t size
        cdef Block* block
        if isinstance(data, Buffer):
            start = (<Buffer>data).data
            size = (<Buffer>data).size
        elif data is None:
            raise TypeError("data must be bytes, or a Buffer")
        else:
            view = data
            size = view.shape[0]
            if size:
                start = &view[0]
        if size > <size_t>1 << 31:
            raise OverflowError("data of an entry must not exceed 2^31 bytes")
        block = block_new(ENTRY_HEADER + size)
        record_make(block_data(block), start, size)
        block.used = ENTRY_HEADER + size
        try:
            self.push(block, block_data(block), block.used, 0, 1)
        finally:
            block_unref(block)

    def py_records_crc(self):
        """CRC-32 over the checksums of the records, in order; as far as they are whole."""
        return self.records_crc()

    def py_zero_parts(self, before, size):
        """How many parts of ``size`` bytes hold zeros only; ``before`` bytes that are not zeros stand in front."""
        cdef size_t ahead = integer(before), each = integer(size)
        if not each:
            raise ValueError("size must be at least 1")
        return self.zero_parts(ahead, each)

    def py_clear(self):
        """Drop all."""
        self.clear()


cdef class Cursor:
    """Walks entry records without copying them; ``payload`` makes the bytes that Python gets."""

    cdef void open(self, Spans spans, size_t span) noexcept nogil:
        check_index(span, spans.count)
        self.place = spans.items[span].data
        self.left = spans.items[span].size

    cdef bint next(self) noexcept nogil:
        cdef size_t step = record_size(self.place, self.left)
        cdef const uint8_t* p = self.place
        if not step:
            return False
        self.index = LD64(p + RECORD_INDEX)
        self.term = LD64(p + RECORD_TERM)
        self.kind = p[RECORD_KIND]
        self.time = LD64(p + RECORD_TIME) // TIME_UNIT * TIME_UNIT
        self.data = p + ENTRY_HEADER
        self.size = step - ENTRY_HEADER
        if self.size >= ENVELOPE:
            self.origin = LD64(p + RECORD_ORIGIN)
            self.incarnation = LD64(p + RECORD_INCARNATION)
            self.sequence = LD64(p + RECORD_SEQUENCE)
        else:
            self.origin = self.incarnation = self.sequence = 0
        self.place += step
        self.left -= step
        return True

    cdef object payload(self, size_t skip) with gil:
        if skip >= self.size:
            return b""
        return PyBytes_FromStringAndSize(<const char*>self.data + skip, self.size - skip)


cdef class Entry:
    """Entry(index, term, data, kind=0, time=0, session=None, session_sequence=0)\n--\n\n\
    One entry of the log: what a state machine's ``apply`` is given. Immutable; equal where all fields are.

    To test a state machine, make one by hand, with keyword arguments::

        machine.apply(raftx.Entry(index=7, term=1, data=b"set color blue", time=1_767_225_600 * 10**9))

    index: its place in the log, 0..2^64-1; the first is 1, and each is larger than the one before, not always by 1:
    entries of the cluster's own stand between. term: of the leader that appended it, 0..2^64-1, never less than before.
    data: the command as it was proposed, bytes. kind: what it is, 0..255; 0, a command, in all that a state machine is
    given. time: when its leader appended it, in nanoseconds since the epoch, 0..2^64-1, rounded down to a multiple of
    256; 0: it is not known yet, as it may be in the first entries of a cluster. It is the same on every member, and
    never less than before. session, session_sequence: of what a session proposed, the id of the session, 16 bytes, and
    the number of the proposal in it, from 1; None and 0 of all else.

    Raises TypeError for what is of another type, OverflowError for a number out of these bounds.
    """

    def __init__(self, index, term, bytes data not None, kind=0, time=0, bytes session=None, session_sequence=0):
        cdef uint64_t at = integer(index), its = integer(term), when = integer(time), sequence = integer(session_sequence)
        cdef int number = integer(kind)
        if not 0 <= number <= 255:
            raise OverflowError("kind must be in 0..255")
        self.index = at
        self.term = its
        self.kind = number
        self.data = data
        self.time = when // TIME_UNIT * TIME_UNIT
        self.session = session
        self.session_sequence = sequence

    def encode(self):
        """The record: 32-byte header and data."""
        cdef Py_ssize_t size = len(self.data)
        cdef bytes out
        cdef uint8_t* p
        if size > <Py_ssize_t>1 << 31:
            raise OverflowError("data of an entry must not exceed 2^31 bytes")
        out = PyBytes_FromStringAndSize(NULL, ENTRY_HEADER + size)
        p = <uint8_t*>PyBytes_AS_STRING(out)
        memset(p, 0, ENTRY_HEADER)
        ST32(p + RECORD_LENGTH, <uint32_t>size)
        ST64(p + RECORD_INDEX, self.index)
        ST64(p + RECORD_TERM, self.term)
        ST64(p + RECORD_TIME, self.time + <uint64_t>self.kind)
        memcpy(p + ENTRY_HEADER, PyBytes_AS_STRING(self.data), size)
        record_seal(p)
        return out

    @staticmethod
    def decode_all(records, unsealed=False):
        """All entries of records that stand back to back; raises FrameError when one is not whole and valid.

        With ``unsealed``, a crc of 0 is taken as well: proposals have none until they leave the node.
        """
        cdef bytes b = bytes(records)
        cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(b)
        cdef size_t left = PyBytes_GET_SIZE(b), step
        cdef bint bare = unsealed
        out = []
        while left:
            step = record_size(p, left)
            if not step or not ((bare and LD32(p) == 0) or record_valid(p, step)):
                raise FrameError("records")
            out.append(entry_at(p))
            p += step
            left -= step
        return out

    @staticmethod
    def data_of(record, checked=True):
        """The data of one whole and valid record, where they are: a view of it. Raises FrameError.

        Without ``checked`` its crc is not looked at: for who has another one of the data.
        """
        cdef const uint8_t[::1] view = record
        cdef bint verify = checked
        cdef size_t size = view.shape[0], step = record_size(&view[0], size) if size else 0
        if not step or step != size or (verify and not record_valid(&view[0], step)):
            raise FrameError("records")
        return memoryview(record)[ENTRY_HEADER:]

    def __eq__(self, other):
        cdef Entry e
        if not isinstance(other, Entry):
            return NotImplemented
        e = <Entry>other
        return (
            self.index == e.index and self.term == e.term and self.kind == e.kind and self.data == e.data
            and self.time == e.time and self.session == e.session and self.session_sequence == e.session_sequence
        )

    def __hash__(self):
        return hash((self.index, self.term, self.kind, self.data, self.time))

    def __repr__(self):
        more = f", time={self.time}" if self.time else ""
        if self.session is not None:
            more += f", session={self.session!r}, session_sequence={self.session_sequence}"
        return f"Entry(index={self.index}, term={self.term}, kind={self.kind}, data=<{len(self.data)} bytes>{more})"

    def __reduce__(self):
        return (
            Entry,
            (self.index, self.term, self.data, self.kind, self.time, self.session, self.session_sequence),
        )


cdef Entry entry_at(const uint8_t* p):
    cdef Entry e = Entry.__new__(Entry)
    e.index = LD64(p + RECORD_INDEX)
    e.term = LD64(p + RECORD_TERM)
    e.kind = p[RECORD_KIND]
    e.time = LD64(p + RECORD_TIME) // TIME_UNIT * TIME_UNIT
    e.data = PyBytes_FromStringAndSize(<const char*>p + ENTRY_HEADER, LD32(p + RECORD_LENGTH))
    return e
