"""The tests of the leaf modules and of the core's structures under valgrind: what it finds in compiled code of raftx.

    python -m tests.tools.valgrind [TEST ...]

Reads and writes beside what was allocated, and memory that is lost for good, where raftx's code is among the innermost
frames; decisions by bytes that were never set, where it is the innermost. What valgrind says of CPython itself is left
out. Needs valgrind and a compiled build. Prints what was found; exits with 1 if it was anything, or a test failed, and
with 2 without valgrind.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from tests.helpers.paths import ROOT

TESTS = ("tests/native",)
INNERMOST = 8  # frames that are looked at: further out is the caller's code
PACKAGE = str(ROOT / "raftx") + os.sep
# Sizes that no malloc grants (FishyValue) are asked for by tests: they must end as MemoryError.
IGNORED = ("Leak_PossiblyLost", "Leak_StillReachable", "Leak_IndirectlyLost", "FishyValue")
UNSET = ("UninitValue", "UninitCondition")  # the interpreter hands on what it did itself
LIBRARY = ("libc.so", "vgpreload")  # frames that belong to who called them


def run(tests: list[str], directory: Path) -> int:
    """pytest's status; what valgrind says is in files of the directory, one a process."""
    command = [
        "valgrind", "--tool=memcheck", "--quiet", "--num-callers=25", "--leak-check=full", "--show-leak-kinds=definite",
        "--xml=yes", f"--xml-file={directory}/%p.xml", sys.executable, "-m", "pytest", "-q", "--impl=compiled",
        "-p", "no:cacheprovider", "-m", "not slow", *tests,
    ]  # fmt: skip
    # Python's own allocator hands out what valgrind would not see.
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONMALLOC": "malloc"}, check=False).returncode


def findings(path: Path) -> Counter[str]:
    """Kind and places of what raftx's code is in; a process that was killed leaves a file without an end."""
    text = path.read_text(encoding="utf-8")
    if "</error>" not in text:
        return Counter()
    if not text.rstrip().endswith("</valgrindoutput>"):
        text = text[: text.rindex("</error>")] + "</error></valgrindoutput>"
    found: Counter[str] = Counter()
    for error in ElementTree.fromstring(text).iter("error"):
        kind, frames = error.findtext("kind", ""), list(error.iter("frame"))[:INNERMOST]
        objects = [frame.findtext("obj") or "" for frame in frames]
        if kind in UNSET:
            objects = [each for each in objects if not Path(each).name.startswith(LIBRARY)][:1]
        if kind in IGNORED or not any([each.startswith(PACKAGE) for each in objects]):
            continue
        places = [frame.findtext("fn") or Path(frame.findtext("obj") or "?").name for frame in frames]
        found[f"{kind}: {' < '.join(places)}"] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tests", nargs="*", default=list(TESTS))
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("there is no valgrind (Debian: valgrind)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        status = run(options.tests, Path(directory))
        files = list(Path(directory).iterdir())
        found: Counter[str] = sum([findings(path) for path in files], Counter())
    for what, count in found.most_common():
        print(f"{count} times {what}")
    print(f"{len(files)} processes, {sum(found.values())} findings in code of raftx")
    return 1 if found or status else 0


if __name__ == "__main__":
    sys.exit(main())
