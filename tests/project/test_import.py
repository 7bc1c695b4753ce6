"""What a bare ``import raftx`` loads, and that the names which it leaves for later are there all the same.

Reads raftx/__init__.py and looks at fresh interpreters; how long an import takes is not asked.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.once

INIT = ROOT / "raftx" / "__init__.py"
#: of raftx, by a bare import; interpreted, the core has its parts besides
LOADED = {
    "raftx", "raftx._pure", "raftx._core", "raftx._native", "raftx._native.memory", "raftx._native.outbox",
    "raftx.errors", "raftx.types",
}  # fmt: skip
LOADED_COMPILED = LOADED | {"raftx._cyutility"}
LOADED_PURE = LOADED | {"raftx._native.checks", "raftx._native.layout", "raftx._twins"}
#: of Python's library, not by a bare import
REFUSED = {
    "asyncio", "concurrent.futures", "ctypes", "difflib", "hashlib", "hmac", "http", "importlib.util", "ipaddress",
    "json", "logging", "multiprocessing", "pathlib", "random", "secrets", "select", "selectors", "signal", "socket",
    "ssl", "subprocess", "tempfile", "threading", "traceback", "urllib.parse", "pynng",
}  # fmt: skip
#: not for a node either: they are for mistakes, backups and keys
REFUSED_OF_NODES = {
    "asyncio", "ctypes", "difflib", "hmac", "http", "json", "multiprocessing", "secrets", "ssl", "pynng",
}  # fmt: skip
# Without site, whose .pth files import what they like.
PROGRAM = """
import sys
before = {*sys.modules}
sys.path.insert(0, sys.argv[1])
exec(sys.argv[2])
print(*sorted({*sys.modules} - before))
"""


def loaded_by(code: str, pure: bool) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", PROGRAM, str(ROOT), code],
        check=True, cwd=ROOT, timeout=60, capture_output=True, text=True,
        env={**os.environ, "RAFTX_PURE": "1" if pure else ""},
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("mode", ["pure", "compiled"])
def test_a_bare_import_loads_the_core_alone(mode: str) -> None:
    if mode == "compiled" and not raftx.COMPILED:
        pytest.skip("this run has no compiled build (RAFTX_REQUIRE_COMPILED=1 makes that an error)")
    loaded = loaded_by("import raftx; raftx.COMPILED, raftx.Entry, raftx.Role, raftx.UsageError", mode == "pure")
    own = {name for name in loaded if name.partition(".")[0] == "raftx" and not name.startswith("raftx._twins.")}
    assert own == (LOADED_PURE if mode == "pure" else LOADED_COMPILED)
    assert loaded & REFUSED == set()


def test_a_node_loads_nothing_that_is_for_rare_cases() -> None:
    loaded = loaded_by("from raftx import Config, FileStorage, NngTransport, Node", pure=False)
    assert {"raftx.node.node", "raftx.storage.file", "raftx.transport.nng"} <= loaded
    assert loaded & REFUSED_OF_NODES == set()


OF_ASYNCIO = {"asyncio", "signal", "socket", "ssl"}
#: made use of when a node is made
PARTS_OF_NODES = {
    "raftx.node.assembly", "raftx.node.changer", "raftx.node.cluster_view", "raftx.node.engine", "raftx.node.parts",
    "raftx.node.status", "raftx.storage.file", "raftx.transport.nng", "raftx.cluster_file",
}  # fmt: skip


@pytest.mark.parametrize("name", ["raftx", "raftx.aio"])
def test_who_imports_node_and_makes_none_loads_no_engine(name: str) -> None:
    loaded = loaded_by(f"from {name} import Node", pure=False)
    assert "raftx.node.node" in loaded
    assert loaded & PARTS_OF_NODES == set()
    assert loaded & {*REFUSED_OF_NODES, "pathlib", "signal", "socket"} <= (OF_ASYNCIO if name == "raftx.aio" else set())


# Whoever asks a node in a signal handler, or after its package was replaced on the disk, must not import anything.
USED = """
import contextlib, sys, tempfile
from raftx import Config, FileStorage, NngTransport, Node, NotDone
class Machine:
    def apply(self, entry): return entry.index
    def snapshot(self): return b"state"
    def restore(self, state): pass
