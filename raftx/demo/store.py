"""A replicated text: the state machine, the commands it takes, and the check of what it holds.

A command has several lines of a text. The store keeps the lines in order and a running SHA-256 over,
for each line, its length as 8 bytes big-endian and then its bytes without the newline that ends it.

A client whose command has an unknown outcome (the node it asked was killed) can only send it again.
Its commands are proposed through a session with its name: so each is applied once, and in order. The
store says how many lines a client has, for one that comes back.

Nothing here knows of nodes, sockets or processes.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sysconfig
import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

COMMAND = struct.Struct(">8sQ")  # what a client sends: its id, and the number of the line, which follows
FIRST = struct.Struct(">Q")  # what is proposed: the number of the first line; lines follow, each behind its length
SIZE = struct.Struct(">I")
OVERHEAD = FIRST.size + SIZE.size + 48  # around a line, with the header of a session
LENGTH = struct.Struct(">Q")
DEFAULT_LINES = 200_000


class Committed(Protocol):
    """What the store needs of a raftx.Entry."""

    @property
    def index(self) -> int: ...

    @property
    def data(self) -> bytes: ...

    @property
    def session(self) -> bytes | None: ...


class Text:
    """Lines of one buffer, numbered from 1: ``text[1]`` is the first. A line ends at ``\\n`` and nowhere else."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.ends = array("q", [-1])  # where line n ends; 8 bytes a line instead of an object
        at = data.find(b"\n")
        while at >= 0:
            self.ends.append(at)
            at = data.find(b"\n", at + 1)
        if data and not data.endswith(b"\n"):
            self.ends.append(len(data))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self.data[self.ends[number - 1] + 1 : self.ends[number]]

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(1, len(self) + 1))

    def size(self, first: int, last: int) -> int:
        """Bytes of the lines ``first`` to ``last``, with their newlines."""
        return self.ends[last] - self.ends[first - 1]

    def longer_than(self, limit: int) -> int:
        """The number of the first line of more than ``limit`` bytes, or 0."""
        return next((number for number in range(1, len(self) + 1) if self.size(number, number) - 1 > limit), 0)

    def digest(self) -> str:
        """What the store's digest must be when it holds exactly these lines."""
        running = hashlib.sha256()
        for line in self:
            running.update(LENGTH.pack(len(line)) + line)
        return running.hexdigest()


def standard_library(at_least: int = DEFAULT_LINES) -> Text:
    """Source files of the running Python's standard library, whole and sorted, until there are enough lines."""
    root = Path(sysconfig.get_paths()["stdlib"])
    pieces: list[bytes] = []
    lines = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(files):
            if name.endswith(".py") and lines < at_least:
                piece = Path(folder, name).read_bytes()
                pieces.append(piece if piece.endswith(b"\n") or not piece else piece + b"\n")
                lines += pieces[-1].count(b"\n")
    return Text(b"".join(pieces))


def pack(first: int, lines: list[bytes]) -> bytes:
    """A command with these lines."""
    return FIRST.pack(first) + b"".join([SIZE.pack(len(line)) + line for line in lines])


def unpack(command: bytes) -> tuple[int, list[bytes]]:
    """The number of the first line, and the lines."""
    (first,) = FIRST.unpack_from(command)
    lines = []
    at = FIRST.size
    while at < len(command):
        (size,) = SIZE.unpack_from(command, at)
        at += SIZE.size + size
        lines.append(command[at - size : at])
    return first, lines


class TextStore:
    """The state machine. ``apply`` runs on the node's apply thread; everything else may be asked from any thread."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.ends = array("Q", [0])
        self.sequences = array("Q")  # of each line held, for the check at the end
        self.running = hashlib.sha256()
        self.counts: dict[bytes, int] = {}  # session of a client to the number of its last line
        self.index = 0  # of the entry applied last
        self.misplaced = 0  # entries that came twice or out of order, which is the node's fault and no client's
        self.lock = threading.Lock()

    def apply(self, entry: Committed) -> int:
        """Take the lines of one command; the number of the last one.

        Depends on nothing but the entries, and raises nothing: every other node would end alike.
        """
        with self.lock:
            if entry.index <= self.index:
                self.misplaced += 1
            self.index = entry.index
            if entry.session is None:
                return 0
            number, lines = unpack(entry.data)
            for line in lines:
                self.running.update(LENGTH.pack(len(line)) + line)
                self.text += line
                self.ends.append(len(self.text))
                self.sequences.append(number)
                number += 1
            self.counts[entry.session] = number - 1
            return number - 1

    def count(self, session: bytes) -> int:
        """How many lines a client has."""
        with self.lock:
            return self.counts.get(session, 0)

    def summary(self) -> dict[str, str | int]:
        """Count and digest, of one moment."""
        with self.lock:
            return {
                "count": len(self.sequences),
                "digest": self.running.hexdigest(),
                "misplaced": self.misplaced,
            }

    def lines(self, start: int, max_bytes: int = 1 << 20) -> list[tuple[int, bytes]]:
        """(sequence number, line) from position ``start``, 0 the first; at least one if there is one."""
        found: list[tuple[int, bytes]] = []
        size = 0
        with self.lock:
            for at in range(start, len(self.sequences)):
                line = bytes(self.text[self.ends[at] : self.ends[at + 1]])
                size += len(line) + 12
                if found and size > max_bytes:
                    break
                found.append((self.sequences[at], line))
        return found


@dataclass
class Findings:
    """What is wrong with the lines of one node; ``problem`` names the first, "" when there is none."""

    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    problem: str = ""

    def found(self, problem: str) -> None:
        self.problem = self.problem or problem


def check(text: Text, acknowledged: int, held: Iterable[tuple[int, bytes]]) -> Findings:
    """Compare what a node holds, in its order, with the text; lines 1 to ``acknowledged`` must be there.

    Lost is an acknowledged line that is missing or not what was sent.
    """
    findings = Findings()
    good = bytearray(len(text) + 1)
    seen = bytearray(len(text) + 1)
    highest = 0
    for position, (sequence, line) in enumerate(held, 1):
        where = f"at position {position:,}"
        if not 1 <= sequence <= len(text):
            findings.out_of_order += 1
            findings.found(f"{where}: line {sequence:,}, which was never sent")
            continue
        if seen[sequence]:
            findings.duplicated += 1
            findings.found(f"{where}: line {sequence:,} for the second time")
        elif sequence < highest:
            findings.out_of_order += 1
            findings.found(f"{where}: line {sequence:,} after line {highest:,}")
        elif sequence > highest + 1:
            findings.found(f"{where}: line {sequence:,} where line {highest + 1:,} belongs")
        if line == text[sequence]:
            good[sequence] = 1
        else:
            findings.found(f"{where}: line {sequence:,} is {line[:40]!r}, sent was {text[sequence][:40]!r}")
        seen[sequence] = 1
        highest = max(highest, sequence)
    findings.lost = good.count(0, 1, acknowledged + 1)
    if findings.lost:
        first = good.index(0, 1)
        findings.found(f"line {first:,} was acknowledged and is missing or altered")
    if highest < len(text):
        findings.found(f"line {highest + 1:,} and what follows is missing")
    return findings
