"""raftx._sys in both implementations: clocks, wake-ups, hand-overs, files; NNG's functions where compiled."""

import contextlib
import errno
import itertools
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import IMPLEMENTATIONS, module

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 20  # until which a thread that was woken must have ended; never reached unless something is broken
HEADER = struct.Struct("<IIQQB7x")
ENVELOPE = struct.Struct("<QQQ")
SLACK = 4096  # what an Intake takes above its limit
NNG_EAGAIN = 8


@pytest.fixture
def system(mod):
    return mod("_sys")


@pytest.fixture
def core(mod):
    return mod("_core")


@pytest.fixture
def errors(mod):
    return mod("errors")


def start(body, *args):
    """A thread that a defect may leave hanging without holding up the test run."""
    thread = threading.Thread(target=body, args=args, daemon=True)
    thread.start()
    return thread


def ends(*threads):
    """All of them end."""
    for thread in threads:
        thread.join(LIMIT_S)
    return not any(thread.is_alive() for thread in threads)


def spans_of(core, *pieces):
    spans = core.Spans()
    for piece in pieces:
        spans.py_push(piece)
    return spans


def buffer_of(core, data):
    buffer = core.Buffer()
    buffer.py_put(data)
    return buffer


# --- clocks --------------------------------------------------------------------------------------


def test_clock_is_the_systems(system):
    clock = system.Clock()
    times = [time.monotonic_ns(), clock.py_now(), system.monotonic_ns(), clock.py_now(), time.monotonic_ns()]
    assert times == sorted(times)


def test_clock_until(system):
    clock = system.Clock()
    assert clock.py_until(0) == 0
    assert clock.py_until(clock.py_now()) == 0
    hour = 3600 * 10**9
    assert 0 < clock.py_until(clock.py_now() + hour) <= hour
    with pytest.raises(OverflowError):
        clock.py_until(2**63)
    with pytest.raises(TypeError):
        clock.py_until("1")


def test_manual_clock(system):
    clock = system.ManualClock(2.5)
    assert isinstance(clock, system.Clock)
    assert clock.py_now() == 2_500_000_000
    clock.advance(0)
    clock.advance(0.001)
    assert clock.py_now() == 2_501_000_000
    assert clock.py_until(2_501_000_000) == 0
    assert clock.py_until(0) == 0
    assert clock.py_until(2_501_000_001) == -1
    with pytest.raises(ValueError):
        clock.advance(-0.001)
    with pytest.raises(OverflowError):
        clock.advance(1e10)
    assert clock.py_now() == 2_501_000_000
    assert system.ManualClock().py_now() == 0


def test_manual_clock_wakes_who_watches(system):
    clock = system.ManualClock()
    events = [system.Event(), system.Event()]
    for event in events:
        clock.py_watch(event)
        event.py_prepare()
    waiting = [start(event.py_wait) for event in events]
    clock.advance(1)
    assert ends(*waiting)
    for wrong in (None, 1, system.Clock()):
        with pytest.raises(TypeError):
            clock.py_watch(wrong)


def test_manual_clock_advances_from_many_threads(system):
    clock = system.ManualClock()
    threads = [start(lambda: [clock.advance(0.001) for _ in range(500)]) for _ in range(4)]
    assert ends(*threads)
    assert clock.py_now() == 4 * 500 * 1_000_000


# --- Event ---------------------------------------------------------------------------------------


def test_wake_before_wait_is_kept(system):
    event = system.Event()
    event.py_prepare()
    event.py_wake()
    assert ends(start(event.py_wait))


def test_wake_ends_a_wait(system):
    event = system.Event()
    event.py_prepare()
    thread = start(event.py_wait, -1)
    event.py_wake()
    assert ends(thread)


def test_wait_ends_by_itself(system):
    event = system.Event()
    for timeout in (0, 1, 1_500_000):
        event.py_prepare()
        assert ends(start(event.py_wait, timeout))
    with pytest.raises(OverflowError):
        event.py_wait(2**63)


def test_longest_timeout_is_a_wait(system):
    event = system.Event()
    event.py_prepare()
    thread = start(event.py_wait, 2**63 - 1)
    event.py_wake()
    assert ends(thread)


def test_wake_after_cancel_and_without_sleeper(system):
    event = system.Event()
    event.py_wake()
    event.py_prepare()
    event.py_cancel()
    event.py_wake()
    event.py_prepare()
    event.py_wake()
    event.py_wake()
    assert ends(start(event.py_wait))


