"""What the build promises: sdist to wheel, the pure package, and all extensions or none.

Works on copies under tmp_path and without a network: the build backend is called directly, in the
environment that runs the tests. What is compiled is a toy: the whole package is what ``make wheels`` compiles, and
judges by the same functions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT
from tests.helpers.sources import setup_file
from tests.tools.wheels import IMPORT_COMPILED, complaints, misses

pytestmark = [pytest.mark.once, pytest.mark.slow]

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NEVER_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.so", "*.c", "*.egg-info", "__pycache__", ".*_cache", ".benchmarks"
)

needs_compiler = pytest.mark.skipif(
    not raftx.COMPILED, reason="this run has no compiled build (RAFTX_REQUIRE_COMPILED=1 makes that an error)"
)

# Two small modules and what a package needs around them; the list in setup.py is replaced to match.
TOY = {
    "raftx/_core.pyx": "VALUE = 1\n",
    "raftx/_core.pxd": "",
    "raftx/_core.py": "VALUE = 1\n",
    "raftx/consensus/__init__.py": "",
    "raftx/consensus/quorum.py": "def double(number):\n    return 2 * number\n",
    "raftx/consensus/quorum.pxd": "cpdef int double(int number)\n",
}
TOY_LIST = (
    'COMPILED = {\n    "raftx._core": "raftx/_core.pyx",\n    "raftx.consensus.quorum": "raftx/consensus/quorum.py",\n}'
)
BROKEN_C = 'cdef extern from "no_such_header.h":\n    int nothing\ndef double(number):\n    return nothing\n'


def run(directory: Path, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in that directory, under these variables instead of the caller's.

    Nothing here looks at the speed of what is compiled, so it is compiled without optimization.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAFTX_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory, env={**environment, "RAFTX_CFLAGS": "-O0", **variables}, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


def backend(directory: Path, call: str, *, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """One call of the build backend, as pip and build make it; results go to the directory's dist/."""
    (directory / "dist").mkdir(exist_ok=True)
    return run(
        directory, "-c", f"from setuptools import build_meta; build_meta.{call}('dist')", check=check, **variables
    )


def only(directory: Path, pattern: str) -> Path:
    (found,) = (directory / "dist").glob(pattern)
    return found


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source tree as a fresh clone has it."""
    copy = tmp_path / "tree"
    shutil.copytree(ROOT, copy, ignore=NEVER_COPIED)
    return copy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The project's own setup.py and pyproject.toml around two small modules, which compile in seconds."""
    copy = tmp_path / "toy"
    for name, text in TOY.items():
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("pyproject.toml", "MANIFEST.in", "LICENSE", "raftx/__init__.py", "raftx/_pure.py", "raftx/py.typed"):
        shutil.copy(ROOT / name, copy / name)
    own = (ROOT / "setup.py").read_text(encoding="utf-8")
    text, replaced = re.subn(r"^COMPILED = \{.*?^\}", lambda _: TOY_LIST, own, flags=re.DOTALL | re.MULTILINE)
    assert replaced == 1
    (copy / "setup.py").write_text(text, encoding="utf-8")
    # The package's public names come from modules that the toy does not have.
    init = copy / "raftx" / "__init__.py"
    init.write_text(
        "import os\nfrom . import _core, _pure\n__version__ = '0.1.0'\nCOMPILED = not _core.__file__.endswith('.py')\n",
        encoding="utf-8",
    )
    return copy


def compiled_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*.so"))


