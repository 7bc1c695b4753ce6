"""Scenario files (interop/scenarios.md): what the raft crate prints for those here, raftx prints too.

expected.txt is what its program printed for all files, sorted by name; nothing here needs cargo but the random
scenarios, which run where it can build that program without a network.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from interop import scenarios, toolchains
from interop.scenarios_generate import scenario, settled
from tests.helpers.paths import DATA

FILES = sorted((DATA / "scenarios").glob("*.json"))
EXPECTED = (DATA / "scenarios" / "expected.txt").read_bytes().decode()

# Seeds; in the last three a commit index comes with a heartbeat only. Interpreted, a quarter of them is enough to see
# that the modes do not differ.
RANDOM = [*range(1, 1001), 8564, 18472, 25531]
INTERPRETED = [*RANDOM[:-3:4], *RANDOM[-3:]]

GOOD: dict[str, Any] = {
    "name": "good",
    "nodes": [1, 2, 3],
    "election_ticks": {"1": 10, "2": 15, "3": 20},
    "heartbeat_ticks": 3,
    "steps": [{"op": "deliver"}, {"op": "campaign", "node": 1}],
}
WRONG_IDS = "must be a list of integers from 1 to 9223372036854775807"


def step(**fields: Any) -> dict[str, Any]:
    """A change of GOOD: its third step."""
    return {"steps": [*GOOD["steps"], fields]}


# A change of GOOD, None leaving a field out, and what is said of it
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name: missing"),
    ({"name": "-a"}, "name: must be of letters, digits, - and _, the first one a letter or a digit"),
    ({"name": "a b"}, "name: must be of letters, digits, - and _, the first one a letter or a digit"),
    ({"name": 7}, "name: must be of letters, digits, - and _, the first one a letter or a digit"),
    ({"colour": 1, "size": 2}, "colour: unknown field"),
    ({"nodes": None}, "nodes: missing"),
    ({"nodes": 3}, f"nodes: {WRONG_IDS}"),
    ({"nodes": []}, "nodes: must not be empty"),
    ({"nodes": [1, 2, "3"]}, f"nodes: {WRONG_IDS}"),
    ({"nodes": [0, 1, 2]}, f"nodes: {WRONG_IDS}"),
    ({"nodes": [1, 2, True]}, f"nodes: {WRONG_IDS}"),
    ({"nodes": [1, 2, 2**63]}, f"nodes: {WRONG_IDS}"),
    ({"nodes": [1, 2, 1]}, "nodes: 1 is there twice"),
    ({"nodes": list(range(1, 66))}, "nodes: must be at most 64"),
    ({"election_ticks": [10, 15, 20]}, "election_ticks: must be an object"),
    ({"election_ticks": {"1": 10, "2": 15}}, "election_ticks.3: missing"),
    ({"election_ticks": {"1": 10, "two": 15}}, 'election_ticks: "two" is not an id'),
    ({"election_ticks": {"1": 10, "02": 15}}, 'election_ticks: "02" is not an id'),
    ({"election_ticks": {"1": 10, "2": 0}}, "election_ticks.2: must be an integer from 1 to 100000"),
    ({"election_ticks": {"1": 10, "2": 1.5}}, "election_ticks.2: must be an integer from 1 to 100000"),
    ({"heartbeat_ticks": 10}, "election_ticks.1: must be above heartbeat_ticks, which is 10"),
    ({"heartbeat_ticks": None}, "heartbeat_ticks: missing"),
    ({"heartbeat_ticks": "3"}, "heartbeat_ticks: must be an integer from 1 to 10000"),
    ({"heartbeat_ticks": 0}, "heartbeat_ticks: must be an integer from 1 to 10000"),
    ({"check_quorum": 1}, "check_quorum: must be true or false"),
    ({"steps": None}, "steps: missing"),
    ({"steps": {}}, "steps: must be a list"),
    ({"steps": ["heal"]}, "step 1: must be an object"),
    (step(node=1), "step 3: op: missing"),
    (step(op=1), "step 3: op: must be a string"),
    (step(op="jump"), 'step 3: op: "jump" is not a step'),
    (step(op="campaign"), "step 3 (campaign): node: missing"),
    (step(op="campaign", node=4), "step 3 (campaign): node: 4 is not one of the nodes"),
    (step(op="campaign", node=1, count=1), "step 3 (campaign): count: unknown field"),
    (step(op="tick", node=1), "step 3 (tick): count: missing"),
    (step(op="tick", node=1, count=-1), "step 3 (tick): count: must be an integer from 0 to 2147483647"),
    (step(op="tick", node="1", count=1), "step 3 (tick): node: must be an integer from 1 to 9223372036854775807"),
    (step(op="tick_all"), "step 3 (tick_all): count: missing"),
    (step(op="tick_all", count=True), "step 3 (tick_all): count: must be an integer from 0 to 2147483647"),
    (step(op="propose", node=1), "step 3 (propose): command: missing"),
    (step(op="propose", node=9, command="x"), "step 3 (propose): node: 9 is not one of the nodes"),
    (step(op="propose", node=1, command=5), "step 3 (propose): command: must be a string"),
    (step(op="isolate"), "step 3 (isolate): nodes: missing"),
    (step(op="isolate", nodes=[]), "step 3 (isolate): nodes: must not be empty"),
    (step(op="isolate", nodes=[1, 1]), "step 3 (isolate): nodes: 1 is there twice"),
    (step(op="isolate", nodes=[3, 4]), "step 3 (isolate): nodes: 4 is not one of the nodes"),
    (step(op="isolate", nodes=2), f"step 3 (isolate): nodes: {WRONG_IDS}"),
    (step(op="deliver", count=1), "step 3 (deliver): count: unknown field"),
    (step(op="heal", nodes=[1]), "step 3 (heal): nodes: unknown field"),
]


@pytest.mark.once
def test_expected_is_of_these_files() -> None:
    names = [json.loads(trace)["name"] for trace in scenarios.split(EXPECTED)]
    assert names == [path.stem for path in FILES]
    assert [scenarios.read(path)["name"] for path in FILES] == names
    assert len(names) >= 45


def test_traces_are_those_of_the_raft_crate(impl: ModuleType) -> None:
    for path, expected in zip(FILES, scenarios.split(EXPECTED)):
        assert scenarios.run(scenarios.read(path), impl) == expected, path.name


@pytest.mark.once
def test_files_show_what_they_are_about() -> None:
    """Leaders and none, several terms, and members that have committed more than others."""
    traces = [json.loads(trace) for trace in scenarios.split(EXPECTED)]
    logs = [{tuple(node["committed"]) for node in trace["nodes"]} for trace in traces]
    assert sum([trace["leader"] == 0 for trace in traces]) >= 10
    assert sum([trace["term"] > 1 for trace in traces]) >= 30
    assert sum([len(each) > 1 for each in logs]) >= 15
    assert {len(trace["nodes"]) for trace in traces} == {1, 2, 3, 4, 5, 7}


@pytest.mark.once
def test_the_command_prints_trace_after_trace(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert scenarios.main([str(path) for path in FILES[3:6]]) == 0
    assert capsysbinary.readouterr().out.decode() == "".join(scenarios.split(EXPECTED)[3:6])


@pytest.mark.once
@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistakes(change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {name: field for name, field in {**GOOD, **change}.items() if field is not None}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value))
    assert scenarios.main([str(FILES[0]), str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{path}: {message}\n"
    assert captured.out == ""


@pytest.mark.once
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "must be an object"),
        (b'{"name": }', "not JSON: "),
        (b"", "not JSON: "),
        (b'{"name": NaN}', "not JSON: NaN is no number"),
        (b'{"name": "\\ud800"}', "not JSON: "),
        (b"[" * 100_000, "not JSON: "),
        (b'{"name": "\xff"}', "not UTF-8: "),
    ],
    ids=["list", "syntax", "empty", "NaN", "half a pair", "deep", "bytes"],
)
def test_what_is_no_json_object(data: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    assert scenarios.main([str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: {message}")


@pytest.mark.once
def test_every_bad_file_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    missing = tmp_path / "missing.json"
    assert scenarios.main([str(bad), str(FILES[0]), str(missing)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{bad}: name: missing"
    assert lines[1].startswith(f"{missing}: cannot be read: ")
    assert len(lines) == 2


def test_a_commit_told_in_a_repeated_append_is_learned_with_a_heartbeat(impl: ModuleType) -> None:
    """The one way in which raftx may end elsewhere than the raft crate, which tells member 2 at once."""
    value = {
        "name": "repeated",
        "nodes": [2, 5, 7],
        "election_ticks": {"2": 16, "5": 5, "7": 3},
        "heartbeat_ticks": 1,
        "steps": [
            {"op": "tick", "node": 7, "count": 3},
            {"op": "isolate", "nodes": [5, 7]},
            {"op": "deliver"},
            {"op": "propose", "node": 7, "command": "x"},
            {"op": "heal"},
            {"op": "tick_all", "count": 2},
        ],
    }
    scenarios.check(value)
    assert committed(scenarios.run(value, impl)) == {2: [], 5: ["x"], 7: ["x"]}
    assert committed(scenarios.run(settled(value), impl)) == {2: ["x"], 5: ["x"], 7: ["x"]}


def committed(trace: str) -> dict[int, list[str]]:
    """What each member has committed."""
    return {node["id"]: node["committed"] for node in json.loads(trace)["nodes"]}


# --- the other side ------------------------------------------------------------------------------


def program(path: Path, text: str) -> Path:
    """An executable Python program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.once
