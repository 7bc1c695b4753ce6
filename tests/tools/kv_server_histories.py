"""Histories of raftx serve under faults: python -m tests.tools.kv_server_histories [--runs N] [--seconds S] [--seed N]

Three servers as programs, behind a proxy that cuts members off one another. Clients read, put and compare-and-put a few
keys over HTTP on any server, while members are killed, stopped, ended, and cut off. What the clients saw is judged by
raftx.testing.linearizable and, where Go is there, by porcupine; what watches on each server were told, with reconnects,
must be the order of revisions, each event once. An answer of 500 is wrong.

Exits with 0 if all is well, with 1 otherwise.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from interop.toolchains import PORCUPINE, PORCUPINE_SOURCES, BuildFailed, build_go
from raftx.testing.linearizable import CAS, READ, WRITE, Operation, check
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.tools.histories import Porcupine

IDS = (1, 2, 3)
KEYS = ("k1", "k2", "k3")
CLIENTS = 5
WAIT = 120.0
FAULTS = ("kill", "pause", "end", "cut")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def text_of(data: str) -> str:
    return base64.b64decode(data).decode()


def got(port: int, path: str) -> int:
    """The status of an answer; 0: nobody answered."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                response.read()
                return response.status
        except (OSError, http.client.HTTPException):
            return 0


class Broken(Exception):
    """Something that must never be."""


