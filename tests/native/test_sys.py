"""raftx._native.threads in both implementations: clocks, wake-ups, cells, hand-overs between threads."""

import os
import struct
import subprocess
import sys
import time

import pytest

import raftx
from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.paths import ROOT
from tests.helpers.threads import ends, start
from tests.helpers.waiting import eventually

HEADER = struct.Struct("<IIQQB7x")
ENVELOPE = struct.Struct("<QQQ")
SLACK = 4096  # what a ProposalQueue takes above its limit


def spans_of(core, *pieces):
    spans = core.Spans()
    for piece in pieces:
        spans.py_push(piece)
    return spans


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


def test_wall_clocks(system):
    assert abs(system.Clock().py_wall() - time.time_ns()) < 60_000_000_000
    clock = system.ManualClock(2.5)
    assert clock.py_wall() == clock.py_now()
    clock.set_wall(1000.5)
    clock.advance(0.5)
    assert clock.py_wall() == 1_001_000_000_000 and clock.py_now() == 3_000_000_000
    clock.set_wall(0)
    assert clock.py_wall() == 0
    with pytest.raises(ValueError):
        clock.set_wall(-1)


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


def test_a_manual_clock_lets_go_of_events_that_are_gone(system):
    clock = system.ManualClock()
    stays = system.Event()
    clock.py_watch(stays)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        clock.py_watch(system.Event())
    clock.advance(1.0)
    assert len(os.listdir("/proc/self/fd")) == before
    stays.py_prepare()
    clock.advance(1.0)
    assert ends(start(stays.py_wait))


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
    drive = mod("testing.drive")
    case = drive.Alone(3, 10, 2, 64)
    (member,) = case.members()
    before = member.core.committed
    thread = start(case.run)
    assert ends(thread)
    assert member.core.committed == before + case.count
    assert case.count >= 6


# --- Handoff -------------------------------------------------------------------------------------


def test_who_lacks_room_wakes_a_taker_that_was_not_told_of_its_rows(system):
    event = system.Event()
    handoff = system.Handoff(event, 4)
    taken = []

    def take():
        while not handoff.py_is_ended():
            event.py_prepare()
            if handoff.py_is_ended():
                event.py_cancel()
            else:
                event.py_wait()
            taken.extend([handoff.py_at(row, 0) for row in range(handoff.py_take())])
        taken.extend([handoff.py_at(row, 0) for row in range(handoff.py_take())])

    thread = start(take)
    for number in range(1, 42):
        eventually(lambda: not handoff.py_lacks(1))
        assert handoff.py_lay(number)
    handoff.py_end()
    assert ends(thread)
    assert taken == list(range(1, 42))


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


def test_handoff_is_bounded(system, core):
    """What has no room is not taken, nothing of it has moved, and it is counted; the end always has room."""
    handoff = system.Handoff(system.Event(), 3)
    spans = spans_of(core, b"stays")
    assert [handoff.py_put(None, number) for number in range(3)] == [True] * 3
    assert handoff.py_room() == 0
    assert not handoff.py_put(spans, 3)
    assert (len(spans), handoff.refused, handoff.pending, handoff.py_backlog()) == (1, 1, 3, 0)
    assert not handoff.py_is_ended()
    handoff.py_end()
    assert handoff.py_is_ended()
    assert handoff.py_take() == 3
    assert [handoff.py_at(row, 0) for row in range(3)] == [0, 1, 2]
    assert handoff.py_room() == 3
    assert handoff.py_put(spans, 3)
    assert len(spans) == 0 and handoff.py_backlog() == 5
    for wrong in (0, -1, 2**24 + 1):
        with pytest.raises(ValueError):
            system.Handoff(system.Event(), wrong)


def test_handoff_tells_its_giver_of_room(system):
    """Only when it was missed, and only once."""
    handoff, giver = system.Handoff(system.Event(), 4), system.Event()
    handoff.py_set_giver(giver)
    for number in range(3):
        handoff.py_put(None, number)
    assert not handoff.py_lacks(1)
    giver.py_prepare()
    handoff.py_take()
    assert not woken(giver)
    for number in range(3):
        handoff.py_put(None, number)
    assert handoff.py_lacks(2)
    giver.py_prepare()
    handoff.py_take()
    assert woken(giver)
    handoff.py_put(None, 1)
    giver.py_prepare()
    handoff.py_take()
    assert not woken(giver)
    with pytest.raises(TypeError):
        handoff.py_set_giver(None)


