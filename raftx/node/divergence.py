"""Whether this member's committed entries contradict its leader's: then one of the two histories is a false one.

Raft excludes it: a leader has every entry that is committed (paper, 5.4.3). So an append, or a snapshot, of the leader
of our term or of a later one that names another term for an entry that is committed here means that a disk has lost
what was acknowledged, or holds another history. No answer mends that, and to go on would hide it. Such a message is
dropped. What the present leader goes on saying for an election timeout ends the node, with Corruption.

One message ends nothing: it may be forged. It counts only as one of the leader that this member follows, in its term
and in a life that was met; and nothing counts about an entry up to which that leader's log has agreed with ours in this
term, for two logs that agree at an entry agree up to it. The engine's, on its thread, without the GIL. It changes
nothing in the core but one answer, see ``step``.
"""

from __future__ import annotations

from .._native.memory import Spans
from .._native.outbox import Message
from ..consensus import admission, records
from ..consensus.raft import Raft
from ..types import MSG_APP_RESP, MSG_HEARTBEAT, MSG_SNAP
from .channels import ApplyQueue, Gauges

EVIDENCE_MIN = 3  # contradictions before they end anything: a leader that means it goes on with each heartbeat
EXPIRE_TIMEOUTS = 10  # election timeouts without another one after which those before it count no more
TOLD_MS = 60_000  # how often it is told


DIVERGED = (
    "entry {index} is committed here with term {ours}, and in the log of the leader, member {lead}, it has term "
    "{theirs}. Both cannot be: the disk of one side has lost what was acknowledged, or holds another history"
)
LACKING = (
    "the leader, member {lead}, has entries up to {index} as acknowledged by this member, whose log ends with entry "
    "{ours}: its disk has lost what it had acknowledged"
)
REMEDY = (
    ". This member cannot take part with what it has. Find out first which side has what was acknowledged (raftx wal "
    "dump), then rebuild this member (raftx wal rebuild, which keeps the directory), or go on with what it has, as a "
    "new cluster (raftx recover)"
)


def contradiction(index: int, ours: int, theirs: int, lead: int, lacks: int) -> str:
    """In words."""
    return (LACKING if lacks else DIVERGED).format(index=index, ours=ours, theirs=theirs, lead=lead) + REMEDY


