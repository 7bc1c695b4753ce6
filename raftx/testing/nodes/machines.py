"""State machines under schedules: what is asked of one, which one is run by default, and what each was given.

A state machine is right if the same entries in the same order bring it to the same state with the same results, on
every member and in every life. Nothing here knows Raft.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ApplyError, UsageError
from ..invariants import Violation

if TYPE_CHECKING:
    from ..._native.memory import Entry

NO_RESULT = object()
COMMAND_MAX = 1 << 12  # bytes of a command


class WrongApplication(UsageError):
    """What was given as an application is none that a schedule can run: not a fault that the schedule has found."""


class StateMachine(Protocol):
    """What schedules can judge: an object that a node takes as its state machine.

    Each life of a node has a new one, which is given the log from its beginning, or from a snapshot on: it may have
    ``snapshot``, ``restore`` and ``version`` as any state machine. What ``apply`` returns is compared
    with ``==`` with what every other one returned for that entry. If there is a method ``digest()``, it is asked after
    rounds in which something was applied; its value tells the state, and is compared likewise. What ``apply`` raises
    ends the schedule.

    All members of a schedule live in one process. What is the same all over a process and differs between two is not
    seen: the order of a set of str or bytes, ``hash``, the environment, versions of libraries.
    """

    def apply(self, entry: Entry, /) -> Any:
        """Take one committed entry and return its result. See ``raftx.StateMachine``."""


def numbered(rng: random.Random, tag: bytes, size: int) -> bytes:
    """A command that is its tag, and bytes that mean nothing."""
    return tag.ljust(size, b"-")


class Counting:
    """The state machine that is run unless told otherwise: the result is how many entries there have been."""

    def __init__(self) -> None:
        self.count = self.sum = 0

    def apply(self, entry: Entry) -> int:
        """Take an entry."""
        self.count += 1
        self.sum = zlib.crc32(entry.data, self.sum)
        return self.count

    def digest(self) -> tuple[int, int]:
        """How many there were, and which."""
        return self.count, self.sum

    def snapshot(self) -> list[bytes]:
        """The same in pieces, with something behind it that fills a few chunks."""
        return [b"%d %d" % self.digest(), b" ", *[b"-" * 1000] * (self.count % 17)]

    def restore(self, reader: Any) -> None:
        """The other way."""
        count, sum, *_ = reader.read().split()
        self.count, self.sum = int(count), int(sum)


@dataclass(frozen=True)
class Application:
    """What nodes are to replicate in schedules."""

    #: makes the state machine of a node's next life
    machine: Callable[[], StateMachine] = Counting
    #: makes a command of a random source, a tag and a size in bytes, which it should have about (10 to 1,500; it may
    #: have 4,096 at most). It holds the tag: no two commands of a schedule are equal
    command: Callable[[random.Random, bytes, int], bytes] = numbered

    def __post_init__(self) -> None:
        for name in ("machine", "command"):
            if not callable(getattr(self, name)):
                raise WrongApplication(f"{name} must be a function or a class, not {getattr(self, name)!r}")

    def new_machine(self) -> StateMachine:
        """A state machine for the next life. Raises WrongApplication when none comes."""
        try:
            made = self.machine()
        except Exception as error:
            raise WrongApplication(f"machine() must make a state machine, and raised {error!r}") from error
        if isinstance(made, type) or not callable(getattr(made, "apply", None)):
            raise WrongApplication(f"machine() must make an object with a method apply(entry), not {made!r}")
        digest = getattr(made, "digest", None)
        if digest is not None and not callable(digest):
            raise WrongApplication(f"digest of what machine() makes must be a method, not {digest!r}")
        return made

    def new_command(self, rng: random.Random, tag: bytes, size: int) -> bytes:
        """A command. Raises WrongApplication for what cannot be one."""
        try:
            made = self.command(rng, tag, size)
        except Exception as error:
            raise WrongApplication(f"command() must make bytes, and raised {error!r}") from error
        if not isinstance(made, bytes):
            raise WrongApplication(f"command() must make bytes, not {made!r}")
        if len(made) > COMMAND_MAX:
            raise WrongApplication(f"command() must make at most {COMMAND_MAX} bytes, not {len(made)}")
        if tag not in made:
            raise WrongApplication(f"the command {made!r} does not hold its tag {tag!r}")
        return made


class ToldToFail(Exception):
    """The application fails because the schedule wants it to."""


@dataclass
class Given:
    """What stands between the node and the state machine of one life, and remembers what went through."""

    machine: StateMachine = field(default_factory=Counting)
    #: (index, data), in order
    items: list[tuple[int, bytes]] = field(default_factory=list)
    #: what came of them, by index
    results: dict[int, Any] = field(default_factory=dict)
    #: and when they were appended
    times: dict[int, int] = field(default_factory=dict)
    #: the latest of these
    time: int = 0
    #: raise at this index: a user's code fails
    fails_at: int = 0
    #: the node is to give many entries at once
    batches: bool = False
    #: how many of the items have been judged
    judged: int = 0
    #: the index of the snapshot that it was given last, how many items there were then, and how often it was given one
    restored_at: int = 0
    begun_at: int = 0
    restores: int = 0

    def __post_init__(self) -> None:
        # What the machine does not have, its node is not to find.
        if hasattr(self.machine, "snapshot"):
            self.snapshot = self.machine.snapshot
            self.restore = self._restore
            self.version = getattr(self.machine, "version", 0)
        if self.batches:
            self.apply_batch = self._apply_batch

    def _apply_batch(self, entries: list[Entry]) -> list[Any]:
        """The same entries, one after the other."""
        if len({entry.term for entry in entries}) != 1:
            raise Violation(f"a batch from entry {entries[0].index} on is of several terms")
        if any([entry.index == self.fails_at for entry in entries]):
            raise ToldToFail("the application fails, and has applied nothing of the batch")
        results = []
        for entry in entries:
            try:
                results.append(self.apply(entry))
            except ApplyError as error:
                results.append(error)
        return results

    def _restore(self, reader: Any) -> None:
        self.machine.restore(reader)  # type: ignore[attr-defined]
        self.begun_at = self.judged = len(self.items)
        self.restored_at = reader.index
        self.restores += 1

    def last(self) -> int:
        """The last entry whose command it was given, itself or in a snapshot."""
        return max(self.items[-1][0] if self.items else 0, self.restored_at)

    def apply(self, entry: Entry) -> Any:
        """Take an entry; returns the machine's result."""
        if self.items and entry.index <= self.items[-1][0]:
            raise Violation(f"entry {entry.index} is applied after entry {self.items[-1][0]}")
        if entry.time < self.time:
            raise Violation(f"time goes back from {self.time} to {entry.time} at entry {entry.index}")
        if entry.index == self.fails_at:
            raise ToldToFail("the application fails")
        result = self.machine.apply(entry)
        self.items.append((entry.index, entry.data))
        self.results[entry.index] = result
        self.times[entry.index] = self.time = entry.time
        return result

    def digest(self) -> Any:
        """What tells the machine's state; NO_RESULT if it has nothing of that kind."""
        digest = getattr(self.machine, "digest", None)
        return NO_RESULT if digest is None else digest()