class Cluster:
    """Three servers, and the proxy between them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        own, through, clients = ports(3), ports(3), ports(3)
        self.clients = dict(zip(IDS, clients))
        lines = ['cluster = "histories"', 'data = "data/{id}"', "[config]", "tick_ms = 20", "election_ticks = 10"]
        lines += ["snapshot_entries = 200", "keep_entries = 50", "[server]", 'compaction = "off"']
        for id, mine, proxied, client in zip(IDS, own, through, clients):
            lines += [f"[members.{id}]", f'url = "tcp://127.0.0.1:{proxied}"', f'bind = "tcp://127.0.0.1:{mine}"']
            lines += [f'client = "http://127.0.0.1:{client}"']
        (directory / "cluster.toml").write_text("\n".join(lines) + "\n")
        self.proxy = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.cut_proxy", json.dumps(list(zip(through, own)))],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.proxy.stdout is not None and self.proxy.stdout.readline() == b"ok\n"
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for id in IDS:
            self.start(id)

    def start(self, id: int) -> None:
        log = (self.directory / f"{id}.log").open("ab")
        command = [sys.executable, "-m", "raftx", "serve", "--config", str(self.directory / "cluster.toml")]
        self.processes[id] = subprocess.Popen(
            [*command, "--id", str(id), "--create"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log
        )
        log.close()

    def cut(self, pairs: list[tuple[int, int]]) -> None:
        assert self.proxy.stdin is not None and self.proxy.stdout is not None
        self.proxy.stdin.write(json.dumps(pairs).encode() + b"\n")
        self.proxy.stdin.flush()
        self.proxy.stdout.readline()

    def wait_until_healthy(self) -> None:
        until = time.monotonic() + WAIT
        for id in IDS:
            while True:
                if got(self.clients[id], "/health") == 200:
                    break
                if time.monotonic() > until:
                    raise Broken(f"server {id} is not healthy")
                time.sleep(0.05)

    def wait_until_there(self, id: int) -> None:
        """Until a server answers at all."""
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            if got(self.clients[id], "/version"):
                return
            time.sleep(0.05)
        raise Broken(f"server {id} does not answer")

    def inflict(self, fault: str, draw: random.Random) -> None:
        """One fault; afterwards everybody runs, and nothing is cut."""
        id = draw.choice(IDS)
        process = self.processes[id]
        if fault == "end":
            self.wait_until_there(id)  # a program that is still being loaded knows nothing of signals
        if fault in ("kill", "end"):
            process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            code = process.wait(WAIT)
            if fault == "end" and code != 0:
                raise Broken(f"server {id} ended with {code} on SIGTERM")
            time.sleep(draw.random())
            self.start(id)
        elif fault == "pause":
            process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(0.3 + draw.random() * 2)
            finally:
                process.send_signal(signal.SIGCONT)
        else:
            others = [each for each in IDS if each != id]
            both = [(id, each) for each in others] + [(each, id) for each in others]
            self.cut(draw.choice([both, both[:2], both[2:]]))
            time.sleep(0.5 + draw.random() * 2)
            self.cut([])

    def close(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(WAIT)
        self.proxy.kill()
        self.proxy.wait(WAIT)
        for stream in (self.proxy.stdin, self.proxy.stdout):
            assert stream is not None
            stream.close()


class Client:
    """One client, on a thread."""

    def __init__(self, cluster: Cluster, number: int, seed: int, stop: threading.Event) -> None:
        self.cluster, self.number, self.stop = cluster, number, stop
        self.draw = random.Random(seed * 100 + number)
        self.operations: list[Operation] = []
        self.problem = ""
        self.last: dict[str, int] = {}
        self._count = 0
        self._connection: http.client.HTTPConnection | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self._one()
        except Exception as error:
            self.problem = f"client {self.number}: {error!r}"
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, path: str, request: dict[str, Any]) -> Any:
        """The answer; None where nobody knows what became of it."""
        if self.draw.random() < 0.05:
            self._leave()
        if self._connection is None:
            port = self.cluster.clients[self.draw.choice(IDS)]
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=6)
        try:
            self._connection.request("POST", f"/v3{path}", json.dumps(request).encode())
            response = self._connection.getresponse()
            body = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException):
            self._leave()
            time.sleep(0.02)
            return None
        if response.status == 503 and body["code"] == 14:
            self._leave()
            return None
        if response.status != 200:
            raise Broken(f"{path}: {response.status} {body}")
        return body

    def _one(self) -> None:
        key = self.draw.choice(KEYS)
        kind = self.draw.choice((READ, WRITE, CAS))
        self._count += 1
        new = self.number * 1_000_000 + self._count
        expected = self.last.get(key, 0)
        began = time.monotonic_ns()
        if kind == READ:
            found = self._ask("/kv/range", {"key": b64(key)})
            value = _value(found)
            if found is not None:
                self.last[key] = value
                self.operations.append(Operation(key, READ, value, began, time.monotonic_ns()))
        elif kind == WRITE:
            found = self._ask("/kv/put", {"key": b64(key), "value": b64(str(new))})
            ended = None if found is None else time.monotonic_ns()
            self.operations.append(Operation(key, WRITE, new, began, ended))
        else:
            compare = {"key": b64(key), "target": "VALUE", "value": b64(str(expected))}
            put = {"request_put": {"key": b64(key), "value": b64(str(new))}}
            if not expected:
                compare = {"key": b64(key), "target": "VERSION"}
            found = self._ask("/kv/txn", {"compare": [compare], "success": [put]})
            succeeded = None if found is None else bool(found.get("succeeded", False))
            ended = None if found is None else time.monotonic_ns()
            self.operations.append(Operation(key, CAS, expected, began, ended, new, succeeded))


def _value(found: Any) -> int:
    if found is None or not found.get("kvs"):
        return 0
    return int(text_of(found["kvs"][0]["value"]))


class Watcher:
    """Watches all keys on one server from the first revision, and again from where it was when the stream ends."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        self.port, self.stop = port, stop
        self.events: list[tuple[int, str, int]] = []
        self.problem = ""
        self.reconnects = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._end = 0

    def _run(self) -> None:
        while not self.stop.is_set():
            self.reconnects += 1
            try:
                self._watch()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            except Exception as error:
                self.problem = f"watch on port {self.port}: {error!r}"
                return

    def _watch(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)) as connection:
            self._read(connection)

    def _read(self, connection: http.client.HTTPConnection) -> None:
        start = self.events[-1][0] + 1 if self.events else 1
        create = {"key": b64("k"), "range_end": b64("l"), "start_revision": start}
        connection.request("POST", "/v3/watch", json.dumps({"create_request": create}).encode())
        with connection.getresponse() as response:
            if response.status != 200:
                raise OSError(str(response.status))
            for line in response:
                if line.strip():
                    self._take(json.loads(line)["result"])

    def _take(self, result: dict[str, Any]) -> None:
        if result.get("canceled"):
            raise Broken(f"canceled: {result}")
        for event in result.get("events", ()):
            kv = event["kv"]
            self.events.append((int(kv["mod_revision"]), text_of(kv["key"]), int(text_of(kv["value"]))))