class Divergence:
    """Of one engine, whose parts it uses."""

    def __init__(self, core: Raft, applies: ApplyQueue, tick_ms: int) -> None:
        self.core = core
        self.applies = applies
        self.empty_spans = Spans()
        self.told_ticks = max(1, TOLD_MS // tick_ms)
        #: the leader that the rest is about, and its term; up to which entry its log has agreed with what is here
        self.lead = self.term = self.vouched = 0
        #: the first entry that it contradicts, 0 for none; its term here, and in the leader's log. Where it is beyond
        #: the log (``lacks``): what the leader has as acknowledged by this member. Invariant: index > vouched
        self.index = self.ours = self.theirs = 0
        self.lacks = False
        #: contradictions, ticks since the first of them, since the last, and until the next is told
        self.count = self.since = self.silent = self.quiet = 0
        #: the latest term in which a snapshot was offered: what it holds may have been committed in that term
        self.later = 0
        #: this node cannot go on
        self.ended = False

    # --- what arrives --------------------------------------------------------------------------------

    def contradicts(self, m: Message) -> bool:
        """Whether an append or a snapshot says something else of what is committed here; it is counted, then.

        It is not to be given to the core. What is of an earlier term is the core's to answer: its leader was replaced.
        """
        if m.kind == MSG_SNAP:
            self.later = max(self.later, m.term)
        if self.core.commit_by_vote or m.term < self.core.term:
            # By vote, an entry may be known to be committed in a term that has not come here: its leader's of before
            # need not have it.
            return False
        if m.kind == MSG_SNAP:
            return self.differs(m, records.u64(m.body, records.RECORD_INDEX), records.u64(m.body, records.RECORD_TERM))
        if self.differs(m, m.index, m.log_term):
            return True
        at = 0
        while m.index < self.core.committed and at < m.body_size:
            step = records.record_size(m.body, at, m.body_size)
            if step == 0:
                return False
            index, term = records.u64(m.body, at + records.RECORD_INDEX), records.u64(m.body, at + records.RECORD_TERM)
            if index > self.core.committed:
                return False
            if self.differs(m, index, term):
                return True
            at += step
        return False

    def differs(self, m: Message, index: int, term: int) -> bool:
        """Whether a committed entry has another term here than the message says; that is counted."""
        if index > self.core.committed:
            return False
        if index + 1 >= self.core.log.first:
            ours = self.core.log.term(index)
            if ours == term:
                return False
        else:
            # It is not in memory. Terms never fall along a log: it has at most that of what comes behind it.
            ours = self.core.log.term(self.core.log.first - 1)
            if term <= ours:
                return False
        self.note(m, index, ours, term, False)
        return True

    def step(self, m: Message) -> int:
        """An append that contradicts nothing, for the core.

        An append that ends before what is committed here says nothing of the rest. Where the core would acknowledge all
        of that, as etcd does, the node acknowledges what was sent: a leader that contradicts the rest is to say so, and
        not to count this member for it.
        """
        committed, rows = self.core.committed, self.core.after_append.length()
        end = m.index + m.count
        self.core.step(m)
        if m.index < committed and end < committed and self.core.after_append.length() == rows + 1:
            if (
                self.core.after_append.kind_at(rows) == MSG_APP_RESP
                and self.core.after_append.index_at(rows) == committed
            ):
                self.core.after_append.set_log(end, 0, 0)
        if m.term == self.core.term and m.sender == self.core.lead and self.core.log.match(m.index, m.log_term):
            self.follow(m.sender)
            if self.core.in_doubt:
                end = m.index  # what follows may not have been taken
            elif m.index < committed:
                end = min(end, committed)
            self.vouched = max(self.vouched, end)
            if self.index <= self.vouched:
                self.index = 0
        return 0

    def beat(self, m: Message) -> None:
        """A heartbeat that was taken: the leader has no more as acknowledged here than there is."""
        if self.lacks and m.sender == self.lead and m.term == self.term:
            self.index = 0

    def refused(self, m: Message, reason: int) -> None:
        """A message that no honest member can have sent, if this one is whole.

        A leader's heartbeat tells what this member has acknowledged to it in its term. If the log ends before that, the
        member has lost it, and does not know.
        """
        if reason == admission.COMMIT and m.kind == MSG_HEARTBEAT and not self.core.in_doubt:
            self.note(m, m.commit, self.core.log.last, 0, True)

    # --- what is known of it -------------------------------------------------------------------------

    def follow(self, sender: int) -> None:
        """Begin anew with another leader, or another term. ``sender``: who leads, where this member does not know."""
        lead = self.core.lead if self.core.lead != 0 else sender
        if self.core.term != self.term or lead != self.lead:
            self.term, self.lead = self.core.term, lead
            self.vouched = self.index = 0

    def note(self, m: Message, index: int, ours: int, theirs: int, lacks: bool) -> None:
        """Count a contradiction of whoever leads here, in the present term."""
        if m.term != self.core.term or self.core.term < self.later or m.sender == self.core.id:
            return
        if m.sender != self.core.lead and (not lacks or self.core.lead != 0):
            return
        self.follow(m.sender)
        if index <= self.vouched:
            return
        if self.index == 0:
            self.index, self.ours, self.theirs, self.lacks = index, ours, theirs, lacks
            self.count = self.since = 0
        self.count += 1
        self.silent = 0

    def publish(self, gauges: Gauges) -> None:
        """What any thread may see of it."""
        if self.index != 0:
            # Another leader may contradict the same entry.
            gauges.diverged_ours, gauges.diverged_theirs, gauges.diverged_lead = self.ours, self.theirs, self.lead
            gauges.diverged_lacks = self.lacks
        gauges.diverged = self.index

    def tick(self) -> int:
        """Time passes."""
        if self.quiet > 0:
            self.quiet -= 1
        if self.core.lead != 0 or self.core.term != self.term:
            self.follow(self.lead)
        if self.index == 0:
            return 0
        if self.quiet == 0 and self.since > 2 * self.core.heartbeat_timeout:
            # What is forged is mostly gone by then: the leader has been heard itself.
            self.quiet = self.told_ticks
            self.applies.put_diverged(self.empty_spans, self.index, self.ours, self.theirs, self.lead, self.lacks)
        self.since += 1
        self.silent += 1
        if self.silent > EXPIRE_TIMEOUTS * self.core.election_timeout:
            self.index = 0
        elif self.count >= EVIDENCE_MIN and self.since > self.core.election_timeout:
            self.ended = True
        return 0
