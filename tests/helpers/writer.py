"""A member as a program of its own, to be killed: it proposes without pause and says on stdout what became of what.

    python -m tests.helpers.writer DIRECTORY [--id 1 --urls '{"1": "tcp://..."}'] ...

Lines on stdout: ``begun LIFE INDEX``, ``done VALUE INDEX``, ``not VALUE``, ``unknown VALUE``, ``paused``,
``state JSON``, ``failed TEXT``, ``changed WORD ...``. Lines on stdin: ``go``, ``pause``, ``state``, ``snapshot``,
``stop``, ``add ID URL`` and ``remove ID``, whose answer is ``changed``, with done, not or unknown. Not a test;
``Kept`` is also what others look at its directory with.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import logging
import os
import sys
import threading
import zlib

KEPT = 20_000  # of the newest commands


def filled(value: bytes, size: int) -> bytes:
    """A command: its value, and bytes that follow from it."""
    return value + b" " + (b"%08x" % zlib.crc32(value)) * (size // 8)


class Kept:
    """The newest commands, by index, each with a checksum over all up to it. Refuses a command that is not whole."""

    def __init__(self) -> None:
        self.items: collections.deque[tuple[int, str, int]] = collections.deque(maxlen=KEPT)
        self.chain = self.count = 0
        #: others ask for the state while entries are applied: it must not be one between two entries
        self.lock = threading.Lock()

    def apply(self, entry) -> int:
        data = bytes(entry.data)
        value, _, rest = data.partition(b" ")
        if rest != (b"%08x" % zlib.crc32(value)) * (len(rest) // 8):
            raise AssertionError(f"entry {entry.index} is not what was proposed: {data[:60]!r}")
        with self.lock:
            self.chain = zlib.crc32(b"%d %s" % (entry.index, value), self.chain)
            self.count += 1
            self.items.append((entry.index, value.decode(), self.chain))
            return self.count

    def state(self) -> dict:
        with self.lock:
            return {"count": self.count, "chain": self.chain, "items": list(self.items)}

    def snapshot(self) -> bytes:
        return json.dumps(self.state()).encode()

    def restore(self, reader) -> None:
        state = json.loads(reader.read())
        with self.lock:
            self.count, self.chain = state["count"], state["chain"]
            self.items = collections.deque([tuple(item) for item in state["items"]], maxlen=KEPT)


class Judge:
    """What was said over all lives, held against what state machines have. Raises AssertionError."""

    def __init__(self) -> None:
        #: value to index of what was acknowledged since the last look, and what was said not to be done
        self.done: dict[str, int] = {}
        self.refused: set[str] = set()
        #: index and checksum that every later state has to go on from
        self.known = (0, 0)
        self.counts: collections.Counter[str] = collections.Counter()

    def heard(self, line: str) -> None:
        """A line of a member."""
        kind, *words = line.split(" ")
        self.counts[kind] += 1
        if kind == "done":
            self.done[words[0]] = int(words[1])
        elif kind == "not":
            self.refused.add(words[0])

    def judge(self, states: list[dict]) -> None:
        """The states of all members, which have all applied what is committed; of one, or of several."""
        for state in states:
            items = state["items"]
            by_index = {index: (value, chain) for index, value, chain in items}
            at, chain = self.known
            assert not at or by_index.get(at, (0, None))[1] == chain, f"entry {at} or one before it is another one"
            assert len({value for _, value, _ in items}) == len(items), "a command was applied twice"
            for value, index in self.done.items():
                found = by_index.get(index, (None, 0))[0]
                assert found == value, f"{value} was acknowledged at {index}, where there is {found}"
            assert not self.refused & {value for _, value, _ in items}, "what was not done was applied"
            assert state["chain"] == states[0]["chain"], "members do not agree"
        self.counts["checked"] += len(self.done)
        self.done.clear()
        items = states[0]["items"]
        if items:
            self.known = items[-1][0], items[-1][2]


class Writer:
    """Proposes, and answers commands."""

    def __init__(self, node, machine, options) -> None:
        self.node, self.machine, self.options = node, machine, options
        self.going, self.idle = threading.Event(), threading.Event()
        self.stopping = False
        self.life = node.status().incarnation
        if options.go:
            self.going.set()

    def say(self, *words) -> None:
        with contextlib.suppress(OSError):
            os.write(1, (" ".join(map(str, words)) + "\n").encode())

    def flood(self) -> None:
        import raftx

        count = 0
        window: collections.deque = collections.deque()
        while not self.stopping:
            if not self.going.is_set() and not window:
                self.idle.set()
                self.going.wait(0.1)
                continue
            self.idle.clear()
            while self.going.is_set() and len(window) < self.options.width:
                count += 1
                value = f"{self.node.id}/{self.life}/{count}"
                size = 8 * (zlib.crc32(value.encode()) % (self.options.size // 8 + 1))
                try:
                    window.append((value, self.node.propose(filled(value.encode(), size))))
                except raftx.Stopped:
                    return
            value, future = window.popleft()
            if self.options.rest:
                threading.Event().wait(self.options.rest / 1000)
            try:
                self.say("done", value, future.result(60).index)
            except raftx.NotDone:
                self.say("not", value)
                threading.Event().wait(0.005)
            except raftx.Unknown:
                self.say("unknown", value)
            except raftx.Stopped:
                return

    def change(self, what: str, id: str, url: str = "") -> None:
        """Ask for a change of membership, and say what has come of it."""
        import raftx

        try:
            if what == "add":
                self.node.add_voter(int(id), url, timeout=40).result()
            else:
                self.node.remove(int(id), timeout=40).result()
            self.say("changed", "done", what, id)
        except raftx.NotDone as error:
            self.say("changed", "not", what, id, error)
        except (raftx.Unknown, raftx.Stopped) as error:
            self.say("changed", "unknown", what, id, error)

    def watch(self) -> None:
        """A node that fails ends the program at once."""
        try:
            self.node.wait()
        except BaseException as error:
            self.say("failed", f"{type(error).__name__}: {error}")
            os._exit(3)

    def serve(self) -> None:
        """Commands until the end."""
        for line in sys.stdin:
            command = line.strip()
            if command == "go":
                self.going.set()
            elif command == "pause":
                self.going.clear()
                self.idle.clear()
                self.idle.wait(60)
                self.say("paused")
            elif command == "state":
                status = self.node.status()
                about = {"leader": status.leader, "applied": status.applied, "snapshot": status.to_dict()["snapshot"]}
                self.say("state", json.dumps({**self.machine.state(), **about}))
            elif command.startswith(("add ", "remove ")):
                threading.Thread(target=self.change, args=command.split(" "), daemon=True).start()
            elif command == "snapshot":
                self.node.snapshot()
            elif command == "stop":
                break
        self.stopping = True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--id", type=int, default=1)
    parser.add_argument("--urls", default="")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--go", action="store_true")
    parser.add_argument("--rest", type=float, default=0, help="milliseconds before each proposal")
    parser.add_argument("--settings", default="{}")
    parser.add_argument("--transport", default="nng")
    options = parser.parse_args()
    import raftx

    logging.basicConfig(level=logging.WARNING)
    machine = Kept()
    urls = json.loads(options.urls or "null")
    node = make_node(raftx, options.directory, machine, options.id, urls, options.settings, options.transport)
    try:
        node.start()
    except Exception as error:
        os.write(1, f"failed {type(error).__name__}: {error}\n".encode())
        return 3
    writer = Writer(node, machine, options)
    writer.say("begun", writer.life, node.applied_index)
    for body in (writer.flood, writer.watch):
        threading.Thread(target=body, daemon=True).start()
    try:
        writer.serve()
    finally:
        writer.stopping = True
        with contextlib.suppress(Exception):
            node.close()
    return 0


def make_node(
    raftx, directory: str, machine: Kept, id: int = 1, urls=None, settings: str = "{}", transport: str = "nng"
):
    """A member of a cluster that replicates ``Kept``; alone without ``urls``. Not started."""
    urls = {int(each): url for each, url in (urls or {}).items()}
    common = {"tick_ms": 10, "election_ticks": 10 if len(urls) < 2 else 20, "snapshot_entries": 200, "keep_entries": 20}
    config = raftx.Config(id=id, **{**common, **json.loads(settings)})
    if urls:
        made = raftx.TcpTransport if transport == "tcp" else raftx.NngTransport
        link = made(urls[id], peers=urls, insecure="127.0.0.1" not in urls[id])
    else:
        link = raftx.MemoryNetwork().transport()
    return raftx.Node(config, raftx.FileStorage(directory), link, machine)


if __name__ == "__main__":
    sys.exit(main())
