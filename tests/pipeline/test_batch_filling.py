"""Batches of dynamic sampling are full, in order, and the same on any number of ranks. All trajectories are made by hand."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from filled_by_hand import BATCH, GROUP, Values, added, filling, made

from vlm_rl.pipeline.batch_filling import Filled, NothingToLearn, merged

STEPS: list[Values] = [  # of each query of a batch of four, the values of its two responses
    [(1, 0), (1, 1), (0, 0), (0, 1)],  # two groups wait
    [(1, 1), (0, 0), (1, 1), (0, 0)],  # nothing
    [(0, 1), (1, 0), (0, 0), (1, 0)],  # one more than there is room for
    [(0, 1), (1, 0), (0, 1), (1, 0)],  # a batch of one step
    [(0, 1), (1, 1), (1, 1), (1, 1)],
]


def test_groups_wait_until_they_fill_a_batch_in_the_order_of_steps_and_queries() -> None:
    fill = filling()
    results = [added(fill, step, values) for step, values in enumerate(STEPS)]
    assert [result.trajectory is None for result in results] == [True, True, False, False, True]
    third, fourth = results[2].trajectory, results[3].trajectory
    assert third is not None and fourth is not None
    assert third.indices.tolist() == fourth.indices.tolist() == list(range(8))
    # A token says 100 x step + 10 x query + sample. Queries have 1 + step tokens, responses 1 + sample; 7 pads.
    assert third.input_ids.tolist() == [
        [7, 7, 0, 0, 7],
        [7, 7, 1, 1, 1],
        [7, 7, 30, 30, 7],
        [7, 7, 31, 31, 31],
        [200, 200, 200, 200, 7],
        [201, 201, 201, 201, 201],
        [210, 210, 210, 210, 7],
        [211, 211, 211, 211, 211],
    ]
    assert torch.equal(third.attention_mask, third.input_ids != 7)
    assert third.response_mask.tolist() == [[True, False], [True, True]] * 4
    assert [images.key for images in third.images if images] == ["0-0", "0-0", "0-3", "0-3", "2-0", "2-0", "2-1", "2-1"]
    assert third.scores.tolist() == [1, 0, 0, 1, 0, 1, 1, 0]
    assert third.position_ids.shape == (3, 8, 5)
    assert third.position_ids[2, 4].tolist() == [0, 1, 2, 3, 0]
    assert third.engine_logprobs[5].tolist() == [-201, -201]
    assert results[2].steps == (0, 1, 2) and results[3].steps == (3,)


def test_every_group_and_every_token_thrown_away_is_counted() -> None:
    """A group has 1 + 2 tokens. What waits after the last step is thrown away, too."""
    fill = filling(num_steps=5)
    counts = [added(fill, step, values).counts for step, values in enumerate(STEPS)]
    assert [count.kept for count in counts] == [2, 0, 3, 4, 1]
    assert [count.dropped for count in counts] == [2, 4, 1, 0, 3]
    assert [count.surplus for count in counts] == [0, 0, 1, 0, 0]
    assert [count.waiting for count in counts] == [2, 2, 0, 0, 1]
    assert [count.thrown_away_tokens for count in counts] == [6, 12, 6, 0, 9 + 3]
    assert [count.steps_per_update for count in counts] == pytest.approx([math.nan, math.nan, 3, 1, math.nan], nan_ok=True)


def test_an_update_may_ask_for_fewer_groups_than_a_step_samples() -> None:
    """Three of four: the first two steps fill one, the third and the fourth one each."""
    fill = filling(update_share=0.75)
    results = [added(fill, step, values) for step, values in enumerate([STEPS[0], STEPS[4], STEPS[2], STEPS[3]])]
    assert [None if r.trajectory is None else len(r.trajectory) for r in results] == [None, 6, 6, 6]
    assert [r.counts.surplus for r in results] == [0, 0, 0, 1]
    assert [r.counts.dropped for r in results] == [2, 3, 1, 0]


def test_accuracy_or_the_reward_decides_as_is_asked() -> None:
    trajectory, scores = made(0, [(1, 0)] * BATCH)
    scores.terms["accuracy"] = [1.0] * BATCH * GROUP  # all right, but some were rewarded less
    assert filling(metric="score").add(trajectory, scores, step=0).trajectory is not None
    assert filling(metric="accuracy").add(trajectory, scores, step=0).counts.dropped == BATCH


def test_a_run_without_anything_to_learn_stops_after_its_patience_and_says_why() -> None:
    """One group of four steps differs; of the other fifteen, three are all right."""
    fill = filling(patience=4)
    added(fill, 0, [(1, 0), (1, 1), (1, 1), (1, 1)])
    added(fill, 1, [(0, 0)] * 4)
    added(fill, 2, [(0, 0)] * 4)
    with pytest.raises(NothingToLearn) as stopped:
        added(fill, 3, [(0, 0)] * 4)
    assert str(stopped.value).startswith(
        "No update in 4 generation steps in a row (algorithm.dynamic_sampling.patience): of 16 groups of 2 responses only 1 "
        "differ in accuracy, and an update needs 4 that do (dataset.batch_size x algorithm.dynamic_sampling.update_share). "
        "The mean accuracy of the others is 0.2."
    )
    for key in (
        "dataset.filter",
        "algorithm.group_size",
        "dry_run=rollouts",
        "parity.every=1",
        "algorithm.dynamic_sampling=null",
    ):
        assert key in str(stopped.value)
    assert "solved" not in str(stopped.value)


def test_a_model_that_has_solved_its_questions_is_told_so_and_what_to_do() -> None:
    """All groups but one are right. In the reward, a mean of 1 may be anything."""
    fill, right = filling(patience=2), [(1, 1)] * 4
    added(fill, 0, [(1, 0), (1, 1), (1, 1), (1, 1)])
    with pytest.raises(NothingToLearn) as stopped:
        added(fill, 1, right)
    assert "The mean accuracy of the others is 1. All of them are right: the model has solved" in str(stopped.value)
    assert "Likely causes" not in str(stopped.value)
    for key in ("evaluate.py checkpoint=", "dataset.filter", "larger patience"):
        assert key in str(stopped.value)
    with pytest.raises(NothingToLearn, match="Likely causes"):
        added(filling(metric="score", patience=1), 0, right)


def test_no_run_is_stopped_at_its_very_last_step() -> None:
    fill, nothing = filling(patience=2, num_steps=3), [(0, 0)] * 4
    added(fill, 0, [(0, 1)] * 4)
    added(fill, 1, nothing)
    assert added(fill, 2, nothing).counts.dropped == 4


def test_patience_begins_anew_after_an_update() -> None:
    fill, nothing, enough = filling(patience=2), [(0, 0)] * 4, [(0, 1)] * 4
    filled = [
        added(fill, step, values).trajectory is not None for step, values in enumerate([nothing, enough, nothing, enough])
    ]
    assert filled == [False, True, False, True]


def drawn(num_steps: int, *, seed: int) -> list[Values]:
    """Steps whose groups differ now and then."""
    coin = random.Random(seed)
    return [[(coin.randint(0, 1), coin.randint(0, 1)) for _ in range(BATCH)] for _ in range(num_steps)]


def expected_batches(steps: Sequence[Values]) -> list[list[tuple[int, int]]]:
    """(step, query) of the groups of each update, by a list that forgets the rest of a step as soon as it has enough."""
    batches, waiting = [], []
    for step, values in enumerate(steps):
        waiting += [(step, query) for query, (left, right) in enumerate(values) if left != right]
        if len(waiting) >= BATCH:
            batches.append(waiting[:BATCH])
            waiting = []
    return batches


def groups_of(results: Sequence[Filled]) -> list[dict[int, tuple[int, int]]]:
    """Of each update the (step, query) at each place of the batch, read from the tokens."""
    found = []
    for result in results:
        if result.trajectory is not None:
            tokens = [row[0] for row in result.trajectory.response_ids.tolist()]
            places = result.trajectory.indices.tolist()
            assert all(place % GROUP == token % 10 for place, token in zip(places, tokens, strict=True))
            found.append({p // GROUP: (t // 100, t % 100 // 10) for p, t in zip(places, tokens, strict=True)})
    return found


@pytest.mark.parametrize("seed", range(5))
def test_any_batch_is_full_and_holds_the_first_groups_that_differ(seed: int) -> None:
    steps, fill = drawn(40, seed=seed), filling(patience=40)
    results = [added(fill, step, values) for step, values in enumerate(steps)]
    assert [[batch[place] for place in range(BATCH)] for batch in groups_of(results)] == expected_batches(steps)
    kept, surplus = (sum(getattr(result.counts, name) for result in results) for name in ("kept", "surplus"))
    assert kept == BATCH * len(expected_batches(steps)) + surplus + results[-1].counts.waiting


def test_two_ranks_fill_the_same_batches_even_if_one_of_them_has_nothing_to_give(tmp_path: Path) -> None:
    """Rank 0 has queries 0 and 2, rank 1 has 1 and 3: in the first update all groups are rank 0's."""
    steps: list[Values] = [[(0, 1), (1, 1), (1, 0), (0, 0)]] * 2 + drawn(20, seed=9)
    script = Path(__file__).with_name("filled_by_hand.py")
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    ranks = [subprocess.Popen([sys.executable, str(script), str(tmp_path), str(rank)]) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    zero, one = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=False) for rank in range(2))
    shares = list(zip(groups_of(zero), groups_of(one), strict=True))
    assert shares[0] == ({0: (0, 0), 1: (0, 2), 2: (1, 0), 3: (1, 2)}, {})
    assert [[(left | right)[place] for place in range(BATCH)] for left, right in shares] == expected_batches(steps)
    assert all(left.counts == right.counts or left.trajectory is None for left, right in zip(zero, one, strict=True))
    alone = filling(patience=100)
    assert [added(alone, step, v).counts.thrown_away_tokens for step, v in enumerate(steps)] == [
        result.counts.thrown_away_tokens for result in one
    ]


def test_a_share_of_nothing_takes_no_place() -> None:
    nothing, something = made(0, [(0, 1)] * 4)[0].select(torch.tensor([], dtype=torch.long)), made(1, [(0, 1)] * 4)[0]
    assert len(nothing) == nothing.response_mask.shape[1] == 0
    assert merged([nothing, something, nothing], pad_id=7).input_ids.tolist() == something.input_ids.tolist()
    assert len(merged([nothing, nothing], pad_id=7)) == 0