def test_a_difference_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = scenarios.split(EXPECTED)[:3]
    says = f"import sys\nsys.stdout.buffer.write({''.join(traces)!r}.encode())\n"
    monkeypatch.setattr(scenarios, "build_rust", lambda bin: program(tmp_path / bin, says))
    names = [str(path) for path in FILES[:3]]
    assert scenarios.main(["--compare", *names]) == 0
    assert capsys.readouterr().out == "3 of 3 scenarios agree\n"
    other = traces[1].replace('"term": ', '"term": 1')
    says = says.replace(repr("".join(traces)), repr("".join([traces[0], other, traces[2]])))
    assert scenarios.main(["--compare", *names]) == 1
    assert capsys.readouterr().out == (
        f"{FILES[1]}: they differ\nraftx:\n{traces[1]}the raft crate:\n{other}2 of 3 scenarios agree\n"
    )


@pytest.mark.once
def test_a_program_that_fails_is_no_agreement(tmp_path: Path) -> None:
    silent = program(tmp_path / "silent", "")
    with pytest.raises(RuntimeError, match="ended with status 0"):
        scenarios.ask(silent, FILES[:1])
    dies = program(tmp_path / "dies", "raise SystemExit('the library gave up')")
    with pytest.raises(RuntimeError, match="ended with status 1: the library gave up"):
        scenarios.ask(dies, FILES[:1])


