"""The rules that hold the package together: direction of imports, nogil, sizes, a fresh build.

Reads the sources; the only raftx code it runs is the import of each module alone.
"""

from __future__ import annotations

import ast
import importlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT
from tests.helpers.sources import setup_file

pytestmark = pytest.mark.once

PACKAGE = ROOT / "raftx"

# --- what may import what ------------------------------------------------------------------------

# A module may use its own layer's siblings by the same first name, and every layer below.
LAYERS = [
    {"errors", "types", "config", "report", "interpreted"},
    {"_native"},
    {"_core", "_twins"},
    {"consensus"},
    {"storage", "transport"},
    {"cluster_file", "web"},
    {"node"},
    {"aio", "admin"},
    {"recipes", "kv"},
    {"testing"},
    {"demo", "measure"},
    {"cli"},
    {"__main__"},
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}
# Where modules of one layer may import one another: only those that stand before them.
ORDERED = [
    ("errors", "types", "config"),
    tuple(
        f"_native.{name}"
        for name in (
            *("layout", "checks", "memory", "outbox", "threads", "files", "limits", "identity", "seal"),
            *("wire", "nng", "sp", "tcp"),
        )
    ),
    ("_twins.log", "_twins.flow", "_twins.codec", "_core"),
]
# Of what is native, the algorithm has entries, their sizes and messages, and what a debug build looks at.
CONSENSUS_NATIVE = {"_native.layout", "_native.checks", "_native.memory", "_native.outbox"}
# Names for C beside a .py that is not compiled: numbers, and what a header has.
DECLARATIONS = {"_native/layout.pxd", "_native/checks.pxd"}
# What any module may take from the package itself.
ROOT_NAMES = {"COMPILED", "__version__", "_pure"}
# Layers that may use the public names.
TOP = {"testing", "demo", "measure", "cli", "__main__"}
# The algorithm is deterministic: no clock, threads, files, network, logging, no randomness of its own.
CONSENSUS_REFUSED = {
    "asyncio", "datetime", "logging", "multiprocessing", "os", "pathlib", "pynng", "queue", "random", "secrets",
    "select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "uuid",
}  # fmt: skip

# --- nogil ---------------------------------------------------------------------------------------

NOGIL_FILES = [
    "_native/memory.pxd", "_native/outbox.pxd", "_native/threads.pxd", "_native/files.pxd", "_native/limits.pxd",
    "_native/identity.pxd", "_native/seal.pxd", "_native/wire.pxd", "_native/nng.pxd", "_native/sp.pxd",
    "_native/tcp.pxd", "_core.pxd", "transport/sealed.pxd",
    "storage/reserve.pxd", "storage/wal_reader.pxd", "storage/wal_writer.pxd", "transport/link.pxd",
    "transport/nng.pxd", "transport/tcp.pxd", "transport/queues.pxd", "storage/writes.pxd",
    "node/contact.pxd", "node/senders.pxd", "node/peers.pxd", "node/channels.pxd",
    "node/engine.pxd", "node/dispatch.pxd", "node/elections.pxd", "node/hello.pxd", "node/transfers.pxd",
    "node/compaction.pxd", "node/orders.pxd", "node/reads.pxd", "node/divergence.pxd",
]  # fmt: skip
# Views for Python and text: the only methods on the data path's classes that may take the GIL. Whoever adds one
# here says why in the .pxd.
WITH_GIL = {
    "raftx._native.memory.Cursor.payload",
    "raftx._native.memory.view_of",
    "raftx._native.threads.ManualClock.watch",
    "raftx.storage.reserve.Reserve.say",  # a log line
}

# --- sizes ---------------------------------------------------------------------------------------

LINES_MAX = 700
COLUMNS_MAX = 120

# Each module imported by itself, without raftx/__init__.py, which would import the rest first: in a child that is
# forked from a process which has imported what most of them take from the standard library, and nothing of raftx.
IMPORT_ALONE = """
import asyncio, concurrent.futures, dataclasses, http.server, importlib, json, logging, os, random, sys, tempfile
import traceback, types, urllib.request
directory, mode, *names = sys.argv[1:]
def alone(name):
    package = types.ModuleType("raftx")
    package.__path__ = [directory]
    sys.modules["raftx"] = package
    if mode == "pure":
        importlib.import_module("raftx._pure").install("raftx")
    importlib.import_module(name)
wrong = []
for name in names:
    child = os.fork()
    if not child:
        status = 1
        try:
            alone(name)
            status = 0
        except BaseException:
            print(name, file=sys.stderr)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        wrong.append(name)
sys.exit(", ".join(wrong) or 0)
"""


