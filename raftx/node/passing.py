"""How proposals are passed on to the leader: few frames at a time, so that none finds a queue full.

What was passed on counts as under way until it comes back in an append, or is refused. While two frames are under way,
proposals wait where they are, and go together: a large frame costs hardly more than a small one. Only what is large as
it is goes beyond that. The engine's, on its thread, without the GIL; nothing is sent from here.
"""

from __future__ import annotations

from array import array

FRAMES = 16  # under way at most: a power of two, and fewer than a transport's queue has by default
SMALL_FROM = 2  # frames under way from which on a small one waits
LARGE = 64 << 10  # bytes of proposals that do not wait for others
GIVEN_UP = 4  # ticks without a word, after which the oldest frame is not waited for: it may be lost
PATIENCE_MAX = 64  # ticks that this becomes where answers take longer


class Passing:
    """The proposals of this member that its leader has not answered.

    frames: how many may be under way, FRAMES at most; most: their bytes, but one frame may always be; 0: no limit.
    """

    def __init__(self, frames: int, most: int) -> None:
        self.frames = min(frames, FRAMES)
        self.most = most
        #: of each frame under way, a ring: its last proposal and its bytes
        self.last = array("Q", bytes(8 * FRAMES))
        self.sizes = array("Q", bytes(8 * FRAMES))
        #: Invariant: first <= end <= first + FRAMES
        self.first = self.end = 0
        self.bytes = 0
        #: the term that it was passed on in
        self.term = 0
        #: ticks since something was answered, and how many may pass
        self.waited = 0
        self.patience = GIVEN_UP
        #: the last proposal that was answered, and of the last frame that was given up
        self.newest = self.given_up = 0

    def opens(self, term: int, size: int) -> bool:
        """Whether proposals may be passed on now, in this term; ``size``: bytes that are there. ``fits`` follows."""
        if term != self.term:
            # Another leader: what the last one did not answer is not waited for.
            self.forget()
            self.term = term
        under_way = self.end - self.first
        if under_way < min(SMALL_FROM, self.frames):
            return True
        return size >= LARGE and under_way < self.frames

    def fits(self, size: int) -> bool:
        """Whether a frame with so many bytes of proposals may be under way beside those that are."""
        return self.first == self.end or self.most == 0 or self.bytes + size <= self.most

    def passed(self, last: int, size: int) -> None:
        """A frame is under way, up to that proposal. After ``opens`` and ``fits``."""
        if self.end == self.first:
            self.waited = 0
        self.last[self.end % FRAMES] = last
        self.sizes[self.end % FRAMES] = size
        self.end += 1
        self.bytes += size

    def answered(self, sequence: int) -> None:
        """Proposals up to this one are in the log, or were refused."""
        if sequence <= self.newest:
            return
        if sequence <= self.given_up:
            # That frame was not lost: answers take longer here.
            self.patience = min(2 * self.patience, PATIENCE_MAX)
        self.newest = sequence
        while self.first < self.end and self.last[self.first % FRAMES] <= sequence:
            self.bytes -= self.sizes[self.first % FRAMES]
            self.first += 1
            self.waited = 0

    def waits(self) -> bool:
        """Whether something is under way."""
        return self.first < self.end

    def tick(self) -> bool:
        """Time passes; whether the oldest frame is not waited for any more.

        One at a time: a leader that says nothing for a while may have all of them in a queue yet, and as many again
        would find that full.
        """
        self.waited += 1
        if self.first == self.end or self.waited < self.patience:
            return False
        self.given_up = self.last[self.first % FRAMES]
        self.bytes -= self.sizes[self.first % FRAMES]
        self.first += 1
        self.waited = 0
        return True

    def dropped(self, sequence: int) -> None:
        """The frame up to that proposal was not sent; those before it may wait to be."""
        at = self.first
        while at < self.end and self.last[at % FRAMES] != sequence:
            at += 1
        if at == self.end:
            return
        self.bytes -= self.sizes[at % FRAMES]
        while at + 1 < self.end:
            self.last[at % FRAMES] = self.last[(at + 1) % FRAMES]
            self.sizes[at % FRAMES] = self.sizes[(at + 1) % FRAMES]
            at += 1
        self.end -= 1

    def forget(self) -> None:
        """Nothing is under way."""
        self.first = self.end
        self.bytes = 0
        self.waited = 0
        self.given_up = 0
        self.patience = GIVEN_UP
