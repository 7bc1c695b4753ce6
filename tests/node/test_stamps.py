"""The times of the stages of a leader's rounds, read while the engine goes on."""

from tests.helpers.implementations import IMPLEMENTATIONS, module


def test_a_round_that_is_overwritten_meanwhile_is_left_out() -> None:
    """A row of one round and the next one of its place would be of neither."""
    stamps = module(IMPLEMENTATIONS["pure"], "node.stamps")

    class Overtaken(list[int]):
        """A column whose reader is interrupted for as long as the engine needs for a thousand rounds."""

        def __getitem__(self, at):  # type: ignore[no-untyped-def]
            if times.head == count:
                times.at_apply = list(self)
                more(1000)
            return super().__getitem__(at)

    def more(rounds: int) -> None:
        for index in range(times.head + 1, times.head + 1 + rounds):
            times.accepted(index, index, index)
            times.stable(index, index)
            times.commit_cursor += 1
            times.at_commit[(index - 1) % stamps.ROUNDS] = index
            times.applied(index, index)

    times, count = stamps.StageTimes(), stamps.ROUNDS + 100
    more(count)
    whole = times.rows()
    assert [row[0] for row in whole] == list(range(count - len(whole) + 1, count + 1))
    times.at_apply = Overtaken(times.at_apply)
    rows = times.rows()
    assert times.head == count + 1000
    assert {len(set(row)) for row in rows} == {1}
    assert [row[0] for row in rows] == list(range(times.head - stamps.ROUNDS + 2, count + 1))
