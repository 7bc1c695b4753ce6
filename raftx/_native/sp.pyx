"""SP's framing, as NNG has it over TCP and IPC: bytes of a stream in, frames out, and the other way round.

sp.py is the twin in plain Python. No sockets and no Raft: who has a stream feeds what came of it, in whatever pieces.
A message stands behind its length in 8 bytes, big-endian; over IPC there is a byte 01 before that. A length is held
against a limit before anything is allocated, and no more is allocated than twice what has come of a frame, unless who
sends is trusted.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from .checks cimport check, check_index, check_part
from .memory cimport block_ref, block_unref

from ..errors import TransportError

#: of a socket that sends, and of one that receives
PUSH_GREETING = b"\0SP\0\0\x50\0\0"
PULL_GREETING = b"\0SP\0\0\x51\0\0"

cdef enum:
    LENGTH = 8
    LARGE_PART = 4          # of a limit: a larger frame is a large one
    MARK = 1                              # what stands before a length, over IPC
    KEEP = 16 << 10                       # bytes of a buffer that is kept for the next frame
    SPARE = 2 << 20                       # likewise, of a peer that sends large ones, and of what is to be sent to one


cdef void _inflow_clear(Inflow* f) noexcept nogil:
    # Forget what has come, and give its memory back.
    cdef bint ipc = f.ipc
    free(f.kept)
    memset(f, 0, sizeof(Inflow))
    f.ipc = ipc


cdef void _inflow_feed(Inflow* f, const uint8_t* data, size_t size) noexcept nogil:
    # What has come. It stays where it is until _inflow_next has said that there is no more in it.
    check(f.fresh_size == 0)
    f.fresh = data
    f.fresh_size = size


cdef bint _grow(Inflow* f) noexcept nogil:
    # Room for more of the frame: at most twice what has come of it, so that a length alone costs nothing to who is not
    # known. Of those that are, the whole frame: it is read in few pieces, and not moved as it grows.
    cdef size_t room = f.need if f.trusted else min(f.need, max(<size_t>KEEP, 2 * f.kept_size))
    cdef uint8_t* made
    if f.kept_room >= room:
        return True
    made = <uint8_t*>realloc(f.kept, room)
    if made == NULL:
        return False
    f.kept = made
    f.kept_room = room
    return True


cdef int _inflow_next(Inflow* f, size_t limit) noexcept nogil:
    # Make the next frame the present one (data, size) until the next call: SP_FRAME, or why not.
    cdef size_t size
    cdef uint64_t length = 0
    cdef int i, whole = LENGTH + (1 if f.ipc else 0)
    if f.given:
        f.given = False
        f.kept_size = 0
        if f.kept_room > (<size_t>SPARE if f.trusted else <size_t>KEEP):
            free(f.kept)
            f.kept = NULL
            f.kept_room = 0
    if not f.in_body:
        size = min(<size_t>(whole - f.head_size), f.fresh_size)
        check_part(f.head_size, size, 9)
        memcpy(f.head + f.head_size, f.fresh, size)
        f.head_size += <int>size
        f.fresh += size
        f.fresh_size -= size
        if f.ipc and f.head_size and f.head[0] != MARK:
            return SP_WRONG
        if f.head_size < whole:
            return SP_MORE
        for i in range(whole - LENGTH, whole):
            length = <uint64_t>length << 8 | f.head[i]
        if length > limit:
            return SP_WRONG
        f.need = <size_t>length
        f.head_size = 0
        f.in_body = True
    if f.kept_size == 0 and f.fresh_size >= f.need:
        f.data = f.fresh
        f.fresh += f.need
        f.fresh_size -= f.need
    else:
        while f.kept_size < f.need:
            if f.fresh_size == 0:
                return SP_MORE
            if not _grow(f):
                return SP_NO_MEMORY
            size = min(min(f.need, f.kept_room) - f.kept_size, f.fresh_size)
            check_part(f.kept_size, size, f.kept_room)
            memcpy(f.kept + f.kept_size, f.fresh, size)
            f.kept_size += size
            f.fresh += size
            f.fresh_size -= size
        f.data = f.kept
        f.given = True
    f.size = f.need
    f.in_body = False
    return SP_FRAME


cdef size_t _inflow_place(Inflow* f, uint8_t** place, bint* whole) noexcept nogil:
    # Where what comes next of a frame that has begun can be read to at once, and how much; 0: nowhere. whole: all that
    # is left of it, so that what comes behind is not of this frame. Not while a frame is given.
    if not f.in_body or f.given or f.fresh_size or not _grow(f):
        return 0
    place[0] = f.kept + f.kept_size
    whole[0] = f.kept_room >= f.need
    return min(f.need, f.kept_room) - f.kept_size


cdef void _inflow_placed(Inflow* f, size_t size) noexcept nogil:
    check_part(f.kept_size, size, f.kept_room)
    f.kept_size += size


cdef void _outflow_clear(Outflow* o) noexcept nogil:
    # Nothing of it is sent any more.
    cdef bint ipc = o.ipc
    cdef size_t i
    for i in range(o.first, o.made):
        block_unref(o.pieces[i].block)
    free(o.pieces)
    free(o.data)
    memset(o, 0, sizeof(Outflow))
    o.ipc = ipc


cdef void _to_the_front(Outflow* o) noexcept nogil:
    # What waits is moved to the beginning of the buffer.
    cdef size_t i
    if o.end > o.start:
        memmove(o.data, o.data + o.start, o.end - o.start)
    for i in range(o.first, o.last):
        o.pieces[i].at -= o.start
    o.end -= o.start
    o.start = 0


cdef uint8_t* _outflow_reserve(Outflow* o, size_t size, size_t copied, size_t limit) noexcept nogil:
    # The place for a frame behind all others, or for ``copied`` bytes of it if the others are referred to; NULL when
    # more than ``limit`` bytes would wait, or without memory. One frame alone may always wait, and a large one behind as
    # much as the limit.
    cdef size_t head = LENGTH + (1 if o.ipc else 0), waiting = _outflow_waiting(o), own = o.end - o.start
    cdef size_t whole = head + size, place = head + copied, room
    cdef int i
    cdef uint8_t* made
    while o.made > o.last:                # of a frame that was not committed
        o.made -= 1
        block_unref(o.pieces[o.made].block)
    o.short = False
    if waiting and waiting + whole > limit and (whole <= limit // LARGE_PART or waiting > limit):
        return NULL
    if o.end + place > o.room:
        # Moved when that frees half, so that what waits is not moved again and again.
        if own == 0 or (o.start >= o.room // 2 and own + place <= o.room):
            _to_the_front(o)
        if o.end + place > o.room:
            room = max(o.end + place, max(<size_t>KEEP, 2 * o.room))
            made = <uint8_t*>realloc(o.data, room)
            if made == NULL:
                return NULL
            o.data = made
            o.room = room
    check_part(o.end, place, o.room)
    made = o.data + o.end
    if o.ipc:
        made[0] = MARK
        made += 1
    for i in range(LENGTH):
        made[i] = <uint8_t>(<uint64_t>size >> (8 * (LENGTH - 1 - i)))
    o.written = place
    return made + LENGTH


cdef void _outflow_refer(Outflow* o, size_t at, Spans spans) noexcept nogil:
    # Behind ``at`` of the reserved bytes come these spans, which are emptied: they are not copied, but referred to. In
    # the order of their places.
    cdef size_t i, room, head = LENGTH + (1 if o.ipc else 0)
    cdef Piece* pieces
    check_part(head, at, o.written)
    if o.made + spans.count > o.piece_room:
        if o.first:
            memmove(o.pieces, o.pieces + o.first, (o.made - o.first) * sizeof(Piece))
            o.last -= o.first
            o.made -= o.first
            o.first = 0
        if o.made + spans.count > o.piece_room:
            room = 2 * (o.made + spans.count)
            pieces = <Piece*>realloc(o.pieces, room * sizeof(Piece))
            if pieces == NULL:
                o.short = True
                spans.clear()
                return
            o.pieces = pieces
            o.piece_room = room
    for i in range(spans.count):
        if spans.items[i].size == 0:
            continue
        check_index(o.made, o.piece_room)
        block_ref(spans.items[i].block)
        o.pieces[o.made].at = o.end + head + at
        o.pieces[o.made].block = spans.items[i].block
        o.pieces[o.made].data = spans.items[i].data
        o.pieces[o.made].size = spans.items[i].size
        o.made += 1
    spans.clear()


cdef bint _outflow_commit(Outflow* o) noexcept nogil:
    # The reserved frame is written: it is to be sent. False, and it is not, when there was no memory for its pieces.
    if o.short:
        return False
    check_part(o.end, o.written, o.room)
    o.end += o.written
    o.written = 0
    o.most = max(o.most, o.end)
    while o.last < o.made:
        o.referred += o.pieces[o.last].size
        o.last += 1
    return True


cdef int _outflow_gather(const Outflow* o, iovec* parts, int most) noexcept nogil:
    # Where what is to be sent lies, as far as so many parts tell it.
    cdef size_t at = o.start, to, i = o.first
    cdef int count = 0
    while count < most:
        to = o.pieces[i].at if i < o.last else o.end
        if at < to:
            parts[count].iov_base = o.data + at
            parts[count].iov_len = to - at
            at = to
        elif i < o.last:
            parts[count].iov_base = <void*>o.pieces[i].data
            parts[count].iov_len = o.pieces[i].size
            i += 1
        else:
            break
        count += 1
    return count


cdef void _outflow_sent(Outflow* o, size_t size) noexcept nogil:
    # So much has been taken, which may end anywhere.
    cdef size_t step, to
    cdef Piece* piece
    check(size <= _outflow_waiting(o))
    check(o.made == o.last)
    while size:
        to = o.pieces[o.first].at if o.first < o.last else o.end
        if o.start < to:
            step = min(size, to - o.start)
            o.start += step
        else:
            check_index(o.first, o.last)
            piece = &o.pieces[o.first]
            step = min(size, piece.size)
            piece.data += step
            piece.size -= step
            o.referred -= step
            if piece.size == 0:
                block_unref(piece.block)
                o.first += 1
        size -= step
    if _outflow_waiting(o) == 0:
        o.start = o.end = 0
        o.first = o.last = o.made = 0
        if o.room > SPARE and o.most < o.room // 4:
            # Much larger than what goes now. What goes again and again keeps its memory: it is dear when it is fresh.
            free(o.data)
            o.data = NULL
            o.room = 0
        o.most = 0


cdef class SpReader:
    """Takes a stream apart. ``limit``: bytes that a frame may have. For one thread."""

    def __cinit__(self, size_t limit, bint ipc=False):
        self.limit = limit
        self.state.ipc = ipc
        self.held = b""

    def __dealloc__(self):
        free(self.state.kept)

    def feed(self, bytes data not None):
        """What came next; the frames that are whole now. Raises TransportError for what is not SP, or too long."""
        cdef int code = SP_MORE
        found = []
        if self.failed:
            raise TransportError("the stream has failed before")
        self.held = data
        _inflow_feed(&self.state, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        code = _inflow_next(&self.state, self.limit)
        while code == SP_FRAME:
            found.append(PyBytes_FromStringAndSize(<const char*>self.state.data, self.state.size))
            code = _inflow_next(&self.state, self.limit)
        self.held = b""
        if code == SP_NO_MEMORY:
            self.failed = True
            raise MemoryError()
        if code != SP_MORE:
            self.failed = True
            raise TransportError("what came is no SP message, or one that is too long")
        return found

    def room(self):
        """Bytes that are held for a frame of which not all has come."""
        return self.state.kept_room


cdef class SpWriter:
    """Makes a stream. ``limit``: bytes that may wait to be sent, unless it is one frame. For one thread."""

    def __cinit__(self, size_t limit, bint ipc=False):
        self.limit = limit
        self.state.ipc = ipc

    def __dealloc__(self):
        _outflow_clear(&self.state)

    def put(self, bytes frame not None, Spans spans=None, size_t at=0):
        """Let a frame wait; False when there is no room for it. Raises ValueError.

        With ``spans``, which are empty afterwards, they are part of the frame behind ``at`` bytes of it, from where they
        lie.
        """
        cdef size_t size = PyBytes_GET_SIZE(frame)
        cdef uint8_t* place
        if at > size:
            raise ValueError("at must be in the frame")
        place = _outflow_reserve(&self.state, size + (spans.size if spans is not None else 0), size, self.limit)
        if place == NULL:
            return False
        memcpy(place, PyBytes_AS_STRING(frame), size)
        if spans is not None:
            _outflow_refer(&self.state, at, spans)
        return bool(_outflow_commit(&self.state))

    def waiting(self):
        """What is to be sent."""
        cdef int i, count = 2 * <int>(self.state.last - self.state.first) + 1
        cdef iovec* parts = <iovec*>malloc(count * sizeof(iovec))
        if parts == NULL:
            raise MemoryError()
        try:
            count = _outflow_gather(&self.state, parts, count)
            return b"".join([
                PyBytes_FromStringAndSize(<const char*>parts[i].iov_base, parts[i].iov_len) for i in range(count)
            ])
        finally:
            free(parts)

    def sent(self, size_t size):
        """So much of it has been sent. Raises ValueError for more than there is."""
        if size > _outflow_waiting(&self.state):
            raise ValueError("so much was not waiting")
        _outflow_sent(&self.state, size)

    def room(self):
        """Bytes that the buffer holds."""
        return self.state.room
