"""A sample of ``make lock-pauses``."""

import pytest

from tests.tools.lock_pauses import run_pauses

COUNT = 4


@pytest.mark.once
@pytest.mark.slow
def test_old_tokens_are_refused(tmp_path, tell):
    pauses = run_pauses(tmp_path, COUNT, seed=5)
    assert pauses.wrong == []
    assert pauses.refused == pauses.pauses == COUNT
    tell(f"{pauses.refused} old tokens refused, {pauses.of_leaders} of them of leaders")
