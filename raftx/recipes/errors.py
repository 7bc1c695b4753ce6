"""The exceptions of recipes. Values only.

What the cluster did not answer ends as any proposal does: ``raftx.NotDone``, ``raftx.Unknown``, ``raftx.Stopped``.
"""

from __future__ import annotations

from ..errors import RaftError


class RecipeError(RaftError):
    """Base of what recipes raise on purpose."""


class LeaseExpired(RecipeError):
    """The client's lease is over: what it held may belong to others by now, and what it waited for it has lost.

    It begins a new lease with the next object that it acquires.
    """


class LockLost(LeaseExpired):
    """What was held was lost before it was released: another client may have it since."""


class TokenRefused(RecipeError):
    """A command came with a fencing token that is not in force: its holder has released or lost what it held.

    Nothing of the command was done.
    """


class VersionDiffers(RecipeError):
    """What was to be compared is not as expected, and nothing was changed. ``found`` is what is there.

    Of a Dict: the version of the key, 0 for none. Of a Counter: its value.
    """

    def __init__(self, text: str, found: int) -> None:
        super().__init__(text)
        self.found = found

    def __reduce__(self) -> tuple[type[VersionDiffers], tuple[str, int]]:
        return type(self), (str(self), self.found)


class SettingsDiffer(RecipeError):
    """An object is in use with another limit, or another number of parties. All its clients must give the same.

    Of a rate limiter: a request that came before has taken another number of tokens.
    """


class Full(RecipeError):
    """There is no room: in a bounded queue, in a line of those who wait, or for another object."""


class OutOfRange(RecipeError):
    """A counter would leave -2^63..2^63-1. It was not changed."""


class FellBehind(RecipeError):
    """A watch asked for changes that are not kept any more. Read the object anew, and watch from the revision of that.

    ``oldest`` is the earliest revision behind which a watch can begin now.
    """

    def __init__(self, text: str, oldest: int) -> None:
        super().__init__(text)
        self.oldest = oldest

    def __reduce__(self) -> tuple[type[FellBehind], tuple[str, int]]:
        return type(self), (str(self), self.oldest)


class Malformed(RecipeError):
    """The members do not know this command: do all of them run this version of raftx?"""
