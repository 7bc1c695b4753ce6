"""raftx._native.sp: SP's framing, whatever the pieces in which a stream comes; and that these are NNG's own bytes."""

import random
import socket

import pynng
import pytest

from tests.helpers.ports import port as free_port
from tests.helpers.waiting import WAIT

KIB = 1 << 10
LIMIT = 64 * KIB
FRAMES = [b"", b"a", b"frame", bytes(range(256)), b"x" * 1000, b"", b"last"]
KEEP = 16 * KIB  # what a reader may hold of a frame that has begun, at least


@pytest.fixture
def sp(mod):
    return mod("_native.sp")


def stream(frames, ipc=False):
    """What NNG makes of messages: told by its documentation and seen on the wire, not by the code under test."""
    return b"".join((b"\1" if ipc else b"") + len(frame).to_bytes(8, "big") + frame for frame in frames)


both = pytest.mark.parametrize("ipc", [False, True])


@both
def test_split_at_every_byte(sp, ipc):
    whole = stream(FRAMES, ipc)
    for cut in range(len(whole) + 1):
        reader = sp.SpReader(LIMIT, ipc)
        assert reader.feed(whole[:cut]) + reader.feed(whole[cut:]) == FRAMES


@both
def test_byte_by_byte_and_in_random_pieces(sp, ipc):
    whole = stream(FRAMES, ipc)
    reader, found = sp.SpReader(LIMIT, ipc), []
    for at in range(len(whole)):
        found += reader.feed(whole[at : at + 1])
    assert found == FRAMES
    draw = random.Random(5)
    frames = [draw.randbytes(draw.choice((0, 1, 7, 8, 9, 100, 5000, 20_000, LIMIT))) for _ in range(60)]
    whole = stream(frames, ipc)
    for _ in range(20):
        reader, found, at = sp.SpReader(LIMIT, ipc), [], 0
        while at < len(whole):
            size = draw.choice((1, 3, 8, 9, 500, 16_384, 70_000, 200_000))
            found += reader.feed(whole[at : at + size])
            at += size
        assert found == frames


@both
def test_what_is_cut_is_no_frame(sp, ipc):
    """However much of it has come: only the last byte makes it one."""
    for size in (1, 100, 30_000):
        whole = stream([bytes(size)], ipc)
        for cut in {*range(12), len(whole) // 2, len(whole) - 1}:
            if cut < len(whole):
                assert sp.SpReader(LIMIT, ipc).feed(whole[:cut]) == []


@both
@pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**32, 2**63, 2**64 - 1])
def test_a_length_over_the_limit_ends_the_stream_before_anything_is_held(impl, sp, length, ipc):
    head = (b"\1" if ipc else b"") + length.to_bytes(8, "big")
    for cut in range(len(head)):
        reader = sp.SpReader(LIMIT, ipc)
        assert reader.feed(head[:cut]) == []
        with pytest.raises(impl.TransportError):
            reader.feed(head[cut:] + bytes(100))
        assert reader.room() == 0
        with pytest.raises(impl.TransportError):
            reader.feed(stream([b"x"], ipc))
    reader = sp.SpReader(LIMIT, ipc)
    with pytest.raises(impl.TransportError):
        reader.feed(stream([b"good"], ipc) + head)
    assert sp.SpReader(LIMIT, ipc).feed(stream([bytes(LIMIT)], ipc)) == [bytes(LIMIT)]


def test_over_ipc_a_message_has_its_mark(impl, sp):
    for wrong in (0, 2, 255):
        with pytest.raises(impl.TransportError):
            sp.SpReader(LIMIT, True).feed(bytes([wrong]))


def test_a_length_alone_holds_no_memory(sp):
    """A frame of a GiB that has begun: no more is held than twice what has come of it."""
    reader = sp.SpReader(1 << 30)
    reader.feed((1 << 30).to_bytes(8, "big"))
    assert reader.room() == 0
    come = 0
    for _ in range(200):
        reader.feed(bytes(10_000))
        come += 10_000
        assert come <= reader.room() <= max(KEEP, 2 * come)


def test_memory_of_a_large_frame_is_given_back(sp):
    reader = sp.SpReader(1 << 20)
    whole = stream([bytes(1 << 20), b"small"])
    assert reader.feed(whole[:500_000]) == []
    assert reader.room() >= 499_000
    assert reader.feed(whole[500_000:]) == [bytes(1 << 20), b"small"]
    assert reader.room() <= KEEP


