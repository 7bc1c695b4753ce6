"""Messages of every kind that goes over the wire, in every form of body, from fixed inputs; and tools for frames.

For the tests of the codec. The names and contents of ``samples`` are those of golden/frames.json: a changed
one changes that file.
"""

from __future__ import annotations

import struct
import zlib
from types import ModuleType
from typing import Any

from raftx.types import (
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
)

CLUSTER = bytes(range(16))
#: Sender with incarnation 5, recipient, group
SENDER, RECIPIENT, GROUP = 1, 2, 3
LARGEST = 2**63 - 1
WIRE_KINDS = sorted(set(MESSAGE_NAMES) - LOCAL_KINDS)
#: Kinds that must have exactly one record, and all that may have any
SINGLE_KINDS = (MSG_SNAP, MSG_READ_INDEX, MSG_READ_INDEX_RESP, MSG_CHANGE, MSG_SEEN)
BODY_KINDS = (MSG_PROP, MSG_APP, MSG_CHUNK, MSG_MEET, *SINGLE_KINDS)

FRAME_HEADER = MESSAGE_HEADER = 64
RECORD_HEADER = 32
FIELDS = ("term", "log_term", "index", "commit", "hint", "context")


def codecs(impl: ModuleType) -> tuple[Any, Any]:
    """The codec that makes the frames of samples, and the one that takes them."""
    Codec = impl._core.Codec
    return Codec(CLUSTER, SENDER, 5, GROUP), Codec(CLUSTER, RECIPIENT, 6, GROUP)


def proposal(impl: ModuleType, data: bytes, kind: int = 0, sequence: int = 7) -> Any:
    """An entry as a node proposes it: an envelope, then the data."""
    return impl.Entry(0, 0, struct.pack("<QQQ", 1, 5, sequence) + data, kind)


def samples(impl: ModuleType) -> dict[str, list[Any]]:
    """The messages of one frame by a name that says what they are."""
    Message, Entry, ConfState, Change = impl.Message, impl.Entry, impl.ConfState, impl.ConfChange
    simple = impl.Snapshot(41, 6, ConfState((1, 2, 3)), b"state")
    joint = impl.Snapshot(LARGEST, 1, ConfState((1, LARGEST), (7,), (2, 3, 4), (3,), True), bytes(range(64)))
    one = {
        "prop": Message(2, log_term=6, hint=2, context=7, entries=[proposal(impl, b"a"), proposal(impl, b"b", 0, 8)]),
        "prop bare": Message(2, entries=[Entry(0, 0, b"data")]),
        "prop change": Message(2, entries=[Entry(0, 0, Change.parse("v4", v1=True).encode(), 1)]),
        "prop change v2": Message(2, entries=[Entry(0, 0, Change.parse("v4 l5 r1 u2", 2).encode(), 2)]),
        "prop leave joint": Message(2, entries=[Entry(0, 0, Change().encode(), 2)]),
        "app": Message(
            3, term=9, log_term=4, index=10, commit=8,
            entries=[Entry(11, 4, b"x"), Entry(12, 9, b""), Entry(13, 9, b"c", 1), Entry(14, 9, b"d" * 40, 2)],
        ),
        "app empty": Message(3, term=9, log_term=9, index=14, commit=14),
        "app first": Message(3, term=1, entries=[Entry(1, 1, b"")]),
        "app_resp": Message(4, term=9, index=14),
        "app_resp refusal": Message(4, term=9, index=14, log_term=3, hint=12, flags=1),
        "app_resp snapshot request": Message(4, term=9, index=8, log_term=4, hint=12, context=12, flags=5),
        "vote": Message(5, term=10, index=14, log_term=9, hint=2**31 - 1),
        "vote transfer": Message(5, term=10, index=14, log_term=9, flags=2),
        "vote commit": Message(5, term=10, index=14, log_term=9, commit=13, context=9),
        "vote_resp": Message(6, term=10),
        "vote_resp refusal": Message(6, term=10, flags=1),
        "vote_resp refusal commit": Message(6, term=10, commit=13, context=9, flags=1),
        "snap": Message(7, term=9, snapshot=simple),
        "snap joint": Message(7, term=1, snapshot=joint),
        "snap bare": Message(7, term=9, snapshot=impl.Snapshot(1, 9, ConfState())),
        "heartbeat": Message(8, term=9, commit=14),
        "heartbeat read": Message(8, term=9, commit=14, context=3),
        "heartbeat_resp": Message(9, term=9, context=3),
        "transfer_leader": Message(13, term=9, hint=2),
        "timeout_now": Message(14, term=9),
        "read_index": Message(15, hint=3, entries=[Entry(0, 0, b"read 1")]),
        "read_index bare": Message(15, entries=[Entry(0, 0, b"")]),
        "read_index_resp": Message(16, term=9, index=14, entries=[Entry(0, 0, b"read 1")]),
        "pre_vote": Message(17, term=10, index=14, log_term=9, hint=1),
        "pre_vote_resp": Message(18, term=10),
        "pre_vote_resp refusal": Message(18, term=9, flags=1),
        "refused": Message(32, log_term=5, index=2, hint=2, context=7, flags=1),
        "doubt": Message(33, term=9, context=5),
        "doubt_resp": Message(34, term=9, index=14, context=5),
        "hello": Message(35, log_term=500, index=50, commit=3, hint=1 << 20, context=4 << 20),
        "hello on a new connection": Message(35, log_term=500, index=50, commit=7, hint=0, context=1 << 30, flags=8),
        "chunks": Message(36, log_term=6, index=41, commit=3, hint=2, context=77),
        "chunk": Message(37, log_term=6, index=41, commit=3, context=77, entries=[Entry(0, 0, b"chunk" * 9)]),
        "meet": Message(38, index=2**48 - 1, log_term=7, commit=2**32 - 1),
        "meet rebuilt": Message(38, index=1, log_term=2, commit=3, hint=1),
        "meet address": Message(38, index=1, log_term=2, commit=3, context=9, entries=[Entry(0, 0, b"tcp://a:5600")]),
        "change": Message(40, index=14, context=3, entries=[Entry(0, 0, Change.parse("l4").encode(), 2)]),
        "changed": Message(41, log_term=5, index=21, commit=7, hint=14, context=3, flags=1),
        "look": Message(42, context=3),
        "seen": Message(43, log_term=5, context=3, entries=[Entry(0, 0, b'{"id":2}')]),
        "known": Message(39, index=5 << 32 | 9),
        "known refusal": Message(39, index=5 << 32 | 9, commit=6 << 32 | 1, hint=2, flags=1),
        "chunk that is not there": Message(37, log_term=6, index=41, commit=3, context=77, flags=1),
        "largest": Message(4, flags=255, **dict.fromkeys(FIELDS, LARGEST)),
    }  # fmt: skip
    out = {name: [message] for name, message in one.items()}
    out["nothing"] = []
    out["several"] = [one["heartbeat"], one["app"], one["read_index"], one["snap"], one["prop"], one["refused"]]
    return out


