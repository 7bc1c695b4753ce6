"""The allow-list: where raftx differs from raft-rs on purpose, as far as a quiet schedule can see it.

A rule has the number that its difference has in the table of docs/parity.md, a predicate over the first step whose
answers differ and both answers to it, and the test that shows it. An allowed difference ends its schedule.
Whatever no rule allows is a mistake of raftx. A rule says as little as the answers let it: that one side only lags, for
instance, is believed when a heartbeat later both sides say the same, or when another member was taking over meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

Head = dict[str, Any]
Steps = list[list[Any]]
#: Runs a schedule on both sides: the answers of raftx and the other side's.
Both = Callable[[Head, Steps], tuple[Sequence[str], Sequence[str]]]

_CANDIDATE = 1
_LEADER = 2
_PINGS = 3
_RECENT = 30  # steps


@dataclass(frozen=True)
class State:
    """A member as an answer shows it."""

    term: int
    vote: int
    lead: int
    role: int
    commit: int
    applied: int
    chain: str
    conf: str

    @property
    def members(self) -> set[int]:
        """Voters of either half and learners."""
        sets = self.conf.split("/")[:3]
        return {int(id) for text in sets for id in text.split(",") if id}

    @property
    def voters(self) -> set[int]:
        """Voters of either half."""
        return {int(id) for text in self.conf.split("/")[:2] for id in text.split(",") if id}


class Answer:
    """An answer taken apart."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.result, reads, states = text.split("|")
        self.reads = set(reads.split())
        #: None: the member is down
        self.members: dict[int, State | None] = {}
        for part in states.split(";") if states else ():
            words = part.split(" ")
            self.members[int(words[0])] = None if words[1] == "down" else _state(words[1:])

    def leaders(self) -> dict[int, State]:
        """Who says that it leads."""
        return {id: state for id, state in self.members.items() if state is not None and state.role == _LEADER}

    def term(self) -> int:
        """The highest term."""
        return max([state.term for state in self.members.values() if state], default=0)


def _state(words: Sequence[str]) -> State:
    term, vote, lead, role, commit, applied = [int(word) for word in words[:6]]
    return State(term, vote, lead, role, commit, applied, words[6], words[7])


class Difference:
    """The first step of a schedule whose answers differ."""

    def __init__(
        self, head: Head, steps: Steps, at: int, ours: Sequence[str], theirs: Sequence[str], both: Both
    ) -> None:
        self.head = head
        self.steps = steps[: at + 1]
        self.step = steps[at]
        self.ours = Answer(ours[at])
        self.theirs = Answer(theirs[at])
        #: the answers to the steps before, on which both agree
        self.history = ours[:at]
        #: the last of them; without any, one that has no members
        self.before = Answer(ours[at - 1] if at else "ok||")
        self._both = both

    def differing(self) -> list[int]:
        """The members whose states differ; all when one side has none."""
        ids = self.ours.members.keys() | self.theirs.members.keys()
        return sorted([id for id in ids if self.ours.members.get(id) != self.theirs.members.get(id)])

    def settles(self) -> bool:
        """Whether both sides say the same of all members after a few heartbeats of whoever leads.

        Over the links as they are, or else over whole ones.
        """
        leaders = sorted({**self.ours.leaders(), **self.theirs.leaders()})
        pings: Steps = [["ping", id] for id in leaders] * _PINGS
        for more in (pings, [["links", []], *pings]):
            ours, theirs = self._both(self.head, self.steps + more)
            ends = len(self.steps) + len(more)
            if len(ours) == len(theirs) == ends and Answer(ours[-1]).members == Answer(theirs[-1]).members:
                return True
        return False

    def deposed(self) -> bool:
        """Whether a leader of before this step had somebody of a higher term against it.

        Then it depends on who is sent anything whether it hears of that term, and what lags stays behind.
        """
        highest = self.before.term()
        return any([state.term < highest for state in self.before.leaders().values()])

    def took(self, name: str) -> bool:
        """Whether an input of this name came before."""
        return any([step[0] == name for step in self.steps])


def _behind(one: State | None, other: State | None) -> bool:
    """Whether ``one`` knows less than ``other`` and nothing else is to be said."""
    if one is None or other is None:
        return one is other
    if one.applied == other.applied and (one.chain, one.conf) != (other.chain, other.conf):
        return False  # what is applied so far is the same everywhere
    return one.commit <= other.commit and one.applied <= other.applied and one.term <= other.term


def _knows_less(d: Difference, one: Answer, other: Answer) -> bool:
    """Whether one side knows less than the other one and nothing else is to be said."""
    if one.result != other.result or not one.reads <= other.reads:
        return False
    return all([_behind(one.members.get(id), other.members.get(id)) for id in d.differing()])


