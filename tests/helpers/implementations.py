"""The package in both implementations. Not a test."""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType, SimpleNamespace

import raftx
from raftx import _pure


def on(variable: str) -> bool:
    """Whether an environment variable is set to something; "" and "0" mean off, as in the package."""
    return os.environ.get(variable, "") not in ("", "0")


# Under RAFTX_PURE=1 raftx itself is the interpreted package; else that is a second copy beside it.
IMPLEMENTATIONS: dict[str, ModuleType] = {"pure": raftx if on("RAFTX_PURE") else _pure.load()}
if raftx.COMPILED:
    IMPLEMENTATIONS["compiled"] = raftx


def module(impl: ModuleType, name: str) -> ModuleType:
    """The submodule of that implementation: ``module(impl, "consensus.raft")``."""
    return importlib.import_module(f"{impl.__name__}.{name}")


@functools.cache
def structures(impl: ModuleType) -> SimpleNamespace:
    """What Python sees of _core and of the modules below it, its entries, messages and errors, under one roof."""
    parts = [module(impl, name) for name in ("errors", "types", "_native.memory", "_native.outbox", "_core")]
    return SimpleNamespace(**{name: value for part in parts for name, value in vars(part).items() if name[0] != "_"})
