"""Why the package runs interpreted, and what to do about it. Imports nothing of raftx; asked only where it does."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES

_ROOT = os.path.dirname(os.path.realpath(__file__))


def hidden() -> str:
    """The directory of a raftx that is compiled for this Python and hidden by this one; "": there is none.

    Only what ``sys.path`` names is looked at, which takes a few system calls.
    """
    for entry in sys.path:
        there = os.path.realpath(os.path.join(entry, "raftx"))
        if there != _ROOT and any(os.path.isfile(os.path.join(there, f"_core{end}")) for end in EXTENSION_SUFFIXES):
            return there
    return ""


def why(package: str) -> tuple[bool, str]:
    """Whether somebody wanted ``package`` to run interpreted, as it does; and why it does, or what to do about it."""
    if os.environ.get("RAFTX_PURE", "") not in ("", "0") or package != "raftx":
        return True, "That is as RAFTX_PURE says"
    other = hidden()
    if other:
        return False, (
            f"The package in {_ROOT}, which is not compiled, hides the installed one in {other}, which is: keep your "
            f"program outside of {os.path.dirname(_ROOT)} and start it elsewhere, or take that out of PYTHONPATH"
        )
    return False, (
        f"It was imported from {_ROOT}. Install it where there is a C compiler, and look at what the installation says"
    )
