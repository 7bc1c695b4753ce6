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
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
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


def load(name: str = "raftx_pure") -> ModuleType:
    """The whole package again, interpreted, as top-level package ``name``; the same one at every call.

    Its classes, exceptions included, are not those of ``raftx``: pass bytes from one to the other, not objects.
    """
    install(name)
    return importlib.import_module(name)
