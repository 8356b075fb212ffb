from collections.abc import Sequence

import pytest

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.dataset import Dataset, check_shares
from vlm_rl.datasets.row import Row
from vlm_rl.pipeline.step1_data_flow import DataFlow
from vlm_rl.stopwatch import Stopwatch


class Numbers:
    """Rows that are told apart by their number."""

    def rows(self, split: str) -> Sequence[Row]:
        return [Row(id=str(i), question=f"{i}?", answer=str(i), solution=None, images=()) for i in range(11)]


def dataset(*, batch_size: int, epochs: int = 4) -> Dataset:
    """Of eleven rows."""
    return Dataset(
        name="numbers",
        source=Numbers(),
        prompt="{question}",
        batch_size=batch_size,
        epochs=epochs,
        max_prompt_tokens=9,
        max_new_tokens=9,
        max_pixels=None,
        evaluation_rows=None,
        on_bad_row="error",
    )


def flow(
    experiment: Experiment, *, seed: int = 0, batch_size: int = 3, epochs: int = 4, num_sampled: int | None = None
) -> DataFlow:
    """`num_sampled`: queries of a step, where they are more than its update learns from."""
    return DataFlow(
        dataset=dataset(batch_size=batch_size, epochs=epochs),
        encoder=experiment.encoder,
        batch_size=num_sampled or batch_size,
        seed=seed,
        stopwatch=Stopwatch(),
    )


def ids(rows: Sequence[Row]) -> list[int]:
    return [int(row.id) for row in rows]


def test_no_row_comes_twice_in_an_epoch_and_the_last_incomplete_batch_is_dropped(experiment: Experiment) -> None:
    steps = [flow(experiment).global_order(step) for step in range(12)]
    assert len(flow(experiment)) == 12  # 11 // 3 steps, 4 epochs
    epochs = [[*steps[i], *steps[i + 1], *steps[i + 2]] for i in range(0, 12, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4  # shuffled anew
    assert set().union(*epochs) == set(range(11))  # what one epoch drops another has


def test_an_epoch_of_whole_batches_is_a_permutation(experiment: Experiment) -> None:
    whole = flow(experiment, batch_size=11)
    assert sorted(whole.global_order(0)) == list(range(11))
    assert whole.global_order(0) != whole.global_order(1)
    assert whole.global_order(0) != flow(experiment, batch_size=11, seed=1).global_order(0)


def test_the_flow_goes_on_from_any_step(experiment: Experiment) -> None:
    expected = [(batch.step, ids(batch.rows)) for batch in flow(experiment)]
    for first_step in (0, 1, 5, 11, 12):
        resumed = flow(experiment)
        resumed.start(first_step=first_step, rank=0, num_ranks=1)
        assert [(batch.step, ids(batch.rows)) for batch in resumed] == expected[first_step:]
        assert len(resumed) == 12 - first_step


def test_ranks_share_a_batch_out_and_keep_the_places_of_their_rows(experiment: Experiment) -> None:
    shares = []
    for rank in range(3):
        mine = flow(experiment)
        mine.start(first_step=0, rank=rank, num_ranks=3)
        shares.append(mine.queries(4))
    assert [share.indices for share in shares] == [(0,), (1,), (2,)]
    everything = flow(experiment).global_order(4)
    assert [ids(share.rows) for share in shares] == [[row] for row in everything]


def test_steps_and_epochs_are_counted_in_what_is_sampled(experiment: Experiment) -> None:
    """11 rows, five a step: two steps an epoch, of which each learns from three queries."""
    more = flow(experiment, num_sampled=5)
    assert (more.steps_per_epoch, more.num_steps, len(more)) == (2, 8, 8)
    assert len(more.queries(0).rows) == 5
    assert len({*more.global_order(0), *more.global_order(1)}) == 10


@pytest.mark.parametrize(
    ("batch_size", "num_sampled", "num_ranks", "message"),
    [
        (3, 3, 2, r"dataset.batch_size=3 cannot be shared out over 2 ranks. Nearest: 2 or 4"),
        (3, 3, 4, "Nearest: 4"),
        (4, 6, 4, r"The 6 queries of .* \(dataset.batch_size=4 x .*oversample\) cannot .* 4 ranks. .* are 4 or 8\."),
        (2, 3, 8, r"The 3 queries .* cannot be shared out over 8 ranks\. Change either so that they are 8\."),
    ],
)
def test_a_step_that_ranks_cannot_share_is_an_error_that_names_the_nearest_sizes(
    batch_size: int, num_sampled: int, num_ranks: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_shares(batch_size, num_ranks=num_ranks, num_sampled=num_sampled)
    check_shares(3, num_ranks=2, num_sampled=6)  # ranks need not share out what is learned from


def test_a_step_of_more_than_all_rows_is_an_error_that_names_the_largest_size() -> None:
    numbers = dataset(batch_size=8)
    numbers.check_step(11)
    with pytest.raises(ValueError, match=r"dataset.batch_size=8 \(12 with .*oversample\) is more than the 11 .* works: 7\."):
        numbers.check_step(12)
