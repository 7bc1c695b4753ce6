"""A node's status as metrics for Prometheus. docs/metrics.md lists them, with the alerts to set.

Names follow etcd's where they mean the same, with the prefix ``raftx_``. Each sample has the label ``member``, so that
several nodes of one process may share a registry. Needs prometheus_client, which is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..node.status import DiskStatus, Histogram, LatencyStatus, Status

PLAIN = "text/plain; charset=utf-8"
MISSING = "metrics need the extra 'metrics': pip install 'raftx[metrics]'\n"

#: (name, field of a Status, what it is); a total is a counter
GAUGES = (
    ("term", "term", "The present term"),
    ("commit_index", "commit", "The last entry known to be committed"),
    ("applied_index", "applied", "The last entry that the state machine has"),
    ("last_index", "last", "The last entry of the log"),
    ("stable_index", "stable", "The last entry that is durable here"),
    ("first_index", "first", "The first entry in memory"),
    ("apply_behind_entries", "behind", "Entries that are committed and not applied here"),
    ("apply_lag_seconds", "apply_lag", "Time that it would take to apply these, as estimated"),
    ("proposals_pending", "pending", "Requests that have no outcome yet"),
    ("uptime_seconds", "uptime", "How long this life has lasted"),
)
COUNTERS = (
    ("leader_changes_seen", "leader_changes", "How often another leader became known"),
    ("frames_received", "frames_in", "Frames that have arrived"),
    ("frames_sent", "frames_out", "Frames that were sent"),
    ("frames_dropped", "frames_dropped", "Frames that the transport did not take or could not deliver"),
    ("frames_stale", "frames_stale", "Frames of an earlier life of their sender"),
    ("messages_unmet", "messages_unmet", "Messages of a life that was not known yet"),
    ("messages_not_taken", "messages_not_taken", "Messages that did not fit on a full disk, or behind what waits"),
    ("too_large_out", "too_large_out", "Messages that their recipient's limit kept from being sent"),
    ("snapshots_not_taken", "snapshots_not_taken", "Offers of a snapshot that cannot be taken"),
)
DISK_COUNTERS = (
    ("disk_wal_written_bytes", "wal_bytes", "Bytes written to the log"),
    ("disk_wal_written_entries", "wal_entries", "Entries written to the log"),
)


class Collector:
    """Of one node: ``prometheus_client.REGISTRY.register(raftx.admin.Collector(node))``."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def collect(self) -> Iterator[Any]:
        """The metrics of this moment."""
        return _Made(self.node.status()).all()


