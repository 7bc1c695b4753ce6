"""What must hold in a Raft cluster after every step, checked from outside.

``Checker`` is told what each member did and raises Violation. It knows nothing of schedules, networks and
disks; it reads a RawNode and never changes it. Costs are those of what changed, not of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..types import LEADER, MEMBERS_MAX, ConfState, HardState

if TYPE_CHECKING:
    from .._native.memory import Entry
    from ..consensus.rawnode import RawNode


class Violation(AssertionError):
    """An invariant of Raft does not hold; the text names it and the members."""


class Beginning(NamedTuple):
    """What a member begins a life with: a log behind (base, base_term), and how far its state machine is."""

    base: int = 0
    base_term: int = 0
    entries: Sequence[Entry] = ()
    commit: int = 0
    applied: int = 0


class Checker:
    """Everything that was ever seen of a cluster, across crashes.

    Election safety, log matching, leader completeness and state-machine safety are the properties of the
    paper's figure 3. Besides them:

    - a member votes once a term; what its disk holds of term, vote and commit never goes back; commit indexes
      do not go back within a life and never go beyond the log; entries are applied one by one
    - a restored snapshot is what others have applied up to its index, membership included
    - what was acknowledged is applied, and stays
    - a read sees everything that was applied anywhere when it was asked for
    - a configuration is the same on all that apply it, follows from the one before, and has at most 64 members
    """

    def __init__(self) -> None:
        #: term to the one that led it
        self.leaders: dict[int, int] = {}
        #: (voter, term) to the one that got the vote
        self.votes: dict[tuple[int, int], int] = {}
        #: (index, term) to a hash of the entry and all before it
        self.prefixes: dict[tuple[int, int], int] = {(0, 0): 0}
        #: per member, where its log begins, and the hash of each prefix from there on
        self.bases: dict[int, int] = {}
        self.chains: dict[int, list[int]] = {}
        #: index to (term, data) of what any state machine was given
        self.applied: list[tuple[int, bytes]] = [(0, b"")]
        #: the state that comes of it: one item for each index, b"" for what is no normal entry
        self.items: list[bytes] = []
        #: index to the configuration from there on, ascending
        self.configurations: dict[int, ConfState] = {}
        #: what is configured before this index is not compared: the first members add each other
        self.founded = 0
        #: per member in its present life
        self.commits: dict[int, int] = {}
        self.applied_to: dict[int, int] = {}
        #: per member, what its disk holds
        self.durable: dict[int, HardState] = {}
        #: term in which it was first known to the largest index that was committed then
        self.committed_in: dict[int, int] = {}
        #: (member, context) to what a read with it must see: as of when it was first asked for
        self.floors: dict[tuple[int, bytes], int] = {}
        self.elections = 0
        self.truncations = 0

    # --- the log -----------------------------------------------------------------------------------

    def starts_with(self, index: int, term: int, items: Sequence[bytes], conf: ConfState) -> None:
        """The group begins with a snapshot that its founders share."""
        self.prefixes[index, term] = hash((index, term))
        self.items = list(items)
        self.applied += [(term, item) for item in items]
        self.configurations[index] = conf

    def began(self, id: int, beginning: Beginning) -> None:
        """A member begins a life."""
        self._behind(id, beginning.base, beginning.base_term)
        self.commits[id] = beginning.commit
        self.applied_to[id] = beginning.applied
        if not beginning.applied < len(self.applied):
            raise Violation(f"node {id} begins with {beginning.applied} applied, which nobody has applied")
        self.appended(id, beginning.entries, replaces=False)

    def replaced(self, id: int, index: int, term: int) -> None:
        """A member's log is gone and begins anew behind a snapshot."""
        if index < self.commits[id]:
            raise Violation(f"node {id} takes a snapshot at {index}, and knows {self.commits[id]} to be committed")
        self._behind(id, index, term)

    def _behind(self, id: int, index: int, term: int) -> None:
        if (index, term) not in self.prefixes:
            raise Violation(f"log matching: the log of node {id} begins behind entry {index} of term {term}: unknown")
        self.bases[id] = index
        self.chains[id] = [self.prefixes[index, term]]

    def appended(self, id: int, entries: Iterable[Entry], replaces: bool = True) -> None:
        """Entries stand in a member's log; what stood from the first one's index on is gone."""
        chain = self.chains[id]
        base = self.bases[id]
        for entry in entries:
            index = entry.index
            at = index - base
            if not 0 < at <= len(chain):
                raise Violation(f"node {id} appends entry {index} behind entry {base + len(chain) - 1}")
            if at < len(chain):
                if replaces and index <= self.commits[id]:
                    raise Violation(f"node {id} replaces entry {index}, which it knows to be committed")
                del chain[at:]
                self.truncations += replaces
            term = entry.term
            chain.append(hash((chain[at - 1], term, entry.kind, entry.data)))
            known = self.prefixes.setdefault((index, term), chain[at])
            if known != chain[at]:
                raise Violation(
                    f"log matching: node {id} has another log up to entry {index} of term {term} than was seen before"
                )

    # --- votes and leaders -------------------------------------------------------------------------

    def voted(self, id: int, term: int, candidate: int) -> None:
        """A member's vote leaves it."""
        if self.votes.setdefault((id, term), candidate) != candidate:
            raise Violation(
                f"node {id} votes for {candidate} in term {term} and has voted for {self.votes[id, term]} before"
            )

    def kept(self, id: int, now: HardState) -> None:
        """This is on a member's disk."""
        before = self.durable.get(id)
        if before is not None and (
            now.term < before.term
            or now.commit < before.commit
            or (now.term == before.term and before.vote not in (0, now.vote))
        ):
            raise Violation(f"the disk of node {id} goes back from {before} to {now}")
        self.durable[id] = now

    def stepped(self, id: int, raw: RawNode) -> None:
        """A member has taken a step."""
        core = raw.core
        term, commit = core.term, core.committed
        if commit != self.commits[id]:
            if commit < self.commits[id]:
                raise Violation(f"the commit index of node {id} goes back from {self.commits[id]} to {commit}")
            if commit > core.log.last:
                raise Violation(f"the commit index of node {id} is {commit}, its log ends at {core.log.last}")
            self.commits[id] = commit
            if commit > self.committed_in.get(term, 0):
                self.committed_in[term] = commit
        if core.role == LEADER and self.leaders.get(term) != id:
            self.elected(id, raw)

    def elected(self, id: int, raw: RawNode) -> None:
        """A member leads its term."""
        term = raw.core.term
        if self.leaders.get(term, id) != id:
            raise Violation(f"election safety: nodes {self.leaders[term]} and {id} both lead term {term}")
        if term in self.leaders:
            return
        self.leaders[term] = id
        self.elections += 1
        log = raw.core.log
        needed = max([index for earlier, index in self.committed_in.items() if earlier < term], default=0)
        # What is applied somewhere is known with its term; log matching says the same of all before it. What is
        # compacted is applied here, and was compared then.
        known = min(needed, len(self.applied) - 1)
        if log.last < needed or (known >= log.first and log.py_term(known) != self.applied[known][0]):
            raise Violation(
                f"leader completeness: node {id} leads term {term} without entry {needed}, which is committed; "
                f"its log ends at {log.last}"
            )

    # --- the state machine -------------------------------------------------------------------------

    def apply(self, id: int, entries: Iterable[Entry]) -> None:
        """A member gives entries to its state machine."""
        for entry in entries:
            index = entry.index
            if index != self.applied_to[id] + 1:
                raise Violation(f"node {id} applies entry {index} after entry {self.applied_to[id]}")
            self.applied_to[id] = index
            if index == len(self.applied):
                self.applied.append((entry.term, entry.data))
                self.items.append(b"" if entry.kind else entry.data)
            elif self.applied[index] != (entry.term, entry.data):
                term, data = self.applied[index]
                raise Violation(
                    f"state machine safety: node {id} applies {entry.data!r} of term {entry.term} at {index}, "
                    f"another applied {data!r} of term {term}"
                )

    def restored(self, id: int, index: int, term: int, items: Sequence[bytes], conf: ConfState) -> None:
        """A member's state machine becomes that of a snapshot."""
        if index < self.applied_to[id]:
            raise Violation(f"node {id} restores a snapshot at {index} and has applied {self.applied_to[id]}")
        if index >= len(self.applied) or self.applied[index][0] != term or list(items) != self.items[:index]:
            raise Violation(f"state machine safety: node {id} restores a snapshot at {index}: others applied else")
        if conf != self.configuration_at(index):
            raise Violation(
                f"node {id} restores {conf} with a snapshot at {index}: it was {self.configuration_at(index)}"
            )
        self.applied_to[id] = index

    def acknowledged(self, index: int, data: bytes) -> None:
        """A client was told that its proposal is done at this index."""
        if index >= len(self.applied) or self.applied[index][1] != data:
            raise Violation(f"{data!r} was acknowledged at {index}, where something else was applied")

    # --- reads -------------------------------------------------------------------------------------

    def asked(self, id: int, context: bytes) -> None:
        """A member is asked for a read. What anybody has applied by now may have been seen, so it must see that.

        Answers to reads that share a context cannot be told apart: the first one's floor holds for all.
        """
        self.floors.setdefault((id, context), len(self.applied) - 1)

    def answered(self, id: int, context: bytes, index: int) -> None:
        """A read may be served once ``index`` is applied."""
        floor = self.floors.get((id, context))
        if floor is None:
            raise Violation(f"node {id} is answered a read {context!r} that it was not asked for")
        if index < floor:
            raise Violation(
                f"linearizable reads: node {id} may serve {context!r} at {index}, and {floor} was applied when it came"
            )

    def served(self, id: int, context: bytes, index: int) -> None:
        """A read that was answered with ``index`` is served from a member's state machine."""
        if self.applied_to[id] < index:
            raise Violation(f"node {id} serves {context!r} at {self.applied_to[id]}, it was to wait for {index}")

    # --- membership --------------------------------------------------------------------------------

    def configured(self, id: int, index: int, conf: ConfState) -> bool:
        """A member has taken the configuration of the entry at ``index``. Returns whether it is the first to."""
        if index < self.founded:
            return False
        known = self.configurations.get(index)
        if known is None:
            if self.configurations:
                self._follows(index, next(reversed(self.configurations.values())), conf)
            self.configurations[index] = conf
            return True
        if known != conf:
            raise Violation(f"node {id} has the configuration {conf} from {index} on, another one had {known}")
        return False

    def configuration_at(self, index: int) -> ConfState | None:
        """What the configuration was when ``index`` was applied."""
        found = None
        for start, conf in self.configurations.items():
            if start > index:
                break
            found = conf
        return found

    def _follows(self, index: int, before: ConfState, now: ConfState) -> None:
        """Quorums of a configuration and of the next one have a member in common."""
        if not now.voters or len({*now.voters, *now.learners, *now.voters_outgoing, *now.learners_next}) > MEMBERS_MAX:
            raise Violation(f"a configuration without voters, or with too many members, at {index}: {now}")
        if before.voters_outgoing and now.voters_outgoing:
            fits = now == before
        elif before.voters_outgoing:
            fits = now.voters == before.voters
        elif now.voters_outgoing:
            fits = now.voters_outgoing == before.voters
        else:
            fits = len({*now.voters} ^ {*before.voters}) <= 1
        if not fits:
            raise Violation(f"the configuration at {index} does not follow: {now} after {before}")
