"""What type checkers know: the result of a proposal is what ``apply`` returns, and that of a query what it calls."""

import ast
import re
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

USES = """
import asyncio
from typing import Any
import raftx


class Machine:
    def apply(self, entry: raftx.Entry) -> dict[str, int]:
        return {}

    def size(self) -> int:
        return 0


class Batches:
    def apply_batch(self, entries: list[raftx.Entry]) -> list[int]:
        return [entry.index for entry in entries]


class Refusing:
    def apply_batch(self, entries: list[raftx.Entry]) -> list[str | raftx.ApplyError]:
        return []


class Both(Machine):
    def apply_batch(self, entries: list[raftx.Entry]) -> list[dict[str, int]]:
        return []


def look(machine: Machine) -> bytes:
    return b""


def use(config: raftx.Config, storage: raftx.Storage, transport: raftx.Transport) -> None:
    with raftx.Node(config, storage, transport, Machine()) as node:
        reveal_type(node)
        reveal_type(node.propose(b""))
        reveal_type(node.propose(b"").result().result)
        reveal_type(node.propose_many([b""], timeout=1.0).result()[0].result)
        reveal_type(node.barrier().result().result)
        reveal_type(node.read(level="stale", max_staleness=1.0).result())
        reveal_type(node.query(look).result())
        reveal_type(node.query(Machine.size).result())
        reveal_type(node.transfer_leadership().result())
        reveal_type(node.step_down().result(1))
        reveal_type(node.propose(b"").result().timing.queue)
        reveal_type(node.wait_applied(3))
        reveal_type(node.session("x"))
        reveal_type(node.session("x").propose(b"").result().result)
        reveal_type(node.session("x").open().result())
    reveal_type(raftx.Node(config, storage, transport).propose(b"").result().result)
    reveal_type(raftx.Node(config, storage, transport, Batches()))
    reveal_type(raftx.Node(config, storage, transport, Refusing()))
    reveal_type(raftx.Node(config, storage, transport, Both()))
    reveal_type(raftx.aio.Node.from_file("x", id=1, state_machine=Batches()))


async def loop(config: raftx.Config, storage: raftx.Storage, transport: raftx.Transport) -> None:
    async with raftx.aio.Node(config, storage, transport, Machine()) as node:
        reveal_type(node)
        reveal_type(node.propose(b""))
        reveal_type((await node.propose(b"")).result)
        reveal_type((await node.propose_many([b""]))[0].result)
        reveal_type(await node.query(look))
        reveal_type(await node.query(Machine.size))
        reveal_type(await asyncio.gather(node.read(), node.barrier()))
        reveal_type(await asyncio.wait_for(node.transfer_leadership(), 1))
        reveal_type(await node.wait_ready(1))
        reveal_type((await node.session("x").propose(b"")).result)
        async for change in node.state_changes():
            reveal_type(change)
        future: asyncio.Future[raftx.Done[dict[str, int]]] = node.propose(b"")
        done, pending = await asyncio.wait([future])
    reveal_type(raftx.aio.Node(config, storage, transport))
    reveal_type(raftx.aio.Node.from_file("x", id=1, state_machine=Machine()))
    reveal_type(raftx.aio.Node.from_file("x", id=1))
    reveal_type(raftx.Node.from_file("x", id=1, state_machine=Machine()))
    reveal_type(raftx.aio.Node.of(raftx.Node(config, storage, transport, Machine())))


async def wait(node: raftx.Node[str]) -> raftx.Done[str]:
    reveal_type(await node.propose(b""))
    future: raftx.Future[raftx.Done[str]] = node.propose(b"")
    future.add_done_callback(lambda ended: print(ended.result().result.upper()))
    return await future
"""

REVEALED = [
    "Node[dict[str, int]]",
    "Future[Done[dict[str, int]]]",
    "dict[str, int]",
    "dict[str, int]",
    "None",
    "int",
    "bytes",
    "int",
    "StateChange",
    "StateChange",
    "float | None",
    "int",
    "Session[dict[str, int]]",
    "dict[str, int]",
    "int",
    "None",
    "Node[int]",
    "Node[str]",
    "Node[dict[str, int]]",
    "Node[int]",
    "Node[dict[str, int]]",
    "Future[Done[dict[str, int]]]",
    "dict[str, int]",
    "dict[str, int]",
    "bytes",
    "int",
    "tuple[int, Done[None]]",
    "StateChange",
    "int",
    "dict[str, int]",
    "StateChange",
    "Node[None]",
    "Node[dict[str, int]]",
    "Node[None]",
    "Node[dict[str, int]]",
    "Node[dict[str, int]]",
    "Done[str]",
]


#: what concurrent.futures looks at
SEEN = ("_condition", "_waiters", "_state")


@pytest.mark.once
@pytest.mark.slow
def test_the_result_has_the_type_that_apply_returns(tmp_path):
    source = tmp_path / "uses.py"
    source.write_text(USES, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "--cache-dir", str(tmp_path / "cache"), source],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    short = [re.sub(r"(?:\w+\.)+", "", each).replace("Union[float, None]", "float | None") for each in revealed]
    assert [each.replace("builtins.", "") for each in short] == REVEALED


@pytest.mark.once
def test_the_stub_has_what_the_module_has():
    """Methods and their parameters, in the same order."""
    path = ROOT / "raftx" / "node" / "futures.py"
    found = {}
    for name in (path, path.with_suffix(".pyi")):
        classes = [node for node in ast.parse(name.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
        for each in [each for each in classes if not each.name.startswith("_")]:
            for method in [node for node in each.body if isinstance(node, ast.FunctionDef)]:
                if method.name.startswith("_") and not method.name.startswith("__") and method.name not in SEEN:
                    continue
                if method.name in ("__repr__", "__class_getitem__", "__class__"):
                    continue
                arguments = [argument.arg for argument in method.args.args]
                found.setdefault(name.suffix, []).append((each.name, method.name, arguments))
    assert sorted(found[".py"]) == sorted(found[".pyi"])


def test_names_can_be_given_types_at_run_time(impl):
    """In annotations that are evaluated, as by dataclasses and web frameworks."""
    assert impl.Future[int].__origin__ is impl.Future and impl.Done[str].__args__ == (str,)
    assert impl.Node[int].__origin__ is impl.Node and impl.StateMachine[int]
    assert impl.BatchStateMachine[int]
    assert isinstance(impl.Future(), impl.Future)
