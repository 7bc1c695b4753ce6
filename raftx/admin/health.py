"""Whether a node is alive, and whether it is ready: checks by name, and the text that tells of them, as Kubernetes'.

A check looks at published values only and waits for nothing. It says "" when all is well, else why not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..node.status import Status

STILL_SECONDS = 5.0  # ticks that have not moved for so long have stopped
LAG_SECONDS = 1.0  # a state machine that is further behind is not ready


def _running(status: Status) -> str:
    if status.state == "running":
        return ""
    return f"the node has failed: {status.failure}" if status.failure else f"the node is {status.state}"


def _leader(status: Status) -> str:
    if status.leader:
        return ""
    return f"no leader is known: {status.unled}" if status.unled else "no leader is known"


def _member(status: Status) -> str:
    if status.waits_for:
        return f"it takes part once a majority knows this life of it; these have not answered: {status.waits_for}"
    ids = {*status.configuration.voters, *status.configuration.learners, *status.configuration.voters_outgoing}
    return "" if status.id in ids else "it is no member of the cluster (yet)"


def _doubt(status: Status) -> str:
    return "it may have forgotten what it promised, and waits for a leader" if status.in_doubt else ""


def _history(status: Status) -> str:
    return status.diverged


def _snapshot(status: Status) -> str:
    return status.stuck


def _applied(status: Status) -> str:
    if status.apply_lag <= LAG_SECONDS:
        return ""
    return f"{status.behind} entries are not applied yet, which takes about {status.apply_lag:.1f} s"


def _disk(status: Status) -> str:
    if status.disk.full:
        return "there is no room for the next segment of the log"
    return f"the disk is short of something: {status.disk.shortage}" if status.disk.shortage else ""


READY: dict[str, Callable[[Status], str]] = {
    "running": _running,
    "member": _member,
    "leader": _leader,
    "doubt": _doubt,
    "history": _history,
    "snapshot": _snapshot,
    "applied": _applied,
    "disk": _disk,
}


class Health:
    """Of one node."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self._lock = threading.Lock()
        #: the ticks that were seen, and when they were seen first
        self._ticks = (-1, 0.0)

    def live(self) -> dict[str, str]:
        """By check why the node is not alive; "" for what is well."""
        status = self.node.status()
        return {"running": _running(status), "ticks": self._moves(status)}

    def _moves(self, status: Status) -> str:
        now = time.monotonic()
        with self._lock:
            if status.ticks != self._ticks[0]:
                self._ticks = (status.ticks, now)
            still = now - self._ticks[1]
        return "" if still < STILL_SECONDS else f"its engine has not ticked for {still:.0f} s"

    def ready(self) -> dict[str, str]:
        """By check why the node is not ready; "" for what is well."""
        status = self.node.status()
        return {name: check(status) for name, check in READY.items()}


def text_of(name: str, found: dict[str, str], verbose: bool, left_out: Iterable[str] = ()) -> tuple[int, str]:
    """Status code and text: "ok", or a line for each check where it was asked for, or one has failed."""
    skipped = set(left_out)
    wrong = [check for check, reason in found.items() if reason and check not in skipped]
    if not wrong and not verbose:
        return 200, "ok\n"
    lines = []
    for check, reason in found.items():
        if check in skipped:
            lines.append(f"[+]{check} excluded: ok")
        else:
            lines.append(f"[-]{check} failed: {reason}" if reason else f"[+]{check} ok")
    lines.append(f"{name} check {'failed' if wrong else 'passed'}")
    return 503 if wrong else 200, "\n".join(lines) + "\n"
