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
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.paths import ROOT

BUILD = ROOT / "build" / "ubsan"
REPORTS = BUILD / "reports"

COPIED = (
    "raftx", "tests", "interop", "examples", "bench", "docs", "setup.py", "pyproject.toml", "README.md", "LICENSE",
    "MANIFEST.in", "Makefile", "build/cython",
)  # fmt: skip
# After the flags of setup.py and of Python, which they overrule.
FLAGS = (
    "-O1 -g1 -fno-wrapv -fsanitize=undefined -fno-sanitize-recover=undefined -Werror=sign-compare "
    "-Werror=shift-overflow -Werror=shift-count-overflow -Werror=overflow"
)
LINK_FLAGS = "-fsanitize=undefined"

LEFT_OUT = (
    "project/test_build.py",
    "project/test_package.py",
    "project/test_documents.py",
    "project/test_modes.py",
    "project/test_mutants.py",
    "project/test_bench_core.py",
    "project/test_instructions.py",
    "project/test_demo_runs.py",
)
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


class Impossible(Exception):
    """There is no such build; the text says why."""


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
    """Make the copy what the tree is. Times are kept, so that only what has changed is compiled again."""
    found: set[Path] = set()
    for name in COPIED:
        source = ROOT / name
        if not source.exists():
            continue
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_dir() or path.suffix in (".so", ".pyc"):
                continue
            target = BUILD / path.relative_to(ROOT)
            found.add(target)
            now = path.stat()
            if (
                target.exists()
                and target.stat().st_mtime_ns == now.st_mtime_ns
                and target.stat().st_size == now.st_size
            ):
                continue
            if name == "build/cython" and target.exists() and target.stat().st_mtime_ns > now.st_mtime_ns:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    for name in ("raftx", "tests", "interop", "examples", "bench"):
        for path in (BUILD / name).rglob("*"):
            if path.is_file() and path.suffix not in (".so", ".pyc") and path not in found:
                path.unlink()


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
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=BUILD,
        env={**environment(), **compiler},
        check=False,
    )
    if done.returncode:
        raise Impossible("it does not compile (the compiler's message is above)")
    stamp.write_text(flags)
    modules = sorted((BUILD / "raftx").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
    bare = [str(path.relative_to(BUILD)) for path in modules if b"__ubsan_handle" not in path.read_bytes()]
    if bare or not modules:
        raise Impossible(f"these modules report nothing: {', '.join(bare) or 'none is compiled'}")


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
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *arguments]


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
    where = "import raftx, raftx._core; print(raftx._core.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=BUILD, env=environment(), check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(found).is_relative_to(BUILD) or found.endswith(".py"):
        print(f"ubsan: the wrong raftx is imported: {found}", file=sys.stderr)
        return 2
    status = run(command(arguments, "--fast" in flags))
    if "--fast" in flags and status == 0:
        status = run(
            [sys.executable, "-m", "raftx.testing.soak", "--schedules", "300", "--seed", "1", "--steps", "1000"]
        )
    for report in reports():
        print(report, file=sys.stderr)
    if reports():
        print(f"ubsan: {len(reports())} processes reported undefined behaviour", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
