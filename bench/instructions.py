"""Instructions of ten operations of the compiled core, counted by callgrind, against those on record.

    python bench/instructions.py            check: 0 when all are within 5 % of bench/instructions.json
    python bench/instructions.py --write    put what is counted now on record

Instructions repeat where times do not. Each operation is run by a compiled loop (raftx/testing/drive.py) in a process
of its own under valgrind, which counts only while the loop is in the part that is to be measured. A count above the
record is a loss to be explained or mended, one below it a gain to be put on record: either fails. Exit status 1: a
count has changed; 2: nothing could be counted (no valgrind, or no compiled build); 3: counts differ, but so do the
compilers, so that it says nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import raftx
from raftx.testing import drive

RECORD = Path(__file__).with_suffix(".json")
FORMAT = 1
TOLERANCE = 0.05
CHANGED, IMPOSSIBLE, OTHER_TOOLS = 1, 2, 3

ROUNDS = 40
# The functions that valgrind counts in: the measured part of each loop.
COUNTED = "__pyx_f_5raftx_7testing_5drive_*_body"


#: What runs each operation so many rounds, and counts how many operations that were.
OPERATIONS: dict[str, Callable[[int], Any]] = {
    "one voter, an entry a Ready": lambda rounds: drive.Alone(rounds, 16, 1, 512),
    "one voter, 64 entries a Ready": lambda rounds: drive.Alone(rounds, 16, 64, 512),
    "three voters, an entry a Ready": lambda rounds: drive.Trio(rounds, 16, 1, 512),
    "a follower steps an append of 1": lambda rounds: drive.Appends(rounds, 256, 1, 512),
    "a follower steps an append of 64": lambda rounds: drive.Appends(rounds, 256, 64, 2048),
    "a leader steps an acknowledgement": lambda rounds: drive.Acknowledgements(rounds, 16, 3, 512),
    "a heartbeat and its answer": lambda rounds: drive.Heartbeats(rounds, True),
    "a campaign of 3": lambda rounds: drive.Campaigns(rounds, 3),
    "the commit index of 7": lambda rounds: drive.Commits(rounds, 7),
    "a frame of 64 is written, read and stepped": lambda rounds: drive.Frames(rounds, 256, 64, 2048),
}


def run(name: str, rounds: int) -> int:
    """Run an operation in this process; returns how often."""
    case = OPERATIONS[name](rounds)
    case.run()
    count: int = case.count
    if count <= 0:
        raise ValueError(f"{name}: nothing was done")
    return count


# --- counting ------------------------------------------------------------------------------------


def collected(said: str) -> int:
    """The number of instructions that valgrind says it has collected. Raises ValueError when it does not."""
    found = re.search(r"Collected\s*:\s*(\d+)", said)
    if found is None:
        raise ValueError(f"valgrind does not say what it has collected: {said[-500:]}")
    return int(found[1])


def count(name: str) -> float:
    """Instructions of one operation."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect={COUNTED}"]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RAFTX", "COVERAGE"))
    }
    done = subprocess.run(
        [*command, sys.executable, "-B", __file__, "--run", name, str(ROUNDS)],
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{name}: {done.stderr[-1000:]}")
    return collected(done.stderr) / int(done.stdout)


def tools() -> dict[str, str]:
    """What the counts depend on besides raftx."""

    def version(*command: str) -> str:
        if shutil.which(command[0]) is None:
            return "none"
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(r"\d+\.\d+", said)
        return found[0] if found else said.strip()

    import Cython

    try:
        # The C library chooses its copying by the processor.
        processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        processor = None
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "cython": ".".join(Cython.__version__.split(".")[:2]),
        "gcc": version("gcc", "-dumpfullversion"),
        "libc": platform.libc_ver()[1],
        "valgrind": version("valgrind", "--version"),
        "machine": platform.machine(),
        "processor": processor[1] if processor else "unknown",
    }


# --- the record ----------------------------------------------------------------------------------


def read(path: Path = RECORD) -> tuple[dict[str, str], dict[str, float]]:
    """(tools, instructions) on record. Raises ValueError for another file."""
    record = json.loads(path.read_text())
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} is no record of instructions of format {FORMAT}")
    return record["tools"], record["instructions"]


def write(counts: Mapping[str, float], used: Mapping[str, str], path: Path = RECORD) -> None:
    """Put counts on record."""
    rounded = {name: round(value, 1) for name, value in counts.items()}
    path.write_text(json.dumps({"format": FORMAT, "tools": used, "instructions": rounded}, indent=2) + "\n")


def judge(counts: Mapping[str, float], record: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """(lines of a table, names that are out of bounds)."""
    lines = [f"{'operation':<44} {'on record':>12} {'now':>12} {'change':>8}"]
    wrong = []
    for name in [*counts, *[name for name in record if name not in counts]]:
        old, new = record.get(name), counts.get(name)
        if old is None or new is None:
            lines.append(f"{name:<44} {'-' if old is None else f'{old:,.1f}':>12} {'-':>12}")
            wrong.append(name)
            continue
        change = new / old - 1
        mark = ""
        if abs(change) > TOLERANCE:
            wrong.append(name)
            mark = "  more: find out why" if change > 0 else "  fewer: put it on record"
        lines.append(f"{name:<44} {old:>12,.1f} {new:>12,.1f} {change:>+8.1%}{mark}")
    return lines, wrong


def check(counts: Mapping[str, float], used: Mapping[str, str]) -> int:
    """Compare with the record, and say so."""
    then, record = read()
    only = {name: value for name, value in record.items() if name in counts} if len(counts) < len(record) else record
    lines, wrong = judge(counts, only)
    print("\n".join(lines))
    if not wrong:
        return 0
    different = [f"{name} {then.get(name)} -> {used[name]}" for name in used if used[name] != then.get(name)]
    if different:
        print(f"not comparable: the record was taken with other tools ({', '.join(different)})")
        return OTHER_TOOLS
    print(
        f"{len(wrong)} of {len(lines) - 1} have changed by more than {TOLERANCE:.0%}. Look: valgrind --tool=callgrind "
        f'{sys.executable} {__file__} --run "{wrong[0]}" 20, then callgrind_annotate. Accept: {__file__} --write'
    )
    return CHANGED


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python bench/instructions.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put what is counted now on record")
    parser.add_argument("--only", choices=OPERATIONS, metavar="NAME", help="this operation")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        print(run(options.run[0], int(options.run[1])))
        return 0
    if options.write and options.only:
        parser.error("--write puts all of them on record")
    if shutil.which("valgrind") is None:
        print("instructions: valgrind is not here", file=sys.stderr)
        return IMPOSSIBLE
    if not raftx.COMPILED:
        print("instructions: raftx is not compiled", file=sys.stderr)
        return IMPOSSIBLE
    names = [options.only] if options.only else list(OPERATIONS)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        counts = dict(zip(names, pool.map(count, names)))
    if options.write:
        write(counts, tools())
        print("\n".join([f"{name:<44} {value:>12,.1f}" for name, value in counts.items()]))
        return 0
    return check(counts, tools())


if __name__ == "__main__":
    sys.exit(main())
