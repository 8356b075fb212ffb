"""Worked solutions as responses, and the loss of SFT on them against torch's cross entropy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import Build, standing
from torch.nn.functional import cross_entropy

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.solution_engine import SolutionEngine
from vlm_rl.types import QueryBatch, ResponseBatch

SEEDS = np.zeros((1, 1), dtype=np.int64)


@pytest.fixture(scope="module")
def teacher(built: Build) -> Experiment:
    return built("algorithm=sft", "algorithm.num_minibatches=1", "dataset.max_new_tokens=96")


def solutions(teacher: Experiment, queries: QueryBatch, *, width: int = 96, num_samples: int = 1) -> ResponseBatch:
    engine = SolutionEngine()
    engine.load(teacher.policy)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=width, num_samples=num_samples)
    return engine.generate(queries, settings, SEEDS)


def test_a_response_is_the_solution_and_an_end_of_sequence(teacher: Experiment) -> None:
    queries = teacher.module.data_flow.queries(0)
    responses = solutions(teacher, queries)
    for row, response, ids, mask in zip(
        queries.rows, responses.responses, responses.response_ids, responses.response_mask, strict=True
    ):
        assert response.text == row.solution
        assert response.finish_reason == "stop"
        assert int(ids[mask][-1]) == teacher.policy.processor.tokenizer.eos_token_id
        assert response.num_tokens == int(mask.sum())


def test_a_solution_that_is_too_long_is_cut_and_has_no_end_of_sequence(teacher: Experiment) -> None:
    responses = solutions(teacher, teacher.module.data_flow.queries(0), width=5)
    assert responses.response_mask.all() and responses.response_ids.shape[1] == 5
    assert {response.finish_reason for response in responses.responses} == {"length"}


def test_a_row_without_a_solution_and_a_group_are_errors(teacher: Experiment, mixed_rows: list[Row]) -> None:
    row = replace(mixed_rows[0], solution=None)
    queries = teacher.encoder.batch([row], indices=[0], step=0)
    with pytest.raises(ValueError, match="'none' has no worked solution"):
        solutions(teacher, queries)
    with pytest.raises(ValueError, match=r"algorithm.group_size=1"):
        solutions(teacher, queries, num_samples=2)


def test_the_loss_of_sft_is_cross_entropy_over_the_solution_with_its_end(teacher: Experiment) -> None:
    policy, module = teacher.policy, teacher.module
    queries = module.data_flow.queries(0)
    trajectory = module.generate_trajectory(queries, module.collect_responses(queries)).trajectory
    stats, _ = standing(teacher, trajectory)
    total, count = 0.0, 0
    for row in queries.rows:  # one at a time, by the model's own forward
        output = policy.processor(
            text=[teacher.encoder.prompts.render(row)],
            images=[image.load() for image in row.images],
            return_tensors="pt",
            return_mm_token_type_ids=True,
        )
        solution = policy.processor.tokenizer(f"{row.solution}<|im_end|>", return_tensors="pt")["input_ids"]
        types = torch.cat([output["mm_token_type_ids"], torch.zeros_like(solution)], dim=1)
        ids = torch.cat([output["input_ids"], solution], dim=1)
        output.update({"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types})
        with torch.no_grad():
            logits = policy.vlm(**output).logits[0, -solution.shape[1] - 1 : -1]
        logits[:, policy.banned] = -torch.inf
        total += cross_entropy(logits.double(), solution[0], reduction="sum").item()
        count += solution.shape[1]
    assert stats.loss == pytest.approx(total / count, rel=1e-5)
    assert np.isnan(stats.kl) and np.isnan(stats.ratio)