def addressed(messages: list[Any]) -> list[Any]:
    """The messages as their receiver sees them."""
    for message in messages:
        message.to, message.sender = RECIPIENT, SENDER
    return messages


def seen(messages: list[Any]) -> list[Any]:
    """All that is in messages, in a form that both implementations share."""
    names = ("kind", "flags", "count", "to", "sender", "vote", *FIELDS, "records")
    return [tuple([getattr(message, name) for name in names]) for message in messages]


def heads(frame: bytes | bytearray) -> list[int]:
    """Where the message headers stand, as far as sizes can be believed."""
    out, at = [], FRAME_HEADER
    while len(frame) - at >= MESSAGE_HEADER:
        out.append(at)
        at += MESSAGE_HEADER + int(struct.unpack_from("<I", frame, at + 8)[0])
    return out


def records(frame: bytes | bytearray) -> list[tuple[int, int]]:
    """Offset and size of every record, as far as lengths can be believed."""
    out = []
    for head in heads(frame):
        at = head + MESSAGE_HEADER
        end = min(len(frame), at + int(struct.unpack_from("<I", frame, head + 8)[0]))
        while end - at >= RECORD_HEADER:
            size = RECORD_HEADER + int(struct.unpack_from("<I", frame, at + 4)[0])
            if size > end - at:
                break
            out.append((at, size))
            at += size
    return out


def reseal(frame: bytes | bytearray, bodies: bool = False) -> bytes:
    """The frame with the length and checksum of its present content; with those of its records if ``bodies``."""
    out = bytearray(frame)
    struct.pack_into("<I", out, 56, len(out) - FRAME_HEADER)
    for at, size in records(out) if bodies else ():
        struct.pack_into("<I", out, at, zlib.crc32(out[at + 4 : at + size]))
    crc = zlib.crc32(out[:60])
    for at in heads(out):
        crc = zlib.crc32(out[at : at + MESSAGE_HEADER], crc)
    struct.pack_into("<I", out, 60, crc)
    return bytes(out)


def replaced(frame: bytes | bytearray, offset: int, value: bytes) -> bytes:
    """The frame with other bytes at an offset; no checksum is changed."""
    return bytes(frame[:offset]) + value + bytes(frame[offset + len(value) :])


def with_body(impl: ModuleType, kind: int, body: bytes, count: int = 1, **fields: int) -> bytes:
    """A sealed frame of one message with any bytes as its body."""
    head = [kind, fields.pop("flags", 0), 0, count, len(body), 0, *[fields.pop(name, 0) for name in FIELDS]]
    assert not fields
    sender, _ = codecs(impl)
    return reseal(sender.encode(RECIPIENT, []) + struct.pack("<BBHIIIQQQQQQ", *head) + body)


def record(data: bytes, kind: int = 0, index: int = 0, term: int = 0, reserved: bytes = bytes(7)) -> bytes:
    """An entry record that need not make sense."""
    rest = struct.pack("<IQQB7s", len(data), index, term, kind, reserved) + data
    return struct.pack("<I", zlib.crc32(rest)) + rest


def membership(*sets: tuple[int, ...], auto_leave: int = 0, counts: tuple[int, ...] | None = None) -> bytes:
    """The bytes of a membership that need not make sense."""
    sizes = counts or tuple([len(ids) for ids in sets] + [0] * (4 - len(sets)))
    return struct.pack("<BBBBB3x", *sizes, auto_leave) + b"".join([struct.pack("<Q", id) for ids in sets for id in ids])
