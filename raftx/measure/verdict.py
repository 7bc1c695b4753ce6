"""What measured facts mean for a member: verdicts with remedies, and the settings that fit. Pure functions.

"good": nothing to do; "fair": it works, and could be better or safer; "bad": what was acknowledged may be lost, or the
cluster will not hold together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..config import Config
from .figures import percentile
from .host import LAYERED, REMOTE, VOLATILE, FileSystem

GOOD, FAIR, BAD = "good", "fair", "bad"
LEVELS = (GOOD, FAIR, BAD)
# What a member of the file is for the cluster; "": nobody has said so.
MEMBER, REMOVED, NOT_ADDED = "member", "removed", "not added"

SYNC_TOO_FAST_US = 8.0  # no disk is as fast: nothing is written
SYNC_SLOW_MS, SYNC_BAD_MS = 50.0, 1000.0
CLOCK_FAIR_S = 1.0  # where members begin to warn
TOLD_LATE_S = 1.0  # a server may tell the second before
FILES_BAD, FILES_FAIR = 256, 1024
ROOM_BAD, ROOM_FAIR = 256 << 20, 1 << 30
TICKS_MS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Settings:
    """Timing that fits, as of ``Config``; beside it what it comes from, in milliseconds."""

    tick_ms: int
    election_ticks: int
    round_trip_ms: float
    sync_ms: float


def worst(findings: Iterable[Finding]) -> str:
    """The verdict on all."""
    return max([GOOD, *[each.level for each in findings]], key=LEVELS.index)


def of_sync(latencies_us: Sequence[float]) -> Finding:
    """How fast the disk is, and whether it can be true."""
    p50, p99 = percentile(latencies_us, 0.5), percentile(latencies_us, 0.99)
    text = f"p50 {shown(p50)}, p99 {shown(p99)}, {len(latencies_us):,} syncs"
    if p50 < SYNC_TOO_FAST_US:
        remedy = "this is memory, or something ignores syncs: a power cut would lose what was acknowledged"
        return Finding("fsync", BAD, text, remedy)
    if p99 > SYNC_BAD_MS * 1e3:
        return Finding("fsync", BAD, text, "take another disk: each acknowledged batch waits so long")
    if p99 > SYNC_SLOW_MS * 1e3:
        return Finding("fsync", FAIR, text, "other programs use the disk, or it is slow: give the log one of its own")
    return Finding("fsync", GOOD, text)


def of_file_system(found: FileSystem, skipper: str) -> list[Finding]:
    """Whether what is synced stays."""
    where = f"{found.kind or 'unknown'}{f' at {found.mount}' if found.mount else ''}"
    options = set(found.options.split(","))
    findings = []
    if found.kind in VOLATILE:
        remedy = "it is memory: keep the member on a disk"
        findings.append(Finding("file system", BAD, where, remedy))
    elif {"nobarrier", "barrier=0"} & options:
        remedy = "mounted without barriers: a power cut may take what was synced; mount it with them"
        findings.append(Finding("file system", BAD, where, remedy))
    elif found.kind in LAYERED:
        remedy = "it goes with the container: keep the member on a volume"
        findings.append(Finding("file system", FAIR, where, remedy))
    elif found.kind in REMOTE:
        remedy = "it is on another machine, or the host's: find out whether it keeps what was synced, and who locks it"
        findings.append(Finding("file system", FAIR, where, remedy))
    else:
        findings.append(Finding("file system", GOOD, where))
    if skipper:
        findings.append(Finding("sync", BAD, f"{skipper} is loaded", "it makes syncs do nothing: start without it"))
    return findings


def of_limits(open_files: int, free: int, memory: int | None, config: Config) -> list[Finding]:
    """Whether there is room."""
    findings = []
    text = "unlimited" if open_files < 0 else f"{open_files:,}"
    level = GOOD if open_files < 0 or open_files >= FILES_FAIR else FAIR if open_files >= FILES_BAD else BAD
    remedy = "" if level == GOOD else f"ulimit -n {FILES_FAIR} or more; systemd: LimitNOFILE"
    findings.append(Finding("open files", level, text, remedy))
    level = GOOD if free >= ROOM_FAIR else FAIR if free >= ROOM_BAD else BAD
    needs = "the log takes what has come since the last snapshot, and two segments of 16 MiB, and snapshots come on top"
    remedy = "" if level == GOOD else f"make room: {needs}"
    findings.append(Finding("free disk", level, f"{free / 1e9:,.1f} GB", remedy))
    if memory is not None:
        needed = config.max_log_bytes + config.max_waiting_bytes
        level = GOOD if memory >= needed else FAIR
        remedy = "" if level == GOOD else "lower max_log_bytes and max_waiting_bytes, or give it more memory"
        findings.append(Finding("free memory", level, f"{memory / 1e9:,.1f} GB", remedy))
    return findings


def of_interpreter(name: str, compiled: bool, delays_us: Sequence[float], why: str = "") -> Finding:
    """Whether a busy thread of Python can hold up consensus. why: it is not compiled, or what to do about it."""
    p99 = percentile(delays_us, 0.99)
    text = (
        f"{'compiled' if compiled else 'interpreted'}, {name}; beside a busy thread Python is {shown(p99)} late (p99)"
    )
    if compiled:
        return Finding("interpreter", GOOD, text)
    return Finding("interpreter", FAIR, text, f"consensus waits for the GIL, too. {why}")


def standing(id: int, joins: bool, members: Collection[int] | None) -> str:
    """Whether a member of the file is one of the cluster, whose members these are; None: nobody has said so.

    joins: it was founded to be added later. Any other one was there from the beginning, so it was removed if it is not
    there.
    """
    if members is None:
        return ""
    return MEMBER if id in members else NOT_ADDED if joins else REMOVED


def of_peer(id: int, url: str, error: str, known: bool, times_ms: Sequence[float], standing: str = "") -> Finding:
    """Whether a member can be reached, and should be."""
    name = f"member {id}"
    reached = bool(times_ms) and not error
    text = f"{url}, round trip {shown(percentile(times_ms, 0.5) * 1e3)}" if reached else f"{url}: {error}"
    if standing == REMOVED:
        if not reached:
            return Finding(name, GOOD, f"{url}: was removed from the cluster, and does not listen")
        remedy = "it was removed: stop what listens there; its table in the file may go"
        return Finding(name, FAIR, f"{text}; was removed from the cluster", remedy)
    if standing == NOT_ADDED:
        text += "; not in the cluster"
    if reached:
        return Finding(name, GOOD, text)
    if not known:
        return Finding(name, BAD, text, "let the name resolve here, or write another address")
    if standing == NOT_ADDED:
        remedy = "if it is to be added, start it, and then raftx add; if it was removed, its table in the file may go"
        return Finding(name, FAIR, text, remedy)
    remedy = "start it, or let its port through"
    if not standing:
        remedy += "; no admin page says whether it is in the cluster still"
    return Finding(name, FAIR, text, remedy)


def of_own(id: int, standing: str) -> list[Finding]:
    """Whether the member of this machine is one of the cluster; nothing where nobody has said so."""
    name = f"member {id}"
    if standing == REMOVED:
        remedy = "do not start it: it would end with Removed. To have it back, found it anew (raftx join, raftx add)"
        return [Finding(name, FAIR, "this one: was removed from the cluster", remedy)]
    if standing == NOT_ADDED:
        return [Finding(name, GOOD, "this one: not in the cluster, unless raftx add adds it")]
    return []


def of_move(id: int, url: str, elsewhere: str) -> Finding:
    """A member that the cluster reaches at another address than the file has."""
    text = f"{elsewhere} for the cluster, {url} in the file"
    remedy = "write the cluster's address into the file; if the file's is right: raftx move"
    return Finding(f"address of member {id}", FAIR, text, remedy)


def of_clock(id: int, offset: float) -> Finding:
    """Whether a clock is right."""
    text = f"{abs(offset):,.2f} s {'ahead of' if offset > 0 else 'behind'} this one"
    level = GOOD if -CLOCK_FAIR_S - TOLD_LATE_S <= offset <= CLOCK_FAIR_S else FAIR
    remedy = "" if level == GOOD else "let both follow NTP: entry.time and leases go by clocks"
    return Finding(f"clock of member {id}", level, text, remedy)


def settings(syncs_us: Sequence[float], round_trips_ms: Sequence[float], delays_us: Sequence[float]) -> Settings:
    """Timing that fits. delays_us: how late the engine itself may be, interpreted; empty: it is not.

    A tick is longer than a round trip. An election timeout has room for ten of them, and for four slow syncs.
    """
    sync = percentile(syncs_us, 0.99) / 1e3
    trip = percentile(round_trips_ms, 0.99)
    late = percentile(delays_us, 0.99) / 1e3
    tick = next((each for each in TICKS_MS if each >= 1.5 * trip + late), TICKS_MS[-1])
    ticks = min(max(Config.election_ticks, math.ceil((10 * (trip + late) + 4 * sync) / tick)), 100_000)
    return Settings(tick, ticks, round(trip, 3), round(sync, 3))


def of_settings(wanted: Settings, config: Config) -> Finding:
    """Whether the settings of a member are patient enough."""
    has = config.tick_ms * config.election_ticks
    needs = 10 * wanted.round_trip_ms + 4 * wanted.sync_ms
    text = f"tick_ms = {config.tick_ms}, election_ticks = {config.election_ticks}: {has:,} ms without a leader"
    if has >= needs and config.tick_ms >= wanted.round_trip_ms:
        return Finding("timing", GOOD, text)
    remedy = f"tick_ms = {wanted.tick_ms}, election_ticks = {wanted.election_ticks}, or there are needless elections"
    return Finding("timing", FAIR, text, remedy)


def shown(microseconds: float) -> str:
    """A duration for people."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:,.1f} s"
    return f"{microseconds / 1e3:,.1f} ms" if microseconds >= 1e3 else f"{microseconds:,.0f} us"
