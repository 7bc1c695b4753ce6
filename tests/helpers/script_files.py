"""Script files: raftx's own, and those of other projects where there are any. Not a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.paths import DATA, ROOT

SCRIPTS = DATA / "scripts"
PEER_SCRIPTS = Path(os.environ.get("RAFTX_PEER_TESTDATA") or ROOT.parent / "shared" / "peer-testdata")


def peer_scripts(*directories: str) -> list[Path]:
    """Skips the test when there are none."""
    found = sorted([path for directory in directories for path in PEER_SCRIPTS.glob(f"{directory}/*.txt")])
    if not found:
        pytest.skip(f"no scripts of other projects under {PEER_SCRIPTS} (RAFTX_PEER_TESTDATA names another place)")
    return found
