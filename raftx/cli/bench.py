"""``raftx bench``: what a durable cluster of three processes does on this machine, and what it waits for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import click

from ..measure import host, verdict
from ..measure.cluster import Cluster, MemberFailed, measured
from ..measure.disk import syncs_beside
from ..measure.figures import bars, histogram, percentile
from ..measure.network import round_trips
from .base import PATH, Command, Told
from .codes import DAMAGED, FINE
from .output import as_json, console, say, show, time_shown

SECONDS_ALONE = 1.0
BAR = 40
WARM_UP_S = 0.5
NAMES = ("", "OUTSTANDING", "BYTES", "ENTRIES/S", "p50", "p99", "SYNCS/S", "BATCH", "ELECTIONS")


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Several numbers: 1,16,256."""

    name = "numbers"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """As a tuple."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all([part.isascii() and part.isdecimal() and 1 <= int(part) <= self.most for part in parts]):
            self.fail(f"must be integers in 1..{self.most:,} with commas between them, not {value!r}", param, ctx)
        return tuple([int(part) for part in parts])


@click.command("bench", cls=Command)
@click.option(
    "--directory",
    type=PATH,
    default=".",
    show_default=True,
    help="Where logs are kept meanwhile: on the disk that counts.",
)
@click.option(
    "--outstanding",
    metavar="N,...",
    type=Numbers(1 << 16),
    default="1,16,64,256,1024",
    show_default=True,
    help="Proposals at any time.",
)
@click.option(
    "--size",
    "sizes",
    metavar="N,...",
    type=Numbers(1 << 20),
    default="256",
    show_default=True,
    help="Bytes of an entry.",
)
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="For each load.")
@click.option(
    "--members", "count", metavar="N", type=click.IntRange(1, 9), default=3, show_default=True, help="Processes."
)
@click.option("--many", is_flag=True, help="With propose_many, too: four batches at any time.")
@click.option("--compare-pure", is_flag=True, help="The same with the interpreted package, too.")
def bench(
    directory: str,
    outstanding: tuple[int, ...],
    sizes: tuple[int, ...],
    seconds: float,
    count: int,
    many: bool,
    compare_pure: bool,
    programs: bool,
) -> int:
    """Measure a durable cluster on this machine.

    Each member is a process with its own log; they talk over loopback, and all share this disk. So many proposals are
    under way at any time; each is acknowledged when it is on disk on a majority.
    """
    from .. import COMPILED

    if compare_pure and not COMPILED:
        raise click.UsageError("--compare-pure needs the compiled package: this one is interpreted already")
    modes = [False, True] if compare_pure else [False]
    loads = [(n, size, batch) for size in sizes for batch in ((False, True) if many else (False,)) for n in outstanding]
    rows, samples = [], []
    with _steps(3 + len(modes) * (1 + len(loads))) as step:
        step("the disk alone")
        alone = syncs_beside(directory, SECONDS_ALONE)
        step(f"the disk with {count} processes")
        beside = syncs_beside(directory, SECONDS_ALONE, count)
        step("round trips")
        trips = round_trips() if count > 1 else []
        try:
            for pure in modes:
                step("the members start")
                with Cluster(directory, count, pure=pure) as cluster:
                    leader = cluster.leader()
                    cluster.ask(leader, "load", outstanding[0], WARM_UP_S)
                    for n, size, batch in loads:
                        mode = "compiled" if cluster.compiled else "interpreted"
                        step(f"{mode}, {n:,} outstanding, {size:,} bytes")
                        row, latencies = measured(cluster, leader, n, seconds, batch, size)
                        row |= {"size": size, "compiled": cluster.compiled, "histogram": histogram(latencies)}
                        rows.append(row)
                        samples.append(latencies)
        except (MemberFailed, TimeoutError) as error:
            raise Told(f"a member failed: {str(error).strip().splitlines()[-1]}", DAMAGED) from error
    system = host.file_system(directory)
    found = {
        "directory": os.path.abspath(directory),
        "file_system": system.kind,
        "members": count,
        "cores": host.cores(),
        "compiled": COMPILED,
        "sync_alone_p50_us": round(percentile(alone, 0.5), 1),
        "sync_alone_p99_us": round(percentile(alone, 0.99), 1),
        "sync_beside_p50_us": round(percentile(beside, 0.5), 1),
        "sync_beside_p99_us": round(percentile(beside, 0.99), 1),
        "round_trip_p50_us": round(percentile(trips, 0.5), 1) if trips else None,
        "round_trip_p99_us": round(percentile(trips, 0.99), 1) if trips else None,
        "rows": rows,
        "notes": notes(count, rows, alone, beside, trips, system),
    }
    if programs:
        say(as_json(found))
    else:
        tell(found, modes)
    return FINE


def notes(
    count: int, rows: list[dict[str, Any]], alone: Any, beside: Any, trips: Any, system: host.FileSystem
) -> list[str]:
    """What else matters, in sentences."""
    found = []
    for each in [verdict.of_sync(alone), *verdict.of_file_system(system, host.sync_skipper())]:
        if each.level != verdict.GOOD:
            found.append(f"{each.name}: {each.text}: {each.remedy}")
    single = next((row for row in rows if row["outstanding"] == 1 and row["mode"] == "propose"), None)
    floor = percentile(trips, 0.5) + percentile(beside, 0.5)
    if single is not None and trips and floor:
        found.append(
            f"one proposal at a time takes {single['p50_us'] / floor:,.1f} times a round trip and a sync beside others "
            f"({verdict.shown(floor)}): a faster disk is a faster cluster"
        )
    if count > 1:
        found.append("all members share one disk and these cores here; on machines of their own they do not")
    if host.cores() < count + 1:
        found.append(
            f"{host.cores()} cores are fewer than the {count} members and the load want: they wait for each other"
        )
    if any(row["term_changes"] for row in rows):
        found.append("there were elections meanwhile: the machine was too busy, or the disk too slow (raftx doctor)")
    return found


def tell(found: dict[str, Any], modes: list[bool]) -> None:
    """The figures, for people."""
    kind = "compiled" if found["compiled"] else "interpreted"
    where = f"{found['directory']} ({found['file_system'] or '?'})"
    say(f"{found['members']} processes, {kind}, {found['cores']} cores, logs in {where}")
    for name, key in (
        ("sync alone", "sync_alone"),
        ("sync beside others", "sync_beside"),
        ("round trip", "round_trip"),
    ):
        if found[f"{key}_p50_us"] is not None:
            p50, p99 = (time_shown(found[f"{key}_{each}_us"] / 1e6) for each in ("p50", "p99"))
            say(f"{name:<19} p50 {p50:>8}  p99 {p99:>8}")
    say("")
    show(
        NAMES,
        [
            [
                row["mode"]
                if len(modes) == 1
                else f"{row['mode']}, {'compiled' if row['compiled'] else 'interpreted'}",
                f"{row['outstanding']:,}",
                f"{row['size']:,}",
                f"{row['entries_per_s']:,}",
                time_shown(row["p50_us"] / 1e6),
                time_shown(row["p99_us"] / 1e6),
                f"{row['syncs_per_s']:,}",
                f"{row['mean_batch']:,}",
                str(row["term_changes"]),
            ]
            for row in found["rows"]
        ],
        ("",),
    )
    first = found["rows"][0]
    say(f"\nlatency with {first['outstanding']:,} outstanding, {first['size']:,} bytes:")
    counts = [many for _, _, many in first["histogram"]]
    for (low, high, many), bar in zip(first["histogram"], bars(counts, BAR)):
        say(f"{time_shown(low / 1e6):>8} .. {time_shown(high / 1e6):<8} {many:>9,}  {bar}".rstrip())
    say("")
    for each in found["notes"]:
        say(f"* {each}")


@contextlib.contextmanager
def _steps(count: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    where = console(errors=True)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=where, transient=True, disable=not where.is_terminal) as progress:
        task = progress.add_task("", total=count)
        begun = False

        def step(what: str) -> None:
            nonlocal begun
            progress.update(task, description=what, advance=1 if begun else 0)
            begun = True

        yield step
