"""raftx._native.tcp: what comes over connections and what goes, with ends that are slow, broken, or no peers at all."""

import contextlib
import fcntl
import functools
import gc
import os
import resource
import socket
import struct
import termios
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.implementations import module
from tests.helpers.making import each_closed
from tests.helpers.ports import port as free_port
from tests.helpers.streams import PULL, PUSH, Server, Stepped, message
from tests.helpers.waiting import WAIT


@pytest.fixture
def stepped(impl):
    yield from each_closed(functools.partial(Stepped, impl))


def reset(connection):
    """End it with a RST: what the other side has sent is lost."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ipc", [False, True])
def test_frames_come_in_any_pieces(stepped, tmp_path, ipc):
    made = stepped(ipc=str(tmp_path / "socket") if ipc else "")
    frames = [b"", b"a", b"x" * 1000, bytes(300_000), b"last"]
    whole = b"".join((b"\1" if ipc else b"") + message(frame) for frame in frames)
    one = made.come(b"")
    for part in (PUSH[:3], PUSH[3:] + whole[:5]):
        one.sendall(part)
        made.step()
    made.until(lambda: made.arrivals.py_count() == 1)
    assert one.recv(8) == PULL
    for at in range(5, 60):
        one.sendall(whole[at : at + 1])
        made.step(0.001)
    thread = threading.Thread(target=one.sendall, args=(whole[60:],))
    thread.start()
    made.until(lambda: len(made.frames) == len(frames))
    thread.join()
    assert made.frames == frames
    one.close()
    made.until(lambda: made.arrivals.py_count() == 0)


def test_a_frame_that_has_begun_is_finished_in_one_round(stepped):
    """As far as it is here: not a piece a round."""
    made = stepped()
    connection, whole = made.come(), message(bytes(range(250)) * 400)
    connection.sendall(whole[:20])
    made.until(made.arrivals.py_count)
    for _ in range(5):
        made.step()
    connection.sendall(whole[20:])
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.001)  # until the other side's kernel has it
    made.step()
    made.streams.py_collect()
    assert made.frames == [whole[8:]] or made.streams.py_next() == whole[8:]


def test_what_was_cut_off_is_no_frame(stepped):
    made = stepped()
    for cut in (1, 7, 8, 9, 107):
        one = made.come()
        one.sendall(message(bytes(100))[:cut])
        made.until(lambda: made.arrivals.py_count() == 1)
        made.step()
        one.close()
        made.until(lambda: made.arrivals.py_count() == 0)
    assert made.frames == []
    assert made.streams.malformed == 0


@pytest.mark.parametrize("length", [(1 << 20) + 1, 1 << 40, 2**64 - 1])
def test_a_message_that_is_too_long_ends_its_connection(stepped, length):
    made = stepped()
    good, bad = made.come(), made.come()
    bad.sendall(message(b"before") + length.to_bytes(8, "big") + bytes(100))
    made.until(lambda: made.streams.malformed == 1)
    made.until(lambda: made.ended(bad))
    assert made.frames == [b"before"]
    good.sendall(message(bytes(1 << 20)))
    made.until(lambda: len(made.frames) == 2)


def test_garbage_instead_of_a_greeting(stepped):
    made = stepped()
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(8), PULL, b"\0SP\1\0\x50\0\0", os.urandom(64)):
        bad = made.come(garbage)
        made.until(lambda bad=bad: made.ended(bad))
    assert made.arrivals.py_count() == 0
    made.come().sendall(message(b"good"))
    made.until(lambda: made.frames)


def test_a_byte_now_and_then_holds_up_nobody(stepped):
    """One sends a byte at a time; others' frames pass, and its own is whole in the end."""
    made = stepped()
    slow, fast = made.come(), made.come()
    for count, byte in enumerate(message(b"slow" * 5), 1):
        slow.sendall(bytes([byte]))
        fast.sendall(message(b"%d" % count))
        made.until(lambda count=count: sum(frame != b"slow" * 5 for frame in made.frames) == count)
    made.until(lambda: b"slow" * 5 in made.frames)


