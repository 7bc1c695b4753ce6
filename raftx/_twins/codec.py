"""The framing codec in plain Python: the definition of what ``_core/codec.pxi`` does faster.

What a message means is not known here, only its form.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import final

from .._native.checks import check_index
from .._native.layout import (
    ENTRY_HEADER,
    FRAME_CLUSTER_BYTES,
    FRAME_CRC,
    FRAME_FLAGS,
    FRAME_HEADER,
    FRAME_INCARNATION,
    FRAME_LENGTH,
    FRAME_LIMIT,
    FRAME_MAGIC_VALUE,
    FRAME_SENDER,
    LIMIT_UNIT,
    MESSAGE_HEADER,
    MESSAGE_SIZE,
    RECORD_CRC,
    RECORD_KIND,
    RECORD_LENGTH,
)
from .._native.memory import _U32, _U64, Bytes, Spans, _bytes, _number, _put, _record_valid, _walk
from .._native.outbox import Message, Outbox
from ..errors import FrameError
from ..types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    ENTRY_SESSION,
    ENTRY_SNAPSHOT,
    LOCAL_KINDS,
    MESSAGE_NAMES,
    MSG_APP,
    MSG_CHANGE,
    MSG_CHUNK,
    MSG_MEET,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SEEN,
    MSG_SNAP,
    NUMBER_MAX,
    ConfState,
)

REASONS = (
    "ok", "short", "magic", "version", "cluster", "group", "recipient", "length", "checksum", "kind", "range",
    "records", "sender", "identity", "seal", "replay",
)  # fmt: skip

_MAGIC = FRAME_MAGIC_VALUE.to_bytes(4, "little")
_VERSION = 1
_TOO_LARGE = 1  # flag of a frame: its sender has something for the recipient that is larger than it takes
_NO_ROOM = 2  # likewise: its sender's disk is full
_DOUBT = 4  # likewise: its sender is in doubt, or its disk says so
_BEHIND = 8  # likewise: its sender's state machine is far behind
_FRAME = struct.Struct("<4sBBH16sQQQQII")
_HEAD = struct.Struct("<BBHIIIQQQQQQ")  # kind, flags, 0, count, size, 0, term .. context
_SHORT, _BAD_MAGIC, _BAD_VERSION, _CLUSTER, _GROUP, _RECIPIENT, _LENGTH, _CHECKSUM, _KIND, _RANGE, _RECORDS, _SENDER = (
    range(1, 13)
)
_IDENTITY = 13  # its connection is another member's. The next two are a link's to find (_native/seal.py)
REFER_FROM = 256 << 10  # a body of so many bytes need not be copied into a frame
_WIRE_KINDS = frozenset(MESSAGE_NAMES) - LOCAL_KINDS
_LOG_KINDS = (ENTRY_NORMAL, ENTRY_SESSION, ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2)


def _may_stay(kind: int, body_size: int) -> bool:
    """Of proposals a checksum is still to be written, so they are copied; a small body is cheaper to copy."""
    return body_size >= REFER_FROM and kind != MSG_PROP


@final
class Codec:
    """Frames of one node of one cluster. Not shared between threads.

    A frame is a header (``_FRAME``) and for each message a header (``_HEAD``) and its records. The
    frame's crc covers the frame header before it and every message header; each record has its own.
    """

    __slots__ = (
        "_data",
        "_elsewhere",
        "_limit_units",
        "_offset",
        "_out",
        "_out_size",
        "behind",
        "cluster",
        "connection",
        "foreign",
        "group",
        "id",
        "in_doubt",
        "incarnation",
        "no_room",
        "rejected",
        "sender",
        "sender_behind",
        "sender_in_doubt",
        "sender_incarnation",
        "sender_limit",
        "sender_no_room",
        "sender_too_large",
    )

    def __init__(self, cluster: bytes, id: int, incarnation: int = 0, group: int = 0) -> None:
        if len(_bytes(cluster)) != FRAME_CLUSTER_BYTES:
            raise ValueError("cluster must be 16 bytes")
        id = _number(id)
        if not 1 <= id <= NUMBER_MAX:
            raise ValueError("id must be in 1..2^63-1")
        self.cluster = cluster
        self.id = id
        self.incarnation = _number(incarnation)
        self.group = _number(group)
        self.sender = self.sender_incarnation = 0
        self.connection = 0  # the member that the next frame has to be of, by its connection; 0: any
        self.sender_limit = 0  # bytes of a frame that it takes; 0: it does not say
        self.foreign = 0  # who sent the last frame of another cluster, by its own account; 0: it is not known
        self.in_doubt = False  # every frame tells that this node is in doubt, or that its disk says so
        self.sender_in_doubt = False  # likewise its sender
        self.no_room = False  # every frame tells that this node's disk is full
        self.behind = False  # likewise that its state machine is far behind
        self.sender_no_room = self.sender_behind = False  # likewise its sender's
        self.sender_too_large = False  # it has something for this node that is larger than it takes
        self._limit_units = 0  # of 64 KiB, told to others; 0: not said
        self.rejected = [0] * 16  # dropped frames by reason
        self._out = memoryview(bytearray())
        self._out_size = 0
        self._elsewhere = 0  # bytes of bodies that belong to the frame and are not in _out
        self._data = memoryview(b"")
        self._offset = 0

    def announce(self, limit: int) -> None:
        """Tell in every frame from now on that frames of up to ``limit`` bytes are taken here.

        It is a multiple of 64 KiB, at most 65535 of them: a header has no room for less. Raises ValueError.
        """
        if not LIMIT_UNIT <= limit < 1 << 32 or limit % LIMIT_UNIT:
            raise ValueError("limit must be a multiple of 65536, from 65536 to 2^32 - 65536")
        self._limit_units = limit // LIMIT_UNIT

    def mark(self) -> None:
        """In the frame that is being made: something for its recipient is larger than it takes."""
        self._out[FRAME_FLAGS] |= _TOO_LARGE

    def measure(self, box: Outbox, row: int) -> int:
        """Bytes that a row takes in a frame."""
        check_index(row, len(box.rows))
        return MESSAGE_HEADER + box.rows[row].body_size

    def refers(self, box: Outbox, row: int) -> bool:
        """Whether the body of a row may stay where it is: with ``add_head``. In a frame, for all such rows or none."""
        check_index(row, len(box.rows))
        return _may_stay(box.rows[row].kind, box.rows[row].body_size)

    def begin(self, out: bytearray | memoryview, size: int, recipient: int) -> int:
        """Begin a frame in ``out``; -1 when its ``size`` bytes cannot hold the header."""
        if size < FRAME_HEADER:
            return -1
        self._elsewhere = 0
        self._out = memoryview(out)
        self._pack_header(recipient, 0, 0)
        self._out_size = FRAME_HEADER
        return 0

    def _pack_header(self, recipient: int, length: int, crc: int) -> None:
        addresses = (self.group, self.id, recipient, self.incarnation)
        flags = (_NO_ROOM if self.no_room else 0) | (_DOUBT if self.in_doubt else 0)
        flags |= _BEHIND if self.behind else 0
        _FRAME.pack_into(
            self._out, 0, _MAGIC, _VERSION, flags, self._limit_units, self.cluster, *addresses, length, crc
        )

    def add_head(self, box: Outbox, row: int) -> int:
        """Append a row whose body stays where it is; it comes behind so many bytes of what is written."""
        check_index(row, len(box.rows))
        r = box.rows[row]
        numbers = (r.term, r.log_term, r.index, r.commit, r.hint, r.context)
        _HEAD.pack_into(self._out, self._out_size, r.kind & 255, r.flags & 255, 0, r.count, r.body_size, 0, *numbers)
        self._out_size += MESSAGE_HEADER
        self._elsewhere += r.body_size
        return self._out_size

    def add(self, box: Outbox, row: int) -> int:
        """Append a row; the room was measured before."""
        r = box.rows[row]
        at = self.add_head(box, row)
        self._elsewhere -= r.body_size
        for span in r.spans.items:
            self._out[at : at + span.size] = span.data
            at += span.size
        if r.kind == MSG_PROP:
            # Proposals have no checksum until somebody needs one: here, where they leave the node.
            body = self._out[at - r.body_size : at]
            for offset, step, _, _ in _walk(body, r.body_size):
                if step:
                    crc = zlib.crc32(body[offset + RECORD_LENGTH : offset + step])
                    _U32.pack_into(body, offset + RECORD_CRC, crc)
        self._out_size = at
        return 0

    def finish(self) -> int:
        """Fill in length and crc; returns how many bytes of the frame have been written."""
        size = self._out_size
        _U32.pack_into(self._out, FRAME_LENGTH, size + self._elsewhere - FRAME_HEADER)
        _U32.pack_into(self._out, FRAME_CRC, self._headers_crc(self._out, size, self._elsewhere != 0))
        self._out = memoryview(bytearray())
        return size

    def _headers_crc(self, frame: memoryview, size: int, lean: bool) -> int:
        """lean: bodies that may stay where they are are not in it."""
        crc = zlib.crc32(frame[:FRAME_CRC])
        at = FRAME_HEADER
        while size - at >= MESSAGE_HEADER:
            crc = zlib.crc32(frame[at : at + MESSAGE_HEADER], crc)
            body = _U32.unpack_from(frame, at + MESSAGE_SIZE)[0]
            if not lean or not _may_stay(frame[at], body):
                at += body
            at += MESSAGE_HEADER
        return crc

    def open(self, data: Bytes, size: int) -> int:
        """Verify a received frame before anything of it is used; returns 0 or the reason why it is dropped."""
        frame = memoryview(data)[:size]
        reason = self._verify(frame, size)
        self.rejected[reason] += reason > 0
        if reason == _CLUSTER:
            self.foreign = self._foreign_sender(frame, size)
        self._data = memoryview(b"") if reason else frame
        self._offset = FRAME_HEADER
        if not reason:
            self.sender = _U64.unpack_from(frame, FRAME_SENDER)[0]
            self.sender_incarnation = _U64.unpack_from(frame, FRAME_INCARNATION)[0]
            self.sender_limit = (frame[FRAME_LIMIT + 1] * 256 + frame[FRAME_LIMIT]) * LIMIT_UNIT
            self.sender_too_large = frame[FRAME_FLAGS] & _TOO_LARGE != 0
            self.sender_no_room = frame[FRAME_FLAGS] & _NO_ROOM != 0
            self.sender_in_doubt = frame[FRAME_FLAGS] & _DOUBT != 0
            self.sender_behind = frame[FRAME_FLAGS] & _BEHIND != 0
        return reason

    def _foreign_sender(self, frame: memoryview, size: int) -> int:
        sender, crc = _U64.unpack_from(frame, FRAME_SENDER)[0], _U32.unpack_from(frame, FRAME_CRC)[0]
        return sender if crc == self._headers_crc(frame, size, False) and sender <= NUMBER_MAX else 0

    def _verify(self, frame: memoryview, size: int) -> int:
        if size < FRAME_HEADER:
            return _SHORT
        magic, version, _, _, cluster, group, sender, recipient, _, length, crc = _FRAME.unpack_from(frame)
        for wrong, reason in (
            (magic != _MAGIC, _BAD_MAGIC),
            (version != _VERSION, _BAD_VERSION),
            (cluster != self.cluster, _CLUSTER),
            (group != self.group, _GROUP),
            (recipient != self.id, _RECIPIENT),
            (self.connection not in (0, sender), _IDENTITY),
            (length != size - FRAME_HEADER, _LENGTH),
            (crc != self._headers_crc(frame, size, False), _CHECKSUM),
            (sender in (0, self.id) or sender > NUMBER_MAX, _SENDER),
        ):
            if wrong:
                return reason
        at = FRAME_HEADER
        while at < size:
            if size - at < MESSAGE_HEADER:
                return _LENGTH
            body = frame[at + MESSAGE_HEADER :]
            reason = self._check_message(_HEAD.unpack_from(frame, at), body)
            if reason:
                return reason
            at += MESSAGE_HEADER + _U32.unpack_from(frame, at + MESSAGE_SIZE)[0]
        return 0

    def _check_message(self, head: Sequence[int], rest: memoryview) -> int:
        kind, _, _, count, size, _, *numbers = head
        if kind not in _WIRE_KINDS:
            return _KIND
        if max(numbers) > NUMBER_MAX:
            return _RANGE
        if size > len(rest):
            return _LENGTH
        if size and kind not in (MSG_APP, MSG_PROP):
            return self._check_single(kind, numbers[0], rest[:size], count)
        if kind in (MSG_SNAP, MSG_READ_INDEX, MSG_READ_INDEX_RESP, MSG_CHANGE, MSG_SEEN):
            return _RECORDS
        term, previous, index = numbers[:3]
        for offset, step, at, its in _walk(rest, size):
            if not step or not _record_valid(rest, offset, step) or rest[offset + RECORD_KIND] not in _LOG_KINDS:
                return _RECORDS
            if kind == MSG_APP:
                index += 1
                if at != index or index > NUMBER_MAX or its == 0 or not previous <= its <= term:
                    return _RECORDS
                previous = its
            elif at or its:
                return _RECORDS
            count -= 1
        return _RECORDS if count else 0

    def _check_single(self, kind: int, term: int, body: memoryview, count: int) -> int:
        # Messages with one record: a snapshot, the context of a read, a chunk of a file, an address, or a status.
        found = list(_walk(body, len(body)))
        if count != 1 or len(found) != 1 or found[0][1] != len(body) or not _record_valid(body, 0, len(body)):
            return _RECORDS
        index, its = found[0][2:]
        if kind in (MSG_READ_INDEX, MSG_READ_INDEX_RESP, MSG_CHUNK, MSG_MEET, MSG_SEEN):
            return _RECORDS if body[RECORD_KIND] or index or its else 0
        if kind == MSG_CHANGE:
            return _RECORDS if body[RECORD_KIND] >= ENTRY_SNAPSHOT or index or its else 0
        if kind != MSG_SNAP or body[RECORD_KIND] != ENTRY_SNAPSHOT:
            return _RECORDS
        if not 1 <= index <= NUMBER_MAX or not 1 <= its <= term:
            return _RECORDS
        try:
            ConfState.decode(bytes(body[ENTRY_HEADER:]))
        except ValueError:
            return _RECORDS
        return 0

    def next(self, m: Message) -> int:
        """Fill ``m`` with the next message, whose body lies in the frame; 0 at the end."""
        if self._offset >= len(self._data):
            return 0
        kind, flags, _, count, size, _, *numbers = _HEAD.unpack_from(self._data, self._offset)
        start = self._offset + MESSAGE_HEADER
        m.reset(kind)
        _put(m, "flags", flags)
        _put(m, "to", self.id)
        _put(m, "sender", self.sender)
        for name, value in zip(("term", "log_term", "index", "commit", "hint", "context"), numbers):
            _put(m, name, value)
        m.set_body(self._data[start : start + size], size, count)
        self._offset = start + size
        return 1

    def encode(self, recipient: int, messages: Iterable[Message]) -> bytes:
        """One frame for ``recipient``. The messages' own addresses are not on the wire."""
        box = Outbox()
        for m in messages:
            box.py_push(m)
        out = bytearray(FRAME_HEADER + sum([self.measure(box, row) for row in range(box.length())]))
        self.begin(out, len(out), _number(recipient))
        for row in range(box.length()):
            self.add(box, row)
        self.finish()
        return bytes(out)

    def encode_parts(self, recipient: int, messages: Iterable[Message]) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The frame of ``encode`` in parts: what is written, and (place in it, bytes) of each body that stays."""
        box = Outbox()
        for m in messages:
            box.py_push(m)
        rows = range(box.length())
        out = bytearray(
            FRAME_HEADER + sum([MESSAGE_HEADER if self.refers(box, row) else self.measure(box, row) for row in rows])
        )
        bodies = []
        self.begin(out, len(out), _number(recipient))
        for row in rows:
            if self.refers(box, row):
                body = Spans()
                box.put_body(row, body)
                bodies.append((self.add_head(box, row), body.tobytes()))
            else:
                self.add(box, row)
        self.finish()
        return bytes(out), bodies

    def decode(self, frame: bytes) -> list[Message]:
        """The messages of a frame for this node; raises FrameError, and counts, when it is refused."""
        reason = self.open(_bytes(frame), len(frame))
        if reason:
            raise FrameError(REASONS[reason])
        m = Message()
        out = []
        while self.next(m):
            out.append(m.copy())
        self._data = memoryview(b"")
        return out

    def rejected_by_reason(self) -> dict[str, int]:
        """How many frames were dropped, by reason."""
        return {name: self.rejected[i] for i, name in enumerate(REASONS) if i}
