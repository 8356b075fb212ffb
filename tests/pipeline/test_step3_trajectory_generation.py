import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, pixels_stay

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, GroupSelection
from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.vision import VisionCache
from vlm_rl.pipeline.step2_response_collection import check_top_p
from vlm_rl.pipeline.step3_trajectory_generation import (
    EngineMismatch,
    Parity,
    TrajectoryGeneration,
    concatenate,
    response_logprobs,
)
from vlm_rl.rewards.reward import Reward, RewardScores
from vlm_rl.rollout.huggingface_engine import finish
from vlm_rl.types import Response, ResponseBatch, Trajectory, select


def lying(responses: ResponseBatch, *, by: float) -> ResponseBatch:
    return replace(responses, engine_logprobs=responses.engine_logprobs + by * responses.response_mask)


@pytest.mark.parametrize("by", [0.05, pytest.param(float("nan"), marks=pytest.mark.slow)])
def test_an_engine_that_lies_about_its_log_probabilities_stops_the_run(experiment: Experiment, by: float) -> None:
    module = experiment.module
    queries = module.data_flow.queries(0)
    responses = module.collect_responses(queries)
    generation = TrajectoryGeneration(
        reward=experiment.reward, algorithm=experiment.algorithm, parity=Parity(every=2, tolerance=0.01)
    )
    generation.generate(queries, responses, experiment.policy)  # the truth passes
    with pytest.raises(EngineMismatch, match=r"parity.tolerance=0.01.*adapter did not load"):
        generation.generate(queries, lying(responses, by=by), experiment.policy)
    generation.generate(replace(queries, step=1), lying(responses, by=by), experiment.policy)  # not due at this step