def test_no_wake_up_is_lost(system):
    """Two threads take turns through two cells; one wake-up that is lost would stop both for ever."""
    turns = 2000
    cells = system.Cells()
    events = [system.Event(), system.Event()]

    def play(own, other):
        for turn in range(1, turns + 1):
            if own == 1:
                wait_for(own, turn)
            cells[own] = turn
            events[other].py_wake()
            if own == 0:
                wait_for(own, turn)

    def wait_for(own, turn):
        while cells[1 - own] < turn:
            events[own].py_prepare()
            if cells[1 - own] >= turn:
                events[own].py_cancel()
            else:
                events[own].py_wait()

    assert ends(start(play, 0, 1), start(play, 1, 0))
    assert (cells[0], cells[1]) == (turns, turns)


def test_many_wakers(system):
    """What several threads announced before they woke the sleeper is seen by it."""
    event = system.Event()
    counts = system.Cells()
    wakers, rounds = 4, 500

    def sleeper():
        while sum(counts[cell] for cell in range(wakers)) < wakers * rounds:
            event.py_prepare()
            if sum(counts[cell] for cell in range(wakers)) >= wakers * rounds:
                event.py_cancel()
            else:
                event.py_wait()

    def waker(cell):
        for number in range(1, rounds + 1):
            counts[cell] = number
            event.py_wake()

    assert ends(start(sleeper), *(start(waker, cell) for cell in range(wakers)))


