"""The clock by which clients count what is left of a lease: it also runs while the system sleeps."""

from __future__ import annotations

import time

SECOND = 1_000_000_000
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot() -> int:
    """Nanoseconds since some moment."""
    return time.clock_gettime_ns(_CLOCK)
