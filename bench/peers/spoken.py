"""The closed loop of a member that is written in Python, and how it speaks with the program that measures.

One JSON object a line on standard input and output, as the members in Go do (loop/loop.go). It knows no library: a
member gives it a function that proposes so many entries and calls back, or a future.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from raftx.measure.figures import percentile


def say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def summary(entries: int, seconds: float, latencies: list[float], failed: int, why: str = "") -> dict[str, Any]:
    """What a load comes to; latencies in us."""
    return {
        "entries": entries,
        "failed": failed,
        "seconds": seconds,
        "p50_us": percentile(latencies, 0.5),
        "p99_us": percentile(latencies, 0.99),
        "why": why,
    }


def serve(leads: Callable[[], bool], load: Callable[[int, float, int, str], dict[str, Any]]) -> None:
    """Take commands until standard input ends; load(outstanding, seconds, bytes, mode)."""
    say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "role":
            say({"leads": leads()})
        elif asked["do"] == "load":
            say(load(asked["outstanding"], asked["seconds"], asked["bytes"], asked["mode"]))
        else:
            break
    sys.stdout.flush()
    os._exit(0)  # its directory is removed: nothing has to be put in order
