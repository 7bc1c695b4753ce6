"""What the replicated text's parent shows: the nodes' statuses as they come, a live picture, a table."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .text_client import Connection, Sender

POLL_S = 0.05
DRAW_S = 0.1
LINE_S = 2.0  # without a terminal: a line of progress every so often
BAR = 30


class Watcher:
    """Asks every node for its status, on a thread of its own; remembers the newest of each life."""

    def __init__(self, ports: Callable[[], dict[int, int]]) -> None:
        self.ports = ports
        self.lock = threading.Lock()
        self.present: dict[int, dict[str, Any]] = {}
        self.lives: dict[tuple[int, int], dict[str, Any]] = {}
        self.stopping = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self.thread is not None:
            self.thread.join(5)

    def _run(self) -> None:
        connections: dict[int, tuple[int, Connection]] = {}
        while not self.stopping.wait(POLL_S):
            for id, port in self.ports().items():
                try:
                    known, connection = connections.get(id, (0, None))
                    if connection is None or known != port:
                        connection = Connection.open(port, 0.5)
                        connections[id] = (port, connection)
                    self.take(id, connection.status(0.5))
                except (OSError, ValueError):
                    with contextlib.suppress(KeyError):
                        connections.pop(id)[1].close()
                    self.forget(id)
        for _, connection in connections.values():
            connection.close()

    def take(self, id: int, status: dict[str, Any]) -> None:
        """A status has come."""
        with self.lock:
            self.present[id] = status
            self.lives[id, status["incarnation"]] = status

    def forget(self, id: int) -> None:
        """The node does not run any more, or does not answer."""
        with self.lock:
            self.present.pop(id, None)

    def statuses(self) -> dict[int, dict[str, Any]]:
        """The newest status of each node that answers."""
        with self.lock:
            return dict(self.present)

    def leader(self) -> int:
        """Id of the node that leads in the highest term known, 0 for none."""
        leaders = [(s["term"], id) for id, s in self.statuses().items() if s["role"] == "leader"]
        return max(leaders)[1] if leaders and max(leaders)[0] == self.term() else 0

    def term(self) -> int:
        """The highest term known."""
        return max([s["term"] for s in self.statuses().values()], default=0)

    def totals(self) -> dict[str, int]:
        """Sums over all lives of all nodes, as each of them reported last."""
        with self.lock:
            lives = list(self.lives.values())
        return {name: sum(life[name] for life in lives) for name in ("syncs", "wal_bytes", "wal_entries")}


class Display:
    """Progress. In a terminal it is drawn in place; elsewhere it is a line now and then."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.live = sys.stdout.isatty()
        self.drawn = 0
        self.next = 0.0
        self.rate_from = (time.monotonic(), 0)
        self.rate = 0.0

    def update(self, sender: Sender, watcher: Watcher) -> None:
        """Draw, if it is time to."""
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (DRAW_S if self.live else LINE_S)
        since, count = self.rate_from
        if now - since >= 0.5:
            self.rate = (sender.acknowledged - count) / (now - since)
            self.rate_from = (now, sender.acknowledged)
        share = sender.acknowledged / self.lines if self.lines else 1.0
        filled = round(share * BAR)
        bar = "#" * filled + "." * (BAR - filled)
        head = f"{share:4.0%} [{bar}] {sender.acknowledged:,} of {self.lines:,} lines, {self.rate:,.0f}/s"
        statuses = watcher.statuses()
        nodes = []
        for id in sorted({1, 2, 3} | set(statuses)):
            s = statuses.get(id)
            if s is None:
                nodes.append(f"  node {id}  down")
            else:
                nodes.append(
                    f"  node {id}  {s['role']:<13} term {s['term']:<4} commit {s['commit']:<10,} applied {s['applied']:,}"
                )
        if not self.live:
            print(head + ";" + ";".join([" ".join(node.split()) for node in nodes]), flush=True)
            return
        self._erase()
        width = shutil.get_terminal_size().columns - 1
        for line in [head, *nodes]:
            print(line[:width])
        self.drawn = 1 + len(nodes)
        sys.stdout.flush()

    def event(self, what: str) -> None:
        """Something happened that is worth a line that stays."""
        self._erase()
        print(what, flush=True)

    def end(self) -> None:
        """Leave the terminal as it was."""
        self._erase()
        sys.stdout.flush()

    def _erase(self) -> None:
        if self.drawn:
            sys.stdout.write(f"\x1b[{self.drawn}F\x1b[J")
            self.drawn = 0


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = []
    for name, value in report.items():
        if name == "digests":
            rows += [(f"digest of node {id}", digest) for id, digest in value.items()]
        elif isinstance(value, bool) or value is None or isinstance(value, str):
            rows.append((name.replace("_", " "), {True: "yes", False: "no", None: "-"}.get(value, value)))
        else:
            rows.append((name.replace("_", " "), f"{value:,}"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{name:<{width}}  {value}" for name, value in rows])