def test_events_give_their_descriptors_back(system):
    before = len(os.listdir("/proc/self/fd"))
    events = [system.Event() for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before + 50
    del events
    assert len(os.listdir("/proc/self/fd")) == before


# --- Cells and Runner ----------------------------------------------------------------------------


def test_cells(system):
    cells = system.Cells()
    assert [cells[cell] for cell in range(16)] == [0] * 16
    cells[0], cells[15] = 2**63 - 1, -(2**63)
    assert (cells[0], cells[1], cells[15]) == (2**63 - 1, 0, -(2**63))
    cells[3] += 5
    assert cells[3] == 5
    for cell in (-1, 16, -(2**31), 2**31, 2**32):  # the last one is 0 in 32 bits
        with pytest.raises(IndexError):
            cells[cell]
        with pytest.raises(IndexError):
            cells[cell] = 1
    with pytest.raises(OverflowError):
        cells[2**63]
    for value in (2**63, -(2**63) - 1):
        with pytest.raises(OverflowError):
            cells[0] = value
    for wrong in ("0", None):
        with pytest.raises(TypeError):
            cells[wrong]
        with pytest.raises(TypeError):
            cells[0] = wrong
    assert cells[0] == 2**63 - 1


def test_runner(system, mod):
    assert system.Runner().run() is None
    drive = mod("testing.drive").Drive(2, 10, 3)
    before = drive.committed()
    thread = start(drive.run)
    assert ends(thread)
    assert drive.committed() == before + 6


# --- Handoff -------------------------------------------------------------------------------------


def test_handoff_rows_in_order(system):
    handoff = system.Handoff(system.Event())
    assert not handoff.py_waiting()
    assert handoff.py_take() == 0
    handoff.py_put(None, 1, 2, 3, 4, 5, 6, 7, 2**64 - 1)
    handoff.py_put(None, 9, h=8)
    handoff.py_put(None)
    assert handoff.py_waiting()
    assert handoff.py_take() == 3
    assert not handoff.py_waiting()
    rows = [[handoff.py_at(row, column) for column in range(8)] for row in range(3)]
    assert rows == [[1, 2, 3, 4, 5, 6, 7, 2**64 - 1], [9, 0, 0, 0, 0, 0, 0, 8], [0] * 8]
    for row, column in ((3, 0), (0, 8), (0, -1), (2**64 - 1, 0)):
        with pytest.raises(IndexError):
            handoff.py_at(row, column)
    assert handoff.py_take() == 0
    with pytest.raises(IndexError):
        handoff.py_at(0, 0)


def test_handoff_refuses_what_does_not_fit(system, core):
    event = system.Event()
    handoff = system.Handoff(event)
    assert handoff.event is event
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            handoff.py_put(None, wrong)
        with pytest.raises(OverflowError):
            handoff.py_put(None, h=wrong)
    with pytest.raises(TypeError):
        handoff.py_put(None, "1")
    for wrong in (b"x", [], core.Buffer()):
        with pytest.raises(TypeError):
            handoff.py_put(wrong, 1)
    assert handoff.py_take() == 0
    for wrong in (None, 1):
        with pytest.raises(TypeError):
            system.Handoff(wrong)


def test_handoff_moves_spans(system, core):
    handoff = system.Handoff(system.Event())
    taken = handoff.taken
    first, second = spans_of(core, b"one", b"two"), spans_of(core, b"three")
    handoff.py_put(first, 1)
    handoff.py_put(None, 2)
    handoff.py_put(second, 3)
    assert (len(first), len(second)) == (0, 0)
    assert len(taken) == 0
    assert handoff.py_backlog() == 11
    assert handoff.py_take() == 3
    assert handoff.taken is taken
    assert [bytes(piece) for piece in taken.pieces()] == [b"one", b"two", b"three"]
    # What the giver does with its spans afterwards is no concern of the taker.
    first.py_push(b"new")
    assert taken.tobytes() == b"onetwothree"
    handoff.py_put(first, 4)
    assert handoff.py_backlog() == 14
    pieces = taken.pieces()
    assert handoff.py_take() == 1
    assert taken.tobytes() == b"new"
    assert handoff.py_backlog() == 3
    assert [bytes(piece) for piece in pieces] == [b"one", b"two", b"three"]
    assert handoff.py_take() == 0
    assert (taken.tobytes(), handoff.py_backlog()) == (b"", 0)


def test_handoff_spans_grow(system, core):
    handoff = system.Handoff(system.Event())
    expected = []
    for number in range(100):
        pieces = [bytes([number, at]) for at in range(number % 5)]
        expected += pieces
        handoff.py_put(spans_of(core, *pieces), number)
    assert handoff.py_take() == 100
    assert [handoff.py_at(row, 0) for row in range(100)] == list(range(100))
    assert [bytes(piece) for piece in handoff.taken.pieces()] == expected


def test_handoff_from_many_threads(system, core):
    """Each giver's rows come in its order, once, and the spans in the order of the rows."""
    givers, rounds = 4, 400
    handoff = system.Handoff(system.Event())
    seen = []

    def give(giver):
        for number in range(rounds):
            data = struct.pack("<QQ", giver, number)
            handoff.py_put(spans_of(core, data) if number % 3 else None, giver, number, number % 3 > 0)

    def take():
        while len(seen) < givers * rounds:
            rows = handoff.py_take()
            if not rows:
                handoff.event.py_prepare()
                if handoff.py_waiting():
                    handoff.event.py_cancel()
                else:
                    handoff.event.py_wait()
                continue
            pieces = iter(handoff.taken.pieces())
            for row in range(rows):
                place = (handoff.py_at(row, 0), handoff.py_at(row, 1))
                if handoff.py_at(row, 2):
                    assert struct.unpack("<QQ", next(pieces)) == place
                seen.append(place)
            assert next(pieces, None) is None

    assert ends(start(take), *(start(give, giver) for giver in range(givers)))
    for giver in range(givers):
        assert [number for who, number in seen if who == giver] == list(range(rounds))


# --- Intake --------------------------------------------------------------------------------------


def record(data, sequence, kind=0, origin=7, incarnation=3):
    """A proposal's record: no crc, index and term yet."""
    return HEADER.pack(0, 24 + len(data), 0, 0, kind) + ENVELOPE.pack(origin, incarnation, sequence) + data


@pytest.fixture
def intake(system):
    return system.Intake(system.Event(), 7, 3, 1 << 20)


def test_intake_numbers_and_bytes(intake):
    assert (intake.origin, intake.incarnation, intake.limit, intake.last_sequence) == (7, 3, 1 << 20, 0)
    assert not intake.py_waiting()
    assert not intake.py_take()
    assert intake.propose(b"a") == 1
    assert intake.propose(bytearray(b"bb"), 2) == 2
    assert intake.propose(memoryview(b"-ccc-")[1:4], kind=255) == 3
    assert intake.propose_many([b"", bytearray(b"d")]) == (4, 2)
    assert intake.last_sequence == 5
    assert intake.py_waiting()
    assert intake.py_take()
    expected = [record(b"a", 1), record(b"bb", 2, 2), record(b"ccc", 3, 255), record(b"", 4), record(b"d", 5)]
    assert intake.taken.tobytes() == b"".join(expected)
    assert (intake.offset, intake.taken_sequence) == (0, 1)


def test_intake_since(intake):
    before = time.monotonic_ns()
    intake.propose(b"a")
    between = time.monotonic_ns()
    intake.propose(b"b")
    intake.py_take()
    assert before <= intake.taken_since <= between


def test_intake_chunks(intake):
    for number in range(5):
        intake.propose(bytes(number))
    sizes = [56, 57, 58, 59, 60]
    intake.py_take()
    assert intake.py_chunk(0) == (record(b"", 1), 1)  # one record at least
    assert intake.py_chunk(56 + 57 - 1)[1] == 1
    data, count = intake.py_chunk(56 + 57)
    assert (data, count) == (record(b"", 1) + record(bytes(1), 2), 2)
    intake.py_consume(len(data), count)
    assert (intake.offset, intake.taken_sequence) == (113, 3)
    assert intake.py_waiting()
    assert intake.py_take()
    assert intake.offset == 113
    # What comes meanwhile is not in reach before the rest is consumed.
    assert intake.propose(b"later") == 6
    data, count = intake.py_chunk(2**64 - 1)
    assert (len(data), count) == (sum(sizes[2:]), 3)
    intake.py_consume(len(data), count)
    assert intake.py_chunk(1000) == (b"", 0)
    assert intake.py_waiting()
    assert intake.py_take()
    assert (intake.offset, intake.taken_sequence) == (0, 6)
    assert intake.py_chunk(1000) == (record(b"later", 6), 1)
    intake.py_consume(61, 1)
    assert not intake.py_waiting()
    assert not intake.py_take()


@pytest.mark.parametrize("limit", [0, 1000, 100_000])
def test_intake_limit(system, limit):
    intake = system.Intake(system.Event(), 1, 1, limit)
    most = limit + SLACK - 56
    assert intake.propose(bytes(most + 1)) == 0
    assert intake.propose(bytes(most)) == 1
    assert intake.propose(b"") == 0
    assert intake.propose_many([b"", b""]) == (0, 0)
    # Taken is not consumed: it counts until then.
    assert intake.py_take()
    assert intake.propose(b"") == 0
    data, count = intake.py_chunk(1)
    intake.py_consume(len(data), count)
    assert intake.propose(b"") == 2
    assert intake.last_sequence == 2
    assert intake.py_take()
    assert intake.taken_sequence == 2


def test_intake_takes_as_many_as_fit(system):
    intake = system.Intake(system.Event(), 1, 1, 0)
    assert intake.propose_many([bytes(1000 - 56)] * 6) == (1, 4)
    assert intake.last_sequence == 4
    assert intake.py_take()
    assert intake.py_chunk(1 << 20)[1] == 4


def test_intake_closed(intake):
    assert intake.propose(b"a") == 1
    intake.close()
    intake.close()
    assert intake.propose(b"b") == -1
    assert intake.propose_many([b"c", b"d"]) == (-1, 0)
    assert intake.propose_many([]) == (0, 0)
    assert intake.last_sequence == 1
    assert intake.py_take()
    assert intake.py_chunk(1000) == (record(b"a", 1), 1)


def test_intake_refuses_what_does_not_fit(system, intake):
    for wrong in ("text", None, 5, [1]):
        with pytest.raises(TypeError):
            intake.propose(wrong)
        with pytest.raises(TypeError):
            intake.propose_many([b"fine", wrong])
    for kind in (-1, 256, 2**31):
        with pytest.raises(OverflowError):
            intake.propose(b"", kind)
    with pytest.raises(TypeError):
        intake.propose(b"", "1")
    assert intake.last_sequence == 0
    assert not intake.py_waiting()
    event = system.Event()
    for arguments in ((event, -1, 0, 0), (event, 0, 2**64, 0), (event, 0, 0, -1)):
        with pytest.raises(OverflowError):
            system.Intake(*arguments)
    with pytest.raises(TypeError):
        system.Intake(None, 0, 0, 0)
    with pytest.raises(OverflowError):
        intake.py_consume(0, 2**32)


def test_intake_wakes_its_taker(intake):
    for propose in (lambda: intake.propose(b"x"), lambda: intake.propose_many([b"x", b"y"])):
        intake.event.py_prepare()
        thread = start(intake.event.py_wait)
        propose()
        assert ends(thread)


def test_intake_from_many_threads(intake):
    """Numbers are given once and in the order of the records; the taker sees them without a gap."""
    givers, rounds = 4, 300
    given = [[] for _ in range(givers)]
    seen = []

    def give(giver):
        for number in range(rounds):
            data = struct.pack("<QQ", giver, number)
            given[giver].append(intake.propose(data) if number % 2 else intake.propose_many([data])[0])

    def take():
        while len(seen) < givers * rounds:
            if not intake.py_take():
                intake.event.py_prepare()
                if intake.py_waiting():
                    intake.event.py_cancel()
                else:
                    intake.event.py_wait()
                continue
            data, count = intake.py_chunk(500)
            assert intake.taken_sequence == len(seen) + 1
            for at in range(0, len(data), 72):
                seen.append(struct.unpack_from("<QQQ", data, at + 48))
            intake.py_consume(len(data), count)

    assert ends(start(take), *(start(give, giver) for giver in range(givers)))
    assert [sequence for sequence, _, _ in seen] == list(range(1, givers * rounds + 1))
    for giver in range(givers):
        assert [sequence for sequence, who, _ in seen if who == giver] == given[giver]
        assert [number for _, who, number in seen if who == giver] == list(range(rounds))


def test_intake_is_the_same_in_both():
    """One script of calls, in both modes: the same answers and the same bytes."""
    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("this run has one implementation only")

    def script(system):
        intake = system.Intake(system.Event(), 2**64 - 1, 5, 20_000)
        out = []
        for step in range(200):
            data = bytes(range(step)) * (step % 7)
            out.append(intake.propose(data, step) if step % 3 else intake.propose_many([data, b"", data]))
            if step % 5 == 4 and intake.py_take():
                out += [intake.taken.tobytes(), intake.offset, intake.taken_sequence]
                chunk, count = intake.py_chunk(step * 30)
                intake.py_consume(len(chunk), count)
                out += [chunk, count, intake.py_waiting()]
            out.append(intake.last_sequence)
        return out

    first, second = (script(module(impl, "_sys")) for impl in IMPLEMENTATIONS.values())
    assert first == second
    assert 0 in first  # the limit was met


# --- File ----------------------------------------------------------------------------------------


@pytest.fixture
def file(system, tmp_path):
    file = system.File(tmp_path / "data", create=True)
    yield file
    file.close()


def test_file_opens(system, tmp_path):
    path = tmp_path / "data"
    with pytest.raises(FileNotFoundError):
        system.File(path)
    with pytest.raises(FileNotFoundError):
        system.File(path, readonly=True)
    file = system.File(str(path), create=True)
    assert file.fd >= 0
    assert not os.get_inheritable(file.fd)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert (file.fail_after, file.fail_errno, file.stall_ns) == (-1, errno.EIO, 0)
    file.close()
    file.close()
    assert file.fd == -1
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.size()
    # One that nobody closed is closed with the object: no_leaks looks.
    system.File(path)


def test_file_writes_and_reads(file, core, tmp_path):
    buffer = buffer_of(core, b"0123456789")
    assert file.py_write_at(buffer, 2, 5, 3) == 0
    assert (tmp_path / "data").read_bytes() == b"\0\0\x0023456"
    assert file.py_write_at(buffer, 10, 0, 100) == 0
    assert file.size() == 8
    assert file.py_read_at(buffer, 4, 3) == 0
    assert buffer.tobytes() == b"2345"
    assert file.py_read_at(buffer, 100, 6) == 0  # only what is there
    assert buffer.tobytes() == b"56"
    assert file.py_read_at(buffer, 5, 8) == 0
    assert len(buffer) == 0
    assert file.py_datasync() == 0


def test_file_large(file, core):
    data = os.urandom(3 << 20)
    assert file.py_write_at(buffer_of(core, data), 0, len(data), 4096) == 0
    back = core.Buffer(4096)
    assert file.py_read_at(back, len(data) + 1, 4096) == 0
    assert back.tobytes() == data


def test_file_outside_of_the_buffer(file, core):
    buffer = buffer_of(core, b"0123456789")
    for offset, size in ((0, 11), (10, 1), (11, 0), (5, 6), (2**63, 1), (2**64 - 8, 16)):
        with pytest.raises(IndexError):
            file.py_write_at(buffer, offset, size, 0)
    with pytest.raises(OverflowError):
        file.py_write_at(buffer, -1, 1, 0)
    with pytest.raises(TypeError):
        file.py_write_at(b"0123456789", 0, 1, 0)
    with pytest.raises(TypeError):
        file.py_read_at(None, 1, 0)
    assert file.size() == 0


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
def test_file_zero(file, core, tmp_path, size):
    data = b"x" * 300_000
    assert file.py_write_at(buffer_of(core, data), 0, len(data), 0) == 0
    assert file.py_zero(1000, size) == 0
    assert (tmp_path / "data").read_bytes() == data[:1000] + bytes(size) + data[1000 + size :]


def test_file_size_truncate_preallocate(file):
    file.preallocate(8192)
    assert file.size() == 8192
    file.truncate(100)
    assert file.size() == 100
    file.truncate(5000)
    assert file.size() == 5000
    file.preallocate(10)
    assert file.size() == 5000


def test_file_says_what_the_system_says(system, core, tmp_path):
    buffer = buffer_of(core, b"data")
    path = tmp_path / "data"
    path.write_bytes(b"old")
    file = system.File(path, readonly=True)
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_zero(0, 4) == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 2**63) in (-errno.EINVAL, -errno.EBADF)
    file.close()
    assert file.py_datasync() == -errno.EBADF
    assert file.py_write_at(buffer, 0, 4, 0) == -errno.EBADF
    assert file.py_read_at(buffer, 4, 0) == -errno.EBADF
    assert len(buffer) == 0
    writable = system.File(path)
    buffer.py_put(b"data")
    assert writable.py_write_at(buffer, 0, 4, 2**63) == -errno.EINVAL
    assert writable.py_zero(2**64 - 1, 1) == -errno.EINVAL
    assert writable.py_read_at(buffer, 4, 2**63) == -errno.EINVAL
    writable.close()
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_file_full_disk(system, core):
    file = system.File("/dev/full")
    assert file.py_write_at(buffer_of(core, b"data"), 0, 4, 0) == -errno.ENOSPC
    assert file.py_zero(0, 4) == -errno.ENOSPC
    file.close()


