"""The frame codec: layout, and that nothing invalid comes through, in both implementations."""

from __future__ import annotations

import importlib
import struct
import zlib
from typing import Any

import pytest

CLUSTER = bytes(range(16))
PROP, APP, APP_RESP, HEARTBEAT = 2, 3, 4, 8
# The largest number that the wire takes.
LARGEST = 2**63 - 1


@pytest.fixture
def core(impl: Any) -> Any:
    """The module under test."""
    return importlib.import_module(impl.__name__ + "._core")


def pair(core: Any, **settings: int) -> tuple[Any, Any]:
    """The codecs of node 1, which sends, and of node 2, which receives."""
    return core.Codec(CLUSTER, 1, 5, **settings), core.Codec(CLUSTER, 2, 6, **settings)


def append(core: Any, *terms: int, term: int = 9, log_term: int = 1, index: int = 10) -> Any:
    """An append with an entry for each of ``terms``."""
    entries = [core.Entry(index + 1 + i, its, b"data" * i) for i, its in enumerate(terms)]
    return core.Message(APP, term=term, log_term=log_term, index=index, commit=4, entries=entries)


def reseal(frame: bytes | bytearray) -> bytes:
    """The frame with the length and the checksum that belong to its present content."""
    out = bytearray(frame)
    struct.pack_into("<I", out, 56, len(out) - 64)
    crc, at = zlib.crc32(out[:60]), 64
    while len(out) - at >= 64:
        crc = zlib.crc32(out[at : at + 64], crc)
        at += 64 + struct.unpack_from("<I", out, at + 8)[0]
    struct.pack_into("<I", out, 60, crc)
    return bytes(out)


def refused(core: Any, codec: Any, frame: bytes) -> str:
    """The reason why ``codec`` refuses ``frame``; it has to count it."""
    before = codec.rejected_by_reason()
    with pytest.raises(core.FrameError) as caught:
        codec.decode(frame)
    reason: str = caught.value.reason
    assert codec.rejected_by_reason() == before | {reason: before[reason] + 1}
    return reason


def test_layout(core: Any) -> None:
    sender, _ = pair(core, group=3)
    entry = core.Entry(11, 9, b"abc", 1)
    numbers = {"term": 9, "log_term": 8, "index": 10, "commit": 7, "hint": 6, "context": 5}
    frame = sender.encode(2, [core.Message(APP, flags=2, vote=4, entries=[entry], **numbers)])
    head = struct.pack("<BBHIIIQQQQQQ", APP, 2, 0, 1, 35, 0, 9, 8, 10, 7, 6, 5)
    front = struct.pack("<4sBBH16sQQQQI", b"RXF1", 1, 0, 0, CLUSTER, 3, 1, 2, 5, 64 + 35)
    crc = struct.pack("<I", zlib.crc32(front + head))
    assert frame == front + crc + head + entry.encode()


def test_round_trip(core: Any) -> None:
    sender, receiver = pair(core)
    sent = [
        append(core, 1, 1, 2, 9),
        core.Message(APP_RESP, term=3, index=LARGEST, hint=LARGEST, context=LARGEST, commit=1, log_term=1, flags=1),
        append(core),
        core.Message(PROP, entries=[core.Entry(0, 0, b"x" * 5000), core.Entry(0, 0, b"", 1)]),
        core.Message(HEARTBEAT, term=LARGEST),
        core.Message(32, index=4, term=2),
    ]
    received = receiver.decode(sender.encode(2, sent))
    for m in sent:
        m.to, m.sender = 2, 1
    assert received == sent
    assert [m.count for m in received] == [4, 0, 0, 2, 0, 0]
    assert (receiver.sender, receiver.sender_incarnation) == (1, 5)
    assert set(receiver.rejected_by_reason().values()) == {0}


def test_a_frame_may_be_empty(core: Any) -> None:
    sender, receiver = pair(core)
    frame = sender.encode(2, [])
    assert len(frame) == 64
    assert receiver.decode(frame) == []


def test_vote_and_addresses_do_not_travel(core: Any) -> None:
    sender, receiver = pair(core)
    (received,) = receiver.decode(sender.encode(2, [core.Message(5, to=7, sender=8, term=1, vote=9)]))
    assert received == core.Message(5, to=2, sender=1, term=1)


