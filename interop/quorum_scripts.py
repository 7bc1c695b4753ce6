"""Runs quorum scripts of etcd and raft-rs: ``python -m interop.quorum_scripts FILE...``; exits 0 when all agree.

    committed cfg=(1,2,3) idx=(12,5,_)                  what a majority has acknowledged, drawn and as a number
    committed cfg=(1,2,3) cfgj=(2,3,4) idx=(12,5,_,7)   the same of a joint configuration
    vote cfg=(1,2,3) [cfgj=...] votes=(y,n,_)           how an election stands
    group_committed cfg=(1,2,3) cfgj=zero idx=(100,101,99) gid=(1,_,2)   with raft-rs's commit groups

Values belong to the voters in the order in which cfg and cfgj name them, each once; ``_`` is nothing known.
``cfgj=zero`` is an empty second half. A result that changes although it must not (the halves interchanged, joined
with nobody or with itself, ...) is printed too, and makes the script fail.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType

import raftx

from .datadriven import Block, Handler, ScriptError, main, parse_uint

#: What nobody is asked for is committed without end; raftx's number for it.
ENDLESS = 2**63 - 1
#: etcd's; there is none above it.
MAX = 2**64 - 1
RESULTS = {1: "VotePending", 2: "VoteLost", 3: "VoteWon"}
#: As etcd's driver writes votes in a text of its own.
VOTES = {"_": 0, "n": 1, "y": 2}

Acknowledged = Mapping[int, int]


def index(value: int) -> str:
    """A commit index as text."""
    return "∞" if value in (ENDLESS, MAX) else str(value)


def drawn(voters: Iterable[int], acknowledged: Acknowledged) -> str:
    """A line for each voter with a bar: the longer, the more voters are behind it."""
    ids = sorted(set(voters))
    if not ids:
        return "<empty majority quorum>"
    width = len(ids)
    lines = [f"{'':{width}}    idx\n"]
    for id in ids:
        at = acknowledged.get(id, 0)
        behind = sum([acknowledged.get(other, 0) < at for other in ids])
        bar = f"{'x' * behind}>" if id in acknowledged else "?"
        lines.append(f"{bar:<{width + 1}} {at:5d}    (id={id:x})\n")
    return "".join(lines)


def obvious(voters: Iterable[int], acknowledged: Acknowledged) -> int:
    """The committed index of one majority by counting, for every index that somebody has acknowledged."""
    ids = set(voters)
    if not ids:
        return ENDLESS
    behind = [0] + [acknowledged[id] for id in ids if id in acknowledged]
    need = len(ids) // 2 + 1
    return max([at for at in behind if at == 0 or sum([other >= at for other in behind[1:]]) >= need])


class Quorums:
    """The commands, on the implementation ``impl``."""

    def __init__(self, impl: ModuleType = raftx) -> None:
        self._quorum = importlib.import_module(f"{impl.__name__}.consensus.quorum")

    def handle(self, block: Block) -> str:
        """What a command prints. Raises ScriptError for arguments that it does not take."""
        voters: list[int] = []
        outgoing: list[int] = []
        joint = False
        indexes: list[int] = []
        groups: list[int] = []
        votes: list[int] = []
        for argument in block.arguments:
            for value in argument.values:
                if argument.key == "cfg":
                    voters.append(parse_uint(value))
                elif argument.key == "cfgj":
                    joint = True
                    if value != "zero":
                        outgoing.append(parse_uint(value))
                    elif len(argument.values) > 1:
                        raise ScriptError("cannot mix 'zero' into configuration")
                elif argument.key == "idx":
                    indexes.append(0 if value == "_" else self._positive(value))
                elif argument.key == "gid":
                    groups.append(0 if value == "_" else self._positive(value))
                elif argument.key == "votes":
                    if value not in VOTES:
                        raise ScriptError(f"unknown vote: {value}")
                    votes.append(VOTES[value])
                else:
                    raise ScriptError(f"unknown argument {argument.key}")
        ids = list(dict.fromkeys(voters + outgoing))
        given = votes if block.command == "vote" else indexes
        if len(ids) != len(given) or (groups and len(groups) != len(ids)):
            wanted = " ".join([f"{id}:{{}}" for id in sorted(ids)])
            return f"error: mismatched input (explicit or _) for voters map[{wanted}]: [{' '.join(map(index, given))}]"
        known = {id: value for id, value in zip(ids, given) if value}
        if block.command == "committed":
            return self._joint_committed(voters, outgoing, known) if joint else self._committed(voters, known)
        if block.command == "group_committed":
            member_groups = {id: group for id, group in zip(ids, groups) if group}
            return self._group_committed(voters, outgoing, known, member_groups)
        if block.command == "vote":
            return self._vote(voters, outgoing, {id: value == VOTES["y"] for id, value in known.items()}, joint)
        raise ScriptError(f"unknown command: {block.command}")

    @staticmethod
    def _positive(value: str) -> int:
        number = parse_uint(value)
        if number == 0:
            raise ScriptError("0 cannot be given; _ means that nothing is known")
        return number

    def committed(self, voters: Sequence[int], outgoing: Sequence[int], known: Acknowledged) -> int:
        """raftx's answer."""
        matches = {id: known.get(id, 0) for id in [*voters, *outgoing]}
        return int(self._quorum.py_committed_index(voters, outgoing, matches)[0])

    def _committed(self, voters: Sequence[int], known: Acknowledged) -> str:
        result = self.committed(voters, (), known)
        parts = [drawn(voters, known)]

        def check(other: int, how: str) -> None:
            if other != result:
                parts.append(f"{index(other)} <-- {how}")

        check(obvious(voters, known), "via alternative computation\n")
        check(self.committed((), voters, known), "via zero-joint quorum\n")
        check(self.committed(voters, voters, known), "via self-joint quorum\n")
        for id in sorted(set(voters)):
            at = known.get(id, 0)
            if 0 < at < result:
                # Who is behind what is committed anyway may be further behind.
                check(self.committed(voters, (), {**known, id: at - 1}), f"overlaying {id}->{at}")
                check(self.committed(voters, (), {**known, id: 0}), f"overlaying {id}->0")
        return "".join([*parts, f"{index(result)}\n"])

    def _joint_committed(self, voters: Sequence[int], outgoing: Sequence[int], known: Acknowledged) -> str:
        result = self.committed(voters, outgoing, known)
        return drawn([*voters, *outgoing], known) + self._symmetric(
            result, self.committed(outgoing, voters, known), index
        )

    def _group_committed(
        self, voters: Sequence[int], outgoing: Sequence[int], known: Acknowledged, groups: Mapping[int, int]
    ) -> str:
        def ask(one: Sequence[int], two: Sequence[int]) -> int:
            matches = {id: known.get(id, 0) for id in [*one, *two]}
            return int(self._quorum.py_committed_index(one, two, matches, {id: groups.get(id, 0) for id in matches})[0])

        return self._symmetric(ask(voters, outgoing), ask(outgoing, voters), index)

    def _vote(self, voters: Sequence[int], outgoing: Sequence[int], votes: Mapping[int, bool], joint: bool) -> str:
        result = self._quorum.py_vote_result(voters, outgoing, dict(votes))
        if not joint:
            return f"{RESULTS[result]}\n"
        return self._symmetric(result, self._quorum.py_vote_result(outgoing, voters, dict(votes)), RESULTS.__getitem__)

    @staticmethod
    def _symmetric(result: int, interchanged: int, text: Callable[[int], str]) -> str:
        note = f"{text(interchanged)} <-- via symmetry\n" if interchanged != result else ""
        return f"{note}{text(result)}\n"


def make(impl: ModuleType = raftx) -> Handler:
    """A handler for one file."""
    return Quorums(impl).handle


if __name__ == "__main__":
    sys.exit(main(make, "Run quorum scripts of etcd and raft-rs on raftx."))
