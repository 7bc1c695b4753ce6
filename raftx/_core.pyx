"""The hot structures: entry log, messages and outbox, frame codec.

_core.py is the readable definition of the same behaviour; both change together. What may not stand
here: rules of Raft, I/O, clocks, threads, anything that is not one of the structures of _core.pxd.

Entry bytes are written once, when the leader appends them or a follower receives them, and never
move while a Span refers to them. Pointers handed out by nogil methods are valid until the owner's
next change. The memory itself is _memory's, windows and columns are _flow's; the names of both are given on from here.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.number cimport PyNumber_Index as integer
from cpython.object cimport PyObject_GenericSetAttr
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from . import _flow, _memory
from .errors import Corruption, FrameError
from .types import LOCAL_KINDS, MESSAGE_NAMES, ConfState, Snapshot

cdef extern from "_memory.h":
    void raftx_crc_init() noexcept nogil
    uint32_t raftx_crc32(uint32_t, const uint8_t*, size_t) noexcept nogil
    uint32_t LD32(const uint8_t*) noexcept nogil
    uint64_t LD64(const uint8_t*) noexcept nogil
    void ST32(uint8_t*, uint32_t) noexcept nogil
    void ST64(uint8_t*, uint64_t) noexcept nogil
    void record_place(uint8_t*, const uint8_t*, size_t, uint64_t, uint64_t) noexcept nogil
    void record_seal(uint8_t*) noexcept nogil
    size_t record_size(const uint8_t*, size_t) noexcept nogil
    bint record_valid(const uint8_t*, size_t) noexcept nogil

raftx_crc_init()

# Not an import: Cython leaves out the import of a class that it knows by a cimport.
globals().update({
    name: getattr(_memory, name) for name in ("Buffer", "Cursor", "Entry", "Spans", "View", "py_crc32")
})
globals().update({name: getattr(_flow, name) for name in ("COLUMN_NAMES", "Inflights", "Peers")})

cdef enum:
    MEMBERSHIP_HEAD = 8     # ConfState.encode: five bytes, padding, then the ids
    KIND_PROP = 2
    KIND_APP = 3
    KIND_SNAP = 7
    KIND_READ = 15
    KIND_READ_RESP = 16
    ENTRY_KINDS = 3         # of entries that stand in a log; the next one is a snapshot's

cdef uint64_t NUMBER_LIMIT = <uint64_t>1 << 63
cdef uint64_t MAX_DATA = <uint64_t>1 << 31
cdef uint64_t wire_kinds = 0
for _kind in MESSAGE_NAMES:
    if _kind not in LOCAL_KINDS:
        wire_kinds |= <uint64_t>1 << <int>_kind
del _kind

REASONS = (
    "ok", "short", "magic", "version", "cluster", "group", "recipient", "length", "checksum", "kind", "range",
    "records", "sender",
)
_NUMBERS = frozenset("kind flags count to sender term log_term index commit hint context vote".split())

cdef enum:
    FLAG_TOO_LARGE = 1    # of a frame: its sender has something for the recipient that is larger than it takes
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


def snapshot_record(snapshot):
    """The record of a snapshot: its membership, then its data, under index and term."""
    data = snapshot.conf_state.encode() + snapshot.data
    return Entry(snapshot.index, snapshot.term, data, ENTRY_KINDS).encode()


def snapshot_from(records):
    """The snapshot of a record; raises FrameError("records")."""
    entries = Entry.decode_all(records)
    if len(entries) != 1 or entries[0].kind != ENTRY_KINDS:
        raise FrameError("records")
    try:
        conf_state, data = ConfState.decode(entries[0].data)
    except ValueError as error:
        raise FrameError("records") from error
    return Snapshot(entries[0].index, entries[0].term, conf_state, data)


cdef class Message:
    """A Raft message. ``entries`` of a message that Python made are owned by it."""

    def __init__(self, kind=0, *, to=0, sender=0, term=0, log_term=0, index=0, commit=0, hint=0, context=0, vote=0,
                 flags=0, entries=None, snapshot=None):
        self.kind = integer(kind)
        self.to = integer(to)
        self.sender = integer(sender)
        self.term = integer(term)
        self.log_term = integer(log_term)
        self.index = integer(index)
        self.commit = integer(commit)
        self.hint = integer(hint)
        self.context = integer(context)
        self.vote = integer(vote)
        self.flags = integer(flags)
        self.body = NULL
        self.body_size = 0
        self.count = 0
        if entries:
            self._own(b"".join([e if isinstance(e, bytes) else e.encode() for e in entries]))
        if snapshot is not None:
            self.snapshot = snapshot

    def __setattr__(self, name, value):
        # Only for Python: compiled code writes the fields themselves.
        if name in _NUMBERS:
            value = integer(value)
        PyObject_GenericSetAttr(self, name, value)

    def _own(self, bytes records not None):
        """Take records that Python owns as the body; raises FrameError when they are not whole."""
        cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(records)
        cdef size_t left = PyBytes_GET_SIZE(records), step
        cdef uint32_t count = 0
        while left:
            step = record_size(p, left)
            if not step:
                raise FrameError("records")
            p += step
            left -= step
            count += 1
        self.owner = records
        self.body = <const uint8_t*>PyBytes_AS_STRING(records)
        self.body_size = PyBytes_GET_SIZE(records)
        self.count = count

    cdef uint64_t origin(self) noexcept nogil:
        return LD64(self.body + 32) if self.body_size >= ENTRY_HEADER + ENVELOPE else 0

    cdef uint64_t sequence(self) noexcept nogil:
        return LD64(self.body + 48) if self.body_size >= ENTRY_HEADER + ENVELOPE else 0

    cdef bint is_from(self, uint64_t origin, uint64_t incarnation, uint64_t sequence) noexcept nogil:
        cdef const uint8_t* p = self.body
        cdef size_t left = self.body_size, step
        while left:
            step = record_size(p, left)
            if step < ENTRY_HEADER + ENVELOPE or LD64(p + 32) != origin:
                return False
            if LD64(p + 40) != incarnation or LD64(p + 48) != sequence:
                return False
            sequence += 1
            p += step
            left -= step
        return True

    cdef bint has_changes(self) noexcept nogil:
        cdef const uint8_t* p = self.body
        cdef size_t left = self.body_size, step
        while left:
            step = record_size(p, left)
            if not step:
                return False
            if p[24]:
                return True
            p += step
            left -= step
        return False

    @property
    def snapshot(self):
        """The snapshot that the message carries, or None; raises FrameError("records") when it is damaged."""
        if self._snapshot is None and self.kind == KIND_SNAP and self.body_size:
            return snapshot_from(self.records)
        return self._snapshot

    @snapshot.setter
    def snapshot(self, value):
        if self.kind == KIND_SNAP:
            self._own(snapshot_record(value) if value is not None else b"")
        else:
            self._snapshot = value

    @property
    def reject(self):
        """Whether an answer is a refusal."""
        return bool(self.flags & 1)

    @reject.setter
    def reject(self, value):
        self.flags = (self.flags | 1) if value else (self.flags & ~<uint32_t>1)

    @property
    def records(self):
        """The body: entry records, back to back."""
        return PyBytes_FromStringAndSize(<const char*>self.body, self.body_size) if self.body_size else b""

    @property
    def entries(self):
        """The entries of the body; raises FrameError("records") when one is damaged."""
        return Entry.decode_all(self.records, self.kind == KIND_PROP)

    def set_entries(self, Message other not None):
        """Take the body of ``other``, which owns it and keeps it."""
        if other.owner is None and other.body_size:
            raise ValueError("the other message does not own its body")
        self.owner = other.owner
        self.set_body(other.body, other.body_size, other.count)

    def copy(self):
        """A copy that owns its body."""
        cdef Message m = Message(
            self.kind, to=self.to, sender=self.sender, term=self.term, log_term=self.log_term, index=self.index,
            commit=self.commit, hint=self.hint, context=self.context, vote=self.vote, flags=self.flags,
        )
        if self.body_size:
            m._own(self.records)
        m.responses = self.responses
        m._snapshot = self._snapshot
        return m

    def _key(self):
        return (
            self.kind, self.to, self.sender, self.term, self.log_term, self.index, self.commit, self.hint,
            self.context, self.vote, self.flags, self.records, self.responses or [], self._snapshot,
        )

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, Message) else NotImplemented

    __hash__ = None

    def __repr__(self):
        text = f"{MESSAGE_NAMES.get(self.kind, self.kind)} {self.sender}->{self.to} term={self.term}"
        text += f" log={self.log_term}/{self.index} commit={self.commit}"
        if self.flags or self.hint or self.context:
            text += f" flags={self.flags} hint={self.hint} context={self.context}"
        return f"<{text} entries={self.count}>"


# --- the entry log -------------------------------------------------------------------------------


cdef class EntryLog:
    """The log in memory, in the form in which it is sent and written.

    One thread changes it. Columns and blocks may be read by others through views and spans, which
    hold references; nothing they refer to is ever overwritten.
    """

    def __cinit__(self, first=1, base_term=0, block_bytes=1 << 20):
        self.first = integer(first)
        self.last = self.first - 1
        self.base_term = integer(base_term)
        self.block_bytes = integer(block_bytes)
        if self.first < 1 or self.first >= NUMBER_LIMIT:
            raise ValueError("first must be in 1..2^63-1")
        if not 4096 <= self.block_bytes <= 1 << 30:
            raise ValueError("block_bytes must be in 4096..2^30")
        self.head = 0
        self.room = 0
        self.block_count = self.block_room = 0
        self.spare = NULL
        self.spare_count = 0
        self.sealed = True
        self._grow(1)

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.block_count):
            block_unref(self.blocks[i])
        free(self.blocks)
        free(self.block_first)
        while self.spare != NULL:
            self._drop_spare()
        block_unref(self.term_block)
        block_unref(self.place_block)
        block_unref(self.size_block)

    cdef int _grow(self, size_t entries) except -1 nogil:
        # Columns move to new memory when they are full: views of the old ones keep theirs.
        cdef size_t used = self.last + 1 - self.first
        cdef size_t room
        cdef Block* terms
        cdef Block* places
        cdef Block* sizes
        if self.head + used + entries <= self.room:
            return 0
        room = 256
        while room < (used + entries) * 2:
            room *= 2
        terms = block_new(room * 8)
        places = block_new(room * sizeof(void*))
        sizes = block_new(room * 4)
        if used:
            memcpy(block_data(terms), self.term_at + self.head, used * 8)
            memcpy(block_data(places), self.place_at + self.head, used * sizeof(void*))
            memcpy(block_data(sizes), self.size_at + self.head, used * 4)
        block_unref(self.term_block)
        block_unref(self.place_block)
        block_unref(self.size_block)
        self.term_block = terms
        self.place_block = places
        self.size_block = sizes
        self.term_at = <uint64_t*>block_data(terms)
        self.place_at = <uint8_t**>block_data(places)
        self.size_at = <uint32_t*>block_data(sizes)
        self.head = 0
        self.room = room
        return 0

    cdef uint8_t* _room(self, size_t size) except NULL nogil:
        # Room for ``size`` bytes that will hold entries from last + 1 on.
        cdef Block* block
        cdef void* moved
        if not self.sealed:
            block = self.blocks[self.block_count - 1]
            if block.used + size <= block.capacity:
                return block_data(block) + block.used
        if self.block_count == self.block_room:
            self.block_room = self.block_room * 2 if self.block_room else 16
            moved = realloc(self.blocks, self.block_room * sizeof(void*))
            if moved != NULL:
                self.blocks = <Block**>moved
                moved = realloc(self.block_first, self.block_room * 8)
            if moved == NULL:
                with gil:
                    raise MemoryError()
            self.block_first = <uint64_t*>moved
        block = self.spare
        if block != NULL and size <= self.block_bytes:
            self.spare = block.spare
            self.spare_count -= 1
            block.used = 0
        else:
            block = block_new(max(size, self.block_bytes))
        self.blocks[self.block_count] = block
        self.block_first[self.block_count] = self.last + 1
        self.block_count += 1
        self.sealed = False
        return block_data(block)

    cdef size_t _block_of(self, uint64_t index) noexcept nogil:
        # The newest block whose first index is not above: search from the end, where the traffic is.
        cdef size_t i = self.block_count - 1
        while i > 0 and self.block_first[i] > index:
            i -= 1
        return i

    cdef int kind(self, uint64_t index) noexcept nogil:
        if index < self.first or index > self.last:
            return -1
        return self.place_at[self.head + (index - self.first)][24]

    cdef uint64_t append(self, uint64_t term, int kind, const uint8_t* data, size_t size) except 0 nogil:
        cdef uint8_t* p
        cdef size_t i
        if size > MAX_DATA:
            raise OverflowError("data of an entry must not exceed 2^31 bytes")
        self._grow(1)
        p = self._room(ENTRY_HEADER + size)
        memset(p, 0, ENTRY_HEADER)
        ST32(p + 4, <uint32_t>size)
        ST64(p + 8, self.last + 1)
        ST64(p + 16, term)
        p[24] = <uint8_t>kind
        if size:
            memcpy(p + ENTRY_HEADER, data, size)
        record_seal(p)
        i = self.head + (self.last + 1 - self.first)
        self.term_at[i] = term
        self.place_at[i] = p
        self.size_at[i] = <uint32_t>(ENTRY_HEADER + size)
        self.blocks[self.block_count - 1].used += ENTRY_HEADER + size
        self.last += 1
        return self.last

    cdef uint64_t append_empty(self, uint64_t term) except 0 nogil:
        return self.append(term, 0, NULL, 0)

    cdef uint64_t append_change(self, uint64_t term) except 0 nogil:
        return self.append(term, 2, NULL, 0)

    cdef uint64_t append_proposals(self, uint64_t term, const uint8_t* body, size_t size) except 0 nogil:
        cdef size_t step, i = self.head + (self.last + 1 - self.first), start = 0
        cdef uint64_t before = self.last
        cdef uint8_t* p
        while start < size:
            step = record_size(body + start, size - start)
            if not step:
                break
            if i == self.room:
                self._grow(1)
                i = self.head + (self.last + 1 - self.first)
            p = self._room(step)
            record_place(p, body + start, step, self.last + 1, term)
            self.term_at[i] = term
            self.place_at[i] = p
            self.size_at[i] = <uint32_t>step
            self.blocks[self.block_count - 1].used += step
            self.last += 1
            i += 1
            start += step
        if start < size:
            self.truncate(before)
            raise FrameError("records")
        if not size:
            raise Corruption("a proposal without entries")
        return self.last

    cdef uint64_t append_records(self, const uint8_t* body, size_t size) except 0 nogil:
        cdef size_t step, run, i, start = 0
        cdef uint64_t first, next
        cdef uint8_t* p
        cdef Block* block
        if size < ENTRY_HEADER:
            raise Corruption("an append without entries")
        first = next = LD64(body + 8)
        if first < self.first or first > self.last + 1:
            raise Corruption(f"append at {first} does not fit the log [{self.first}, {self.last}]")
        # All of it is looked at before anything is replaced.
        while start < size:
            step = record_size(body + start, size - start)
            if not step or LD64(body + start + 8) != next:
                raise Corruption(f"entry after {next - 1} is missing or broken")
            start += step
            next += 1
        if first <= self.last:
            self.truncate(first - 1)
        self._grow(next - first)
        start = 0
        while start < size:
            # As many whole records as the block has room for, in one copy.
            p = self._room(ENTRY_HEADER + <size_t>LD32(body + start + 4))
            block = self.blocks[self.block_count - 1]
            i = self.head + (self.last + 1 - self.first)
            run = 0
            while start + run < size:
                step = ENTRY_HEADER + <size_t>LD32(body + start + run + 4)
                if block.used + run + step > block.capacity:
                    break
                self.term_at[i] = LD64(body + start + run + 16)
                self.place_at[i] = p + run
                self.size_at[i] = <uint32_t>step
                self.last += 1
                i += 1
                run += step
            memcpy(p, body + start, run)
            block.used += run
            start += run
        return self.last

    cdef uint64_t append_from(self, const uint8_t* body, size_t size, uint64_t index) except 0 nogil:
        # append_records without the leading records whose index is below ``index``.
        cdef size_t step, start = 0
        while start < size:
            step = record_size(body + start, size - start)
            if not step or LD64(body + start + 8) >= index:
                break
            start += step
        return self.append_records(body + start, size - start)

    cdef uint64_t find_conflict(self, const uint8_t* body, size_t size) noexcept nogil:
        cdef size_t step, start = 0
        while start < size:
            step = record_size(body + start, size - start)
            if not step:
                return 0
            if not self.match(LD64(body + start + 8), LD64(body + start + 16)):
                return LD64(body + start + 8)
            start += step
        return 0

    cdef (uint64_t, uint64_t) find_conflict_by_term(self, uint64_t index, uint64_t term) noexcept nogil:
        cdef uint64_t ours
        if index > self.last:
            return index, 0
        while index > 0:
            if index + 1 < self.first:
                return index, 0
            ours = self.term(index)
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    cdef int truncate(self, uint64_t last) except -1 nogil:
        if last > self.last or last + 1 < self.first:
            raise Corruption(f"truncate to {last} is outside of the log [{self.first}, {self.last}]")
        if last == self.last:
            return 0
        self.last = last
        # What follows goes to a fresh block: bytes that a write or a view still refers to stay.
        self.sealed = True
        while self.block_count and self.block_first[self.block_count - 1] > last:
            self.block_count -= 1
            block_unref(self.blocks[self.block_count])
        # The columns have been exported up to the old end: give the new entries memory of their own.
        if self.term_block.refs > 1 or self.size_block.refs > 1 or self.place_block.refs > 1:
            self.room = 0
            self._grow(1)
        return 0

    cdef int compact(self, uint64_t index) except -1 nogil:
        cdef size_t gone = 0
        if index > self.last:
            raise Corruption(f"compact to {index} is beyond the last index {self.last}")
        if index < self.first:
            return 0
        self.base_term = self.term(index)
        self.head += index + 1 - self.first
        self.first = index + 1
        while gone + 1 < self.block_count and self.block_first[gone + 1] <= self.first:
            gone += 1
        if gone < self.block_count and self.last < self.first:
            gone = self.block_count
            self.sealed = True
        if gone:
            self._drop_blocks(gone)
        return 0

    cdef void _drop_blocks(self, size_t gone) noexcept nogil:
        cdef size_t i
        # Fresh memory costs more than what is written to it, so as many blocks as the log has left are kept; but none
        # that a span or a view refers to.
        for i in range(gone):
            if (
                self.spare_count <= self.block_count - gone
                and self.blocks[i].capacity == self.block_bytes
                and refs_load(&self.blocks[i].refs, ACQUIRE) == 1
            ):
                self.blocks[i].spare = self.spare
                self.spare = self.blocks[i]
                self.spare_count += 1
            else:
                block_unref(self.blocks[i])
        self.block_count -= gone
        while self.spare_count > self.block_count + 1:
            self._drop_spare()
        if self.block_count:  # without one there may be no memory to move
            memmove(self.blocks, self.blocks + gone, self.block_count * sizeof(void*))
            memmove(self.block_first, self.block_first + gone, self.block_count * 8)

    cdef void _drop_spare(self) noexcept nogil:
        cdef Block* block = self.spare
        self.spare = block.spare
        self.spare_count -= 1
        block_unref(block)

    cdef int restore(self, uint64_t index, uint64_t term) except -1 nogil:
        self._drop_blocks(self.block_count)
        self.sealed = True
        self.first = index + 1
        self.last = index
        self.base_term = term
        self.head = self.room = 0
        self._grow(1)
        return 0

    cdef uint64_t _run(self, uint64_t low, uint64_t high) noexcept nogil:
        # Bytes of the records low .. high where they stand in one block, and so in one piece; else 0.
        cdef size_t i = self.head + (low - self.first), j = self.head + (high - self.first)
        if low > high or self.block_first[self._block_of(high)] > low:
            return 0
        return self.place_at[j] + self.size_at[j] - self.place_at[i]

    cdef uint64_t limit(self, uint64_t low, uint64_t high, uint64_t max_bytes) noexcept nogil:
        cdef size_t i = self.head + (low - self.first)
        cdef uint64_t total = self._run(low, high)
        if total and total <= max_bytes:
            return high
        total = self.size_at[i]
        while low < high:
            i += 1
            total += self.size_at[i]
            if total > max_bytes:
                break
            low += 1
        return low

    cdef uint64_t payload(self, uint64_t low, uint64_t high) noexcept nogil:
        cdef size_t i = self.head + (low - self.first)
        cdef uint64_t total = self._run(low, high)
        if total:
            return total - (high + 1 - low) * ENTRY_HEADER
        while low <= high:
            total += self.size_at[i] - ENTRY_HEADER
            i += 1
            low += 1
        return total

    cdef int spans(self, uint64_t low, uint64_t high, Spans out) except -1 nogil:
        cdef size_t b, i
        cdef uint64_t end
        cdef const uint8_t* p
        cdef const uint8_t* q
        if low < self.first or high > self.last:
            raise Corruption(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")
        if low > high:
            return 0
        b = self._block_of(low)
        while low <= high:
            end = high
            if b + 1 < self.block_count and self.block_first[b + 1] <= high:
                end = self.block_first[b + 1] - 1
            i = self.head + (end - self.first)
            p = self.place_at[self.head + (low - self.first)]
            q = self.place_at[i] + self.size_at[i]
            out.push(self.blocks[b], p, q - p, low, <uint32_t>(end + 1 - low))
            low = end + 1
            b += 1
        return 0

    # What follows is for Python: tests, RawNode's views, tools.

    def __len__(self):
        return self.last + 1 - self.first

    def py_append(self, term, bytes data not None, kind=0):
        """Append one entry at last + 1; returns its index."""
        return self.append(
            integer(term), integer(kind), <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        )

    def py_extend(self, entries):
        """Append records or entries, replacing everything from the first one's index on; all of them or none."""
        cdef Message m = Message(entries=entries if isinstance(entries, list) else [bytes(entries)])
        return self.append_records(m.body, m.body_size)

    def py_truncate(self, last):
        """Keep entries up to ``last``."""
        self.truncate(integer(last))

    def py_compact(self, index):
        """Drop entries up to and including ``index``."""
        self.compact(integer(index))

    def py_restore(self, index, term):
        """Empty the log behind a snapshot; ``index`` is in 0..2^63-1 (ValueError)."""
        cdef uint64_t at = integer(index), its = integer(term)
        if at >= NUMBER_LIMIT:
            raise ValueError("index must be in 0..2^63-1")
        self.restore(at, its)

    def py_term(self, index):
        """Term of an entry, 0 when it is not here."""
        return self.term(integer(index))

    def py_find_conflict(self, records):
        """Index of the first record that the log does not hold, or 0."""
        cdef bytes b = bytes(records)
        return self.find_conflict(<const uint8_t*>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b))

    def py_find_conflict_by_term(self, index, term):
        """Where a probe should go on: the largest index not above with a term not above."""
        return self.find_conflict_by_term(integer(index), integer(term))

    def py_limit(self, low, high, max_bytes):
        """The last index such that the records from ``low`` on fit in ``max_bytes``; at least ``low``."""
        cdef uint64_t start = integer(low), end = integer(high), most = integer(max_bytes)
        self._check(start, end)
        return self.limit(start, end, most)

    def _check(self, uint64_t low, uint64_t high):
        if low < self.first or high > self.last or low > high:
            raise IndexError(f"entries [{low}, {high}] are outside of the log [{self.first}, {self.last}]")

    def _spans(self, uint64_t low, uint64_t high):
        cdef Spans out = Spans()
        self._check(low, high)
        self.spans(low, high, out)
        return out

    def entries(self, low, high):
        """The entries low .. high, both included."""
        cdef uint64_t start = integer(low), end = integer(high)
        return self._spans(start, end).entries() if start <= end else []

    def records(self, low, high):
        """The records low .. high as bytes."""
        cdef uint64_t start = integer(low), end = integer(high)
        return self._spans(start, end).tobytes() if start <= end else b""

    def view(self, low, high):
        """Read-only views of the records low .. high, one for each contiguous run."""
        return self._spans(integer(low), integer(high)).pieces()

    def terms(self):
        """Read-only buffer ("Q") of the terms of first .. last."""
        return view_of(self.term_block, self.term_at + self.head, (self.last + 1 - self.first) * 8, b"Q", 8)

    def sizes(self):
        """Read-only buffer ("I") of the record sizes of first .. last, in bytes."""
        return view_of(self.size_block, self.size_at + self.head, (self.last + 1 - self.first) * 4, b"I", 4)


