"""The framing codec. Part of _core.pyx; the twin is _twins/codec.py.

What a message means is not known here, only its form.
"""
cdef enum:
    KIND_PROP = 2
    KIND_APP = 3
    KIND_SNAP = 7
    KIND_READ = 15
    KIND_READ_RESP = 16
    KIND_CHUNK = 37
    KIND_MEET = 38
    KIND_CHANGE = 40
    KIND_SEEN = 43
    REFER_FROM = 256 << 10  # a body of so many bytes need not be copied into a frame
    ENTRY_KINDS = 3         # as etcd has them, of entries that stand in a log; the next one is a snapshot's
    SESSION_ENTRY = 4       # and raftx's own

cdef uint64_t wire_kinds = 0
for _kind in MESSAGE_NAMES:
    if _kind not in LOCAL_KINDS:
        wire_kinds |= <uint64_t>1 << <int>_kind
del _kind

REASONS = (
    "ok", "short", "magic", "version", "cluster", "group", "recipient", "length", "checksum", "kind", "range",
    "records", "sender", "identity", "seal", "replay",
)

cdef enum:
    FLAG_TOO_LARGE = 1    # of a frame: its sender has something for the recipient that is larger than it takes
    FLAG_NO_ROOM = 2      # its sender's disk is full
    FLAG_DOUBT = 4        # its sender is in doubt, or its disk says so
    FLAG_BEHIND = 8       # its sender's state machine is far behind
    OK = 0
    SHORT = 1
    MAGIC = 2
    VERSION = 3
    CLUSTER = 4
    GROUP = 5
    RECIPIENT = 6
    LENGTH = 7
    CHECKSUM = 8
    KIND = 9
    RANGE = 10
    RECORDS = 11
    SENDER = 12
    IDENTITY = 13         # its connection is another member's. The next two are a link's to find (_native/seal.pyx)

# Where everything stands in a frame and in a message is _native/layout's. The frame's crc covers the frame header before it and every
# message header; each record has its own.


cdef inline bint _may_stay(int kind, size_t body_size) noexcept nogil:
    # Of proposals a checksum is still to be written, so they are copied; a small body is cheaper to copy.
    return body_size >= REFER_FROM and kind != KIND_PROP