OPERATIONS = 5


@pytest.mark.parametrize("good", range(OPERATIONS + 1))
def test_file_fault_at_each_operation(file, core, tmp_path, good):
    """The first ``good`` operations work, all later ones fail and change nothing."""
    buffer = buffer_of(core, b"abc")
    operations = [
        lambda: file.py_write_at(buffer, 0, 1, 0),
        lambda: file.py_write_at(buffer, 1, 1, 1),
        file.py_datasync,
        lambda: file.py_zero(2, 1),
        lambda: file.py_write_at(buffer, 2, 1, 3),
    ]
    file.fail_after = good
    file.fail_errno = errno.ENOSPC
    assert [operation() for operation in operations] == [0] * good + [-errno.ENOSPC] * (OPERATIONS - good)
    assert file.fail_after == max(0, good - OPERATIONS)
    changes = [b"a", b"b", b"", b"\0", b"c"]
    assert (tmp_path / "data").read_bytes() == b"".join(changes[:good])
    # Reads never fail on demand, and the fault can be taken back.
    assert file.py_read_at(buffer, 10, 0) == 0
    file.fail_after = -1
    assert file.py_datasync() == 0


def test_file_stalls(file, system):
    file.stall_ns = 2_000_000
    before = system.monotonic_ns()
    assert file.py_datasync() == 0
    assert system.monotonic_ns() - before >= 2_000_000
    file.fail_after = 0
    assert file.py_datasync() == -errno.EIO