@pytest.mark.once
def test_a_program_is_built_when_its_sources_are_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "sources"
    target = tmp_path / "target"
    log = tmp_path / "log"
    (sources / "src" / "bin").mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "src/bin/tool.rs"):
        (sources / name).write_text("")
    monkeypatch.setattr(toolchains, "RUST_SOURCES", sources)
    monkeypatch.setattr(toolchains, "RUST_TARGET", target)
    # Like cargo, it leaves alone what is there.
    says = (
        "import os, pathlib, sys\n"
        "made = pathlib.Path(os.environ['CARGO_TARGET_DIR'], 'release', sys.argv[-1])\n"
        "made.parent.mkdir(parents=True, exist_ok=True)\n"
        "made.exists() or made.touch()\n"
        f"open({str(log)!r}, 'a').write(os.getcwd() + ' ' + ' '.join(sys.argv[1:]) + chr(10))\n"
    )
    cargo = program(tmp_path / "cargo", says)
    monkeypatch.setattr(toolchains, "find_cargo", lambda: str(cargo))
    made = target / "release" / "tool"
    line = f"{sources} build --release --locked --bin tool\n"
    assert toolchains.build_rust("tool") == made
    assert log.read_text() == line
    assert toolchains.build_rust("tool") == made
    assert log.read_text() == line
    os.utime(made, (1, 1))
    assert toolchains.build_rust("tool") == made
    assert toolchains.build_rust("tool") == made
    assert log.read_text() == line * 2


