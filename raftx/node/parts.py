"""What a node consists of, and which part runs in which worker. Puts nothing together."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

from .._native.threads import Clock
from ..errors import Corruption, MemoryLost, Removed, StorageError, StorageFailed, WrongDirectory
from ..storage.lives import OWN_WHY, named, removed
from ..storage.wal_format import REMOVED, failed_as
from ..storage.wal_writer import Wal
from ..storage.writes import DiskGauges, WriteQueue
from .adapter import StorageAdapter, TransportAdapter
from .apply import Applier
from .changer import Changer
from .channels import ApplyQueue, CommandQueue, MemberGauges
from .courier import Courier
from .disagreements import Disagreements
from .divergence import contradiction
from .engine import Engine
from .keeper import Keeper
from .lifecycle import Task
from .lookout import Lookout
from .members import Members
from .memory import Memory
from .proposer import Proposer
from .reporter import Reporter
from .rows import REBUILT
from .snapshots import Snapshotter
from .unled import why_unled, why_waiting
from .watch import Watch

# One in so many rows of the apply queue may be about requests. As many again may be on their way, and own proposals
# take half of the rows.
REQUESTS_PART = 8

End = Callable[[BaseException | None], None]


@dataclass
class Parts:
    """The parts of a node that has been assembled. Nothing of it runs before its tasks do."""

    incarnation: int
    #: the number of this life that others are told
    life: int
    engine: Engine
    applier: Applier
    proposer: Proposer
    watch: Watch
    reporter: Reporter
    disagreements: Disagreements
    disk: DiskGauges
    commands: CommandQueue
    wal: Wal | None
    storage_adapter: StorageAdapter | None
    transport_adapter: TransportAdapter | None
    writes: WriteQueue
    clock: Clock
    keeper: Keeper
    #: writes snapshots, fetches and serves them; None where storage, or state machine, cannot
    snapshotter: Snapshotter | None
    courier: Courier | None
    memory: Memory
    members: Members
    changer: Changer
    #: entries that the state machine is not given
    skips: list[int]
    applies: ApplyQueue
    #: what the engine publishes of the members
    peers: MemberGauges
    lookout: Lookout

    def storage_error(self) -> BaseException:
        """What the storage failed with."""
        adapter = self.storage_adapter
        if adapter is not None and adapter.error is not None:
            failed = StorageFailed(f"the storage failed: {adapter.error}")
            failed.__cause__ = adapter.error
            return failed
        return StorageFailed(f"{self.applier.where}: {failed_as(self.disk.error)}")

    def memory_lost(self) -> StorageError:
        """The storage of this node has forgotten something, as another member knows; or its member was removed."""
        meetings = self.engine.meetings
        if meetings.lost_why == REMOVED:
            return Removed(removed(self.engine.core.id))
        if meetings.apart:
            return WrongDirectory(
                f"node {self.engine.core.id} was founded with other first members, or with another state, than member "
                f"{int(meetings.apart)}, and under the same name of a cluster. Compare the two directories (raftx "
                "wal info), and found the wrong one anew, in an empty directory. Both stay as they are"
            )
        by, life, why = int(meetings.lost_to), int(meetings.lost_life), OWN_WHY.get(meetings.lost_why, "")
        if meetings.flags & REBUILT and self.engine.core.in_doubt and not meetings.doubted:
            return MemoryLost(
                f"node {self.engine.core.id} was rebuilt and lives life {named(self.life)}, and member {by} has met "
                f"life {named(life)} of it: so nobody believes this one. Start it again: it goes on above that life, "
                "in doubt as now. If it happens again, the member runs somewhere else, too"
            )
        return MemoryLost(
            f"node {self.engine.core.id} lives life {named(self.life)}, and member {by} has met life {named(life)} of "
            f"it, {why}. So it has forgotten what it promised, and must not take part. Put back the directory that it "
            "used last, or rebuild it (raftx wal rebuild). One that is to take a lost member's place is founded again "
            "(raftx join), and started after raftx replace has removed the lost one"
        )

    def diverged(self) -> str:
        """What of this member's committed entries contradicts its leader's, in words; "" for nothing. Any thread."""
        found = self.engine.gauges
        if not found.diverged:
            return ""
        return contradiction(
            found.diverged, found.diverged_ours, found.diverged_theirs, found.diverged_lead, found.diverged_lacks
        )

    def unled(self) -> str:
        """Why this member has known no leader for some time, in words; "" for nothing. Any thread."""
        found = self.engine.gauges
        if not found.unled_ms:
            return ""
        if not self.members.now.ids():
            return why_waiting(self.engine.core.id, found.unled_ms)
        return why_unled(
            found.unled_lead, found.unled_term, found.unled_by, found.unled_heard, found.unled_needed,
            found.unled_refused, found.unled_ms,
        )  # fmt: skip

    def contradiction(self) -> Corruption:
        """What the node ends with when that does not go away."""
        return Corruption(f"node {self.engine.core.id}: {self.diverged()}")

    def waits_for(self, voters: tuple[int, ...]) -> list[int]:
        """Of these, who has not said that it knows this life, while that keeps it from taking part. Any thread."""
        if not self.engine.gauges.waiting:
            return []
        return [id for id in voters if id != self.engine.core.id and not self.engine.meetings.py_knows(id)]

    def shortage(self) -> str:
        """What a snapshot from another member could not be stored for; "" for nothing. Any thread."""
        return self.courier.shortage() if self.courier is not None else ""

    def stuck(self) -> tuple[str, int]:
        """Why this member cannot take the snapshot that it needs, and which entry it would have then; "" and 0.

        Any thread.
        """
        why, index = self.courier.stuck() if self.courier is not None else self.applier.untaken
        return (why, index) if index > self.engine.gauges.commit else ("", 0)

    def takes_requests(self) -> bool:
        """Whether another request fits: what is told of them must leave room for what comes of frames. Any thread."""
        applies = self.applier.applies
        return applies.pending + self.commands.pending < applies.capacity // REQUESTS_PART

    def stop_engine(self) -> None:
        """No further proposal, and a last round. Any thread."""
        self.proposer.proposals.close()
        self.engine.commands.py_end()

    def end_the_others(self) -> None:
        """Nothing follows for disk and apply thread. Any thread, once the engine does not run."""
        self.writes.py_end()
        self.applier.applies.py_end()

    def tasks(self, engine_ended: End, report_ended: End, ended: End) -> dict[str, Task]:
        """The work of each worker, by name, in the order they have to be started: each needs those before it.

        engine_ended, report_ended, ended: what is to be done at the end of the engine, of the reporter, of another one.
        """
        tasks: dict[str, Task] = {}
        net, store, wal = self.transport_adapter, self.storage_adapter, self.wal
        watch, applier, reporter, memory = self.watch, self.applier, self.reporter, self.memory
        tasks["report"] = Task(
            *(reporter.run, reporter.round, report_ended, reporter.event, reporter.idle_for), shared=True
        )
        if net is not None:
            tasks["net"] = Task(net.run, net.round, ended, net.link.outgoing.event, net.idle_for)
        if wal is not None:
            serve = functools.partial(wal.begin_serving, self.writes, self.disk, self.engine.event, self.clock)
            reserve, wal_ended = wal.reserve, functools.partial(_wal_ended, wal, ended)
            tasks["reserve"] = Task(reserve.run, reserve.py_round, ended, reserve.event, reserve.py_idle_for)
            tasks["disk"] = Task(wal.run, wal.py_round, wal_ended, self.writes.event, wal.py_idle_for, begin=serve)
        elif store is not None:
            tasks["disk"] = Task(store.run, store.round, ended, self.writes.event, store.idle_for)
        writer, courier = self.snapshotter, self.courier
        if writer is not None:
            tasks["snapshot"] = Task(
                *(writer.run, writer.round, ended, writer.event, writer.idle_for), rest=writer.rest, shared=True
            )
        if courier is not None:
            tasks["courier"] = Task(courier.run, courier.round, ended, courier.event, courier.idle_for, shared=True)
        remembered = functools.partial(_memory_ended, memory, ended)
        tasks["memory"] = Task(memory.run, memory.py_round, remembered, memory.event, memory.py_idle_for)
        look = self.lookout
        tasks["look"] = Task(look.run, look.round, ended, look.event, look.idle_for, shared=True)
        tasks["watch"] = Task(
            *(watch.run, watch.round, ended, watch.event, watch.idle_for), ends_futures=True, shared=True
        )
        tasks["apply"] = Task(
            *(applier.run, applier.round, ended, self.applies.event, applier.idle_for),
            begin=applier.begin,
            ends_futures=True,
        )
        engine = self.engine
        tasks["engine"] = Task(engine.run, engine.py_round, engine_ended, engine.event, engine.py_idle_for)
        return tasks


def _wal_ended(wal: Wal, ended: End, error: BaseException | None) -> None:
    try:
        ended(error)
    finally:
        wal.end_serving()


def _memory_ended(memory: Memory, ended: End, error: BaseException | None) -> None:
    if error is None and memory.failed:
        error = StorageFailed(f"cannot remember another member's life: {os.strerror(-memory.failed)}")
    ended(error)
