"""Patroni and PostgreSQL judge raftx serve: python interop/patroni_judge.py [--store raftx|PATH_OF_ETCD] [--times N]

Three servers, three Patroni with a PostgreSQL each (examples/patroni/scene.py), a writer that inserts numbers and keeps
those that were acknowledged, and a sampler that asks all three whether they are writable. Then members are killed,
stopped and cut off, in the steps below. What must always hold: no acknowledged row is lost, there are never two
writable primaries, and nobody is demoted when only a server of the store fails. It runs with a Python that has patroni
and psycopg2, which need not be that of raftx (--raftx-python).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "patroni"))

from patroni_proxy import Proxy  # type: ignore[import-not-found]
from scene import IDS, TTL, Scene, asked  # type: ignore[import-not-found]

WAIT = 120.0
SAMPLE = 0.1
SETTLED = 6.0  # seconds for which everybody streams before the next step: more than a round of Patroni
PAUSE = 15.0  # seconds for which a leader of the store is stopped


class Failed(Exception):
    """A criterion was not met."""


def connected(port: int, timeout: int = 2) -> Any:
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=timeout,
        options="-c statement_timeout=8000",
    )  # fmt: skip
    connection.autocommit = True
    return connection


class Sampler:
    """Asks all three, ten times a second, who is writable."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        #: when who became the writable one
        self.changes: list[tuple[float, int]] = []
        self.two = 0
        self._open: dict[int, Any] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _writable(self, id: int) -> bool:
        try:
            if id not in self._open:
                self._open[id] = connected(self.scene.postgres_ports[id], 1)
            with self._open[id].cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                return not cursor.fetchone()[0]
        except psycopg2.Error:
            with contextlib.suppress(KeyError, psycopg2.Error):
                self._open.pop(id).close()
            return False

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE):
            now = [id for id in IDS if self._writable(id)]
            if len(now) > 1 and self._writable(now[0]):
                self.two += 1
            if len(now) == 1 and (not self.changes or self.changes[-1][1] != now[0]):
                self.changes.append((time.monotonic(), now[0]))
            elif not now and self.changes and self.changes[-1][1]:
                self.changes.append((time.monotonic(), 0))

    @property
    def now(self) -> int:
        return self.changes[-1][1] if self.changes else 0

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT)


class Writer:
    """Inserts numbers wherever they can be written, and keeps those that were acknowledged."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.acknowledged: list[int] = []
        self.errors: list[tuple[float, str]] = []
        self.number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _connect(self) -> Any:
        # Without statement_timeout: it would end the wait for the standby, and acknowledge what only the primary has.
        ports = ",".join([str(port) for port in self.scene.postgres_ports.values()])
        connection = psycopg2.connect(
            f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports} user=postgres dbname=postgres connect_timeout=2 "
            "target_session_attrs=read-write"
        )
        connection.autocommit = True
        return connection

    def _run(self) -> None:
        connection = None
        while not self._stop.is_set():
            self.number += 1
            try:
                if connection is None:
                    connection = self._connect()
                with connection.cursor() as cursor:
                    if self.number == 1:
                        cursor.execute("CREATE TABLE IF NOT EXISTS written (number bigint PRIMARY KEY)")
                    cursor.execute("INSERT INTO written VALUES (%s)", (self.number,))
                self.acknowledged.append(self.number)
                time.sleep(0.02)
            except psycopg2.Error as error:
                self.errors.append((time.monotonic(), str(error).strip()[:100]))
                with contextlib.suppress(Exception):
                    if connection is not None:
                        connection.close()
                connection = None
                time.sleep(0.1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT)

    def errors_since(self, when: float) -> int:
        return sum(at >= when for at, _ in self.errors)


def until(condition: Callable[[], Any], seconds: float, what: str) -> float:
    """Wait; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


