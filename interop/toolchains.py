"""The compilers of other languages that a comparison may need, and what is built with them.

Nothing of raftx needs one: where a compiler is missing, only the comparison that asked for it cannot be made. Programs
are put under ``build/``; nothing else is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUST_SOURCES = ROOT / "interop" / "raft-rs"
RUST_TARGET = ROOT / "build" / "raft-rs"
GO_SOURCES = ROOT / "interop" / "etcd-raft"
GO_HARNESS = ROOT / "build" / "etcd-raft"
PORCUPINE_SOURCES = ROOT / "interop" / "porcupine"
PORCUPINE = ROOT / "build" / "porcupine"


class BuildFailed(Exception):
    """A program could not be built; the text says why."""


def find_cargo() -> str | None:
    """The cargo command, also where its installer puts it without PATH; None without one."""
    return shutil.which("cargo") or shutil.which(Path.home() / ".cargo" / "bin" / "cargo")


def cargo_needs_no_network() -> bool:
    """Whether cargo is here, and with it every crate that the programs around the raft crate need."""
    cargo = find_cargo()
    if cargo is None:
        return False
    # What cannot be resolved without downloads ends with an error.
    done = subprocess.run(
        [cargo, "metadata", "--format-version", "1", "--locked", "--offline"],
        cwd=RUST_SOURCES, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def build_rust(bin: str) -> Path:
    """One of the programs around the raft crate, compiled when its sources are newer. Raises BuildFailed."""
    program = RUST_TARGET / "release" / bin
    sources = [RUST_SOURCES / "Cargo.toml", RUST_SOURCES / "Cargo.lock", *RUST_SOURCES.glob("src/**/*.rs")]
    missing = [path for path in sources if not path.exists()]
    if missing:
        raise BuildFailed(f"{missing[0]} is missing")
    newest = max([path.stat().st_mtime for path in sources])
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    cargo = find_cargo()
    if cargo is None:
        raise BuildFailed("the cargo command is missing: install Rust (https://rustup.rs), or put cargo on PATH")
    done = subprocess.run(
        [cargo, "build", "--release", "--locked", "--bin", bin],
        cwd=RUST_SOURCES, env={**os.environ, "CARGO_TARGET_DIR": str(RUST_TARGET)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildFailed(f"cargo build --bin {bin} failed:\n{done.stderr}")
    # Cargo leaves a program alone that the newer sources do not change.
    program.touch()
    return program


def build_go(go: str | None = None, package: str = ".", program: Path = GO_HARNESS, sources: Path = GO_SOURCES) -> Path:
    """A program in Go, by default the harness around etcd's Raft, compiled when its sources are newer.

    Raises BuildFailed: also when a module is neither here nor to be had.
    """
    if not sources.is_dir():
        raise BuildFailed(f"{sources} is missing")
    newest = max([path.stat().st_mtime for path in (*sources.rglob("*.go"), sources / "go.mod")])
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    tool = go or shutil.which("go") or "/usr/local/go/bin/go"
    if shutil.which(tool) is None:
        raise BuildFailed(f"the go command is missing ({tool}): install Go, or say where it is: --go PATH")
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [tool, "build", "-o", str(program), package], cwd=sources, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildFailed(f"go build failed:\n{done.stderr}")
    # Go leaves a program alone that the newer sources do not change.
    program.touch()
    return program
