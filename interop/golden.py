"""Golden traces: what another harness answered to some schedules, kept in one compressed file.

``write`` asks an oracle and is run by hand when the protocol or the generator changes:

    python -m interop.golden --with go --seeds 1..200 [--steps 200] [--path tests/data/golden/etcd-raft.xz]

``read`` gives them back; the tests replay them without the oracle.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import raftx

from .comparisons import COMPARISONS, Comparison
from .oracle import Oracle
from .parity import seeds_of
from .toolchains import BuildFailed, build_go

FORMAT = 1

Trace = tuple[dict[str, Any], list[list[Any]], list[str]]


def traces(
    comparison: Comparison,
    seeds: Iterable[int],
    ask: Callable[[dict[str, Any], list[list[Any]]], list[str]],
    steps: int = 0,
    package: ModuleType = raftx,
) -> Iterator[Trace]:
    """(head, steps, the oracle's answers) of each seed, with the comparison's number of steps or another one."""
    for seed in seeds:
        head, taken, _ = comparison.schedule(seed, steps or comparison.steps, package)
        yield head, taken, ask(head, taken)


def write(of: Iterable[Trace], path: Path) -> int:
    """Store traces; returns how many.

    One JSON line each behind a line that names the format. A state repeats most of the one before it of the same
    member, which is what the compressor lives on: its dictionary must hold several schedules.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 24}]
    count = 0
    with lzma.open(path, "wt", format=lzma.FORMAT_XZ, filters=filters, encoding="ascii") as out:
        out.write(json.dumps({"golden": FORMAT}) + "\n")
        for head, steps, answers in of:
            out.write(json.dumps([head, steps, answers], separators=(",", ":")) + "\n")
            count += 1
    return count


def read(path: Path) -> Iterator[Trace]:
    """The traces of a file. Raises ValueError for one of another format."""
    with lzma.open(path, "rt", encoding="ascii") as lines:
        if json.loads(next(lines)) != {"golden": FORMAT}:
            raise ValueError(f"{path} has golden traces of another format")
        for line in lines:
            head, steps, answers = json.loads(line)
            yield head, steps, answers


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: ask the oracle and write the file."""
    parser = argparse.ArgumentParser(prog="python -m interop.golden", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 201), metavar="A..B", help="default: 1..200")
    parser.add_argument("--with", dest="name", choices=COMPARISONS, default="go", help="whose answers (default: go)")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--go", metavar="PATH", help="the go command that builds etcd's harness")
    parser.add_argument("--oracle", type=shlex.split, metavar="COMMAND", help="another harness")
    options = parser.parse_args(arguments)
    comparison = COMPARISONS[options.name]
    path = options.path or comparison.golden
    try:
        if options.go:
            build_go(options.go)
        command = options.oracle or [str(comparison.build())]
    except BuildFailed as error:
        print(f"golden: {error}", file=sys.stderr)
        return 2
    oracle = Oracle(command)
    try:
        count = write(traces(comparison, options.seeds, oracle.ask, options.steps), path)
    finally:
        oracle.close()
    print(f"{path}: {count} schedules, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
