"""The sources of the package, read and not run. Not a test."""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType

from tests.helpers.paths import ROOT


@functools.cache
def setup_file() -> ModuleType:
    """setup.py as a module: its list, and what each listed file depends on."""
    spec = importlib.util.spec_from_file_location("raftx_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
