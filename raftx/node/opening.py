"""What a storage held when it was opened: the log, what of it was applied, the members, and the core that begins there.

Opens the storage; starts nothing, and knows no other part of the node.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._core import EntryLog
from .._native.memory import Entry
from .._native.outbox import snapshot_record
from ..config import Config, cluster_id
from ..consensus.raft import Raft
from ..errors import NotFounded, WrongDirectory
from ..report import report
from ..storage.in_use import by_node
from ..storage.protocol import Loaded
from ..storage.snapshot_format import Descriptor
from ..storage.wal_format import COUNT_SHIFT
from ..types import ENTRY_SESSION
from .keeper import check_machine, check_reached
from .members import Membership, of_kept, of_snapshot
from .outside import Outside
from .rows import JOINED_ANY

AHEAD_STEP = 1000  # entries that are looked at together


@dataclass
class Opened:
    """What a node goes on with."""

    loaded: Loaded
    log: EntryLog
    #: the newest snapshot, None: there is none
    newest: Descriptor | None
    #: up to which entry the log was applied by an earlier life, or is in that snapshot
    applied: int
    #: the members there
    first: Membership
    core: Raft

    @property
    def life(self) -> int:
        """The number of this life that others are told; of a storage that draws nothing: as far as it counts."""
        return self.loaded.life or self.loaded.incarnation << COUNT_SHIFT

    def founding(self) -> Mapping[int, str]:
        """Where the first members were. Of a storage that does not say: as long as the log begins with the founding."""
        if self.loaded.founded is not None:
            return self.loaded.founded
        return self.first.addresses if self.applied == 0 else {}

    def joined(self, keeps_addresses: bool) -> dict[int, int]:
        """Which entry has added each member, JOINED_ANY where that is not known.

        keeps_addresses: the storage keeps more of the members than their ids.
        """
        loaded, first = self.loaded, self.first
        kept = self.newest is not None or not loaded.base_index or keeps_addresses
        joined = {id: first.joined.get(id, 0) if kept else JOINED_ANY for id in first.ids()}
        if loaded.rebuilt and self.applied == 0:
            # It was told the members again, and not which entry has added each of them.
            joined = {id: loaded.met[id].joined if id in loaded.met else JOINED_ANY for id in joined}
        return joined


def open_storage(outside: Outside) -> Opened:
    """Open it, and begin a core with what it held. Raises what the storage raises."""
    config, transport = outside.config, outside.transport
    try:
        loaded = by_node(outside.storage.open, config.id, cluster_id(config.cluster))
    except NotFounded:
        raise
    except WrongDirectory:
        # Another node may be using the storage, and the transport with it, which was not looked at yet.
        outside.owns_storage = outside.owns_transport = False
        raise
    check_reached(outside.state_machine, outside.storage, loaded.snapshot, loaded.base_index)
    loaded.records = list(loaded.records)
    log = load_log(config.id, loaded)
    newest = check_machine(outside.state_machine, loaded.snapshot, loaded.base_index, log.last, loaded.rebuilt)
    applied = max(loaded.base_index, newest.index if newest is not None else 0)
    # What a snapshot holds was committed, whether or not the storage had heard of it.
    hard_state = dataclasses.replace(loaded.hard_state, commit=max(loaded.hard_state.commit, applied))
    first = (
        of_snapshot(newest)
        if newest is not None
        else of_kept(loaded.base_index, loaded.conf_state, loaded.addresses, loaded.joined)
    )
    # A lease in ticks is none in a process that may be paused: a node has one by the clock (leases.py).
    core = Raft(fitted(with_seed(config), transport), log, hard_state, first.conf_state, applied)
    core.joins = loaded.joining
    if newest is not None:
        core.set_snapshot(snapshot_record(newest.snapshot()), newest.index, newest.term)
    warn_of_no_member(config.id, list(first.ids()), loaded.joining)
    tell_skips(config.id, loaded.skips)
    return Opened(loaded, log, newest, applied, first, core)


def load_log(id: int, loaded: Loaded) -> EntryLog:
    """The log that a storage held; it begins behind the base."""
    log = EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
        if loaded.snapshot is None:
            report(
                logging.WARNING,
                "node %d: its log begins behind entry %d, and it has no snapshot: its state machine must have what was "
                "applied up to there, and as a leader it cannot help a member that lacks these entries",
                *(id, loaded.base_index),
            )
    for piece in loaded.records:
        log.py_extend(piece)
    return log


def tell_skips(id: int, skips: Mapping[int, int]) -> None:
    """A member that does not apply what others may: said at each start."""
    for index in sorted(skips):
        report(
            logging.WARNING,
            "node %d: entry %d of term %d is skipped: its state machine is not given it. It must be so on all members",
            *(id, index, skips[index]),
        )


def ahead_of(log: EntryLog, index: int, held: int) -> list[Entry]:
    """Entries behind ``index`` that a state machine has already: those of sessions, and the last one."""
    last = min(held, log.last)
    found = []
    for low in range(max(index + 1, log.first), last + 1, AHEAD_STEP):
        entries = log.entries(low, min(low + AHEAD_STEP - 1, last))
        found += [entry for entry in entries if entry.kind == ENTRY_SESSION or entry.index == last]
    return found


def warn_of_no_member(id: int, members: list[int], joins: bool) -> None:
    """A node whose own id is not in its membership waits until a leader adds it: perhaps for ever."""
    if joins and id not in members:
        report(logging.INFO, "node %d: it waits to be added: add_voter(%d, url) or add_learner on a member", id, id)
    elif id not in members:
        report(
            logging.WARNING,
            "node %d: its id is not in its membership %s: it never campaigns, and only follows if a leader adds it: "
            "look at Config.id, and at the voters of its storage",
            *(id, sorted(members)),
        )


def fitted(config: Config, transport: Any) -> Config:
    """The settings of a node's core: its windows are smaller than the transport's queues, so nothing is dropped."""
    messages, size = config.max_inflight_messages, config.max_inflight_bytes
    if frames := getattr(transport, "queue_frames", 0):
        messages = min(messages, max(1, frames // 2))
    if room := getattr(transport, "send_bytes", 0):
        size = max(config.max_message_bytes, min(size, room // 2))
    return dataclasses.replace(config, lease_reads=False, max_inflight_messages=messages, max_inflight_bytes=size)


def with_seed(config: Config) -> Config:
    """The same settings with a seed, from the system where none is set: no two processes draw the same timeouts."""
    if config.seed is not None:
        return config
    return dataclasses.replace(config, seed=int.from_bytes(os.urandom(8), "little"))
