"""The tables of a comparison: medians over its rounds with the lowest and the highest, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from bench.peers.systems import System

Row = dict[str, Any]


def name(row: Row) -> str:
    """What a line of a table is about."""
    return "-".join([row[each] for each in ("system", "transport", "role", "mode") if row[each]])


def heading(row: Row, systems: Iterable[System]) -> str:
    """The same for people."""
    if row["system"] == "limit":
        return str(row["mode"])
    key = f"{row['system']}-{row['transport']}" if row["transport"] else row["system"]
    text = next(each.heading for each in systems if each.key == key)
    if row["mode"] == "many":
        text += ", propose_many"
    if row["role"] == "follower":
        text += ", through a follower"
    return text


def spread(values: list[float]) -> str:
    """Median (lowest-highest)."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def table(title: str, heads: list[str], lines: list[list[str]]) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def of(rows: list[Row], **fields: Any) -> list[Row]:
    return [row for row in rows if all([row[key] == value for key, value in fields.items()])]


def show(rows: list[Row], systems: list[System]) -> None:
    """All tables, on standard output, as Markdown."""
    limit = of(rows, system="limit")
    lines = []
    for mode in dict.fromkeys([row["mode"] for row in limit]):
        these = of(limit, mode=mode)
        cells = [spread([row[field] for row in these]) for field in ("p50_us", "p99_us", "entries_per_s")]
        lines.append([mode, *cells])
    table("Bare limits", ["", "p50 us", "p99 us", "a second"], lines)
    others = [row for row in rows if row["system"] != "limit"]
    for durable in (True, False):
        for size in sorted({row["bytes"] for row in others}):
            these = of(others, durable=durable, bytes=size)
            if these:
                _levels(these, systems, f"{size:,} bytes an entry, {'durable' if durable else 'NOT durable'}")
    _ratios(others, systems)
    failed = [row for row in others if row["failed"] or row.get("frames_dropped")]
    lines = [
        [
            heading(row, systems), f"{row['bytes']:,}", f"{row['outstanding']:,}", str(row["round"]),
            f"{row['failed']:,}", f"{row.get('frames_dropped', 0):,}", row.get("why", ""),
        ]
        for row in failed
    ]  # fmt: skip
    if lines:
        table("Refused, failed or dropped", ["", "bytes", "outstanding", "round", "failed", "frames", "why"], lines)


def _levels(rows: list[Row], systems: list[System], title: str) -> None:
    levels = sorted({row["outstanding"] for row in rows})
    for field, unit in (("entries_per_s", "entries/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us")):
        lines = []
        for each in dict.fromkeys([name(row) for row in rows]):
            own = [row for row in rows if name(row) == each]
            cells = [[row[field] for row in of(own, outstanding=level)] for level in levels]
            lines.append([heading(own[0], systems), *[spread(values) if values else "-" for values in cells]])
        table(f"{title}: {unit}, outstanding", ["", *[f"{level:,}" for level in levels]], lines)


def _ratios(rows: list[Row], systems: list[System]) -> None:
    """raftx against every other, within a round: the machine changes from one to the next."""
    own = of(rows, system="raftx", role="leader")
    others = [row for row in rows if row["system"] != "raftx" and row["role"] == "leader"]
    for transport in dict.fromkeys([row["transport"] for row in own]):
        for mode in dict.fromkeys([row["mode"] for row in own]):
            for size in sorted({row["bytes"] for row in own}):
                these = of(own, transport=transport, mode=mode, bytes=size)
                levels = sorted({row["outstanding"] for row in these})
                lines = []
                for peer in dict.fromkeys([name(row) for row in others]):
                    beside = [row for row in others if name(row) == peer and row["bytes"] == size]
                    if not beside:
                        continue
                    cells = []
                    for level in levels:
                        found = []
                        for row in of(these, outstanding=level):
                            for other in of(beside, outstanding=level, round=row["round"]):
                                if other["entries_per_s"]:
                                    found.append(row["entries_per_s"] / other["entries_per_s"])
                        cells.append(
                            f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})" if found else "-"
                        )
                    lines.append([heading(beside[0], systems), *cells])
                if lines:
                    text = f"{heading(these[0], systems)}: entries/s against others, {size:,} bytes, outstanding"
                    table(text, ["", *[f"{level:,}" for level in levels]], lines)
