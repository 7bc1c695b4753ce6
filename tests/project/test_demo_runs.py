"""Whole runs of the demo in raftx/demo/, as a user starts it, and its nodes as processes.

A run is three processes for a few seconds; nothing here asserts how long something takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raftx
from raftx.demo import client, processes
from raftx.demo.client import Connection, Sender, readable
from raftx.demo.processes import Cluster, Failed
from raftx.demo.run import LINE_MAX
from raftx.demo.store import OVERHEAD, Text
from tests.helpers.demo import KEYS, WAIT, numbered, run, start

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo's temporary files go; empty again at the end of each test."""
    path = tmp_path / "temporary"
    path.mkdir()
    return path


def refusal(temporary: Path, *arguments: str, stdin: bytes | None = None) -> str:
    done = run(temporary, *arguments, stdin=stdin, expected=2)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    return done.stderr.decode()


def test_a_line_that_is_too_long_is_refused(temporary: Path) -> None:
    message = refusal(temporary, "-", stdin=b"a\n\n" + b"x" * (LINE_MAX + 1) + b"\nb\n")
    assert "line 3 has 1,048,517 bytes" in message
    assert "limit is 1,048,516" in message
    assert raftx.Config(id=1).max_entry_bytes == LINE_MAX + OVERHEAD


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{}/missing"], "cannot read {}/missing: No such file"),
        (["{}"], "cannot read {}: Is a directory"),
        (["{}/text", "--save", "{}/missing/out.json"], "cannot write {}/missing/out.json: No such file"),
        (["{}/text", "--save", "{}"], "cannot write {}: Is a directory"),
        (["{}/text", "--save", "{}/text"], "it is the input"),
    ],
)
def test_what_cannot_be_read_or_written_is_refused(
    arguments: list[str], words: str, tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "text").write_bytes(b"text")
    message = refusal(temporary, *[argument.format(tmp_path) for argument in arguments])
    assert words.format(tmp_path) in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary", "text"]
    assert (tmp_path / "text").read_bytes() == b"text"


# --- whole runs --------------------------------------------------------------------------------------


def replicate(temporary: Path, data: bytes, *, piped: bool = False, explicit: bool = True) -> dict[str, Any]:
    """Run the demo with this input and check what must be so for every input."""
    path, out = temporary.parent / "input", temporary.parent / "out.json"
    path.write_bytes(data)
    arguments = ["-"] if piped and explicit else [] if piped else [str(path)]
    done = run(temporary, *arguments, "--save", str(out), stdin=data if piped else None)
    text = Text(data)
    result: dict[str, Any] = json.loads(out.read_text())
    assert list(result) == KEYS
    assert result["lines"] == result["acknowledged"] == len(text)
    assert result["lost"] == result["duplicated"] == result["out_of_order"] == 0
    assert result["digests"] == dict.fromkeys("123", text.digest())
    assert result["input_digest"] == text.digest()
    assert result["compiled"] is raftx.COMPILED
    assert result["syncs"] > 0
    assert result["wal_bytes"] > 3 * len(data)
    shown = done.stdout.decode()
    events = ["started node", "killed node", "restarted node", "killed node", "restarted node", "stopped all nodes"]
    assert re.findall("|".join(dict.fromkeys(events)), shown) == events
    assert "\x1b" not in shown
    assert "every acknowledged line is on all 3 nodes" in shown.splitlines()[-1]
    for value in (result["lines"], result["syncs"]):
        assert f" {value:,} " in shown
    return result


def test_run_with_a_file(temporary: Path) -> None:
    result = replicate(temporary, numbered(6000).data)
    assert result["leader_changes"] >= 1
    for key in ("failover_ms", "lines_per_s", "commit_p50_us", "commit_p99_us", "mean_batch"):
        assert result[key] > 0


@pytest.mark.once
def test_run_with_nothing(temporary: Path) -> None:
    result = replicate(temporary, b"", piped=True, explicit=False)
    assert result["leader_changes"] == 0
    assert result["failover_ms"] is result["lines_per_s"] is result["commit_p50_us"] is None


def test_run_with_all_kinds_of_lines(temporary: Path) -> None:
    odd = [b"", b"\xff\xfe\x80", b"\x00", b"\r", b"x" * 900_000, b"", b"\xe2\x80\xa8", bytes(range(11, 256))]
    replicate(temporary, b"\n".join(odd * 3 + [b""] * 500 + [b"the end, without a newline"]), piped=True)


class Running:
    """A run in the middle of its work."""

    def __init__(self, temporary: Path, until: str) -> None:
        path = temporary.parent / "input"
        path.write_bytes(numbered(400_000).data)
        self.process = start(temporary, str(path))
        self.shown = ""
        assert self.process.stdout is not None
        while until not in self.shown:
            line = self.process.stdout.readline().decode()
            assert line, f"it ended before it said {until!r}: {self.shown}"
            self.shown += line
        self.children = [int(pid) for pid in re.findall(r"node \d+ \(process (\d+)\)", self.shown)]
        assert len(set(self.children)) >= 3

    def end(self) -> tuple[int, str]:
        """Wait for its end: exit status and the last line of what it said about errors."""
        try:
            errors = self.process.communicate(timeout=WAIT)[1]
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, errors.decode().strip()


