"""The processes of a cluster on one machine: started, watched, killed, stopped, and never left behind.

Starts ``raftx.demo.node`` with subprocess, which spawns: a process that has NNG sockets must not be
forked. Each reads a pipe into which only this process could write; when this process is gone, however
that came, the pipe ends and they end with it. Nothing here knows what is replicated, or when somebody
is to be killed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from .client import LINES, POSITION, STOP, Connection, readable, unpack_lines

# A process finds the modules where this one does, wherever it was started.
BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from raftx.demo.node import main; sys.exit(main(sys.argv[1:]))"
)
WATCH_S = 0.1  # between two looks at each node
PAUSE_S = 0.01
START_S = 300.0  # reading a long log takes a while, interpreted above all
LEADER_S = 60.0
STOP_S = 30.0
FOUND_S = 60.0
PORT_TRIES = 20


def node_command() -> list[str]:
    """What starts a node, up to its arguments."""
    return [sys.executable, "-c", BEGIN, json.dumps(sys.path)]


class Failed(Exception):
    """The cluster does not do what it must; the text is for people."""


class PortTaken(Exception):
    """Somebody took a port between our choosing it and the node's listening on it."""


class Life:
    """One process of one node, from its start to its end."""

    def __init__(self, id: int, directory: Path, urls: dict[int, str]) -> None:
        self.id = id
        self.log = directory / f"node-{id}.log"
        self.port = 0  # for clients; 0 until it takes them
        self.compiled = False
        self.stopping = False
        self.status: dict[str, Any] = {"state": "starts"}
        self.started = time.monotonic()
        self.ended = 0.0
        command = [*node_command(), str(id), str(directory / f"node-{id}")]
        command += [f"{member}={url}" for member, url in urls.items()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a terminal sends Ctrl-C to all processes of a session
            )

    def check(self) -> None:
        """Note whether it takes clients by now, and that it still runs. Raises PortTaken, Failed."""
        if self.stopping:
            return
        if self.port:
            code = self.process.poll()
            if code is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
                raise Failed(f"{self} {how}: {self.last_words()}")
            return
        assert self.process.stdout is not None
        if readable(self.process.stdout, 0):
            line = self.process.stdout.readline()
            said: dict[str, Any] = json.loads(line) if line else {"failed": self.last_words()}
            if "busy" in said:
                raise PortTaken(said["busy"])
            if "failed" in said:
                raise Failed(f"{self} did not start: {said['failed']}")
            self.compiled, self.port = said["compiled"], said["port"]
        elif time.monotonic() > self.started + START_S:
            raise Failed(f"{self} has not started within {START_S:.0f} s")

    def ask(self) -> dict[str, Any]:
        """Its status at this moment. From any thread. Raises OSError."""
        connection = Connection.open(self.port)
        try:
            # Another thread may be asking too, and get an older answer later: what is returned is our own.
            status = self.status = connection.status()
            return status
        finally:
            connection.close()

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def end(self) -> None:
        """SIGKILL, if it still runs; returns when it is gone."""
        self.ended = time.monotonic()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __str__(self) -> str:
        return f"node {self.id} (process {self.process.pid})"


