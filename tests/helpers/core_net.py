"""Members without threads, clocks, disks or sockets, and a network between them: for tests of the consensus core.

``Member`` is a RawNode with a disk and a state machine in memory, driven by hand. ``Network`` moves
messages between members, in the order they were sent, over links that a test may cut.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from raftx.types import ENTRY_NORMAL, MSG_APP, MSG_APP_RESP, MSG_PRE_VOTE, MSG_PRE_VOTE_RESP, MSG_VOTE_RESP

# What most tests want: one phase of voting, and no leader that steps down by itself.
SETTINGS: dict[str, Any] = {"pre_vote": False, "check_quorum": False, "seed": 7}


class Member:
    """One member. ``terms`` are the terms of the entries that its disk holds from index 1 on."""

    def __init__(
        self,
        impl: ModuleType,
        id: int = 1,
        voters: Iterable[int] = (1, 2, 3),
        *,
        terms: Sequence[int] = (),
        hard: tuple[int, int, int] | None = None,
        learners: Iterable[int] = (),
        outgoing: Iterable[int] = (),
        **settings: Any,
    ) -> None:
        self.impl = impl
        self.id = id
        self.settings = {**SETTINGS, **settings}
        self.conf_state = impl.ConfState(
            voters=tuple(voters), learners=tuple(learners), voters_outgoing=tuple(outgoing)
        )
        self.disk = [impl.Entry(index, term, f"{term}.{index}".encode()) for index, term in enumerate(terms, 1)]
        self.hard = impl.HardState(*(hard or (terms[-1] if terms else 0, 0, 0)))
        self.applied: list[Any] = []
        self.start()

    def start(self) -> None:
        """Begin (again) from what the disk holds; the state machine is kept in memory and starts empty."""
        log = self.impl._core.EntryLog()
        if self.disk:
            log.py_extend(self.disk)
        self.applied = []
        self.node = self.impl.RawNode(
            self.impl.Config(id=self.id, **self.settings), log=log, hard_state=self.hard, conf_state=self.conf_state
        )

    # --- looking ---------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """term, vote, lead, role, committed, log, election_elapsed, ...: those of the core."""
        return getattr(self.node.core, name)

    @property
    def terms(self) -> list[int]:
        """The terms of all entries in its log."""
        return [int(term) for term in memoryview(self.node.core.log.terms())]

    @property
    def data(self) -> list[bytes]:
        """What its state machine got, without the empty entries of new leaders."""
        return [entry.data for entry in self.applied if entry.data]

    def progress(self, id: int) -> dict[str, Any]:
        """How a leader sees that member."""
        found: dict[str, Any] = self.node.status()["progress"][id]
        return found

    # --- driving ---------------------------------------------------------------------------------

    def store(self, ready: Any) -> None:
        """Do what a disk does with a Ready."""
        if ready.hard_state is not None:
            self.hard = ready.hard_state
        if ready.entries:
            self.disk = self.disk[: ready.entries[0].index - 1] + ready.entries

    def take(self) -> list[Any]:
        """Persist, send, apply and advance until nothing is left; the messages that were sent."""
        sent: list[Any] = []
        while self.node.has_ready():
            ready = self.node.ready()
            self.store(ready)
            sent += ready.messages
            self.apply(ready.committed_entries)
            self.node.advance()
        return sent

    def apply(self, entries: list[Any]) -> None:
        """Do what a state machine does with committed entries."""
        self.applied += entries

    def receive(self, message: Any) -> None:
        """Take a message as the network brings it."""
        self.node.step(message)

    def step(self, kind: int, sender: int = 2, term: int | None = None, **fields: Any) -> list[Any]:
        """Receive a message, of the present term unless told otherwise; what was sent in answer."""
        reject = fields.pop("reject", False)
        message = self.impl.Message(
            kind, to=self.id, sender=sender, term=self.node.core.term if term is None else term, **fields
        )
        message.reject = reject
        self.node.step(message)
        return self.take()

    def append(self, terms: Sequence[int] = (), index: int = 0, log_term: int = 0, **fields: Any) -> list[Any]:
        """Receive an append of entries with these terms behind (index, log_term)."""
        entries = [self.impl.Entry(index + n, term, f"{term}.{index + n}".encode()) for n, term in enumerate(terms, 1)]
        return self.step(MSG_APP, index=index, log_term=log_term, entries=entries, **fields)

    def acknowledge(self, sender: int, index: int | None = None, **fields: Any) -> list[Any]:
        """A leader receives the acknowledgement of a member, of everything unless told otherwise."""
        return self.step(MSG_APP_RESP, sender, index=self.node.core.log.last if index is None else index, **fields)

    def tick(self, count: int = 1) -> list[Any]:
        sent = []
        for _ in range(count):
            self.node.tick()
            sent += self.take()
        return sent

    def propose(self, data: bytes = b"x") -> list[Any]:
        self.node.propose(data)
        return self.take()

    def campaign(self) -> list[Any]:
        self.node.campaign()
        return self.take()

    def lead_with(self, *helpers: int) -> list[Any]:
        """Campaign and win by the votes of these members; what the new leader sent."""
        sent = self.campaign()
        pre = [m for m in sent if m.kind == MSG_PRE_VOTE]
        for helper in helpers if pre else ():
            sent = self.step(MSG_PRE_VOTE_RESP, helper, term=pre[0].term)
        for helper in helpers:
            if self.node.core.role != self.impl.Role.LEADER:
                sent = self.step(MSG_VOTE_RESP, helper)
        assert self.node.core.role == self.impl.Role.LEADER
        return sent


def leader(impl: ModuleType, *replicating: int, **settings: Any) -> Member:
    """Member 1, elected with the help of 2; the given members have acknowledged everything."""
    member = Member(impl, **settings)
    member.lead_with(2)
    for id in replicating:
        member.acknowledge(id)
    return member


class FullMember(Member):
    """A member that also takes changes of membership and snapshots, and compacts its log.

    Its disk holds the newest snapshot, ``kept``, and entries; its state machine is the list of all data.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.kept: Any = None
        self.base: list[bytes] = []
        super().__init__(*args, **settings)

    def start(self) -> None:
        if self.kept is None:
            super().start()
            return
        log = self.impl._core.EntryLog(self.kept.index + 1, self.kept.term)
        entries = [entry for entry in self.disk if entry.index > self.kept.index]
        if entries:
            log.py_extend(entries)
        self._restore()
        config = self.impl.Config(id=self.id, **self.settings)
        self.node = self.impl.RawNode(config, log=log, hard_state=self.hard, snapshot=self.kept)

    def _restore(self) -> None:
        self.applied = []
        self.base = self.kept.data.split(b",") if self.kept.data else []

    @property
    def data(self) -> list[bytes]:
        return self.base + [entry.data for entry in self.applied if entry.data and entry.kind == ENTRY_NORMAL]

    def store(self, ready: Any) -> None:
        if ready.snapshot is not None:
            self.kept = ready.snapshot
            self.disk = []
            self._restore()
        if ready.hard_state is not None:
            self.hard = ready.hard_state
        if ready.entries:
            self.disk = [entry for entry in self.disk if entry.index < ready.entries[0].index] + ready.entries

    def apply(self, entries: list[Any]) -> None:
        self.applied += entries
        for entry in entries:
            if entry.kind != ENTRY_NORMAL:
                self.node.apply_conf_change(entry)

    def receive(self, message: Any) -> None:
        # Members that are gone still answer, and leaders are gone when a proposal arrives.
        with contextlib.suppress(self.impl.UnknownPeer, self.impl.ProposalDropped):
            self.node.step(message)

    def change(self, text: str, transition: int = 0, v1: bool = False) -> list[Any]:
        """Propose a change of membership; what was sent."""
        self.node.propose_conf_change(self.impl.ConfChange.parse(text, transition, v1))
        return self.take()

    def save(self) -> Any:
        """Take a snapshot of everything that is applied, and drop the log up to there."""
        index = self.node.core.applied
        term = self.node.core.log.py_term(index)
        self.kept = self.impl.Snapshot(index, term, self.node.core.tracker.conf_state(), b",".join(self.data))
        self.node.set_snapshot(self.kept)
        self.node.compact(index)
        return self.kept