with tempfile.TemporaryDirectory() as where:
    storage = FileStorage.create(f"{where}/1", id=1, cluster="c", members=[1])
    node = Node(Config(id=1, cluster="c"), storage, NngTransport("tcp://127.0.0.1:0", {}), Machine())
    made = {*sys.modules}
    with node:
        node.wait_ready(60)
        started = {*sys.modules}
        for ask in (
            lambda: node.propose(b"a"), lambda: node.propose_many([b"b"]), node.barrier, node.read,
            lambda: node.query(lambda machine: 1), node.snapshot, lambda: node.propose(b"c"),
            lambda: node.backup(f"{where}/backup"), lambda: node.compact(2),
            lambda: node.add_learner(2, "tcp://127.0.0.1:9"), lambda: node.demote(2), lambda: node.remove(2),
            lambda: node.promote(1),
        ):
            ask().result(60)
        for refused in (node.move(7, "tcp://127.0.0.1:9"), node.add_voter(3, timeout=0.1)):
            with contextlib.suppress(NotDone):
                refused.result(60)
        with node.session() as session:
            session.propose(b"d").result(60)
        node.status().to_dict(), node.cluster_status(0.1).to_dict(), node.members, node.events(), repr(node)
print("made", *sorted(name for name in {*sys.modules} - made if name.startswith("raftx")))
print("started", *sorted({*sys.modules} - started))
"""


@pytest.mark.parametrize("pure", ["", "1"][not raftx.COMPILED :], ids="RAFTX_PURE={}".format)
def test_a_node_that_runs_imports_nothing(pure: str) -> None:
    """Nothing of raftx after it was made, nothing at all after its start."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USED],
        cwd=ROOT, timeout=180, capture_output=True, text=True,
        env={**os.environ, "RAFTX_PURE": pure},
    )  # fmt: skip
    assert (done.stderr, done.stdout.splitlines()) == ("", ["made", "started"])


def imported(body: list[ast.stmt]) -> dict[str, str]:
    """The names that statements import from raftx's modules, and from which."""
    return {
        alias.name: each.module
        for each in body
        if isinstance(each, ast.ImportFrom) and each.level == 1 and each.module
        for alias in each.names
    }


def test_names_for_type_checkers_are_those_that_come_later() -> None:
    """What is imported under TYPE_CHECKING is what __getattr__ imports, from the same places."""
    tree = ast.parse(INIT.read_text(encoding="utf-8"))
    checked = [each for each in tree.body if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"]
    assert len(checked) == 1
    later: dict[str, str] = raftx._LATER  # type: ignore[attr-defined]
    assert imported(checked[0].body) == later
    assert list(later) == sorted(later)
    at_once = set(imported(tree.body)) | {"COMPILED"}
    assert at_once & set(later) == set()
    assert at_once | set(later) == set(raftx.__all__)
    for name, module in later.items():
        assert getattr(raftx, name) is getattr(importlib.import_module(f"raftx.{module}"), name)
        assert vars(raftx)[name] is getattr(raftx, name)  # from the first time on without __getattr__


def test_dir_names_what_was_not_imported_yet() -> None:
    code = (
        "import raftx, sys\n"
        "assert {*raftx.__all__, 'aio', '__version__'} <= {*dir(raftx)}\n"
        "assert 'raftx.node' not in sys.modules\n"
        "from raftx import *\n"
        "assert Node is raftx.Node and 'raftx.node.node' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'raftx' has no attribute 'Nodes'$"):
        getattr(raftx, "Nodes")  # noqa: B009
    assert not hasattr(raftx, "_LATE")


def test_a_clone_that_hides_the_installed_package_says_so(tmp_path: Path) -> None:
    """Told alike by the command, the doctor and the first node, to whoever follows the quick start in the clone."""
    clone, site = tmp_path / "clone", tmp_path / "site"
    shutil.copytree(ROOT / "raftx", clone / "raftx", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (site / "raftx").mkdir(parents=True)
    (site / "raftx" / f"_core{EXTENSION_SUFFIXES[0]}").touch()
    node = (
        "import raftx\n"
        "transport = raftx.MemoryNetwork().transport()\n"
        "raftx.Node(raftx.Config(id=1), raftx.MemoryStorage([1]), transport).start().close()\n"
    )
    there = f"{clone / 'raftx'}, which is not compiled, hides the installed one in {site / 'raftx'}"
    for arguments in (["-m", "raftx", "--version"], ["-m", "raftx", "doctor", "--seconds", "0.1"], ["-c", node]):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=clone, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(site), "RAFTX_PURE": ""},
        )  # fmt: skip
        assert there in done.stdout + done.stderr, (arguments, done.stdout, done.stderr)


def test_the_tables_of_this_file_name_modules() -> None:
    """A name misspelt here would refuse nothing."""
    for name in (REFUSED | REFUSED_OF_NODES | PARTS_OF_NODES) - {"pynng"}:
        assert importlib.util.find_spec(name) is not None, name
    for name in LOADED | LOADED_PURE:
        assert any(Path(ROOT, *name.split(".")).with_suffix(suffix).exists() for suffix in ("", ".py", ".pyx")), name
