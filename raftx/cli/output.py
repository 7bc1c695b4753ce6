"""What commands print: tables for people, and JSON for programs. Both say the same.

Colour is for terminals only, and not where NO_COLOR is set. What goes to a pipe is not cut and has no colour.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..config import cluster_name

WIDTH_MIN = 40  # columns of a terminal below which nothing is cut any more
WIDTH_READ = 100  # columns of text that is wrapped, at most


def say(text: str, flush: bool = False) -> None:
    """A line for people, or a document of JSON."""
    print(text, flush=flush)


def complain(text: str) -> None:
    """A sentence about what is wrong, on standard error."""
    print(f"raftx: {text}", file=sys.stderr)


def progress(text: str) -> None:
    """How far a command has come that goes on: on standard error, and not in the form of what is wrong."""
    print(f"progress: {text}", file=sys.stderr, flush=True)


def complain_at_length(text: str) -> None:
    """Likewise in several sentences: a paragraph each, as wide as the terminal, but not wider than is easy to read."""
    width = max(WIDTH_MIN, min(WIDTH_READ, shutil.get_terminal_size().columns))
    sentences = [each for each in re.split(r"(?<=\.) (?=[A-Z])", f"raftx: {text}") if each]
    print("\n\n".join([textwrap.fill(each, width, break_on_hyphens=False) for each in sentences]), file=sys.stderr)


def as_json(value: Mapping[str, Any]) -> str:
    """One document."""
    return json.dumps(value, indent=2)


def fields(rows: Iterable[tuple[str, Any]]) -> str:
    """Names and values below each other; what has several lines is indented."""
    rows = [(name, shown(value)) for name, value in rows]
    width = max([len(name) for name, _ in rows], default=0)
    indent = "\n" + " " * (width + 2)
    return "\n".join([f"{name:<{width}}  {text.replace(chr(10), indent)}".rstrip() for name, text in rows])


def table(names: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[str] = ()) -> str:
    """Columns with their names above. ``left``: the names of those that are text; the others are numbers."""
    cells = [[shown(each) for each in row] for row in rows]
    widths = [max(len(each) for each in column) for column in zip(names, *cells)]
    return "\n".join(_lines([list(names), *cells], names, widths, left))


def stream(names: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[Any]], left: Sequence[str]) -> None:
    """Print a long table row by row, with columns at least so wide. On a terminal a line ends where the window does."""
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0

    def cells() -> Iterator[list[str]]:
        yield list(names)
        for row in rows:
            yield [shown(each) for each in row]

    for line in _lines(cells(), names, widths, left):
        say(line[: room - 1] + "\u2026" if WIDTH_MIN <= room < len(line) else line)


def _lines(
    rows: Iterable[Sequence[str]], names: Sequence[str], widths: Sequence[int], left: Sequence[str]
) -> Iterator[str]:
    for row in rows:
        parts = [
            f"{text:<{width}}" if name in left else f"{text:>{width}}" for name, width, text in zip(names, widths, row)
        ]
        yield "  ".join(parts).rstrip()


def shown(value: Any) -> str:
    """A value for people."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def readable(data: bytes) -> str:
    """Bytes for people: ASCII as it is, everything else escaped."""
    return repr(data)[2:-1] or "-"


def cluster_shown(cluster: bytes) -> str:
    """The name of a cluster: what can be given to the option --cluster, and as text where it is some."""
    name = cluster_name(cluster)
    return name if name == cluster.hex() else f"{cluster.hex()} ({name!r})"


# --- on a terminal -------------------------------------------------------------------------------------

GOOD, DOUBTFUL, BAD, PALE = "green", "yellow", "red", "dim"
Cell = str | tuple[str, str]  # text, and its style


def grid(names: Sequence[str], rows: Iterable[Sequence[Cell]], left: Sequence[str] = ()) -> Any:
    """A table for a terminal, of rich."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        made.add_column(name, justify="left" if name in left else "right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        made.add_row(*[Text(each) if isinstance(each, str) else Text(each[0], style=each[1]) for each in row])
    return made


def show(names: Sequence[str], rows: Sequence[Sequence[Cell]], left: Sequence[str] = ()) -> None:
    """Print a table: coloured and as wide as the window on a terminal, plain and whole elsewhere."""
    if sys.stdout.isatty():
        console().print(grid(names, rows, left))
    else:
        say(table(names, [[each if isinstance(each, str) else each[0] for each in row] for row in rows], left))


def console(errors: bool = False) -> Any:
    """Where rich prints to: standard output, or where errors go."""
    from rich.console import Console

    return Console(file=sys.stderr if errors else sys.stdout, highlight=False, markup=False, emoji=False)


# --- units ---------------------------------------------------------------------------------------------


def size_shown(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def time_shown(seconds: float | None) -> str:
    """A duration in the unit that fits."""
    if seconds is None:
        return "?"
    for least, scale, unit in ((1, 1, "s"), (1e-3, 1e3, "ms"), (0, 1e6, "us")):
        if seconds >= least:
            value = seconds * scale
            return f"{value:,.0f} {unit}" if value >= 10 or value == 0 else f"{value:.1f} {unit}"
    return "?"