def test_a_writer_keeps_the_memory_of_what_goes_again_and_again(impl, sp):
    writer = sp.SpWriter(16 << 20)
    for _ in range(3):
        assert writer.put(bytes(6 << 20))
        writer.sent(len(writer.waiting()))
        if impl.COMPILED:
            assert writer.room() >= 6 << 20
    assert writer.put(b"small")
    writer.sent(len(writer.waiting()))
    assert writer.room() == 0


@both
def test_a_writer_makes_the_stream(sp, ipc):
    writer = sp.SpWriter(LIMIT, ipc)
    for frame in FRAMES:
        assert writer.put(frame)
    assert writer.waiting() == stream(FRAMES, ipc)
    draw, sent = random.Random(6), b""
    while waiting := writer.waiting():
        size = draw.randint(1, min(len(waiting), 300))
        writer.sent(size)
        sent += waiting[:size]
    assert sent == stream(FRAMES, ipc)
    with pytest.raises(ValueError):
        writer.sent(1)


def lean(mod, *pieces):
    """Spans of these pieces."""
    spans = mod("_native.memory").Spans()
    for piece in pieces:
        spans.py_push(piece)
    return spans


# What is copied of a frame, behind how many bytes of it the others come, and these
LEAN = [
    (b"head and tail", 5, (b"the middle", b"", b"in two")),
    (b"", 0, (b"nothing is copied",)),
    (b"all comes first", 15, (b"x" * 300,)),
    (b"all comes last", 0, (b"y",)),
    (b"nothing is referred to", 3, (b"",)),
]
WHOLE = [own[:at] + b"".join(pieces) + own[at:] for own, at, pieces in LEAN]


@both
def test_what_is_sent_from_where_it_lies_may_be_cut_at_every_byte(sp, mod, ipc):
    """The kernel takes so much of it, and the rest later: each byte goes once, in its place."""
    whole = stream([*WHOLE, b"a small one", *WHOLE], ipc)
    for cut in range(len(whole) + 1):
        writer = sp.SpWriter(LIMIT, ipc)
        for own, at, pieces in LEAN:
            assert writer.put(own, lean(mod, *pieces), at)
        writer.put(b"a small one")
        writer.sent(min(cut, len(writer.waiting())))
        for own, at, pieces in LEAN:
            spans = lean(mod, *pieces)
            assert writer.put(own, spans, at) and len(spans) == 0
        writer.sent(max(0, cut - len(whole) + len(writer.waiting())))
        assert writer.waiting() == whole[cut:]
        with pytest.raises(ValueError):
            writer.sent(len(whole) - cut + 1)
        for at in range(cut, len(whole) if cut % 100 == 0 else cut):
            writer.sent(1)
            assert at % 50 or writer.waiting() == whole[at + 1 :]
        writer.sent(len(writer.waiting()))
        assert writer.waiting() == b""


def test_what_is_sent_from_where_it_lies_counts_against_the_bound(sp, mod):
    writer = sp.SpWriter(1000)
    assert writer.put(b"", lean(mod, bytes(992)))
    assert not writer.put(b"") and not writer.put(b"", lean(mod, b"x"))
    writer.sent(500)
    assert writer.put(b"four", lean(mod, bytes(488)))
    assert not writer.put(b"")
    with pytest.raises(ValueError):
        writer.put(b"four", lean(mod, b"x"), 5)
    assert len(writer.waiting()) == 1000


def test_a_stream_of_both_kinds_that_is_never_empty(sp, mod):
    """Buffers are moved and grow while something waits behind them that lies elsewhere."""
    draw, writer, expected, refused = random.Random(8), sp.SpWriter(LIMIT), b"", 0
    for _ in range(3000):
        frame = draw.randbytes(draw.choice((0, 10, 300, 3000)))
        low, high = sorted((draw.randint(0, len(frame)), draw.randint(0, len(frame))))
        middle = draw.randint(low, high)
        spans = lean(mod, frame[low:middle], frame[middle:high]) if draw.random() < 0.6 else None
        if not writer.put(*((frame,) if spans is None else (frame[:low] + frame[high:], spans, low))):
            refused += 1
            size = draw.randint(1, len(expected) - 1)
            assert writer.waiting()[:size] == expected[:size]
            writer.sent(size)
            expected = expected[size:]
        else:
            expected += stream([frame])
        assert writer.room() <= 3 * LIMIT
    assert refused > 20
    assert writer.waiting() == expected


