"""raftx._native.nng where compiled: NNG's functions without the GIL; elsewhere that they are refused."""

import contextlib
import importlib
import itertools
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.implementations import module
from tests.helpers.ports import port as free_port
from tests.helpers.threads import LIMIT_S, ends, start

NNG_EAGAIN = 8


@pytest.fixture
def nng(mod):
    return mod("_native.nng")


# --- NNG -----------------------------------------------------------------------------------------


def test_nng_is_not_available_in_python(system, nng, errors, monkeypatch, impl):
    if impl.COMPILED:
        monkeypatch.setenv("RAFTX_NNG", "python")
    assert nng.nng_available() is False
    event = system.Event()
    with pytest.raises(errors.UsageError):
        nng.NngReceiver(1, event)
    with pytest.raises(errors.UsageError):
        nng.NngReceiver(1, event, capacity=8)
    wire, arrivals = wire_of(nng)
    with pytest.raises(errors.UsageError):
        nng.NngWire(event, wire, arrivals, 0, 8)
    for wrong in (-1, 2**32):
        with pytest.raises(OverflowError):
            nng.NngReceiver(wrong, event)
    with pytest.raises(TypeError):
        nng.NngReceiver(1, None)


ADDRESSES = itertools.count()


def wire_of(nng):
    """A Wire that dials often, and Arrivals, of the same implementation."""
    names = ("threads", "limits", "wire")
    system, limits, wire = (importlib.import_module(f"{nng.__package__}.{name}") for name in names)
    return wire.Wire(system.Event(), limits.Notes(), 8, 500, 500, 1, 20, 1000), limits.Arrivals(16, 4, 1000)


class Pair:
    """A pynng socket that pushes, one that pulls, and our receiver on the latter."""

    def __init__(self, pynng, impl, scheme, capacity, **options):
        self.socket_id = module(impl, "transport.python").socket_id
        self.event = module(impl, "_native.threads").Event()
        self.pull = pynng.Pull0(recv_max_size=4 << 20)
        self.push = pynng.Push0(**options)
        if scheme == "tcp":
            self.pull.listen("tcp://127.0.0.1:0")
            port = socket.ntohs(self.pull.listeners[0].local_address.port)
            self.address = f"tcp://127.0.0.1:{port}"
        else:
            self.address = f"inproc://raftx-test-sys-{os.getpid()}-{next(ADDRESSES)}"
            self.pull.listen(self.address)
        self.push.dial(self.address, block=True)
        self.receiver = module(impl, "_native.nng").NngReceiver(self.socket_id(self.pull), self.event, capacity)

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
def pynng(impl, nng):
    if not impl.COMPILED:
        pytest.skip("NNG's functions are called from compiled code only")
    pynng = pytest.importorskip("pynng")
    if not nng.nng_available():
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


