import pytest
import torch
from every_algorithm import algorithm

from vlm_rl.pipeline.micro_batches import forward_batches, mini_batches
from vlm_rl.pipeline.step4_policy_update import check_minibatches


def cut(lengths: list[list[int]], *, max_tokens: int) -> list[list[int]]:
    return [rows.tolist() for rows in forward_batches(torch.tensor(lengths), max_tokens=max_tokens)]


def test_rows_go_together_sorted_by_length_as_long_as_they_fit() -> None:
    # lengths 5, 12, 6, 4: sorted rows 3, 0, 2, 1; 3 x 6 = 18 fits into 20, 4 x 12 does not
    assert cut([[3, 2], [6, 6], [3, 3], [2, 2]], max_tokens=20) == [[3, 0, 2], [1]]


def test_both_paddings_count_although_they_belong_to_different_rows() -> None:
    # 9 + 1 and 1 + 9 tokens are 10 each, but side by side they are 9 + 9 wide: 2 x 18 = 36
    assert cut([[9, 1], [1, 9]], max_tokens=35) == [[0], [1]]
    assert cut([[9, 1], [1, 9]], max_tokens=36) == [[0, 1]]


def test_a_row_longer_than_the_budget_goes_alone() -> None:
    assert cut([[50, 50], [1, 1], [60, 60]], max_tokens=10) == [[1], [0], [2]]
    assert list(forward_batches(torch.zeros(0, 2, dtype=torch.long), max_tokens=10)) == []


def test_every_row_comes_once_and_no_batch_exceeds_the_budget() -> None:
    lengths = torch.randint(1, 40, (200, 2), generator=torch.Generator().manual_seed(0))
    batches = list(forward_batches(lengths, max_tokens=300))
    assert sorted(torch.cat(batches).tolist()) == list(range(200))
    for rows in batches:
        assert int(lengths[rows].amax(0).sum()) * len(rows) <= 300


def sets(*, num_ranks: int, ppo_epoch: int = 0, step: int = 3) -> list[set[int]]:
    whole: list[set[int]] = [set() for _ in range(4)]
    for rank in range(num_ranks):
        indices = torch.arange(rank, 24, num_ranks).flip(0)
        parts = mini_batches(indices, num_minibatches=4, num_responses=24, seed=5, step=step, ppo_epoch=ppo_epoch)
        for everyone, mine in zip(whole, parts, strict=True):
            everyone.update(indices[mine].tolist())
    return whole


def test_mini_batches_are_a_partition_into_equal_parts_and_the_same_for_any_number_of_ranks() -> None:
    alone = sets(num_ranks=1)
    assert [len(part) for part in alone] == [6, 6, 6, 6]
    assert set().union(*alone) == set(range(24))
    assert sets(num_ranks=2) == alone
    assert sets(num_ranks=4) == alone


def test_each_step_and_each_pass_shuffles_anew() -> None:
    assert sets(num_ranks=1, ppo_epoch=1) != sets(num_ranks=1)
    assert sets(num_ranks=1, step=4) != sets(num_ranks=1)


@pytest.mark.parametrize(("asked", "nearest"), [(5, "4, 6"), (100, "12, 24")])
def test_a_number_of_mini_batches_that_does_not_divide_names_the_nearest_that_do(asked: int, nearest: str) -> None:
    with pytest.raises(
        ValueError, match=f"algorithm.num_minibatches={asked} does not divide the 24 .* nearest that do: {nearest}"
    ):
        check_minibatches(algorithm("grpo", group_size=8, num_minibatches=asked), batch_size=3)
    check_minibatches(algorithm("grpo", group_size=8, num_minibatches=8), batch_size=3)


def shared(lengths: list[list[int]], groups: list[int], *, max_tokens: int) -> list[list[int]]:
    batches = forward_batches(torch.tensor(lengths), max_tokens=max_tokens, groups=torch.tensor(groups))
    return [rows.tolist() for rows in batches]


def test_a_query_that_responses_share_counts_once_and_nothing_is_padded() -> None:
    # query 7 of 5 tokens with responses of 2 and 3, query 4 of 3 tokens with one of 1: 10 + 4 tokens
    assert shared([[5, 2], [3, 1], [5, 3]], [7, 4, 7], max_tokens=14) == [[1, 0, 2]]
    # with less room the second response to query 7 takes a copy of it along
    assert shared([[5, 2], [3, 1], [5, 3]], [7, 4, 7], max_tokens=13) == [[1, 0], [2]]
    assert shared([[50, 50], [50, 40]], [0, 0], max_tokens=10) == [[0], [1]]


def test_every_response_comes_once_and_no_shared_batch_exceeds_the_budget() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(200) // 8
    lengths = torch.randint(1, 40, (200, 2), generator=generator)
    lengths[:, 0] = lengths[groups * 8, 0]
    batches = list(forward_batches(lengths, max_tokens=300, groups=groups))
    assert sorted(torch.cat(batches).tolist()) == list(range(200))
    for rows in batches:
        queries = {int(groups[row]): int(lengths[row, 0]) for row in rows}
        assert sum(queries.values()) + int(lengths[rows, 1].sum()) <= 300


@pytest.mark.parametrize(
    ("minibatch_of", "num_minibatches", "together"),
    [("groups", 1, 8), ("groups", 3, 8), ("groups", 6, 1), ("groups", 2, 1), ("responses", 1, 1)],
)
def test_groups_stay_together_where_mini_batches_hold_whole_ones(
    minibatch_of: str, num_minibatches: int, together: int
) -> None:
    """24 responses in groups of 8: one mini-batch or three hold whole groups, two hold one and a half, six a half."""
    made = algorithm("grpo", group_size=8, num_minibatches=num_minibatches, minibatch_of=minibatch_of)
    assert made.kept_together(24) == together
    parts = mini_batches(
        torch.arange(24), num_minibatches=num_minibatches, num_responses=24, seed=5, step=1, ppo_epoch=0, together=together
    )
    assert sorted(torch.cat(parts).tolist()) == list(range(24))
    assert {len(part) for part in parts} == {24 // num_minibatches}
    for part in parts if together == 8 else ():
        assert all(count == 8 for count in torch.bincount(part // 8) if count)
