"""A durable cluster on one machine that survives being killed: python -m examples.text_cluster [INPUT]

Replicates every line of a text through three raftx nodes, each a process of its own with its log on
disk, while it kills them: the leader after a third, a follower after two thirds. Then it stops all,
starts them again from disk alone, and compares what each of them holds with the text, line by line.

This file is the parent: the processes, the plan, the verdict. What a client of a replicated service
has to do is in text_client.py, the state machine in text_store.py, a node in text_node.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import raftx

from .text_client import LINES, POSITION, STOP, Connection, GaveUp, Sender, unpack_lines
from .text_display import Display, Watcher, table
from .text_store import COMMAND, Findings, Text, check, standard_library

NODES = (1, 2, 3)
START_S = 60.0
CATCH_UP_S = 120.0
LIMIT = raftx.Config(id=1).max_entry_bytes - COMMAND.size


class DemoError(Exception):
    """Something that ends the run, in one line."""


class NodeProcess:
    """One node's process, over its lives."""

    def __init__(self, id: int, directory: Path, urls: dict[int, str]) -> None:
        self.id = id
        self.directory = directory
        self.urls = urls
        self.port = 0
        self.compiled = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ``wait`` for it afterwards."""
        command = [sys.executable, "-m", "examples.text_node", str(self.id), str(self.directory / f"node{self.id}")]
        with open(self.directory / f"node{self.id}.log", "ab") as log:
            self.process = subprocess.Popen(
                command + [f"{id}={url}" for id, url in self.urls.items()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends the nodes
            )

    def wait(self) -> None:
        """Until it serves clients. Raises DemoError."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # an end of file when it has died
        if not line:
            self.process.wait()
            log = (self.directory / f"node{self.id}.log").read_text(errors="replace").strip().splitlines()
            raise DemoError(f"node {self.id} does not start: {log[-1] if log else 'it says nothing'}")
        told = json.loads(line)
        self.port, self.compiled = told["port"], told["compiled"]

    def kill(self) -> None:
        """SIGKILL: no chance to write, sync or say anything."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self._reap()

    def stop(self) -> dict[str, Any]:
        """Stop it cleanly; its last status."""
        connection = Connection.open(self.port)
        try:
            status: dict[str, Any] = json.loads(connection.request(STOP, b"", 10.0))
        finally:
            connection.close()
        self._reap()
        return status

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None
        self.port = 0


class Cluster:
    """Three node processes and what is known about them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes: dict[int, NodeProcess] = {}
        self.watcher = Watcher(self.ports)

    def ports(self) -> dict[int, int]:
        """Client ports of the nodes that run."""
        return {id: node.port for id, node in self.nodes.items() if node.port}

    def start(self) -> None:
        """Start all, the first time on free ports; another program may take one of them meanwhile."""
        for attempt in range(5):
            if not self.nodes or attempt:
                urls = {id: f"tcp://127.0.0.1:{port}" for id, port in zip(NODES, free_ports(), strict=True)}
                self.nodes = {id: NodeProcess(id, self.directory, urls) for id in NODES}
            for node in self.nodes.values():
                node.start()
            try:
                for node in self.nodes.values():
                    node.wait()
                return
            except DemoError:
                self.kill_all()
                if attempt == 4:
                    raise

    def start_one(self, id: int) -> None:
        self.nodes[id].start()
        self.nodes[id].wait()

    def kill(self, id: int) -> None:
        self.nodes[id].kill()
        self.watcher.forget(id)

    def kill_all(self) -> None:
        for node in self.nodes.values():
            node.kill()

    def stop_all(self) -> None:
        """Cleanly, one after the other: a leader hands over before it goes."""
        for id, node in self.nodes.items():
            self.watcher.take(id, node.stop())
            self.watcher.forget(id)

    def wait_for_leader(self) -> int:
        """Id of the node that leads. Raises DemoError."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            leader = self.watcher.leader()
            if leader:
                return leader
            time.sleep(0.01)
        raise DemoError(f"no leader within {START_S:.0f} s")

    def wait_until_applied(self, count: int) -> None:
        """Until every node holds ``count`` lines or has stopped making progress."""
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            statuses = self.watcher.statuses()
            if len(statuses) == len(NODES):
                applied = {status["applied"] for status in statuses.values()}
                if all(s["count"] >= count for s in statuses.values()) and len(applied) == 1:
                    return
            time.sleep(0.02)


def free_ports() -> list[int]:
    """Ports of the loopback interface that are free now, one for each node."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NODES]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def held_by(port: int) -> Iterator[tuple[int, bytes]]:
    """(sequence number, line) of everything that a node holds, in its order."""
    connection = Connection.open(port)
    try:
        position = 0
        while lines := unpack_lines(connection.request(LINES, POSITION.pack(position), 30.0)):
            yield from lines
            position += len(lines)
    finally:
        connection.close()


