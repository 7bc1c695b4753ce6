"""Arguments, exit codes, and errors in words. What is done stands in wal.py, snapshot.py and moves.py.

0 when it is done and nothing is wrong; 1 when there is damage, or a member would not start; 2 for wrong arguments; 3
when something cannot be read or written; 4 when it is refused because of what it would do.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator

from ..errors import (
    AlreadyFounded,
    ConfigError,
    Corruption,
    NotFounded,
    RaftError,
    SnapshotDamaged,
    StorageError,
    UsageError,
)
from . import moves, snapshot, wal
from .output import complain, complain_at_length

FINE = 0
DAMAGED = 1
USAGE = 2
UNREADABLE = 3
REFUSED = 4

EXIT_CODES = """exit codes:
  0  done, and nothing is wrong
  1  there is damage, or the member does not start with what there is
  2  wrong arguments
  3  something cannot be read or written: it is missing, is no member's directory, is in use, may not be opened
     by this user, has another version
  4  refused, because of what would be lost or is there already
  130, 141  interrupted; whoever reads the output has closed it
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    from .. import COMPILED, __version__  # here: each module can be imported without the top of the package

    top = argparse.ArgumentParser(
        prog="raftx",
        description="Look at what members keep on disk, and move it by hand.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = "compiled" if COMPILED else "interpreted"
    top.add_argument("--version", action="version", version=f"raftx {__version__} ({mode})")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parts = wal.add_to(commands)
    moves.add_rebuild(parts)
    moves.add_skip(parts)
    snapshot.add_to(commands)
    moves.add_to(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. Errors are one sentence on standard error."""
    for out in (sys.stdout, sys.stderr):
        # A file may have any bytes as its name, and a terminal any encoding.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            out.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            options = parser().parse_args(arguments)
            with _quiet():
                code = int(options.run(options))
        finally:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except moves.Refused as error:
        complain_at_length(str(error))
        return REFUSED
    except (RaftError, OSError, MemoryError) as error:
        complain(in_words(error))
        return code_of(error)


def code_of(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, AlreadyFounded):
        return REFUSED
    if isinstance(error, (Corruption, SnapshotDamaged)):
        return DAMAGED
    if isinstance(error, (NotFounded, StorageError)):
        return UNREADABLE
    if isinstance(error, (ConfigError, UsageError)):
        return USAGE
    return UNREADABLE


def in_words(error: BaseException) -> str:
    """One sentence."""
    if isinstance(error, OSError) and not isinstance(error, RaftError):
        where = error.filename
        name = os.fsdecode(where) if isinstance(where, (str, bytes)) else ""
        why = error.strerror or str(error) or type(error).__name__
        return f"cannot read {name}: {why}" if name else why
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the library logs is for programs: a command says itself what there is to say."""
    logger = logging.getLogger("raftx")
    handler = logging.NullHandler()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