def lags(d: Difference) -> bool:
    """raft-rs knows less, and no more than a heartbeat less."""
    if _knows_less(d, d.theirs, d.ours) and (d.deposed() or d.settles()):
        return True
    # It was not told that it is deposed, since raft-rs had nothing to send; or the other way round.
    return d.deposed() and d.ours.result == d.theirs.result and d.ours.leaders() != d.theirs.leaders()


def lags_with_full_window(d: Difference) -> bool:
    """With its window full raft-rs waits for a heartbeat's answer; raftx sends an empty append and is refused."""
    if d.head["nodes"][0].get("max_inflight", 256) == 256 or d.ours.result != d.theirs.result:
        return False
    # Which of two appends arrives, and what is told to somebody who takes over meanwhile, is another one then.
    pairs = [(d.ours.members.get(id), d.theirs.members.get(id)) for id in d.differing()]
    return all([_behind(one, other) or _behind(other, one) for one, other in pairs])


def lags_while_asking(d: Difference) -> bool:
    """A member of raft-rs that asked for a snapshot takes nothing else, even what the snapshot has to wait for.

    Nor is it sent anything, so that it does not depose a leader whose term it knows to be over. And what it has got is
    the whole of its log, where raftx keeps the entries behind.
    """
    if not d.took("request_snapshot"):
        return False
    if d.step[0] == "compact" and {d.ours.result, d.theirs.result} == {"ok", "nothing"}:
        return d.ours.members == d.theirs.members
    if d.ours.result != d.theirs.result:
        return False
    return _knows_less(d, d.theirs, d.ours) or _knows_less(d, d.ours, d.theirs) or d.deposed()


def requests_again(d: Difference) -> bool:
    """Whether an earlier request for a snapshot is still open, and bars another.

    It ends with the leadership it was made to, which in raft-rs it survives; and it waits until what the member has is
    committed, of which in raft-rs a member that lags has less.
    """
    again = any([step[:2] == d.step[:2] for step in d.steps[:-1]])
    if d.step[0] != "request_snapshot" or not again or {d.ours.result, d.theirs.result} != {"ok", "dropped"}:
        return False
    return all([_behind(d.theirs.members.get(id), d.ours.members.get(id)) for id in d.differing()])


def leaves_joint_while_transferring(d: Difference) -> bool:
    """raft-rs leaves a joint configuration by itself also while leadership is being transferred; raftx afterwards."""
    if d.ours.result != d.theirs.result:
        return False
    recent = d.steps[-_RECENT:]
    joint = any([step[0] == "change" and (step[3] == 1 or (step[3] == 0 and " " in step[2])) for step in recent])
    joint = joint or any(["/1;" in f"{answer.text};" for answer in (d.before, d.ours, d.theirs)])
    asked = {step[2] for step in recent if step[0] == "transfer"}
    if not joint or not asked:
        return False
    # raft-rs is ahead, or whoever was to take over has tried to.
    if all([_behind(d.ours.members.get(id), d.theirs.members.get(id)) for id in d.differing()]):
        return True
    answers = (d.ours, d.theirs)
    term = max([answer.term() for answer in answers])
    return any(
        [
            state is not None and id in asked and state.term == term and state.vote == id
            for answer in answers
            for id, state in answer.members.items()
        ]
    )


def votes_beside_priority(d: Difference) -> bool:
    """A candidate whose log ends in a newer term gets a vote whatever its priority; in raft-rs only a longer log."""
    set_at_all = d.took("priority") or any(["priority" in node for node in d.head["nodes"]])
    if d.ours.result != d.theirs.result or not set_at_all:
        return False
    ours, theirs = d.ours.leaders(), d.theirs.leaders()
    highest = d.theirs.term()
    elected = any([id not in theirs and state.term >= highest for id, state in ours.items()])
    voted = False
    for id in d.differing():
        one, other = d.ours.members.get(id), d.theirs.members.get(id)
        voted = voted or (one is not None and other is not None and (one.vote, one.role) != (other.vote, other.role))
    return elected or voted


def votes_of_who_lags(d: Difference) -> bool:
    """A candidate of raft-rs that an append has not reached yet gets fewer votes; nobody is elected on either side."""
    if d.ours.result != d.theirs.result or d.ours.reads != d.theirs.reads or d.ours.leaders() or d.theirs.leaders():
        return False
    for id in d.differing():
        one, other = d.ours.members.get(id), d.theirs.members.get(id)
        if one is None or other is None or other.vote != 0 or replace(one, vote=0) != other:
            return False
        candidate = d.theirs.members.get(one.vote)
        if candidate is None or candidate.role != _CANDIDATE or candidate.term != one.term:
            return False
    return True


