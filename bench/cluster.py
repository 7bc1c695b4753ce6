"""Where the members of the benchmarks keep their directories."""

from __future__ import annotations

import os
from pathlib import Path

# On a real disk: the point is what a sync costs.
ROOT = os.environ.get("RAFTX_BENCH_DIR") or str(Path(__file__).resolve().parent.parent / "build" / "bench")
