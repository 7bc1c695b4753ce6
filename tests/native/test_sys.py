"""raftx._native.threads in both implementations: clocks, wake-ups, cells, hand-overs between threads."""

import os
import struct
import time

import pytest

from tests.helpers.threads import ends, start
from tests.helpers.waiting import eventually


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
