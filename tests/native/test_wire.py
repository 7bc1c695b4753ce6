"""raftx._native.wire and raftx._native.limits: accepting with limits, dialling with a bounded time, who has to go."""

import contextlib
import errno
import functools
import os
import random
import resource
import socket
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.making import each_closed
from tests.helpers.ports import port as free_port

GREETING = b"\0SP\0\0\x50\0\0"
WAIT = 20.0
SECOND = 1_000_000_000
NOTE_UNREACHABLE, NOTE_REACHED, NOTE_SHORTAGE, NOTE_CROWD = 1, 2, 3, 4


@pytest.fixture
def limits(mod):
    return mod("_native.limits")


class Stepped:
    """A Wire that the test steps, listening on loopback."""

    def __init__(self, impl, guests=4, guest_ms=200, dial_ms=200, shortest=10, longest=80, unacknowledged=1000):
        system, limits, wire = (module(impl, name) for name in ("_native.threads", "_native.limits", "_native.wire"))
        self.now = system.monotonic_ns
        self.event = system.Event()
        self.notes = limits.Notes()
        self.wire = wire.Wire(self.event, self.notes, guests, guest_ms, dial_ms, shortest, longest, unacknowledged)
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.place = listener.getsockname()
        self.wire.py_listen(listener.detach())
        self.made = []

    def step(self, seconds=0.02):
        return self.wire.py_step(self.now() + int(seconds * SECOND))

    def until(self, condition):
        deadline = time.monotonic() + WAIT
        while not (value := condition()):
            assert time.monotonic() < deadline
            self.step()
        return value

    def connect(self, greeting=b""):
        made = socket.create_connection(self.place)
        made.settimeout(WAIT)
        if greeting:
            made.sendall(greeting)
        self.made.append(made)
        return made

    def close(self):
        self.wire.py_close()
        for made in self.made:
            made.close()


@pytest.fixture
def stepped(impl):
    yield from each_closed(functools.partial(Stepped, impl))


def ended(connection):
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


# --- accepting -----------------------------------------------------------------------------------


def test_only_who_greets_is_handed_on(stepped):
    made = stepped(guest_ms=60_000)
    good = made.connect(GREETING + b"and more")
    slow = made.connect(GREETING[:3])
    made.until(lambda: made.wire.py_waiting() == 1 and made.wire.accepted == 2)
    for number, wrong in enumerate((b"\0SP\0\0\x51\0\0", b"GET / HTTP/1.1\r\n", b"\0SP\0\0\x50\0\1", b"x")):
        bad = made.connect(wrong)
        made.until(lambda number=number: made.wire.refused > number)
        assert ended(bad)
    who, fd, source = made.wire.py_take()
    with socket.socket(fileno=fd) as handed:
        assert (who, source) == (-1, 1 + 0x7F000001)
        assert handed.recv(100) == GREETING + b"and more"  # nothing has been taken from it
        assert handed.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        assert handed.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000
        assert handed.getpeername() == good.getsockname()
    slow.sendall(GREETING[3:])
    made.until(lambda: made.step(0.01))
    os.close(made.wire.py_take()[1])
    assert made.wire.py_take() is None


def test_who_gave_up_is_no_stranger(stepped):
    """A process that was stopped finds all of its peers' attempts at once: who has gone is not handed on or counted."""
    made = stepped(guest_ms=60_000)
    for _ in range(40):
        made.connect(GREETING).close()
    there = made.connect(GREETING)
    spoke = made.connect(GREETING + b"and more")
    spoke.shutdown(socket.SHUT_WR)
    late = made.connect(GREETING[:5])
    made.until(lambda: made.wire.accepted == 43)
    handed = [socket.socket(fileno=made.wire.py_take()[1]) for _ in range(2)]
    assert {each.getpeername() for each in handed} == {there.getsockname(), spoke.getsockname()}
    assert made.wire.py_take() is None and made.wire.py_waiting() == 1
    # The rest of a greeting, and the end, seen together.
    late.sendall(GREETING[5:])
    late.close()
    made.until(lambda: not made.wire.py_waiting())
    assert made.wire.py_take() is None and made.wire.refused == 0 and made.notes.py_take() is None
    for each in handed:
        each.close()


