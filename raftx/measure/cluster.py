"""A durable cluster of real processes on loopback, to be measured.

Each member is a process of its own (spawned) with a FileStorage and a transport. Loads run inside the leader's
process, as an application that embeds the node would have it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..node.node import Node
from ..storage.file import FileStorage
from .disk import SPAWN, start
from .figures import percentile
from .loads import SIZE, WAIT_S, Counter, burn_c, burn_python, closed_loop, paced, reads_at_once
from .network import TRANSPORTS, free_ports

if TYPE_CHECKING:
    from typing_extensions import Self

START_S = 300.0


class MemberFailed(Exception):
    """A member has ended, or does not do what it must; the text has its traceback."""


@contextlib.contextmanager
def on_behalf(pipe: Connection) -> Iterator[None]:
    """The whole work of a member's process: the parent learns of its end, or gets the traceback of what went wrong."""
    try:
        yield
        pipe.send(("ok", None))
    except EOFError:
        return  # whoever started this process is gone
    except BaseException:
        with contextlib.suppress(OSError):
            pipe.send(("error", traceback.format_exc()))


def obey(pipe: Connection, commands: dict[str, Callable[..., Any]]) -> None:
    """Answer what the parent says, up to "stop". Raises KeyError for a command that is unknown, EOFError at its end."""
    while True:
        command, *arguments = pipe.recv()
        if command == "stop":
            return
        pipe.send(("ok", commands[command](*arguments)))


def member(pipe: Connection, id: int, ports: list[int], directory: str, options: dict[str, Any]) -> None:
    """The body of one process: a node, and commands from the parent."""
    with on_behalf(pipe):
        from .. import COMPILED

        urls = {i + 1: f"tcp://127.0.0.1:{port}" for i, port in enumerate(ports)}
        settings = {"use_gil": True} if options.get("use_gil") else {}
        kind = TRANSPORTS[options.get("transport", "nng")]
        transport = kind(urls[id], {i: u for i, u in urls.items() if i != id}, **settings)
        storage = FileStorage.create(Path(directory) / str(id), id=id, members=urls)
        config = Config(id=id, **options.get("config", {}))
        with Node(config, storage, transport, Counter()) as node:
            pipe.send(("ready", COMPILED))
            burning: list[threading.Event] = []

            def burn(kind: str) -> None:
                burning.append(threading.Event())
                body: Any = {"python": burn_python, "c": burn_c}[kind]
                threading.Thread(target=body, args=(burning[-1],), daemon=True).start()

            commands: dict[str, Callable[..., Any]] = {
                "status": lambda: node.status().to_dict(),
                "load": functools.partial(closed_loop, node),
                "reads": functools.partial(reads_at_once, node),
                "paced": functools.partial(paced, node),
                "burn": burn,
                "cool": lambda: burning[-1].set(),
            }
            obey(pipe, commands)


class Group:
    """Processes, one a member, and a pipe to each: it answers what it is told, and "status" with its node's."""

    def __init__(self) -> None:
        self.pipes: dict[int, Connection] = {}
        self.processes: dict[int, Any] = {}

    def launch(self, id: int, body: Callable[..., None], *arguments: Any) -> None:
        """Start a process with its end of a pipe and these arguments; ``answer`` waits for its first word."""
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=body, args=(theirs, id, *arguments), daemon=True)
        start(process)
        theirs.close()  # a member that ends is noticed
        self.pipes[id], self.processes[id] = ours, process

    def answer(self, id: int, timeout: float = START_S) -> Any:
        """What a member says next. Raises MemberFailed, TimeoutError."""
        if not self.pipes[id].poll(timeout):
            raise TimeoutError(f"member {id} does not answer")
        try:
            kind, value = self.pipes[id].recv()
        except EOFError as error:
            raise MemberFailed(f"member {id} has ended without a word") from error
        if kind == "error":
            raise MemberFailed(f"member {id}:\n{value}")
        return value

    def ask(self, id: int, *command: Any) -> Any:
        """Give a member a command and wait for its answer."""
        self.pipes[id].send(command)
        return self.answer(id)

    def everybody(self, *command: Any) -> dict[int, Any]:
        """The same command to all."""
        return {id: self.ask(id, *command) for id in self.pipes}

    def leader(self) -> int:
        """Id of the member that leads, when all agree."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            views = {status["leader"] for status in self.everybody("status").values()}
            if len(views) == 1 and 0 not in views:
                return int(views.pop())
            time.sleep(0.02)
        raise TimeoutError("no leader")

    def close(self) -> None:
        """Stop all members."""
        for pipe in self.pipes.values():
            with contextlib.suppress(OSError):
                pipe.send(("stop",))
        for process in self.processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cluster(Group):
    """Members, three unless something else is said.

    root: where their directories are, on a real disk: the point is what a sync costs. pure: interpreted. options:
    ``config``, settings of each; ``transport``, a name of TRANSPORTS; ``use_gil``. Raises MemberFailed, TimeoutError.
    """

    def __init__(self, root: str | os.PathLike[str], n: int = 3, *, pure: bool = False, **options: Any) -> None:
        super().__init__()
        Path(root).mkdir(parents=True, exist_ok=True)
        self.directory = tempfile.mkdtemp(prefix="cluster-", dir=root)
        ports = free_ports(n)
        try:
            with _environment("RAFTX_PURE", "1" if pure else None):
                for id in range(1, n + 1):
                    self.launch(id, member, ports, self.directory, options)
            self.compiled = all([self.answer(id) for id in self.pipes])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all members and remove their directories."""
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Any:
    """A variable for processes that are started meanwhile; None: as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def measured(
    cluster: Cluster, leader: int, outstanding: int, seconds: float, many: bool = False, size: int = SIZE
) -> tuple[dict[str, Any], list[float]]:
    """One load on the leader: a row of figures, and the latencies in us."""
    before = cluster.ask(leader, "status")
    entries, elapsed, latencies = cluster.ask(leader, "load", outstanding, seconds, many, size)
    after = cluster.ask(leader, "status")
    syncs = after["disk"]["syncs"] - before["disk"]["syncs"]
    row = {
        "mode": "propose_many" if many else "propose",
        "outstanding": outstanding,
        "entries_per_s": round(entries / elapsed),
        "p50_us": round(percentile(latencies, 0.5)),
        "p99_us": round(percentile(latencies, 0.99)),
        "syncs_per_s": round(syncs / elapsed),
        "mean_batch": round((after["disk"]["wal_entries"] - before["disk"]["wal_entries"]) / max(1, syncs), 1),
        "term_changes": after["term"] - before["term"],
    }
    return row, latencies
