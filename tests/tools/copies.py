"""Copies of the tree under build/, for builds that leave the one in place alone: ubsan.py and debug.py make them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a build and the tests need.
TREE = (
    "raftx", "tests", "interop", "examples", "bench", "docs", "setup.py", "pyproject.toml", "README.md", "LICENSE",
    "MANIFEST.in", "Makefile",
)  # fmt: skip
# C files of the build in place, for a copy that has them translated alike.
TRANSLATED = "build/cython"

# About other builds, sources and documents; what runs copies or measures; processes with limits of time that are for a
# build that is not slowed down, and that run what the tests of Node run as well.
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


class Impossible(Exception):
    """There is no such build; the text says why."""


def follow(root: Path, copy: Path, names: Sequence[str]) -> None:
    """Make a copy what the tree is. Times are kept, so that only what has changed is compiled again."""
    found: set[Path] = set()
    for name in names:
        source = root / name
        if not source.exists():
            continue
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_dir() or path.suffix in (".so", ".pyc"):
                continue
            target = copy / path.relative_to(root)
            found.add(target)
            now = path.stat()
            if (
                target.exists()
                and target.stat().st_mtime_ns == now.st_mtime_ns
                and target.stat().st_size == now.st_size
            ):
                continue
            if name == TRANSLATED and target.exists() and target.stat().st_mtime_ns > now.st_mtime_ns:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    for name in ("raftx", "tests", "interop", "examples", "bench"):
        for path in (copy / name).rglob("*"):
            if path.is_file() and path.suffix not in (".so", ".pyc") and path not in found:
                path.unlink()


def compile_in(copy: Path, environment: Mapping[str, str], mark: bytes) -> None:
    """Compile what has changed; each module must contain ``mark``. Raises Impossible."""
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=copy, env=environment, check=False
    )
    if done.returncode:
        raise Impossible("it does not compile (the compiler's message is above)")
    modules = sorted((copy / "raftx").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
    bare = [str(path.relative_to(copy)) for path in modules if mark not in path.read_bytes()]
    if bare or not modules:
        raise Impossible(f"these modules report nothing: {', '.join(bare) or 'none is compiled'}")


def imported_from(copy: Path, environment: Mapping[str, str]) -> str:
    """The file of the compiled core that programs in a copy get."""
    where = "import raftx, raftx._core; print(raftx._core.__file__)"
    return subprocess.run(
        [sys.executable, "-c", where], cwd=copy, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
