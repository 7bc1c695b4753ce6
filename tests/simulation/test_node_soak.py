"""The command that runs schedules of whole nodes without end, and the arguments of both such commands."""

import logging

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module


@pytest.fixture
def soak(impl):
    return module(impl, "testing.nodes.soak")


def test_it_runs_so_many_or_so_long(soak, capsys):
    assert soak.main(["--schedules", "3", "--seed", "5"]) == 0
    told = capsys.readouterr().out
    assert "from seed 5, 1 job\n" in told
    assert "no violation" in told and "schedules 3" in told
    assert not logging.getLogger("raftx").filters
    assert soak.main(["--seconds", "0.1", "--seed", "5"]) == 0
    assert "no violation" in capsys.readouterr().out


@pytest.mark.parametrize("error", ["Violation", "IndexError"])
def test_it_ends_at_a_violation_and_says_how_to_see_it_again(impl, soak, capsys, monkeypatch, error):
    kind = module(impl, "testing.invariants").Violation if error == "Violation" else IndexError
    nodes = module(impl, "testing.nodes.schedule")
    right = nodes.Schedule.come_back

    def come_back(schedule):
        if schedule.seed == 7:
            raise kind("it is wrong")
        right(schedule)

    monkeypatch.setattr(nodes.Schedule, "come_back", come_back)
    assert soak.main(["--schedules", "100", "--seed", "5"]) == 1
    told = capsys.readouterr().out
    assert "VIOLATION: seed 7: " in told and "it is wrong" in told
    assert "python -m raftx.testing.nodes.soak --seed 7 --schedules 1" in told


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode only in this run")
def test_it_compares_the_modes(capsys, monkeypatch):
    soak = module(IMPLEMENTATIONS["compiled"], "testing.nodes.soak")
    assert soak.main(["--modes", "--schedules", "2", "--seed", "5"]) == 0
    other = module(IMPLEMENTATIONS["pure"], "testing.nodes.schedule")
    right = other.run
    monkeypatch.setattr(other, "run", lambda seed, **options: right(seed + 1, **options))
    assert soak.main(["--modes", "--schedules", "2", "--seed", "5"]) == 1
    assert "the modes differ" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["testing.soak", "testing.nodes.soak"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--schedules", "0"), "argument --schedules: must be a whole number of at least 1, not '0'"),
        (("--schedules", "-1"), "argument --schedules: must be a whole number of at least 1, not '-1'"),
        (("--schedules", "many"), "argument --schedules: must be a whole number of at least 1, not 'many'"),
        (("--jobs", "0"), "argument --jobs: must be a whole number of at least 1, not '0'"),
        (("--seconds", "-0.5"), "argument --seconds: must be a number of seconds above 0, not '-0.5'"),
        (("--seconds", "inf"), "argument --seconds: must be a number of seconds above 0, not 'inf'"),
        (("--seconds", "nan"), "argument --seconds: must be a number of seconds above 0, not 'nan'"),
        (("--seconds", "soon"), "argument --seconds: must be a number of seconds above 0, not 'soon'"),
        (("--seed", "-3"), "argument --seed: must be a whole number of at least 0, not '-3'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(impl, capsys, name, arguments, says):
    with pytest.raises(SystemExit) as ended:
        module(impl, name).main([f"{arguments[0]}={arguments[1]}"])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_jobs_in_words(impl):
    words = module(impl, "testing.soak").in_words
    assert [words(number) for number in (1, 2, 1000)] == ["1 job", "2 jobs", "1,000 jobs"]
