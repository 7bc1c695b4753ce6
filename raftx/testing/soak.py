"""Schedules without end: python -m raftx.testing.soak --seconds N [--seed S] [--steps N]

Runs one seed after the other until the time is up, tells what happened, and ends with status 1 and the
seed at the first violation.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from .. import _core
from .invariants import Violation
from .simulator import Totals, schedule

TELL_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation."""
    parser = argparse.ArgumentParser(prog="raftx.testing.soak", description="Random schedules under the checker.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, help="the first one; default: drawn")
    parser.add_argument("--steps", type=int, default=10_000, help="of each schedule")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 40)
    mode = "interpreted" if _core.__file__.endswith(".py") else "compiled"
    print(f"{mode}, from seed {seed}, {options.steps:,} steps each", flush=True)
    totals = Totals()
    end = time.monotonic() + options.seconds
    tell = time.monotonic() + TELL_S
    while time.monotonic() < end:
        try:
            totals.add(schedule(seed, options.steps).totals)
        except Violation as violation:
            print(f"VIOLATION: {violation}; python -m raftx.testing.soak --seed {seed} --steps {options.steps}")
            return 1
        seed += 1
        if time.monotonic() >= tell:
            print(totals, flush=True)
            tell += TELL_S
    print(f"no violation: {totals}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
