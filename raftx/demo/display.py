"""What the demo shows while it runs: a picture redrawn in place on a terminal, a plain line now and then elsewhere.

Knows numbers and words, nothing of nodes or processes. Needs no package: a few ANSI codes do it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

TERMINAL_S = 0.1  # between two pictures
PLAIN_S = 1.0  # between two lines
RATE_S = 2.0  # the rate shown is that of so many seconds
BAR = 30
UP, ERASE_LINE, ERASE_BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"


class Display:
    """Shows how far the text has come and how each node stands. For one thread."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self.stream = stream
        self.total = total
        self.terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self.drawn = 0  # lines of the picture on the screen
        self.last = ""
        self.next = 0.0
        self.started = time.monotonic()
        self.points: deque[tuple[float, int]] = deque([(self.started, 0)])

    def event(self, text: str) -> None:
        """A line that stays, above the picture."""
        self._write(f"{self._back()}{time.monotonic() - self.started:6.2f} s  {text}\n")
        self.drawn = 0
        self.next = 0.0 if self.terminal else time.monotonic() + PLAIN_S

    def update(self, done: int, nodes: Mapping[int, Mapping[str, Any]]) -> None:
        """Show the lines ``done`` and the nodes' latest status, if it is time to. Call it as often as you like."""
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (TERMINAL_S if self.terminal else PLAIN_S)
        self.points.append((now, done))
        while len(self.points) > 2 and self.points[0][0] < now - RATE_S:
            self.points.popleft()
        then, before = self.points[0]
        rate = (done - before) / (now - then) if now > then else 0.0
        if not self.terminal:
            states = "; ".join(plain_node(id, status) for id, status in nodes.items())
            line = f"{done:,} of {self.total:,} lines, {rate:,.0f} lines/s; {states}\n"
            if line != self.last:
                self._write(line)
            self.last = line
            return
        full = BAR if done >= self.total else BAR * done // self.total
        seconds = int(now - self.started)
        bar = "#" * full + "." * (BAR - full)
        clock = f"{seconds // 60}:{seconds % 60:02}"
        picture = [f"[{bar}] {done:,} of {self.total:,} lines  {rate:,.0f} lines/s  {clock}"]
        picture += [node_row(id, status) for id, status in nodes.items()]
        # A line that wraps would not be erased by going up one.
        width = shutil.get_terminal_size().columns - 1
        self._write(self._back() + "".join(line[:width] + ERASE_LINE + "\n" for line in picture))
        self.drawn = len(picture)

    def close(self) -> None:
        """Take the picture away; what comes next is a table."""
        self._write(self._back())
        self.drawn = 0

    def _back(self) -> str:
        return UP.format(self.drawn) + "\r" + ERASE_BELOW if self.drawn else ""

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def node_row(id: int, status: Mapping[str, Any]) -> str:
    """A node's row of the picture; a star marks the leader."""
    if "term" not in status:
        return f"  node {id}  {status['state']}"
    mark = "*" if status["role"] == "leader" else " "
    return (
        f"{mark} node {id}  {status['role']:<13} term {status['term']:<4} "
        f"commit {status['commit']:>10,}  applied {status['applied']:>10,}"
    )


def plain_node(id: int, status: Mapping[str, Any]) -> str:
    """The same in few words."""
    if "term" not in status:
        return f"{id}: {status['state']}"
    mark = "*" if status["role"] == "leader" else ""
    return f"{id}{mark}: term {status['term']} commit {status['commit']:,} applied {status['applied']:,}"


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns, the second set flush right unless it is longer than a number is."""
    left = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{left}}  {value:>14}" for name, value in rows)
