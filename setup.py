"""What is compiled, and how. Everything else about the project is in pyproject.toml.

RAFTX_BUILD=auto      (default) compile; where that is impossible say so on stderr and build the pure package
RAFTX_BUILD=compiled  compile; a failure is fatal (CI, wheels)
RAFTX_BUILD=pure      compile nothing; the wheel is py3-none-any
RAFTX_BUILD=debug     compile with checks of indexes and invariants, for debuggers; a failure is fatal as well
SANITIZE=1            of a debug build: with AddressSanitizer and UndefinedBehaviorSanitizer
RAFTX_CFLAGS          C flags that come after the project's own

A half-compiled package fails at import (a compiled module holds the C layout of its neighbours), so
the extensions are built all or none. Developer loop: ``python setup.py build_ext --inplace``; it
compiles only what changed.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The one list, dependencies first. Never a glob: raftx/_core.py and raftx/_native/*.py are the interpreted
# twins of .pyx files and must not be compiled over them. tests/project/test_package.py holds it against the tree.
COMPILED = {
    "raftx._native.memory": "raftx/_native/memory.pyx",
    "raftx._native.outbox": "raftx/_native/outbox.pyx",
    "raftx._native.threads": "raftx/_native/threads.pyx",
    "raftx._native.files": "raftx/_native/files.pyx",
    "raftx._native.limits": "raftx/_native/limits.pyx",
    "raftx._native.wire": "raftx/_native/wire.pyx",
    "raftx._native.identity": "raftx/_native/identity.pyx",
    "raftx._native.seal": "raftx/_native/seal.pyx",
    "raftx._native.nng": "raftx/_native/nng.pyx",
    "raftx._native.sp": "raftx/_native/sp.pyx",
    "raftx._native.tcp": "raftx/_native/tcp.pyx",
    "raftx._core": "raftx/_core.pyx",
    "raftx.consensus.quorum": "raftx/consensus/quorum.py",
    "raftx.consensus.records": "raftx/consensus/records.py",
    "raftx.consensus.changes": "raftx/consensus/changes.py",
    "raftx.consensus.configuration": "raftx/consensus/configuration.py",
    "raftx.consensus.departed": "raftx/consensus/departed.py",
    "raftx.consensus.tracker": "raftx/consensus/tracker.py",
    "raftx.consensus.reads": "raftx/consensus/reads.py",
    "raftx.consensus.doubt": "raftx/consensus/doubt.py",
    "raftx.consensus.state": "raftx/consensus/state.py",
    "raftx.consensus.admission": "raftx/consensus/admission.py",
    "raftx.consensus.follower": "raftx/consensus/follower.py",
    "raftx.consensus.candidate": "raftx/consensus/candidate.py",
    "raftx.consensus.leader": "raftx/consensus/leader.py",
    "raftx.consensus.raft": "raftx/consensus/raft.py",
    "raftx.consensus.release": "raftx/consensus/release.py",
    "raftx.consensus.driver": "raftx/consensus/driver.py",
    "raftx.consensus.rawnode": "raftx/consensus/rawnode.py",
    "raftx.storage.writes": "raftx/storage/writes.py",
    "raftx.storage.ledger": "raftx/storage/ledger.py",
    "raftx.storage.reserve": "raftx/storage/reserve.py",
    "raftx.storage.wal_reader": "raftx/storage/wal_reader.py",
    "raftx.storage.wal_header": "raftx/storage/wal_header.py",
    "raftx.storage.wal_batch": "raftx/storage/wal_batch.py",
    "raftx.storage.wal_room": "raftx/storage/wal_room.py",
    "raftx.storage.wal_writer": "raftx/storage/wal_writer.py",
    "raftx.transport.queues": "raftx/transport/queues.py",
    "raftx.transport.link": "raftx/transport/link.py",
    "raftx.transport.sealed": "raftx/transport/sealed.py",
    "raftx.transport.nng": "raftx/transport/nng.py",
    "raftx.transport.tcp": "raftx/transport/tcp.py",
    "raftx.node.stamps": "raftx/node/stamps.py",
    "raftx.node.channels": "raftx/node/channels.py",
    "raftx.node.peers": "raftx/node/peers.py",
    "raftx.node.contact": "raftx/node/contact.py",
    "raftx.node.senders": "raftx/node/senders.py",
    "raftx.node.clocks": "raftx/node/clocks.py",
    "raftx.node.hello": "raftx/node/hello.py",
    "raftx.node.leases": "raftx/node/leases.py",
    "raftx.node.lag": "raftx/node/lag.py",
    "raftx.node.meetings": "raftx/node/meetings.py",
    "raftx.node.memory": "raftx/node/memory.py",
    "raftx.node.divergence": "raftx/node/divergence.py",
    "raftx.node.elections": "raftx/node/elections.py",
    "raftx.node.transfers": "raftx/node/transfers.py",
    "raftx.node.changes": "raftx/node/changes.py",
    "raftx.node.compaction": "raftx/node/compaction.py",
    "raftx.node.room": "raftx/node/room.py",
    "raftx.node.preference": "raftx/node/preference.py",
    "raftx.node.passing": "raftx/node/passing.py",
    "raftx.node.stall": "raftx/node/stall.py",
    "raftx.node.dispatch": "raftx/node/dispatch.py",
    "raftx.node.reads": "raftx/node/reads.py",
    "raftx.node.looks": "raftx/node/looks.py",
    "raftx.node.orders": "raftx/node/orders.py",
    "raftx.node.unled": "raftx/node/unled.py",
    "raftx.node.engine": "raftx/node/engine.py",
    "raftx.node.futures": "raftx/node/futures.py",
    "raftx.node.outcomes": "raftx/node/outcomes.py",
    "raftx.node.batches": "raftx/node/batches.py",
    "raftx.node.readers": "raftx/node/readers.py",
    "raftx.node.apply": "raftx/node/apply.py",
    "raftx.node.proposer": "raftx/node/proposer.py",
    "raftx.node.patience": "raftx/node/patience.py",
    "raftx.testing.disk": "raftx/testing/disk.py",
    "raftx.testing.drive": "raftx/testing/drive.py",
    "raftx.testing.misuse": "raftx/testing/misuse.py",
    "raftx.testing.pacer": "raftx/testing/pacer.py",
    "raftx.testing.pingpong": "raftx/testing/pingpong.py",
}

# What Cython would otherwise put into each of them, its memoryviews above all: most of the C code, if it stood there.
SHARED = "raftx._cyutility"

DIRECTIVES = {
    "language_level": 3,
    "auto_pickle": False,  # what is behind a pointer of C nobody but the class can copy
    "annotation_typing": False,  # C types come from the .pxd; annotations are for readers and type checkers
    "infer_types": True,  # locals of nogil code need no declarations
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
# -g0 after Python's own -g: debug information is six sevenths of a module, and a third of the time it takes to compile.
C_FLAGS = ["-O3", "-g0", "-fwrapv", "-Wall", "-Wsign-compare", "-pthread"]
LINK_FLAGS = ["-pthread"]
C_DIRECTORY = "build/cython"
# Of a debug build: what Cython can check by itself (elements of memoryviews and lists), and assertions, those of
# Python's headers among them. cdivision stays, or divisions would differ; nonecheck does not compile without the GIL.
DEBUG_DIRECTIVES = {"boundscheck": True, "initializedcheck": True, "show_performance_hints": False}
DEBUG_C_FLAGS = ["-O1", "-g", "-fwrapv", "-Wall", "-Wsign-compare", "-pthread", "-UNDEBUG", "-DRAFTX_DEBUG"]
DEBUG_C_DIRECTORY = "build/cython-debug"
# -fno-wrapv: a signed overflow is defined, but none is meant to happen.
SANITIZE_FLAGS = [
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-fno-wrapv",
]  # fmt: skip
MODE = "build/mode"  # the file that says with which settings what lies in build/ was compiled
JOBS = 2

CIMPORT = re.compile(r"^[ \t]*from[ \t]+(\.+)([\w.]*)[ \t]+cimport[ \t]+(?:\(([^)]*)\)|(.*))$", re.MULTILINE)
EXTERN = re.compile(r"^[ \t]*(?:cdef[ \t]+extern[ \t]+from|#include)[ \t]+\"([\w./]+)\"", re.MULTILINE)
INCLUDE = re.compile(r"^[ \t]*include[ \t]+\"([\w./]+)\"", re.MULTILINE)
# Where C looks for own headers. They are named with their directory: plain "memory.h" and "threads.h" are libc's.
HEADERS = "raftx"


def sources_of(path: str) -> set[Path]:
    """The file and all that its compiled form depends on: its .pxd, parts, those cimported (and so on), own C headers.

    Cython's own search does not follow ``from . cimport name``, and a module compiled against an
    outdated .pxd of its neighbour is worse than one that is merely old.
    """
    found: set[Path] = set()
    root = next((up for up in Path(path).parents if up.name == HEADERS), Path(HEADERS))
    waiting = [Path(path), Path(path).with_suffix(".pxd")]
    while waiting:
        file = waiting.pop()
        if file in found or not file.exists():
            continue
        found.add(file)
        if file.suffix not in (".pxd", ".pyx", ".pxi", ".h"):
            continue
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".h":
            waiting += [file.parent / header for header in EXTERN.findall(text)]
            continue
        waiting += [root / header for header in EXTERN.findall(text)]
        waiting += [file.parent / part for part in INCLUDE.findall(text)]
        for dots, module, several, one in CIMPORT.findall(text):
            directory = file.parent.joinpath(*[".."] * (len(dots) - 1), *filter(None, module.split(".")))
            directory = Path(os.path.normpath(directory))
            waiting.append(directory.with_suffix(".pxd"))
            waiting += [directory / f"{name}.pxd" for name in re.findall(r"\w+", re.sub("#.*", "", several or one))]
    return found


class AllOrNothing(build_ext):
    """Builds every extension or none."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or JOBS

    def run(self) -> None:
        inplace = bool(self.inplace)  # setuptools builds elsewhere first, and copies when all is well
        if BUILD == "pure":  # asked for by name, there being no extensions: the tree shall be as if never built
            self.remove_built(inplace)
            return
        try:
            super().run()
        except Exception as error:
            if BUILD in ("compiled", "debug"):
                raise SystemExit(f"raftx: not compiled, and RAFTX_BUILD={BUILD}: {error}") from error
            self.remove_built(inplace)
            print(
                f"raftx: NOT COMPILED, building the pure Python package instead: {error}\n"
                "raftx: (RAFTX_BUILD=compiled makes this an error; raftx.COMPILED tells which one is installed)",
                file=sys.stderr,
            )
            self.extensions = []
            self.distribution.ext_modules = []
            wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
            if wheel is not None:
                wheel.root_is_pure = True

    def build_extension(self, ext: Extension) -> None:
        super().build_extension(ext)
        self.compiled += 1
        self.show(f"compiled {self.compiled} of {len(self.extensions)} modules")

    def show(self, progress: str) -> None:
        """Overwrite the line of a terminal; elsewhere, and where everything is printed, it is of no use."""
        if not self.verbose and sys.stderr.isatty():
            print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)

    def build_extensions(self) -> None:
        """Turn the sources into C under C_DIRECTORY, then compile those (both only where out of date)."""
        self.check_compiler()
        from Cython.Build import cythonize

        debug = BUILD == "debug"
        directory = DEBUG_C_DIRECTORY if debug else C_DIRECTORY
        for extension in self.extensions:
            c_file = Path(directory, extension.sources[0]).with_suffix(".c")
            files = extension.depends if extension.name == SHARED else [*extension.sources, *extension.depends]
            newest = max(Path(file).stat().st_mtime for file in files)
            if c_file.exists() and c_file.stat().st_mtime < newest:
                c_file.unlink()
        self.compiled = 0
        self.show(f"translating {len(self.extensions)} modules to C")
        plain = [Extension(extension.name, list(extension.sources)) for extension in self.extensions]
        translated = cythonize(
            plain,
            build_dir=directory,
            compiler_directives=DIRECTIVES | DEBUG_DIRECTIVES if debug else DIRECTIVES,
            nthreads=JOBS,
            force=bool(self.force),
            quiet=not self.verbose,
            shared_utility_qualified_name=SHARED,
            emit_linenums=debug,  # for check.h and gdb: lines of the sources, not of the C files
        )
        # setuptools keeps notes on its own objects, so these stay and take over only the names of the C files.
        for extension, made in zip(self.extensions, translated, strict=True):
            extension.sources = made.sources
        mode = Path(MODE)
        if (mode.read_text(encoding="utf-8") if mode.exists() else "") != compilation():
            # What was compiled otherwise is out of date, whatever its time; and so it is if this build does not end.
            self.force = mode.exists() or debug
            mode.parent.mkdir(exist_ok=True)
            mode.write_text("unfinished", encoding="utf-8")
        super().build_extensions()
        self.show("")
        mode.write_text(compilation(), encoding="utf-8")

    def check_compiler(self) -> None:
        """Compile an empty extension, so that a missing compiler or header is told at once and by name."""
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory, "probe.c")
            source.write_text("#include <Python.h>\nint raftx_probe;\n", encoding="utf-8")
            try:
                self.compiler.compile([str(source)], output_dir=directory, include_dirs=self.include_dirs)
            except Exception as error:
                raise RuntimeError(
                    f"no working C compiler, or no Python.h (Debian: gcc and python3-dev): {error}"
                ) from error

    def remove_built(self, inplace: bool) -> None:
        """Delete every compiled module where this build would leave it: in the tree, or in the build directory."""
        root = Path() if inplace else Path(self.build_lib)
        for name in (SHARED, *COMPILED):
            Path(root, self.get_ext_filename(name)).unlink(missing_ok=True)


