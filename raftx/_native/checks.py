"""What a debug build looks at in compiled code, in plain Python: stated invariants and indexes.

checks.pxd has them for compiled code, where they end the process in a debug build and are nothing in all others
(check.h). Interpreted, they raise: an index out of range IndexError, all else AssertionError. Values only.
"""

DEBUG = False  # of compiled code only: interpreted, lists and bytes look at their indexes themselves


def check(holds: object) -> None:
    """An invariant that stands beside some field. Raises AssertionError."""
    if not holds:
        raise AssertionError("a stated invariant does not hold")


def check_index(index: int, count: int) -> None:
    """0 <= index < count. Raises IndexError: a list takes negative ones, compiled code does not."""
    if not 0 <= index < count:
        raise IndexError(f"{index} is not in 0..{count - 1}")


def check_part(offset: int, size: int, whole: int) -> None:
    """``size`` bytes from ``offset`` on lie within ``whole``. Raises IndexError."""
    if offset < 0 or size < 0 or offset + size > whole:
        raise IndexError(f"{size} from {offset} on are not within {whole}")
