"""The mutation judge: mistakes put into the core one by one, and who finds each.

    python -m tests.tools.mutants [--only NAME ...] [--jobs 2] [--without simulator|go|suite ...]

For each mistake of mutant_list.py a copy of the interpreted source is changed, and three judges look at it: random
schedules of the simulator, schedules that etcd's Raft has answered (the golden traces), and the tests of the core.
Each stops at the first schedule or test that sees something. The source as it is goes through the same judges
first: what they find there is shown and does not count for any mistake.

Prints a table. Exits with 0 when schedules find at least LEAST_BY_SCHEDULES of the mistakes and the tests all of them
(and, with --only or --without, what was run and can be asked for), 1 when they do not or the source as it is does not
pass, 2 when a judge cannot be run.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.tools.mutant_judges import MEMORY
from tests.tools.mutant_list import MUTANTS, DoesNotApply, Mutant, mutated

GOLDEN = ROOT / "tests" / "data" / "golden" / "etcd-raft.xz"
COPIED = ("raftx", "tests", "interop", "examples")
JUDGES = ("simulator", "go", "suite")

LEAST_BY_SCHEDULES = 20

# The tests of the core and of the node around it. Those that run schedules have judges of their own.
SUITE = (
    "conformance/history/test_history_elections.py",
    "conformance/history/test_history_log.py",
    "conformance/history/test_history_membership.py",
    "conformance/history/test_history_snapshots.py",
    "conformance/history/test_history_reads.py",
    "consensus/test_quorum.py",
    "native/test_flow.py",
    "consensus/test_tracker.py",
    "consensus/test_slots.py",
    "consensus/test_large_groups.py",
    "consensus/test_raft.py",
    "consensus/test_raft_replication.py",
    "consensus/test_rawnode.py",
    "consensus/test_membership.py",
    "consensus/test_configuration.py",
    "consensus/test_snapshots.py",
    "consensus/test_reads.py",
    "consensus/test_options.py",
    "consensus/test_limits.py",
    "consensus/test_release_rule.py",
    "conformance/history/test_history_flow.py",
    "conformance/history/test_history_storage.py",
    "storage/test_power.py",
    "storage/test_wal.py",
    "storage/test_wal_doubt.py",
    "storage/test_wal_large.py",
    "storage/test_wal_shortage.py",
    "storage/test_full_disk.py",
    "node/test_full_disks.py",
    "node/test_arguments.py",
    "node/test_divergence.py",
    "node/test_membership_changes.py",
    "node/test_overtaken_changes.py",
    "node/test_members_over_sockets.py",
    "node/test_rebuilt_under_a_newcomer.py",
    "node/test_apply_batch.py",
    "storage/test_skips.py",
    "storage/test_simulated_disk.py",
    "storage/test_compaction.py",
    "storage/test_compaction_power.py",
    "storage/test_recycling.py",
    "storage/test_rotation.py",
    "storage/test_crash_states.py",
    "storage/test_faults.py",
    "storage/test_founding.py",
    "storage/test_storage_conformance.py",
    "storage/test_restore.py",
    "storage/test_snapshot_receiver.py",
    "storage/test_moves.py",
    "storage/test_recover.py",
    "storage/test_lives.py",
    "cli/test_cli_wal.py",
    "cli/test_cli_cluster.py",
    "cli/test_cli_found.py",
    "cli/test_cli_doctor.py",
    "node/test_backup.py",
    "node/test_transfers.py",
    "node/test_older_snapshots.py",
    "node/test_transfer_cuts.py",
    "node/test_snapshot_thread.py",
    "node/test_snapshots_overtaken.py",
    "node/test_node_reads.py",
    "node/test_sessions.py",
    "node/test_session_table.py",
    "node/test_clocks.py",
    "node/test_lease_reads.py",
    "node/test_stale_reads.py",
    "node/test_leading_requests.py",
    "node/test_deadlines.py",
    "node/test_lag.py",
    "node/test_preference.py",
    "node/test_relief.py",
    "node/test_contracts.py",
    "node/test_member_history.py",
    "node/test_stamps.py",
    "node/test_status.py",
    "node/test_cluster_status.py",
    "node/test_timeline.py",
    "admin/test_admin_guard.py",
    "node/test_apply_errors.py",
    "node/test_patience.py",
    "node/test_patient_bounds.py",
    "node/test_read_bounds.py",
    "node/test_own_loops.py",
    "node/test_unfinished.py",
    "storage/test_snapshots_ahead.py",
    "node/test_offers_not_taken.py",
    "node/test_node_snapshots.py",
    "node/test_machine_mistakes.py",
    "storage/test_snapshot_files.py",
    "consensus/test_admission.py",
    "consensus/test_doubt.py",
    "node/test_contact.py",
    "node/test_chronicle.py",
    "native/test_wire.py",
    "native/test_core_codec.py",
    "native/test_sp.py",
    "native/test_seal.py",
    "native/test_tcp.py",
    "transport/test_silent.py",
    "transport/test_tcp_transport.py",
    "transport/test_tls.py",
    "transport/test_cluster_key.py",
    "node/test_futures.py",
    "node/test_future_interop.py",
    "node/test_cluster_file.py",
    "aio/test_aio_futures.py",
    "aio/test_aio_node.py",
    "aio/test_aio_streams.py",
    "node/test_life_limits.py",
    "node/test_life.py",
    "node/test_log_handlers.py",
    "node/test_requests.py",
    "node/test_stepped.py",
    "node/test_peers.py",
    "node/test_senders.py",
    "node/test_hostile.py",
    "node/test_meetings.py",
    "node/test_added_again.py",
    "node/test_founded_apart.py",
    "node/test_channels.py",
    "node/test_in_use.py",
    "node/test_committed_stream.py",
    "node/test_stream_ends.py",
    "consensus/test_driver.py",
    "native/test_sys.py",
    "node/test_disagreements.py",
    "node/test_held_back.py",
    "node/test_unled.py",
    "node/test_compacted_log.py",
    "transport/test_peers_come_and_go.py",
    "transport/test_lookups.py",
    "recipes/test_leases.py",
    "recipes/test_rate_limiters.py",
    "recipes/test_machine.py",
    "recipes/test_own_machine.py",
    "recipes/test_clients.py",
    "kv/test_kv_store.py",
    "kv/test_kv_http.py",
    "kv/test_kv_serve.py",
    "kv/test_kv_hostile.py",
    "node/test_batches.py",
    "node/test_crew.py",
    "kv/test_etcd_answers.py",
    "simulation/test_linearizable.py",
    "simulation/test_nodes.py",
    "simulation/test_partial.py",
)

# Of one test process: seconds on the wall, and of computing. The whole suite takes a small part of it.
SUITE_S = 900
SUITE_CPU_S = 300
# Of one process that runs schedules, on the wall; each schedule has a limit of its own.
SCHEDULES_S = 900

IMPORTS = "import raftx, raftx.testing.schedule, interop.cluster; assert not raftx.COMPILED; print(raftx.__file__)"


class CannotRun(Exception):
    """A judge does not do its work; the text is what it said."""


@dataclass
class Options:
    """What is run, and how long."""

    judges: tuple[str, ...] = JUDGES
    seeds: int = 600
    steps: int = 800
    golden: Path = GOLDEN


@dataclass
class Verdict:
    """What the judges found in one copy. Per judge: the first sight of a mistake, None for nothing."""

    name: str
    number: int = 0
    #: the schedule or test, and what was seen
    seen: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    #: how many schedules it took, and in how many something was seen
    schedules: dict[str, int] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    took: float = 0.0

    def killed_by(self, *judges: str) -> bool:
        """Whether one of them saw it."""
        return any([self.seen.get(judge) is not None for judge in judges])


@dataclass
class Control:
    """What the judges find in the source as it is: left out everywhere else."""

    seeds: list[int] = field(default_factory=list)
    traces: list[int] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)


# --- a copy ----------------------------------------------------------------------------------------


def copy_source(target: Path, source: Path = ROOT) -> None:
    """The sources and what the tests need, without anything that is compiled."""
    for name in COPIED:
        ignore = shutil.ignore_patterns("*.so", "*.pyx", "*.pxd", "*.h", "*.xz", "__pycache__", "etcd-raft")
        shutil.copytree(source / name, target / name, ignore=ignore)
    shutil.copy(source / "pyproject.toml", target)


def change_source(target: Path, mutant: Mutant) -> None:
    """Make a copy wrong. Raises DoesNotApply, and CannotRun when it cannot be imported."""
    for file, text in mutated(target, mutant).items():
        (target / file).write_text(text)
    done = run(target, [sys.executable, "-c", IMPORTS], 60)
    if done.returncode:
        raise CannotRun(f"{mutant.name} cannot be imported:\n{done.stderr}")
    if not Path(done.stdout.strip()).is_relative_to(target.resolve()):
        raise CannotRun(f"the wrong raftx is imported: {done.stdout.strip()}")


def run(target: Path, command: list[str], seconds: float, cpu_s: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command inside a copy, interpreted. Raises TimeoutExpired."""
    environment = {**os.environ, "RAFTX_PURE": "1", "RAFTX_REQUIRE_COMPILED": "", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(target)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))

    return subprocess.run(
        command,
        cwd=target,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        preexec_fn=limited,
    )