cdef class Codec:
    """Frames of one node of one cluster. Not shared between threads."""

    def __cinit__(self, bytes cluster not None, id, incarnation=0, group=0):
        if len(cluster) != FRAME_CLUSTER_BYTES:
            raise ValueError("cluster must be 16 bytes")
        memcpy(self.cluster, PyBytes_AS_STRING(cluster), FRAME_CLUSTER_BYTES)
        self.id = integer(id)
        if not 1 <= self.id < NUMBER_LIMIT:
            raise ValueError("id must be in 1..2^63-1")
        self.incarnation = integer(incarnation)
        self.group = integer(group)

    def announce(self, limit):
        """Tell in every frame from now on that frames of up to ``limit`` bytes are taken here.

        It is a multiple of 64 KiB, at most 65535 of them: a header has no room for less. Raises ValueError.
        """
        if not LIMIT_UNIT <= limit < 1 << 32 or limit % LIMIT_UNIT:
            raise ValueError("limit must be a multiple of 65536, from 65536 to 2^32 - 65536")
        self.limit_units = limit // LIMIT_UNIT

    cdef void mark(self) noexcept nogil:
        # In the frame that is being made: something for its recipient is larger than it takes.
        check(self.out_size >= FRAME_HEADER)
        self.out[FRAME_FLAGS] |= FLAG_TOO_LARGE

    cdef size_t measure(self, Outbox box, size_t row) noexcept nogil:
        check_index(row, box.tail - box.head)
        return MESSAGE_HEADER + box.rows[box.head + row].body_size

    cdef bint refers(self, Outbox box, size_t row) noexcept nogil:
        check_index(row, box.tail - box.head)
        return _may_stay(box.rows[box.head + row].kind, box.rows[box.head + row].body_size)

    cdef int begin(self, uint8_t* out, size_t size, uint64_t recipient) noexcept nogil:
        if size < FRAME_HEADER:
            return -1
        self.elsewhere = 0
        memset(out, 0, FRAME_HEADER)
        ST32(out + FRAME_MAGIC, FRAME_MAGIC_VALUE)
        out[FRAME_VERSION] = 1
        out[FRAME_FLAGS] = (FLAG_NO_ROOM if self.no_room else 0) | (FLAG_DOUBT if self.in_doubt else 0)
        if self.behind:
            out[FRAME_FLAGS] |= FLAG_BEHIND
        out[FRAME_LIMIT] = self.limit_units & 0xFF
        out[FRAME_LIMIT + 1] = self.limit_units >> 8
        memcpy(out + FRAME_CLUSTER, self.cluster, FRAME_CLUSTER_BYTES)
        ST64(out + FRAME_GROUP, self.group)
        ST64(out + FRAME_SENDER, self.id)
        ST64(out + FRAME_RECIPIENT, recipient)
        ST64(out + FRAME_INCARNATION, self.incarnation)
        self.out = out
        self.out_size = FRAME_HEADER
        self.out_room = size
        return 0

    cdef void _add_head(self, const Row* r) noexcept nogil:
        cdef uint8_t* p = self.out + self.out_size
        check_part(self.out_size, MESSAGE_HEADER, self.out_room)
        memset(p, 0, MESSAGE_HEADER)
        p[MESSAGE_KIND] = <uint8_t>r.kind
        p[MESSAGE_FLAGS] = <uint8_t>r.flags
        ST32(p + MESSAGE_COUNT, r.count)
        ST32(p + MESSAGE_SIZE, <uint32_t>r.body_size)
        ST64(p + MESSAGE_TERM, r.term)
        ST64(p + MESSAGE_LOG_TERM, r.log_term)
        ST64(p + MESSAGE_INDEX, r.index)
        ST64(p + MESSAGE_COMMIT, r.commit)
        ST64(p + MESSAGE_HINT, r.hint)
        ST64(p + MESSAGE_CONTEXT, r.context)
        self.out_size += MESSAGE_HEADER

    cdef size_t add_head(self, Outbox box, size_t row) noexcept nogil:
        cdef Row* r = box.rows + box.head + row
        check(self.refers(box, row))
        self._add_head(r)
        self.elsewhere += r.body_size
        return self.out_size

    cdef int add(self, Outbox box, size_t row) noexcept nogil:
        cdef Row* r = box.rows + box.head + row
        cdef uint8_t* p
        cdef size_t i
        cdef Span* span
        check_index(row, box.tail - box.head)
        check_part(self.out_size, MESSAGE_HEADER + r.body_size, self.out_room)
        check(r.span_low <= r.span_high)
        check(r.span_high <= box.spans.count)
        self._add_head(r)
        p = self.out + self.out_size
        for i in range(r.span_low, r.span_high):
            span = box.spans.items + i
            memcpy(p, span.data, span.size)
            p += span.size
        check(p == self.out + self.out_size + r.body_size)
        if r.kind == KIND_PROP:
            self._seal(p - r.body_size, r.body_size)
        self.out_size += r.body_size
        return 0

    cdef void _seal(self, uint8_t* p, size_t size) noexcept nogil:
        # Proposals have no checksum until somebody needs one: here, where they leave the node.
        cdef size_t step
        while size:
            step = record_size(p, size)
            if not step:
                return
            record_seal(p)
            p += step
            size -= step

    cdef size_t finish(self) noexcept nogil:
        cdef uint8_t* p = self.out
        ST32(p + FRAME_LENGTH, <uint32_t>(self.out_size + self.elsewhere - FRAME_HEADER))
        ST32(p + FRAME_CRC, self._headers_crc(p, self.out_size, self.elsewhere != 0))
        return self.out_size

    cdef uint32_t _headers_crc(self, const uint8_t* p, size_t size, bint lean) noexcept nogil:
        # lean: bodies that may stay where they are are not in it.
        cdef uint32_t crc = raftx_crc32(0, p, FRAME_CRC)
        cdef size_t at = FRAME_HEADER, body
        while size - at >= MESSAGE_HEADER:
            crc = raftx_crc32(crc, p + at, MESSAGE_HEADER)
            body = LD32(p + at + MESSAGE_SIZE)
            if lean and _may_stay(p[at + MESSAGE_KIND], body):
                body = 0
            at += MESSAGE_HEADER
            if body > size - at:
                break
            at += body
        return crc

    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil:
        cdef int reason = self._verify(data, size)
        if reason:
            check_index(reason, 16)
            self.rejected[reason] += 1
            if reason == CLUSTER:
                self.foreign = self._foreign_sender(data, size)
            self.data = NULL
            self.size = self.offset = 0
            return reason
        self.data = data
        self.size = size
        self.offset = FRAME_HEADER
        self.sender = LD64(data + FRAME_SENDER)
        self.sender_incarnation = LD64(data + FRAME_INCARNATION)
        self.sender_limit = (<uint64_t>data[FRAME_LIMIT + 1] * 256 + data[FRAME_LIMIT]) * LIMIT_UNIT
        self.sender_too_large = (data[FRAME_FLAGS] & FLAG_TOO_LARGE) != 0
        self.sender_no_room = (data[FRAME_FLAGS] & FLAG_NO_ROOM) != 0
        self.sender_in_doubt = (data[FRAME_FLAGS] & FLAG_DOUBT) != 0
        self.sender_behind = (data[FRAME_FLAGS] & FLAG_BEHIND) != 0
        return 0

    cdef uint64_t _foreign_sender(self, const uint8_t* p, size_t size) noexcept nogil:
        cdef uint64_t sender = LD64(p + FRAME_SENDER)
        return sender if LD32(p + FRAME_CRC) == self._headers_crc(p, size, False) and sender < NUMBER_LIMIT else 0

    cdef int _verify(self, const uint8_t* p, size_t size) noexcept nogil:
        cdef size_t at = FRAME_HEADER
        cdef int reason
        if size < FRAME_HEADER:
            return SHORT
        if LD32(p + FRAME_MAGIC) != FRAME_MAGIC_VALUE:
            return MAGIC
        if p[FRAME_VERSION] != 1:
            return VERSION
        if memcmp(p + FRAME_CLUSTER, self.cluster, FRAME_CLUSTER_BYTES) != 0:
            return CLUSTER
        if LD64(p + FRAME_GROUP) != self.group:
            return GROUP
        if LD64(p + FRAME_RECIPIENT) != self.id:
            return RECIPIENT
        if self.connection and LD64(p + FRAME_SENDER) != self.connection:
            return IDENTITY
        if <size_t>LD32(p + FRAME_LENGTH) != size - FRAME_HEADER:
            return LENGTH
        if LD32(p + FRAME_CRC) != self._headers_crc(p, size, False):
            return CHECKSUM
        if LD64(p + FRAME_SENDER) == 0 or LD64(p + FRAME_SENDER) == self.id or LD64(p + FRAME_SENDER) >= NUMBER_LIMIT:
            return SENDER
        while at < size:
            if size - at < MESSAGE_HEADER:
                return LENGTH
            reason = self._check_message(p + at, size - at)
            if reason:
                return reason
            at += MESSAGE_HEADER + <size_t>LD32(p + at + MESSAGE_SIZE)
        return OK

    cdef int _check_message(self, const uint8_t* head, size_t left) noexcept nogil:
        cdef size_t size = LD32(head + MESSAGE_SIZE), step
        cdef uint32_t count = LD32(head + MESSAGE_COUNT), seen = 0
        cdef uint64_t term = LD64(head + MESSAGE_TERM), index = LD64(head + MESSAGE_INDEX), its
        cdef uint64_t previous = LD64(head + MESSAGE_LOG_TERM)
        cdef const uint8_t* p = head + MESSAGE_HEADER
        cdef int kind = head[MESSAGE_KIND], i
        if kind >= 64 or not (wire_kinds >> kind) & 1:
            return KIND
        for i in range(MESSAGE_TERM, MESSAGE_HEADER, 8):
            if LD64(head + i) >= NUMBER_LIMIT:
                return RANGE
        if size > left - MESSAGE_HEADER:
            return LENGTH
        if size and kind != KIND_APP and kind != KIND_PROP:
            return self._check_single(kind, head, p, size, count)
        if kind == KIND_SNAP or kind == KIND_READ or kind == KIND_READ_RESP or kind == KIND_CHANGE or kind == KIND_SEEN:
            return RECORDS
        while size:
            step = record_size(p, size)
            if not step or not record_valid(p, step) or (
                p[RECORD_KIND] >= ENTRY_KINDS and p[RECORD_KIND] != SESSION_ENTRY
            ):
                return RECORDS
            its = LD64(p + RECORD_TERM)
            if kind == KIND_APP:
                index += 1
                if LD64(p + RECORD_INDEX) != index or its < previous or its == 0 or its > term or index >= NUMBER_LIMIT:
                    return RECORDS
                previous = its
            elif LD64(p + RECORD_INDEX) or its:
                return RECORDS
            p += step
            size -= step
            seen += 1
        return RECORDS if seen != count else OK

    cdef int _check_single(
        self, int kind, const uint8_t* head, const uint8_t* p, size_t size, uint32_t count
    ) noexcept nogil:
        # Messages with one record: a snapshot, the context of a read, a chunk of a file, an address, or a status.
        cdef uint64_t term = LD64(head + MESSAGE_TERM), previous, id
        cdef size_t at = ENTRY_HEADER + MEMBERSHIP_HEAD
        cdef int group, _i
        if count != 1 or record_size(p, size) != size or not record_valid(p, size):
            return RECORDS
        if kind == KIND_READ or kind == KIND_READ_RESP or kind == KIND_CHUNK or kind == KIND_MEET or kind == KIND_SEEN:
            return RECORDS if p[RECORD_KIND] or LD64(p + RECORD_INDEX) or LD64(p + RECORD_TERM) else OK
        if kind == KIND_CHANGE:
            if p[RECORD_KIND] >= ENTRY_KINDS or LD64(p + RECORD_INDEX) or LD64(p + RECORD_TERM):
                return RECORDS
            return OK
        if kind != KIND_SNAP or p[RECORD_KIND] != ENTRY_KINDS or size < at:
            return RECORDS
        if p[ENTRY_HEADER + MEMBERSHIP_AUTO_LEAVE] > 1:
            return RECORDS
        if not 1 <= LD64(p + RECORD_INDEX) < NUMBER_LIMIT or not 1 <= LD64(p + RECORD_TERM) <= term:
            return RECORDS
        # The membership: four sets of ids, each ascending.
        for group in range(4):
            previous = 0
            for _i in range(p[ENTRY_HEADER + group]):
                if at + 8 > size:
                    return RECORDS
                id = LD64(p + at)
                if id <= previous or id >= NUMBER_LIMIT:
                    return RECORDS
                previous = id
                at += 8
        return OK

    cdef int next(self, Message m) noexcept nogil:
        cdef const uint8_t* p
        if self.offset >= self.size:
            return 0
        check_part(self.offset, MESSAGE_HEADER, self.size)
        p = self.data + self.offset
        m.reset(p[MESSAGE_KIND])
        m.flags = p[MESSAGE_FLAGS]
        m.to = self.id
        m.sender = self.sender
        m.term = LD64(p + MESSAGE_TERM)
        m.log_term = LD64(p + MESSAGE_LOG_TERM)
        m.index = LD64(p + MESSAGE_INDEX)
        m.commit = LD64(p + MESSAGE_COMMIT)
        m.hint = LD64(p + MESSAGE_HINT)
        m.context = LD64(p + MESSAGE_CONTEXT)
        m.set_body(p + MESSAGE_HEADER, LD32(p + MESSAGE_SIZE), LD32(p + MESSAGE_COUNT))
        self.offset += MESSAGE_HEADER + <size_t>LD32(p + MESSAGE_SIZE)
        check(self.offset <= self.size)
        return 1

    def encode(self, recipient, messages):
        """One frame for ``recipient``. The messages' own addresses are not on the wire."""
        cdef uint64_t to = integer(recipient)
        cdef Outbox box = Outbox()
        cdef size_t size = FRAME_HEADER, row
        cdef bytes out
        for m in messages:
            box.py_push(m)
        for row in range(box.tail):
            size += self.measure(box, row)
        out = PyBytes_FromStringAndSize(NULL, size)
        self.begin(<uint8_t*>PyBytes_AS_STRING(out), size, to)
        for row in range(box.tail):
            self.add(box, row)
        self.finish()
        return out

    def encode_parts(self, recipient, messages):
        """The frame of ``encode`` in parts: what is written, and (place in it, bytes) of each body that stays."""
        cdef uint64_t to = integer(recipient)
        cdef Outbox box = Outbox()
        cdef Spans body = Spans()
        cdef size_t size = FRAME_HEADER, row
        cdef bytes out
        for m in messages:
            box.py_push(m)
        for row in range(box.tail):
            size += MESSAGE_HEADER if self.refers(box, row) else self.measure(box, row)
        out = PyBytes_FromStringAndSize(NULL, size)
        bodies = []
        self.begin(<uint8_t*>PyBytes_AS_STRING(out), size, to)
        for row in range(box.tail):
            if self.refers(box, row):
                box.put_body(row, body)
                bodies.append((self.add_head(box, row), body.tobytes()))
                body.clear()
            else:
                self.add(box, row)
        self.finish()
        return out, bodies

    def decode(self, bytes frame not None):
        """The messages of a frame for this node; raises FrameError, and counts, when it is refused."""
        cdef Message m = Message()
        cdef int reason = self.open(<const uint8_t*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        out = []
        if reason:
            raise FrameError(REASONS[reason])
        while self.next(m):
            out.append(m.copy())
        self.data = NULL
        self.size = self.offset = 0
        return out

    def rejected_by_reason(self):
        """How many frames were dropped, by reason."""
        return {name: self.rejected[i] for i, name in enumerate(REASONS) if i}
