"""Instructions of ten operations of the compiled core, counted by callgrind, against those on record.

    python bench/instructions.py            check: 0 when all are within 5 % of bench/instructions.json
    python bench/instructions.py --write    put what is counted now on record

Instructions repeat where times do not. Each operation is run by a compiled loop (raftx/testing/drive.py) in a process
of its own under valgrind, which counts only while the loop is in the part that is to be measured. A count above the
record is a loss to be explained or mended, one below it a gain to be put on record: either fails. Exit status 1: a
count has changed; 2: nothing could be counted (no valgrind, no compiled build, or one without symbols); 3: counts
differ, but so do the compilers, so that it says nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

# The tree that this file stands in is measured, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import raftx
from raftx.testing import drive

RECORD = Path(__file__).with_suffix(".json")
FORMAT = 1
TOLERANCE = 0.05
CHANGED, IMPOSSIBLE, OTHER_TOOLS = 1, 2, 3

ROUNDS = 40
# The functions that valgrind counts in: the measured part of each loop.
COUNTED = "__pyx_f_5raftx_7testing_5drive_*_body"


class Impossible(Exception):
    """Nothing could be counted; the text says why."""


#: What runs each operation so many rounds, and counts how many operations that were. Payloads of many entries are
#: small: valgrind counts the bytes of a large copy one by one, and nothing else would show beside them.
OPERATIONS: dict[str, Callable[[int], Any]] = {
    "one voter, an entry a Ready": lambda rounds: drive.Alone(rounds, 16, 1, 512),
    "one voter, 64 entries a Ready": lambda rounds: drive.Alone(rounds, 16, 64, 512),
    "three voters, an entry a Ready": lambda rounds: drive.Trio(rounds, 16, 1, 512),
    "a follower steps an append of 1": lambda rounds: drive.Appends(rounds, 256, 1, 512),
    "a follower steps an append of 64": lambda rounds: drive.Appends(rounds, 16, 64, 2048),
    "a leader steps an acknowledgement": lambda rounds: drive.Acknowledgements(rounds, 16, 3, 512),
    "a heartbeat and its answer": lambda rounds: drive.Heartbeats(rounds, True),
    "a campaign of 3": lambda rounds: drive.Campaigns(rounds, 3),
    "the commit index of 7": lambda rounds: drive.Commits(rounds, 7),
    "a frame of 64 is written, read and stepped": lambda rounds: drive.Frames(rounds, 16, 64, 2048),
}


def run(name: str, rounds: int) -> int:
    """Run an operation in this process; returns how often."""
    gc.disable()
    try:
        case = OPERATIONS[name](rounds)
        case.run()
    finally:
        gc.enable()
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


def command(name: str, output: str) -> list[str]:
    """What counts an operation; valgrind's profile goes to ``output``."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", f"--toggle-collect={COUNTED}"]
    return [*valgrind, sys.executable, "-B", str(Path(__file__).resolve()), "--run", name, str(ROUNDS)]