def compilation() -> str:
    """What object files of two builds must have in common to be of one kind."""
    return "debug, sanitized" if BUILD == "debug" and SANITIZE else "debug" if BUILD == "debug" else "normal"


def extensions() -> list[Extension]:
    """One Extension for each module of the list."""
    missing = [path for path in COMPILED.values() if not Path(path).exists()]
    if missing:
        raise SystemExit(f"setup.py lists sources that do not exist: {', '.join(missing)}")
    sanitizers = SANITIZE_FLAGS if BUILD == "debug" and SANITIZE else []
    flags = (DEBUG_C_FLAGS if BUILD == "debug" else C_FLAGS) + sanitizers
    flags += shlex.split(os.environ.get("RAFTX_CFLAGS", ""))
    return [
        Extension(
            name,
            [path],
            include_dirs=[HEADERS],
            # This file too: it says how they are translated.
            depends=sorted({"setup.py", *(str(file) for file in sources_of(path) if str(file) != path)}),
            extra_compile_args=flags,
            extra_link_args=LINK_FLAGS + sanitizers[:1],
        )
        for name, path in [(SHARED, SHARED.replace(".", "/") + ".c"), *COMPILED.items()]
    ]


BUILD = os.environ.get("RAFTX_BUILD", "") or "auto"
if BUILD not in ("auto", "compiled", "pure", "debug"):
    raise SystemExit(f"RAFTX_BUILD must be auto, compiled, pure or debug, not {BUILD!r}")
SANITIZE = os.environ.get("SANITIZE", "") not in ("", "0")

# The guard is for Cython's worker processes, which import this file again where they are not forked.
if __name__ == "__main__":
    setup(ext_modules=[] if BUILD == "pure" else extensions(), cmdclass={"build_ext": AllOrNothing})
