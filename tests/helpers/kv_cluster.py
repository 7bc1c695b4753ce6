"""A cluster of ``kv_member`` programs behind a ``cut_proxy``, and what can be done to it. Not a test.

The driver asks members without waiting, and notes when it asked and when the answer was there, by one clock.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import raftx
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

WAIT = 30.0  # seconds
LOOK = 0.3  # seconds for an answer about the state of a member, which may be stopped
SEGMENT = 256 << 10
IDS_MAX = 12
SETTINGS = {
    "tick_ms": 10,
    "election_ticks": 20,
    "proposal_timeout_ms": 3000,
    "snapshot_entries": 100,
    "keep_entries": 20,
}


class Asked:
    """A request, and its answer."""

    def __init__(self, request: dict[str, Any], client: int = 0) -> None:
        self.request, self.client = request, client
        #: nanoseconds of the monotonic clock; returned None: no answer yet, or never
        self.invoked = 0
        self.returned: int | None = None
        self.answer: dict[str, Any] = {"is": "lost"}
        self.member = 0
        self.ended = threading.Event()

    @property
    def outcome(self) -> str:
        """done, not, unknown, or lost: nobody answered."""
        return str(self.answer["is"])


class Member:
    """One life of one member."""

    def __init__(self, id: int, command: list[str]) -> None:
        self.id = id
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        self.open: dict[int, Asked] = {}
        self.numbers = itertools.count(1)
        self.begun, self.gone, self.lock = threading.Event(), threading.Event(), threading.Lock()
        #: why its node ended, and what it wrote to stderr
        self.why, self.errors = "", b""
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._read_errors)]
        for thread in self.threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            now = time.monotonic_ns()
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
            if answer["n"] == 0:
                self.why = answer.get("why", "")
                if answer["is"] == "begun":
                    self.begun.set()
                continue
            asked = self.open.pop(answer["n"])
            asked.answer, asked.returned = answer, now
            asked.ended.set()
        with self.lock:
            self.gone.set()
        self.begun.set()
        while self.open:
            self.open.popitem()[1].ended.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors = (self.errors + line)[-8192:]

    def ask(self, asked: Asked) -> Asked:
        """Send a request, and do not wait. Its answer stays "lost" when the member is gone."""
        assert self.process.stdin is not None
        number = next(self.numbers)
        line = (json.dumps({"n": number, **asked.request}) + "\n").encode()
        asked.member = self.id
        with self.lock:
            asked.invoked = time.monotonic_ns()
            if self.gone.is_set():
                asked.ended.set()
                return asked
            self.open[number] = asked
            with contextlib.suppress(OSError):
                self.process.stdin.write(line)
                self.process.stdin.flush()
        return asked

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def end(self) -> None:
        """SIGKILL, and what it had said by then."""
        self.signal(signal.SIGKILL)
        self.process.wait(WAIT)
        for thread in self.threads:
            thread.join(WAIT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class Broken(Exception):
    """The cluster did not do what it must be able to."""


class KvCluster:
    """Members by id, and the network between them. One thread at a time changes it; any thread may ask members."""

    def __init__(self, directory: Path, size: int, careless: bool = False, **settings: int) -> None:
        self.directory, self.careless = directory, careless
        self.settings = {**SETTINGS, **settings}
        free = ports(2 * IDS_MAX)
        self.inner = dict(enumerate(free[:IDS_MAX], 1))
        self.outer = dict(enumerate(free[IDS_MAX:], 1))
        self.members: dict[int, Member] = {}
        self.next = size + 1
        pairs = [[self.outer[id], self.inner[id]] for id in self.inner]
        self.proxy = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.cut_proxy", json.dumps(pairs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        try:
            self._proxy_is_ready()
            urls = {id: self.url(id) for id in range(1, size + 1)}
            for id in urls:
                self._found(id, members=urls)
            self.start(*urls)
        except BaseException:
            self.close()
            raise

    def url(self, id: int) -> str:
        return f"tcp://127.0.0.1:{self.outer[id]}"

    def _found(self, id: int, **how: Any) -> None:
        raftx.FileStorage.create(str(self.directory / str(id)), id=id, segment_bytes=SEGMENT, **how)

    def _proxy_is_ready(self) -> None:
        assert self.proxy.stdout is not None
        if self.proxy.stdout.readline() != b"ok\n":
            raise Broken("the proxy has ended")

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """From now on these are cut, sender and recipient, and no others."""
        assert self.proxy.stdin is not None
        self.proxy.stdin.write((json.dumps(list(pairs)) + "\n").encode())
        self.proxy.stdin.flush()
        self._proxy_is_ready()

    def start(self, *ids: int) -> None:
        made = {}
        for id in ids:
            command = [sys.executable, "-m", "tests.helpers.kv_member", str(self.directory / str(id)), "--id", str(id)]
            command += ["--listen", f"tcp://127.0.0.1:{self.inner[id]}", "--settings", json.dumps(self.settings)]
            made[id] = Member(id, command + (["--careless"] if self.careless else []))
        for id, member in made.items():
            self.members[id] = member
        for member in made.values():
            if not member.begun.wait(WAIT) or member.gone.is_set():
                raise Broken(f"member {member.id} does not begin: {member.why} {member.errors.decode()[-2000:]}")

    def kill(self, *ids: int) -> None:
        members = [self.members.pop(id) for id in ids]
        for member in members:
            member.signal(signal.SIGKILL)
        for member in members:
            member.end()

    def states(self) -> dict[int, dict[str, Any]]:
        """What those say that answer soon."""
        asked = {id: member.ask(Asked({"do": "state"})) for id, member in list(self.members.items())}
        end = time.monotonic() + LOOK
        for each in asked.values():
            each.ended.wait(max(0.0, end - time.monotonic()))
        return {id: each.answer["result"] for id, each in asked.items() if each.outcome == "done"}

    def leader(self, seconds: float = WAIT) -> int:
        """The member that leads in the newest term, as it says itself. Raises Broken."""
        end = time.monotonic() + seconds
        while True:
            states = self.states()
            leading = [(state["term"], id) for id, state in states.items() if state["leader"] == id]
            if leading:
                return max(leading)[1]
            if time.monotonic() > end:
                raise Broken(f"nobody leads: {states}")
            time.sleep(0.02)

    def change(self, request: dict[str, Any], seconds: float = WAIT) -> None:
        """A change of membership, asked for on one member after another until it is done. Raises Broken."""
        end, why = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            for id, member in list(self.members.items()):
                if id == request["id"]:
                    continue
                asked = member.ask(Asked(request))
                if asked.ended.wait(6) and asked.outcome == "done":
                    return
                why = f"{asked.answer}"
        raise Broken(f"{request}: {why}")

    def add(self) -> int:
        """A new member, with an id that nobody had; its id. Raises Broken."""
        id, self.next = self.next, self.next + 1
        self._found(id, join=[self.url(each) for each in self.members])
        self.start(id)
        self.change({"do": "add", "id": id, "url": self.url(id)})
        return id

    def remove(self, id: int) -> None:
        """Remove a member for good. Raises Broken."""
        self.change({"do": "remove", "id": id})
        # Its node ends when it hears of that; who does not gets no help to.
        self.members[id].gone.wait(1.0)
        self.kill(id)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.kill(*self.members)
        self.proxy.kill()
        self.proxy.wait(WAIT)
        for pipe in (self.proxy.stdin, self.proxy.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
