"""The plots of a comparison, as SVG. Needs matplotlib (the extra ``plots``); without it nothing is drawn."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from bench.peers.systems import System
from bench.peers.tables import heading, name, of

FIELDS = (("entries_per_s", "entries/s"), ("p50_us", "p50, us"))


def draw(rows: list[dict[str, Any]], systems: list[System], directory: Path) -> str:
    """A file for each size of entries; what was done, in words."""
    try:
        import matplotlib
    except ImportError:
        return "no plots: matplotlib is missing (pip install matplotlib)"
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "raftx"  # the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    from matplotlib import pyplot

    directory.mkdir(parents=True, exist_ok=True)
    others = [row for row in rows if row["system"] != "limit"]
    files = []
    for size in sorted({row["bytes"] for row in others}):
        figure, axes = pyplot.subplots(1, len(FIELDS), figsize=(13, 5))
        for axis, (field, title) in zip(axes, FIELDS):
            these = of(others, bytes=size, role="leader")
            for each in dict.fromkeys([name(row) for row in these]):
                own = [row for row in these if name(row) == each]
                levels = sorted({row["outstanding"] for row in own})
                values = [[row[field] for row in of(own, outstanding=level)] for level in levels]
                middle = [statistics.median(value) for value in values]
                label = heading(own[0], systems) + ("" if own[0]["durable"] else " (NOT durable)")
                (line,) = axis.plot(
                    levels, middle, marker="o", label=label, linestyle="-" if own[0]["durable"] else ":"
                )
                axis.fill_between(
                    levels, [min(value) for value in values], [max(value) for value in values],
                    alpha=0.15, color=line.get_color(), linewidth=0,
                )  # fmt: skip
            axis.set(xscale="log", yscale="log", xlabel="outstanding", ylabel=title)
            axis.grid(alpha=0.3, which="both")
        axes[0].legend(fontsize=7)
        figure.suptitle(f"{size:,} bytes an entry, three processes, one disk; median, lowest and highest of the rounds")
        figure.tight_layout()
        path = directory / f"peers-{size}.svg"
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
        files.append(path.name)
    return f"plots in {directory}: {', '.join(files)}"
