"""How the processes of a run share the tests: a plugin of pytest, and the scheduler that it gives to pytest-xdist.

The tests of a file stay together, because they share fixtures, except for cases whose id is ``shared-...``: each of
these is given out by itself. What takes longest begins first, so that no process is left with it at the end. How long
something takes is what ``pytest.mark.slow(seconds)`` says of each case; a wrong number costs time and nothing else.

Not a test. It may not change which tests run.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

#: Seconds of a case that is marked slow and does not say how slow.
SLOW_S = 3.0
#: Seconds of any other case.
QUICK_S = 0.02

_SHARED = re.compile(r"\[(.*-)?shared-\w+(-.*)?\]$")


def is_shared(nodeid: str) -> bool:
    """Whether a case is given out by itself."""
    return _SHARED.search(nodeid) is not None


def share_of(nodeid: str) -> str:
    """What is given to a process as one: the file, or the case."""
    return nodeid if is_shared(nodeid) else nodeid.partition("::")[0]


def seconds_of(item: pytest.Item) -> float:
    """What the marks of a case say that it takes."""
    mark = item.get_closest_marker("slow")
    if mark is None:
        return QUICK_S
    return float(mark.args[0]) if mark.args else SLOW_S


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process of several, the long shares first. The order within a share, and between equals, stays."""
    if not hasattr(config, "workerinput"):
        return
    seconds: Counter[str] = Counter()
    for item in items:
        seconds[share_of(item.nodeid)] += seconds_of(item)  # type: ignore[assignment]  # Counter takes floats too
    items.sort(key=lambda item: -seconds[share_of(item.nodeid)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For ``--dist loadfile``. None leaves it to pytest-xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler.loadfile import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        """Shares as above, in the order in which the processes have collected them.

        A process is always given more before it has done what it has. One that has a shared case gets no second one
        then, as long as there is anything else: they are for several processes at once.
        """

        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            assigned = self.assigned_work[node]
            if any(is_shared(share) and not all(done.values()) for share, done in assigned.items()):
                other = next((share for share in self.workqueue if not is_shared(share)), None)
                if other is not None:
                    self.workqueue.move_to_end(other, last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return Scheduling(config, log)