def test_a_guest_has_so_much_time(stepped):
    made = stepped(guest_ms=150)
    begun = time.monotonic()
    silent, half = made.connect(), made.connect(GREETING[:7])
    made.until(lambda: made.wire.accepted == 2)
    steps = 0
    while made.wire.py_waiting():
        assert time.monotonic() < begun + WAIT
        made.wire.py_step(-1)
        steps += 1
    assert time.monotonic() - begun >= 0.14
    assert steps < 10  # half a greeting wakes nobody again and again
    assert made.wire.refused == 2
    assert ended(silent)
    assert ended(half)
    gone = made.connect(GREETING[:4])
    made.until(lambda: made.wire.accepted == 3)
    gone.close()
    made.until(lambda: not made.wire.py_waiting())


def test_guests_are_bounded_and_somebody_else_gets_in(stepped):
    made = stepped(guests=4, guest_ms=60_000)
    for number in range(20):
        made.connect()
        made.until(lambda number=number: made.wire.accepted > number)
        assert made.wire.py_waiting() <= 4
    assert made.wire.refused == 16
    assert made.notes.py_take() == (NOTE_CROWD, 0, 0)
    assert made.notes.py_take() is None  # said once in a while
    # One of another address is not the one to go.
    other = socket.socket()
    other.bind(("127.0.0.2", 0))
    other.connect(made.place)
    made.made.append(other)
    made.until(lambda: made.wire.accepted == 21)
    for number in range(21, 60):
        made.connect()
        made.until(lambda number=number: made.wire.accepted > number)
    other.sendall(GREETING)
    made.until(lambda: made.step(0.01))
    who, fd, source = made.wire.py_take()
    os.close(fd)
    assert (who, source) == (-1, 1 + 0x7F000002)