def sources(*suffixes: str) -> list[Path]:
    return sorted(path for suffix in suffixes for path in PACKAGE.rglob(f"*{suffix}"))


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    parts = parts[len(parts) - 1 - parts[::-1].index("raftx") :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def without_text(source: str) -> str:
    """Cython source without docstrings, verbatim C and comments."""
    source = re.sub(r'"""(.*?)"""', lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL)
    return re.sub(r"#[^\n]*", "", source)


def logical_lines(source: str) -> Iterator[str]:
    """Lines of Cython source, each whole: what stands in open brackets is joined."""
    line = ""
    for physical in without_text(source).splitlines():
        line = f"{line} {physical.strip()}" if line else physical.rstrip()
        if line.endswith("\\"):
            line = line[:-1]
        elif line.count("(") + line.count("[") <= line.count(")") + line.count("]"):
            if line.strip():
                yield line
            line = ""


def resolve(path: Path, dots: int, module: str, names: list[str]) -> Iterator[str]:
    """The modules that ``from ..module import names`` means in that file; a name of raftx itself as ``raftx:name``."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    package = package[: len(package) - (dots - 1)]
    base = ".".join([*package, *filter(None, module.split("."))])
    for name in names:
        place = ROOT.joinpath(*base.split("."), name)
        if place.is_dir() or any(place.with_suffix(suffix).exists() for suffix in (".py", ".pxd")):
            yield f"{base}.{name}"
        else:
            yield f"raftx:{name}" if base == "raftx" else base


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports or cimports, wherever in the file; ``raftx/...`` if by its absolute name."""
    for name in raw_imports_of(path):
        yield re.sub(r"^=raftx(\.|$)", "raftx/", name).removeprefix("=")


def raw_imports_of(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from (f"={alias.name}" for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level:
                yield from resolve(path, node.level, node.module or "", [alias.name for alias in node.names])
            elif isinstance(node, ast.ImportFrom):
                yield f"={node.module}"
        return
    for line in logical_lines(text):
        match = re.match(r"\s*from\s+(\.*)([\w.]*)\s+c?import\s+(.*)", line)
        if match and match[1]:
            names = [name.split()[0] for name in match[3].strip(" ()").split(",") if name.strip()]
            yield from resolve(path, len(match[1]), match[2], names)
        elif match:
            yield f"={match[2]}"
        else:
            match = re.match(r"\s*c?import\s+(.*)", line)
            if match:
                yield from (f"={name.split()[0]}" for name in match[1].split(","))


def test_imports_go_one_way() -> None:
    wrong = []
    for path in sources(".py", ".pyx", ".pxd"):
        name = module_name(path)
        if name in ("raftx", "raftx._pure"):
            continue
        where = path.relative_to(ROOT)
        own = name.split(".")[1]
        if own not in LAYER:
            wrong.append(f"{where}: {own} has no place in LAYERS")
            continue
        for imported in imports_of(path):
            if imported.startswith("raftx/"):
                wrong.append(f"{where}: imports {imported} by its absolute name; raftx_pure would get the other copy")
            elif imported.startswith("raftx:"):
                if imported[6:] not in ROOT_NAMES and own not in TOP:
                    wrong.append(f"{where}: takes {imported[6:]} from the top of the package")
            elif imported.startswith("raftx."):
                if not allowed(".".join(name.split(".")[1:]), ".".join(imported.split(".")[1:])):
                    wrong.append(f"{where}: {name} must not use {imported}")
    assert not wrong, "\n".join(wrong)


def allowed(name: str, imported: str) -> bool:
    """Whether a module may use another, both by their names within raftx."""
    own, other = name.split(".")[0], imported.split(".")[0]
    if other == "_pure":
        return own in TOP
    if other not in LAYER or (other == "_twins" and own not in ("_core", "_twins")):
        return False
    if own == "consensus" and other == "_native" and imported not in CONSENSUS_NATIVE:
        return False
    for order in ORDERED:
        if name in order and imported in order:
            return order.index(imported) < order.index(name)
    return own == other or LAYER[other] < LAYER[own]


def test_consensus_is_deterministic() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: imports {imported}"
        for path in sources(".py", ".pxd")
        if path.parent.name == "consensus"
        for imported in imports_of(path)
        if imported.split(".")[0] in CONSENSUS_REFUSED
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["pure", "compiled"])
def test_each_module_imports_alone(mode: str) -> None:
    if mode == "compiled" and not raftx.COMPILED:
        pytest.skip("this run has no compiled build (RAFTX_REQUIRE_COMPILED=1 makes that an error)")
    names = sorted({module_name(path) for path in sources(".py") if path.name != "__main__.py"} - {"raftx"})
    if mode == "compiled":  # where nothing imports the parts of a twin, nor can
        names = [name for name in names if not name.startswith("raftx._twins.")]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALONE, str(PACKAGE), mode, *names],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_setup_lists_what_is_compiled() -> None:
    compiled: dict[str, str] = setup_file().COMPILED
    assert all(name == module_name(ROOT / path) for name, path in compiled.items())
    missing = [path for path in compiled.values() if not (ROOT / path).exists()]
    assert not missing, f"in setup.py's list but not there: {missing}"
    untyped = [path for path in compiled.values() if not (ROOT / path).with_suffix(".pxd").exists()]
    assert not untyped, f"compiled without a .pxd: {untyped}"
    listed = {(ROOT / path).with_suffix("") for path in compiled.values()}
    listed |= {(PACKAGE / path).with_suffix("") for path in DECLARATIONS}
    stray = [str(path.relative_to(ROOT)) for path in sources(".pxd", ".pyx") if path.with_suffix("") not in listed]
    assert not stray, f"not in setup.py's list: {stray}"


def test_parts_of_a_module_are_rebuilt_with_it() -> None:
    """An included file that setup.py does not see would leave an old module behind."""
    seen = {file for path in setup_file().COMPILED.values() for file in setup_file().sources_of(str(ROOT / path))}
    assert [path.name for path in sources(".pxi") if path not in seen] == []
    headers = [path for path in PACKAGE.rglob("*.h") if path not in seen]
    assert not headers


def test_modules_run_with_an_old_glibc() -> None:
    """What is built on a new machine runs on older ones: wheels are manylinux_2_17, wherever they are made."""
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return  # _native/glibc.h does nothing there
    newest = {}
    for module in PACKAGE.rglob("*.so"):
        versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", module.read_bytes())
        newest[module.name] = max([(int(major), int(minor)) for major, minor in versions], default=(0, 0))
    assert {name: version for name, version in newest.items() if version > (2, 17)} == {}


def numbers(text: str) -> dict[str, int]:
    """The names that get a number in some source: members of an enum, variables, macros."""
    found = re.findall(r"^[ \t]*(?:#define RAFTX_)?([A-Z][A-Z0-9_]*)(?: = | )(\d+)\b", text, re.MULTILINE)
    return {name: int(value) for name, value in found}


def test_sizes_stand_once() -> None:
    """What layout.pxd says is what layout.py says, and nobody else gives these names a number; but memory.h."""
    native = PACKAGE / "_native"
    layout = numbers((native / "layout.pxd").read_text("utf-8"))
    assert layout == numbers((native / "layout.py").read_text("utf-8"))
    assert len(layout) > 30
    header = {
        name: value for name, value in numbers((native / "memory.h").read_text("utf-8")).items() if name in layout
    }
    assert header == {name: layout[name] for name in header}
    assert {"ENTRY_HEADER", "RECORD_CRC", "RECORD_LENGTH", "RECORD_INDEX", "RECORD_TERM"} <= set(header)
    for path in sources(".py", ".pyx", ".pxd", ".pxi", ".h"):
        where = path.relative_to(PACKAGE).as_posix()
        if where not in ("_native/layout.py", "_native/layout.pxd", "_native/memory.h"):
            twice = set(layout) & set(numbers(path.read_text("utf-8")))
            assert not twice, f"{where} gives a number to {', '.join(sorted(twice))}"


def test_no_offset_is_a_literal() -> None:
    """Where something stands in a record, a frame or a message has a name of layout's."""
    pattern = re.compile(
        r"(?:LD|ST)(?:32|64)\([^,()]*\+ \d+[,)]|\b(?:p|out|head|data|body|frame|self\.out|self\._out)\[\d+\]"
        r"|(?:pack_into|unpack_from)\(\w+, (?:\w+ \+ )?[1-9]\d*\b"
    )
    files = [*sources(".pxi"), *(PACKAGE / "_twins").glob("*.py")]
    files += [
        PACKAGE / "_native" / f"{name}{suffix}"
        for name in ("memory", "outbox", "threads")
        for suffix in (".py", ".pyx")
    ]
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []
    assert pattern.search("ST32(p + 4, 1)")
    assert pattern.search("out[5] = 1")
    assert pattern.search("_U32.unpack_from(frame, at + 8)")


def test_each_pyx_has_its_twin() -> None:
    lonely = [path.name for path in sources(".pyx") if not path.with_suffix(".py").exists()]
    assert not lonely


def test_build_is_fresh() -> None:
    if not raftx.COMPILED or Path(raftx.__file__).parent != PACKAGE:
        pytest.skip("not running compiled from the source tree")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    stale = []
    for name, path in setup_file().COMPILED.items():
        built = (ROOT / path).with_name((ROOT / path).stem + suffix)
        if not built.exists():
            stale.append(f"{name} is not compiled, others are")
            continue
        newer = [
            source.relative_to(ROOT)
            for source in setup_file().sources_of(str(ROOT / path))
            if source.stat().st_mtime > built.stat().st_mtime
        ]
        if newer:
            stale.append(f"{name} is older than {', '.join(sorted(map(str, newer)))}")
    assert not stale, "rebuild (python setup.py build_ext --inplace):\n" + "\n".join(stale)


def declarations(path: Path) -> Iterator[tuple[str, str]]:
    """(qualified name, what follows the argument list) of each function and method that a .pxd declares."""
    classes: list[tuple[int, str]] = []
    skipped: int | None = None  # indentation of the extern, struct, union or enum block that we are in
    for line in logical_lines(path.read_text(encoding="utf-8")):
        indent = len(line) - len(line.lstrip())
        line = line.strip()
        if skipped is not None and indent > skipped:
            continue
        skipped = None
        classes = [(depth, name) for depth, name in classes if depth < indent]
        qualified = ".".join([module_name(path), *(name for _, name in classes)])
        if match := re.match(r"cdef\s+class\s+(\w+)", line):
            classes.append((indent, match[1]))
        elif re.match(
            r"(cdef|ctypedef)\s+(extern\b|(public\s+|api\s+|packed\s+)*(struct|union|enum|cppclass)\b)", line
        ):
            skipped = indent
        elif re.match(r"(cpdef|def|property)\b", line):
            yield f"{qualified}: {line}", "not allowed in this .pxd: declare cdef"
        elif not re.match(r"cdef\b[^(]*\(\s*\*", line):  # a function pointer
            # The last name before a bracket is the function's: what stands earlier in brackets is a C tuple.
            match = re.match(r"cdef\s+.*?(\w+)\s*\((?:[^()]|\([^()]*\))*\)\s*([^()]*)$", line)
            if match:
                yield f"{qualified}.{match[1]}", match[2].strip().removesuffix(":")  # an inline one has a body


def gil_files() -> list[Path]:
    listed = [PACKAGE / name for name in NOGIL_FILES]
    return [path for path in listed if path.exists()] + sorted((PACKAGE / "consensus").glob("*.pxd"))


def test_declarations_are_read(tmp_path: Path) -> None:
    """The reader above: what it takes for a declaration, and what not."""
    source = tmp_path / "raftx" / "sample.pxd"
    source.parent.mkdir()
    source.write_text(
        'cdef extern from *:\n    """\n    int verbatim(void);\n    """\n    int foreign(int)\n'
        "ctypedef int (*callback)(void*) noexcept nogil\n"
        "cdef struct Row:\n    int (*hook)(int)\n"
        "cdef enum:\n    A = (1 + 2)\n"
        "cdef int LEADER, FOLLOWER\n"
        "cdef int module_level(int a) except -1 nogil\n"
        "cdef class Thing(Base):\n"
        '    """Text with cdef int words(int)."""\n'
        "    cdef int values[16]\n"
        "    cdef (int, int) pair\n"
        "    cdef object (*function)(int)\n"
        "    cdef (int, int) two(self, int a) noexcept nogil\n"
        "    cdef void text(self) with gil  # why\n"
        "    cdef int long_one(self, int a,\n"
        "                      int b) except -1 nogil\n"
        "    cdef inline bint bare(self, int (*f)(int))\n"
        "    cdef inline int bodied(self) noexcept nogil:\n        return 1\n"
        "cdef uint8_t* after(Thing t) except NULL nogil\n",
        encoding="utf-8",
    )
    found = {name.split("raftx.sample.")[1]: rest for name, rest in declarations(source)}
    assert found == {
        "module_level": "except -1 nogil",
        "Thing.two": "noexcept nogil",
        "Thing.text": "with gil",
        "Thing.long_one": "except -1 nogil",
        "Thing.bare": "",
        "Thing.bodied": "noexcept nogil",
        "after": "except NULL nogil",
    }


def test_every_method_says_nogil_or_with_gil() -> None:
    wrong = []
    takes_gil = set()
    for path in gil_files():
        for name, rest in declarations(path):
            if re.search(r"\bwith\s+gil$", rest):
                takes_gil.add(name)
            elif not re.search(r"\bnogil$", rest):
                wrong.append(f"{name}: says {rest or 'nothing'!r}, not nogil or with gil")
    assert not wrong, "\n".join(wrong)
    assert takes_gil == WITH_GIL


@pytest.mark.once
def test_nothing_compiled_is_copied_behind_its_back() -> None:
    """What Cython makes by itself for pickle and copy reads as text what a pointer leads to."""
    assert setup_file().DIRECTIVES["auto_pickle"] is False
    classes = {
        each
        for name in setup_file().COMPILED
        for each in vars(importlib.import_module(name)).values()
        if isinstance(each, type) and each.__module__ == name
    }
    assert len(classes) > 50
    assert [each for each in classes if "__reduce_cython__" in vars(each)] == []


TWINS = [name for name, path in setup_file().COMPILED.items() if path.endswith(".pyx")]

# What stubtest need not find on both sides of a twin. Everything else that Python can see must agree.
TWINS_DIFFER = [
    r".*\.__(reduce_cython|setstate_cython|pyx_capi|pyx_vtable|test)__",  # Cython's own
    r".*\.__init__",  # compiled classes are built by __cinit__, whose signature is not shown
    r".*\.__(eq|setattr|delattr|buffer|release_buffer|bytes|del)__",  # slots of the C type
    r".*\.[A-Z][A-Z0-9_]*",  # constants: enum members on one side, imported numbers on the other
    r".*\._[a-z]\w*",  # private
    r"raftx\._native\.threads\.ManualClock\.(now|boot|until|wall)",  # inherited in the .pxd
    r"raftx\._native\.memory\.View\..*",  # the twin's is memoryview itself
    r"raftx\._(core|native\.\w+)\.[A-Z]\w*\.__(enter|exit|class_getitem|iter|contains|getitem|setitem)__",
]

# Declared in a .pxd for the compiled modules only.
TWINS_LACK = {"raftx._native.memory.view_of"}  # memoryview does it


@pytest.mark.slow
def test_twins_have_one_api(tmp_path: Path) -> None:
    """The .py is the stub that stubtest holds against the compiled module; what is cdef only, Python cannot see."""
    if not raftx.COMPILED:
        pytest.skip("this run has no compiled build (RAFTX_REQUIRE_COMPILED=1 makes that an error)")
    unseen = []
    for name in TWINS:
        header = ROOT.joinpath(*name.split(".")).with_suffix(".pxd")
        unseen += [re.escape(method) for method, _ in declarations(header)]
        text = without_text(header.read_text(encoding="utf-8"))
        unseen += [re.escape(f"{name}.{struct}") for struct in re.findall(r"\bstruct\s+(\w+)", text)]
        twin = header.with_suffix(".py").read_text(encoding="utf-8")
        unseen += [re.escape(f"{name}.{alias}") for alias in re.findall(r"^(\w+): TypeAlias\b", twin, re.MULTILINE)]
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("\n".join([*TWINS_DIFFER, *unseen]) + "\n", encoding="utf-8")
    options = ["--allowlist", str(allowed), "--ignore-unused-allowlist", "--ignore-disjoint-bases", "--concise"]
    options += ["--mypy-config-file", "pyproject.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", *TWINS, *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", TWINS)
def test_twins_have_what_the_header_declares(name: str) -> None:
    """What is cdef only, Python cannot see and stubtest does not look for: other modules call it in both modes."""
    header = ROOT.joinpath(*name.split(".")).with_suffix(".pxd")
    defined = set()
    twin = header.with_suffix(".py")
    parts = sorted((PACKAGE / "_twins").glob("*.py")) if name == "raftx._core" else []
    for node in [node for path in (twin, *parts) for node in ast.parse(path.read_text(encoding="utf-8")).body]:
        if isinstance(node, ast.FunctionDef):
            defined.add(f"{name}.{node.name}")
        elif isinstance(node, ast.ClassDef):
            defined |= {f"{name}.{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    public = {each for each, _ in declarations(header) if not each.split(".")[-1].startswith("_")}
    assert sorted(public - defined - TWINS_LACK) == []


def test_files_are_short() -> None:
    wrong = []
    for path in sources(".py", ".pyx", ".pxd", ".pxi"):
        name = str(path.relative_to(ROOT))
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LINES_MAX:
            wrong.append(f"{name}: {len(lines)} lines of {LINES_MAX}")
        if path.suffix == ".py":
            wrong += [f"{name}:{number}: too long" for number, line in enumerate(lines, 1) if len(line) > COLUMNS_MAX]
    assert not wrong, "\n".join(wrong)


def test_files_say_what_they_are_for() -> None:
    """Each file that is not empty opens with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(".py", ".pyx", ".pxi")
        if (text := path.read_text(encoding="utf-8").strip()) and not text.startswith(('"""', "#"))
    ]
    assert not silent


def test_nothing_prints() -> None:
    """Only commands do; the library logs."""
    wrong = []
    for path in sources(".py", ".pyx", ".pxi"):
        text = path.read_text(encoding="utf-8")
        if path.relative_to(PACKAGE).parts[0] in ("cli", "demo") or path.name in (
            "soak.py",
            "forgetting.py",
            "contradicting.py",
            "partial.py",
        ):
            continue
        if path.suffix == ".py":
            calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
            prints = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        else:
            prints = bool(re.search(r"\bprint\(", without_text(text)))
        if prints:
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong


def test_public_names_are_sorted_and_there() -> None:
    assert sorted(raftx.__all__) == list(raftx.__all__)
    assert [name for name in raftx.__all__ if not hasattr(raftx, name)] == []


def test_pure_copy_is_interpreted_and_apart() -> None:
    """load() gives one interpreted copy, nested packages included, and leaves raftx as it is."""
    code = (
        "import raftx, sys\n"
        "from raftx import _pure\n"
        "copy = _pure.load()\n"
        "assert copy is _pure.load() and copy is sys.modules['raftx_pure'] and copy is not raftx\n"
        "import raftx_pure.consensus.raft as interpreted, raftx.consensus.raft as own\n"
        "assert interpreted.__file__.endswith('.py') and interpreted.Raft is not own.Raft\n"
        "assert own.__file__.endswith('.py') is not raftx.COMPILED and not copy.COMPILED\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'raftx_pure']\n"
        "assert all(file.endswith('.py') for file in files), files\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(("value", "forced"), [("1", True), ("", False), ("0", False)])
def test_pure_by_environment(value: str, forced: bool) -> None:
    built = any(PACKAGE.glob(f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"))
    code = "import raftx, raftx.consensus.raft as r; print(raftx.COMPILED, r.__file__.endswith('.py'))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True, cwd=ROOT, timeout=60, capture_output=True, text=True,
        env={**os.environ, "RAFTX_PURE": value},
    )  # fmt: skip
    assert done.stdout.split() == [str(built and not forced), str(forced or not built)]
