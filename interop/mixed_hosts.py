"""Where the members of a mixed cluster live: in this process, or behind a harness in a process of its own.

A host takes the steps of protocol.md for its member and hands out what the member sent. Messages between two copies of
raftx stay in their frames; the neutral form is made where a message goes to, or comes from, another harness.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from .cluster_member import Packet
from .oracle import Oracle, OracleDied
from .outside import Hosted, Json, Neutral

_PROP = 2


@dataclass(slots=True)
class Flight:
    """A message on its way, in one form or in the other."""

    sender: int
    to: int
    kind: int
    term: int
    packet: Packet | None = None
    neutral: Neutral | None = None  # translates the packet
    value: Json | None = None
    held: bool = False

    def json(self) -> Json:
        """Its neutral form."""
        if self.value is None:
            assert self.neutral is not None
            assert self.packet is not None
            self.value = self.neutral.unpack(self.packet)
        return self.value

    def copy(self) -> Flight:
        """The same message once more."""
        return Flight(self.sender, self.to, self.kind, self.term, self.packet, self.neutral, self.value)

    def changes(self) -> bool:
        """Whether it proposes a membership change."""
        return self.kind == _PROP and any([entry.get("kind") for entry in self.json().get("entries", ())])


class Host(Protocol):
    """One member's home."""

    #: what its member sent in the last step
    left: list[Flight]
    #: why the library gave up
    reason: str

    def step(self, step: list[Any]) -> str:
        """Take a step of protocol.md and return its answer."""

    def give(self, flight: Flight) -> str:
        """Step a message into the member."""

    def end(self) -> None:
        """The scenario is over."""


class Local:
    """A copy of raftx in this process."""

    def __init__(self, head: Json, package: ModuleType) -> None:
        self.hosted = Hosted(head, package)
        self.left: list[Flight] = []
        self.reason = ""

    def step(self, step: list[Any]) -> str:
        return self._after(self.hosted.step(step))

    def give(self, flight: Flight) -> str:
        packet = flight.packet or self.hosted.neutral.pack(flight.sender, flight.json())
        return self._after(self.hosted.give(packet))

    def _after(self, answer: str) -> str:
        neutral = self.hosted.neutral
        self.left = [Flight(p.sender, p.to, p.kind, p.term, p, neutral) for p in self.hosted.left]
        if self.hosted.cluster.over:
            self.reason = repr(self.hosted.error)
        return answer

    def end(self) -> None:
        pass


class Session(Oracle):
    """A harness in a process of its own that answers every step at once."""

    def __init__(self, command: Sequence[str]) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f"there is no harness {command[0]}")
        super().__init__(command)

    def write(self, line: str) -> None:
        """Give it one line. Raises OracleDied."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error


class Remote:
    """A member behind an interactive session; the process is shared by scenarios that follow each other."""

    _encode = json.JSONEncoder(separators=(",", ":")).encode

    def __init__(self, head: Json, session: Session) -> None:
        (self.id,) = head["hosted"]
        self.session = session
        self.left: list[Flight] = []
        self.reason = ""
        session.write(self._encode(head))

    def step(self, step: list[Any]) -> str:
        self.session.write(self._encode(step))
        answer, left, *reason = json.loads(self.session.receive())
        self.left = [Flight(self.id, m["to"], m["type"], m.get("term", 0), value=m) for m in left]
        if reason:
            (self.reason,) = reason
        text: str = answer
        return text

    def give(self, flight: Flight) -> str:
        return self.step(["give", flight.sender, flight.json()])

    def end(self) -> None:
        with contextlib.suppress(OracleDied):  # who died has ended
            self.session.write('["end"]')