class Judge:
    """The steps."""

    def __init__(self, scene: Scene, proxies: dict[int, list[Proxy]]) -> None:
        self.scene = scene
        self.proxies = proxies
        self.sampler = Sampler(scene)
        self.writer = Writer(scene)
        self.took: dict[str, list[float]] = {}

    def settle(self) -> None:
        """Everybody is there, streams, and rows are written."""
        since = time.monotonic()

        def stays() -> bool:
            nonlocal since
            if not self.scene.is_complete():
                since = time.monotonic()
            return time.monotonic() - since > SETTLED

        until(stays, WAIT, "a leader and two replicas")
        until(lambda: self.sampler.now, WAIT, "a writable primary")
        before = len(self.writer.acknowledged)
        until(lambda: len(self.writer.acknowledged) > before + 10, WAIT, "rows are written")

    def store_leader(self) -> int:
        until(self.scene.store_leader, 30, "the store has a leader")
        return self.scene.store_leader()

    def no_change(self, began: float, primary: int) -> None:
        changes = [each for each in self.sampler.changes if each[0] > began]
        if changes or self.sampler.now != primary:
            raise Failed(f"the primary changed: {changes}")

    def leader_of_store_is_killed(self) -> float:
        """And comes back: nobody is demoted."""
        primary, leader, began = self.sampler.now, self.store_leader(), time.monotonic()
        self.scene.stores[leader].kill()
        self.scene.stores[leader].wait()
        took = until(lambda: self.scene.store_leader() not in (0, leader), 30, "another leader of the store")
        time.sleep(8)
        self.scene.start_store(leader)
        time.sleep(7)
        self.no_change(began, primary)
        if self.writer.errors_since(began):
            raise Failed(f"writes failed: {self.writer.errors[-1]}")
        return took

    def leader_of_store_is_stopped(self) -> float:
        """For longer than an election, and goes on: nobody is demoted, and no old answer is given afterwards."""
        primary, leader, began = self.sampler.now, self.store_leader(), time.monotonic()
        os.kill(self.scene.stores[leader].pid, signal.SIGSTOP)
        try:
            took = until(lambda: self.scene.store_leader() not in (0, leader), 30, "another leader of the store")
            body = {"key": "anVkZ2U=", "value": "bmV3"}
            other = next(id for id in IDS if id != leader)
            until(lambda: asked(self.scene.client_ports[other], "POST", "/v3/kv/put", body)[0] == 200, 30, "a put")
            time.sleep(max(0.0, began + PAUSE - time.monotonic()))
        finally:
            os.kill(self.scene.stores[leader].pid, signal.SIGCONT)
        status, found = 0, None
        while status != 200:
            status, found = asked(self.scene.client_ports[leader], "POST", "/v3/kv/range", {"key": "anVkZ2U="})
            if status == 200 and not found.get("kvs"):
                raise Failed("the server that was stopped gave an old answer")
        self.no_change(began, primary)
        return took

    def _fail_over(self, kill: Callable[[int], None], most: float, back: Callable[[int], None]) -> float:
        primary, began = self.sampler.now, time.monotonic()
        kill(primary)
        try:
            until(lambda: self.sampler.now not in (0, primary), most + 30, "another primary")
        finally:
            back(primary)
        took = next(at for at, id in self.sampler.changes if at > began and id not in (0, primary)) - began
        if took > most:
            raise Failed(f"another primary after {took:.1f} s, which may take {most:g}")
        return took

    def primary_is_killed(self) -> float:
        """PostgreSQL and Patroni at once."""
        return self._fail_over(self.scene.kill_patroni, TTL + 5, self.scene.start_patroni)

    def both_are_killed(self) -> float:
        """The primary and the leader of the store."""
        leader = self.store_leader()

        def kill(primary: int) -> None:
            self.scene.stores[leader].kill()
            self.scene.stores[leader].wait()
            self.scene.kill_patroni(primary)

        def back(primary: int) -> None:
            self.scene.start_store(leader)
            self.scene.start_patroni(primary)

        return self._fail_over(kill, TTL + 8, back)

    def switchover(self) -> float:
        """As somebody wants it."""
        primary, began = self.sampler.now, time.monotonic()
        port = self.scene.rest_ports[primary]
        status, said = asked(port, "POST", "/switchover", {"leader": f"p{primary}"}, timeout=60)
        if status != 200:
            raise Failed(f"switchover: {status} {said}")
        until(lambda: self.sampler.now not in (0, primary), 60, "another primary")
        took = next(at for at, id in self.sampler.changes if at > began and id not in (0, primary)) - began
        if took > 15:
            raise Failed(f"switchover took {took:.1f} s")
        return took

    def quorum_is_lost(self) -> float:
        """Two servers are stopped: the primary is demoted within its time; then they go on."""
        primary = self.sampler.now
        began = time.monotonic()
        stopped = [id for id in IDS if id != self.store_leader()]
        for id in stopped:
            os.kill(self.scene.stores[id].pid, signal.SIGSTOP)
        try:
            until(lambda: self.sampler.now != primary, TTL + 10, "the primary is demoted")
            if time.monotonic() - began > TTL + 2:
                raise Failed("the primary was demoted too late")
        finally:
            for id in stopped:
                os.kill(self.scene.stores[id].pid, signal.SIGCONT)
        return until(lambda: self.sampler.now, 60, "a primary again")

    def primary_is_cut_off(self) -> float:
        """From the store, and from nothing else: it is demoted before another one is promoted."""
        primary, began = self.sampler.now, time.monotonic()
        for each in self.proxies[primary]:
            each.cut()
        try:
            until(lambda: self.sampler.now != primary, TTL + 2, "the primary is demoted")
            until(lambda: self.sampler.now not in (0, primary), TTL + 10, "another primary")
        finally:
            for each in self.proxies[primary]:
                each.heal()
        if self.sampler.two:
            raise Failed("it was not demoted before another one was promoted")
        return next(at for at, id in self.sampler.changes if at > began and id not in (0, primary)) - began

    def check(self) -> None:
        """What must always hold."""
        if self.sampler.two:
            raise Failed(f"two writable primaries in {self.sampler.two} samples")
        acknowledged = set(self.writer.acknowledged)  # first: rows are written meanwhile
        with contextlib.closing(connected(self.scene.postgres_ports[self.sampler.now], 5)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT number FROM written")
            there = {row[0] for row in cursor.fetchall()}
        lost = acknowledged - there
        if lost:
            raise Failed(f"{len(lost)} acknowledged rows are lost")


STEPS = (
    "leader_of_store_is_killed", "primary_is_killed", "both_are_killed", "switchover", "leader_of_store_is_stopped",
    "quorum_is_lost",
)  # fmt: skip
#: with it Patroni reaches the store through proxies, and does not ask the servers where they are
CUT_OFF = "primary_is_cut_off"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="raftx")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--steps", default=",".join(STEPS), help=f"of those that are run, or {CUT_OFF}")
    parser.add_argument("--raftx-python", default=sys.executable)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="raftx-judge-"))
    directory.chmod(0o755)
    scene = Scene(directory, options.store, options.raftx_python)
    found: dict[str, list[float]] = {"bootstrap": []}
    problems: list[str] = []
    judge = None
    proxies: dict[int, list[Proxy]] = {}
    if CUT_OFF in options.steps.split(","):
        proxies = {id: [Proxy(port) for port in scene.client_ports.values()] for id in IDS}
        scene.through = {id: [each.port for each in those] for id, those in proxies.items()}
    try:
        scene.start()
        found["bootstrap"].append(until(scene.is_complete, WAIT, "bootstrap"))
        judge = Judge(scene, proxies)
        judge.settle()
        for turn in range(options.times):
            for step in options.steps.split(","):
                try:
                    took = getattr(judge, step)()
                    found.setdefault(step, []).append(took)
                    print(f"{turn + 1:>3} {step:<28}{took:7.1f} s", flush=True)
                except Failed as error:
                    problems.append(f"{step}: {error}")
                    print(f"{turn + 1:>3} {step:<28} FAILED: {error}", flush=True)
                judge.settle()
                judge.check()
    except Failed as error:
        problems.append(str(error))
    finally:
        if judge is not None:
            judge.writer.close()
            judge.sampler.close()
        scene.close()
        for each in [proxy for those in proxies.values() for proxy in those]:
            each.close()
    rows = len(judge.writer.acknowledged) if judge is not None else 0
    medians = {
        step: [round(statistics.median(each), 1), round(max(each), 1), len(each)] for step, each in found.items()
    }
    print(json.dumps({"store": options.store, "rows": rows, "median, most, times": medians, "problems": problems}))
    if problems:
        print(f"what they wrote is kept in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