def test_a_flood_does_not_keep_others_out(stepped):
    made = stepped()
    flood, one = made.come(), made.come()
    stop = threading.Event()

    def send():
        with contextlib.suppress(OSError):
            while not stop.is_set():
                flood.sendall(message(bytes(10_000)) * 50)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        made.until(lambda: len(made.frames) > 200)
        for number in range(5):
            one.sendall(message(b"%d" % number))
            made.until(lambda number=number: b"%d" % number in made.frames)
            made.frames.clear()
    finally:
        stop.set()
        flood.shutdown(socket.SHUT_RDWR)  # wakes the thread, which sends into a full buffer
        thread.join()
        flood.close()


def test_who_is_hungry_for_nothing_is_not_woken_by_frames(stepped):
    """A node that has no room for frames sleeps, and takes them later; what it sends goes on."""
    made = stepped()
    server = Server(made).dialled()
    other = server.accept()
    made.until(lambda: made.connected == [7])
    one = made.come()
    made.until(lambda: made.arrivals.py_count() == 1)
    one.sendall(message(b"x") * 3)
    time.sleep(0.05)
    made.streams.py_collect()
    begun = time.monotonic()
    made.streams.py_wait(made.event, 200_000_000, False)
    assert time.monotonic() - begun > 0.15
    assert made.streams.py_send(7, b"out") == 0
    made.streams.py_flush()
    assert server.receive(other, 100) == message(b"out")
    made.until(lambda: made.frames == [b"x"] * 3)


def test_a_look_finds_what_a_sleep_would_end_for(stepped):
    """It waits for nothing, and takes nothing away: the next round finds it."""
    made = stepped()
    one = made.come()
    made.until(lambda: made.arrivals.py_count() == 1)
    made.until(lambda: not made.streams.py_look())
    one.sendall(message(b"frame"))
    deadline = time.monotonic() + WAIT
    while not made.streams.py_look():
        assert time.monotonic() < deadline
    assert not made.streams.py_look(False)  # there is no room for frames
    assert made.streams.py_look() and made.streams.py_look()
    made.streams.py_collect()
    assert made.streams.py_next() == b"frame"
    assert made.streams.py_look()  # who takes frames has to ask until there is none
    assert made.streams.py_next() is None
    made.until(lambda: not made.streams.py_look())
    other = made.come()
    while not made.streams.py_look(False):
        assert time.monotonic() < deadline
    made.until(lambda: made.arrivals.py_count() == 2)
    one.close()
    other.close()
    made.until(lambda: made.arrivals.py_count() == 0)


@pytest.mark.parametrize("proven", [True, False])
def test_strangers_have_so_much_time(stepped, proven):
    made = stepped(stranger_ms=150)
    made.prove = proven
    one, begun = made.come(), time.monotonic()
    one.sendall(message(b"x"))
    made.until(lambda: made.frames)
    if proven:
        made.until(lambda: time.monotonic() - begun > 0.5)
        one.sendall(message(b"y"))
        made.until(lambda: len(made.frames) == 2)
    else:
        made.until(lambda: made.ended(one))
        assert time.monotonic() - begun > 0.14


def test_a_frame_stays_while_its_connection_is_closed_for_another(stepped):
    """One connection too many costs another one, perhaps that whose frame is being looked at."""
    made = stepped(connections=4, strangers=2)
    made.prove = False
    one = made.come()
    big = bytes(range(256)) * 2000
    threading.Thread(target=one.sendall, args=(message(big) + message(b"behind"),)).start()
    made.until(lambda: made.arrivals.py_count() == 1)
    deadline = time.monotonic() + WAIT
    while (frame := made.streams.py_next()) is None:
        assert time.monotonic() < deadline
        made.streams.py_collect()
    assert frame == big
    for _ in range(12):
        made.come()
        for _ in range(3):
            made.streams.py_collect()
    made.streams.py_proven()
    made.until(lambda: made.ended(one))
    assert b"behind" not in made.frames
    assert made.arrivals.py_count() <= 2