def test_received_messages_own_their_entries(core: Any) -> None:
    sender, receiver = pair(core)
    first = receiver.decode(sender.encode(2, [append(core, 1, 2)]))
    receiver.decode(sender.encode(2, [append(core, 7, 7)]))
    assert first[0].entries == append(core, 1, 2).entries


def test_every_flip_and_every_cut_is_refused(core: Any) -> None:
    sender, receiver = pair(core)
    frame = sender.encode(2, [append(core, 1, 2), core.Message(HEARTBEAT, term=2)])
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 1 << at % 8
        assert refused(core, receiver, bytes(damaged)) in core.REASONS[2:]
        assert refused(core, receiver, frame[:at]) == ("short" if at < 64 else "length")
    assert refused(core, receiver, frame + b"\0") == "length"
    assert len(receiver.decode(frame)) == 2


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, b"RXF2", "magic"),
        (4, b"\2", "version"),
        (8, b"\xff", "cluster"),
        (24, b"\1", "group"),
        (40, b"\3", "recipient"),
        (32, bytes(8), "sender"),
        (32, b"\2", "sender"),
        (32, b"\xff" * 8, "sender"),
    ],
)
def test_wrong_envelope(core: Any, offset: int, value: bytes, reason: str) -> None:
    sender, receiver = pair(core)
    frame = bytearray(sender.encode(2, [core.Message(HEARTBEAT, term=1)]))
    frame[offset : offset + len(value)] = value
    assert refused(core, receiver, reseal(frame)) == reason


def test_frames_of_others(core: Any) -> None:
    frame = core.Codec(CLUSTER, 1).encode(2, [core.Message(HEARTBEAT, term=1)])
    assert refused(core, core.Codec(bytes(16), 2), frame) == "cluster"
    assert refused(core, core.Codec(CLUSTER, 2, group=1), frame) == "group"
    assert refused(core, core.Codec(CLUSTER, 3), frame) == "recipient"
    assert refused(core, core.Codec(CLUSTER, 2), core.Codec(CLUSTER, 2).encode(2, [])) == "sender"


def test_kinds(core: Any) -> None:
    sender, receiver = pair(core)
    accepted, reasons = set(), set()
    for kind in range(256):
        body: dict[str, Any] = {}
        if kind == 7:
            body["snapshot"] = core.Snapshot(3, 1, core.ConfState((1, 2)), b"state")
        elif kind in (15, 16):
            body["entries"] = [core.Entry(0, 0, b"context")]
        frame = sender.encode(2, [core.Message(kind, term=1, **body)])
        try:
            accepted.add(receiver.decode(frame)[0].kind)
        except core.FrameError as error:
            reasons.add(error.reason)
    local = {0, 1, 10, 11, 12, 19, 20, 21, 22, 23}
    assert accepted == (set(range(24)) | {32}) - local
    assert reasons == {"kind"}


@pytest.mark.parametrize("name", ["term", "log_term", "index", "commit", "hint", "context"])
def test_numbers_out_of_range(core: Any, name: str) -> None:
    sender, receiver = pair(core)
    for value in (2**63, 2**64 - 1):
        assert refused(core, receiver, sender.encode(2, [core.Message(APP_RESP, **{name: value})])) == "range"


def test_records_of_an_append(core: Any) -> None:
    sender, receiver = pair(core)

    def reason(*entries: Any, **numbers: int) -> str:
        m = core.Message(APP, entries=list(entries), **({"term": 5, "log_term": 2, "index": 10} | numbers))
        return refused(core, receiver, sender.encode(2, [m]))

    assert reason(core.Entry(12, 3, b"")) == "records"
    assert reason(core.Entry(10, 3, b"")) == "records"
    assert reason(core.Entry(11, 3, b""), core.Entry(13, 3, b"")) == "records"
    assert reason(core.Entry(11, 3, b""), core.Entry(11, 3, b"")) == "records"
    assert reason(core.Entry(11, 6, b"")) == "records"
    assert reason(core.Entry(11, 1, b"")) == "records"
    assert reason(core.Entry(11, 4, b""), core.Entry(12, 3, b"")) == "records"
    assert reason(core.Entry(11, 0, b""), log_term=0) == "records"
    assert reason(core.Entry(2**63, 3, b""), index=2**63 - 1) == "records"
    (received,) = receiver.decode(sender.encode(2, [append(core, 1, 5, 9)]))
    assert received.count == 3