# --- judges ----------------------------------------------------------------------------------------


def schedules(
    target: Path, arguments: list[str], without: list[int], all: bool = False
) -> tuple[list[tuple[str, str]], int, bool]:
    """(kills, schedules run, whether the kills are enough) of a judge of mutant_judges.py."""
    command = [sys.executable, "-m", "tests.tools.mutant_judges", *arguments]
    command += ["--without", ",".join([str(each) for each in without])] + ["--all"] * all
    try:
        done = run(target, command, SCHEDULES_S)
    except subprocess.TimeoutExpired as error:
        raise CannotRun(f"{arguments[0]}: no answer within {error.timeout} s") from error
    if done.returncode:
        raise CannotRun(f"{arguments[0]} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return [(str(number), seen) for number, seen in answer["kills"]], answer["schedules"], answer["sure"]


def simulator(options: Options) -> list[str]:
    """The arguments of the simulator's judge."""
    return ["simulator", "--seeds", str(options.seeds), "--steps", str(options.steps)]


def suite(target: Path, files: Sequence[str], without: Sequence[str], all: bool = False) -> list[tuple[str, str]]:
    """(test, what was seen) of the first test that fails, or of all."""
    present = [f"tests/{file}" for file in dict.fromkeys(files) if (target / "tests" / file).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-rfE", "-p", "no:cacheprovider", *present]
    command += ["-x"] * (not all) + [f"--deselect={test}" for test in without]
    try:
        done = run(target, command, SUITE_S, SUITE_CPU_S)
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return [("a test that does not end", said[-300:])]
    if done.returncode < 0:
        return [("a test that does not end", f"signal {-done.returncode}")]
    if done.returncode == 0:
        return []
    found = re.findall(r"^(?:FAILED|ERROR) (\S+::.+?|\S+)(?: - (.*))?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 and not found:
        raise CannotRun(f"pytest ended with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return [(test.removeprefix("tests/"), why) for test, why in found] or [("pytest", done.stdout[-300:])]


def control(source: Path, options: Options) -> Control:
    """The source as it is under all judges."""
    found = Control()
    with tempfile.TemporaryDirectory(prefix="raftx-control-") as directory:
        target = Path(directory)
        copy_source(target, source)

        def by_simulator() -> None:
            kills, _, _ = schedules(target, simulator(options), [], all=True)
            found.seeds = [int(number) for number, _ in kills]
            found.found += [f"simulator, seed {number}: {seen}" for number, seen in kills]

        def by_go() -> None:
            kills, _, _ = schedules(target, ["go", str(options.golden)], [], all=True)
            found.traces = [int(number) for number, _ in kills]
            found.found += [f"go, schedule {number}: {seen}" for number, seen in kills]

        def by_suite() -> None:
            failed = suite(target, SUITE, (), all=True)
            found.tests = [f"tests/{test}" for test, _ in failed]
            found.found += [f"suite, {test}: {why}" for test, why in failed]

        works: dict[str, Callable[[], None]] = {"simulator": by_simulator, "go": by_go, "suite": by_suite}
        with ThreadPoolExecutor(2) as pool:
            # The longest first.
            for future in [pool.submit(works[judge]) for judge in reversed(JUDGES) if judge in options.judges]:
                future.result()
    return found


def examine(source: Path, mutant: Mutant, options: Options, known: Control) -> Verdict:
    """One mistake, put into ``source``, under all judges. Raises DoesNotApply, CannotRun."""
    begin = time.monotonic()
    verdict = Verdict(mutant.name, mutant.number)
    with tempfile.TemporaryDirectory(prefix=f"raftx-{mutant.name}-") as directory:
        target = Path(directory)
        copy_source(target, source)
        change_source(target, mutant)
        for judge in options.judges:
            if judge == "suite":
                # By itself first: to collect all of the others takes longer than most mistakes need to be seen.
                failed = suite(target, (mutant.first,), known.tests)
                if not failed:
                    failed = suite(target, [each for each in SUITE if each != mutant.first], known.tests)
                verdict.seen[judge] = failed[0] if failed else None
                continue
            arguments = simulator(options) if judge == "simulator" else ["go", str(options.golden)]
            kills, count, sure = schedules(target, arguments, known.seeds if judge == "simulator" else known.traces)
            verdict.schedules[judge] = count
            verdict.hints[judge] = len(kills)
            verdict.seen[judge] = kills[-1] if sure else None
    verdict.took = time.monotonic() - begin
    return verdict


# --- the table -------------------------------------------------------------------------------------

LINE = "{:28} {:>3}  {:>11}  {:>11}  {}"


def line(verdict: Verdict) -> str:
    """A mutant's line: by whom it was killed, and after how many schedules. "?": something was seen, too little."""
    cells = []
    for judge in ("simulator", "go"):
        count = verdict.schedules.get(judge)
        hint = "?" if verdict.hints.get(judge) else ""
        cells.append("" if count is None else str(count) if verdict.seen[judge] else f"not in {count}{hint}")
    test = verdict.seen.get("suite")
    cells.append(test[0] if test else "no test" if "suite" in verdict.seen else "")
    return LINE.format(verdict.name, verdict.number or "-", *cells)


def passes(verdicts: Sequence[Verdict], judges: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether enough was found by those who were asked, and the totals in words."""
    by_schedules = [judge for judge in ("simulator", "go") if judge in judges]
    count = len(verdicts)
    lines = []
    good = True
    for judge in by_schedules:
        lines.append(f"{judge}: {len([v for v in verdicts if v.killed_by(judge)])} of {count}")
    if by_schedules:
        killed = len([v for v in verdicts if v.killed_by(*by_schedules)])
        # A part of the list is asked for no more than it can give.
        least = LEAST_BY_SCHEDULES - (len(MUTANTS) - count)
        lines.append(f"by schedules: {killed} of {count} (at least {max(0, least)})")
        good = killed >= least
    if "suite" in judges:
        killed = len([v for v in verdicts if v.killed_by("suite")])
        lines.append(f"suite: {killed} of {count} (all)")
        good = good and killed == count
    return good, lines


def examine_all(
    source: Path, mutants: Sequence[Mutant], options: Options, known: Control, jobs: int, verbose: bool
) -> list[Verdict]:
    """Several mistakes, some at a time; prints the table."""
    verdicts = []
    print(LINE.format("mistake", "no.", "simulator", "go", "suite"), flush=True)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        futures = [pool.submit(examine, source, mutant, options, known) for mutant in mutants]
        try:
            for future in futures:
                verdict = future.result()
                verdicts.append(verdict)
                print(line(verdict), flush=True)
                if verbose:
                    for judge, seen in verdict.seen.items():
                        print(f"    {judge}: {', '.join(seen)[:400] if seen else 'nothing'}")
                    print(f"    {verdict.took:.0f} s", flush=True)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=[m.name for m in MUTANTS], metavar="NAME")
    parser.add_argument("--without", action="append", default=[], choices=JUDGES, help="leave a judge out")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default: 2)")
    parser.add_argument("--seeds", type=int, default=600, help="schedules of the simulator (default: 600)")
    parser.add_argument("--steps", type=int, default=800, help="steps of each (default: 800)")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="schedules with the answers of etcd's Raft")
    parser.add_argument("--no-control", action="store_true", help="do not judge the source as it is")
    parser.add_argument("--list", action="store_true", help="say what the mistakes are, and no more")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was seen")
    given = parser.parse_args(arguments)
    if given.list:
        for mutant in MUTANTS:
            print(f"{mutant.name:28} {mutant.number or '-':>3}  {mutant.says}")
        return 0
    judges = tuple([judge for judge in JUDGES if judge not in given.without])
    options = Options(judges, given.seeds, given.steps, given.golden.resolve())
    if "go" in judges and not options.golden.exists():
        print(f"mutants: {options.golden} is missing: python -m interop.golden writes it", file=sys.stderr)
        return 2
    chosen = [mutant for mutant in MUTANTS if not given.only or mutant.name in given.only]
    begin = time.monotonic()
    try:
        # One copy for everybody: what is edited meanwhile must not pass for a mistake that was found.
        with tempfile.TemporaryDirectory(prefix="raftx-source-") as directory:
            source = Path(directory)
            copy_source(source)
            for mutant in chosen:
                mutated(source, mutant)  # known to be possible before the first minute is spent
            if "go" in judges:
                options.golden = Path(shutil.copy(options.golden, source))
            known = Control() if given.no_control else control(source, options)
            for text in known.found:
                print(f"without any mistake: {text[:300]}", flush=True)
            verdicts = examine_all(source, chosen, options, known, given.jobs, given.verbose)
    except (DoesNotApply, CannotRun) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    good, lines = passes(verdicts, judges)
    print("\n".join([*lines, f"{time.monotonic() - begin:.0f} s"]))
    if known.found:
        print(f"the source as it is does not pass: {len(known.found)} findings above")
    return 0 if good and not known.found else 1


if __name__ == "__main__":
    sys.exit(main())
