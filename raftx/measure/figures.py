"""Numbers made of many numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Of numbers, sorted or not; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def histogram(values: Sequence[float], rows: int = 12) -> list[tuple[float, float, int]]:
    """(from, to, how many) in steps that grow by a factor, at most ``rows`` of them; none of nothing.

    The steps are 1, 2 and 5 times a power of ten; if they would be too many, powers of ten.
    """
    if not values:
        return []
    low = max(min(values), 1e-9)
    high = max(max(values), low)
    for steps in ((1.0, 2.0, 5.0), (1.0,)):
        edges = [step * 10.0**power for power in range(-9, 13) for step in steps]
        first = max(at for at, edge in enumerate(edges) if edge <= low or at == 0)
        last = next((at for at, edge in enumerate(edges) if edge > high), len(edges) - 1)
        if last - first <= rows:
            break
    found = []
    ordered = sorted(values)
    at = 0
    for number in range(first, last):
        lower, upper = edges[number], edges[number + 1]
        end = at
        while end < len(ordered) and (ordered[end] < upper or number == last - 1):
            end += 1
        found.append((lower, upper, end - at))
        at = end
    return found


def bars(counts: Sequence[int], width: int) -> list[str]:
    """A bar for each number, the longest as wide as ``width``; what is there at all shows."""
    most = max(counts, default=0)
    return ["#" * (max(1, math.floor(width * count / most)) if count else 0) for count in counts]
