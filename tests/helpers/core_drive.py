"""Members that do everything: apply changes of membership, take snapshots, compact; and slow storage threads.

Builds on core_net: no threads, clocks, disks or sockets here either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from raftx.types import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, MSG_APP, MSG_VOTE_RESP
from tests.helpers.core_net import SETTINGS, Member, Network


def change(impl: ModuleType, text: str, transition: int = 0, v1: bool = False) -> Any:
    """A change of membership from text."""
    return impl.ConfChange.parse(text, transition, v1)


def conf(
    impl: ModuleType,
    voters: Iterable[int] = (),
    learners: Iterable[int] = (),
    outgoing: Iterable[int] = (),
    learners_next: Iterable[int] = (),
    auto_leave: bool = False,
) -> Any:
    """A membership."""
    return impl.ConfState(tuple(voters), tuple(learners), tuple(outgoing), tuple(learners_next), auto_leave)


class Full(Member):
    """A Member that applies changes of membership, and restores and makes snapshots.

    ``conf`` is its membership in place of ``voters`` and so on; ``base`` the snapshot its disk begins with.
    """

    base: Any = None
    conf: Any = None

    def __init__(self, impl: ModuleType, id: int = 1, voters: Iterable[int] = (1, 2, 3), **settings: Any) -> None:
        self.conf = settings.pop("conf", None)
        self.base = settings.pop("base", None)
        #: what came of changes that were applied, of changes refused, and of reads
        self.memberships: list[Any] = []
        self.failed: list[Exception] = []
        self.told: list[Any] = []
        self.reads_done: list[Any] = []
        self.restored: list[Any] = []
        super().__init__(impl, id, voters, **settings)

    def start(self) -> None:
        conf_state = self.conf or self.conf_state
        if self.base is not None:
            self.conf_state = conf_state = self.base.conf_state
        base = self.base
        log = self.impl._core.EntryLog() if base is None else self.impl._core.EntryLog(base.index + 1, base.term)
        if self.disk:
            log.py_extend(self.disk)
        self.applied = []
        config = self.impl.Config(id=self.id, **self.settings)
        self.node = self.impl.RawNode(config, log=log, hard_state=self.hard, conf_state=conf_state, snapshot=base)

    @property
    def membership(self) -> Any:
        """The membership as its core sees it."""
        return self.node.core.tracker.conf_state()

    def store(self, ready: Any) -> None:
        if ready.hard_state is not None:
            self.hard = ready.hard_state
        if ready.snapshot is not None:
            self.base = ready.snapshot
            self.disk = []
            self.restored.append(ready.snapshot)
        if ready.entries:
            begin = self.base.index if self.base is not None else 0
            self.disk = self.disk[: ready.entries[0].index - 1 - begin] + ready.entries

    def take(self) -> list[Any]:
        sent: list[Any] = []
        while self.node.has_ready():
            ready = self.node.ready()
            self.store(ready)
            self.told += ready.refused
            self.reads_done += ready.read_states
            sent += ready.messages
            for entry in ready.committed_entries:
                self.take_over(entry)
            self.node.advance()
        return sent

    def take_over(self, entry: Any) -> None:
        """What a state machine does with a committed entry."""
        self.applied.append(entry)
        if entry.kind:
            try:
                self.memberships.append(self.node.apply_conf_change(entry))
            except self.impl.ConfChangeError as error:
                self.failed.append(error)

    def change(self, text: str, transition: int = 0, v1: bool = False) -> list[Any]:
        """Propose a change of membership."""
        self.node.propose_conf_change(change(self.impl, text, transition, v1))
        return self.take()

    def acknowledge_all(self) -> None:
        """All other members acknowledge everything, as long as this one leads."""
        for id in self._ids():
            if id != self.id and self.node.core.role == self.impl.Role.LEADER and id in self._ids():
                self.acknowledge(id)

    def _ids(self) -> list[int]:
        return [int(id) for id in self.node.core.tracker.peers.column("ids")]

    def read(self, context: bytes = b"r") -> list[Any]:
        """Ask for a read index."""
        self.node.read_index(context)
        return self.take()

    def snap(self, index: int = 0, compact: int = 0, data: bytes = b"state") -> Any:
        """Make a snapshot at ``index`` (0: of all applied) and compact to ``compact`` (0: to the snapshot)."""
        core = self.node.core
        index = index or core.applied
        snapshot = self.impl.Snapshot(index, core.log.py_term(index), self.membership, data)
        self.node.set_snapshot(snapshot)
        self.node.compact(compact or index)
        begin = self.base.index if self.base is not None else 0
        self.disk = self.disk[index - begin :]
        self.base = snapshot
        return snapshot


def led(impl: ModuleType, *replicating: int, **settings: Any) -> Full:
    """A Full member, by default 1, elected by all other voters; those given have acknowledged everything."""
    member = Full(impl, **settings)
    voters = {*member.membership.voters, *member.membership.voters_outgoing}
    member.lead_with(*sorted(voters - {member.id}))
    for id in replicating:
        member.acknowledge(id)
    return member


class Cluster(Network):
    """A Network of Full members. Messages that a member does not take are lost."""

    def __init__(self, impl: ModuleType, ids: int | Iterable[int] = 3, **settings: Any) -> None:
        super().__init__(impl, ids, member=Full, **settings)

    def add(self, id: int, **settings: Any) -> Full:
        """A new member with an empty log, which knows the membership that the group began with."""
        settings.setdefault("conf", next(iter(self.members.values())).conf_state)
        self.members[id] = Full(self.impl, id, (), **settings)
        return self.members[id]

    def deliver(self) -> None:
        self.collect()
        for _ in range(100_000):
            if not self.queue:
                return
            message = self.queue.pop(0)
            if (message.sender, message.to) not in self.cut and not self.loses(message) and message.to in self.members:
                try:
                    self.members[message.to].node.step(message)
                except (self.impl.UnknownPeer, self.impl.ProposalDropped):
                    continue
                self.take(message.to)
        raise AssertionError("the network does not come to rest")

    def take(self, id: int) -> None:
        """Let one member do its work."""
        messages = self.members[id].take()
        self.sent += messages
        self.queue += messages

    def change(self, id: int, text: str, transition: int = 0, v1: bool = False) -> None:
        """Let a member propose a change of membership."""
        self.members[id].node.propose_conf_change(change(self.impl, text, transition, v1))
        self.deliver()

    def memberships(self) -> set[Any]:
        """The memberships that the members see."""
        return {member.membership for member in self.members.values()}


class Slow:
    """A RawNode with asynchronous writes whose disk and state machine answer when the test says so."""

    def __init__(
        self,
        impl: ModuleType,
        id: int = 1,
        voters: Iterable[int] = (1, 2, 3),
        *,
        terms: Sequence[int] = (),
        conf: Any = None,
        **settings: Any,
    ) -> None:
        self.impl = impl
        log = impl._core.EntryLog()
        if terms:
            log.py_extend([impl.Entry(index, term, b"%d" % index) for index, term in enumerate(terms, 1)])
        self.node = impl.RawNode(
            impl.Config(id=id, **{**SETTINGS, **settings}),
            log=log,
            hard_state=impl.HardState(terms[-1] if terms else 0, 0, 0),
            conf_state=conf or impl.ConfState(voters=tuple(voters)),
            async_storage_writes=True,
        )
        self.core = self.node.core
        self.writes: list[Any] = []
        self.applies: list[Any] = []
        self.sent: list[Any] = []
        self.applied: list[Any] = []
        self.readys: list[Any] = []

    def work(self) -> list[Any]:
        """Take what is ready: work goes to the queues; what is sent to peers at once is returned."""
        sent = []
        while self.node.has_ready():
            ready = self.node.ready()
            self.readys.append(ready)
            for m in ready.messages:
                queue = {LOCAL_APPEND_THREAD: self.writes, LOCAL_APPLY_THREAD: self.applies}.get(m.to, sent)
                queue.append(m)
        self.sent += sent
        return sent

    def _answer(self, m: Any) -> list[Any]:
        released = []
        for response in m.responses:
            if response.to == self.core.id:
                self.node.step(response)
            else:
                released.append(response)
        return released

    def written(self, count: int = 1) -> list[Any]:
        """The disk has done the oldest writes; what that released and what follows from it."""
        sent = []
        for m in [self.writes.pop(0) for _ in range(count)]:
            sent += self._answer(m)
        return sent + self.work()

    def done(self, count: int = 1) -> list[Any]:
        """The state machine has done the oldest batches."""
        sent = []
        for m in [self.applies.pop(0) for _ in range(count)]:
            for entry in m.entries:
                self.applied.append(entry)
                if entry.kind:
                    self.node.apply_conf_change(entry)
            sent += self._answer(m)
        return sent + self.work()

    def settle(self) -> list[Any]:
        """Let disk and state machine finish everything."""
        sent = self.work()
        while self.writes or self.applies:
            sent += self.written(len(self.writes))
            sent += self.done(len(self.applies))
        return sent

    def step(self, kind: int, sender: int = 2, **fields: Any) -> list[Any]:
        """Receive a message, of the present term unless told otherwise."""
        self.node.step(self.impl.Message(kind, sender=sender, **{"term": self.core.term, **fields}))
        return self.work()

    def append(self, terms: Sequence[int], index: int = 0, log_term: int = 0, **fields: Any) -> list[Any]:
        """Receive an append of entries with these terms behind (index, log_term)."""
        entries = [self.impl.Entry(index + n, term, b"%d" % term) for n, term in enumerate(terms, 1)]
        return self.step(MSG_APP, index=index, log_term=log_term, entries=entries, **fields)

    def lead(self, *helpers: int) -> list[Any]:
        """Campaign and win by the votes of these members; disk and state machine finish nothing but the own vote."""
        self.node.campaign()
        self.work()
        sent = self.written(len(self.writes))
        for helper in helpers:
            sent = self.step(MSG_VOTE_RESP, helper)
        assert self.core.role == self.impl.Role.LEADER
        return sent