def count(name: str) -> float:
    """Instructions of one operation. Raises Impossible, and ValueError when the operation fails."""
    dropped = ("PYTHON", "RAFTX", "COVERAGE", "GLIBC_TUNABLES", "MALLOC_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    done = subprocess.run(
        command(name, "/dev/null"),
        # With all names bound at the start, none is looked up while something is counted.
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "LD_BIND_NOW": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{name}: {done.stderr[-1000:]}")
    instructions = collected(done.stderr)
    if not instructions:
        raise Impossible(f"valgrind finds no {COUNTED}: this build has no symbols, or the loops have other names")
    return instructions / int(done.stdout)


def tools() -> dict[str, str]:
    """What the counts depend on besides raftx."""

    def version(*command: str) -> str:
        if shutil.which(command[0]) is None:
            return "none"
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(r"\d+\.\d+", said)
        return found[0] if found else said.strip()

    try:
        # The C library chooses its copying by the processor.
        processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        processor = None
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "cython": ".".join(metadata.version("cython").split(".")[:2]),
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
    used, counts = record.get("tools"), record.get("instructions")
    if not isinstance(used, dict) or not all([isinstance(value, str) for value in used.values()]):
        raise ValueError(f"{path} does not say what it was taken with")
    if not isinstance(counts, dict) or not counts:
        raise ValueError(f"{path} has no instructions")
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ValueError(f"{path} has {value!r} instructions for {name!r}")
    return used, counts


def write(counts: Mapping[str, float], used: Mapping[str, str], path: Path = RECORD) -> None:
    """Put counts on record."""
    rounded = {name: round(value, 1) for name, value in counts.items()}
    path.write_text(json.dumps({"format": FORMAT, "tools": used, "instructions": rounded}, indent=2) + "\n")


def judge(counts: Mapping[str, float], record: Mapping[str, float]) -> tuple[list[str], dict[str, str]]:
    """(lines of a table, what is out of bounds: "more", "fewer", or "one side" for what only one of the two has)."""
    lines = [f"{'operation':<44} {'on record':>12} {'now':>12} {'change':>8}"]
    wrong = {}
    for name in [*counts, *[name for name in record if name not in counts]]:
        old, new = record.get(name), counts.get(name)
        if old is None or new is None:
            cells = ["-" if value is None else f"{value:,.1f}" for value in (old, new)]
            lines.append(f"{name:<44} {cells[0]:>12} {cells[1]:>12} {'':>8}  on one side only")
            wrong[name] = "one side"
            continue
        mark = ""
        if abs(new - old) > TOLERANCE * old:
            wrong[name] = "more" if new > old else "fewer"
            mark = "  more: find out why" if new > old else "  fewer: put it on record"
        lines.append(f"{name:<44} {old:>12,.1f} {new:>12,.1f} {new / old - 1:>+8.1%}{mark}")
    return lines, wrong


def advice(wrong: Mapping[str, str]) -> list[str]:
    """What is to be done about what is out of bounds."""
    accept = shlex.join([sys.executable, __file__, "--write"])
    of = {kind: [name for name in wrong if wrong[name] == kind] for kind in ("more", "fewer", "one side")}
    lines = []
    if of["more"]:
        lines += [
            f"{len(of['more'])} above the tolerance of {TOLERANCE:.0%}: a loss. Look, here and without the change:",
            f"  {shlex.join(command(of['more'][0], 'callgrind.out'))}",
            "  callgrind_annotate callgrind.out",
            f"If it is worth that, accept it: {accept}",
        ]
    if of["fewer"]:
        lines.append(f"{len(of['fewer'])} below it: a gain that would hide a later loss. Put it on record: {accept}")
    if of["one side"]:
        lines.append(f"{len(of['one side'])} not in both: the record is of other operations. Write it anew: {accept}")
    return lines


def check(counts: Mapping[str, float], used: Mapping[str, str]) -> int:
    """Compare with the record, and say so."""
    then, record = read()
    only = {name: value for name, value in record.items() if name in counts} if len(counts) < len(record) else record
    lines, wrong = judge(counts, only)
    print("\n".join(lines))
    if not wrong:
        return 0
    different = [f"{name} {then.get(name)} -> {used[name]}" for name in used if used[name] != then.get(name)]
    # No other compiler makes an operation come or go.
    if different and "one side" not in wrong.values():
        print(f"not comparable: the record was taken with other tools ({', '.join(different)})")
        return OTHER_TOOLS
    print("\n".join(advice(wrong)))
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
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            counts = dict(zip(names, pool.map(count, names)))
    except Impossible as error:
        print(f"instructions: {error}", file=sys.stderr)
        return IMPOSSIBLE
    if options.write:
        write(counts, tools())
        print("\n".join([f"{name:<44} {value:>12,.1f}" for name, value in counts.items()]))
        return 0
    return check(counts, tools())


if __name__ == "__main__":
    sys.exit(main())
