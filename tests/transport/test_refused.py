"""A connection for which there is no room at all: it is closed, and nothing of it stays with NNG."""

import contextlib
import socket
import threading
import time

import pynng
import pytest

from tests.helpers.implementations import module
from tests.helpers.threads import ends
from tests.helpers.waiting import WAIT, eventually

GREETING = b"\0SP\0\0\x50\0\0"  # of a socket that pushes
ROOM = 4  # places, for a limit of 2 connections
STRANGER_MS = 60_000


@pytest.fixture(params=["direct", "python"])
def running(request, impl):
    """``running()``: a Pull0 socket, its Arrivals, and a port where connections for it are accepted."""
    nng = module(impl, "_native.nng")
    if request.param == "direct" and not nng.nng_available():
        pytest.skip("NNG's functions are called from compiled code only")
    threads, limits, wire = (module(impl, f"_native.{name}") for name in ("threads", "limits", "wire"))
    arrivals = limits.Arrivals(2, 1, STRANGER_MS)
    pull = pynng.Pull0()
    made = wire.Wire(threads.Event(), limits.Notes(), 8, STRANGER_MS, 500, 1, 20, 1000)
    python = module(impl, "transport.python")
    if request.param == "direct":
        connections = nng.NngWire(threads.Event(), made, arrivals, python.socket_id(pull), 8)
        connections.watch()
    else:
        connections = python.PythonConnections(made, made.event, arrivals, pull)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    made.py_listen(listening.detach())
    thread = threading.Thread(target=connections.run, daemon=True)
    thread.start()
    yield pull, arrivals, made, port
    connections.stop()
    assert ends(thread)
    pull.close()
    if request.param == "python":
        connections.forget()
    made.py_close()


def listener_of(pynng, pull):
    """A new listener of NNG's for this socket, closed again: its number, which is one higher each time."""
    listener = pynng.ffi.new("nng_listener *")
    number = pull.socket if hasattr(pull, "socket") else pull._socket[0]
    assert not pynng.lib.nng_listener_create(listener, number, b"socket://")
    pynng.lib.nng_listener_close(listener[0])
    return int(listener[0].id)


def test_a_connection_without_room_leaves_no_listener(running):

    pull, arrivals, wire, port = running
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), WAIT)) as client:
        eventually(lambda: wire.py_waiting() == 1)
        time.sleep(0.05)  # the thread that runs the connections sleeps now, and finds no room when it wakes
        before = listener_of(pynng, pull)
        now = time.monotonic_ns()
        for number in range(ROOM):
            assert arrivals.py_opened(0, 2**31 + number, now) >= 0
        client.sendall(GREETING)
        client.settimeout(WAIT)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(64):
                pass
    eventually(lambda: arrivals.refused >= ROOM)
    after = listener_of(pynng, pull)
    assert after - before == 2
    listener = pynng.ffi.new("nng_listener *")
    listener[0].id = before + 1
    size = pynng.ffi.new("size_t *")
    # The connection is closed first, and the listener a moment later.
    eventually(lambda: pynng.lib.nng_listener_get_size(listener[0], b"recv-size-max", size) == pynng.lib.NNG_ENOENT)
