"""One server of the replicated text: a raftx node with its log on disk, and a door for clients.

    python -m raftx.demo.node found ID DIRECTORY 1 2 3     once, when the member's machine is set up
    python -m raftx.demo.node ID DIRECTORY 1=tcp://127.0.0.1:5601 2=tcp://127.0.0.1:5602 ...

A member is founded by a command of its own, never because its directory looks empty: the disk that holds
what it acknowledged may not be mounted. The first command needs ids alone, the same for each member.

The process says on standard output, as one line of JSON, on which port of 127.0.0.1 it takes clients, or
why it cannot start. It ends after a STOP frame, when the node fails, and at once when its standard
input ends: whoever started it is gone then.

Every member takes commands, not only the leader: raftx passes them on, through a session for each
client. A client that comes back, to this member or another one, opens its session again. What a client
may ask is described in client.py, what the commands do in store.py.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import socket
import struct
import sys
import threading
from typing import Any, TypeAlias

from ..config import Config
from ..errors import ProposalError, RaftError, TransportError
from ..node.futures import Future
from ..node.node import Node
from ..storage.file import FileStorage
from ..transport.nng import NngTransport
from .client import (
    ANSWER,
    COMMANDS,
    LINES,
    OUTCOME,
    POSITION,
    STATUS,
    STOP,
    Connection,
    pack_lines,
    unpack_commands,
)
from .store import COMMAND, TextStore, pack

CLUSTER = b"replicated-text!"
SEGMENT_BYTES = 8 << 20  # a file of the log is reserved in one piece: small ones suit a demo
PATIENCE = 60.0  # seconds in which a line is proposed: a line that is given up would be missing
UNANSWERED = 64  # COMMANDS frames of one client; the next one waits in its socket
SHOWN = ("id", "state", "term", "leader", "role", "commit", "applied", "last")
SHOWN_OF_DISK = ("syncs", "wal_bytes", "wal_entries")


class Writer:
    """A client that sends lines, on one connection: its session, and how many lines the cluster has of it."""

    def __init__(self, node: Node[int], store: TextStore, client: bytes) -> None:
        self.client = client
        self.session = node.session(client)
        # Once it is open here, all that was proposed on another connection is applied here, or never will be.
        self.session.open(timeout=PATIENCE).result()
        self.last = store.count(self.session.id)

    def propose(self, commands: list[bytes]) -> Future[Any] | None:
        """Propose the lines that the cluster does not have, if there are any. Raises ValueError for what cannot be."""
        first, lines = self.last + 1, []
        for command in commands:
            client, number = COMMAND.unpack_from(command)
            if client != self.client or number > self.last + 1:
                raise ValueError(f"line {number} of {client!r} does not follow line {self.last} of {self.client!r}")
            if number == self.last + 1:
                lines.append(command[COMMAND.size :])
                self.last = number
        return self.session.propose(pack(first, lines), timeout=PATIENCE) if lines else None


Answers: TypeAlias = "queue.Queue[tuple[Future[Any] | None, int] | None]"


class Server:
    """Serves the clients of one node."""

    def __init__(self, node: Node[int], store: TextStore) -> None:
        self.node = node
        self.store = store
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.stopped = threading.Event()

    def accept(self) -> None:
        """Take clients for as long as the process runs; each has a thread of its own."""
        while True:
            connection = Connection(self.listener.accept()[0])
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: Connection) -> None:
        """One client: take its frames as they come, while another thread waits for outcomes."""
        waiting: Answers = queue.Queue(UNANSWERED)
        writers: list[Writer] = []
        answering = threading.Thread(target=self.answer, args=(connection, waiting), daemon=True)
        answering.start()
        try:
            while True:
                frame = connection.receive()
                assert frame is not None
                self.take(connection, waiting, writers, *frame)
        except (OSError, ValueError, struct.error, RaftError) as error:
            # The client has gone, or sends nonsense, or this node stops: a good client goes on elsewhere.
            logging.info("a client's connection ends: %s", error)
            waiting.put(None)
            answering.join()
            connection.close()

    def take(self, connection: Connection, waiting: Answers, writers: list[Writer], kind: int, body: bytes) -> None:
        """One frame."""
        if kind == COMMANDS:
            commands = unpack_commands(body)
            if not commands:
                raise ValueError("no command")
            client, last = COMMAND.unpack_from(commands[-1])
            if not writers:
                writers.append(Writer(self.node, self.store, client))
            waiting.put((writers[0].propose(commands), last))
        elif kind == STATUS:
            connection.send(STATUS, json.dumps(self.status()).encode())
        elif kind == LINES:
            connection.send(LINES, pack_lines(self.store.lines(*POSITION.unpack(body))))
        elif kind == STOP:
            self.node.close()
            connection.send(STOP, json.dumps(self.status()).encode())
            self.stopped.set()
        else:
            raise ConnectionError(f"a frame of kind {kind}")

    def answer(self, connection: Connection, waiting: Answers) -> None:
        """Send the outcome of each COMMANDS frame, in order, until a None comes."""
        while (item := waiting.get()) is not None:
            applied, term, reason = outcome(*item)
            try:
                connection.send(ANSWER, OUTCOME.pack(applied, term) + reason.encode())
            except OSError:
                continue  # nobody listens; the reader finds out and sends the None

    def status(self) -> dict[str, Any]:
        """How the node stands and what the store holds."""
        status = self.node.status()
        shown = {key: getattr(status, key) for key in SHOWN} | {key: getattr(status.disk, key) for key in SHOWN_OF_DISK}
        return shown | self.store.summary()


def outcome(future: Future[Any] | None, last: int) -> tuple[int, int, str]:
    """What became of lines up to ``last``: the last one that is applied, the term of its entry, and why not all are."""
    if future is None:
        return last, 0, ""
    try:
        done = future.result()
    except ProposalError as error:
        return 0, 0, str(error)
    return done.result, done.term, ""


def watch_parent() -> None:
    """End with standard input. Not cleanly: the log on disk does not need it, and nobody is left to wait for it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def tell(**what: Any) -> None:
    """One line of JSON for whoever started this process."""
    print(json.dumps(what), flush=True)


def found(arguments: list[str]) -> int:
    """Found a member; the exit status."""
    id, directory, *members = arguments
    try:
        FileStorage.create(
            directory,
            id=int(id),
            members=[int(member) for member in members],
            cluster=CLUSTER,
            segment_bytes=SEGMENT_BYTES,
        )
    except RaftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Found a member, or run one server until it is stopped; the exit status."""
    if arguments[:1] == ["found"]:
        return found(arguments[1:])
    threading.Thread(target=watch_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this process
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    id, directory = int(arguments[0]), arguments[1]
    urls = {int(member): url for member, url in (argument.split("=", 1) for argument in arguments[2:])}
    peers = {member: url for member, url in urls.items() if member != id}
    store = TextStore()
    node = Node(
        Config(id=id, cluster=CLUSTER),
        FileStorage(directory),
        NngTransport(urls[id], peers),
        store,
    )
    server = Server(node, store)
    try:
        node.start()
    except TransportError as error:
        tell(busy=str(error))  # somebody else has taken the port meanwhile
        return 1
    except RaftError as error:
        tell(failed=str(error))
        return 1
    threading.Thread(target=server.accept, daemon=True).start()
    from .. import COMPILED  # here: each module can be imported without the top of the package

    tell(port=server.port, compiled=COMPILED)
    node.wait()  # raises what ended it, if it was not STOP
    server.stopped.wait(5.0)  # until STOP is answered
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