def unpacked(directory: Path, at: Path) -> Path:
    """The sdist of a tree, made and unpacked."""
    backend(directory, "build_sdist")
    with tarfile.open(only(directory, "*.tar.gz")) as archive:
        archive.extractall(at, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = at.iterdir()
    return source


def test_the_sdist_has_all_that_a_build_needs(tree: Path, tmp_path: Path) -> None:
    """The build itself is that of a toy below; ``make wheels`` compiles the whole package."""
    source = unpacked(tree, tmp_path / "unpacked")
    setup = setup_file()
    compiled = {file for path in setup.COMPILED.values() for file in setup.sources_of(str(ROOT / path))}
    assert len(compiled) > 2 * len(setup.COMPILED)
    needed = {file.relative_to(ROOT) for file in [*compiled, *(ROOT / "raftx").rglob("*.py")]}
    needed |= {Path(name) for name in ("setup.py", "pyproject.toml", "raftx/py.typed", "tests/conftest.py", "LICENSE")}
    assert sorted(name for name in needed if not (source / name).exists()) == []
    assert not [path for path in source.rglob("*") if path.suffix in (".c", ".so", ".pyc")]


@needs_compiler
def test_sdist_builds_the_compiled_wheel(toy: Path, tmp_path: Path) -> None:
    (toy / "README.md").write_text("A toy.\n", encoding="utf-8")
    source = unpacked(toy, tmp_path / "unpacked")
    done = backend(source, "build_wheel", RAFTX_BUILD="compiled")
    assert complaints(done.stdout + done.stderr) == []
    wheel = only(source, "*.whl")
    modules = [name.removesuffix(".pxd").replace("/", ".") for name in TOY if name.endswith(".pxd")]
    assert misses(wheel, source, modules) == []
    assert misses(wheel, source, [*modules, "raftx.none"]) == ["raftx/none is not compiled"]
    assert [text.split(" ", 1)[1] for text in misses(wheel, source, ())] == ["is a library"] * 3
    # Away from the source tree, which would be found first.
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    run(tmp_path, "-I", "-W", "error", "-c", IMPORT_COMPILED, str(installed), *modules)


def test_pure_wheel(tree: Path) -> None:
    # A leftover of an earlier build in place must not travel along.
    (tree / "raftx" / f"_core{SUFFIX}").write_bytes(b"not a library")
    backend(tree, "build_wheel", RAFTX_BUILD="pure", CC="/nonexistent")
    wheel = only(tree, "*.whl")
    assert wheel.name == f"raftx-{raftx.__version__}-py3-none-any.whl"
    names = names_in(wheel)
    assert misses(wheel, tree, ()) == []
    assert f"raftx-{raftx.__version__}.dist-info/licenses/LICENSE" in names
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"raftx-{raftx.__version__}.dist-info/METADATA").decode().splitlines()
    assert "License-Expression: MIT" in metadata
    assert "License-File: LICENSE" in metadata


def test_without_compiler_auto_builds_the_pure_package_and_says_so(tree: Path) -> None:
    done = backend(tree, "build_wheel", CC="/nonexistent")
    assert "NOT COMPILED" in done.stderr
    assert "no working C compiler" in done.stderr
    wheel = only(tree, "*.whl")
    assert wheel.name == f"raftx-{raftx.__version__}-py3-none-any.whl"
    assert not [name for name in names_in(wheel) if name.endswith(".so")]
    code = "import sys; sys.path.insert(0, sys.argv[1]); import raftx; assert not raftx.COMPILED"
    run(tree / "dist", "-I", "-c", code, str(wheel.rename(tree / "wheel.zip")))


def test_without_compiler_compiled_fails(tree: Path) -> None:
    done = backend(tree, "build_wheel", check=False, RAFTX_BUILD="compiled", CC="/nonexistent")
    assert done.returncode != 0
    assert "no working C compiler" in done.stderr
    assert not list((tree / "dist").glob("*.whl"))


def test_unknown_build_is_refused(toy: Path) -> None:
    done = run(toy, "setup.py", "--quiet", "build_ext", "--inplace", check=False, RAFTX_BUILD="fast")
    assert done.returncode != 0
    assert "RAFTX_BUILD must be auto, compiled, pure or debug" in done.stderr