def wait_until_gone(pids: list[int]) -> None:
    """Raises TimeoutError when one of these processes does not end."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not readable(descriptor, 30):
                raise TimeoutError(f"process {pid} still runs")
        finally:
            os.close(descriptor)


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("until", ["started node", "killed node"])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, until: str, temporary: Path) -> None:
    running = Running(temporary, until)
    assert list(temporary.iterdir()) != []
    running.process.send_signal(number)
    assert running.end() == (128 + number, f"raftx: interrupted by {number.name}")
    for pid in running.children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(temporary.iterdir()) == []


def test_nodes_end_with_their_parent(temporary: Path) -> None:
    running = Running(temporary, "started node")
    running.process.kill()
    assert running.end()[0] == -signal.SIGKILL
    wait_until_gone(running.children)


@pytest.mark.once
def test_a_node_that_dies_by_itself_is_reported(temporary: Path) -> None:
    running = Running(temporary, "started node")
    os.kill(running.children[1], signal.SIGKILL)
    status, errors = running.end()
    assert status == 1
    assert errors.startswith(f"raftx: node 2 (process {running.children[1]}) was killed by signal 9")
    wait_until_gone(running.children)
    assert list(temporary.iterdir()) == []


@pytest.mark.once
def test_a_closed_pipe_ends_the_run(temporary: Path) -> None:
    running = Running(temporary, "started node")
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.process.stdout = None
    assert running.end() == (141, "")
    wait_until_gone(running.children)
    assert list(temporary.iterdir()) == []


# --- processes ---------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 3, lambda: made.check())
    yield made
    made.close()


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node."""
    made = Cluster(tmp_path_factory.mktemp("lone"), 1, lambda: None)
    made.between = made.check
    try:
        made.found_all()
        made.start_all()
        yield made
    finally:
        made.close()


@pytest.mark.once
def test_a_port_that_is_taken_costs_another_try(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    free_urls = processes.free_urls
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offers = [[*free_urls(2), f"tcp://127.0.0.1:{taken.getsockname()[1]}"]]
        monkeypatch.setattr(processes, "free_urls", lambda count: offers.pop() if offers else free_urls(count))
        cluster.found_all()
        cluster.start_all()
        assert cluster.port_losses >= 1
    assert cluster.ready()
    assert cluster.wait_for_leader() in cluster.ids
    cluster.stop_all()
    assert [status["state"] for status in cluster.statuses().values()] == ["stopped"] * 3


def test_followers_take_commands_too(cluster: Cluster) -> None:
    text = numbered(2000)
    cluster.found_all()
    cluster.start_all()
    leader = cluster.wait_for_leader()
    sender = Sender(text, lambda: {id: port for id, port in cluster.nodes().items() if id != leader}, lambda: 0)
    sender.advance(len(text))
    assert sender.node != leader
    status = cluster.lives[sender.node].ask()
    assert (status["role"], status["count"], status["digest"]) == ("follower", 2000, text.digest())
    assert list(cluster.held(sender.node)) == list(enumerate(text, 1))
    sender.close()
    cluster.stop_all()


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "body"),
    [(client.COMMANDS, b""), (client.COMMANDS, b"nonsense"), (client.LINES, b""), (99, b"")],
)
def test_nonsense_costs_a_client_its_connection(lone: Cluster, kind: int, body: bytes) -> None:
    connection = Connection.open(lone.lives[1].port)
    with contextlib.closing(connection), pytest.raises(ConnectionError, match="closed"):
        connection.request(kind, body)
    assert lone.lives[1].ask()["role"] == "leader"


@pytest.mark.once
def test_a_node_that_cannot_start_says_why(cluster: Cluster, tmp_path: Path) -> None:
    cluster.found_all()
    (tmp_path / "node-2").rename(tmp_path / "away")
    (tmp_path / "node-2").write_bytes(b"not a directory")
    with pytest.raises(Failed, match=r"node 2 \(process \d+\) did not start: .*node-2"):
        cluster.start_all()


@pytest.mark.once
def test_a_node_is_founded_once_and_before_it_starts(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"did not start: .*node-\d does not exist.*found it once"):
        cluster.start_all()
    cluster.close()
    cluster.found_all()
    with pytest.raises(Failed, match=r"node 1 was not founded: .*node-1 holds a member already"):
        cluster.found_all()
    (tmp_path / "node-2").rename(tmp_path / "away")
    (tmp_path / "node-2").mkdir()
    with pytest.raises(Failed, match=r"did not start: .*node-2 holds no member.*whether its disk is mounted"):
        cluster.start_all()
