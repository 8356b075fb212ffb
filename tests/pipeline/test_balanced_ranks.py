"""Rows change ranks before an update: ranks are equally full, and what is learned stays the same."""

from dataclasses import fields
from pathlib import Path

import balanced_programs
import numpy as np
import pytest
import torch
from balanced_cases import ALGORITHMS, given, part, updated
from forked import on_ranks
from forking import Forking
from tiny_runs import Build, largest_difference
from torch import Tensor

from vlm_rl.pipeline import balanced_ranks
from vlm_rl.pipeline.balanced_ranks import balanced, loads, shares
from vlm_rl.types import ImageInput, MiniBatch, Trajectory, extended, select

SCRIPT = balanced_programs.__file__
ORDER = (3, 0, 6, 1, 7, 2, 4, 5)  # of the queries on their way: as dynamic sampling leaves them
PROMPT, CUT = 400, 2048
MU, SIGMA = 5.5848, 0.9037  # 1.2 % lie above the cut, and the mean is 390 after it


def lengths(count: int, generator: np.random.Generator) -> np.ndarray:
    """Tokens of responses."""
    return np.minimum(generator.lognormal(MU, SIGMA, count).round(), CUT).clip(1).astype(np.int64)


def test_the_lengths_are_those_that_were_asked_for() -> None:
    drawn = lengths(1_000_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(390, abs=2) and (drawn == CUT).mean() == pytest.approx(0.012, abs=5e-4)


@pytest.fixture(scope="module")
def eight_ranks() -> list[float]:
    """Largest over mean tokens of a rank in 1,000 mini-batches of 28 rows, drawn from the 896 of a step."""
    generator, found = np.random.default_rng(0), []
    for _ in range(1000):
        rows, responses = generator.permutation(896)[:28], lengths(28, generator)
        prompts, nothing = np.full_like(responses, PROMPT), np.zeros_like(responses)
        places = shares(rows % 8, rows, prompts, responses, num_ranks=8, is_shared=False)
        tokens = loads(places, rows, nothing, prompts + responses, num_ranks=8)
        found.append(float(tokens.max() / tokens.mean()))
    return found


@pytest.mark.slow
def test_eight_ranks_have_about_as_many_tokens_each(eight_ranks: list[float]) -> None:
    print(
        f"mean {np.mean(eight_ranks):.4f}, 95 % below {np.quantile(eight_ranks, 0.95):.3f}, largest {max(eight_ranks):.3f}, "
        f"above 1.08: {np.mean(np.array(eight_ranks) > 1.08):.1%}"
    )
    assert np.mean(eight_ranks) < 1.03 and np.quantile(eight_ranks, 0.99) <= 1.08 and max(eight_ranks) < 1.15


@pytest.fixture(autouse=True)
def every_token_counts(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The mini-batches of these tests are tiny."""
    if "few_tokens" not in request.node.name:
        monkeypatch.setattr(balanced_ranks, "FREE", 0)


def test_few_tokens_stay_where_they_are() -> None:
    assert places_of([0, 0], [0, 1], [100, 80], prompt=60) == [0, 0]  # 300: a GPU takes as long for one token
    assert sorted(places_of([0, 0], [0, 1], [101, 80], prompt=60)) == [0, 1]


def places_of(before: list[int], groups: list[int], tokens: list[int], *, prompt: int, is_shared: bool = True) -> list[int]:
    """On two ranks."""
    rows = [np.array(values) for values in (before, groups, [prompt] * len(tokens), tokens)]
    return shares(*rows, num_ranks=2, is_shared=is_shared).tolist()


def test_only_what_must_move_moves_and_whole_groups_first() -> None:
    assert places_of([0, 0, 1, 1], [0, 1, 2, 3], [5, 9, 8, 6], prompt=2) == [0, 0, 1, 1]  # equal: all stay
    assert places_of([0, 0, 0, 0], [0, 0, 1, 1], [5, 5, 5, 5], prompt=20) in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert places_of([0, 0, 0], [0, 1, 2], [4, 3, 7], prompt=1).count(1) == 1  # 4 + 1 and 3 + 1 stay beside 7 + 1
    assert places_of([1, 1, 1, 1], [0, 0, 0, 0], [9, 1, 9, 1], prompt=2).count(0) == 2  # one group on two ranks: 12 and 12
    assert places_of([1, 1], [0, 0], [1, 1], prompt=500) == [1, 1]  # all that is saved is a token: not worth the move
    assert sorted(places_of([1, 1], [0, 0], [1, 1], prompt=500, is_shared=False)) == [0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_no_change_of_one_row_is_left_that_would_help(seed: int) -> None:
    """By trying them all, with prompts that are shared."""
    generator = np.random.default_rng(seed)
    groups, responses = np.repeat(np.arange(5), 4), generator.integers(1, 60, 20)
    prompts = generator.integers(1, 60, 5)[groups]
    places = shares(generator.integers(0, 3, 5)[groups], groups, prompts, responses, num_ranks=3, is_shared=True)

    def fullest(changed: np.ndarray) -> int:
        return max(
            sum(responses[changed == rank]) + sum(prompts[groups == g][0] for g in set(groups[changed == rank].tolist()))
            for rank in range(3)
        )

    tokens = loads(places, groups, prompts, responses, num_ranks=3)
    assert tokens.max() == fullest(places)
    for row in range(20):
        for rank in range(3):
            changed = places.copy()
            changed[row] = rank
            assert fullest(changed) > tokens.max() - 0.01 * tokens.mean()


def mini_batch_of(trajectory: Trajectory) -> MiniBatch:
    """All rows, with advantages and weights that tell them apart."""
    numbers = trajectory.indices[:, None] + torch.arange(trajectory.response_mask.shape[1]) / 100
    return extended(trajectory, MiniBatch, advantages=numbers, token_weights=numbers / 7)


def test_one_rank_alone_keeps_the_very_same_rows(trajectory: Trajectory) -> None:
    rows = mini_batch_of(trajectory)
    assert balanced(rows, is_shared=True) is rows


def numbers_in(images: ImageInput | None) -> list[Tensor]:
    """All tensors of an entry."""
    assert images is not None
    features = () if images.features is None else images.features.tensors
    return [*features, *(images.inputs or {}).values()]


def assert_same_rows(left: MiniBatch, right: MiniBatch) -> None:
    for field in fields(MiniBatch):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if field.name in ("input_ids", "position_ids"):  # padding is not the same
            ours, theirs = ours * left.attention_mask, theirs * right.attention_mask
        if field.name in ("advantages", "token_weights"):
            ours, theirs = ours * left.response_mask, theirs * right.response_mask
        if field.name != "images":
            assert ours is theirs is None or (torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs)
    for own, other in zip(left.images, right.images, strict=True):
        assert own is other is None or all(
            torch.equal(ours, theirs) for ours, theirs in zip(numbers_in(own), numbers_in(other), strict=True)
        )


@pytest.mark.slow
@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_rows_arrive_whole_and_a_picture_once_where_it_is_needed(
    built: Build, forking: Forking, tmp_path: Path, num_ranks: int, is_shared: bool
) -> None:
    whole = mini_batch_of(given(built(*ALGORITHMS["groups"]), order=ORDER))
    torch.save((whole, is_shared), tmp_path / "mini_batch.pt")
    found = on_ranks(forking, SCRIPT, "exchange", tmp_path, num_ranks=num_ranks)
    assert sorted(i for rows, _, _ in found for i in rows.indices.tolist()) == list(range(32))
    moved = sent = 0
    for rank, (rows, own_sent, stayed) in enumerate(found):
        assert rows.indices.tolist() == sorted(rows.indices.tolist()) and stayed
        assert_same_rows(rows, select(whole, whole.indices.argsort()[rows.indices]))
        pictures = dict(zip(rows.groups.tolist(), rows.images, strict=True))
        assert all(images is pictures[group] for group, images in zip(rows.groups.tolist(), rows.images, strict=True))
        before = part(whole, rank=rank, num_ranks=num_ranks)
        new = set(pictures) - set(before.groups.tolist())
        moved += sum(number.nbytes for group in new if pictures[group] for number in numbers_in(pictures[group]))
        sent += own_sent
    of_rows = sum(
        getattr(whole, field.name).nbytes for field in fields(MiniBatch) if isinstance(getattr(whole, field.name), Tensor)
    )
    assert moved < sent < moved + of_rows + num_ranks**2 * 20_000
    prompts, responses = whole.lengths.unbind(1)
    totals = [int(rows.lengths.sum()) for rows, _, _ in found]
    print(f"tokens of each rank, each row with its prompt: {totals}; {sent:,} bytes were sent, {moved:,} of them pictures")
    if not is_shared:
        assert max(totals) <= 1.08 * int(prompts.sum() + responses.sum()) / num_ranks


@pytest.fixture(scope="module")
def cases(built: Build) -> dict[str, tuple[tuple[str, ...], Trajectory]]:
    """Overrides, and all rows."""
    return {name: (words, given(built(*words), order=ORDER)) for name, words in ALGORITHMS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_loss_gradients_and_weights_are_those_of_one_process(
    cases: dict[str, tuple[tuple[str, ...], Trajectory]], forking: Forking, tmp_path: Path, num_ranks: int
) -> None:
    torch.save(list(cases.values()), tmp_path / "cases.pt")
    found = on_ranks(forking, SCRIPT, "updates", tmp_path, num_ranks=num_ranks)
    for place, (name, (words, whole)) in enumerate(cases.items()):
        expected = updated(words, whole)
        assert len(expected.seen) == 4
        tokens = [rank[place].tokens for rank in found]
        for rank in found:
            ours = rank[place]
            gradients = [largest_difference(*pair) for pair in zip(ours.seen, expected.seen, strict=True)]
            weights = max(float((ours.weights[key] - value).abs().max()) for key, value in expected.weights.items())
            print(f"{name}: gradients differ by {max(gradients):.1e} of the largest entry, weights by {weights:.1e}, {tokens}")
            # Rounding: 3.0e-5 at most, for single rows; four ranks that exchange nothing differ from one process by 2.1e-5 there.
            assert max(gradients) < 5e-5 and weights < 1e-5
            others = {key: value for key, value in expected.stats.__dict__.items() if key != "loss"}
            assert {key: ours.stats.__dict__[key] for key in others} == pytest.approx(others, rel=1e-5, abs=1e-7)
            # Terms near 1 of either sign cancel to the loss: what is left of float32's rounding is that of 1.
            assert ours.stats.loss == pytest.approx(expected.stats.loss, abs=1e-6)
