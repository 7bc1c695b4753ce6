"""Why this member knows no leader although others are there: what it sees of a network that joins some pairs only.

Who hears of no leader asks before it campaigns (pre-vote), and who follows one does not help: etcd is silent then. A
node says whom it follows, in a refusal that never reaches the core of the one that asked. So that one knows that a
leader is there which it cannot hear, and it learns who else answers, and who refuses. After some time without a leader
that is published, and told once a minute. It decides nothing. The engine's, on its thread, without the GIL.
"""

from __future__ import annotations

from array import array

from .._native.memory import Spans
from .._native.outbox import Message
from ..consensus.raft import Raft
from ..types import FLAG_REJECT, MSG_PRE_VOTE, MSG_PRE_VOTE_RESP
from .channels import ApplyQueue, Gauges
from .peers import PeerTable
from .rows import PLACES

# In election timeouts, as the setting has it; a follower waits up to two.
TELL_TIMEOUTS = 6  # without a leader until it is told
FRESH_TIMEOUTS = 4  # for which it counts what a member has said, or that it was heard: it is asked every one or two
TOLD_MS = 60_000  # how often it is told

SENTENCE = "this member has known no leader for {seconds:.1f} s: "
UNREACHED = (
    "member {lead} leads in term {term}, as {by} of the other voters say, and nothing of it arrives here. The network "
    "between these two is broken; nobody passes anything on"
)
TOO_FEW = (
    "of the other voters {heard} answer, and {needed} would be needed to elect one. Start the others, or look why they "
    "cannot be reached from here"
)
REFUSED = (
    "{heard} of the other voters answer and none of them leads. {refused} refuse this one their votes: their logs are "
    "newer, or they prefer another. Whoever has the newest log must reach a majority; look whether each reaches the "
    "others"
)
WAITS = (
    "it is no member yet, and waits to be added: ask a member of the cluster for that (raftx add {id}=HOST:PORT, or "
    "add_voter({id}, url) of its node)"
)
ALONE = (
    "it is the only voter, and leads as soon as its own vote is on its disk: look whether the disk, or this machine, "
    "stands still"
)
NOBODY = "{heard} of the other voters answer and none of them leads; look whether each reaches the others"


def why_unled(lead: int, term: int, by: int, heard: int, needed: int, refused: int, ms: int) -> str:
    """In words: who leads, as ``by`` others say (0: nobody), how many answer, and of how many it needs that.

    needed: 0 where there is no other voter.
    """
    if lead:
        text = UNREACHED
    elif needed == 0:
        text = ALONE
    elif heard < needed:
        text = TOO_FEW
    else:
        text = REFUSED if refused else NOBODY
    found = SENTENCE + text
    return found.format(lead=lead, term=term, by=by, heard=heard, needed=needed, refused=refused, seconds=ms / 1000)


def why_waiting(id: int, ms: int) -> str:
    """Likewise, of a member that was founded to join and knows no members."""
    return SENTENCE.format(seconds=ms / 1000) + WAITS.format(id=id)


class Unled:
    """Of one engine, whose parts it uses."""

    def __init__(self, core: Raft, peers: PeerTable, applies: ApplyQueue, gauges: Gauges, tick_ms: int) -> None:
        self.core = core
        self.peers = peers
        self.applies = applies
        self.gauges = gauges
        self.empty_spans = Spans()
        self.tick_ms = tick_ms
        self.told_ticks = max(1, TOLD_MS // tick_ms)
        #: ticks in all, without a leader, and until it is told again
        self.ticks = self.without = self.quiet = 0
        #: by place: whom that member follows, as it said, in which term, and in which tick; when it refused its vote
        self.leads = array("Q", bytes(8 * PLACES))
        self.terms = array("Q", bytes(8 * PLACES))
        self.said_at = array("q", bytes(8 * PLACES))
        self.refused_at = array("q", bytes(8 * PLACES))

    # --- what arrives --------------------------------------------------------------------------------

    def takes(self, m: Message) -> bool:
        """Whether the core may have a message: not the news of who leads."""
        if m.kind == MSG_PRE_VOTE:
            self.tell(m)
            return True
        if m.kind != MSG_PRE_VOTE_RESP or m.flags & FLAG_REJECT == 0:
            return True
        place = self.peers.of_id(self.core.tracker.peers, m.sender)
        if place < 0:
            return True
        if m.hint == 0:
            self.refused_at[place] = self.ticks
            return True
        self.leads[place], self.terms[place], self.said_at[place] = m.hint, m.term, self.ticks
        return False

    def tell(self, m: Message) -> int:
        """A member thinks of campaigning, and this one knows a leader: the core does not answer."""
        if not self.core.check_quorum or not self.core.is_led() or m.term < self.core.term:
            return 0
        if self.core.tracker.peers.slot_of(m.sender) < 0 or m.sender == self.core.lead:
            return 0
        return self.core.send(MSG_PRE_VOTE_RESP, m.sender, self.core.term, 0, 0, 0, FLAG_REJECT, self.core.lead, 0)

    # --- what is told --------------------------------------------------------------------------------

    def tick(self, begun: bool) -> int:
        """Time passes. begun: this life takes part."""
        self.ticks += 1
        if self.quiet > 0:
            self.quiet -= 1
        if not begun or self.core.is_led():
            self.without = self.gauges.unled_ms = 0
            return 0
        self.without += 1
        if self.without < TELL_TIMEOUTS * self.core.election_timeout:
            return 0
        self.look()
        self.gauges.unled_ms = self.without * self.tick_ms
        if self.quiet == 0 and self.applies.put_unled(self.empty_spans, self.gauges) == 0:
            self.quiet = self.told_ticks
        return 0

    def look(self) -> None:
        """What the others have said, and who was heard, lately."""
        since = FRESH_TIMEOUTS * self.core.election_timeout
        lead = term = by = heard = voters = mine = refused = 0
        for slot in range(self.core.tracker.peers.count):
            if ((self.core.tracker.voters | self.core.tracker.outgoing) >> slot) & 1 == 0:
                continue
            voters += 1
            if slot == self.core.self_slot:
                mine = 1
                continue
            place = self.peers.of_slot(self.core.tracker.peers, slot)
            if self.peers.silence[place] > since:
                continue
            heard += 1
            if self.refused_at[place] != 0 and self.ticks - self.refused_at[place] <= since:
                refused += 1
            if self.said_at[place] == 0 or self.ticks - self.said_at[place] > since:
                continue
            if self.terms[place] < max(term, self.core.term) or self.leads[place] == self.core.id:
                continue
            if self.terms[place] > term or self.leads[place] != lead:
                lead, term, by = self.leads[place], self.terms[place], 0
            by += 1
        self.gauges.unled_lead, self.gauges.unled_term, self.gauges.unled_by = lead, term, by
        self.gauges.unled_heard, self.gauges.unled_refused = heard, refused
        # A majority, this member among it if it is a voter.
        self.gauges.unled_needed = voters // 2 + 1 - mine