@pytest.mark.slow
def test_idle_connections_cost_little(stepped):
    """200 that have greeted and say nothing: frames of another one pass, and all are let go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        made = stepped(connections=256, strangers=255)
        idle = []
        for number in range(200):
            idle.append(made.come())
            made.until(lambda number=number: made.arrivals.py_count() == number + 1)
        one = made.come()
        for number in range(50):
            one.sendall(message(b"%d" % number))
            made.until(lambda number=number: len(made.frames) == number + 1)
        for each in idle:
            each.close()
        made.until(lambda: made.arrivals.py_count() == 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- what goes ------------------------------------------------------------------------------------


def test_frames_go_and_what_is_sent_together_leaves_together(stepped):
    made = stepped()
    server = Server(made).dialled()
    deadline = time.monotonic() + WAIT
    other = None
    while not made.streams.py_stands(7):
        assert time.monotonic() < deadline
        made.streams.py_collect()
        if other is None and (other := server.waiting()):
            made.others.append(other)
            other.sendall(PULL)
    assert made.streams.py_send(7, b"early") != 0  # what is sent first is the sender's to choose
    assert made.streams.py_fresh() == 7
    assert made.streams.py_fresh() == 0
    assert server.receive(other, 8) == PUSH
    assert not made.streams.py_stands(8)
    assert made.streams.py_send(8, b"nobody") != 0
    for number in range(10):
        assert made.streams.py_send(7, b"%d" % number) == 0
    assert made.streams.py_unsent(7) == 90
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    made.streams.py_flush()
    assert made.streams.py_unsent(7) == 0
    assert server.frames(other, 10) == [b"%d" % number for number in range(10)]


def test_a_reader_that_is_slow_meets_a_bound_and_loses_nothing_that_was_taken(stepped):
    made = stepped(send_limit=1 << 16)
    server = Server(made, buffer=4096).dialled()
    other = server.accept()
    made.until(lambda: made.connected)
    taken, refused = [], 0
    number = 0
    while refused < 50:
        frame = number.to_bytes(4, "big") * 250
        number += 1
        if made.streams.py_send(7, frame) == 0:
            taken.append(frame)
        else:
            refused += 1
        assert made.streams.py_unsent(7) <= 1 << 16
        made.step(0)
    assert len(taken) > 60
    assert server.frames(other, len(taken)) == taken
    assert made.streams.py_send(7, bytes(1 << 18)) == 0  # one alone may be larger
    assert server.frames(other, 1) == [bytes(1 << 18)]


def test_what_is_sent_from_where_it_lies_comes_whole_to_a_slow_reader(stepped, impl):
    made = stepped(send_limit=1 << 20)
    server = Server(made, buffer=4096).dialled()
    other = server.accept()
    made.until(lambda: made.connected)
    taken = []
    for number in range(200):
        spans = module(impl, "_native.memory").Spans()
        pieces = [b"%d" % number * size for size in (number, 7 * number, 1)]
        for piece in pieces:
            spans.py_push(piece)
        assert made.streams.py_send(7, b"head|tail", spans, 5) == 0 and len(spans) == 0
        taken.append(b"head|" + b"".join(pieces) + b"tail")
        if number % 50 == 0:
            made.step(0)
    assert made.streams.py_unsent(7) > 100_000
    assert server.frames(other, len(taken)) == taken
    made.until(lambda: made.streams.py_unsent(7) == 0)
    with pytest.raises(ValueError):
        made.streams.py_send(7, b"head", module(impl, "_native.memory").Spans(), 5)


def test_after_a_break_nothing_of_what_lies_elsewhere_comes(stepped, impl):
    made = stepped(send_limit=1 << 22)
    server = Server(made, buffer=4096).dialled()
    other = server.accept()
    made.until(lambda: made.connected)
    spans = module(impl, "_native.memory").Spans()
    spans.py_push(bytes(2 << 20))
    assert made.streams.py_send(7, b"old", spans, 1) == 0
    made.step(0)
    reset(other)
    other = server.accept()
    made.until(lambda: len(made.connected) == 2)
    assert made.streams.py_unsent(7) == 0
    assert made.streams.py_send(7, b"new") == 0
    assert server.frames(other, 1) == [b"new"]


def test_a_large_frame_goes_behind_as_much_as_may_wait(stepped):
    """One may be as large as all that may wait: what waits already is no reason to drop it, another large one is."""
    made = stepped(send_limit=1 << 16)
    server = Server(made, buffer=4096).dialled()
    other = server.accept()
    made.until(lambda: made.connected)
    taken = []

    def send(frame):
        dropped = made.streams.py_send(7, frame)
        if not dropped:
            taken.append(frame)
        return dropped

    while send(bytes(1000)) == 0:
        made.step(0)
    assert made.streams.py_unsent(7) > (1 << 16) - 1100
    assert send(bytes((1 << 14) - 8)) == 1  # a quarter is not large
    assert send(b"x" * (1 << 17)) == 0
    assert send(b"y" * (1 << 17)) == 1 and send(b"z") == 1
    assert server.frames(other, len(taken)) == taken
    made.until(lambda: made.streams.py_unsent(7) == 0)
    assert send(b"z") == 0


@pytest.mark.parametrize("answer", [b"", PULL[:4], PULL[:7], PUSH, b"\0SP\0\0\x51\0\1", b"HTTP/1.1 400 Bad\r\n"])
def test_who_does_not_answer_as_it_should_is_given_up_and_dialled_again(stepped, answer):
    """A greeting that does not come, in part, or is another one: there is a bound, and then another attempt."""
    made = stepped(dial_ms=100)
    server = Server(made).dialled()
    begun = time.monotonic()
    first = server.accept(answer)
    again = server.accept()
    assert time.monotonic() - begun < WAIT
    made.until(lambda: made.connected == [7])
    with contextlib.suppress(ConnectionError):
        assert first.recv(1) == b""
    made.streams.py_send(7, b"x")
    assert server.frames(again, 1) == [b"x"]
    assert made.streams.connections == 1


def test_nothing_may_come_from_where_frames_are_sent_to(stepped):
    made = stepped()
    server = Server(made).dialled()
    other = server.accept()
    made.until(lambda: made.connected)
    other.sendall(message(b"what?"))
    server.accept()
    made.until(lambda: len(made.connected) == 2)
    assert made.frames == []


def test_after_a_break_no_frame_comes_twice_and_none_in_part(stepped):
    """Connections that are reset at any moment: each begins with a greeting, then come whole and new frames."""
    made = stepped(reconnect_ms=(1, 2))
    server = Server(made).dialled()
    seen, number = [], 0
    for life in range(30):
        other = server.accept()
        made.until(lambda life=life: len(made.connected) == life + 1)
        for _ in range(20):
            made.streams.py_send(7, number.to_bytes(4, "big") * (1 + number % 50 * 20))
            number += 1
        made.streams.py_flush()
        data = b""
        while len(data) < 1 + life * 37 and (got := server.receive(other, 1 + life * 37 - len(data))):
            data += got
        while len(data) >= 8 and len(data) >= 8 + (size := int.from_bytes(data[:8], "big")):
            frame, data = data[8 : 8 + size], data[8 + size :]
            assert frame == frame[:4] * (len(frame) // 4)
            seen.append(int.from_bytes(frame[:4], "big"))
        for _ in range(5):  # what waits to be sent when it ends
            made.streams.py_send(7, number.to_bytes(4, "big") * 1000)
            number += 1
        reset(other)
    assert seen == sorted(set(seen))
    assert len(seen) > 10


@pytest.mark.slow
def test_it_comes_back_hundreds_of_times_and_nothing_is_left(stepped):
    made = stepped(reconnect_ms=(1, 1))
    server = Server(made).dialled()
    marks = []
    for life in range(300):
        other = server.accept()
        made.until(lambda life=life: len(made.connected) == life + 1)
        made.streams.py_send(7, bytes(100))
        server.frames(other, 1)
        one = made.come()
        one.sendall(message(bytes(50)))
        made.until(lambda life=life: len(made.frames) == life + 1)
        (reset if life % 2 else socket.socket.close)(other)
        one.close()
        made.others[:] = [server.listener]
        made.until(lambda: made.arrivals.py_count() == 0 and not made.streams.py_stands(7))
        if life in (50, 299):
            gc.collect()
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            marks.append((len(os.listdir("/proc/self/fd")), threading.active_count(), memory))
    (before, threads, small), (after, others, large) = marks
    assert abs(after - before) <= 1  # one may be under way
    assert threads == others
    assert large - small < 8 << 20


def test_a_peer_is_dropped_and_added_while_the_thread_sleeps(stepped):
    """The one who sleeps in a wait without an end is woken for it."""
    made = stepped()
    server, second = Server(made), Server(made, id=8)
    stop = threading.Event()

    def run():
        while not stop.is_set():
            made.streams.py_collect()
            made.streams.py_fresh()
            made.event.py_prepare()
            if not stop.is_set():  # it may have been said before anybody could be woken
                made.streams.py_wait(made.event, -1)

    def wait(condition):
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        time.sleep(0.05)
        made.streams.add(7, "127.0.0.1", str(server.port), 0)
        other = None
        while other is None:
            other = server.waiting()
        made.others.append(other)
        other.sendall(PULL)
        wait(lambda: made.streams.py_stands(7))
        time.sleep(0.05)
        made.streams.drop(7)
        made.streams.drop(7)
        other.setblocking(True)
        other.settimeout(WAIT)
        assert other.recv(8) == PUSH and other.recv(8) == b""
        made.streams.add(8, "127.0.0.1", str(second.port), 0)
        again = None
        while again is None:
            again = second.waiting()
        made.others.append(again)
        again.sendall(PULL)
        wait(lambda: made.streams.py_stands(8) and not made.streams.py_stands(7))
    finally:
        stop.set()
        made.event.py_wake()
        thread.join(WAIT)
        assert not thread.is_alive()


# --- when to dial ---------------------------------------------------------------------------------


@pytest.mark.parametrize("anew", [False, True])
def test_who_is_heard_of_is_dialled_at_once(stepped, anew):
    """However long the pause has become."""
    made = stepped(reconnect_ms=(10, 600_000))
    port = free_port()
    made.streams.add(7, "127.0.0.1", str(port), 0)
    made.until(lambda: made.wire.failures >= 6)
    failures = made.wire.failures
    made.streams.py_heard(7, anew)
    made.until(lambda: made.wire.failures >= failures + 6)  # it would take 40 seconds without
    server = Server(made, port=port)
    made.streams.py_heard(7, anew)
    server.accept()
    made.until(lambda: made.connected == [7])
    connections = made.streams.connections
    made.streams.py_heard(7, anew)  # it stands: nothing is to be done
    made.streams.py_heard(99, anew)
    made.step()
    assert made.streams.connections == connections and made.streams.py_stands(7)


def test_who_says_much_and_cannot_be_reached_is_not_dialled_all_the_time(stepped):
    made = stepped(reconnect_ms=(1, 60_000))
    made.streams.add(7, "127.0.0.1", str(free_port()), 0)
    made.until(lambda: made.wire.failures >= 10)
    before, begun = made.wire.dials, time.monotonic()
    while time.monotonic() - begun < 0.6:
        made.streams.py_heard(7, False)
        made.step(0.001)
    # Ten times a second; each begins the pauses anew, at a millisecond.
    assert made.wire.dials - before < 80


def test_an_attempt_that_began_before_a_return_is_as_good_as_lost(stepped):
    """A packet that was lost in a cut is repeated after a second at the earliest: a new attempt is not."""
    made = stepped(dial_ms=60_000, reconnect_ms=(10, 20))
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(deaf.getsockname())
        made.streams.add(7, "127.0.0.1", str(deaf.getsockname()[1]), 0)
        made.until(lambda: made.wire.dials == 1)
        begun = time.monotonic()
        made.until(lambda: time.monotonic() - begun > 0.1)
        made.streams.py_heard(7, False)
        made.until(lambda: time.monotonic() - begun > 0.2)
        assert made.wire.dials == 1
        made.streams.py_heard(7, True)
        made.until(lambda: made.wire.dials == 2)
        for filler in fillers:
            filler.close()


def test_a_connection_is_made_anew_when_told(stepped):
    made = stepped()
    server = Server(made).dialled()
    first = server.accept()
    made.until(lambda: made.connected == [7])
    made.streams.py_renew(7)
    assert made.streams.renewals == 1
    server.accept()
    made.until(lambda: made.connected == [7, 7])
    assert server.receive(first, 1) == b""
    made.streams.py_renew(99)


# --- the rest -------------------------------------------------------------------------------------


def test_arguments(impl, system):
    limits, wire, tcp = (module(impl, f"_native.{name}") for name in ("limits", "wire", "tcp"))
    made = wire.Wire(system.Event(), limits.Notes(), 4, 100, 100, 10, 100, 1000)
    arrivals = limits.Arrivals(4, 2, 100)
    for wrong in ((None, arrivals), (made, None)):
        with pytest.raises(TypeError):
            tcp.TcpStreams(*wrong, 100, 100)
    streams = tcp.TcpStreams(made, arrivals, 100, 100)
    for id in range(1, 65):
        streams.add(id, "127.0.0.1", "1", 0)
    with pytest.raises(ValueError):
        streams.add(65, "127.0.0.1", "1", 0)
    with pytest.raises(ValueError):
        tcp.TcpStreams(made, arrivals, 100, 100).add(1, "/" + "x" * 200, "", 1, True)
    with pytest.raises(TypeError):
        streams.py_send(1, "text")
    streams.close()
    streams.close()
    made.py_close()
