"""Every setting of a node, with its unit and its range. Values only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .errors import ConfigError
from .types import DEFAULT_CLUSTER, NO_LIMIT, NUMBER_MAX

CLUSTER_BYTES = 16
SPIN_MAX_US = 10_000  # who waits longer than that does not gain by a wake-up that is saved


def cluster_id(name: object) -> bytes:
    """The 16 bytes that a cluster is known by, in frames and on disk, from a name of it. Raises ConfigError.

    16 bytes are themselves, and fewer are filled up with zeros. Text is its UTF-8, filled up likewise; where that is
    longer than 16 bytes, it is the first 16 bytes of its SHA-256.
    """
    if isinstance(name, str):
        try:
            data = name.encode()
        except UnicodeEncodeError:
            data = b""
        if data and b"\0" not in data:
            return data.ljust(CLUSTER_BYTES, b"\0") if len(data) <= 16 else hashlib.sha256(data).digest()[:16]
    elif isinstance(name, bytes) and 0 < len(name) <= CLUSTER_BYTES:
        return name.ljust(CLUSTER_BYTES, b"\0")
    raise ConfigError(
        f"cluster must be text without NUL, or 1..{CLUSTER_BYTES} bytes, the same for all members of a group, "
        f"not {name!r}"
    )


def cluster_name(cluster: bytes) -> str:
    """The name of a cluster for people: text where the 16 bytes are some, else in hexadecimal."""
    text = cluster.rstrip(b"\0")
    if text.isascii() and text and text.decode("ascii").isprintable():
        return text.decode("ascii")
    return cluster.hex()


def cluster_code(cluster: bytes) -> str:
    """What to write for it in Python."""
    name = cluster_name(cluster)
    return f"bytes.fromhex({name!r})" if name == cluster.hex() else repr(name)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one member; checked when made, never changed afterwards.

    A ``Node`` uses all of them but ``lease_reads``. A ``RawNode`` has no clock, queues or frames: it ignores those that
    are "Node only". Raises ConfigError, which names the field and its range. By name, with their defaults:

    id: This member's id, 1..2^63-1; the same for the life of its storage.
    cluster = "raftx": Node only. The name that all members share; frames and directories of another cluster are
        refused. Text, or up to 16 bytes. Afterwards this is 16 bytes, which are the name itself, filled up with zeros;
        of text whose UTF-8 is longer they are the first 16 of its SHA-256.
    tick_ms = 50: Node only. Length of one tick in milliseconds, 1..60,000.
    election_ticks = 10: A follower waits so many ticks, up to twice as many less one, for its leader; more than
        heartbeat_ticks, and 100,000 at most.
    heartbeat_ticks = 1: A leader sends a heartbeat every so many ticks, 1..10,000.
    pre_vote = True: True or False. Ask the others before raising the term (thesis, section 9.6).
    check_quorum = True: True or False. A leader that has not heard from a quorum for an election timeout steps down
        (thesis, section 6.2).
    max_inflight_messages = 256: Appends to one follower that may be unacknowledged, 1..2^31-1.
    max_inflight_bytes = 8 << 20: Bytes of entries to one follower that may be unacknowledged,
        max_message_bytes..2^63-1.
    max_message_bytes = 1 << 20: Bytes of entries in one append, 0..2^63-1; one entry is sent whatever its size. 0 means
        one entry a message.
    max_entry_bytes = 1 << 20: Node only. Bytes of data in one entry, 0..1 GiB; a proposal above it raises
        EntryTooLarge.
    max_uncommitted_bytes = 256 << 20: Bytes of data, 0..2^63-1, that a leader keeps appended and not applied before it
        refuses proposals; the first one always fits. A Node takes no more entries from its leader while more are
        committed and not applied.
    max_waiting_bytes = 64 << 20: Node only. Bytes of proposals that wait for the engine, max_entry_bytes..2^63-1; above
        it one ends as not done. Those with timeouts wait in spite of that, with max_uncommitted_bytes more in all.
    max_open_proposals = 1 << 18: Node only. Proposals that have not ended, 1..2^31-1; above it one ends as not done.
        Each takes about 200 bytes.
    max_apply_bytes = 4 << 20: Bytes of committed entries handed to the state machine at once, 1..2^63-1; one is handed
        over whatever its size.
    lease_reads = False: RawNode only. True or False. A Node has reads by lease that end by the clock (Node.read). Reads
        rely on the leader's lease instead of a round of heartbeats; needs check_quorum, and clocks that run at about
        the same speed (thesis, section 6.4.1). The lease ends when a leadership transfer starts.
    step_down_on_removal = True: True or False. A leader that is removed or made a learner steps down when that is
        applied.
    validate_conf_changes = True: True or False. A leader checks a membership change when it is proposed: one at a time,
        joint ones left before the next.
    priority = 0: A vote goes only to candidates of at least this priority, or with a newer log; 0..2^31-1 (raft-rs).
        For a Node that holds while it could campaign itself, and for six election timeouts without a leader. A leader,
        if it is a Node, hands leadership to a live voter of higher priority that has everything.
    commit_by_vote = False: True or False. Votes carry the commit index, so a committed membership change is learned
        without a leader (raft-rs).
    group_commit = False: True or False. Commit only what members of at least two commit groups hold (raft-rs;
        RawNode.assign_commit_groups).
    batch_append = False: True or False. Add entries to a message that is not sent yet instead of queueing another one
        (raft-rs).
    skip_bcast_commit = False: True or False. Followers learn the commit index with the next append or heartbeat, not at
        once (raft-rs).
    forward_proposals = True: True or False. A follower passes proposals on to its leader.
    snapshot_entries = 10_000: Node only. A snapshot is taken after so many entries were applied since the last one,
        0..2^63-1; 0: never for that reason. Only where state machine and storage can.
    snapshot_bytes = 64 << 20: Node only. Likewise after so many bytes of them, 0..2^63-1; 0: never for that reason.
    snapshot_bytes_per_second = 0: Node only. Bytes of a snapshot that this member fetches from another one in a second,
        0..2^63-1; 0: no bound.
    keep_entries = 1_000: Node only. Entries, 0..2^63-1, that stay in memory although a snapshot has them, before what
        the slowest live member has.
    max_log_bytes = 256 << 20: Node only. Bytes of log in memory, 0..2^63-1, above which what a snapshot has is dropped,
        whoever may need it; what a member needs that is being sent a snapshot stays up to twice as much, for 600
        election timeouts.
    proposal_timeout_ms = 10_000: Node only. After this time in milliseconds, 1..2^31, a request without an outcome ends
        as unknown, a read as not done.
    spin_us = 0: Node only. Microseconds, 0..10,000, for which the engine and the thread of the log look again before
        they sleep. That saves the time that a wake-up takes and costs up to two cores: only where there are cores to
        spare.
    on_apply_error = "stop": Node only. What an exception of the state machine's ``apply`` does, other than ApplyError,
        which goes to the proposer: "stop" ends the node; "return" gives every Exception but MemoryError to the
        proposer. The same on all members.
    seed = None: Seeds the randomised election timeouts, mixed with the id; 0..2^64-1. None: a Node takes a random seed
        from the system, a RawNode takes 0.
    """

    id: int
    cluster: bytes | str = DEFAULT_CLUSTER
    tick_ms: int = 50
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 8 << 20
    max_message_bytes: int = 1 << 20
    max_entry_bytes: int = 1 << 20
    max_uncommitted_bytes: int = 256 << 20
    max_waiting_bytes: int = 64 << 20
    max_open_proposals: int = 1 << 18
    max_apply_bytes: int = 4 << 20
    lease_reads: bool = False
    step_down_on_removal: bool = True
    validate_conf_changes: bool = True
    priority: int = 0
    commit_by_vote: bool = False
    group_commit: bool = False
    batch_append: bool = False
    skip_bcast_commit: bool = False
    forward_proposals: bool = True
    snapshot_entries: int = 10_000
    snapshot_bytes: int = 64 << 20
    snapshot_bytes_per_second: int = 0
    keep_entries: int = 1_000
    max_log_bytes: int = 256 << 20
    proposal_timeout_ms: int = 10_000
    spin_us: int = 0
    on_apply_error: str = "stop"
    seed: int | None = None

    def __post_init__(self) -> None:
        self._range("id", 1, NUMBER_MAX)
        object.__setattr__(self, "cluster", cluster_id(self.cluster))
        self._range("tick_ms", 1, 60_000)
        self._range("heartbeat_ticks", 1, 10_000)
        self._range("election_ticks", self.heartbeat_ticks + 1, 100_000, "more than heartbeat_ticks")
        for name in (
            "pre_vote", "check_quorum", "forward_proposals", "lease_reads", "step_down_on_removal",
            "validate_conf_changes", "group_commit", "commit_by_vote", "batch_append", "skip_bcast_commit",
        ):  # fmt: skip
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.lease_reads and not self.check_quorum:
            raise ConfigError(
                "lease_reads=True needs check_quorum=True: a leader must know it when it has lost its quorum"
            )
        self._range("priority", 0, 2**31 - 1)
        self._range("max_inflight_messages", 1, 2**31 - 1)
        self._range("max_message_bytes", 0, NO_LIMIT)
        self._range("max_inflight_bytes", self.max_message_bytes, NO_LIMIT, "at least max_message_bytes")
        self._range("max_entry_bytes", 0, 1 << 30)
        self._range("max_uncommitted_bytes", 0, NO_LIMIT)
        self._range("max_waiting_bytes", self.max_entry_bytes, NO_LIMIT, "at least max_entry_bytes")
        self._range("max_open_proposals", 1, 2**31 - 1)
        self._range("max_apply_bytes", 1, NO_LIMIT)
        self._range("proposal_timeout_ms", 1, 2**31)
        self._range("spin_us", 0, SPIN_MAX_US, "microseconds; 0: nothing is looked for before a sleep")
        for name in (
            "snapshot_entries",
            "snapshot_bytes",
            "snapshot_bytes_per_second",
            "keep_entries",
            "max_log_bytes",
        ):
            self._range(name, 0, NO_LIMIT)
        if self.on_apply_error not in ("stop", "return"):
            raise ConfigError(f'on_apply_error must be "stop" or "return", not {self.on_apply_error!r}')
        if self.seed is not None:
            self._range("seed", 0, 2**64 - 1)

    def _range(self, name: str, low: int, high: int, why: str = "") -> None:
        """``why``: what a limit comes from, or means."""
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            reason = f" ({why})" if why else ""
            raise ConfigError(f"{name} must be an integer in {low}..{high}{reason}, not {value!r}")