@pytest.mark.once
def test_a_build_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchains, "RUST_TARGET", tmp_path)
    monkeypatch.setattr(toolchains, "find_cargo", lambda: None)
    assert not toolchains.cargo_needs_no_network()
    with pytest.raises(toolchains.BuildFailed, match="the cargo command is missing"):
        toolchains.build_rust("scenarios")
    assert scenarios.main(["--compare", str(FILES[0])]) == 2
    assert capsys.readouterr().err.startswith("scenarios: the cargo command is missing")
    cargo = program(tmp_path / "cargo", "raise SystemExit('error: no such crate')")
    monkeypatch.setattr(toolchains, "find_cargo", lambda: str(cargo))
    assert not toolchains.cargo_needs_no_network()
    with pytest.raises(toolchains.BuildFailed, match="error: no such crate"):
        toolchains.build_rust("scenarios")
    monkeypatch.setattr(toolchains, "RUST_SOURCES", tmp_path / "nowhere")
    with pytest.raises(toolchains.BuildFailed, match="is missing"):
        toolchains.build_rust("scenarios")


# --- with the raft crate -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rust() -> Path:
    """The program around the raft crate."""
    if not toolchains.cargo_needs_no_network():
        pytest.skip("there is no cargo, or it would have to download crates")
    return toolchains.build_rust("scenarios")


def write(directory: Path, values: list[dict[str, Any]]) -> list[Path]:
    """Each in a file of its own."""
    paths = [directory / f"{number}.json" for number in range(len(values))]
    for path, value in zip(paths, values):
        path.write_text(json.dumps(value))
    return paths


@pytest.mark.once
@pytest.mark.slow
def test_expected_is_what_the_raft_crate_prints(rust: Path) -> None:
    assert "".join(scenarios.ask(rust, FILES)) == EXPECTED


@pytest.mark.slow
def test_random_scenarios_end_as_with_the_raft_crate(rust: Path, impl: ModuleType, tmp_path: Path) -> None:
    values = [scenario(seed) for seed in (RANDOM if impl.COMPILED else INTERPRETED)]
    ours = [scenarios.run(value, impl) for value in values]
    theirs = scenarios.ask(rust, write(tmp_path, values))
    late = [number for number, (one, other) in enumerate(zip(ours, theirs)) if one != other]
    assert len(late) <= 3 + (len(values) - 3) // 150
    for number in late:
        # Not more than a commit index that the next heartbeat brings.
        one, other = json.loads(ours[number]), json.loads(theirs[number])
        assert (one["leader"], one["term"]) == (other["leader"], other["term"]), values[number]
        settled_value = settled(values[number])
        assert [scenarios.run(settled_value, impl)] == scenarios.ask(rust, write(tmp_path, [settled_value]))


@pytest.mark.once
@pytest.mark.slow
def test_mistakes_are_told_in_the_same_words(rust: Path, tmp_path: Path) -> None:
    for change, message in MISTAKES:
        value = {name: field for name, field in {**GOOD, **change}.items() if field is not None}
        path = write(tmp_path, [value])[0]
        with pytest.raises(RuntimeError) as raised:
            scenarios.ask(rust, [path])
        assert str(raised.value) == f"{rust} ended with status 2: {path}: {message}"
