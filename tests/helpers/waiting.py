"""Waiting for what other threads do. Not a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT = 30.0  # seconds; never reached unless something is broken


def eventually(condition: Callable[[], Any], timeout: float = WAIT, every: float = 0.005) -> Any:
    """Wait for a condition; its last value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)
    return value
