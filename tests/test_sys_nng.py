"""raftx._sys where compiled: NNG's functions without the GIL; elsewhere that they are refused."""

import contextlib
import itertools
import os
import socket
import threading
from pathlib import Path

import pytest
from conftest import module

LIMIT_S = 20  # until which a thread that was woken must have ended; never reached unless something is broken
NNG_EAGAIN = 8


@pytest.fixture
def system(mod):
    return mod("_sys")


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