def elections_of_who_lags(d: Difference) -> bool:
    """A candidate of raft-rs that an append has not reached yet saves fewer entries, which nobody had committed.

    Each side agrees with itself, and with the other one in everything but what the new leader has committed since.
    """
    if d.ours.result != d.theirs.result or not (d.took("links") or d.took("crash")):
        return False
    newest = d.before.term()
    for answer in (d.ours, d.theirs):
        sums: dict[int, str] = {}
        for state in answer.members.values():
            if state is not None and sums.setdefault(state.applied, state.chain) != state.chain:
                return False
    for id in d.differing():
        one, other, old = d.ours.members.get(id), d.theirs.members.get(id), d.before.members.get(id)
        if one is None or other is None or replace(one, chain=other.chain) != other:
            return False
        if one.term <= newest or (old is not None and one.applied <= old.applied):
            return False
    # Who is alone has nobody to lag behind.
    return len(d.differing()) > 1


def campaigns_as_no_voter(d: Difference) -> bool:
    """Told to campaign, raft-rs does so, and may win, whoever it is; where it knows of no voters it panics."""
    if d.step[0] != "campaign" or d.ours.result != "ok":
        return False
    ours = d.ours.members.get(d.step[1])
    if ours is None or d.step[1] in ours.voters:
        return False
    theirs = d.theirs.members.get(d.step[1])
    return d.theirs.result == "panic" or (theirs is not None and theirs.term >= ours.term)


def _removed_leader(d: Difference) -> bool:
    """Whether somebody leads, or did before this step, who is no voter of the newest configuration."""
    newest = max([state for state in d.ours.members.values() if state], key=lambda state: state.applied, default=None)
    for answer in (d.ours, d.before):
        for id, state in answer.leaders().items():
            if id not in state.voters or (newest is not None and id not in newest.voters):
                return True
    return False


def removed_leader_panics(d: Difference) -> bool:
    """A leader of raft-rs that is no member any more cannot commit: it looks itself up and panics."""
    return d.theirs.result == "panic" and d.ours.result == "ok" and _removed_leader(d)


def removed_leader_lags(d: Difference) -> bool:
    """Until the heartbeat that would let it commit, and panic, it lags."""
    return _removed_leader(d) and _knows_less(d, d.theirs, d.ours)


def removed_member_learns_more(d: Difference) -> bool:
    """Whether who is removed hears of it depends on who is sent the commit index after which acknowledgement."""
    if d.ours.result != d.theirs.result or d.ours.reads != d.theirs.reads:
        return False
    newest, other = [
        max(answer.leaders().items(), key=lambda item: item[1].term, default=None) for answer in (d.ours, d.theirs)
    ]
    if newest is None or newest != other:
        return False
    for id in d.differing():
        one, its = d.ours.members.get(id), d.theirs.members.get(id)
        if id in newest[1].members or not (_behind(one, its) or _behind(its, one)):
            return False
    return True


def _tells_apart(d: Difference, askers: set[int]) -> bool:
    """Whether members differ beyond what an answer to a read may tell its asker, and what the removed may know."""
    newest = max(d.ours.leaders().values(), key=lambda state: state.term, default=None)
    for id in d.differing():
        one, other = d.ours.members.get(id), d.theirs.members.get(id)
        outside = newest is not None and id not in newest.members
        if not (_behind(one, other) or _behind(other, one)) or not (id in askers or outside):
            return True
    return False


def _commit_when_asked(d: Difference, context: str) -> int:
    """What was committed at most anywhere when a read was asked for."""
    for number, step in enumerate(d.steps):
        if step[0] == "read" and step[2].encode().hex() == context:
            if number == 0:
                return 0
            return max([state.commit for state in Answer(d.history[number - 1]).members.values() if state], default=0)
    return 1 << 62


def reads_wait_for_first_commit(d: Difference) -> bool:
    """raft-rs drops a read that comes before the first commit of the leader's term; raftx answers it after that."""
    more = d.ours.reads - d.theirs.reads
    if not more or d.theirs.reads - d.ours.reads or d.ours.result != d.theirs.result:
        return False
    if _tells_apart(d, {int(read.split(":")[0]) for read in more}):
        return False
    asked = d.step[2].encode().hex() if d.step[0] == "read" else ""
    for read in more:
        _, index, context = read.split(":")
        # It was asked before this step, and what it is told is not older than the question.
        if context == asked or int(index) < _commit_when_asked(d, context):
            return False
    return True


def reads_of_one_voter_twice(d: Difference) -> bool:
    """In a joint configuration of the same single voter twice raft-rs waits for heartbeats that nobody sends."""
    if d.step[0] != "read" or d.ours.result != d.theirs.result:
        return False
    more = d.ours.reads - d.theirs.reads
    newest = max(d.ours.leaders().items(), key=lambda item: item[1].term, default=None)
    if len(more) != 1 or d.theirs.reads - d.ours.reads or newest is None:
        return False
    asker, index, _ = next(iter(more)).split(":")
    # The answer may have told the asker of a new term.
    if not set(d.differing()) <= {int(asker)}:
        return False
    incoming, outgoing = newest[1].conf.split("/")[:2]
    return incoming == outgoing == str(newest[0]) and int(index) == newest[1].commit


