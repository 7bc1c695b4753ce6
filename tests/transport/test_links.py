"""What waits between a transport and the engine is bounded by memory, however small the frames; and ends nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import raftx
from raftx import _pure
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.transports import WAYS

LIMIT = 1 << 20
FRAME_COST = 256


def link_of(impl):
    system = module(impl, "_native.threads")
    return module(impl, "transport.link").QueueLink(system.Event(), system.Event(), LIMIT)


@pytest.mark.parametrize("size", [0, 1, 100, 10_000])
def test_frames_that_wait_are_bounded_whatever_their_size(impl, size):
    link = link_of(impl)
    taken = 0
    while link.deliver(bytes(size), 7):
        taken += 1
        assert taken <= LIMIT // FRAME_COST + 1
    assert taken >= LIMIT // (size + FRAME_COST) - 1
    assert link.refused == 1
    assert not link.deliver(bytes(size))


PIPE = """
import contextlib, os, signal, socket, sys, threading, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
import raftx
from tests.helpers.transports import make_transport
if __name__ == "__main__":
    server = socket.create_server(("127.0.0.1", 0))
    def hang_up():
        while True:
            connection = server.accept()[0]
            connection.sendall(b"\\0SP\\0\\0\\x51\\0\\0")
            time.sleep(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            connection.close()
    threading.Thread(target=hang_up, daemon=True).start()
    peers = {2: "tcp://127.0.0.1:%d" % server.getsockname()[1]}
    transport = make_transport(raftx, sys.argv[1], "tcp://127.0.0.1:0", peers, reconnect_ms=(10, 20))
    config = raftx.Config(id=1, tick_ms=1, election_ticks=2, pre_vote=False)
    with raftx.Node(config, raftx.MemoryStorage(voters=[1, 2]), transport) as node:
        deadline = time.monotonic() + 20
        while node.status().transport["connected"] < 15 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert node.status().transport["connected"] >= 15
    print("alive")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_ends_does_not_end_the_process(tmp_path, way):
    """Where SIGPIPE has its default action, as command-line tools like to have it."""
    script = tmp_path / "script.py"
    script.write_text(PIPE)
    done = subprocess.run(
        [sys.executable, str(script), way],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": f"{Path(raftx.__file__).parent.parent}:{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


class Pipes:
    """A socket of NNG whose frames come over these connections, and who knows whose they are: what is popped."""

    def __init__(self, *whose):
        self.pipes, self.whose = list(range(1, len(whose) + 1)), dict(enumerate(whose, 1))
        self.data, self.size = b"frame", 5

    def next(self):
        self.at = self.pipes.pop(0) if self.pipes else 0
        return self.at != 0

    def pipe(self):
        return self.at

    def member(self, pipe):
        return self.whose.pop(pipe)  # it ends right after: a second look would find nobody


@pytest.mark.once
def test_whose_a_frame_is_is_looked_up_once():
    """Its connection may end while the frame is looked at. What comes of one that has ended is nobody's."""
    link_type = module(_pure.load(), "transport.nng").NngLink
    link = link_type.__new__(link_type)
    link.named = True
    link.receiver = link.wire = Pipes(3, 0, 7)
    link.whose = 0
    members = []
    while link.next():
        assert bytes(link.data) == b"frame"
        members += [link.member(), link.member()]
    assert members == [3, 3, 7, 7]


@pytest.mark.parametrize("kind", ["tcp", "nng"])
def test_a_transport_around_one_with_a_key_hands_on_what_a_node_asks_for(impl, kind):
    made = impl.TcpTransport if kind == "tcp" else impl.NngTransport
    inner = made("tcp://127.0.0.1:0", cluster_key=bytes(32))
    try:
        with pytest.raises(impl.UsageError, match=r"has to hand on its attach\(\) and cluster_keys"):
            inner.start(1, lambda frame: None)
    finally:
        inner.close()
