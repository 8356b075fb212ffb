"""The numbers that memory and time are estimated with, worked out by hand from configs."""

import pytest
import torch
from hydra.utils import instantiate
from rich.table import Table

from vlm_rl.commands import preflight_estimate
from vlm_rl.commands.build import composed
from vlm_rl.commands.preflight_estimate import Prompted, estimates, length_of, workload_of
from vlm_rl.preflight.device import Device
from vlm_rl.preflight.shapes import PromptShape

PROMPTED = Prompted(longest=PromptShape(tokens=90, pictures=()), typical=PromptShape(tokens=60, pictures=()), image_tokens=100)


def test_a_rank_takes_its_share_of_a_step() -> None:
    """geo: 896 queries over 7 ranks are 128 each; the mini-batches stay 32."""
    cfg = composed(["dataset=geo", "model=qwen"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    workload = workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=7, on_gpu=True)
    assert (workload.batch_size, workload.num_minibatches, workload.group_size, workload.max_new_tokens) == (128, 32, 1, 2048)
    assert workload.forward_batch_size == 256
    assert workload.needs_reference and workload.needs_old_logprobs and workload.foreach


def test_sft_samples_for_its_evaluations_only_and_needs_no_reference() -> None:
    cfg = composed(["experiment=smoke", "algorithm=sft"])
    dataset, algorithm = instantiate(cfg.dataset), instantiate(cfg.algorithm)
    workload = workload_of(cfg, dataset, algorithm, prompted=PROMPTED, ranks=1, on_gpu=False)
    assert (workload.forward_batch_size, workload.needs_reference) == (256, False)


def test_a_run_is_counted_with_the_evaluation_of_its_untrained_model() -> None:
    """16 rows in batches of 8 for 2 epochs: 4 steps, 3 evaluations of 8 + 8 rows under three settings of 8, 4 and 1 samples."""
    cfg = composed(["experiment=smoke"])
    length = length_of(cfg, instantiate(cfg.dataset), ranks=1, features_are_kept=True)
    assert (length.num_steps, length.num_rows, length.num_evaluations) == (4, 16, 3)
    assert (length.evaluated_rows, length.evaluated_responses) == (16 * 3, 16 * (8 + 4 + 1))


def test_a_run_that_does_not_fit_is_a_problem_with_its_phase_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's weights alone are 5 MB."""
    small = Device(device=torch.device("cpu"), name="card", free_bytes=1_000_000)
    monkeypatch.setattr(preflight_estimate, "device_of", lambda _: small)
    cfg = composed(["experiment=smoke"])
    problems: list[str] = []
    pieces = estimates(cfg, instantiate(cfg.dataset), instantiate(cfg.algorithm), prompted=PROMPTED, problems=problems)
    memory = next(iter(pieces))
    assert isinstance(memory, Table) and memory.row_count >= 5
    assert any("whole run" in piece for piece in pieces if isinstance(piece, str))
    (problem,) = problems
    assert problem.startswith("It would not fit: phase ") and "card has" in problem and "Smaller by model." in problem


def test_a_model_that_cannot_be_traced_is_no_reason_to_refuse_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise NotImplementedError("no shadow of this kernel")

    monkeypatch.setattr(preflight_estimate, "trace", fails)
    cfg = composed(["experiment=smoke"])
    problems: list[str] = []
    (told,) = estimates(cfg, instantiate(cfg.dataset), instantiate(cfg.algorithm), prompted=PROMPTED, problems=problems)
    assert isinstance(told, str)
    assert told.startswith("No estimate of memory and time: NotImplementedError: no shadow of this kernel")
    assert problems == []
