"""A node that is handed frames one by one, among two others. Not a test."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.helpers import lies
from tests.helpers.meetings import introduction


class Desk:
    """A node's engine, not running, that takes frames by hand. It leads three members in term 1.

    fuzz: a cluster of tests/tools/frame_fuzz.py.
    """

    def __init__(self, impl: ModuleType, fuzz: Any) -> None:
        self.impl = impl
        self.fuzz = fuzz
        fuzz.elect()
        self.codec = impl._core.Codec
        #: the present life of member 2, which sends what is not said to be another's
        self.life = fuzz.lives[2]

    def send(self, incarnation: int, *messages: Any, sender: int = 2, to: int = 1) -> None:
        cluster = self.fuzz.nodes[1].config.cluster
        self.fuzz.taps[to].deliver(self.codec(cluster, sender, incarnation).encode(to, messages))

    def introduce(self, incarnation: int) -> None:
        """Member 2 says that it lives this life."""
        self.send(incarnation, introduction(self.impl, self.fuzz.storages[2]._name))

    def until(self, to: int = 1, **expected: int) -> None:
        """Wait until the counters of a node have these values."""

        def counted() -> bool:
            status = self.fuzz.nodes[to].status()
            seen = {**status.messages_refused, "stale": status.frames_stale, "last": status.last}
            return all([seen[name] == value for name, value in expected.items()])

        self.fuzz.eventually(counted)


def proposed(impl: ModuleType, incarnation: int, sequence: int, sender: int = 2) -> Any:
    entries = lies.proposals(impl, sender, incarnation, sequence)
    return impl.Message(2, log_term=1, hint=1, context=sequence, entries=entries)
