"""Holders of a lock that are stopped (SIGSTOP) for longer than their lease: their old tokens must be refused.

    python -m tests.tools.lock_pauses [--pauses 200] [--seed 1]

Each pause stops the process that holds the lock, which may lead, until another one holds it; then the first goes on,
and tries to write with the token that it has. Its write must be refused, by a dict and by a state machine of its own,
it must know that it has lost the lock, and what was written must never go back to an older token. Exits with 0 when
that was so in every pause.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.recipe_processes import RecipeMember, RecipeProcesses, Refused, Thing

TTL = 2.0
OPEN = ("NotDone", "Unknown", "Busy")  # a cluster that is busy may say so: nothing is decided then
ATTEMPTS = 5
AFTER = 0.3  # seconds that a holder lasts at most before it is stopped


@dataclass
class Pauses:
    """What came of them."""

    pauses: int = 0
    refused: int = 0
    of_leaders: int = 0
    #: writes that came just before the pause, or in the middle of it
    written: int = 0
    wrong: list[str] = field(default_factory=list)


class Course:
    """A cluster of three, each of which writes while it holds the lock."""

    def __init__(self, cluster: RecipeProcesses, draw: random.Random) -> None:
        self.cluster, self.draw = cluster, draw
        self.pauses = Pauses()
        self.number = 0

    def run(self, count: int) -> Pauses:
        """So many pauses."""
        holder = self.acquire(self.draw.choice(list(self.cluster.members.values())))
        while self.pauses.pauses < count:
            holder = self.pause(holder)
        self.judge(holder.member)
        return self.pauses

    def acquire(self, member: RecipeMember) -> Thing:
        lock = member.thing("lock", "x")
        assert lock("acquire", 30.0)
        return lock

    def token_of(self, lock: Thing) -> int:
        """The token of a holder, which may have lost it again where the machine is busy."""
        while not (token := lock("=token")):
            assert lock("acquire", 30.0)
        return int(token)

    def pause(self, holder: Thing) -> Thing:
        """Stop who holds it; who holds it then."""
        pauses, member = self.pauses, holder.member
        leads = member.ask("status")["leader"] == member.id
        token = self.token_of(holder)
        others = [each for each in self.cluster.members.values() if each is not member]
        wants = self.draw.choice(others).thing("lock", "x")
        asked = wants.begin("acquire", 30.0)
        self.number += 1
        writes = member.thing("dict", "d")
        # Written before, during or after the pause: as it comes.
        early = writes.begin("set", "key", [token, self.number], fence=token)
        time.sleep(self.draw.random() * AFTER)
        member.stop()
        try:
            if not wants.end(asked):
                pauses.wrong.append(f"pause {pauses.pauses}: nobody else has got the lock")
                return self.acquire(others[0])
            newer = self.token_of(wants)
            wants.member.thing("dict", "d")("set", "key", [newer, self.number], fence=newer)
            wants.member.thing("node")("propose", b"%d by the new holder" % newer)
        finally:
            member.go_on()
        pauses.pauses += 1
        pauses.of_leaders += leads
        self.stale(holder, writes, token, newer)
        try:
            writes.end(early)
            pauses.written += 1
        except Refused as error:
            if not str(error).startswith(("TokenRefused", *OPEN)):
                pauses.wrong.append(f"pause {pauses.pauses}: a write was neither done nor refused: {error}")
        return wants

    def stale(self, holder: Thing, writes: Thing, token: int, newer: int) -> None:
        """What a holder may do that goes on."""
        pauses = self.pauses
        if holder("=held") or not holder("lost?"):
            pauses.wrong.append(f"pause {pauses.pauses}: the holder of token {token} believes that it holds the lock")
        attempts = (
            (writes, ("set", "key", [token, -1]), {"fence": token}, "TokenRefused"),
            (holder.member.thing("node"), ("propose", b"%d late" % token), {}, "ApplyError"),
        )
        refused = 0
        for thing, call, more, name in attempts:
            error = self.error_of(thing, call, more)
            refused += error.startswith(name)
            if not error.startswith(name):
                pauses.wrong.append(
                    f"pause {pauses.pauses}: {call} with token {token}, when {newer} was given: {error}"
                )
        pauses.refused += refused == len(attempts)
        try:
            holder("release")
            pauses.wrong.append(f"pause {pauses.pauses}: a lock that was lost could be released")
        except Refused as error:
            if "LockLost" not in str(error):
                pauses.wrong.append(f"pause {pauses.pauses}: release ended with {error}")

    def error_of(self, thing: Thing, call: tuple[Any, ...], more: dict[str, Any]) -> str:
        """What a call ends with, once it is decided."""
        error = "nothing"
        for _ in range(ATTEMPTS):
            try:
                thing(*call, **more)
                return "it was done"
            except Refused as refused:
                error = str(refused)
                if not error.startswith(OPEN):
                    break
        return error

    def judge(self, member: RecipeMember) -> None:
        """Tokens of what was written never go back. (A dict keeps its newest 1,000 changes.)"""
        tokens = [change.value[0] for change in member.thing("dict", "d")("changes")]
        if tokens != sorted(tokens) or len(tokens) < self.pauses.pauses:
            self.pauses.wrong.append(f"what was written has the tokens {tokens}")
        notes = [token for token, _ in member.thing("own")("notes")]
        if notes != sorted(notes) or len(notes) < self.pauses.pauses:
            self.pauses.wrong.append(f"what the state machine of its own took has the tokens {notes}")


def run_pauses(directory: Path, count: int, seed: int) -> Pauses:
    """So many pauses of a cluster of three."""
    with RecipeProcesses(directory, ttl=TTL, election_ticks=6) as cluster:
        cluster.start()
        cluster.leader()
        return Course(cluster, random.Random(seed)).run(count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pauses", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        pauses = run_pauses(Path(directory), options.pauses, options.seed)
    print(
        f"{pauses.pauses} pauses, {pauses.of_leaders} of leaders: old tokens refused in {pauses.refused}; "
        f"{pauses.written} writes of holders were done before; {time.monotonic() - begun:.0f} s"
    )
    for text in pauses.wrong:
        print(text)
    return 0 if pauses.refused == pauses.pauses >= options.pauses and not pauses.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
