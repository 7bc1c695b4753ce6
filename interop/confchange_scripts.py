"""Runs etcd's scripts of membership changes: ``python -m interop.confchange_scripts FILE...``; exits 0 when all agree.

    simple                        apply changes that alter one voter at most
    enter-joint [autoleave=true]  begin a joint configuration
    leave-joint                   end it

The input is what to change, as in ``v1 l2 r3 u4``. Printed are the configuration and every member's progress, or why
it was refused. A file begins with nobody; the last index of the log counts the commands before.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import raftx

from . import describe
from .datadriven import Block, Handler, NumberError, main, parse_bool, parse_uint

KINDS = {"v": 0, "r": 1, "u": 2, "l": 3}


class ChangeError(Exception):
    """Text that is no list of changes; what is printed."""


def parse_changes(text: str) -> list[tuple[int, int]]:
    """Kind and id of each change in a text like ``v1 l2 r3``. Raises ChangeError."""
    text = text.strip()
    changes = []
    for word in text.split(" ") if text else ():
        if len(word.encode()) < 2:
            raise ChangeError(f"unknown token {word}")
        if word[0] not in KINDS:
            raise ChangeError(f"unknown input: {word}")
        try:
            changes.append((KINDS[word[0]], parse_uint(word[1:])))
        except NumberError as error:
            raise ChangeError(str(error)) from None
    return changes


class Changes:
    """The commands, on the implementation ``impl``, and the configuration that they build up."""

    def __init__(self, impl: ModuleType = raftx) -> None:
        self._types = importlib.import_module(f"{impl.__name__}.types")
        self._confchange = importlib.import_module(f"{impl.__name__}.consensus.confchange")
        self._refused = importlib.import_module(f"{impl.__name__}.errors").ConfChangeError
        self.conf = self._types.ConfState()
        self.progress: dict[int, Any] = {}
        self.last_index = 0

    def handle(self, block: Block) -> str:
        """What a command prints."""
        try:
            return self._handle(block)
        except ChangeError as error:
            return str(error)
        except self._refused as error:
            return f"{describe.change_error(str(error))}\n"
        finally:
            self.last_index += 1

    def _handle(self, block: Block) -> str:
        singles = tuple([self._types.ConfChangeSingle(kind, id) for kind, id in parse_changes(block.input)])
        changer = self._confchange.Changer(self.conf, self.progress, self.last_index)
        if block.command == "simple":
            self.conf, self.progress = changer.simple(singles)
        elif block.command == "enter-joint":
            auto_leave = bool(block.arguments) and parse_bool(block.value("autoleave"))
            self.conf, self.progress = changer.enter_joint(auto_leave, singles)
        elif block.command == "leave-joint":
            if singles:
                raise ChangeError("this command takes no input")
            self.conf, self.progress = changer.leave_joint()
        else:
            raise ChangeError("unknown command")
        lines = [f"{describe.configuration(self.conf)}\n"]
        for id, one in sorted(self.progress.items()):
            text = describe.progress(one.match, one.next, learner=one.learner, recent_active=one.recent_active)
            lines.append(f"{id}: {text}\n")
        return "".join(lines)


def make(impl: ModuleType = raftx) -> Handler:
    """A handler for one file, which begins without members."""
    return Changes(impl).handle


if __name__ == "__main__":
    sys.exit(main(make, "Run etcd's scripts of membership changes on raftx."))
