"""Code of a user's that would only begin: what an ``async def``, or a function with a ``yield``, returns has not run.

Nothing in a node awaits or iterates such a thing, so it is refused where it can be seen: as a function, which a
decorator may hide, and as what a call has returned.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NoReturn

#: types of what is still to be run
UNFINISHED = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))


def is_async(function: object) -> bool:
    """Whether it is an ``async def``, or an object whose ``__call__`` is one."""
    return _is_one(function, (iscoroutinefunction, isasyncgenfunction))


def is_generator(function: object) -> bool:
    """The same of a ``yield`` in an ordinary function."""
    return _is_one(function, (isgeneratorfunction,))


def _is_one(function: object, tests: tuple[Callable[[object], bool], ...]) -> bool:
    call = getattr(type(function), "__call__", None)  # noqa: B004  # it is looked at, and not for whether it is there
    return any([test(each) for each in (function, call) for test in tests])


def name_and_close(value: Any) -> str:
    """What to call such a value. Nobody is to run it any more, nor to be warned that nobody has."""
    if not isinstance(value, AsyncGeneratorType):
        value.close()
    return type(value).__name__


def refuse_result(what: str, value: Any) -> NoReturn:
    """A method of a state machine has returned such a value: raise TypeError."""
    raise TypeError(
        f"{what} has returned a {name_and_close(value)}, of which nothing has run: it must be an ordinary function, "
        "not an `async def` and without a `yield`, also beneath its decorators"
    )
