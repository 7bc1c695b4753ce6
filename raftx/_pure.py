"""The source-only import finder: runs raftx interpreted although compiled modules lie beside the sources.

``install("raftx")``, which raftx/__init__.py calls under ``RAFTX_PURE=1``, makes this process use the
``.py`` files only. ``load()`` loads the same directory once more, under another name and interpreted
as a whole, beside the compiled package: for tests, benchmarks and debugging.

Imports nothing of raftx and is never compiled. It sees one package only, by name: other packages,
and the compiled copy in the same process, are imported as always.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType

_ROOT = os.path.dirname(os.path.realpath(__file__))


class _SourceOnly:
    """A ``sys.meta_path`` finder that answers for one package, and with ``.py`` files only."""

    def __init__(self, package: str) -> None:
        self.raftx_package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the package; None for all others and for what does not exist."""
        if fullname == self.raftx_package:
            from importlib.util import spec_from_file_location

            return spec_from_file_location(
                fullname, os.path.join(_ROOT, "__init__.py"), submodule_search_locations=[_ROOT]
            )
        if not fullname.startswith(self.raftx_package + "."):
            return None
        for directory in path or ():
            spec = FileFinder(directory, (SourceFileLoader, [".py"])).find_spec(fullname)
            # No loader: a directory without __init__.py, which is no package of ours.
            if spec is not None and spec.loader is not None:
                return spec
        return None


def install(package: str) -> None:
    """Import the modules of ``package`` from source from now on. May be called twice."""
    # By attribute and not by type: a second copy of raftx has a class of its own.
    if not any(getattr(finder, "raftx_package", None) == package for finder in sys.meta_path):
        sys.meta_path.insert(0, _SourceOnly(package))


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


def load(name: str = "raftx_pure") -> ModuleType:
    """The whole package again, interpreted, as top-level package ``name``; the same one at every call.

    Its classes, exceptions included, are not those of ``raftx``: pass bytes from one to the other, not objects.
    """
    install(name)
    return importlib.import_module(name)
