"""The entrance: what an error is in words, and as an exit code (codes.py). The commands are in app.py.

Imports nothing of the extra ``cli`` before it is needed: without it this says how to get it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

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
from .codes import CLOSED, DAMAGED, INTERRUPTED, NOT_INSTALLED, REFUSED, UNREADABLE, USAGE
from .output import as_json, complain, complain_at_length, say

COMPLETE = "_RAFTX_COMPLETE"  # in the environment: what a shell asks for while somebody types


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. Errors are one sentence on standard error."""
    for out in (sys.stdout, sys.stderr):
        # A file may have any bytes as its name, and a terminal any encoding.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            out.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("click", "rich"):
            raise
        complain("the command line needs click and rich, which are not installed: pip install 'raftx[cli]'")
        return NOT_INSTALLED
    try:
        try:
            return _run(app, sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED


def _run(app: Any, arguments: list[str]) -> int:
    """Run a command, with whatever it raises but a closed pipe."""
    import click
    from click.shell_completion import shell_complete

    from .base import DEBUG, PROGRAMS, Refused, Told

    if COMPLETE in os.environ:
        return shell_complete(app, {}, "raftx", COMPLETE, os.environ[COMPLETE])
    meta: dict[str, Any] = {}
    try:
        with _quiet(), app.make_context("raftx", arguments) as context:
            meta = context.meta
            return int(app.invoke(context) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except click.ClickException as error:
        _usage(error)
        return USAGE
    except Exception as error:
        if meta.get(DEBUG):
            traceback.print_exc()
        if isinstance(error, Refused):
            complain_at_length(str(error))
            return REFUSED
        if isinstance(error, Told):
            if error.detail is not None and meta.get(PROGRAMS):
                say(as_json(error.detail))
            complain(str(error))
            return error.code
        if not isinstance(error, (RaftError, OSError, MemoryError)):
            complain(f"{type(error).__name__}: {in_words(error)}. This is a mistake in raftx; --debug shows where")
            return DAMAGED
        complain(in_words(error))
        return code_of(error)


def _usage(error: Any) -> None:
    """What is wrong with the arguments, and where help is; the help itself where there are none."""
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    hint = f" Try: {context.command_path} --help" if context is not None else ""
    complain(f"{text}{hint}")


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