def run(directory: Path, seed: int, seconds: float, porcupine: Porcupine | None) -> dict[str, Any]:
    """One history; what there is to say of it. Raises Broken."""
    draw, stop, stop_watches = random.Random(seed), threading.Event(), threading.Event()
    cluster = Cluster(directory)
    try:
        cluster.wait_until_healthy()
        clients = [Client(cluster, number, seed, stop) for number in range(1, CLIENTS + 1)]
        watchers = [Watcher(cluster.clients[id], stop_watches) for id in IDS]
        for each in (*clients, *watchers):
            each.thread.start()
        faults: list[str] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.3 + draw.random() * 0.7)
            faults.append(draw.choice(FAULTS))
            cluster.inflict(faults[-1], draw)
        stop.set()
        for client in clients:
            client.thread.join(WAIT)
        cluster.wait_until_healthy()
        final = _final(cluster)
        until = time.monotonic() + WAIT
        while time.monotonic() < until and any(not each.events or each.events[-1][0] < final for each in watchers):
            time.sleep(0.05)
        stop_watches.set()
        for watcher in watchers:
            watcher.thread.join(WAIT)
        problems = [each.problem for each in (*clients, *watchers) if each.problem]
        if problems:
            raise Broken("; ".join(problems))
        return _judged(seed, faults, clients, watchers, final, porcupine)
    finally:
        stop.set()
        stop_watches.set()
        cluster.close()


def _final(cluster: Cluster) -> int:
    """The revision of a last put."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.clients[1], timeout=WAIT)
    body = json.dumps({"key": b64("k9"), "value": b64("9")}).encode()
    for _ in range(20):
        connection.request("POST", "/v3/kv/put", body)
        response = connection.getresponse()
        found = json.loads(response.read())
        if response.status == 200:
            connection.close()
            return int(found["header"]["revision"])
        time.sleep(0.2)
    connection.close()
    raise Broken(f"the last put was not done: {found}")


def _judged(
    seed: int, faults: list[str], clients: list[Client], watchers: list[Watcher], final: int, porcupine: Any
) -> dict[str, Any]:
    history = [each for client in clients for each in client.operations]
    own = check(history, initial=0)
    other = porcupine.judge(history) if porcupine is not None else None
    problems = [] if own.ok else [own.explanation or "not decided"]
    if porcupine is not None and other is not True:
        problems.append(f"porcupine says {other}")
    first = watchers[0].events
    revisions = [each[0] for each in first]
    if revisions != sorted(set(revisions)) or not revisions or revisions[-1] != final:
        problems.append("a watch was told of revisions twice, out of order, or not to the end")
    problems += ["two watches were told different things" for each in watchers[1:] if each.events != first]
    written = {each.value if each.kind == WRITE else each.new for each in history if each.kind != READ}
    done = {
        each.value if each.kind == WRITE else each.new
        for each in history
        if each.returned is not None and (each.kind == WRITE or each.succeeded)
    }
    told = {each[2] for each in first} - {9}
    if not done <= told or not told <= written:
        problems.append(f"{len(done - told)} writes that were acknowledged were not told of")
    return {
        "seed": seed, "operations": len(history), "unknown": sum(each.returned is None for each in history),
        "events": len(first), "reconnects": sum(each.reconnects for each in watchers),
        "faults": {name: faults.count(name) for name in FAULTS}, "problems": problems,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    porcupine = None
    try:
        porcupine = Porcupine(build_go(program=PORCUPINE, sources=PORCUPINE_SOURCES))
    except BuildFailed as error:
        print(f"without porcupine: {error}")
    bad = 0
    for seed in range(options.seed, options.seed + options.runs):
        with tempfile.TemporaryDirectory(prefix="raftx-histories-") as directory:
            try:
                found = run(Path(directory), seed, options.seconds, porcupine)
            except Broken as error:
                found = {"seed": seed, "problems": [str(error)]}
                for id in IDS:
                    print((Path(directory) / f"{id}.log").read_text()[-2000:])
        print(json.dumps(found), flush=True)
        bad += bool(found["problems"])
    if porcupine is not None:
        porcupine.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
