"""Memory that holds entries and frames, in plain Python: the definition of what ``memory.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``. Same names, same results and the same bytes
as the compiled module; both change in one commit. Blocks, buffers, spans, records and cursors only: the
messages are ``outbox``'s, log and frames ``_core``'s. No I/O, no clock, no threads here.

Where the compiled module has a pointer there is a bytes-like object here. Names with one underscore
are for the other twins. Every object belongs to one thread at a time.
"""

from __future__ import annotations

import operator
import struct
import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias, final

from ..errors import FrameError
from .checks import DEBUG, check_index, check_part
from .layout import ENTRY_HEADER, ENVELOPE, RECORD_CRC, RECORD_INDEX, RECORD_LENGTH, TIME_UNIT

ENTRY_MAX = 2**31

Bytes: TypeAlias = bytes | bytearray | memoryview
View = memoryview

_RECORD_BODY = struct.Struct("<IQQQ")  # length, index, term, time and kind: a record's header after its crc
_PROPOSAL = struct.Struct("<IIQQB7xQQQ")  # a whole header, and the envelope: origin, incarnation, sequence
_ENVELOPE = struct.Struct("<QQQ")
_PLACE = struct.Struct("<QQ")  # index and term
_CURSOR = struct.Struct("<QQQ")  # the same, time and kind
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_put = object.__setattr__


def _number(value: Any, high: int = 2**64, low: int = 0) -> int:
    """``value`` as an int in [low, high); raises as the conversion to a C integer does."""
    number = int(operator.index(value))
    if not low <= number < high:
        raise OverflowError(f"{number} is not in [{low}, {high})")
    return number


def _int(value: Any) -> int:
    return _number(value, 2**31, -(2**31))


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes are required, not {type(value).__name__}")
    return value


def crc32(seed: int, data: Bytes, size: int) -> int:
    """CRC-32 with zlib's polynomial of the first ``size`` bytes, going on from ``seed``."""
    return zlib.crc32(memoryview(data)[:size], seed)


def is_debug() -> bool:
    """Whether this build looks at indexes and invariants, and ends the process where one does not hold."""
    return DEBUG


def py_crc32(data: Bytes, seed: int = 0) -> int:
    """CRC-32 of ``data``; equal to ``zlib.crc32(data, seed)``."""
    return zlib.crc32(data, _number(seed, 2**32))