def test_records_of_other_kinds(core: Any) -> None:
    sender, receiver = pair(core)
    for entry in (core.Entry(1, 0, b""), core.Entry(0, 1, b"")):
        assert refused(core, receiver, sender.encode(2, [core.Message(PROP, entries=[entry])])) == "records"
    for kind in (4, 5, 7, 8, 15, 32):
        assert refused(core, receiver, sender.encode(2, [core.Message(kind, entries=[core.Entry(1, 1, b"")])])) == (
            "records"
        )


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (4, 3, "records"),  # count
        (4, 1, "records"),
        (8, 2 * 33 - 1, "records"),  # size: the last record does not fit
        (8, 33, "records"),  # one record of two
        (8, 2**32 - 1, "length"),
    ],
)
def test_wrong_count_and_size(core: Any, offset: int, value: int, reason: str) -> None:
    sender, receiver = pair(core)
    entries = [core.Entry(11, 3, b"x"), core.Entry(12, 3, b"y")]
    m = core.Message(APP, term=5, log_term=2, index=10, entries=entries)
    frame = bytearray(sender.encode(2, [m]))
    struct.pack_into("<I", frame, 64 + offset, value)
    assert refused(core, receiver, reseal(frame)) == reason


def test_a_damaged_record_behind_a_good_message(core: Any) -> None:
    sender, receiver = pair(core)
    frame = bytearray(sender.encode(2, [core.Message(HEARTBEAT, term=2), append(core, 1, 2)]))
    frame[-1] ^= 1
    assert refused(core, receiver, bytes(frame)) == "records"
    struct.pack_into("<I", frame, len(frame) - 36 + 4, 2**32 - 1)  # a record that claims 4 GiB
    assert refused(core, receiver, bytes(frame)) == "records"


def test_proposals_are_sealed_on_the_way_out(core: Any) -> None:
    sender, receiver = pair(core)
    bare = bytearray(core.Entry(0, 0, b"data").encode())
    bare[:4] = bytes(4)
    (received,) = receiver.decode(sender.encode(2, [core.Message(PROP, entries=[bytes(bare)])]))
    assert received.entries == [core.Entry(0, 0, b"data")]


def test_rejected_counters(core: Any) -> None:
    assert core.REASONS[0] == "ok"
    codec = core.Codec(CLUSTER, 2)
    assert codec.rejected_by_reason() == dict.fromkeys(core.REASONS[1:], 0)
    assert refused(core, codec, b"") == "short"
    assert refused(core, codec, bytes(64)) == "magic"
    assert codec.rejected_by_reason()["short"] == 1
    assert list(codec.rejected) == [0, 1, 1] + [0] * 13


def test_codec_refuses_bad_arguments(core: Any) -> None:
    for cluster, id, error in (
        (b"", 1, ValueError),
        (bytes(17), 1, ValueError),
        (CLUSTER, 0, ValueError),
        (CLUSTER, 2**63, ValueError),
        (CLUSTER, 2**64, OverflowError),
        (CLUSTER, -1, OverflowError),
        (CLUSTER, "1", TypeError),
        ("text", 1, TypeError),
        (None, 1, TypeError),
    ):
        with pytest.raises(error):
            core.Codec(cluster, id)
    codec = core.Codec(CLUSTER, 1, incarnation=7, group=8)
    assert (codec.id, codec.incarnation, codec.group) == (1, 7, 8)
    for recipient in (-1, 2**64):
        with pytest.raises(OverflowError):
            codec.encode(recipient, [])
    for wrong in ([3], [None], 3):
        with pytest.raises(TypeError):
            codec.encode(2, wrong)
    for wrong in (bytearray(64), "text", None):
        with pytest.raises(TypeError):
            codec.decode(wrong)
