"""What must hold in a Raft cluster after every step, checked from outside.

``Checker`` is told what each member did and raises Violation. It knows nothing of schedules, networks and
disks; it reads a RawNode and never changes it. Costs are those of what changed, not of the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..types import LEADER

if TYPE_CHECKING:
    from .._core import Entry
    from ..consensus.rawnode import RawNode


class Violation(AssertionError):
    """An invariant of Raft does not hold; the text names it and the members."""


class Checker:
    """Everything that was ever seen of a cluster, across crashes.

    Election safety, log matching, leader completeness and state-machine safety are the properties of the
    paper's figure 3. Besides them: a member votes once a term, commit indexes do not go back within a
    life and never beyond the log, and entries are applied one by one.
    """

    def __init__(self) -> None:
        #: term to the one that led it
        self.leaders: dict[int, int] = {}
        #: (voter, term) to the one that got the vote
        self.votes: dict[tuple[int, int], int] = {}
        #: (index, term) to a hash of the entry and all before it
        self.prefixes: dict[tuple[int, int], int] = {}
        #: per member, the hash of each prefix of its log; [0] is the empty one
        self.chains: dict[int, list[int]] = {}
        #: index to (term, data) of what any state machine was given
        self.applied: list[tuple[int, bytes]] = [(0, b"")]
        #: per member in its present life
        self.commits: dict[int, int] = {}
        self.applied_to: dict[int, int] = {}
        #: term in which it was first known to the largest index that was committed then
        self.committed_in: dict[int, int] = {}
        self.elections = 0
        self.truncations = 0

    def began(self, id: int, entries: Iterable[Entry]) -> None:
        """A member begins a life with this log; its state machine is empty."""
        self.chains[id] = [0]
        self.commits[id] = 0
        self.applied_to[id] = 0
        self.appended(id, entries, replaces=False)

    def appended(self, id: int, entries: Iterable[Entry], replaces: bool = True) -> None:
        """Entries stand in a member's log; what stood from the first one's index on is gone."""
        chain = self.chains[id]
        for entry in entries:
            if entry.index > len(chain):
                raise Violation(f"node {id} appends entry {entry.index} behind entry {len(chain) - 1}")
            if entry.index < len(chain):
                if entry.index <= self.commits[id]:
                    raise Violation(f"node {id} replaces entry {entry.index}, which it knows to be committed")
                del chain[entry.index :]
                self.truncations += replaces
            chain.append(hash((chain[entry.index - 1], entry.term, entry.data)))
            known = self.prefixes.setdefault((entry.index, entry.term), chain[entry.index])
            if known != chain[entry.index]:
                raise Violation(
                    f"log matching: node {id} has another log up to entry {entry.index} of term {entry.term} "
                    f"than was seen before"
                )

    def voted(self, id: int, term: int, candidate: int) -> None:
        """A member's vote leaves it."""
        if self.votes.setdefault((id, term), candidate) != candidate:
            raise Violation(
                f"node {id} votes for {candidate} in term {term} and has voted for {self.votes[id, term]} before"
            )

    def stepped(self, id: int, raw: RawNode) -> None:
        """A member has taken a step."""
        core = raw.core
        term, commit, last = core.term, core.committed, core.log.last
        if commit != self.commits[id]:
            if commit < self.commits[id]:
                raise Violation(f"the commit index of node {id} goes back from {self.commits[id]} to {commit}")
            if commit > last:
                raise Violation(f"the commit index of node {id} is {commit}, its log ends at {last}")
            self.commits[id] = commit
            if commit > self.committed_in.get(term, 0):
                self.committed_in[term] = commit
        if core.role == LEADER and self.leaders.get(term) != id:
            self._elected(id, term, raw)

    def _elected(self, id: int, term: int, raw: RawNode) -> None:
        if term in self.leaders:
            raise Violation(f"election safety: nodes {self.leaders[term]} and {id} both lead term {term}")
        self.leaders[term] = id
        self.elections += 1
        log = raw.core.log
        needed = max([index for earlier, index in self.committed_in.items() if earlier < term], default=0)
        # What is applied somewhere is known with its term; log matching says the same of all before it.
        known = min(needed, len(self.applied) - 1)
        if log.last < needed or (known and log.py_term(known) != self.applied[known][0]):
            raise Violation(
                f"leader completeness: node {id} leads term {term} without entry {needed}, which is committed; "
                f"its log ends at {log.last}"
            )

    def apply(self, id: int, entries: Iterable[Entry]) -> None:
        """A member gives entries to its state machine."""
        for entry in entries:
            index = entry.index
            if index != self.applied_to[id] + 1:
                raise Violation(f"node {id} applies entry {index} after entry {self.applied_to[id]}")
            self.applied_to[id] = index
            if index == len(self.applied):
                self.applied.append((entry.term, entry.data))
            elif self.applied[index] != (entry.term, entry.data):
                term, data = self.applied[index]
                raise Violation(
                    f"state machine safety: node {id} applies {entry.data!r} of term {entry.term} at {index}, "
                    f"another applied {data!r} of term {term}"
                )

    def acknowledged(self, index: int, data: bytes) -> None:
        """A client was told that its proposal is done at this index."""
        if index >= len(self.applied) or self.applied[index][1] != data:
            raise Violation(f"{data!r} was acknowledged at {index}, where something else was applied")