def test_file_stall_holds_nobody_up(file):
    """The GIL is free during a sync: this thread gets on while another one is in it."""
    inside = threading.Event()
    file.stall_ns = 200_000_000

    def sync():
        inside.set()
        file.py_datasync()

    thread = start(sync)
    assert inside.wait(LIMIT_S)
    file.stall_ns = 0
    assert ends(thread)


def test_file_create_goes_on_with_a_new_one(file, core, tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        buffer = buffer_of(core, b"new")
        assert file.py_create(directory, 0xABC, 8192) == 0
        path = tmp_path / "wal-0000000000000abc.log"
        assert file.size() == 8192
        assert not os.get_inheritable(file.fd)
        assert file.py_write_at(buffer, 0, 3, 1) == 0
        assert file.py_sync_new(directory) == 0
        assert path.read_bytes() == b"\0new" + bytes(8188)
        assert (tmp_path / "data").read_bytes() == b""
        # What fails leaves the present file in use.
        assert file.py_create(directory, 0xABC, 8192) == -errno.EEXIST
        assert file.py_create(directory, 1, 0) == -errno.EINVAL
        assert file.py_create(directory, 2, 2**63) == -errno.EINVAL
        assert file.py_create(-1, 3, 4096) == -errno.EBADF
        assert file.py_sync_new(-1) == -errno.EBADF
        assert file.py_read_at(buffer, 3, 1) == 0
        assert buffer.tobytes() == b"new"
        assert file.py_create(directory, 2**64 - 1, 1) == 0
        assert (tmp_path / "wal-ffffffffffffffff.log").stat().st_size == 1
    finally:
        os.close(directory)


@pytest.mark.parametrize("good", range(3))
def test_file_create_faults(file, tmp_path, good):
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        file.fail_after = good
        codes = [file.py_create(directory, 1, 4096), file.py_sync_new(directory)]
        assert codes == [0] * good + [-errno.EIO] * (2 - good)
        assert (tmp_path / "wal-0000000000000001.log").exists() == (good > 0)
    finally:
        os.close(directory)


# --- directories ---------------------------------------------------------------------------------


def test_sync_directory(system, tmp_path):
    (tmp_path / "new").write_bytes(b"x")
    assert system.sync_directory(tmp_path) is None
    system.sync_directory(os.fsencode(tmp_path))
    with pytest.raises(FileNotFoundError):
        system.sync_directory(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        system.sync_directory(tmp_path / "new")


def test_lock_directory_in_this_process(system, errors, tmp_path):
    lock = system.lock_directory(tmp_path)
    with pytest.raises(errors.WrongDirectory, match="in use"):
        system.lock_directory(str(tmp_path))
    system.unlock_directory(lock)
    system.unlock_directory(system.lock_directory(tmp_path))
    with pytest.raises(FileNotFoundError):
        system.lock_directory(tmp_path / "missing")


HOLD = """
import sys
from raftx import _sys
from raftx.errors import WrongDirectory
try:
    _sys.lock_directory(sys.argv[1])
    print("locked", flush=True)
except WrongDirectory:
    print("refused", flush=True)
sys.stdin.read()
"""


def other_process(impl, directory):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        cwd=ROOT,
        env={**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_lock_directory_against_another_process(impl, system, errors, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(errors.WrongDirectory):
            system.lock_directory(tmp_path)
        holder.stdin.close()
        assert holder.wait(LIMIT_S) == 0
    lock = system.lock_directory(tmp_path)
    with other_process(impl, tmp_path) as refused:
        assert refused.stdout.readline() == "refused\n"
        refused.stdin.close()
        assert refused.wait(LIMIT_S) == 0
    system.unlock_directory(lock)


def test_lock_directory_ends_with_its_process(impl, system, tmp_path):
    with other_process(impl, tmp_path) as holder:
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        holder.wait(LIMIT_S)
    system.unlock_directory(system.lock_directory(tmp_path))


# --- NNG -----------------------------------------------------------------------------------------


def test_nng_is_not_available_in_python(system, errors, monkeypatch, impl):
    if impl.COMPILED:
        monkeypatch.setenv("RAFTX_NNG", "python")
    assert system.nng_available() is False
    event = system.Event()
    with pytest.raises(errors.UsageError):
        system.NngReceiver(1, event)
    with pytest.raises(errors.UsageError):
        system.NngReceiver(1, event, capacity=8)
    with pytest.raises(errors.UsageError):
        system.NngSender(1)
    for wrong in (-1, 2**32):
        with pytest.raises(OverflowError):
            system.NngReceiver(wrong, event)
        with pytest.raises(OverflowError):
            system.NngSender(wrong)
    with pytest.raises(TypeError):
        system.NngReceiver(1, None)


ADDRESSES = itertools.count()


class Pair:
    """A pynng socket that pushes, one that pulls, and our receiver on the latter."""

    def __init__(self, pynng, impl, scheme, capacity, **options):
        self.socket_id = module(impl, "transport.nng")._socket_id
        self.event = module(impl, "_sys").Event()
        self.pull = pynng.Pull0(recv_max_size=4 << 20)
        self.push = pynng.Push0(**options)
        if scheme == "tcp":
            self.pull.listen("tcp://127.0.0.1:0")
            port = socket.ntohs(self.pull.listeners[0].local_address.port)
            self.push.dial(f"tcp://127.0.0.1:{port}", block=True)
        else:
            address = f"inproc://raftx-test-sys-{os.getpid()}-{next(ADDRESSES)}"
            self.pull.listen(address)
            self.push.dial(address, block=True)
        self.receiver = module(impl, "_sys").NngReceiver(self.socket_id(self.pull), self.event, capacity)

    def take(self):
        """The next frame, waiting for it without limit."""
        while True:
            self.event.py_prepare()
            frame = self.receiver.py_next()
            if frame is not None:
                self.event.py_cancel()
                return frame
            self.event.py_wait()

    def close(self):
        self.receiver.stop()
        self.push.close()
        self.pull.close()


@pytest.fixture
def pynng(impl, system):
    if not impl.COMPILED:
        pytest.skip("NNG's functions are called from compiled code only")
    pynng = pytest.importorskip("pynng")
    if not system.nng_available():
        pytest.skip("pynng's library does not give its functions away here")
    return pynng


@pytest.fixture
def pair(pynng, impl):
    """``pair(scheme, capacity, **options of the pushing socket)``."""
    made = []

    def make(scheme="inproc", capacity=1024, **options):
        made.append(Pair(pynng, impl, scheme, capacity, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_nng_arguments(pynng, system, errors):
    event = system.Event()
    for capacity in (0, (1 << 20) + 1):
        with pytest.raises(ValueError):
            system.NngReceiver(1, event, capacity)
    receiver = system.NngReceiver(1, event)
    assert receiver.py_next() is None
    receiver.stop()  # never started
    sender = system.NngSender(0)
    assert sender.socket == 0
    assert sender.py_send(b"frame") != 0  # no such socket
    with pytest.raises(TypeError):
        sender.py_send(bytearray(b"frame"))
    with pytest.raises(TypeError):
        sender.py_send(None)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_nng_frames_both_ways_of_sending(pair, system, scheme):
    both = pair(scheme, send_buffer_size=16)
    both.receiver.start()
    sender = system.NngSender(both.socket_id(both.push))
    frames = [b"", b"x", os.urandom(1000), os.urandom(1 << 20)]
    got = []
    thread = start(lambda: got.extend(both.take() for _ in range(2 * len(frames))))
    for frame in frames:
        assert sender.py_send(frame) == 0
        both.push.send(frame)
    assert ends(thread)
    assert got == [frame for frame in frames for _ in range(2)]
    assert both.receiver.py_next() is None


def test_nng_sender_changes_sockets(pair, system):
    pairs = [pair(send_buffer_size=8) for _ in range(2)]
    sender = system.NngSender(0)
    for number, each in enumerate(pairs):
        each.receiver.start()
        sender.socket = each.socket_id(each.push)
        assert sender.py_send(b"to %d" % number) == 0
    got = []
    thread = start(lambda: got.extend(each.take() for each in pairs))
    assert ends(thread)
    assert got == [b"to 0", b"to 1"]


def test_nng_full_queue_drops_and_says_so(pynng, system, impl):
    """Nobody has dialled: what does not fit into the queue is refused, and the sender goes on."""
    push = pynng.Push0(send_buffer_size=4)
    try:
        sender = system.NngSender(module(impl, "transport.nng")._socket_id(push))
        codes = [sender.py_send(b"frame %d" % number) for number in range(20)]
        taken = codes.count(0)
        assert codes == [0] * taken + [NNG_EAGAIN] * (20 - taken)
        assert 4 <= taken < 20
    finally:
        push.close()


def test_nng_starts_once(pair, errors):
    both = pair()
    both.receiver.start()
    with pytest.raises(errors.UsageError):
        both.receiver.start()


@pytest.mark.parametrize(("scheme", "capacity"), [("tcp", 1024), ("tcp", 3), ("inproc", 1), ("inproc", 64)])
def test_nng_loses_nothing(pair, scheme, capacity):
    """5,000 frames in order, also through a ring that is full most of the time."""
    frames = 5000
    both = pair(scheme, capacity, send_buffer_size=8)
    both.receiver.start()
    got = []
    taker = start(lambda: got.extend(both.take() for _ in range(frames)))
    sender = start(lambda: [both.push.send(b"%d" % number) for number in range(frames)])
    assert ends(sender, taker)
    assert got == [b"%d" % number for number in range(frames)]


def test_nng_full_ring_stops_receiving_until_there_is_room(pair, pynng):
    both = pair(capacity=4, send_buffer_size=1, send_timeout=200)
    both.receiver.start()
    accepted = 0
    with contextlib.suppress(pynng.Timeout):
        while accepted < 100:
            both.push.send(b"%d" % accepted)
            accepted += 1
    # Four in the ring, a few in NNG; the rest is the sender's to keep.
    assert 4 <= accepted < 100
    got = []
    assert ends(start(lambda: got.extend(both.take() for _ in range(accepted))))
    assert got == [b"%d" % number for number in range(accepted)]
    both.push.send(b"again")
    assert ends(start(lambda: got.append(both.take())))
    assert got[-1] == b"again"


def memory():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nng_stop_frees(pair, pynng):
    """Frames that nobody took go with the receiver, the one being looked at included."""
    frame = bytes(1 << 20)

    def leave_frames():
        both = pair(capacity=4, send_buffer_size=1)
        both.receiver.start()
        taken = start(both.take)
        for _ in range(4):
            both.push.send(frame)
        assert ends(taken)
        both.close()
        assert both.receiver.py_next() is None
        both.close()  # twice is no harm

    for _ in range(5):
        leave_frames()
    before = memory()
    for _ in range(40):
        leave_frames()
    assert memory() - before < 60 << 20  # 160 MiB have been through


def test_nng_receiver_goes_with_its_object(pair):
    """An object that nobody stopped stops when it is freed, while frames arrive."""
    both = pair(capacity=2, send_buffer_size=8)
    both.receiver.start()
    for _ in range(4):
        both.push.send(b"frame")
    del both.receiver
    both.receiver = type("Stopped", (), {"stop": lambda self: None})()
