"""Seeds of schedules and simulations."""

from __future__ import annotations

from ..errors import UsageError


def check_seed(seed: object) -> int:
    """The seed. Raises UsageError for what would not give the same steps each time, such as None."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UsageError(f"seed must be an integer, with which the same steps can be taken again, not {seed!r}")
    return seed