@pytest.fixture
def pixels(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known of any image, and nothing is made of it."""
    monkeypatch.setattr(experiment.policy, "vision_cache", VisionCache(max_bytes=0))
    with pixels_stay():
        yield


@pytest.mark.usefixtures("pixels")
def test_positions_of_a_response_go_on_where_those_of_the_query_end(experiment: Experiment, mixed_rows: list[Row]) -> None:
    queries = experiment.encoder.batch(mixed_rows, indices=(4, 0, 9), step=0)
    ids = torch.tensor([[5, 6, 7], [5, -1, -1]]).repeat(3, 1)
    responses = finish(experiment.policy, ids, torch.zeros(6, 3), 2)
    trajectory = concatenate(queries, responses, scores=torch.arange(6.0))
    assert trajectory.indices.tolist() == [8, 9, 0, 1, 18, 19]
    for row in range(6):
        last = int(queries.position_ids[:, row // 2].max())
        assert trajectory.position_ids[:, row, -3:].tolist() == [[last + 1, last + 2, last + 3]] * 3
    assert trajectory.attention_mask[:, -3:].tolist() == [[True] * 3, [True, False, False]] * 3
    assert trajectory.mm_token_type_ids[:, -3:].eq(0).all()
    counts = [0 if images is None else len(images.inputs["image_grid_thw"]) for images in trajectory.images]
    assert counts == [0, 0, 1, 1, 3, 3]
    assert trajectory.lengths[:, 1].tolist() == [3, 1] * 3
    assert trajectory.lengths[:, 0].tolist() == queries.attention_mask.sum(1).repeat_interleave(2).tolist()


@pytest.mark.usefixtures("pixels")
def test_positions_are_those_that_the_model_gives_the_whole_sequence(experiment: Experiment, mixed_rows: list[Row]) -> None:
    queries = experiment.encoder.batch(mixed_rows, indices=range(3), step=0)
    responses = finish(experiment.policy, torch.full((3, 4), 5), torch.zeros(3, 4), 1)
    trajectory = concatenate(queries, responses, scores=torch.zeros(3))
    mask = trajectory.attention_mask
    expected = experiment.policy.vlm.model.get_rope_index(
        trajectory.input_ids,
        mm_token_type_ids=trajectory.mm_token_type_ids,
        image_grid_thw=torch.cat([images.inputs["image_grid_thw"] for images in trajectory.images if images is not None]),
        attention_mask=mask,
    )[0]
    assert torch.equal(trajectory.position_ids[:, mask], expected[:, mask])


@pytest.fixture(scope="module")
def single(built: Build) -> Experiment:
    """One update a step and no KL term: only the check of the engine asks for log-probabilities."""
    return built("algorithm.num_minibatches=1", "algorithm.kl_loss_coef=0", "algorithm.group_size=2")


def test_truncated_sampling_is_refused_in_training() -> None:
    with pytest.raises(ValueError, match=r"rollout.top_p is 0.9.*must be 1"):
        check_top_p(0.9)


class Drawn(Reward):
    """A reward that says what it was told to."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = list(values)

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> RewardScores:
        assert len(responses) == len(rows) == len(self._values)
        return RewardScores(total=self._values, terms={"accuracy": self._values}, verdicts=[])


DIFFERING = (1, 4, 6)  # of the eight queries of a step
SCORES = [float(query in DIFFERING and sample == 1) for query in range(8) for sample in range(2)]


def selecting(experiment: Experiment, *, every: int = 2, batch_size: int = 4) -> TrajectoryGeneration:
    """Takes so many of the eight groups of a step."""
    settings = DynamicSampling(metric="score", oversample=8 / batch_size)
    return TrajectoryGeneration(
        reward=Drawn(SCORES),
        algorithm=experiment.algorithm,
        parity=Parity(every=every, tolerance=0.01),
        selection=GroupSelection(settings=settings, batch_size=batch_size, group_size=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("step", "is_due"), [(4, True), (5, False)])
def test_with_dynamic_sampling_the_engine_is_checked_and_measured_at_the_steps_that_are_due(
    single: Experiment, step: int, is_due: bool
) -> None:
    """A single update asks for no old log-probabilities, the metrics rollout/* do."""
    queries = replace(single.module.data_flow.queries(0), step=step)
    responses = single.module.collect_responses(queries)
    scored = selecting(single).generate(queries, responses, single.policy)  # the truth passes
    assert (scored.trajectory.old_logprobs is not None) == is_due
    assert scored.trajectory.ref_logprobs is None
    with pytest.raises(EngineMismatch) if is_due else contextlib.nullcontext():
        selecting(single).generate(queries, lying(responses, by=0.05), single.policy)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [4, 5])
def test_selected_groups_have_the_log_probabilities_that_they_have_among_all(
    experiment: Experiment, trajectory: Trajectory, batch_size: int
) -> None:
    """Those whose responses differ come first, then the others; scores of all responses are told all the same."""
    queries = experiment.module.data_flow.queries(0)
    responses = experiment.module.collect_responses(queries)
    scored = selecting(experiment, batch_size=batch_size).generate(queries, responses, experiment.policy)
    taken, counts = scored.trajectory, scored.counts
    assert counts is not None and (counts.differing, counts.thrown_away) == (3, 8 - batch_size)
    assert scored.scores.total == SCORES
    queries_taken = [1, 4, 6, 0, 2, 3, 5, 7][:batch_size]
    assert sorted(taken.indices.tolist()) == list(range(2 * batch_size))
    for name in ("old_logprobs", "ref_logprobs", "engine_logprobs"):
        found, whole = getattr(taken, name), getattr(trajectory, name)
        for row, index in enumerate(taken.indices.tolist()):
            origin = 2 * queries_taken[index // 2] + index % 2
            mask = trajectory.response_mask[origin]
            torch.testing.assert_close(found[row, taken.response_mask[row]], whole[origin, mask], atol=2e-5, rtol=0)


def test_a_rank_without_a_share_of_the_batch_has_log_probabilities_of_nothing(
    experiment: Experiment, trajectory: Trajectory
) -> None:
    nothing = select(trajectory, torch.tensor([], dtype=torch.long))
    assert response_logprobs(experiment.policy, nothing).shape == (0, 0)
