"""The frame codec: layout, and that nothing invalid comes through, in both implementations."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest

from tests.helpers import wire_samples

CLUSTER = bytes(range(16))
PROP, APP, APP_RESP, HEARTBEAT = 2, 3, 4, 8
# The largest number that the wire takes.
LARGEST = 2**63 - 1


def pair(core: Any, **settings: int) -> tuple[Any, Any]:
    """The codecs of node 1, which sends, and of node 2, which receives."""
    return core.Codec(CLUSTER, 1, 5, **settings), core.Codec(CLUSTER, 2, 6, **settings)


def append(core: Any, *terms: int, term: int = 9, log_term: int = 1, index: int = 10) -> Any:
    """An append with an entry for each of ``terms``."""
    entries = [core.Entry(index + 1 + i, its, b"data" * i) for i, its in enumerate(terms)]
    return core.Message(APP, term=term, log_term=log_term, index=index, commit=4, entries=entries)


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
    assert refused(core, receiver, wire_samples.reseal(frame)) == reason


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
        elif kind in (15, 16, 40, 43):
            body["entries"] = [core.Entry(0, 0, b"context")]
        frame = sender.encode(2, [core.Message(kind, term=1, **body)])
        try:
            accepted.add(receiver.decode(frame)[0].kind)
        except core.FrameError as error:
            reasons.add(error.reason)
    local = {0, 1, 10, 11, 12, 19, 20, 21, 22, 23}
    assert accepted == (set(range(24)) | set(range(32, 44))) - local
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
    assert refused(core, receiver, wire_samples.reseal(frame)) == reason


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


# --- every kind, with every form of body -----------------------------------------------------------


def test_samples_have_every_kind_and_body(impl: Any) -> None:
    made = [message for messages in wire_samples.samples(impl).values() for message in messages]
    assert {message.kind for message in made} == set(wire_samples.WIRE_KINDS)
    assert {message.kind for message in made if message.body_size} == set(wire_samples.BODY_KINDS)
    assert {entry.kind for message in made if message.kind == APP for entry in message.entries} == {0, 1, 2}


def test_samples_round_trip(impl: Any) -> None:
    sender, receiver = wire_samples.codecs(impl)
    for name, messages in wire_samples.samples(impl).items():
        received = receiver.decode(sender.encode(2, messages))
        assert wire_samples.seen(received) == wire_samples.seen(wire_samples.addressed(messages)), name
        assert [m.entries for m in received] == [m.entries for m in messages], name
        assert [m.snapshot for m in received] == [m.snapshot for m in messages], name
        assert received == messages, name
    assert (receiver.sender, receiver.sender_incarnation) == (1, 5)
    assert set(receiver.rejected_by_reason().values()) == {0}


def test_every_field_of_every_kind(impl: Any, core: Any) -> None:
    sender, receiver = wire_samples.codecs(impl)
    bodies: dict[int, dict[str, Any]] = {
        kind: {"entries": [core.Entry(0, 0, b"x")]} for kind in wire_samples.BODY_KINDS
    }
    bodies[7] = {"snapshot": core.Snapshot(3, 2, core.ConfState((1,)))}
    for kind in wire_samples.WIRE_KINDS:
        for flags, base in ((0, 0), (1, 10), (2, LARGEST - 10), (255, LARGEST - 20)):
            numbers = {name: base + at for at, name in enumerate(("context", "hint", "commit", "log_term", "term"))}
            numbers["index"] = base + 5
            if kind == APP:
                bodies[APP] = {"entries": [core.Entry(base + 6, numbers["term"], b"x")]}
            m = core.Message(kind, to=2, sender=1, flags=flags, **numbers, **bodies.get(kind, {}))
            assert receiver.decode(sender.encode(2, [m])) == [m], kind


def test_flags_beyond_a_byte_do_not_travel(core: Any) -> None:
    sender, receiver = pair(core)
    (received,) = receiver.decode(sender.encode(2, [core.Message(APP_RESP, flags=2**32 - 2)]))
    assert received.flags == 254


def test_every_flip_of_every_sample_is_refused(impl: Any, core: Any) -> None:
    """One byte that differs, anywhere, whatever the kind and the body: the checksums cover all of a frame."""
    sender, receiver = wire_samples.codecs(impl)
    for messages in wire_samples.samples(impl).values():
        frame = sender.encode(2, messages)
        for at in range(len(frame)):
            mask = (0x01, 0x80, 0xFF, 1 << at % 8)[at % 4]
            damaged = wire_samples.replaced(frame, at, bytes([frame[at] ^ mask]))
            with pytest.raises(core.FrameError):
                receiver.decode(damaged)
        assert receiver.decode(frame) == wire_samples.addressed(messages)
    assert sum(receiver.rejected_by_reason().values()) == sum(
        len(sender.encode(2, messages)) for messages in wire_samples.samples(impl).values()
    )


def test_every_cut_of_every_sample_is_refused(impl: Any, core: Any) -> None:
    sender, receiver = wire_samples.codecs(impl)
    for messages in wire_samples.samples(impl).values():
        frame = sender.encode(2, messages)
        ends = {64, *[at - 64 for at in wire_samples.heads(frame)], len(frame)}
        for size in range(len(frame)):
            assert refused(core, receiver, frame[:size]) == ("short" if size < 64 else "length")
            # Also where the header is made to fit: but for whole messages nothing is taken.
            if size > 64 and size - 64 not in ends and size not in wire_samples.heads(frame):
                assert refused(core, receiver, wire_samples.reseal(frame[:size])) in ("length", "records")


def test_damage_to_a_record_behind_right_headers(impl: Any, core: Any) -> None:
    sender, receiver = wire_samples.codecs(impl)
    for messages in wire_samples.samples(impl).values():
        frame = sender.encode(2, messages)
        for start, size in wire_samples.records(frame):
            for at in range(start, start + size):
                damaged = wire_samples.replaced(frame, at, bytes([frame[at] ^ 1 << at % 8]))
                assert refused(core, receiver, damaged) == "records"


def test_reserved_bytes_are_not_looked_at(impl: Any) -> None:
    """Frame: flags and two bytes. Message header: two and four. Membership: three."""
    sender, receiver = wire_samples.codecs(impl)
    for name, messages in wire_samples.samples(impl).items():
        frame = sender.encode(2, messages)
        places = [5, 6, 7, *[head + at for head in wire_samples.heads(frame) for at in (2, 3, 12, 13, 14, 15)]]
        for at in places:
            received = receiver.decode(wire_samples.reseal(wire_samples.replaced(frame, at, b"\xff")))
            assert received == wire_samples.addressed(messages), (name, at)
        snapshots = [start for start, _ in wire_samples.records(frame) if frame[start + 24] == 3]
        places = [start + 32 + at for start in snapshots for at in (5, 6, 7)]
        for at in places:
            received = receiver.decode(wire_samples.reseal(wire_samples.replaced(frame, at, b"\xff"), bodies=True))
            assert [m.entries for m in received if m.kind != 7] == [m.entries for m in messages if m.kind != 7]
            assert [m.snapshot for m in received] == [m.snapshot for m in messages], (name, at)


# --- bodies that are wrong -------------------------------------------------------------------------

GOOD_RECORD = wire_samples.record(wire_samples.membership((1, 2), (5,), (2, 3), (3,), auto_leave=1) + b"s", 3, 9, 4)


def test_a_snapshot_by_hand(impl: Any, core: Any) -> None:
    _, receiver = wire_samples.codecs(impl)
    (received,) = receiver.decode(wire_samples.with_body(impl, 7, GOOD_RECORD, term=4))
    conf = core.ConfState((1, 2), (5,), (2, 3), (3,), True)
    assert received.snapshot == core.Snapshot(9, 4, conf, b"s")
    many = wire_samples.membership(tuple(range(1, 256)))
    (received,) = receiver.decode(wire_samples.with_body(impl, 7, wire_samples.record(many, 3, LARGEST, 1), term=1))
    assert len(received.snapshot.conf_state.voters) == 255


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        wire_samples.membership(counts=(1, 0, 0, 0)),
        wire_samples.membership((1,), counts=(2, 0, 0, 0)),
        wire_samples.membership((1,), counts=(0, 0, 0, 2)) + bytes(7),
        wire_samples.membership(tuple(range(1, 32)), counts=(255, 255, 255, 255)),
        wire_samples.membership((1,))[:-1],
        wire_samples.membership((2, 1)),
        wire_samples.membership((1, 1)),
        wire_samples.membership((0,)),
        wire_samples.membership((0, 1)),
        wire_samples.membership((2**63,)),
        wire_samples.membership((1, 2**64 - 1)),
        wire_samples.membership((1,), (3, 2)),
        wire_samples.membership((1,), (), (4, 4)),
        wire_samples.membership((1,), (), (), (5, 0)),
        wire_samples.membership((1,), auto_leave=2),
        wire_samples.membership((1,), auto_leave=255),
    ],
)
def test_wrong_memberships(impl: Any, core: Any, data: bytes) -> None:
    _, receiver = wire_samples.codecs(impl)
    frame = wire_samples.with_body(impl, 7, wire_samples.record(data, 3, 9, 4), term=4)
    assert refused(core, receiver, frame) == "records"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b"", 1),
        (GOOD_RECORD, 0),
        (GOOD_RECORD, 2),
        (GOOD_RECORD, 2**32 - 1),
        (GOOD_RECORD * 2, 2),
        (GOOD_RECORD * 2, 1),
        (GOOD_RECORD[:-1], 1),
        (GOOD_RECORD + b"\0", 1),
        (GOOD_RECORD[:31], 1),
        (b"\0", 1),
        (bytes(32), 1),
        *[(wire_samples.record(GOOD_RECORD[32:], kind, 9, 4), 1) for kind in (0, 1, 2, 4, 255)],
        *[(wire_samples.record(GOOD_RECORD[32:], 3, *place), 1) for place in ((0, 4), (9, 0), (9, 5), (2**63, 4))],
        *[(wire_samples.record(GOOD_RECORD[32:], 3, *place), 1) for place in ((2**64 - 1, 4), (9, 2**64 - 1))],
    ],
)
def test_wrong_snapshots(impl: Any, core: Any, body: bytes, count: int) -> None:
    _, receiver = wire_samples.codecs(impl)
    assert refused(core, receiver, wire_samples.with_body(impl, 7, body, count, term=4)) == "records"


READ = wire_samples.record(b"context")


@pytest.mark.parametrize("kind", [15, 16])
@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b"", 1),
        (READ, 0),
        (READ, 2),
        (READ * 2, 2),
        (READ * 2, 1),
        (READ[:-1], 1),
        (READ + b"\0", 1),
        (wire_samples.record(b"context", index=1), 1),
        (wire_samples.record(b"context", term=1), 1),
        *[(wire_samples.record(b"context", kind), 1) for kind in (1, 2, 3, 255)],
        (bytes(4) + READ[4:], 1),
    ],
)
def test_wrong_reads(impl: Any, core: Any, kind: int, body: bytes, count: int) -> None:
    _, receiver = wire_samples.codecs(impl)
    assert len(receiver.decode(wire_samples.with_body(impl, kind, READ, term=4))) == 1
    assert refused(core, receiver, wire_samples.with_body(impl, kind, body, count, term=4)) == "records"


def test_other_kinds_have_no_body(impl: Any, core: Any) -> None:
    _, receiver = wire_samples.codecs(impl)
    for kind in range(256):
        for body in (READ, GOOD_RECORD, wire_samples.record(b"", 0, 1, 1), b"\0"):
            expected = "records" if kind in wire_samples.WIRE_KINDS else "kind"
            if kind not in wire_samples.BODY_KINDS:
                assert refused(core, receiver, wire_samples.with_body(impl, kind, body, term=9)) == expected
        if kind not in wire_samples.BODY_KINDS and expected == "records":
            assert refused(core, receiver, wire_samples.with_body(impl, kind, b"", 1, term=9)) == "records"


def test_kinds_of_entries(impl: Any, core: Any) -> None:
    _, receiver = wire_samples.codecs(impl)
    for kind in range(256):
        for frame in (
            wire_samples.with_body(impl, APP, wire_samples.record(b"d", kind, 1, 1), term=1),
            wire_samples.with_body(impl, PROP, wire_samples.record(b"d", kind)),
        ):
            if kind <= 2 or kind == 4:
                assert [m.entries[0].kind for m in receiver.decode(frame)] == [kind]
            else:
                assert refused(core, receiver, frame) == "records"


def test_first_of_several_faults(impl: Any, core: Any) -> None:
    """Reasons are looked for in one order, message by message."""
    _, receiver = wire_samples.codecs(impl)
    bad = wire_samples.record(b"", 9, 7, 7)

    def reason(kind: int, **fields: int) -> str:
        return refused(core, receiver, wire_samples.with_body(impl, kind, bad, 3, **fields))

    assert reason(0, term=2**63) == "kind"
    assert reason(8, term=2**63) == "range"
    assert reason(8) == "records"
    long = wire_samples.replaced(wire_samples.with_body(impl, 8, bad, term=2**63), 64 + 8, b"\xff\xff\xff\xff")
    assert refused(core, receiver, wire_samples.reseal(long)) == "range"
    long = wire_samples.replaced(wire_samples.with_body(impl, 8, bad), 64 + 8, b"\xff\xff\xff\xff")
    assert refused(core, receiver, wire_samples.reseal(long)) == "length"


@pytest.mark.parametrize("seed", range(4))
def test_garbage_raises_nothing_else(impl: Any, core: Any, seed: int) -> None:
    """Noise: bare, behind a header that fits, as a body, and inside of a record with right checksums."""
    rng = random.Random(seed)
    sender, receiver = wire_samples.codecs(impl)
    head = sender.encode(2, [])
    good = [sender.encode(2, messages) for messages in wire_samples.samples(impl).values()]
    reasons = set()
    for _ in range(300):
        noise = rng.randbytes(rng.choice((0, 1, 31, 32, 33, 63, 64, 65, 128, 200, 1000)))
        shape = rng.randrange(6)
        if shape == 0:
            frame = noise
        elif shape == 1:
            frame = wire_samples.reseal(head + noise)
        elif shape == 2:
            fields = {name: rng.getrandbits(rng.choice((0, 2, 63, 64))) for name in wire_samples.FIELDS}
            kind, count = rng.choice(wire_samples.WIRE_KINDS), rng.choice((0, 1, 2, rng.getrandbits(32)))
            frame = wire_samples.with_body(impl, kind, noise, count, **fields)
        elif shape == 3:
            kind = rng.choice(wire_samples.BODY_KINDS)
            body = wire_samples.record(noise, rng.randrange(5), rng.randrange(3), rng.randrange(3), rng.randbytes(7))
            frame = wire_samples.with_body(impl, kind, body, 1, term=rng.randrange(3), index=rng.randrange(2))
        else:
            mutable = bytearray(rng.choice(good))
            for _ in range(rng.randint(1, 8)):
                mutable[rng.randrange(len(mutable))] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
            frame = wire_samples.reseal(mutable, bodies=shape == 5)
        try:
            received = receiver.decode(frame)
        except core.FrameError as error:
            reasons.add(error.reason)
            continue
        for m in received:
            # What came through can be used: nothing of it raises.
            assert len(m.entries) == m.count
            assert (m.snapshot is not None) == (m.kind == 7)
            assert m == m.copy()
    assert {"short", "length", "kind", "range", "records"} <= reasons <= set(core.REASONS[1:])


def test_a_frame_in_parts_is_the_same_frame(core):
    """Bodies that stay where they are: put in their places, they make up the frame that is encoded in one piece."""
    sender, receiver = pair(core)
    large = [core.Entry(11 + i, 2, bytes([i]) * (140 << 10)) for i in range(3)]
    small = core.Message(HEARTBEAT, term=9, commit=3)
    lots = [
        [core.Message(APP, term=9, log_term=1, index=10, commit=4, entries=large)],
        [small, core.Message(APP, term=9, log_term=1, index=10, entries=large), append(core, 1, 2), small],
        [
            core.Message(APP, term=9, log_term=1, index=10, entries=large),
            core.Message(APP, term=9, log_term=1, index=10, entries=large[:2]),
        ],
        [core.Message(APP, term=9, log_term=1, index=10, entries=large[:1]), small],
    ]
    for messages, bodies in zip(lots, (1, 1, 2, 0)):
        own, parts = sender.encode_parts(2, messages)
        assert len(parts) == bodies
        frame, before = b"", 0
        for at, body in parts:
            frame += own[before:at] + body
            before = at
        frame += own[before:]
        assert frame == sender.encode(2, messages)
        assert [m.entries for m in receiver.decode(frame)] == [m.entries for m in messages]


def test_proposals_are_copied_however_large_they_are(core):
    """They get their checksums in the frame."""
    sender, receiver = pair(core)
    bare = core.Message(PROP, entries=[core.Entry(0, 0, b"x" * (300 << 10))])
    own, parts = sender.encode_parts(2, [bare])
    assert parts == []
    assert receiver.decode(own)[0].entries == bare.entries
