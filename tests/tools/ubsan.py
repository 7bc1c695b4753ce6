"""The compiled modules under UndefinedBehaviorSanitizer: a build of their own in build/ubsan, and the tests on it.

    python -m tests.tools.ubsan [--fast] [--build-only] [arguments of pytest]

C leaves open what happens when a shift, a sum or a conversion does not fit, and where it happens the interpreted
package shows nothing. This build reports it, wherever a test comes to it. Signed overflow is reported too: the normal
build, like Python's own, defines it (-fwrapv), but none is meant to happen. Comparisons of mixed signedness do not
compile.

Left out of the tests: those of the interpreted package, which runs none of this code; test_build.py, test_package.py,
test_documents.py and test_modes.py, which are about other builds, sources and documents; test_mutants.py,
test_bench_core.py and test_instructions.py, which run copies or measure; test_demo_runs.py, whose limits of time are
for a build that is not slowed down, and whose processes run what the tests of Node run here. With ``--fast`` also those
marked slow, thousands of simulated schedules among them, and those that wait for sockets and disks more than they
compute; 300 schedules of a soak, 15 of large groups among them, come in their place. That is for every change. pynng,
NNG, Python and libc are not built this way: what happens in them is not seen.

Any report fails the run, of child processes too: each writes its reports to a file, and ends with the first of them.
Exit status: pytest's, 1 for a report, 2 when the build cannot be made or reports nothing.
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
from tests.tools.copies import LEFT_OUT, TRANSLATED, TREE, Impossible, compile_in, follow, imported_from

BUILD = ROOT / "build" / "ubsan"
REPORTS = BUILD / "reports"

COPIED = (*TREE, TRANSLATED)
# After the flags of setup.py and of Python, which they overrule.
FLAGS = (
    "-O1 -g1 -fno-wrapv -fsanitize=undefined -fno-sanitize-recover=undefined -Werror=sign-compare "
    "-Werror=shift-overflow -Werror=shift-count-overflow -Werror=overflow"
)
LINK_FLAGS = "-fsanitize=undefined"

# Of a Node, NNG or the command line: seconds of waiting each. The rest is the core, the log, the codec and the WAL.
WAITING = (
    "transport/test_addresses.py",
    "conformance/counterparts/test_counterparts_node.py",
    "native/test_direct_nng.py",
    "node/test_doubt_node.py",
    "transport/test_frame_limits.py",
    "node/test_futures.py",
    "conformance/etcd/test_mixed.py",
    "transport/test_nng.py",
    "node/test_node.py",
    "node/test_processes.py",
    "transport/test_proxies.py",
    "project/test_readme.py",
    "storage/test_storage_conformance.py",
    "transport/test_strangers.py",
)

SOAK = ("--schedules", "300", "--seed", "1", "--steps", "1000")

# Must be reported, or the build reports nothing at all.
FAULT = "int fault(int slot) { return 1 << slot; }\n"


def environment() -> dict[str, str]:
    """For everything that runs: the copy comes before what is installed, and reports go to files."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAFTX_", "PYTHON", "UBSAN_"))}
    return {
        **kept,
        "PYTHONPATH": str(BUILD),
        "RAFTX_REQUIRE_COMPILED": "1",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:log_path={REPORTS / 'report'}",
    }


def copy() -> None:
    """Make the copy what the tree is."""
    follow(ROOT, BUILD, COPIED)


def build() -> None:
    """Compile what has changed. Raises Impossible."""
    BUILD.mkdir(parents=True, exist_ok=True)
    copy()
    stamp = BUILD / "flags"
    flags = f"{FLAGS}\n{LINK_FLAGS}\n{sys.version}\n"
    if not stamp.exists() or stamp.read_text() != flags:
        for path in BUILD.rglob("*.so"):
            path.unlink()
        for path in (BUILD / "build").glob("temp*"):
            shutil.rmtree(path)
    compiler = {"RAFTX_BUILD": "compiled", "RAFTX_CFLAGS": FLAGS, "LDFLAGS": LINK_FLAGS}
    compile_in(BUILD, {**environment(), **compiler}, b"__ubsan_handle")
    stamp.write_text(flags)


def reports() -> list[str]:
    """What has been reported since the last ``clear``."""
    return [path.read_text(errors="replace") for path in sorted(REPORTS.glob("report.*"))]


def clear() -> None:
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)


def probe() -> None:
    """Commit a fault in a child process and look for its report. Raises Impossible."""
    clear()
    source, library = BUILD / "fault.c", BUILD / "fault.so.probe"
    source.write_text(FAULT)
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, *FLAGS.split(), "-fPIC", "-shared", str(source), "-o", str(library)], check=True)
    code = f"import ctypes; ctypes.CDLL({str(library)!r}).fault(32)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False, capture_output=True)
    if done.returncode == 0 or not any("shift exponent 32" in report for report in reports()):
        raise Impossible("a fault that was made on purpose is not reported")
    clear()


def command(arguments: Sequence[str], fast: bool) -> list[str]:
    """pytest on the copy."""
    ignored = LEFT_OUT + (WAITING if fast else ())
    options = ["--impl=compiled", *[f"--ignore=tests/{name}" for name in ignored]]
    if fast:
        options += ["-m", "not slow"]
    return [sys.executable, "-m", "tests.tools.suite", "-q", "-p", "no:cacheprovider", *options, *arguments]


def run(program: Sequence[str]) -> int:
    """Run something on the copy; its exit status."""
    return subprocess.run(program, cwd=BUILD, env=environment(), check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """The command."""
    arguments = list(arguments)
    flags = [each for each in ("--fast", "--build-only") if each in arguments]
    arguments = [each for each in arguments if each not in flags]
    try:
        build()
        probe()
    except (Impossible, OSError, subprocess.CalledProcessError) as error:
        print(f"ubsan: {error}", file=sys.stderr)
        return 2
    if "--build-only" in flags:
        return 0
    found = imported_from(BUILD, environment())
    if not Path(found).is_relative_to(BUILD) or found.endswith(".py"):
        print(f"ubsan: the wrong raftx is imported: {found}", file=sys.stderr)
        return 2
    status = run(command(arguments, "--fast" in flags))
    if "--fast" in flags and status == 0:
        status = run([sys.executable, "-m", "raftx.testing.soak", *SOAK])
    for report in reports():
        print(report, file=sys.stderr)
    if reports():
        print(f"ubsan: {len(reports())} processes reported undefined behaviour", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