def reads_answered_before(d: Difference) -> bool:
    """raftx has answered before, when the answer was lost: for it an acknowledgement stands for all earlier reads too.

    Likewise where the leader is a quorum of its own. raft-rs waits for an acknowledgement of that very read.
    """
    more = d.theirs.reads - d.ours.reads
    if not more or d.ours.reads - d.theirs.reads or d.ours.result != d.theirs.result or not d.took("links"):
        return False
    if _tells_apart(d, {int(read.split(":")[0]) for read in more}):
        return False
    asked = d.step[2].encode().hex() if d.step[0] == "read" else ""
    leaders = {*d.ours.leaders(), *d.before.leaders()}
    for read in more:
        asker, index, context = read.split(":")
        # It was asked by somebody else than the leader, before this step.
        if int(asker) in leaders or context == asked or int(index) < _commit_when_asked(d, context):
            return False
    return True


def read_answers_from_strangers(d: Difference) -> bool:
    """raftx takes the answer to a read from members only, as it takes any answer; raft-rs from anybody."""
    more = d.theirs.reads - d.ours.reads
    askers = {int(read.split(":")[0]) for read in more}
    if not more or d.ours.reads - d.theirs.reads or d.ours.result != d.theirs.result:
        return False
    leaders = {*d.theirs.leaders(), *d.before.leaders()}
    for id in askers:
        asker, before = d.ours.members.get(id), d.before.members.get(id)
        if asker is None:
            return False
        # The leader may have become known together with the answer.
        if not leaders - (asker.members if before is None else asker.members & before.members):
            return False
    # The answer may have told raft-rs of a new term.
    return all([id in askers and _behind(d.ours.members.get(id), d.theirs.members.get(id)) for id in d.differing()])


def read_answers_tell_the_commit_index(d: Difference) -> bool:
    """The answer to a read tells raft-rs what is committed."""
    if d.step[0] != "read" or d.ours.result != d.theirs.result or d.ours.reads != d.theirs.reads:
        return False
    told = {int(read.split(":")[0]): int(read.split(":")[1]) for read in d.theirs.reads}
    for id in d.differing():
        one, other = d.ours.members.get(id), d.theirs.members.get(id)
        if one is None or other is None or other.commit != told.get(id) or not _behind(one, other):
            return False
    return True


def asks_the_one_voter(d: Difference) -> bool:
    """A leader that is not the one voter that is left asks it whether it leads by now; raft-rs answers by itself."""
    if d.step[0] != "read" or d.ours.result != d.theirs.result or d.ours.reads - d.theirs.reads:
        return False
    if len(d.theirs.reads - d.ours.reads) != 1:
        return False
    for id, state in d.theirs.leaders().items():
        if len(state.voters) == 1 and id not in state.voters and state.conf.split("/")[1] == "":
            return True
    return False


@dataclass(frozen=True)
class Rule:
    """One chosen difference."""

    number: int  # of the row in docs/parity.md
    name: str
    allows: Callable[[Difference], bool]

    @property
    def test(self) -> str:
        """The test that shows it."""
        return f"tests/conformance/raft_rs/test_quiet.py::test_a_chosen_difference[{self.name}]"


RULES = (
    Rule(11, "campaigns as no voter", campaigns_as_no_voter),
    Rule(42, "a removed leader panics", removed_leader_panics),
    Rule(39, "answers to reads from strangers", read_answers_from_strangers),
    Rule(39, "answers to reads tell the commit index", read_answers_tell_the_commit_index),
    Rule(37, "asks the one voter", asks_the_one_voter),
    Rule(37, "reads wait for the first commit", reads_wait_for_first_commit),
    Rule(38, "reads of one voter twice", reads_of_one_voter_twice),
    Rule(38, "reads answered before", reads_answered_before),
    Rule(29, "what the removed learn", removed_member_learns_more),
    Rule(33, "lags while it waits for a snapshot", lags_while_asking),
    Rule(33, "requests a snapshot again", requests_again),
    Rule(27, "lags with a full window", lags_with_full_window),
    Rule(41, "leaves joint while transferring", leaves_joint_while_transferring),
    Rule(28, "votes of who lags", votes_of_who_lags),
    Rule(28, "elections of who lags", elections_of_who_lags),
    Rule(28, "lags until a heartbeat", lags),
    Rule(42, "a removed leader lags", removed_leader_lags),
    Rule(14, "votes beside priority", votes_beside_priority),
)


def allowed(difference: Difference) -> Rule | None:
    """The rule that allows a difference; None: it is a mistake."""
    for rule in RULES:
        if rule.allows(difference):
            return rule
    return None
