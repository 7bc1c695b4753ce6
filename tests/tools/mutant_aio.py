"""Mistakes in raftx.aio, in what futures do for it, and in the file of a cluster. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

CLUSTER = "raftx/cluster_file.py"
FUTURES = "raftx/node/futures.py"
OUTCOMES = "raftx/node/outcomes.py"
AIO_FUTURES = "raftx/aio/futures.py"
AIO_NODE = "raftx/aio/node.py"
STREAMS = "raftx/aio/streams.py"
WAITING = "raftx/aio/waiting.py"

OF_FUTURES = "aio/test_aio_futures.py"
OF_NODES = "aio/test_aio_node.py"
OF_FILES = "node/test_cluster_file.py"
INTEROP = "node/test_future_interop.py"

MUTANTS = (
    Mutant(
        "a-call-for-each-outcome",
        0,
        "the loop is told of each future by itself, although many end together",
        OF_FUTURES,
        (
            Edit(
                FUTURES,
                "            if self._owner is None or not self._owner.holds(post):\n                post.ring()\n",
                "            post._rung = False\n            post.ring()\n",
            ),
        ),
    ),
    Mutant(
        "loop-told-once-for-all",
        0,
        "a loop that has looked is not told again",
        OF_FUTURES,
        (Edit(FUTURES, "        self._rung = False\n        ended = []\n", "        ended = []\n"),),
    ),
    Mutant(
        "kept-for-a-closed-loop",
        0,
        "outcomes are kept for a loop that was closed",
        OF_FUTURES,
        (Edit(FUTURES, "        if self._loop.is_closed():\n            self._ended.clear()\n", ""),),
    ),
    Mutant(
        "loops-never-told",
        0,
        "who wakes many at once forgets to tell their loop",
        OF_FUTURES,
        (Edit(OUTCOMES, "            for post in held:\n                post.ring()\n", ""),),
    ),
    Mutant(
        "ended-before-it-was-posted",
        0,
        "a future that ends before its loop waits for it never comes",
        OF_FUTURES,
        (
            Edit(
                AIO_FUTURES,
                "        if not ended.post_to(self._post, made):\n            _end(ended)\n",
                "        ended.post_to(self._post, made)\n",
            ),
        ),
    ),
    Mutant(
        "outcome-for-who-was-cancelled",
        0,
        "an outcome is brought to a future that was cancelled",
        OF_FUTURES,
        (Edit(AIO_FUTURES, "    if future is None or future.done():\n", "    if future is None:\n"),),
    ),
    Mutant(
        "start-in-the-loop",
        0,
        "the loop stands still while a node starts",
        OF_NODES,
        (Edit(AIO_NODE, 'await in_thread(self.node.start, f"raftx-start-{self.id}")', "self.node.start()"),),
    ),
    Mutant(
        "cancelled-start-keeps-all",
        0,
        "a start that is cancelled goes on, and what it takes stays taken",
        OF_NODES,
        (
            Edit(
                AIO_NODE,
                "                await self.close()\n            except Exception",
                "                pass\n            except Exception",
            ),
        ),
    ),
    Mutant(
        "close-interrupted",
        0,
        "a cancellation leaves a node half closed",
        OF_NODES,
        (Edit(WAITING, "            cancelled = error\n", "            raise error from None\n"),),
    ),
    Mutant(
        "sleeper-stays",
        0,
        "who waits no more stays among those that are woken",
        OF_NODES,
        (Edit(WAITING, "            bell.remove(sleeper)\n", "            sleeper.woken.cancel()\n"),),
    ),
    Mutant(
        "stream-misses-what-came-first",
        0,
        "an element that comes just before a reader waits is not seen",
        "aio/test_aio_streams.py",
        (
            Edit(
                STREAMS,
                "self._of_node.is_ready, timeout)",
                "lambda: self._of_node.is_ready() and not self._of_node._history._ended, timeout)",
            ),
        ),
    ),
    Mutant(
        "callback-of-asyncio-on-a-thread",
        0,
        "asyncio.wait is called back on a thread of the node, and its loop sleeps on",
        INTEROP,
        (Edit(FUTURES, "if module == WAIT else fn)", "if module is None else fn)"),),
    ),
    Mutant(
        "empty-directory-is-new",
        0,
        "a member is founded where a disk should be mounted",
        OF_FILES,
        (
            Edit(
                CLUSTER,
                "        if not os.path.lexists(data):\n",
                "        if not os.path.lexists(data) or _is_empty(data):\n",
            ),
        ),
    ),
    Mutant(
        "who-joins-is-a-founder",
        0,
        "a member that joins is founded as one of the first, with others than these have",
        OF_FILES,
        (Edit(CLUSTER, "        if self.member(id).join:\n", "        if self.member(id).learner:\n"),),
    ),
    Mutant(
        "line-behind-it",
        0,
        "a mistake in the file is told at the line behind it",
        OF_FILES,
        (Edit(CLUSTER, "        return low + 1\n", "        return high + 1\n"),),
    ),
)