# --- messages to be sent -------------------------------------------------------------------------


cdef class Outbox:
    """Rows of messages, first in first out. Row numbers count from the oldest."""

    def __cinit__(self):
        self.spans = Spans()
        self.rows = NULL
        self.head = self.tail = self.room = 0

    def __dealloc__(self):
        free(self.rows)

    cdef int push(self, int kind, uint64_t to, uint64_t sender, uint64_t term) except -1 nogil:
        self.put(kind, to, sender, term, 0, 0, 0, 0, 0, 0)
        return <int>(self.tail - self.head - 1)

    cdef int _make_room(self) except -1 nogil:
        cdef Row* rows
        if self.head > self.room // 2:
            memmove(self.rows, self.rows + self.head, (self.tail - self.head) * sizeof(Row))
            self.tail -= self.head
            self.head = 0
            return 0
        rows = <Row*>realloc(self.rows, (self.room * 2 + 16) * sizeof(Row))
        if rows == NULL:
            raise MemoryError()
        self.rows = rows
        self.room = self.room * 2 + 16
        return 0

    cdef int set_entries(self, EntryLog log, uint64_t low, uint64_t high) except -1 nogil:
        cdef Row* row = self.rows + self.tail - 1
        cdef size_t before = self.spans.size
        if low > high:
            return 0
        log.spans(low, high, self.spans)
        row.span_high = self.spans.count
        row.body_size = self.spans.size - before
        row.count = <uint32_t>(high + 1 - low)
        return 0

    cdef int set_body(self, const uint8_t* body, size_t size, uint32_t count) except -1 nogil:
        cdef Row* row = self.rows + self.tail - 1
        if not size:
            return 0
        self.spans.push_copy(body, size, 0, count)
        row.span_high = self.spans.count
        row.body_size = size
        row.count = count
        return 0

    cdef int set_spans(self, Spans spans, uint32_t count) except -1 nogil:
        cdef Row* row = self.rows + self.tail - 1
        cdef Span* span
        cdef size_t i
        for i in range(spans.count):
            span = spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        row.span_high = self.spans.count
        row.body_size = spans.size
        row.count = count
        return 0

    cdef int share_body(self, Outbox other, size_t row) except -1 nogil:
        cdef Row* source = other.rows + other.head + row
        cdef Row* target = self.rows + self.tail - 1
        cdef Span* span
        cdef size_t i
        for i in range(source.span_low, source.span_high):
            span = other.spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        target.span_high = self.spans.count
        target.body_size = source.body_size
        target.count = source.count
        return 0

    cdef long find(self, int kind, uint64_t to) noexcept nogil:
        cdef size_t i = self.tail
        while i > self.head:
            i -= 1
            if self.rows[i].kind == kind and self.rows[i].to == to:
                return <long>(i - self.head)
        return -1

    cdef int extend(self, size_t row, EntryLog log, uint64_t high, uint64_t commit) except -1 nogil:
        # The row's entries are taken anew: its old spans stay referenced until the box is empty.
        cdef Row* target = self.rows + self.head + row
        cdef size_t before = self.spans.size
        target.commit = commit
        if high > target.index + target.count:
            target.span_low = self.spans.count
            log.spans(target.index + 1, high, self.spans)
            target.span_high = self.spans.count
            target.body_size = self.spans.size - before
            target.count = <uint32_t>(high - target.index)
        return 0

    cdef int take(self, Outbox other, size_t row, uint64_t tag) except -1 nogil:
        cdef Row* source
        cdef Row* target
        cdef Span* span
        cdef size_t i, low = self.spans.count
        if self.tail == self.room:
            self._make_room()
        source = other.rows + other.head + row      # after that: the rows may be our own
        target = self.rows + self.tail
        self.tail += 1
        target[0] = source[0]
        target.tag = tag
        for i in range(source.span_low, source.span_high):
            span = other.spans.items + i
            self.spans.push(span.block, span.data, span.size, span.first, span.count)
        target.span_low = low
        target.span_high = self.spans.count
        return 0

    cdef void load(self, size_t row, Message m) noexcept nogil:
        cdef Row* source = self.rows + self.head + row
        m.reset(source.kind)
        m.flags = source.flags
        m.to = source.to
        m.sender = source.sender
        m.term = source.term
        m.log_term = source.log_term
        m.index = source.index
        m.commit = source.commit
        m.hint = source.hint
        m.context = source.context
        m.vote = source.vote
        if source.span_high == source.span_low + 1:
            m.set_body(self.spans.items[source.span_low].data, source.body_size, source.count)

    def __len__(self):
        return self.tail - self.head

    def message(self, row):
        """A copy of one row as a message that owns its entries."""
        cdef Message m = Message()
        cdef size_t at = integer(row), i
        cdef Row* source
        if at >= self.tail - self.head:
            raise IndexError("no such row")
        self.load(at, m)
        m.set_body(NULL, 0, 0)
        source = self.rows + self.head + at
        if source.body_size:
            m._own(b"".join([
                PyBytes_FromStringAndSize(<const char*>self.spans.items[i].data, self.spans.items[i].size)
                for i in range(source.span_low, source.span_high)
            ]))
        return m

    def messages(self):
        """All rows as messages."""
        return [self.message(i) for i in range(self.tail - self.head)]

    def py_clear(self):
        """Drop all rows."""
        self.clear()

    def py_push(self, Message m not None):
        """Append any message; its body is copied."""
        cdef Row* row
        self.push(m.kind, m.to, m.sender, m.term)
        self.set_log(m.index, m.log_term, m.commit)
        self.set_answer(m.flags, m.hint, m.context)
        row = self.rows + self.tail - 1
        row.vote = m.vote
        self.set_body(m.body, m.body_size, m.count)

    def py_take(self, Outbox other not None, row):
        """Append row ``row`` of ``other``, which keeps it and may be this box."""
        cdef size_t at = integer(row)
        if at >= other.tail - other.head:
            raise IndexError("no such row")
        self.take(other, at, 0)


