"""Mistakes in connections that raftx reads and writes itself: framing, sending. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

SP = "raftx/_native/sp.py"
TCP = "raftx/_native/tcp.py"
CODEC = "raftx/_twins/codec.py"
WIRE = "raftx/_native/wire.py"
DISPATCH = "raftx/node/dispatch.py"
TRANSPORT = "raftx/transport/tcp.py"
FRAMING = "native/test_sp.py"
STREAMS = "native/test_tcp.py"
WHOLE = "transport/test_tcp_transport.py"

MUTANTS = (
    Mutant(
        "frame-twice-after-reconnect",
        0,
        "what was sent over a connection that ended is sent again over the next one",
        STREAMS,
        (Edit(TCP, "        peer.out.clear()\n", "        peer.out.start = 0\n"),),
    ),
    Mutant(
        "rest-of-a-frame-after-reconnect",
        0,
        "the next connection begins in the middle of a frame",
        STREAMS,
        (Edit(TCP, "        peer.out.clear()\n", "        pass\n"),),
    ),
    Mutant(
        "part-of-a-frame",
        0,
        "a frame of which not all has come is taken for whole",
        FRAMING,
        (Edit(SP, "            if len(self.kept) < self.need:\n", "            if not self.kept:\n"),),
    ),
    Mutant(
        "length-without-bound",
        0,
        "whoever sends a large length is given the memory for it",
        FRAMING,
        (Edit(SP, "            if self.need > limit:\n", "            if self.need > 1 << 62:\n"),),
    ),
    Mutant(
        "mark-not-looked-at",
        0,
        "over IPC any byte may stand before a length",
        FRAMING,
        (
            Edit(
                SP,
                "            if self.ipc and self.head and self.head[0] != MARK:\n",
                "            if self.ipc and not self.need and len(self.head) > 99:\n",
            ),
        ),
    ),
    Mutant(
        "send-buffer-without-bound",
        0,
        "what a peer does not read piles up",
        FRAMING,
        (Edit(SP, "        if waiting and waiting + whole > limit and (", "        if waiting > 1 << 60 and ("),),
    ),
    Mutant(
        "what-was-sent-is-kept",
        0,
        "a send buffer that is never empty grows with all that was ever sent",
        FRAMING,
        (Edit(SP, "        elif self.start >= len(self.data) // 2:\n", "        elif self.start > 1 << 60:\n"),),
    ),
    Mutant(
        "piece-from-its-beginning-again",
        0,
        "of what is sent from where it lies the kernel took a part: that goes a second time",
        FRAMING,
        (Edit(SP, "self.pieces[0] = (place, rest[step:])", "self.pieces[0] = (place, rest)"),),
    ),
    Mutant(
        "places-of-before",
        0,
        "a send buffer is moved, and what goes between its bytes is sent elsewhere among them",
        FRAMING,
        (Edit(SP, "[(place - self.start, data) for", "[(place, data) for"),),
    ),
    Mutant(
        "referred-without-bound",
        0,
        "what is sent from where it lies does not count as waiting",
        FRAMING,
        (Edit(SP, "        waiting = self.waiting()\n", "        waiting = len(self.data) - self.start\n"),),
    ),
    Mutant(
        "bodies-in-the-checksum",
        0,
        "the checksum of a frame that is sent from several places is that of other bytes",
        "native/test_core_codec.py",
        (Edit(CODEC, "            if not lean or not _may_stay(frame[at], body):\n", "            if body:\n"),),
    ),
    Mutant(
        "proposals-without-checksum",
        0,
        "large proposals are passed on from where they lie, where nobody has given them a checksum",
        "native/test_core_codec.py",
        (Edit(CODEC, "body_size >= REFER_FROM and kind != MSG_PROP", "body_size >= REFER_FROM"),),
    ),
    Mutant(
        "looks-past-frames",
        0,
        "who looks before it sleeps does not see that a frame has come",
        STREAMS,
        (Edit(TCP, "        return self._happens(0, hungry)\n", "        return self._happens(0, False)\n"),),
    ),
    Mutant(
        "lost-peer-never-again",
        0,
        "a peer whose connection has ended is not dialled again",
        STREAMS,
        (Edit(TCP, "        self.wire.again(number, 0 if lived else code)\n", "        assert lived or code\n"),),
    ),
    Mutant(
        "patient-greeting",
        0,
        "a peer that accepts and says nothing is waited for for ever",
        STREAMS,
        (
            Edit(
                TCP,
                "            if peer.state == GREETING and now - peer.since >= self.wire.dial_ns:\n",
                "            if peer.state == GREETING and now < peer.since:\n",
            ),
        ),
    ),
    Mutant(
        "any-answer-will-do",
        0,
        "what answers with another greeting is sent frames",
        STREAMS,
        (
            Edit(
                TCP,
                "        if peer.state == STANDS or not PULL_GREETING.startswith(peer.greeting):\n",
                "        if peer.state == STANDS:\n",
            ),
        ),
    ),
    Mutant(
        "blocked-for-ever",
        0,
        "what the kernel had no room for stays where it is",
        STREAMS,
        (
            Edit(
                TCP,
                "select.EPOLLIN | RDHUP | (select.EPOLLOUT if blocked else 0)",
                "select.EPOLLIN | RDHUP | (0 if blocked else 0)",
            ),
        ),
    ),
    Mutant(
        "sent-before-it-is-told",
        0,
        "the first frame on a connection is not the sender's to choose",
        STREAMS,
        (Edit(TCP, "        if peer.state != STANDS or peer.fresh:\n", "        if peer.state != STANDS:\n"),),
    ),
    Mutant(
        "woken-for-frames-without-room",
        0,
        "a node that has no room for frames does not sleep while some wait",
        STREAMS,
        (Edit(TCP, "*([self.inn.fileno()] if hungry else [])", "*([self.inn.fileno()] if left != 0 else [])"),),
    ),
    Mutant(
        "added-while-it-sleeps",
        0,
        "a peer that is added is dialled when something else happens",
        STREAMS,
        (
            Edit(
                TCP,
                '        """The thread that waits shall look at the peers."""\n'
                "        self.attention = True\n        self.wire.event.wake()\n",
                '        """The thread that waits shall look at the peers."""\n        self.attention = True\n',
            ),
            Edit(
                WIRE,
                "        self.targets[number].live = True\n        self.event.wake()\n",
                "        self.targets[number].live = True\n",
            ),
        ),
    ),
    Mutant(
        "dialled-all-the-time",
        0,
        "a peer that says much and cannot be reached is dialled for each frame",
        STREAMS,
        (Edit(TCP, "HURRY = 100_000_000 ", "HURRY = 0 "),),
    ),
    Mutant(
        "attempt-of-before-the-return",
        0,
        "an attempt that was lost in a cut is waited for although the peer is back",
        STREAMS,
        (
            Edit(
                WIRE, "        if anew and target.state == CONNECTING and", "        if anew and target.state > 99 and"
            ),
        ),
    ),
    Mutant(
        "return-not-noticed",
        0,
        "a member that returns is dialled when the pause is over",
        WHOLE,
        (
            Edit(DISPATCH, "        return self.link.heard(id)\n", "        return 0\n"),
            Edit(DISPATCH, "        return self.link.reach(id)\n", "        return 0\n"),
            Edit(DISPATCH, "            return self.link.renew(id)\n", "            return 0\n"),
        ),
    ),
    Mutant(
        "whatever-lies-there-is-stale",
        0,
        "a file that is no socket is removed for one",
        WHOLE,
        (Edit(TRANSPORT, "        if not stat.S_ISSOCK(os.stat(path).st_mode):\n", "        if not os.stat(path):\n"),),
    ),
    Mutant(
        "socket-in-use-is-stale",
        0,
        "the socket of a living process is taken over",
        WHOLE,
        (
            Edit(
                TRANSPORT,
                "    except OSError:\n        return False\n    return False\n",
                "    except OSError:\n        return False\n    return True\n",
            ),
        ),
    ),
)