class Network:
    """Members 1..count, or of the given ids, with links between all of them."""

    def __init__(self, impl: ModuleType, ids: int | Iterable[int] = 3, **settings: Any) -> None:
        """``logs`` and ``hards`` are the members' terms and hard states by id; the rest is for ``member``."""
        kind: type[Member] = settings.pop("member", Member)
        voters = tuple(range(1, ids + 1)) if isinstance(ids, int) else tuple(ids)
        logs: dict[int, Sequence[int]] = settings.pop("logs", {})
        hards: dict[int, tuple[int, int, int]] = settings.pop("hards", {})
        everybody = sorted({*voters, *settings.get("learners", ())})
        self.impl = impl
        self.members = {
            id: kind(impl, id, voters, terms=logs.get(id, ()), hard=hards.get(id), **settings) for id in everybody
        }
        self.cut: set[tuple[int, int]] = set()
        #: Messages for which this is true are lost.
        self.loses: Callable[[Any], bool] = lambda message: False
        #: Everything that was sent, lost or not; a test may clear it.
        self.sent: list[Any] = []
        self.queue: list[Any] = []

    def __getitem__(self, id: int) -> Member:
        return self.members[id]

    def join(self, id: int) -> None:
        """A new FullMember with an empty disk: it knows the membership that the group began with."""
        one = self.members[min(self.members)]
        conf = one.conf_state
        self.members[id] = FullMember(
            self.impl, id, conf.voters, learners=conf.learners, outgoing=conf.voters_outgoing, **one.settings
        )

    def isolate(self, *ids: int) -> None:
        """Cut all links between these members and the others."""
        for inside in ids:
            for outside in self.members.keys() - set(ids):
                self.cut |= {(inside, outside), (outside, inside)}

    def heal(self) -> None:
        self.cut.clear()
        self.loses = lambda message: False

    def collect(self) -> None:
        """Let every member do its work; what they send is in the queue."""
        for member in self.members.values():
            messages = member.take()
            self.sent += messages
            self.queue += messages

    def deliver(self) -> None:
        """Carry messages until nobody has anything to say."""
        self.collect()
        for _ in range(10_000):
            if not self.queue:
                return
            message = self.queue.pop(0)
            if (message.sender, message.to) not in self.cut and not self.loses(message) and message.to in self.members:
                self.members[message.to].receive(message)
            self.collect()
        raise AssertionError("the network does not come to rest")

    def campaign(self, id: int) -> None:
        self.members[id].node.campaign()
        self.deliver()

    def propose(self, id: int, data: bytes = b"x") -> None:
        self.members[id].node.propose(data)
        self.deliver()

    def change(self, id: int, text: str, transition: int = 0) -> None:
        """Propose a change of membership to a FullMember."""
        self.members[id].node.propose_conf_change(self.impl.ConfChange.parse(text, transition))
        self.deliver()

    def tick(self, id: int, count: int = 1) -> None:
        for _ in range(count):
            self.members[id].node.tick()
            self.deliver()

    def roles(self) -> str:
        """One letter a member in the order of ids: Follower, Candidate, Leader, Pre-candidate."""
        return "".join(["FCLP"[member.role] for member in self.members.values()])

    def agree(self) -> bool:
        """Whether all logs and commit indexes are the same."""
        return len({(tuple(m.terms), m.committed) for m in self.members.values()}) == 1


def kinds(messages: Iterable[Any]) -> list[int]:
    """The kinds of messages, in their order."""
    return [message.kind for message in messages]


def only(messages: Iterable[Any], kind: int, to: int | None = None) -> list[Any]:
    """The messages of one kind, for one member or for all."""
    return [m for m in messages if m.kind == kind and to in (None, m.to)]
