"""``raftx doctor``: what this machine, its disk and the way to the other members are good for."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..cluster_file import ClusterFile, cluster_named
from ..config import Config
from ..measure import host, peers, verdict
from ..measure.disk import scratch, syncs
from ..measure.figures import percentile
from ..measure.verdict import BAD, FAIR, Finding
from .base import NATURAL, PATH, Command, Told
from .codes import DAMAGED, FINE
from .output import BAD as RED
from .output import DOUBTFUL, Cell, as_json, say, show
from .output import GOOD as GREEN
from .remote import DEFAULT_FILE, TOKEN, Admin, runs, with_http

STYLES = {verdict.GOOD: GREEN, FAIR: DOUBTFUL, BAD: RED}
JITTER_S = 0.5
NAMES = ("CHECK", "VERDICT", "FOUND")
WORDS = {
    verdict.GOOD: "good: nothing to do",
    FAIR: "fair: it works, and what is marked could be better or safer",
    BAD: "bad: do not run a member here before what is marked is mended",
}


@click.command("doctor", cls=Command)
@click.argument("directory", type=PATH, required=False)
@click.option(
    "--config", metavar="FILE", type=PATH, help=f"The file of the cluster; default: {DEFAULT_FILE}, if it is there."
)
@click.option("--id", type=NATURAL, help="Which member of it this machine is for.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=2.0, show_default=True, help="How long to write to the disk."
)
@click.option("--strict", is_flag=True, help="Exit with 1 also when the verdict is fair.")
def doctor(
    directory: str | None, config: str | None, id: int | None, seconds: float, strict: bool, programs: bool
) -> int:
    """Examine this machine: whether and how fast its disk syncs, the way to the other members, clocks, limits.

    DIRECTORY is where a member is, or will be; default: that of --id, else this one. Nothing stays behind.
    """
    if config is None and Path(DEFAULT_FILE).is_file():
        config = DEFAULT_FILE
    cluster = ClusterFile.load(config) if config is not None else None
    if id is not None and cluster is None:
        raise click.UsageError("--id needs --config, the file of the cluster")
    settings = cluster.config(id) if cluster is not None and id is not None else _shared(cluster)
    if directory is None:
        directory = os.fspath(cluster.member(id).data) if cluster is not None and id is not None else "."
    found = examined(directory, cluster, id, settings, seconds)
    if programs:
        say(as_json(found))
    else:
        tell(found)
    level = found["verdict"]
    return DAMAGED if level == BAD or (strict and level == FAIR) else FINE


def _shared(cluster: ClusterFile | None) -> Config:
    """Settings of a member that is not named: those of the first one."""
    return cluster.config(next(iter(cluster.members))) if cluster is not None else Config(id=1)


def examined(
    directory: str, cluster: ClusterFile | None, own: int | None, config: Config, seconds: float
) -> dict[str, Any]:
    """Everything, for programs."""
    from .. import COMPILED
    from ..interpreted import why

    where = host.existing(directory)
    with scratch(where, ".raftx-doctor-") as path:
        latencies = syncs(path / "syncs", seconds)
    system, skipper = host.file_system(where), host.sync_skipper()
    delays = host.wake_delays(JITTER_S, busy=True)
    findings = [
        verdict.of_sync(latencies),
        *verdict.of_file_system(system, skipper),
        *verdict.of_limits(host.open_files(), host.free_bytes(where), host.free_memory(), config),
        verdict.of_interpreter(
            host.interpreter(), COMPILED, delays, "" if COMPILED else why(__name__.partition(".")[0])[1]
        ),
    ]
    members, times = others(cluster, own, findings) if cluster is not None else ([], [])
    wanted = verdict.settings(latencies, times, [] if COMPILED else delays)
    findings.append(verdict.of_settings(wanted, config))
    return {
        "verdict": verdict.worst(findings),
        "directory": os.fspath(where),
        "findings": [asdict(each) for each in findings],
        "fsync_p50_us": round(percentile(latencies, 0.5), 1),
        "fsync_p99_us": round(percentile(latencies, 0.99), 1),
        "file_system": asdict(system),
        "gil_delay_p50_us": round(percentile(delays, 0.5), 1),
        "gil_delay_p99_us": round(percentile(delays, 0.99), 1),
        "compiled": COMPILED,
        "open_files": host.open_files(),
        "free_disk_bytes": host.free_bytes(where),
        "free_memory_bytes": host.free_memory(),
        "members": members,
        "settings": asdict(wanted),
    }


def others(cluster: ClusterFile, own: int | None, findings: list[Finding]) -> tuple[list[dict[str, Any]], list[float]]:
    """The members but the own one, and all round trips to them in milliseconds; what is found of them is added."""
    urls = urls_of(cluster)
    members: list[dict[str, Any]] = []
    times: list[float] = []
    for id, member in cluster.members.items():
        standing = verdict.standing(id, member.join, urls)
        if id == own:
            findings += verdict.of_own(id, standing)
            continue
        url = (urls or {}).get(id) or member.url
        reached = peers.reach(url)
        times += reached.round_trips_ms
        findings.append(
            verdict.of_peer(id, url, reached.error, bool(reached.addresses), reached.round_trips_ms, standing)
        )
        if url != member.url:
            findings.append(verdict.of_move(id, member.url, url))
        offset = peers.clock_offset(with_http(member.admin)) if member.admin and not reached.error else None
        if offset is not None:
            findings.append(verdict.of_clock(id, offset))
        members.append(
            {
                "id": id,
                "url": url,
                "standing": standing or None,
                "addresses": list(reached.addresses),
                "round_trip_ms": round(percentile(reached.round_trips_ms, 0.5), 3) if reached.round_trips_ms else None,
                "clock_offset_s": round(offset, 3) if offset is not None else None,
                "error": reached.error or None,
            }
        )
    return members, times


def urls_of(cluster: ClusterFile) -> dict[int, str] | None:
    """Who is in the cluster, and where, as one says that is in it and runs; None: nobody says so.

    A member that was removed may go on answering, and says how the cluster was. Another cluster says nothing of this.
    """
    admins = [with_http(each.admin) for each in cluster.members.values() if each.admin]
    if not admins:
        return None
    try:
        found = Admin(admins, os.environ.get(TOKEN, ""), peers.CONNECT_S).cluster()
        same = cluster_named(str(found["cluster"])) == cluster.cluster
    except (Told, ValueError):
        return None
    if not same or not runs(found):
        return None
    return {each["id"]: str(each["url"] or "") for each in found["members"]}


def tell(found: dict[str, Any]) -> None:
    """The same, for people."""
    findings = [Finding(**each) for each in found["findings"]]
    rows: list[list[Cell]] = [[each.name, (each.level, STYLES[each.level]), each.text] for each in findings]
    say(f"examined {found['directory']}\n")
    show(NAMES, rows, NAMES)
    notes = [each for each in findings if each.remedy]
    if notes:
        say("")
    for each in notes:
        say(f"{each.name}: {each.remedy}")
    wanted = found["settings"]
    basis = f"sync {wanted['sync_ms']:,.1f} ms"
    if wanted["round_trip_ms"]:
        basis += f", round trip {wanted['round_trip_ms']:,.1f} ms"
    timing = f"tick_ms = {wanted['tick_ms']}, election_ticks = {wanted['election_ticks']}"
    say(f"\nsettings that fit ({basis} at p99): {timing}")
    say(f"verdict: {WORDS[found['verdict']]}")
