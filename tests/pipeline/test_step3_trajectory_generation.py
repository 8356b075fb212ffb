import contextlib
from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, roll_out

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.pipeline.batch_filling import BatchFilling, Filled, SamplingCounts, merged
from vlm_rl.pipeline.step2_response_collection import ResponseCollection
from vlm_rl.pipeline.step3_trajectory_generation import (
    EngineMismatch,
    Parity,
    TrajectoryGeneration,
    concatenate,
    response_logprobs,
)
from vlm_rl.rewards.reward import RewardScores
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine, finish
from vlm_rl.types import ResponseBatch, Trajectory


def lying(responses: ResponseBatch, *, by: float) -> ResponseBatch:
    return replace(responses, engine_logprobs=responses.engine_logprobs + by * responses.response_mask)


@pytest.mark.parametrize("by", [0.05, float("nan")])
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


def test_selected_rows_lose_only_padding(trajectory: Trajectory) -> None:
    chosen = trajectory.lengths.sum(1).argsort()[:3]
    part = trajectory.select(chosen)
    assert part.attention_mask[:, 0].any()
    assert part.response_mask[:, -1].any()
    assert torch.equal(part.lengths, trajectory.lengths[chosen])
    for i, row in enumerate(chosen.tolist()):
        assert torch.equal(part.input_ids[i, part.attention_mask[i]], trajectory.input_ids[row, trajectory.attention_mask[row]])
    assert torch.equal(
        part.engine_logprobs[part.response_mask], trajectory.engine_logprobs[chosen][trajectory.response_mask[chosen]]
    )


def test_a_single_update_needs_no_old_log_probabilities_but_parity_asks_for_them(built: Build) -> None:
    single = built("algorithm.num_minibatches=1", "algorithm.kl_loss_coef=0")
    module = single.module
    queries = module.data_flow.queries(0)
    responses = module.collect_responses(queries)
    assert module.generate_trajectory(queries, responses).trajectory.old_logprobs is not None
    later = module.generate_trajectory(replace(queries, step=1), responses).trajectory
    assert later.old_logprobs is None and later.ref_logprobs is None


def test_truncated_sampling_is_refused_in_training() -> None:
    settings = SamplingSettings(temperature=1.0, top_p=0.9, max_new_tokens=1, num_samples=1)
    with pytest.raises(ValueError, match=r"rollout.top_p is 0.9.*must be 1"):
        ResponseCollection(engine=HuggingFaceEngine(forward_batch_size=1), settings=settings, seed=0)


class Always(BatchFilling):
    """Says that the batch is full, of whatever it is given, with groups of several generation steps; or that it never is."""

    def __init__(self, *, steps: tuple[int, ...], is_full: bool = True) -> None:
        self._steps, self._is_full = steps, is_full

    def add(self, trajectory: Trajectory, scores: RewardScores, *, step: int) -> Filled:
        """The same trajectory, as it came from the scoring."""
        assert trajectory.old_logprobs is None  # groups of several steps are joined before anyone computes them
        counts = SamplingCounts(kept=8, dropped=0, surplus=0, waiting=0, steps_per_update=2, thrown_away_tokens=0)
        return Filled(trajectory=trajectory if self._is_full else None, steps=self._steps, counts=counts)


@pytest.mark.parametrize(("step", "is_due"), [(4, True), (5, False)])
@pytest.mark.parametrize("is_full", [True, False])
def test_with_dynamic_sampling_the_engine_is_checked_at_the_step_itself_though_no_batch_were_ever_full(
    experiment: Experiment, step: int, is_due: bool, is_full: bool
) -> None:
    """At step 5 the batch is full of groups of steps 3 to 5: that of step 4 has been checked there."""
    queries = experiment.module.data_flow.queries(0)
    responses = lying(experiment.module.collect_responses(queries), by=0.05)
    generation = TrajectoryGeneration(
        reward=experiment.reward,
        algorithm=experiment.algorithm,
        parity=Parity(every=2, tolerance=0.01),
        filling=Always(steps=(3, 4, 5), is_full=is_full),
    )
    with pytest.raises(EngineMismatch) if is_due else contextlib.nullcontext():
        generation.generate(replace(queries, step=step), responses, experiment.policy)


@pytest.mark.parametrize(("steps", "are_known"), [((3, 4, 5), True), ((5,), False)])
def test_a_batch_is_measured_against_the_engine_if_any_of_its_steps_was_due(
    built: Build, steps: tuple[int, ...], are_known: bool
) -> None:
    """A single update asks for no old log-probabilities, the metrics rollout/* do."""
    single = built("algorithm.num_minibatches=1", "algorithm.kl_loss_coef=0")
    queries = single.module.data_flow.queries(0)
    generation = TrajectoryGeneration(
        reward=single.reward,
        algorithm=single.algorithm,
        parity=Parity(every=2, tolerance=0.01),
        filling=Always(steps=steps),
    )
    scored = generation.generate(replace(queries, step=5), single.module.collect_responses(queries), single.policy)
    assert scored.trajectory is not None
    assert (scored.trajectory.old_logprobs is not None) == are_known


def test_groups_of_several_steps_have_the_log_probabilities_that_they_had_in_their_own_steps(experiment: Experiment) -> None:
    """Padded to common widths, prompts of other lengths and figures beside them."""
    parts = [roll_out(experiment, step=step).select(torch.tensor(rows)) for step, rows in ((0, [0, 1, 6, 7]), (1, [2, 3]))]
    bare = [replace(part, old_logprobs=None, ref_logprobs=None) for part in parts]
    together = merged(bare, pad_id=experiment.policy.pad_id)
    assert together.lengths.tolist() == [lengths for part in parts for lengths in part.lengths.tolist()]
    found = response_logprobs(experiment.policy, together)
    for part, rows in zip(parts, (slice(0, 4), slice(4, 6)), strict=True):
        assert part.old_logprobs is not None
        width = part.old_logprobs.shape[1]
        torch.testing.assert_close(found[rows, :width], part.old_logprobs, atol=2e-5, rtol=0)
        assert found[rows, width:].eq(0).all()


def test_a_rank_without_a_share_of_the_batch_has_log_probabilities_of_nothing(
    experiment: Experiment, trajectory: Trajectory
) -> None:
    nothing = trajectory.select(torch.tensor([], dtype=torch.long))
    assert response_logprobs(experiment.policy, nothing).shape == (0, 0)
