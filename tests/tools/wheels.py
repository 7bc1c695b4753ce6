"""Wheels for the Pythons of this machine, and the pure one, in dist/, each installed and tried in an empty environment.

    python -m tests.tools.wheels [--python PATH ...] [--directory dist] [--pure-only]

Without --python every python3.10 and newer that PATH or pyenv has is used. A compiled wheel is named after the oldest
glibc that it runs with, where auditwheel and patchelf can be had. It needs a C compiler and access to a package index.
A build of which Cython or the C compiler complains is refused, and so is a wheel that lacks a module or has more than
the package.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.sources import setup_file

# What a wheel has of the package beside its libraries: interpreted mode, debuggers and cimports need it.
SOURCES = (".py", ".pyi", ".pyx", ".pxd", ".pxi", ".h", "py.typed")
OLDEST = (3, 10)
NEWEST = (3, 14)
# What an installed raftx must be able to do, whatever lies in the current directory.
TRIAL = """
import sys, tempfile, raftx
assert raftx.COMPILED is (sys.argv[1] == "compiled"), raftx.COMPILED
class Counter:
    value = 0
    def apply(self, entry):
        self.value += int(entry.data)
        return self.value
with tempfile.TemporaryDirectory() as directory:
    raftx.FileStorage.create(directory, id=1, members={1: "tcp://127.0.0.1:0"})
    transport = raftx.NngTransport("tcp://127.0.0.1:0")
    with raftx.Node(raftx.Config(id=1), raftx.FileStorage(directory), transport, Counter()) as node:
        node.wait_ready(30)
        assert node.propose(b"5", timeout=10).result(20).result == 5
print("raftx", raftx.__version__, "on", sys.version.split()[0])
"""

# Each of these modules, of a package that is installed in a directory, is a compiled one.
IMPORT_COMPILED = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
import raftx
assert raftx.COMPILED
files = [importlib.import_module(name).__file__ for name in sys.argv[2:]]
assert all(file.startswith(sys.argv[1]) and not file.endswith(".py") for file in files), files
"""


class Refused(Exception):
    """What was built is not what it should be."""


def complaints(said: str) -> list[str]:
    """What Cython and the C compiler had to say of a place in a source."""
    return re.findall(r"(?:performance hint|warning): \S+:\d+:\d+: .*|\S+:\d+:\d+: warning: .*", said)


def misses(wheel: Path, tree: Path, compiled: Sequence[str]) -> list[str]:
    """What a wheel lacks of the package in a tree, where these modules are compiled, and what it should not have."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    stems = {module.replace(".", "/") for module in compiled}
    files = [path for suffix in SOURCES for path in (tree / "raftx").rglob(f"*{suffix}")]
    wanted = {path.relative_to(tree).as_posix() for path in files}
    libraries = {re.sub(r"\.[^/]*$", "", name) for name in names if name.endswith((".so", ".pyd"))}
    wrong = [f"{name} is missing" for name in sorted(wanted - set(names))]
    wrong += [f"{stem} is not compiled" for stem in sorted(stems - libraries)]
    wrong += [f"{name} is a library" for name in sorted(libraries) if not stems]
    wrong += [f"{name} does not belong there" for name in names if name.endswith((".c", ".pyc"))]
    return wrong + [f"{name} is not of the package" for name in names if not name.startswith(("raftx/", "raftx-"))]


def version_of(python: str) -> tuple[int, int] | None:
    """Major and minor; None for what does not run."""
    code = "import sys; print(*sys.version_info[:2]) if sys.implementation.name == 'cpython' else print(0, 0)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def pythons() -> list[str]:
    """One of each version that is here."""
    found: dict[tuple[int, int], str] = {}
    places = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], NEWEST[1] + 1)]
    places += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))]
    for place in filter(None, places):
        version = version_of(place)
        if version is not None and OLDEST <= version <= NEWEST:
            found.setdefault(version, place)
    return [found[version] for version in sorted(found)]


def environment(python: str, at: Path) -> Path:
    """A fresh environment; its python."""
    subprocess.run([python, "-m", "venv", at], check=True)
    return at / "bin" / "python"


def built(python: str, mode: str, place: Path) -> Path:
    """A wheel, made from a copy of what is in the tree: nothing of it is left there."""
    source = place / "source"
    ignore = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.so", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignore)
    inside = environment(python, place / "build")
    done = subprocess.run(
        [inside, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", place / "made", source],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "RAFTX_BUILD": mode},
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"{python}: pip wheel has failed:\n{done.stdout[-4000:]}")
    (wheel,) = (place / "made").glob("*.whl")
    wrong = complaints(done.stdout) + misses(wheel, source, list(setup_file().COMPILED) if mode == "compiled" else ())
    if wrong:
        raise Refused("\n".join([f"{wheel.name}:", *wrong]))
    return wheel


def repaired(wheel: Path, place: Path) -> Path:
    """The wheel with the tag of the oldest glibc that will do; itself, where that cannot be found out."""
    inside = environment(sys.executable, place / "audit")
    tools = [inside, "-m", "pip", "install", "--quiet", "auditwheel", "patchelf"]
    if sys.platform != "linux" or subprocess.run(tools).returncode:
        print(f"{wheel.name}: auditwheel cannot be had here, so its tag stays")
        return wheel
    path = f"{inside.parent}:{os.environ['PATH']}"
    command = [inside, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", place / "repaired", wheel]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if done.returncode:
        print(f"{wheel.name}: {done.stderr.strip().splitlines()[-1]}")
        return wheel
    (better,) = (place / "repaired").glob("*.whl")
    return better


def tried(wheel: Path, python: str, mode: str, place: Path) -> None:
    """Install it where nothing else is, and let a node run."""
    inside = environment(python, place / "try")
    subprocess.run([inside, "-m", "pip", "install", "--quiet", wheel], check=True)
    subprocess.run([inside, "-W", "error", "-c", TRIAL, mode], check=True, cwd=place)
    if mode == "compiled":
        where = "import os, raftx; print(os.path.dirname(os.path.dirname(raftx.__file__)))"
        site = subprocess.run([inside, "-c", where], check=True, cwd=place, capture_output=True, text=True).stdout
        modules = list(setup_file().COMPILED)
        subprocess.run([inside, "-W", "error", "-c", IMPORT_COMPILED, site.strip(), *modules], check=True, cwd=place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="of a Python; may be repeated")
    parser.add_argument("--directory", type=Path, default=ROOT / "dist")
    parser.add_argument("--pure-only", action="store_true", help="the wheel for those without a compiled one")
    arguments = parser.parse_args()
    arguments.directory.mkdir(exist_ok=True)
    chosen = arguments.python or pythons()
    wanted = [(python, "compiled") for python in chosen] if not arguments.pure_only else []
    for python, mode in [*wanted, (chosen[0], "pure")]:
        with tempfile.TemporaryDirectory(prefix="raftx-wheel-") as name:
            place = Path(name)
            try:
                wheel = built(python, mode, place)
            except Refused as refused:
                print(refused, file=sys.stderr)
                return 1
            if mode == "compiled":
                wheel = repaired(wheel, place)
            tried(wheel, python, mode, place)
            shutil.copy2(wheel, arguments.directory / wheel.name)
        print(f"{wheel.name}: {(arguments.directory / wheel.name).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