def replicate(cluster: Cluster, text: Text, sender: Sender, display: Display) -> float | None:
    """The plan. Returns how long the failover took, in ms, where a line came after it."""
    count = len(text)
    cluster.wait_for_leader()
    sender.advance(count // 3)
    leader = cluster.wait_for_leader()
    term = cluster.watcher.term()
    killed_at = time.monotonic()
    cluster.kill(leader)
    display.event(f"killed node {leader}, the leader, at line {sender.acknowledged:,}")
    sender.advance(count // 2)
    # Only one node may be down at a time: a majority must be left.
    cluster.wait_for_leader()
    cluster.start_one(leader)
    display.event(f"restarted node {leader} from its log at line {sender.acknowledged:,}")
    sender.advance(count * 2 // 3)
    follower = next(id for id in NODES if id not in (leader, cluster.wait_for_leader()))
    cluster.kill(follower)
    display.event(f"killed node {follower}, a follower, at line {sender.acknowledged:,}")
    cluster.start_one(follower)
    display.event(f"restarted node {follower} from its log at line {sender.acknowledged:,}")
    sender.advance(count)
    later = [at for other, at in sender.first_answer.items() if other > term]
    return (min(later) - killed_at) * 1000 if later else None


def verify(cluster: Cluster, text: Text, acknowledged: int) -> dict[int, tuple[str, Findings]]:
    """What each node holds, against the text."""
    found = {}
    for id, port in cluster.ports().items():
        with contextlib.closing(Connection.open(port)) as connection:
            digest = connection.status(10.0)["digest"]
        found[id] = (digest, check(text, acknowledged, held_by(port)))
    return found


def run(text: Text, directory: Path, display: Display) -> dict[str, Any]:
    """Everything between the first start and the verdict; the report."""
    cluster = Cluster(directory)
    sender = Sender(text, cluster.ports, cluster.watcher.leader, lambda: display.update(sender, cluster.watcher))
    try:
        cluster.start()
        cluster.watcher.start()
        compiled = all(node.compiled for node in cluster.nodes.values())
        display.event(f"three nodes run, {'compiled' if compiled else 'interpreted'}; {len(text):,} lines to replicate")
        failover_ms = replicate(cluster, text, sender, display)
        sender.close()
        cluster.wait_until_applied(sender.acknowledged)
        cluster.stop_all()
        totals = cluster.watcher.totals()
        display.event("stopped all three; starting them from disk alone")
        cluster.start()
        cluster.wait_for_leader()
        cluster.wait_until_applied(sender.acknowledged)
        found = verify(cluster, text, sender.acknowledged)
        cluster.stop_all()
    finally:
        sender.close()
        cluster.watcher.stop()
        cluster.kill_all()
        display.end()
    elapsed = sender.last_acknowledged_at - sender.first_sent_at
    findings = {id: each for id, (_, each) in found.items()}
    return {
        "lines": len(text),
        "acknowledged": sender.acknowledged,
        "lost": sum(each.lost for each in findings.values()),
        "duplicated": sum(each.duplicated for each in findings.values()),
        "out_of_order": sum(each.out_of_order for each in findings.values()),
        "leader_changes": max(0, len(sender.first_answer) - 1),
        "failover_ms": failover_ms and round(failover_ms, 1),
        "lines_per_s": round(sender.acknowledged / elapsed) if elapsed > 0 else None,
        "commit_p50_us": sender.latency(0.5),
        "commit_p99_us": sender.latency(0.99),
        "wal_bytes": totals["wal_bytes"],
        "syncs": totals["syncs"],
        "mean_batch": round(totals["wal_entries"] / totals["syncs"], 1) if totals["syncs"] else None,
        "digests": {str(id): digest for id, (digest, _) in found.items()},
        "input_digest": text.digest(),
        "compiled": compiled,
        "problems": {str(id): each.problem for id, each in findings.items() if each.problem},
    }


def verdict(report: dict[str, Any]) -> list[str]:
    """What is wrong, a line each; empty when nothing is."""
    wrong = [f"node {id}: {problem}" for id, problem in report["problems"].items()]
    if report["acknowledged"] != report["lines"]:
        wrong.append(f"only {report['acknowledged']:,} of {report['lines']:,} lines were acknowledged")
    if len(report["digests"]) != len(NODES):
        wrong.append(f"only {len(report['digests'])} of {len(NODES)} nodes could be asked")
    for id, digest in report["digests"].items():
        if digest != report["input_digest"]:
            wrong.append(f"node {id} has the digest {digest}, the input has {report['input_digest']}")
    return wrong


def read_input(name: str | None) -> Text:
    """The text. Raises DemoError."""
    try:
        if name is None:
            text = standard_library()
        elif name == "-":
            text = Text(sys.stdin.buffer.read())
        else:
            text = Text(Path(name).read_bytes())
    except OSError as error:
        raise DemoError(f"cannot read {name}: {error.strerror or error}") from error
    number = text.longer_than(LIMIT)
    if number:
        raise DemoError(
            f"line {number:,} has {len(text[number]):,} bytes; the limit for a line is {LIMIT:,} bytes "
            f"(max_entry_bytes less {COMMAND.size} for client id and sequence number)"
        )
    return text


def main() -> int:
    """0: everything is as it must be; 1: something is wrong; 2: it could not begin; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="text_cluster", description="Replicate a text while nodes are killed.")
    parser.add_argument("input", nargs="?", help="a file, or - for standard input; default: Python's own sources")
    parser.add_argument("--json", metavar="PATH", help="write the result there too")
    arguments = parser.parse_args()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    directory: Path | None = None
    try:
        text = read_input(arguments.input)
        if arguments.json:
            with open(arguments.json, "a", encoding="utf-8"):
                pass  # that it cannot be written shows now and not at the end
        directory = Path(tempfile.mkdtemp(prefix="raftx-demo-"))
        report = run(text, directory, Display(len(text)))
    except DemoError as error:
        print(f"text_cluster: {error}", file=sys.stderr)
        return 1 if directory else 2
    except GaveUp as error:
        print(f"text_cluster: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"text_cluster: {error}", file=sys.stderr)
        return 1 if directory else 2
    except KeyboardInterrupt:
        print("text_cluster: interrupted", file=sys.stderr)
        return 130
    finally:
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
    wrong = verdict(report)
    del report["problems"]
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    for line in wrong:
        print(f"WRONG: {line}")
    print("nothing lost, nothing twice, nothing out of order" if not wrong else "the run has failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