def test_what_is_to_be_sent_stays_whatever_becomes_of_its_log(sp, mod):
    """A block that still has to be sent is not used again by a log that has dropped it."""
    log, writer = mod("_core").EntryLog(1, 0, 4096), sp.SpWriter(LIMIT)
    for _ in range(20):
        log.py_append(1, b"old" * 300)
    records = log.records(1, 20)
    assert writer.put(b"", log._spans(1, 20) if hasattr(log, "_spans") else lean(mod, *map(bytes, log.view(1, 20))))
    log.py_compact(20)
    for _ in range(40):
        log.py_append(2, b"new" * 300)
    assert writer.waiting() == stream([records])


def test_what_has_been_sent_or_given_up_is_let_go(sp, mod):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4 * KIB

    piece, before = b"x" * (1 << 20), 0
    for turn in range(120):
        if turn == 20:
            before = resident()
        writer = sp.SpWriter(8 << 20)
        for _ in range(3):
            assert writer.put(b"head", lean(mod, piece, piece))
        writer.sent(3 << 20)  # the second frame in part, the third is given up
    assert resident() - before < 64 << 20


def test_what_waits_is_bounded(sp):
    writer = sp.SpWriter(1000)
    assert writer.put(bytes(5000))  # one frame alone may always wait
    assert not writer.put(b"")
    writer.sent(4508)
    assert writer.waiting() == bytes(500)
    assert writer.put(bytes(492))
    assert not writer.put(b"")
    writer.sent(1000)
    assert writer.waiting() == b""
    assert writer.put(bytes(992))
    assert not writer.put(b"")


def test_a_slow_reader_does_not_make_the_buffer_grow(sp):
    """What was sent is not kept, however long the stream goes on without ever being empty."""
    draw, writer, reader, put, found = random.Random(7), sp.SpWriter(LIMIT), sp.SpReader(LIMIT), 0, 0
    refused = 0
    for _ in range(3000):
        while writer.put(put.to_bytes(4, "big") * draw.randint(1, 500)):
            put += 1
        refused += 1
        size = draw.randint(1, 5000)
        for frame in reader.feed(writer.waiting()[:size]):
            assert int.from_bytes(frame[:4], "big") == found
            found += 1
        writer.sent(size)
        assert len(writer.waiting()) <= LIMIT
        assert writer.room() <= 3 * LIMIT
    assert refused == 3000 and found > 1000


def test_these_are_the_bytes_of_nng(sp, tmp_path):
    """Both directions, over TCP and IPC, with NNG's Push0 and Pull0."""
    for ipc in (False, True):
        path = str(tmp_path / "socket")
        if ipc:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        url = f"ipc://{path}" if ipc else f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with listener, pynng.Push0(send_timeout=int(WAIT * 1000)) as push:
            push.dial(url, block=False)
            connection = listener.accept()[0]
            with connection:
                connection.settimeout(WAIT)
                assert take(connection, 8) == sp.PUSH_GREETING
                connection.sendall(sp.PULL_GREETING)
                for frame in FRAMES:
                    push.send(frame)
                assert take(connection, len(stream(FRAMES, ipc))) == stream(FRAMES, ipc)
        other, port = str(tmp_path / "other"), free_port()
        with pynng.Pull0(recv_timeout=int(WAIT * 1000)) as pull:
            pull.listen(f"ipc://{other}" if ipc else f"tcp://127.0.0.1:{port}")
            if ipc:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(other)
            else:
                connection = socket.create_connection(("127.0.0.1", port))
            with connection:
                connection.settimeout(WAIT)
                connection.sendall(sp.PUSH_GREETING)
                assert take(connection, 8) == sp.PULL_GREETING
                writer = sp.SpWriter(LIMIT, ipc)
                frames = [frame for frame in FRAMES if frame]  # pynng cannot receive one without bytes
                for frame in frames:
                    writer.put(frame)
                connection.sendall(writer.waiting())
                assert [pull.recv() for _ in frames] == frames


def take(connection, size):
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data
