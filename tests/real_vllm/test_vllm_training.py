"""Whole commands that sample by a real vLLM: training learns, steps overlap, and an evaluation says what the embedded engine says."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from forking import Forking
from tiny_commands import only_run, train

from vlm_rl.commands.build import build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompt_sharing import own_states
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.written import finish
from vlm_rl.run_folder import RunFolder

SMALL = (
    *("experiment=smoke", "algorithm=grpo", "num_threads=1", "dataset.source.val_rows=2", "dataset.source.test_rows=2"),
    *("evaluation.scheme.splits=[val]", "algorithm.kl_loss_coef=0.0", "algorithm.num_minibatches=4"),
)
SAME_QUESTIONS = (
    "dataset.batch_size=16",
    "dataset.source.train_rows=16",
    "dataset.epochs=10",
    "evaluation.scheme.every_epochs=10",
)
NUM_EVALUATED = 16
CLOSE = 1e-3  # two logits: which of them is larger is a matter of rounding
GREEDY, SAMPLED = "pass@1_t0.01", "pass@8_t1.0"
STANDARD_ERRORS = 3
LEAST_RISE = 0.1  # of the mean reward; it was 0.23


def by(url: str) -> list[str]:
    """The words of sampling by a server."""
    return ["rollout=vllm", f"rollout.engine.servers=[{url}]", "rollout.engine.requests_per_server=32"]


def steps(run: RunFolder, name: str) -> list[Any]:
    """One quantity at each generation step."""
    return [line.get(name) for line in run.lines("metrics.jsonl") if line["event"] == "train"]


@pytest.fixture(scope="session")
def trained(forking: Forking, tiny_server: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Ten steps of GRPO on the same 16 questions."""
    cwd = tmp_path_factory.mktemp("trained")
    train(forking, cwd, *SMALL, *SAME_QUESTIONS, "study=s", *by(tiny_server))
    return only_run(cwd, study="s")


def test_ten_steps_of_grpo_raise_the_reward(trained: RunFolder) -> None:
    rewards = steps(trained, "train/reward")
    print(f"\nrewards: {[round(reward, 3) for reward in rewards]}")
    print(f"largest log-probability difference: {max(steps(trained, 'rollout/logprob_difference_max')):.1e}")
    assert len(rewards) == 10
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + LEAST_RISE
    assert max(steps(trained, "rollout/logprob_difference_max")) < 1e-4


def test_a_step_is_sampled_while_the_one_before_is_learned(forking: Forking, tiny_server: str, tmp_path: Path) -> None:
    few = ("dataset.batch_size=4", "dataset.source.train_rows=16", "dataset.epochs=1", "rollout.overlap=1")
    train(forking, tmp_path, *SMALL, *few, "study=s", *by(tiny_server))
    run = only_run(tmp_path, study="s")
    assert steps(run, "rollout/staleness") == [0.0, 1.0, 1.0, 1.0]
    assert not list((tmp_path / "outputs" / "exchange").glob("*/*"))


def test_an_evaluation_agrees_with_the_embedded_engine(forking: Forking, tiny_server: str, trained: RunFolder) -> None:
    ours, theirs = (samples_of(forking, trained, *more) for more in (["rollout=huggingface"], by(tiny_server)))
    compare_greedy(trained, ours[GREEDY], theirs[GREEDY])
    compare_accuracies(ours[SAMPLED], theirs[SAMPLED])


def samples_of(forking: Forking, run: RunFolder, *more: str) -> dict[str, list[dict[str, Any]]]:
    """What `evaluate.py` writes for the run, by setting."""
    words = [f"checkpoint={run.path}", f"dataset.source.val_rows={NUM_EVALUATED}", *more]
    finished = forking.run("evaluate.py", words, cwd=run.path.parents[3])
    assert finished.code == 0, finished.out + finished.err
    named = re.search(r"Every sample is in (.+)", finished.out)
    assert named is not None
    folder = run.path.parents[3] / named[1].strip()
    return {
        setting: pq.read_table(next(folder.glob(f"evaluations/*/val_{setting}.parquet"))).to_pylist()
        for setting in (GREEDY, SAMPLED)
    }


def compare_greedy(run: RunFolder, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The same answers, but for those from a token on whose two best logits are as good as equal."""
    assert [sample["row_id"] for sample in ours] == [sample["row_id"] for sample in theirs]
    differ = [pair for pair in zip(ours, theirs, strict=True) if pair[0]["response"] != pair[1]["response"]]
    print(f"greedy: {len(ours) - len(differ)} of {len(ours)} answers are the same")
    if not differ:
        return
    experiment = build(composed([*SMALL, f"dataset.source.val_rows={NUM_EVALUATED}"]))
    experiment.policy.load(max((run.path / "checkpoints").iterdir()))
    rows = {row.id: row for row in experiment.dataset.split("val")}
    tokenizer = experiment.policy.processor.tokenizer
    for one, other in differ:
        left, right = (tokenizer(sample["response"], add_special_tokens=False)["input_ids"] for sample in (one, other))
        common = [i for i, _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))]
        gap = gap_after(experiment.policy, experiment.encoder, rows[one["row_id"]], common)
        print(f"greedy: {one['row_id']} differs from token {len(common)} on, where the two best logits are {gap:.1e} apart")
        assert gap < CLOSE
    experiment.reward.close()


@torch.no_grad()
def gap_after(policy: Policy, encoder: PromptEncoder, row: Row, ids: list[int]) -> float:
    """Between the two best logits after a prompt and the first tokens of its response."""
    responses = finish(policy, torch.tensor([[*ids, policy.stop_ids[0]]]), torch.zeros(1, len(ids) + 1), 1)
    samples = concatenate(encoder.batch([row], indices=[0], step=0), responses, scores=torch.zeros(1))
    best = policy.next_token_logprobs(own_states(policy, samples)[-1:], temperature=1.0).topk(2).values[0]
    return float(best[0] - best[1])


def compare_accuracies(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Means of the same questions, within the error that eight samples of each leave."""
    one, other = (by_question(samples) for samples in (ours, theirs))
    variance = (one.var(axis=1, ddof=1) + other.var(axis=1, ddof=1)) / one.shape[1]
    error = float(np.sqrt(variance.sum()) / len(one))
    print(f"accuracy at temperature 1: {one.mean():.3f} embedded, {other.mean():.3f} vLLM, standard error {error:.3f}")
    assert abs(one.mean() - other.mean()) < STANDARD_ERRORS * error


def by_question(samples: list[dict[str, Any]]) -> np.ndarray:
    """Accuracies, a row for each question."""
    questions = sorted({sample["row_id"] for sample in samples})
    return np.array([[s["accuracy"] for s in samples if s["row_id"] == question] for question in questions])