# --- the frame codec -----------------------------------------------------------------------------
# Frame header, 64 bytes: magic 4 | version 1 | flags 1 | limit 2 | cluster 16 | group 8 | sender 8 |
#   recipient 8 | incarnation 8 | length 4 (bytes that follow) | crc 4
# Message header, 64 bytes: kind 1 | flags 1 | reserved 2 | count 4 | size 4 | reserved 4 | term 8 |
#   log_term 8 | index 8 | commit 8 | hint 8 | context 8; then ``size`` bytes of records
# The frame's crc covers the frame header before it and every message header; each record has its own.


cdef class Codec:
    """Frames of one node of one cluster. Not shared between threads."""

    def __cinit__(self, bytes cluster not None, id, incarnation=0, group=0):
        if len(cluster) != 16:
            raise ValueError("cluster must be 16 bytes")
        memcpy(self.cluster, PyBytes_AS_STRING(cluster), 16)
        self.id = integer(id)
        if not 1 <= self.id < NUMBER_LIMIT:
            raise ValueError("id must be in 1..2^63-1")
        self.incarnation = integer(incarnation)
        self.group = integer(group)

    def announce(self, limit):
        """Tell in every frame from now on that frames of up to ``limit`` bytes are taken here.

        It is a multiple of 64 KiB, at most 65535 of them: a header has no room for less. Raises ValueError.
        """
        if not 1 << 16 <= limit < 1 << 32 or limit % (1 << 16):
            raise ValueError("limit must be a multiple of 65536, from 65536 to 2^32 - 65536")
        self.limit_units = limit >> 16

    cdef void mark(self) noexcept nogil:
        # In the frame that is being made: something for its recipient is larger than it takes.
        self.out[5] = FLAG_TOO_LARGE

    cdef size_t measure(self, Outbox box, size_t row) noexcept nogil:
        return MESSAGE_HEADER + box.rows[box.head + row].body_size

    cdef int begin(self, uint8_t* out, size_t size, uint64_t recipient) noexcept nogil:
        if size < FRAME_HEADER:
            return -1
        memset(out, 0, FRAME_HEADER)
        memcpy(out, b"RXF1", 4)
        out[4] = 1
        out[6] = self.limit_units & 0xFF
        out[7] = self.limit_units >> 8
        memcpy(out + 8, self.cluster, 16)
        ST64(out + 24, self.group)
        ST64(out + 32, self.id)
        ST64(out + 40, recipient)
        ST64(out + 48, self.incarnation)
        self.out = out
        self.out_size = FRAME_HEADER
        return 0

    cdef int add(self, Outbox box, size_t row) noexcept nogil:
        cdef Row* r = box.rows + box.head + row
        cdef uint8_t* p = self.out + self.out_size
        cdef size_t i
        cdef Span* span
        memset(p, 0, MESSAGE_HEADER)
        p[0] = <uint8_t>r.kind
        p[1] = <uint8_t>r.flags
        ST32(p + 4, r.count)
        ST32(p + 8, <uint32_t>r.body_size)
        ST64(p + 16, r.term)
        ST64(p + 24, r.log_term)
        ST64(p + 32, r.index)
        ST64(p + 40, r.commit)
        ST64(p + 48, r.hint)
        ST64(p + 56, r.context)
        p += MESSAGE_HEADER
        for i in range(r.span_low, r.span_high):
            span = box.spans.items + i
            memcpy(p, span.data, span.size)
            p += span.size
        if r.kind == KIND_PROP:
            self._seal(p - r.body_size, r.body_size)
        self.out_size += MESSAGE_HEADER + r.body_size
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
        ST32(p + 56, <uint32_t>(self.out_size - FRAME_HEADER))
        ST32(p + 60, self._headers_crc(p, self.out_size))
        return self.out_size

    cdef uint32_t _headers_crc(self, const uint8_t* p, size_t size) noexcept nogil:
        cdef uint32_t crc = raftx_crc32(0, p, FRAME_HEADER - 4)
        cdef size_t at = FRAME_HEADER
        while size - at >= MESSAGE_HEADER:
            crc = raftx_crc32(crc, p + at, MESSAGE_HEADER)
            at += MESSAGE_HEADER
            if <size_t>LD32(p + at - MESSAGE_HEADER + 8) > size - at:
                break
            at += LD32(p + at - MESSAGE_HEADER + 8)
        return crc

    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil:
        cdef int reason = self._verify(data, size)
        if reason:
            self.rejected[reason] += 1
            if reason == CLUSTER:
                self.foreign = self._foreign_sender(data, size)
            self.data = NULL
            self.size = self.offset = 0
            return reason
        self.data = data
        self.size = size
        self.offset = FRAME_HEADER
        self.sender = LD64(data + 32)
        self.sender_incarnation = LD64(data + 48)
        self.sender_limit = (<uint64_t>data[7] * 256 + data[6]) * 65536
        self.sender_too_large = (data[5] & FLAG_TOO_LARGE) != 0
        return 0

    cdef uint64_t _foreign_sender(self, const uint8_t* p, size_t size) noexcept nogil:
        cdef uint64_t sender = LD64(p + 32)
        return sender if LD32(p + 60) == self._headers_crc(p, size) and sender < NUMBER_LIMIT else 0

    cdef int _verify(self, const uint8_t* p, size_t size) noexcept nogil:
        cdef size_t at = FRAME_HEADER
        cdef int reason
        if size < FRAME_HEADER:
            return SHORT
        if memcmp(p, b"RXF1", 4) != 0:
            return MAGIC
        if p[4] != 1:
            return VERSION
        if memcmp(p + 8, self.cluster, 16) != 0:
            return CLUSTER
        if LD64(p + 24) != self.group:
            return GROUP
        if LD64(p + 40) != self.id:
            return RECIPIENT
        if <size_t>LD32(p + 56) != size - FRAME_HEADER:
            return LENGTH
        if LD32(p + 60) != self._headers_crc(p, size):
            return CHECKSUM
        if LD64(p + 32) == 0 or LD64(p + 32) == self.id or LD64(p + 32) >= NUMBER_LIMIT:
            return SENDER
        while at < size:
            if size - at < MESSAGE_HEADER:
                return LENGTH
            reason = self._check_message(p + at, size - at)
            if reason:
                return reason
            at += MESSAGE_HEADER + <size_t>LD32(p + at + 8)
        return OK

    cdef int _check_message(self, const uint8_t* head, size_t left) noexcept nogil:
        cdef size_t size = LD32(head + 8), step
        cdef uint32_t count = LD32(head + 4), seen = 0
        cdef uint64_t term = LD64(head + 16), index = LD64(head + 32), previous = LD64(head + 24), its
        cdef const uint8_t* p = head + MESSAGE_HEADER
        cdef int kind = head[0], i
        if kind >= 64 or not (wire_kinds >> kind) & 1:
            return KIND
        for i in range(16, 64, 8):
            if LD64(head + i) >= NUMBER_LIMIT:
                return RANGE
        if size > left - MESSAGE_HEADER:
            return LENGTH
        if size and kind != KIND_APP and kind != KIND_PROP:
            return self._check_single(kind, head, p, size, count)
        if kind == KIND_SNAP or kind == KIND_READ or kind == KIND_READ_RESP:
            return RECORDS
        while size:
            step = record_size(p, size)
            if not step or not record_valid(p, step) or p[24] >= ENTRY_KINDS:
                return RECORDS
            its = LD64(p + 16)
            if kind == KIND_APP:
                index += 1
                if LD64(p + 8) != index or its < previous or its == 0 or its > term or index >= NUMBER_LIMIT:
                    return RECORDS
                previous = its
            elif LD64(p + 8) or its:
                return RECORDS
            p += step
            size -= step
            seen += 1
        return RECORDS if seen != count else OK

    cdef int _check_single(
        self, int kind, const uint8_t* head, const uint8_t* p, size_t size, uint32_t count
    ) noexcept nogil:
        # Messages with exactly one record: a snapshot, or the context of a read.
        cdef uint64_t term = LD64(head + 16), previous, id
        cdef size_t at = ENTRY_HEADER + MEMBERSHIP_HEAD
        cdef int group, _i
        if count != 1 or record_size(p, size) != size or not record_valid(p, size):
            return RECORDS
        if kind == KIND_READ or kind == KIND_READ_RESP:
            return RECORDS if p[24] or LD64(p + 8) or LD64(p + 16) else OK
        if kind != KIND_SNAP or p[24] != ENTRY_KINDS or size < at or p[ENTRY_HEADER + 4] > 1:
            return RECORDS
        if not 1 <= LD64(p + 8) < NUMBER_LIMIT or not 1 <= LD64(p + 16) <= term:
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
        p = self.data + self.offset
        m.reset(p[0])
        m.flags = p[1]
        m.to = self.id
        m.sender = self.sender
        m.term = LD64(p + 16)
        m.log_term = LD64(p + 24)
        m.index = LD64(p + 32)
        m.commit = LD64(p + 40)
        m.hint = LD64(p + 48)
        m.context = LD64(p + 56)
        m.set_body(p + MESSAGE_HEADER, LD32(p + 8), LD32(p + 4))
        self.offset += MESSAGE_HEADER + <size_t>LD32(p + 8)
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
