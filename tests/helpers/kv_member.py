"""A member as a program of its own that replicates a key-value store and answers requests. Not a test.

    python -m tests.helpers.kv_member DIRECTORY --id 1 --listen tcp://127.0.0.1:5601 [--settings '{...}']

A line on stdin is a request, a line on stdout an answer; both are JSON. Answers come in any order, and have the ``n``
of their request. ``{"n": 7, "do": "write", "key": "k", "value": 3, "by": "plain"}`` is answered by
``{"n": 7, "is": "done", "result": ...}``, or with ``is`` "not" or "unknown" and ``why``. ``by`` is "plain" or the name
of a session; "" is a session without a name. do: write, cas (``value``, ``new``), read (``level``, ``staleness``),
state, add (``id``, ``url``), remove (``id``), transfer (``id``). With --careless reads ask nobody: what such a member
answers must be found to be wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

SECONDS = 5.0  # for an outcome of what is repeated


class Store:
    """The state machine: values by key, as they are in JSON. 0 is what a key has at first."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def apply(self, entry: Any) -> bool:
        """Take a command; whether it changed anything."""
        key, value, *rest = json.loads(bytes(entry.data))
        if rest:
            if self.values.get(key, 0) != value:
                return False
            value = rest[0]
        self.values[key] = value
        return True

    def snapshot(self) -> bytes:
        return json.dumps(self.values).encode()

    def restore(self, reader: Any) -> None:
        self.values = json.loads(reader.read())


def read_of(key: str) -> Callable[[Store], int]:
    return lambda store: store.values.get(key, 0)


def say(answer: dict[str, Any]) -> None:
    # Without a reader there is nobody to tell. A short line is written whole.
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(answer) + "\n").encode())


class Server:
    """Answers requests."""

    def __init__(self, raftx: Any, node: Any, store: Store, careless: bool) -> None:
        self.raftx, self.node, self.store, self.careless = raftx, node, store, careless
        self.sessions: dict[str, Any] = {}

    def ask(self, request: dict[str, Any]) -> Any:
        """The future of a request."""
        do, node = request["do"], self.node
        if do == "read":
            level = request["level"]
            more = {"max_staleness": request["staleness"]} if level == "stale" else {}
            return node.query(read_of(request["key"]), level=level, **more)
        if do == "add":
            return node.add_voter(request["id"], request["url"], timeout=SECONDS)
        if do == "remove":
            return node.remove(request["id"], timeout=SECONDS)
        if do == "transfer":
            return node.transfer_leadership(request["id"])
        command = [request["key"], request["value"]]
        if do == "cas":
            command.append(request["new"])
        data, by = json.dumps(command).encode(), request["by"]
        if by == "plain":
            return node.propose(data)
        if by not in self.sessions:
            self.sessions[by] = node.session(by or None)
        return self.sessions[by].propose(data, timeout=SECONDS)

    def serve(self, line: str) -> None:
        request = json.loads(line)
        number = request["n"]
        if request["do"] == "state":
            status = self.node.status().to_dict()
            picked = ("state", "leader", "term", "applied", "commit")
            say({"n": number, "is": "done", "result": {name: status[name] for name in picked}})
            return
        if request["do"] == "read" and self.careless:
            say({"n": number, "is": "done", "result": read_of(request["key"])(self.store)})
            return
        try:
            future = self.ask(request)
        except self.raftx.UsageError as error:
            if request["do"] != "transfer":  # to somebody who is no voter here
                raise
            say({"n": number, "is": "not", "why": str(error)})
            return
        except self.raftx.Stopped as error:
            say({"n": number, "is": "not", "why": str(error)})
            return
        future.add_done_callback(lambda ended: self.answer(request, ended))

    def answer(self, request: dict[str, Any], ended: Any) -> None:
        number, error = request["n"], ended.exception(0)
        if error is None:
            result = ended.result(0)
            if request["do"] in ("write", "cas"):
                result = result.result
            say({"n": number, "is": "done", "result": result if isinstance(result, int) else None})
            return
        if isinstance(error, self.raftx.SessionEnded):
            # Another one takes its place, under the same name.
            self.sessions.pop(request.get("by", ""), None)
        kind = "not" if isinstance(error, self.raftx.NotDone) else "unknown"
        say({"n": number, "is": kind, "why": f"{type(error).__name__}: {error}"})

    def watch(self) -> None:
        """The end of a node is the end of the program."""
        try:
            self.node.wait()
        except BaseException as error:
            say({"n": 0, "is": "ended", "why": f"{type(error).__name__}: {error}"})
            os._exit(0 if isinstance(error, self.raftx.Removed) else 3)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--id", type=int, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--settings", default="{}")
    parser.add_argument("--careless", action="store_true")
    options = parser.parse_args()
    import raftx

    logging.basicConfig(level=logging.ERROR)
    config = raftx.Config(id=options.id, **json.loads(options.settings))
    storage, store = raftx.FileStorage(options.directory), Store()
    node = raftx.Node(config, storage, raftx.NngTransport(options.listen), store)
    try:
        node.start()
    except Exception as error:
        say({"n": 0, "is": "ended", "why": f"{type(error).__name__}: {error}"})
        return 3
    server = Server(raftx, node, store, options.careless)
    threading.Thread(target=server.watch, daemon=True).start()
    say({"n": 0, "is": "begun"})
    for line in sys.stdin:
        server.serve(line)
    with contextlib.suppress(Exception):
        node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
