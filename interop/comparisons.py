"""What raftx is compared with: for each other Raft its schedules, its harness and what is allowed to differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from . import toolchains
from .cluster import run
from .generate_large import schedule, with_large
from .judging import Judge, QuietJudge
from .quiet import run_quiet
from .quiet_generate import quiet_schedule

GOLDEN = toolchains.ROOT / "tests" / "data" / "golden"

Schedule = tuple[dict[str, Any], list[list[Any]], list[str]]


@dataclass(frozen=True)
class Comparison:
    """One other Raft."""

    name: str
    title: str
    #: (head, steps, answers of raftx) of a seed, a number of steps and a package
    schedule: Callable[[int, int, ModuleType], Schedule]
    #: answers of raftx
    run: Callable[[dict[str, Any], list[list[Any]], ModuleType], list[str]]
    judge: type[Judge]
    build: Callable[[], Path]
    steps: int  # of a schedule
    golden: Path
    #: the seeds of a run, from those that were asked for
    seeds: Callable[[range], list[int]] = list

    @property
    def quiet(self) -> bool:
        """Whether answers are compared at quiet points, and some differences are chosen."""
        return issubclass(self.judge, QuietJudge)


COMPARISONS = {
    comparison.name: comparison
    for comparison in (
        Comparison(
            "go", "etcd/raft", schedule, run, Judge, toolchains.build_go, 200, GOLDEN / "etcd-raft.xz", with_large
        ),
        Comparison(
            "rust", "raft-rs", quiet_schedule, run_quiet, QuietJudge, lambda: toolchains.build_rust("raft-rs"), 40,
            GOLDEN / "raft-rs.xz",
        ),
    )
}  # fmt: skip


def of_head(head: dict[str, Any]) -> Comparison:
    """The comparison that a scenario belongs to."""
    return COMPARISONS["rust" if head.get("quiet") else "go"]