def woken(event):
    """Whether somebody has woken it since it was prepared: a sleep ends at once, or after its time."""
    before = time.monotonic()
    event.py_wait(300_000_000)
    return time.monotonic() - before < 0.25


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


# --- ProposalQueue ---------------------------------------------------------------------------


def record(data, sequence, kind=0, origin=7, incarnation=3):
    """A proposal's record: no crc, index and term yet."""
    return HEADER.pack(0, 24 + len(data), 0, 0, kind) + ENVELOPE.pack(origin, incarnation, sequence) + data


@pytest.fixture
def intake(system):
    return system.ProposalQueue(system.Event(), 7, 3, 1 << 20)


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
    intake = system.ProposalQueue(system.Event(), 1, 1, limit)
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


def test_intake_counts_what_is_not_consumed(system):
    intake = system.ProposalQueue(system.Event(), 1, 1, 0)
    assert intake.propose_many([bytes(2048 - 56)] * 3) == (0, 0)
    assert intake.propose_many([bytes(2048 - 56)] * 2) == (1, 2)
    assert intake.py_take()
    intake.py_consume(2048, 1)
    assert intake.propose(bytes(2049 - 56)) == 0
    assert intake.propose(bytes(2048 - 56)) == 3
    intake.py_consume(2048, 1)
    assert intake.propose(bytes(2048 - 56)) == 4


def test_intake_takes_all_or_none(system):
    """There is no room for the last of them, and so for none."""
    intake = system.ProposalQueue(system.Event(), 1, 1, 0)
    assert intake.propose_many([bytes(1000 - 56)] * 5) == (0, 0)
    assert intake.last_sequence == 0
    assert not intake.py_waiting()
    assert intake.propose_many([bytes(1000 - 56)] * 4) == (1, 4)
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
            system.ProposalQueue(*arguments)
    with pytest.raises(TypeError):
        system.ProposalQueue(None, 0, 0, 0)
    with pytest.raises(OverflowError):
        intake.py_consume(0, 2**32)


OFFERS_TOO_MUCH = """
import threading
from raftx.testing.pacer import Pacer
from raftx._native import threads

proposals = threads.ProposalQueue(threads.Event(), 1, 1, 2**63)
pacer = Pacer(proposals, 10, 10**9)
for size in (2**50, 2**62):
    try:
        pacer.try_offer(size)
    except MemoryError:
        print("no memory", flush=True)
    print(proposals.propose(b"x"), proposals.propose_many([b"y", b"z"]), flush=True)
"""


def test_proposals_without_memory_hold_nothing(tmp_path):
    """A caller without the GIL that finds no memory lets go of the queue before it raises. In a process of its own."""
    if raftx.COMPILED is False:
        pytest.skip("only compiled code allocates as much as it is told")
    done = subprocess.run(
        [sys.executable, "-c", OFFERS_TOO_MUCH], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.stdout.split("\n") == ["no memory", "1 (2, 2)", "no memory", "4 (5, 2)", ""], done.stderr


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


@pytest.mark.once
def test_intake_is_the_same_in_both():
    """One script of calls, in both modes: the same answers and the same bytes."""
    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("this run has one implementation only")

    def script(system):
        intake = system.ProposalQueue(system.Event(), 2**64 - 1, 5, 20_000)
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

    first, second = (script(module(impl, "_native.threads")) for impl in IMPLEMENTATIONS.values())
    assert first == second
    assert 0 in first  # the limit was met


@pytest.mark.parametrize("count", [1, 16, 51, 1000])
def test_cells_have_as_many_as_asked_for(system, count):
    """Each holds its own, and what lies beyond them is an error in both modes."""
    cells = system.Cells(count)
    assert [cells[cell] for cell in range(count)] == [0] * count
    for cell in range(count):
        cells[cell] = cell + 1
    assert [cells[cell] for cell in range(count)] == list(range(1, count + 1))
    for wrong in (-1, count, count + 1, 2**31):
        with pytest.raises(IndexError, match=rf"0..{count - 1}"):
            cells[wrong]
        with pytest.raises(IndexError):
            cells[wrong] = 1
    for wrong in (0, -1):
        with pytest.raises(ValueError):
            system.Cells(wrong)
