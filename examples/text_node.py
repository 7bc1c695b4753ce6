"""One node of a replicated text, as a process of its own: python -m examples.text_node --help

It is a raftx.Node with its state machine, and a small TCP server for clients (see text_client.py). It
tells its parent the port on standard output, and ends when its standard input ends: a parent that dies
leaves no node behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import socket
import struct
import sys
import threading
from typing import Any

import raftx

from .text_client import (
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
from .text_store import COMMAND, TextStore

TIMEOUT_S = 30.0


def outcome(future: raftx.Future, expected: int) -> bytes:
    """Wait for a batch; the body of its answer. ``expected`` is the sequence number of its last command."""
    try:
        done = future.result(TIMEOUT_S)
    except (raftx.RaftError, TimeoutError) as error:
        # Not done or unknown: the client sends it again, and the store knows what it has.
        return OUTCOME.pack(0, 0) + str(error).encode()
    last = done[-1].result
    answer: bytes = OUTCOME.pack(last, done[-1].term)
    return answer if last >= expected else answer + b"a command before this one is missing"


class Server:
    """Serves clients of one node, two threads a connection: one reads, one answers in order."""

    def __init__(self, node: raftx.Node, store: TextStore) -> None:
        self.node = node
        self.store = store
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.stop = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:  # the listener was closed
                return
            threading.Thread(target=self._serve, args=(Connection(sock),), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        """Read the frames of one client."""
        waiting: queue.SimpleQueue[tuple[raftx.Future, int] | tuple[int, bytes] | None] = queue.SimpleQueue()
        threading.Thread(target=self._answer, args=(connection, waiting), daemon=True).start()
        with contextlib.suppress(OSError, ValueError, struct.error, raftx.RaftError):
            while True:
                frame = connection.receive()
                assert frame is not None
                kind, body = frame
                if kind == COMMANDS:
                    commands = unpack_commands(body)
                    _, expected = COMMAND.unpack_from(commands[-1])
                    waiting.put((self.node.propose_many(commands), expected))
                elif kind == STATUS:
                    waiting.put((STATUS, json.dumps(self.status()).encode()))
                elif kind == LINES:
                    waiting.put((LINES, pack_lines(self.store.lines(POSITION.unpack(body)[0]))))
                elif kind == STOP:
                    self.node.close()
                    connection.send(STOP, json.dumps(self.status()).encode())
                    self.stop.set()
                    break
                else:
                    break
        waiting.put(None)

    def _answer(self, connection: Connection, waiting: queue.SimpleQueue[Any]) -> None:
        """Send the answers of one client, in the order of its requests."""
        with contextlib.suppress(OSError):
            while (item := waiting.get()) is not None:
                first, second = item
                if isinstance(first, int):
                    connection.send(first, second)
                else:
                    connection.send(ANSWER, outcome(first, second))
        if not self.stop.is_set():
            connection.close()

    def status(self) -> dict[str, Any]:
        """What the parent shows: the node's status and the store's summary."""
        status = self.node.status()
        names = ("id", "state", "incarnation", "term", "leader", "role", "commit", "applied")
        numbers = ("syncs", "wal_bytes", "wal_entries")
        return {name: status[name] for name in names + numbers} | self.store.summary()


def main() -> int:
    """Run until told to stop, or until the parent is gone."""
    parser = argparse.ArgumentParser(description="One node of a replicated text.")
    parser.add_argument("id", type=int)
    parser.add_argument("directory")
    parser.add_argument("urls", nargs="+", help="ID=tcp://ADDRESS:PORT of every node, this one included")
    arguments = parser.parse_args()
    urls = {int(id): url for id, url in (item.split("=", 1) for item in arguments.urls)}
    store = TextStore()
    node = raftx.Node(
        raftx.Config(id=arguments.id, cluster=b"replicated-text!"),
        raftx.FileStorage(arguments.directory, voters=sorted(urls)),
        raftx.NngTransport(urls[arguments.id], {id: url for id, url in urls.items() if id != arguments.id}),
        state_machine=store,
    )
    try:
        node.start()
    except raftx.RaftError as error:
        print(f"node {arguments.id}: {error}", file=sys.stderr)
        return 3
    server = Server(node, store)
    print(json.dumps({"port": server.port, "compiled": raftx.COMPILED}), flush=True)

    def until_the_parent_is_gone() -> None:
        sys.stdin.buffer.read()
        server.stop.set()

    threading.Thread(target=until_the_parent_is_gone, daemon=True).start()
    while not server.stop.wait(0.2):
        if node.failure is not None:
            print(f"node {arguments.id}: {node.failure}", file=sys.stderr)
            return 4
    node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