class _Made:
    """Those of one status."""

    def __init__(self, status: Status) -> None:
        from prometheus_client import core

        self.core: Any = core
        self.status = status
        self.member = str(status.id)

    def all(self) -> Iterator[Any]:
        status = self.status
        yield self.gauge("up", "Whether the node runs", status.state == "running")
        yield self.info()
        yield self.gauge("has_leader", "Whether a leader is known", status.leader != 0)
        yield self.gauge("is_leader", "Whether the member leads", status.role == "leader")
        yield self.gauge("is_learner", "Whether it is a learner", status.id in status.configuration.learners)
        yield self.gauge("leader_id", "The leader it knows of, 0: none", status.leader)
        yield self.gauge(
            "in_doubt", "Whether it may have forgotten what it promised, and does not vote", status.in_doubt
        )
        yield self.gauge(
            "diverged", "Whether what is committed here contradicts the leader's log", status.diverged != ""
        )
        yield self.gauge(
            "waits_for_members", "Members whose answer is missing before it takes part", len(status.waits_for)
        )
        yield self.gauge("members_disagreeing", "Members whose settings or clock do not fit", len(status.disagreements))
        for name, field, text in GAUGES:
            yield self.gauge(name, text, getattr(status, field))
        for name, field, text in COUNTERS:
            yield self.counter(name, text, getattr(status, field))
        yield self.by("counter", "frames_rejected", "Frames that were not accepted", "reason", status.frames_rejected)
        yield self.by(
            "counter", "messages_refused", "Messages that no honest member sends", "reason", status.messages_refused
        )
        yield self.by("counter", "wakeups", "How often a thread was woken", "thread", status.wakeups)
        yield self.by("counter", "wakeups_idle", "And found nothing to do", "thread", status.wakeups_idle)
        yield from self.disk(status.disk)
        yield from self.snapshots()
        yield from self.queues()
        yield from self.peers()
        yield self.latency(status.latency)
        yield self.by("gauge", "transport", "The transport's own counters", "counter", status.transport)

    def disk(self, disk: DiskStatus) -> Iterator[Any]:
        for name, field, text in DISK_COUNTERS:
            yield self.counter(name, text, getattr(disk, field))
        made = self.core.SummaryMetricFamily(
            "raftx_disk_wal_fsync_duration_seconds", "Syncs of the log, and how long they took", labels=["member"]
        )
        made.add_metric([self.member], disk.syncs, disk.sync_ns / 1e9)
        yield made
        yield self.gauge("disk_full", "Whether there is no room for the next segment of the log", disk.full)
        yield self.gauge("disk_short", "Whether the disk is short of something", disk.shortage != "")
        for name, text, value in (
            ("disk_used_bytes", "What the member's directory takes", disk.used),
            ("disk_free_bytes", "What is free where it is", disk.free),
        ):
            if value is not None:
                yield self.gauge(name, text, value)

    def snapshots(self) -> Iterator[Any]:
        made, moved = self.status.snapshot, self.status.transfers
        yield self.gauge("snapshot_index", "The entry that the newest snapshot is of", made.index)
        yield self.gauge("snapshot_size_bytes", "The size of its state", made.size)
        yield self.counter("snapshots_made", "Snapshots that were made", made.made)
        yield self.counter("snapshots_failed", "Snapshots that were given up", made.failed)
        if moved is not None:
            yield self.counter("snapshots_fetched", "Snapshots that came whole from others", moved.fetched)
            yield self.counter("snapshots_given_up", "Fetches that came to nothing", moved.given_up)
            yield self.counter("snapshot_chunks_served", "Chunks that were given to others", moved.chunks_served)

    def queues(self) -> Iterator[Any]:
        queues = self.status.queues
        rows = {"writes": queues.writes, "applies": queues.applies, "commands": queues.commands}
        yield self.by("gauge", "queue_rows", "What waits between the threads", "queue", rows)
        yield self.gauge("proposals_waiting_bytes", "Proposals that wait for the engine", queues.proposal_bytes)
        yield self.gauge("log_memory_bytes", "The log that is in memory", queues.log_bytes)
        yield self.counter("commands_dropped", "Commands that found no room", queues.commands_dropped)

    def peers(self) -> Iterator[Any]:
        peers = self.status.peers
        found: tuple[tuple[str, str, dict[str, float]], ...] = (
            ("peer_connected", "Whether it was heard of lately", {str(peer.id): peer.connected for peer in peers}),
            (
                "peer_last_heard_seconds",
                "Time since a frame of it came",
                {str(peer.id): peer.last_heard for peer in peers if peer.last_heard is not None},
            ),
            (
                "peer_match_index",
                "On the leader: the last entry that it is known to have",
                {str(peer.id): peer.match for peer in peers if peer.match is not None},
            ),
            (
                "peer_lag_entries",
                "On the leader: entries that it is not known to have",
                {str(peer.id): peer.lag for peer in peers if peer.lag is not None},
            ),
        )
        for name, text, values in found:
            yield self.by("gauge", name, text, "peer", values)

    def latency(self, latency: LatencyStatus) -> Any:
        made = self.core.HistogramMetricFamily(
            "raftx_proposal_stage_duration_seconds",
            "On the leader: how long rounds of proposals took, by stage",
            labels=["member", "stage"],
        )
        for stage in ("queue", "wal", "network", "quorum", "apply", "total"):
            histogram: Histogram = getattr(latency, stage)
            buckets, total = [], 0
            bounds = [*[repr(bound) for bound in latency.BOUNDS], "+Inf"]
            for bound, count in zip(bounds, histogram.counts or [0] * len(bounds)):
                total += count
                buckets.append((bound, total))
            made.add_metric([self.member, stage], buckets, histogram.seconds)
        return made

    def info(self) -> Any:
        made = self.core.InfoMetricFamily("raftx", "The version, and the number of this life", labels=["member"])
        made.add_metric([self.member], {"version": self.status.version, "incarnation": str(self.status.incarnation)})
        return made

    def gauge(self, name: str, text: str, value: float) -> Any:
        made = self.core.GaugeMetricFamily(f"raftx_{name}", text, labels=["member"])
        made.add_metric([self.member], float(value))
        return made

    def counter(self, name: str, text: str, value: float) -> Any:
        made = self.core.CounterMetricFamily(f"raftx_{name}", text, labels=["member"])
        made.add_metric([self.member], float(value))
        return made

    def by(self, kind: str, name: str, text: str, label: str, values: Any) -> Any:
        family = self.core.CounterMetricFamily if kind == "counter" else self.core.GaugeMetricFamily
        made = family(f"raftx_{name}", text, labels=["member", label])
        for key, value in values.items():
            made.add_metric([self.member, key], float(value))
        return made


def exposition(node: Any, accept: str) -> tuple[bytes, str]:
    """What /metrics answers, and of which type. Without prometheus_client: what is to be installed."""
    try:
        import prometheus_client
        from prometheus_client.exposition import choose_encoder
    except ModuleNotFoundError:
        return MISSING.encode(), PLAIN
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(Collector(node))
    try:
        encode, kind = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, kind = choose_encoder("")
    return encode(registry), kind