def test_without_descriptors_it_neither_fails_nor_spins(stepped):
    made = stepped(guests=16)
    for _ in range(6):
        made.connect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        made.until(lambda: made.wire.shortages)
        for _ in range(20):
            made.step(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert made.wire.refused + made.wire.py_waiting() >= 1
    assert made.wire.shortages < 100
    assert made.notes.py_take() == (NOTE_SHORTAGE, 0, errno.EMFILE)
    assert made.notes.py_take() is None
    made.connect(GREETING)
    made.until(lambda: made.step(0.01))
    os.close(made.wire.py_take()[1])


# --- dialling ------------------------------------------------------------------------------------


def test_dials_until_somebody_listens(stepped):
    made = stepped(shortest=20, longest=80)
    port = free_port()
    number = made.wire.py_target(7, "127.0.0.1", str(port), 0)
    begun = time.monotonic()
    made.until(lambda: time.monotonic() - begun > 1.3)
    # 20, 40, 80, 80 ... ms between the beginnings.
    assert 4 <= made.wire.failures <= 25
    assert made.notes.py_take() == (NOTE_UNREACHABLE, 7, errno.ECONNREFUSED)
    assert made.notes.py_take() is None  # once
    with socket.create_server(("127.0.0.1", port)) as server:
        made.until(lambda: made.step(0.01))
        who, fd, _ = made.wire.py_take()
        assert who == number
        with socket.socket(fileno=fd) as connection, server.accept()[0] as other:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000
            assert connection.getpeername() == other.getsockname()
            made.wire.py_stood(number)
            assert made.notes.py_take() == (NOTE_REACHED, 7, 0)
            dials = made.wire.dials
            made.step(0.05)
            assert made.wire.dials == dials  # not while it stands
    made.wire.py_again(number, 0)
    made.until(lambda: made.wire.dials > dials)
    with pytest.raises(IndexError):
        made.wire.py_again(number + 1, 0)


def test_an_attempt_has_so_much_time(stepped):
    """Nobody answers, as in a cut: a listener whose queue is full."""
    made = stepped(dial_ms=100, shortest=10, longest=10, unacknowledged=60_000)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(deaf.getsockname())
        made.wire.py_target(7, "127.0.0.1", str(deaf.getsockname()[1]), 0)
        begun = time.monotonic()
        made.until(lambda: made.wire.failures >= 3 or made.step(0.01))
        assert made.wire.failures >= 3
        assert 0.25 < time.monotonic() - begun < WAIT
        for filler in fillers:
            filler.close()


def test_who_connects_is_dialled_at_once(stepped):
    """And its pauses begin anew."""
    made = stepped(shortest=10, longest=600_000)
    port = free_port()
    number = made.wire.py_target(7, "127.0.0.1", str(port), 0)
    made.until(lambda: made.wire.failures >= 6)
    failures = made.wire.failures
    made.wire.py_hurry(number)
    made.until(lambda: made.wire.failures >= failures + 6)  # it would take 40 seconds without


def test_names_are_looked_up_and_every_address_is_tried(stepped):
    made = stepped()
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = made.wire.py_target(7, "localhost", str(server.getsockname()[1]), 0)
        made.until(lambda: made.step(0.01))
        who, fd, _ = made.wire.py_take()
        assert who == number
        os.close(fd)
    unknown = stepped()
    unknown.wire.py_target(8, "no-such-host.invalid", "5601", 0)
    unknown.until(lambda: unknown.wire.failures)


def test_wire_arguments(impl, limits, system, mod):
    wire = mod("_native.wire").Wire
    good = (system.Event(), limits.Notes(), 4, 100, 100, 10, 100, 1000)
    for at, value in ((2, 0), (2, 5000), (3, 0), (4, 0), (5, 0), (6, 5), (7, 0)):
        with pytest.raises(ValueError):
            wire(*good[:at], value, *good[at + 1 :])
    made = wire(*good)
    for id in range(64):
        assert made.py_target(id + 1, "127.0.0.1", "5601", 0) == id
    with pytest.raises(ValueError):
        made.py_target(65, "127.0.0.1", "5601", 0)
    with pytest.raises(ValueError):
        wire(*good).py_target(1, "x" * 300, "5601", 0)
    made.py_close()
    made.py_close()


# --- who has to go -------------------------------------------------------------------------------


def closing(arrivals):
    found = []
    while (each := arrivals.py_next_to_close()) is not None:
        found.append(each)
    return found


def test_a_stranger_has_so_much_time(limits):
    made = limits.Arrivals(8, 4, 100)
    assert made.py_sweep(0) == -1
    assert made.py_admit(1, 50, 0) >= 0
    assert made.py_admit(2, 50, 10) >= 0
    assert made.py_opened(1, 101, 20) >= 0
    assert made.py_opened(2, 102, 20) >= 0
    assert made.py_count() == made.py_count(True) == 2
    assert made.py_sweep(99_999_999) == 100_000_000
    assert made.py_proven(102, 30)
    assert not made.py_proven(103, 30)
    assert (made.py_count(), made.py_count(True)) == (2, 1)
    assert made.py_sweep(100_000_000) == -1
    assert closing(made) == [(1, 101, True)]
    assert (made.py_count(), made.py_count(True), made.refused) == (1, 0, 1)
    made.py_ended(101)
    made.py_ended(102)
    assert closing(made) == [(2, 102, True)]  # its listener is left
    assert made.py_count() == 0
    assert made.py_opened(7, 107, 0) >= 0  # over a listener of NNG's own
    made.py_ended(107)
    assert closing(made) == []
    assert made.py_admit(9, 50, 0) >= 0
    made.py_drop(9)
    assert closing(made) == [(9, 0, True)]


def test_strangers_are_bounded_and_the_most_frequent_sender_loses(limits):
    made = limits.Arrivals(32, 4, 1000)
    assert made.py_admit(1, 7, 0) >= 0
    assert made.py_opened(1, 101, 0) >= 0
    for number in range(2, 200):
        assert made.py_admit(number, 50, number) >= 0
        assert made.py_opened(number, 100 + number, number) >= 0
        assert made.py_count(True) <= 4
        for listener, pipe, own in closing(made):
            assert own
            assert listener != 1
            assert pipe == listener + 100
    assert made.py_proven(101, 500)
    assert made.refused == 195
    # A chosen one that has become known by then is not closed: it is not there any more to be proven.
    victims = {each[0] for each in closing(made)}
    assert victims == set()


def test_proven_ones_are_bounded_and_the_most_silent_goes(limits):
    made = limits.Arrivals(4, 2, 1000)
    for number in range(1, 5):
        assert made.py_admit(number, number, number) >= 0
        assert made.py_opened(number, 100 + number, number) >= 0
        assert made.py_proven(100 + number, number)
    made.py_heard(101, 50)
    assert made.py_proven(102, 60)
    assert made.py_admit(5, 50, 70) >= 0
    assert closing(made) == [(3, 103, True)]
    # A stranger is there now, and goes before anybody who is known.
    assert made.py_admit(6, 50, 80) >= 0
    assert closing(made) == [(5, 0, True)]
    assert not made.py_proven(103, 90)


def test_arrivals_arguments(limits):
    for arguments in ((1, 1, 10), (5000, 1, 10), (4, 0, 10), (4, 4, 10), (4, 2, 0)):
        with pytest.raises(ValueError):
            limits.Arrivals(*arguments)
    made = limits.Arrivals(2, 1, 10)
    for wrong in (-1, 2**32):
        with pytest.raises(OverflowError):
            made.py_ended(wrong)
    # Twice as many places as connections: whoever is not closed in time keeps others out, not the table growing.
    places = [made.py_admit(number, 1, 0) for number in range(1, 10)]
    assert places.count(-1) == 5
    assert made.py_opened(1, 101, 0) == -1  # chosen to go before it was there


def test_places_in_use_stand_together(limits):
    """So that a connection is found, and a place for it, without a look at all those that there may be."""
    made = limits.Arrivals(4096, 4095, 1000)
    assert made.py_used() == 0
    assert [made.py_opened(9, 100 + number, 0) for number in range(10)] == list(range(10))
    assert made.py_used() == 10
    for pipe in (103, 101):
        made.py_ended(pipe)
    assert made.py_used() == 10
    assert [made.py_opened(9, pipe, 0) for pipe in (201, 202, 203)] == [1, 3, 10]
    made.py_ended(203)
    assert made.py_used() == 10
    for pipe in (100, 102, *range(104, 110)):
        made.py_ended(pipe)
    assert made.py_used() == 4
    assert (made.py_count(), made.py_count(True)) == (2, 2)
    for pipe in (201, 202):
        made.py_ended(pipe)
    assert (made.py_used(), made.py_count()) == (0, 0)


def test_the_lowest_free_place_is_given_out(limits):
    draw = random.Random(7)
    made = limits.Arrivals(100, 99, 1000)
    pipes: dict[int, int] = {}  # by place
    for pipe in range(1, 2000):
        if len(pipes) < 90 and draw.random() < 0.6:
            place = made.py_opened(9, pipe, pipe)
            assert place == min(set(range(len(pipes) + 1)) - set(pipes))
            pipes[place] = pipe
            if draw.random() < 0.5:
                assert made.py_proven(pipe, pipe)
        elif pipes:
            made.py_ended(pipes.pop(draw.choice(sorted(pipes))))
        assert made.py_used() == max(pipes, default=-1) + 1
        assert made.py_count() == len(pipes)
    assert made.refused == 0


def test_notes_are_bounded(limits):
    made = limits.Notes()
    assert made.py_take() is None
    for number in range(70):
        made.py_put(NOTE_CROWD, number, -number)
    assert made.lost == 6
    assert [made.py_take() for _ in range(65)] == [(NOTE_CROWD, n, -n) for n in range(64)] + [None]