class Cluster:
    """Nodes 1 to ``size`` under one directory. ``between`` is called while anything is waited for, and may raise.

    One thread calls the methods, ``check`` often; another, its own, keeps the statuses fresh. ``close`` it
    in the end, whatever happens.
    """

    def __init__(self, directory: Path, size: int, between: Callable[[], None]) -> None:
        self.directory = directory
        self.ids = list(range(1, size + 1))
        self.between = between
        self.urls: dict[int, str] = {}
        self.lives: dict[int, Life] = {}
        self.fates: dict[int, str] = {}  # of nodes that do not run
        self.starting = False  # all of them
        self.port_losses = 0
        self.ended: list[Life] = []
        self.closing = threading.Event()
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()

    # --- who is there ----------------------------------------------------------------------------

    def nodes(self) -> dict[int, int]:
        """Id and port of the nodes that take clients."""
        return {id: life.port for id, life in self.lives.items() if life.port}

    def ready(self) -> bool:
        """Whether every node takes clients."""
        return len(self.nodes()) == len(self.ids)

    def statuses(self) -> dict[int, dict[str, Any]]:
        """How each node stands; {"state": why} of one that does not run."""
        return {id: self.lives[id].status if id in self.lives else {"state": self.fates.get(id, "")} for id in self.ids}

    def leader(self) -> int:
        """The running node that says it leads in the latest term, 0 if none does."""
        terms = [(life.status["term"], id) for id, life in self.lives.items() if life.status.get("role") == "leader"]
        return max(terms)[1] if terms else 0

    def total(self, key: str, ids: Collection[int] = ()) -> int:
        """Sum of a number of the status over all lives, of killed ones up to just before their end."""
        lives = [life for life in [*self.ended, *self.lives.values()] if not ids or life.id in ids]
        return sum([int(life.status.get(key, 0)) for life in lives])

    def check(self) -> None:
        """Note what has happened to the processes. Raises Failed when one has ended unasked."""
        for id, life in list(self.lives.items()):
            try:
                life.check()
            except PortTaken as error:
                self.port_losses += 1
                if self.port_losses > PORT_TRIES:
                    raise Failed(f"node {id}: {error}") from error
                if self.starting:
                    raise
                # The others know it by this address: there is nothing but to try again.
                self._forget(id, "")
                self.start(id)

    def _watch(self) -> None:
        while not self.closing.wait(WATCH_S):
            for life in list(self.lives.values()):
                if life.port:
                    with contextlib.suppress(OSError):  # it is being killed, or very busy: the last status stands
                        life.ask()

    # --- start and end ---------------------------------------------------------------------------

    def found_all(self) -> None:
        """Found every member, once, before it is started for the first time. Raises Failed."""
        for id in self.ids:
            command = [*node_command(), "found", str(id), str(self.directory / f"node-{id}"), *map(str, self.ids)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=FOUND_S, start_new_session=True)
            except subprocess.TimeoutExpired as error:
                raise Failed(f"node {id} was not founded within {FOUND_S:.0f} s") from error
            if done.returncode:
                raise Failed(f"node {id} was not founded: {done.stderr.strip()}")
            self.between()

    def start_all(self) -> None:
        """Start every node on a free port and wait until they have a leader. Raises Failed."""
        self.starting = True
        while self.starting:
            self.urls = dict(zip(self.ids, free_urls(len(self.ids))))
            for id in self.ids:
                self.start(id)
            try:
                self.wait_until_ready()
                self.starting = False
            except PortTaken:
                for id in self.ids:
                    self._forget(id, "")
        self.wait_for_leader()

    def start(self, id: int) -> None:
        """Start one node, which goes on where its log ends; it takes clients a little later."""
        self.lives[id] = Life(id, self.directory, self.urls)

    def wait_until_ready(self) -> None:
        """Until every node takes clients. Raises Failed."""
        while not self.ready():
            self._pause()

    def wait_for_leader(self) -> int:
        """The leader that all running nodes agree on. Raises Failed."""
        deadline = time.monotonic() + LEADER_S
        while True:
            with contextlib.suppress(OSError):
                found = {life.ask()["leader"] for life in self.lives.values() if life.port}
                if len(found) == 1 and found <= self.lives.keys():
                    return int(found.pop())
            if time.monotonic() > deadline:
                raise Failed(f"no leader within {LEADER_S:.0f} s")
            self._pause()

    def kill(self, id: int) -> Life:
        """SIGKILL: nothing more is written, told or closed by that process."""
        life = self.lives[id]
        with contextlib.suppress(OSError):
            life.ask()
        self._forget(id, "killed")
        return life

    def stop_all(self) -> None:
        """Let all nodes stop cleanly, at the same time. Raises Failed."""
        doors: dict[int, Connection] = {}
        try:
            for id, life in self.lives.items():
                doors[id] = Connection.open(life.port)
            for id, door in doors.items():
                self.lives[id].stopping = True
                door.send(STOP)
            deadline = time.monotonic() + STOP_S
            for id, door in doors.items():
                self._wait_for_stop(self.lives[id], door, deadline)
        except OSError as error:
            raise Failed(f"a node went away instead of stopping: {error}") from error
        finally:
            for door in doors.values():
                door.close()

    def _wait_for_stop(self, life: Life, door: Connection, deadline: float) -> None:
        frame = None
        while frame is None or life.process.poll() is None:
            if frame is None:
                frame = door.receive(PAUSE_S)
            self._pause()
            if time.monotonic() > deadline:
                raise Failed(f"{life} has not stopped within {STOP_S:.0f} s")
        life.status = json.loads(frame[1])
        self._forget(life.id, "stopped")
        if life.process.returncode:
            raise Failed(f"{life} stopped with exit status {life.process.returncode}: {life.last_words()}")

    def _forget(self, id: int, fate: str) -> None:
        """End a life, if it has not ended by itself."""
        life = self.lives.pop(id, None)
        if life is not None:
            self.fates[id] = fate
            life.end()
            self.ended.append(life)

    def close(self) -> None:
        """End everything, now."""
        for id in self.ids:
            self._forget(id, "ended")
        self.closing.set()
        self.watcher.join()

    def _pause(self) -> None:
        self.between()
        time.sleep(PAUSE_S)

    # --- what they hold --------------------------------------------------------------------------

    def held(self, id: int) -> Iterator[tuple[int, bytes]]:
        """(sequence number, line) of every line that a node holds, in its order. Raises Failed."""
        try:
            connection = Connection.open(self.lives[id].port)
            try:
                position = 0
                while lines := unpack_lines(connection.request(LINES, POSITION.pack(position), STOP_S)):
                    self.between()
                    yield from lines
                    position += len(lines)
            finally:
                connection.close()
        except OSError as error:
            raise Failed(f"node {id} does not give away its lines: {error}") from error


def free_urls(count: int) -> list[str]:
    """Addresses on which nobody listens at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    urls = [f"tcp://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return urls