def test_nng_arguments(pynng, system, nng, errors):
    event = system.Event()
    for capacity in (0, (1 << 20) + 1):
        with pytest.raises(ValueError):
            nng.NngReceiver(1, event, capacity)
    receiver = nng.NngReceiver(1, event)
    assert receiver.py_next() is None
    receiver.stop()  # never started
    wire, arrivals = wire_of(nng)
    made = nng.NngWire(event, wire, arrivals, 0, 1)
    sender = nng.NngSender(made)
    assert sender.py_send(1, b"frame") != 0  # no such peer
    with pytest.raises(TypeError):
        sender.py_send(1, bytearray(b"frame"))
    with pytest.raises(TypeError):
        sender.py_send(1, None)
    with pytest.raises(ValueError, match="byte_limit"):
        nng.NngReceiver(1, event, 1, 0)
    for queue in (-1, 8193):
        with pytest.raises(ValueError, match="must be"):
            nng.NngWire(event, wire, arrivals, 0, queue)
    for id in range(64):
        made.add(id + 1, "127.0.0.1", "1", 0, "tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="64"):
        made.add(65, "127.0.0.1", "1", 0, "tcp://127.0.0.1:1")


class Way:
    """An address that is dialled, with the thread that does it, and a sender that knows it as member 7."""

    def __init__(self, nng, url, queue=16):
        wire, arrivals = wire_of(nng)
        self.event = importlib.import_module(f"{nng.__package__}.threads").Event()
        self.wire = nng.NngWire(self.event, wire, arrivals, 0, queue)
        host, port = url[6:].split(":") if url.startswith("tcp://") else ("", "")
        self.wire.add(7, host, port, 0, url)
        self.sender = nng.NngSender(self.wire)
        self.thread = start(self.wire.run)

    def ready(self):
        deadline = time.monotonic() + LIMIT_S
        while self.wire.py_fresh() != 7:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert self.wire.py_ready(7)

    def close(self):
        self.wire.stop()
        return ends(self.thread)


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_nng_frames_both_ways_of_sending(pair, nng, scheme):
    both = pair(scheme, send_buffer_size=16)
    both.receiver.start()
    way = Way(nng, both.address)
    way.ready()
    frames = [b"", b"x", os.urandom(1000), os.urandom(1 << 20)]
    got = []
    thread = start(lambda: got.extend(both.take() for _ in range(2 * len(frames))))
    for frame in frames:
        assert way.sender.py_send(7, frame) == 0
        both.push.send(frame)
    assert ends(thread)
    assert sorted(got) == sorted(frame for frame in frames for _ in range(2))
    assert both.receiver.py_next() is None
    assert way.close()


def test_nng_full_queue_drops_and_says_so(pynng, nng):
    """Nobody takes anything: what does not fit into the queues is refused, and the sender goes on."""
    frame = bytes(1 << 20)
    with pynng.Pull0() as pull:
        pull.listen("tcp://127.0.0.1:0")
        way = Way(nng, f"tcp://127.0.0.1:{socket.ntohs(pull.listeners[0].local_address.port)}", queue=2)
        way.ready()
        codes = [way.sender.py_send(7, frame) for _ in range(60)]
        assert codes[0] == 0
        assert codes[-1] == NNG_EAGAIN
        assert way.close()


def test_nng_peer_comes_and_goes(pynng, nng):
    """Each connection is a new one; without any, frames are refused at once; nothing is sent on one that has ended."""
    port = free_port()
    way = Way(nng, f"tcp://127.0.0.1:{port}")
    assert way.sender.py_send(7, b"nobody") != 0
    for life in range(1, 6):
        with pynng.Pull0(recv_timeout=LIMIT_S * 1000) as pull:
            pull.listen(f"tcp://127.0.0.1:{port}")
            way.ready()
            assert way.sender.py_send(7, b"%d" % life) == 0
            assert pull.recv() == b"%d" % life
            # The thread that counts may not have looked yet.
            deadline = time.monotonic() + LIMIT_S
            while way.wire.connections < life:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        while way.wire.py_ready(7):
            way.sender.py_send(7, b"gone")
            assert time.monotonic() < deadline
        assert way.wire.connections == life
    assert way.close()
    assert way.sender.py_send(7, b"closed") != 0


@pytest.mark.slow
def test_nng_connections_that_end_as_they_begin(pynng, nng):
    """A listener that hangs up at once, while frames are sent all the time: what Push0 alone does not survive."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def hang_up():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    # NNG's greeting for a Pull0, so that the connection comes to stand before it ends.
                    connection.sendall(b"\0SP\0\0\x51\0\0")
                    connection.close()

        hanging = start(hang_up)
        way = Way(nng, f"tcp://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        # Beside other tests one connection can take most of a second.
        while (done := time.monotonic() - began) < LIMIT_S and way.wire.connections < (400 if done < 3.0 else 6):
            way.wire.py_fresh()
            for _ in range(100):
                way.sender.py_send(7, b"x" * 100)
            time.sleep(0)  # the listener is Python too
        assert way.wire.connections > 5
        assert way.close()
        stop.set()
        assert ends(hanging)


def test_nng_peer_stops_while_it_dials(pynng, nng):
    """Nobody answers the handshake: a stop does not wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        way = Way(nng, f"tcp://127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
        assert way.close()
        connection.close()


def test_nng_a_connection_that_begins_is_not_made_anew(pynng, nng):
    """Whoever asks for a new one while it comes to stand has it already; later it is ended, and another one stands."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        kept = []

        def greet_late():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    kept.append(server.accept()[0])
                    time.sleep(0.1)
                    kept[-1].sendall(b"\0SP\0\0\x51\0\0")

        greeting = start(greet_late)
        way = Way(nng, f"tcp://127.0.0.1:{server.getsockname()[1]}")
        deadline = time.monotonic() + LIMIT_S
        while not way.wire.py_ready(7):
            way.wire.py_renew(7)
            assert time.monotonic() < deadline
            time.sleep(0.02)
        before = way.wire.connections
        way.wire.py_renew(7)
        while way.wire.connections == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert way.wire.renewals >= 1
        assert way.close()
        stop.set()
        assert ends(greeting)
        for connection in kept:
            connection.close()


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


def test_nng_full_ring_by_bytes(pynng, nng, system):
    """Few large frames fill it as many small ones do; one frame passes whatever its size."""
    with pynng.Pull0() as pull, pynng.Push0(send_buffer_size=1, send_timeout=200) as push:
        address = f"inproc://raftx-test-bytes-{os.getpid()}-{next(ADDRESSES)}"
        pull.listen(address)
        push.dial(address, block=True)
        socket_id = importlib.import_module(f"{nng.__package__.split('.')[0]}.transport.python").socket_id(pull)
        event = system.Event()
        receiver = nng.NngReceiver(socket_id, event, 1024, 100_000)
        receiver.start()
        accepted = 0
        with contextlib.suppress(pynng.Timeout):
            while accepted < 100:
                push.send(bytes(40_000))
                accepted += 1
        assert 3 <= accepted <= 8
        got = []

        def take():
            while len(got) < accepted + 1:
                event.py_prepare()
                frame = receiver.py_next()
                if frame is None:
                    event.py_wait()
                else:
                    event.py_cancel()
                    got.append(len(frame))

        taker = start(take)
        push.send_timeout = LIMIT_S * 1000
        push.send(bytes(300_000))
        assert ends(taker)
        assert got == [40_000] * accepted + [300_000]
        receiver.stop()


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
