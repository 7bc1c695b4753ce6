"""Mistakes in what is held back instead of dropped, and about disks that stand still. A part of the list.

For mutants.py.
"""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

OPENING = "raftx/node/opening.py"
ENGINE = "raftx/node/engine.py"
LEADER = "raftx/consensus/leader.py"
PASSING = "raftx/node/passing.py"
STALL = "raftx/node/stall.py"

HELD = "node/test_held_back.py"

MUTANTS = (
    Mutant(
        "unsent-frame-counts-in-part",
        0,
        "the bytes of frames that were not sent count as under way for ever, and large proposals wait for nothing",
        HELD,
        (Edit(PASSING, "            return\n        self.bytes -= self.sizes[at % FRAMES]\n", "            return\n"),),
    ),
    Mutant(
        "append-never-held",
        0,
        "each small proposal goes to the followers in a frame of its own, however many are unacknowledged",
        HELD,
        (Edit(LEADER, "HOLD_FROM = 2 ", "HOLD_FROM = 10**6 "),),
    ),
    Mutant(
        "append-held-whatever-its-size",
        0,
        "large appends wait for acknowledgements too: one that is far away gets two a round trip",
        HELD,
        (Edit(LEADER, " or r.log_bytes(low, r.log.last) < min(r.hold_bytes", " or 0 < min(r.hold_bytes"),),
    ),
    Mutant(
        "append-held-behind-a-lost-one",
        0,
        "what waits for the acknowledgement of appends that were lost waits for ever",
        HELD,
        (
            Edit(
                LEADER,
                "    if r.tracker.peers.match[slot] < r.log.last or r.tracker.peers.state[slot] == PROBE:\n",
                "    if not held(r, slot) and r.tracker.peers.match[slot] < r.log.last:\n",
            ),
        ),
    ),
    Mutant(
        "commit-index-not-told",
        0,
        "a leader without further entries tells the commit index with the next heartbeat only",
        HELD,
        (Edit(LEADER, "            news = r.tracker.can_bump", "            news = False and r.tracker.can_bump"),),
    ),
    Mutant(
        "commit-index-beside-entries",
        0,
        "the commit index has an append of its own beside the one with entries",
        HELD,
        (
            Edit(
                LEADER,
                "    if r.hold_bytes:\n        r.due = DUE_ALL\n        return 0\n",
                "    if r.hold_bytes:\n        r.due = DUE_ALL\n        return send_due(r)\n",
            ),
            Edit(
                LEADER, "            r.due = max(r.due, DUE_ANSWER)\n", "            maybe_send_append(r, slot, True)\n"
            ),
        ),
    ),
    Mutant(
        "proposals-passed-on-one-by-one",
        0,
        "a follower passes on each proposal in a frame of its own, also when its leader has answered none",
        HELD,
        (Edit(PASSING, "SMALL_FROM = 2 ", "SMALL_FROM = 16 "),),
    ),
    Mutant(
        "proposals-passed-on-without-a-bound",
        0,
        "a follower passes on more large proposals than the queue to its leader takes",
        HELD,
        (Edit(PASSING, "self.most == 0 or self.bytes + size <= self.most\n", "True\n"),),
    ),
    Mutant(
        "passed-on-for-ever",
        0,
        "proposals that were lost on their way hold up all that follow",
        HELD,
        (Edit(PASSING, "self.first == self.end or self.waited < self.patience:", "self.waited >= 0:"),),
    ),
    Mutant(
        "patience-without-experience",
        0,
        "a follower far away from its leader takes what it passes on for lost again and again",
        HELD,
        (Edit(PASSING, "            self.patience = min(2 * self.patience, PATIENCE_MAX)\n", "            pass\n"),),
    ),
    Mutant(
        "windows-without-headers",
        0,
        "a window counts the data of entries alone, and of small ones more goes out than a queue takes",
        HELD,
        (Edit(LEADER, "r.log_bytes(low, high) if r.hold_bytes else r.log", "r.log"),),
    ),
    Mutant(
        "paused-and-not-told",
        0,
        "with skip_bcast_commit, who was paused hears of what is committed with a heartbeat only",
        HELD,
        (Edit(LEADER, "if r.hold_bytes == 0 or r.skip_bcast_commit:", "if r.hold_bytes == 0:"),),
    ),
    Mutant(
        "large-frame-behind-others-dropped",
        0,
        "a large frame is dropped because something small waits",
        "native/test_tcp.py",
        (
            Edit(
                "raftx/_native/sp.py",
                " and (whole <= limit // LARGE_PART or waiting > limit):\n",
                ":\n",
            ),
        ),
    ),
    Mutant(
        "large-frames-without-end",
        0,
        "any number of large frames may wait",
        "native/test_tcp.py",
        (Edit("raftx/_native/sp.py", "LARGE_PART or waiting > limit):", "LARGE_PART):"),),
    ),
    Mutant(
        "ahead-and-so-better",
        0,
        "a leader gives up because others were ahead when all disks came to stand still",
        HELD,
        (Edit(STALL, "        if not went_on:\n", "        if False:\n"),),
    ),
    Mutant(
        "room-that-nobody-makes",
        0,
        "an engine without room for further rows waits for a thread that was not told of those that wait",
        "native/test_sys.py",
        (
            Edit(
                "raftx/_native/threads.py",
                "        # Who takes them may not have been told of them.\n        self.event.wake()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "woken-for-each-hand-over",
        0,
        "the apply thread is woken twice for a proposal: when it is handed over, and when it is committed",
        "node/test_status.py",
        (Edit("raftx/node/channels.py", "        return self.lay(no_spans", "        return self.put(no_spans"),),
    ),
    Mutant(
        "wake-ups-that-are-not-counted",
        0,
        "a wake-up of the engine that found nothing is not counted",
        "node/test_status.py",
        (Edit("raftx/node/channels.py", "            self.wakeups_idle += 1\n", "            pass\n"),),
    ),
    Mutant(
        "answers-not-seen",
        0,
        "a follower does not see that its proposals are in the log, and passes the next ones on late",
        HELD,
        (Edit(ENGINE, "            if self.passing.waits() and self.message.count:\n", "            if False:\n"),),
    ),
    Mutant(
        "windows-of-any-size",
        0,
        "a leader has more under way than the queue of its transport takes",
        HELD,
        (Edit(OPENING, "        messages = min(messages, max(1, frames // 2))\n", "        messages = messages\n"),),
    ),
    Mutant(
        "election-when-all-disks-stall",
        0,
        "a leader whose disk stalls gives up although nobody else's disk is better",
        HELD,
        (Edit(STALL, "        return self.core.committed > self.core.stable\n", "        return True\n"),),
    ),
    Mutant(
        "leader-with-a-stalled-disk",
        0,
        "a leader whose disk stalls goes on leading although the others' disks do not",
        HELD,
        (Edit(STALL, "        return self.core.committed > self.core.stable\n", "        return False\n"),),
    ),
    Mutant(
        "resigns-before-it-hands-over",
        0,
        "a leader whose disk stalls resigns at once, and there is none until somebody's timeout",
        HELD,
        (Edit(STALL, "self.ticks > 2 * self.core.election_timeout", "self.ticks > self.core.election_timeout"),),
    ),
    Mutant(
        "hands-over-to-nobody-for-ever",
        0,
        "a leader whose disk stalls goes on leading when nobody hears that it hands over",
        HELD,
        (Edit(STALL, "            self.core.become_follower(self.core.term, 0)\n", "            pass\n"),),
    ),
    Mutant(
        "stall-counted-while-all-stand-still",
        0,
        "a leader gives up for the time in which others make durable what it has, its own disk being no worse",
        HELD,
        (Edit(STALL, "self.driver.durable or not self.is_alone():", "self.driver.durable:"),),
    ),
)