def _encode_record(index: int, term: int, kind: int, data: Bytes, time: int = 0) -> bytes:
    """One entry record: header with its crc, then the data."""
    if len(data) > ENTRY_MAX:
        raise OverflowError("data of an entry must not exceed 2^31 bytes")
    record = b"".join((_RECORD_BODY.pack(len(data), index, term, time // TIME_UNIT * TIME_UNIT + kind), data))
    return _U32.pack(zlib.crc32(record)) + record


def _record_size(body: Bytes, offset: int, end: int) -> int:
    """Size of the record at ``offset``; 0 when no whole record stands there before ``end``."""
    if end - offset < ENTRY_HEADER:
        return 0
    length: int = _U32.unpack_from(body, offset + RECORD_LENGTH)[0]
    size = ENTRY_HEADER + length
    return 0 if length > ENTRY_MAX or size > end - offset else size


def _record_valid(body: memoryview, offset: int, size: int, unsealed: bool = False) -> bool:
    crc: int = _U32.unpack_from(body, offset + RECORD_CRC)[0]
    return (unsealed and not crc) or zlib.crc32(body[offset + RECORD_LENGTH : offset + size]) == crc


def _walk(body: Bytes, size: int) -> Iterator[tuple[int, int, int, int]]:
    """(offset, size, index, term) of each record; a size of 0 says that no whole record stands there."""
    offset = 0
    while offset < size:
        step = _record_size(body, offset, size)
        if not step:
            yield offset, 0, 0, 0
            return
        yield offset, step, *_PLACE.unpack_from(body, offset + RECORD_INDEX)
        offset += step


def _count_records(body: memoryview, verify: bool, unsealed: bool = False) -> int:
    """How many records fill the body exactly, with right crcs when ``verify`` (0 is right if ``unsealed``); else -1."""
    count = 0
    for offset, step, _, _ in _walk(body, len(body)):
        if not step or (verify and not _record_valid(body, offset, step, unsealed)):
            return -1
        count += 1
    return count


class Block:
    """Append-only memory of a fixed capacity: bytes [0, used) never change again."""

    __slots__ = ("capacity", "data", "used", "view")

    def __init__(self, capacity: int) -> None:
        self.data = bytearray(capacity)
        self.view = memoryview(self.data).toreadonly()
        self.capacity = capacity
        self.used = 0


def block_new(capacity: int) -> Block:
    """A Block with nothing used."""
    return Block(capacity)


def block_data(block: Block) -> bytearray:
    """The memory of ``block``, for its owner to append to."""
    return block.data


def block_ref(block: Block) -> None:
    """Nothing: the interpreter counts references itself."""


def block_unref(block: Block) -> None:
    """Nothing: the interpreter counts references itself."""


@final
class Entry:
    """One entry of the log: what a state machine's ``apply`` is given. Immutable; equal where all fields are.

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

    __slots__ = ("data", "index", "kind", "session", "session_sequence", "term", "time")

    index: int
    term: int
    kind: int
    data: bytes
    time: int
    session: bytes | None
    session_sequence: int

    def __init__(
        self,
        index: int,
        term: int,
        data: bytes,
        kind: int = 0,
        time: int = 0,
        session: bytes | None = None,
        session_sequence: int = 0,
    ) -> None:
        _put(self, "index", _number(index))
        _put(self, "term", _number(term))
        _put(self, "kind", _number(kind, 256))
        _put(self, "data", _bytes(data))
        _put(self, "time", _number(time) // TIME_UNIT * TIME_UNIT)
        _put(self, "session", None if session is None else _bytes(session))
        _put(self, "session_sequence", _number(session_sequence))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"attribute {name!r} of 'Entry' objects is not writable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"attribute {name!r} of 'Entry' objects is not writable")

    def encode(self) -> bytes:
        """The entry record: 32 bytes of header and the data."""
        return _encode_record(self.index, self.term, self.kind, self.data, self.time)

    @staticmethod
    def decode_all(records: Bytes, unsealed: bool = False) -> list[Entry]:
        """All entries of records that stand back to back; raises FrameError when one is not whole and valid.

        With ``unsealed``, a crc of 0 is taken as well: proposals have none until they leave the node.
        """
        view = memoryview(bytes(records))
        if _count_records(view, True, bool(unsealed)) < 0:
            raise FrameError("records")
        return [_entry_at(view, offset, step) for offset, step, _, _ in _walk(view, len(view))]

    @staticmethod
    def data_of(record: Bytes, checked: bool = True) -> memoryview:
        """The data of one whole and valid record, where they are: a view of it. Raises FrameError.

        Without ``checked`` its crc is not looked at: for who has another one of the data.
        """
        view = memoryview(record)
        if _count_records(view, bool(checked), False) != 1:
            raise FrameError("records")
        return view[ENTRY_HEADER:]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.index, self.term, self.kind, self.data, self.time))

    def __repr__(self) -> str:
        more = f", time={self.time}" if self.time else ""
        if self.session is not None:
            more += f", session={self.session!r}, session_sequence={self.session_sequence}"
        return f"Entry(index={self.index}, term={self.term}, kind={self.kind}, data=<{len(self.data)} bytes>{more})"

    def __reduce__(self) -> tuple[type[Entry], tuple[Any, ...]]:
        return Entry, self._values()

    def _values(self) -> tuple[Any, ...]:
        return self.index, self.term, self.data, self.kind, self.time, self.session, self.session_sequence


def _entry_at(body: memoryview, offset: int, size: int) -> Entry:
    index, term, time = _CURSOR.unpack_from(body, offset + RECORD_INDEX)
    return Entry(index, term, bytes(body[offset + ENTRY_HEADER : offset + size]), time % TIME_UNIT, time)


@final
class Buffer:
    """Growable bytes with little-endian access at any offset; bytes [0, size) of ``data`` are in use."""

    __slots__ = ("alignment", "capacity", "data", "size")

    def __init__(self, alignment: int = 0) -> None:
        self.alignment = _number(alignment)
        if alignment & (alignment - 1) or 0 < alignment < 8:
            raise ValueError("alignment must be a power of two of at least 8, or 0")
        self.data = bytearray()
        self.capacity = 0
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def tobytes(self) -> bytes:
        """A copy of the bytes in use."""
        return bytes(memoryview(self.data)[: self.size])

    def py_put(self, data: Bytes) -> None:
        """Append ``data``."""
        self.put(bytes(data), len(bytes(data)))

    def py_clear(self) -> None:
        """Drop all; the memory stays for what comes next."""
        self.clear()

    def reserve(self, extra: int) -> int:
        """Make room for ``extra`` bytes after ``size``."""
        if self.size + extra > self.capacity:
            self.capacity = max(self.capacity, 4096)
            while self.capacity < self.size + extra:
                self.capacity *= 2
            # A new bytearray, because the old one cannot change its length while views of it exist.
            data = bytearray(self.capacity)
            data[: self.size] = memoryview(self.data)[: self.size]
            self.data = data
        return 0

    def try_reserve(self, extra: int) -> bool:
        """The same for who must not raise; whether there is room now."""
        try:
            self.reserve(extra)
        except MemoryError:
            return False
        return True

    def clear(self) -> None:
        """Forget all bytes and keep the memory."""
        self.size = 0

    def swap(self, other: Buffer) -> None:
        """Exchange the contents of two buffers."""
        self.data, other.data = other.data, self.data
        self.size, other.size = other.size, self.size
        self.capacity, other.capacity = other.capacity, self.capacity
        self.alignment, other.alignment = other.alignment, self.alignment

    def put(self, data: Bytes, size: int) -> int:
        """Append the first ``size`` bytes of ``data``."""
        self.reserve(size)
        self.data[self.size : self.size + size] = memoryview(data)[:size]
        self.size += size
        return 0

    def put_spans(self, spans: Spans) -> int:
        """Append the bytes of all spans."""
        self.reserve(spans.size)
        for span in spans.items:
            self.put(span.data, span.size)
        return 0

    def fill(self, size: int) -> int:
        """Append ``size`` zero bytes."""
        return self.put(bytes(size), size)

    def pad(self, alignment: int) -> int:
        """Append zero bytes up to a multiple of ``alignment``."""
        return self.fill(-self.size % alignment)

    def get_u32(self, offset: int) -> int:
        """The little-endian number in the four bytes at ``offset``, which must be in use."""
        check_part(offset, 4, self.size)
        value: int = _U32.unpack_from(self.data, offset)[0]
        return value

    def get_u64(self, offset: int) -> int:
        """The little-endian number in the eight bytes at ``offset``, which must be in use."""
        check_part(offset, 8, self.size)
        value: int = _U64.unpack_from(self.data, offset)[0]
        return value

    def set_u32(self, offset: int, value: int) -> None:
        """Write four bytes at ``offset``, which must be in use."""
        check_part(offset, 4, self.size)
        _U32.pack_into(self.data, offset, value)

    def set_u64(self, offset: int, value: int) -> None:
        """Write eight bytes at ``offset``, which must be in use."""
        check_part(offset, 8, self.size)
        _U64.pack_into(self.data, offset, value)

    def _part(self, offset: int, size: int) -> memoryview:
        check_part(offset, size, self.size)
        return memoryview(self.data)[offset : offset + size]

    def crc(self, offset: int, size: int) -> int:
        """CRC-32 of a part."""
        return zlib.crc32(self._part(offset, size))

    def zeros(self, offset: int, size: int) -> bool:
        """Whether a part holds zero bytes only."""
        check_part(offset, size, self.size)
        return self.data.count(0, offset, offset + size) == size

    def records_crc(self, offset: int, size: int) -> int:
        """CRC-32 over the crc fields of the records in a part, in their order."""
        part = self._part(offset, size)
        crc = 0
        for at, step, _, _ in _walk(part, size):
            if not step:
                break
            crc = zlib.crc32(part[at + RECORD_CRC : at + RECORD_LENGTH], crc)
        return crc

    def check_records(self, offset: int, size: int, verify: bool) -> int:
        """Number of records that fill a part exactly (with right crcs when ``verify``), else -1."""
        return _count_records(self._part(offset, size), verify)

    def put_proposal(self, kind: int, origin: int, incarnation: int, sequence: int, data: Bytes, size: int) -> int:
        """Append a record without crc, index and term whose data are the envelope and ``data``."""
        self.put(_PROPOSAL.pack(0, ENVELOPE + size, 0, 0, kind & 255, origin, incarnation, sequence), _PROPOSAL.size)
        return self.put(data, size)

    def append_proposal(self, kind: int, origin: int, incarnation: int, sequence: int, data: Bytes, size: int) -> None:
        """The same where there is memory for it already."""
        self.put_proposal(kind, origin, incarnation, sequence, data, size)


class Span:
    """A piece of memory that never changes: ``count`` entries from index ``first`` on."""

    __slots__ = ("block", "count", "data", "first", "size")

    def __init__(self, block: object, data: Bytes, size: int, first: int, count: int) -> None:
        self.block = block
        self.data = data
        self.size = size
        self.first = first
        self.count = count


@final
class Spans:
    """A list of Spans: ``count`` of them with ``size`` bytes in all."""

    __slots__ = ("count", "items", "size")

    def __init__(self) -> None:
        self.items: list[Span] = []
        self.count = 0
        self.size = 0

    def __len__(self) -> int:
        return self.count

    def tobytes(self) -> bytes:
        """The bytes of all spans, joined."""
        return b"".join([span.data for span in self.items])

    def pieces(self) -> list[View]:
        """One read-only view for each span; it stays valid for as long as it is held."""
        return [memoryview(span.data).toreadonly() for span in self.items]

    def firsts(self) -> list[int]:
        """``first`` of each span."""
        return [span.first for span in self.items]

    def entries(self) -> list[Entry]:
        """The entries of all spans, taken as they are: nothing is verified but that records are whole."""
        out = []
        for span in self.items:
            view = memoryview(span.data)
            for offset, step, _, _ in _walk(view, span.size):
                if not step:
                    raise FrameError("records")
                out.append(_entry_at(view, offset, step))
        return out

    def py_push(self, data: Bytes, first: int = 0, entries: int = 0) -> None:
        """Append a copy of ``data`` as one span."""
        copy = bytes(data)
        self.push(copy, copy, len(copy), _number(first), _number(entries, 2**32))

    def py_push_record(self, data: Bytes | Buffer) -> None:
        """Append the record of an entry of kind, index and term 0 with these bytes, or those of a Buffer.

        Raises OverflowError.
        """
        record = Entry(0, 0, data.tobytes() if isinstance(data, Buffer) else bytes(memoryview(data))).encode()
        self.push(record, record, len(record), 0, 1)

    def py_clear(self) -> None:
        """Forget all spans."""
        self.clear()

    def push(self, block: object, data: Bytes, size: int, first: int, entries: int) -> int:
        """Append a span of ``block``."""
        self.items.append(Span(block, memoryview(data)[:size], size, first, entries))
        self.count += 1
        self.size += size
        return 0

    def push_copy(self, data: Bytes, size: int, first: int, entries: int) -> int:
        """Append a span of memory of its own."""
        copy = bytes(memoryview(data)[:size])
        return self.push(copy, copy, size, first, entries)

    def push_shared(self, other: Spans, span: int) -> int:
        """Append a span of ``other``, which keeps it: the same bytes, not a copy."""
        check_index(span, other.count)
        its = other.items[span]
        return self.push(its.block, its.data, its.size, its.first, its.count)

    def take(self, other: Spans) -> int:
        """Append the spans of ``other``, which is empty afterwards."""
        self.items += other.items
        self.count += other.count
        self.size += other.size
        other.clear()
        return 0

    def records_crc(self) -> int:
        """CRC-32 over the checksums of the records, in order; as far as they are whole."""
        crc = 0
        for span in self.items:
            view = memoryview(span.data)
            for offset, step, _, _ in _walk(view, span.size):
                if not step:
                    return crc
                crc = zlib.crc32(view[offset : offset + 4], crc)
        return crc

    def zero_parts(self, before: int, size: int) -> int:
        """How many parts of ``size`` bytes hold zeros only; ``before`` bytes that are not zeros stand in front."""
        whole = b"".join([b"\xff" * (before % size), *[span.data for span in self.items]])
        parts = [whole[at : at + size] for at in range(0, len(whole), size)]
        return sum(1 for part in parts if not any(part))

    def py_records_crc(self) -> int:
        """``records_crc`` for Python."""
        return self.records_crc()

    def py_zero_parts(self, before: int, size: int) -> int:
        """``zero_parts`` for Python."""
        if not _number(size):
            raise ValueError("size must be at least 1")
        return self.zero_parts(_number(before), size)

    def data_at(self, span: int) -> Bytes:
        """The bytes of one span."""
        check_index(span, self.count)
        return self.items[span].data

    def size_at(self, span: int) -> int:
        """How many bytes one span has."""
        check_index(span, self.count)
        return self.items[span].size

    def clear(self) -> None:
        """Forget all spans."""
        self.items = []
        self.count = 0
        self.size = 0

    def swap(self, other: Spans) -> None:
        """Exchange the contents of two lists."""
        self.items, other.items = other.items, self.items
        self.count, other.count = other.count, self.count
        self.size, other.size = other.size, self.size


@final
class Cursor:
    """Walks the records of one span; origin, incarnation and sequence are 0 where there is no envelope."""

    __slots__ = (
        "data", "incarnation", "index", "kind", "left", "origin", "place", "sequence", "size", "term", "time",
    )  # fmt: skip

    def __init__(self) -> None:
        self.place = self.data = memoryview(b"")
        self.left = self.size = self.kind = 0
        self.index = self.term = self.time = self.origin = self.incarnation = self.sequence = 0

    def open(self, spans: Spans, span: int) -> None:
        """Stand before the first record of a span, which must stay."""
        check_index(span, spans.count)
        self.place = memoryview(spans.items[span].data)
        self.left = spans.items[span].size

    def next(self) -> bool:
        """Go on to the next record; False when none is left."""
        step = _record_size(self.place, 0, self.left)
        if not step:
            return False
        self.index, self.term, time = _CURSOR.unpack_from(self.place, RECORD_INDEX)
        self.kind = time % TIME_UNIT
        self.time = time - self.kind
        self.data = self.place[ENTRY_HEADER:step]
        self.size = step - ENTRY_HEADER
        envelope = _ENVELOPE.unpack_from(self.data) if self.size >= ENVELOPE else (0, 0, 0)
        self.origin, self.incarnation, self.sequence = envelope
        self.place = self.place[step:]
        self.left -= step
        return True

    def payload(self, skip: int) -> bytes:
        """The data of the record from byte ``skip`` on."""
        return bytes(self.data[skip:])
