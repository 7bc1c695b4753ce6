"""The tests on a debug build (RAFTX_BUILD=debug), which is made in a copy of the tree: build/debug.

    python -m tests.tools.debug [--sanitize] [--fast] [--build-only] [arguments of pytest]
    python -m tests.tools.debug [--sanitize] --module tests.tools.frame_fuzz [its arguments]

Compiled code without the GIL trusts its callers with indexes and invariants. This build looks at them
(raftx/_native/check.h) and ends the process with the place of the first that does not hold; besides, Cython looks at
the elements of memoryviews, and assertions are on.

--sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer too, in build/debug-sanitized. Python itself is not
built that way, so libasan is loaded before everything else (LD_PRELOAD), and leaks are not looked for. Python's own
memory comes from malloc then, so that its bytes have borders that are seen. Any report fails the run, of child
processes too.
--module: a program on that build instead of the tests.
--fast: the tests of what is compiled lowest, of the log on disk and of the engine, for every change.

The tests that are left out are those of ubsan.py. Exit status: pytest's, 1 for a report, 2 when the build cannot be
made or looks at nothing.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.tools.copies import LEFT_OUT, TREE, Impossible, compile_in, follow, imported_from

BUILD = ROOT / "build" / "debug"
SANITIZED = ROOT / "build" / "debug-sanitized"

FAST = (
    "native",
    "storage",
    "node/test_channels.py",
    "node/test_contact.py",
    "node/test_disagreements.py",
    "node/test_futures.py",
    "node/test_life.py",
    "node/test_peers.py",
    "node/test_requests.py",
    "node/test_senders.py",
    "node/test_stepped.py",
)
JOBS = "2"
# C files of a debug build, within a copy (setup.py).
TRANSLATED = "build/cython-debug"

# Reads behind the end of an array that Python owns: must be reported, or nothing is.
FAULT = "#include <stdlib.h>\nint fault(int n) { volatile char *p = malloc(8); return p[n]; }\n"
SANITIZERS = "-fsanitize=address,undefined"


def compiler() -> list[str]:
    """The C compiler, as setuptools takes it."""
    return os.environ.get("CC", "cc").split()


def library(name: str) -> str:
    """The path of a library of the compiler. Raises Impossible."""
    found = subprocess.run(
        [*compiler(), f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise Impossible(f"the compiler has no {name}")
    return found


def environment(build: Path, sanitize: bool) -> dict[str, str]:
    """For everything that runs: the copy comes before what is installed, and only a debug build will do."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAFTX_", "PYTHON", "SANITIZE"))}
    made = {**kept, "PYTHONPATH": str(build), "RAFTX_REQUIRE_COMPILED": "1", "RAFTX_REQUIRE_DEBUG": "1"}
    if sanitize:
        reports = build / "reports" / "report"
        made |= {
            "LD_PRELOAD": library("libasan.so"),
            "PYTHONMALLOC": "malloc",
            # What was freed is kept from further use for a while: not so much that it looks like a leak.
            "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16:log_path={reports}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:log_path={reports}",
        }
    return made


def build(where: Path, sanitize: bool) -> None:
    """Compile what has changed. Raises Impossible."""
    where.mkdir(parents=True, exist_ok=True)
    follow(ROOT, where, TREE)
    translated = BUILD / TRANSLATED
    if sanitize and translated.exists() and not (where / TRANSLATED).exists():
        shutil.copytree(translated, where / TRANSLATED)  # with the times; they are the same for both
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAFTX_", "PYTHON", "SANITIZE"))}
    asked = {"RAFTX_BUILD": "debug", "SANITIZE": "1" if sanitize else ""}
    compile_in(where, {**kept, **asked}, b"__asan_" if sanitize else b"")


def reports(where: Path) -> list[str]:
    """What has been reported since the last ``clear``. That malloc refuses what no machine has is none."""
    texts = [path.read_text(errors="replace") for path in sorted((where / "reports").glob("report.*"))]
    return [text for text in texts if "ERROR: " in text or "runtime error" in text]


def clear(where: Path) -> None:
    """Forget the reports so far."""
    shutil.rmtree(where / "reports", ignore_errors=True)
    (where / "reports").mkdir(parents=True)


def probe(where: Path) -> None:
    """Commit a fault in a child process and look for its report. Raises Impossible."""
    clear(where)
    source, made = where / "fault.c", where / "fault.so.probe"
    source.write_text(FAULT)
    subprocess.run([*compiler(), SANITIZERS, "-fPIC", "-shared", str(source), "-o", str(made)], check=True)
    code = f"import ctypes; ctypes.CDLL({str(made)!r}).fault(9)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(where, True), check=False, capture_output=True)
    if done.returncode == 0 or not any("heap-buffer-overflow" in report for report in reports(where)):
        raise Impossible("a fault that was made on purpose is not reported")
    clear(where)


def command(arguments: Sequence[str], fast: bool) -> list[str]:
    """pytest on the copy."""
    options = ["-q", "-p", "no:cacheprovider", "-n", JOBS, "--dist", "loadfile", "--impl=compiled"]
    if fast:
        options += ["-m", "not slow", *[f"tests/{name}" for name in FAST]]
    else:
        options += [f"--ignore=tests/{name}" for name in LEFT_OUT]
    return [sys.executable, "-m", "tests.tools.suite", *options, *arguments]


def main(arguments: Sequence[str]) -> int:
    """The command."""
    arguments = list(arguments)
    flags = [each for each in ("--sanitize", "--fast", "--build-only") if each in arguments]
    arguments = [each for each in arguments if each not in flags]
    program: list[str] = []
    if "--module" in arguments:
        at = arguments.index("--module")
        program = [sys.executable, "-m", *arguments[at + 1 :]]
        if not arguments[at + 1 :] or at or "--fast" in flags:
            print(
                "debug: --module NAME comes last, with the program's own arguments, and without --fast", file=sys.stderr
            )
            return 2
    sanitize = "--sanitize" in flags
    where = SANITIZED if sanitize else BUILD
    try:
        build(where, sanitize)
        if sanitize:
            probe(where)
        variables = environment(where, sanitize)
        found = imported_from(where, variables)
        if not Path(found).is_relative_to(where) or found.endswith(".py"):
            raise Impossible(f"the wrong raftx is imported: {found}")
    except (Impossible, OSError, subprocess.CalledProcessError) as error:
        print(f"debug: {error}", file=sys.stderr)
        return 2
    if "--build-only" in flags:
        return 0
    asked = program or command(arguments, "--fast" in flags)
    status = subprocess.run(asked, cwd=where, env=variables, check=False).returncode
    if not sanitize:
        return status
    for report in reports(where):
        print(report, file=sys.stderr)
    if reports(where):
        print(f"debug: {len(reports(where))} processes reported a fault", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
