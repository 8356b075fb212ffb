"""Which groups an update learns from, by hand, against a loop in plain Python, and over ranks. All samples are made by hand."""

import random
from pathlib import Path

import pytest
import rank_programs
import torch
from forked import on_ranks
from forking import Forking
from hand_samples import GROUP, Values, sampled
from rank_programs import selected

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, GroupSelection, SelectedGroups, SelectionCounts

SAME, RIGHT, FIRST, SECOND = (0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)
MIXED: Values = [SAME, FIRST, RIGHT, SAME, SECOND, FIRST]  # queries 1, 4 and 5 differ


def queries_of(*found: SelectedGroups) -> list[int]:
    """The query at each place of the batch, read from the tokens of all responses of all ranks."""
    places: dict[int, int] = {}
    for one in found:
        for index, row in zip(one.samples.indices.tolist(), one.samples.response_ids.tolist(), strict=True):
            assert index not in places
            places[index] = row[0]
    assert sorted(places) == list(range(len(places)))
    assert all(token % 10 == index % GROUP for index, token in places.items())
    return [places[index] // 10 for index in range(0, len(places), GROUP)]


def test_a_batch_of_groups_that_differ_holds_the_first_of_them_in_their_order() -> None:
    found = selected(MIXED, batch_size=2)
    assert queries_of(found) == [1, 4]
    assert found.counts == SelectionCounts(differing=3, missing=0, thrown_away=4, thrown_away_tokens=4 * 3)
    # A token says 10 x query + sample. Query 1 has two tokens, query 4 two; responses one and two; 7 pads.
    assert found.samples.input_ids.tolist() == [[10, 10, 10, 7], [11, 11, 11, 11], [40, 40, 40, 7], [41, 41, 41, 41]]
    assert found.samples.indices.tolist() == [0, 1, 2, 3]
    assert found.samples.scores.tolist() == [1, 0, 0, 1]
    assert [images.key for images in found.samples.images if images] == ["1", "1", "4", "4"]
    assert found.samples.engine_logprobs.tolist() == [[-10, 0], [-11, -11], [-40, 0], [-41, -41]]


@pytest.mark.parametrize(
    ("values", "batch_size", "queries", "counts"),
    [
        ([SAME, RIGHT, SAME, RIGHT], 3, [0, 1, 2], (0, 3, 1)),
        ([FIRST, SECOND, FIRST, SECOND], 3, [0, 1, 2], (4, 0, 1)),
        (MIXED, 5, [1, 4, 5, 0, 2], (3, 2, 1)),
        (MIXED, 6, [1, 4, 5, 0, 2, 3], (3, 3, 0)),
    ],
    ids=["none differ", "all differ", "too few differ", "no surplus"],
)
def test_the_batch_is_always_full(values: Values, batch_size: int, queries: list[int], counts: tuple[int, int, int]) -> None:
    """The counts: groups that differ, that are missing, that are thrown away; a group has three tokens."""
    found = selected(values, batch_size=batch_size)
    differing, missing, thrown_away = counts
    assert queries_of(found) == queries
    assert found.counts == SelectionCounts(
        differing=differing, missing=missing, thrown_away=thrown_away, thrown_away_tokens=3 * thrown_away
    )


@pytest.mark.parametrize(("metric", "expected"), [("accuracy", [1, 3]), ("score", [0, 2])])
def test_accuracy_or_the_reward_decides_as_is_asked(metric: str, expected: list[int]) -> None:
    """All responses to queries 0 and 2 are right, but some were rewarded less; of 1 and 3 some are right, and rewarded alike."""
    samples, terms = sampled([(0.9, 1.0), SAME, (1.0, 0.5), RIGHT], accuracy=[RIGHT, FIRST, RIGHT, SECOND])
    settings = DynamicSampling(metric=metric, oversample=2.0)  # type: ignore[arg-type]
    found = GroupSelection(settings=settings, batch_size=2, group_size=GROUP).select(samples, terms)
    assert queries_of(found) == expected
    assert found.counts == SelectionCounts(differing=2, missing=0, thrown_away=2, thrown_away_tokens=6)


def drawn(*, seed: int) -> tuple[Values, int]:
    """A step whose groups differ now and then, in scores of some kind, and the size of its batch."""
    dice = random.Random(seed)
    num_queries, kinds = dice.randint(1, 9), dice.choice([[0.0], [0.0, 1.0], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0, 1.0]])
    return [(dice.choice(kinds), dice.choice(kinds)) for _ in range(num_queries)], dice.randint(1, num_queries)


def expected_of(values: Values, batch_size: int) -> tuple[list[int], SelectionCounts]:
    """Two lists, one behind the other."""
    differing, others = [], []
    for query, (left, right) in enumerate(values):
        (others if left == right else differing).append(query)
    order = differing + others
    num_tokens = 3 * len(order[batch_size:])  # responses of one and two tokens
    missing = max(0, batch_size - len(differing))
    thrown_away = len(values) - batch_size
    counts = SelectionCounts(differing=len(differing), missing=missing, thrown_away=thrown_away, thrown_away_tokens=num_tokens)
    return order[:batch_size], counts


def test_any_batch_is_that_of_two_lists_one_behind_the_other() -> None:
    for seed in range(60):
        values, batch_size = drawn(seed=seed)
        found = selected(values, batch_size=batch_size)
        assert (queries_of(found), found.counts) == expected_of(values, batch_size), seed


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_what_ranks_select_together_is_what_one_rank_selects(forking: Forking, tmp_path: Path, num_ranks: int) -> None:
    """Rank 0 has queries 0, 2 and 4 of two ranks, 0 and 3 of three. In the first two steps it has all that differ, or none."""
    steps: list[tuple[Values, int]] = [
        ([FIRST if query % num_ranks == 0 else SAME for query in range(6)], 6 // num_ranks),
        ([SAME if query % num_ranks == 0 else FIRST for query in range(6)], 2),
        ([SAME] * 6, 1),
    ]
    dice = random.Random(num_ranks)
    for _ in range(20):
        size = num_ranks * dice.randint(1, 3)
        steps.append(([(float(dice.randint(0, 1)), float(dice.randint(0, 1))) for _ in range(size)], dice.randint(1, size)))
    torch.save(steps, tmp_path / "steps.pt")
    shares = list(zip(*on_ranks(forking, rank_programs.__file__, "selections", tmp_path, num_ranks=num_ranks), strict=True))
    assert [len(share.samples) for share in shares[0]] == [12 // num_ranks, *[0] * (num_ranks - 1)]
    assert len(shares[1][0].samples) == 0  # a rank that gets no group at all, the first one too
    for (values, batch_size), share in zip(steps, shares, strict=True):
        alone = selected(values, batch_size=batch_size)
        assert queries_of(*share) == queries_of(alone) == expected_of(values, batch_size)[0]
        assert all(one.counts == alone.counts for one in share)  # each rank knows all of it