@needs_compiler
def test_what_a_compiler_complains_about_is_seen(toy: Path) -> None:
    """``make wheels`` refuses a package that has such a line; here are a hint, and a warning of C."""
    (toy / "raftx" / "_core.pyx").write_text(
        "VALUE = 1\ncdef extern from *:\n    'static int unused(void) { return 1; }'\n"
        "def first(const int[::1] numbers, index):\n    return numbers[index]\n"
    )
    done = run(toy, "setup.py", "build_ext", "--inplace", RAFTX_BUILD="compiled")
    said = "\n".join(complaints(done.stdout + done.stderr))
    assert "Index should be typed" in said and "unused" in said


@needs_compiler
def test_in_place_build_is_incremental_and_all_or_nothing(toy: Path) -> None:
    build = ("setup.py", "build_ext", "--inplace")
    every = [f"_core{SUFFIX}", f"_cyutility{SUFFIX}", f"quorum{SUFFIX}"]
    assert "Cythonizing" in run(toy, *build).stdout
    assert compiled_in(toy / "raftx") == every
    assert "Cythonizing" not in run(toy, *build).stdout

    # An edit of one module compiles that one again.
    before = {path.name: path.stat().st_mtime_ns for path in (toy / "raftx").rglob("*.so")}
    (toy / "raftx/consensus/quorum.py").write_text(TOY["raftx/consensus/quorum.py"] + "\n", encoding="utf-8")
    run(toy, *build)
    changed = [path.name for path in (toy / "raftx").rglob("*.so") if path.stat().st_mtime_ns != before[path.name]]
    assert changed == [f"quorum{SUFFIX}"]

    # One that cannot be compiled takes the others with it.
    (toy / "raftx/consensus/quorum.pyx").write_text(BROKEN_C, encoding="utf-8")
    (toy / "raftx/consensus/quorum.pxd").unlink()
    setup = toy / "setup.py"
    setup.write_text(setup.read_text(encoding="utf-8").replace('quorum.py"', 'quorum.pyx"'), encoding="utf-8")
    done = run(toy, *build)
    assert "NOT COMPILED" in done.stderr
    assert compiled_in(toy / "raftx") == []
    assert run(toy, *build, check=False, RAFTX_BUILD="compiled").returncode != 0


@needs_compiler
def test_a_debug_build_and_a_normal_one_never_mix(toy: Path) -> None:
    """Each compiles all anew behind the other, and again if that was broken off: two modules and what they share."""
    (toy / "raftx/_core.pyx").write_text(
        'cdef extern from *:\n    """\n'
        "    #ifdef RAFTX_DEBUG\n    #define TOY 2\n    #else\n    #define TOY 1\n    #endif\n"
        '    """\n    int TOY\nVALUE = TOY\n',
        encoding="utf-8",
    )
    build = ("setup.py", "--quiet", "build_ext", "--inplace")
    ask = "from raftx import _core; print(_core.VALUE)"

    def built(mode: str) -> dict[str, int]:
        run(toy, *build, RAFTX_BUILD=mode)
        return {path.name: path.stat().st_mtime_ns for path in (toy / "raftx").rglob("*.so")}

    normal = built("compiled")
    assert run(toy, "-c", ask).stdout == "1\n"
    assert built("compiled") == normal
    debug = built("debug")
    assert len(debug) == 3 and not set(debug.values()) & set(normal.values())
    assert run(toy, "-c", ask).stdout == "2\n"
    assert built("debug") == debug
    broken = run(toy, *build, check=False, RAFTX_BUILD="compiled", RAFTX_CFLAGS="-no-such-option")
    assert broken.returncode != 0
    again = built("compiled")
    assert len(again) == 3 and not set(again.values()) & set(debug.values())
    assert run(toy, "-c", ask).stdout == "1\n"


@needs_compiler
def test_in_place_pure_build_removes_what_was_compiled(toy: Path) -> None:
    build = ("setup.py", "--quiet", "build_ext", "--inplace")
    run(toy, *build, RAFTX_BUILD="compiled")
    run(toy, "-c", "import raftx; assert raftx.COMPILED")
    run(toy, *build, RAFTX_BUILD="pure")
    assert compiled_in(toy / "raftx") == []
    run(toy, "-c", "import raftx; assert not raftx.COMPILED")
