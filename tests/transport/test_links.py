"""What waits between a transport and the engine is bounded by memory, however small the frames; and ends nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import raftx
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
