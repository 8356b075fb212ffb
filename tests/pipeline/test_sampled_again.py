"""After a restart, what waited for an update is sampled again, as training_step did; no run but the part of one that does this."""

import contextlib

import lightning
import pytest
import torch
from tiny_runs import Build
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.types import QueryBatch, ResponseBatch

STEPS = 3  # that waited


def trainer(precision: str) -> lightning.Trainer:
    """One that trains nothing here."""
    return lightning.Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False, enable_model_summary=False
    )


def resumed(built: Build, monkeypatch: pytest.MonkeyPatch, *, precision: str = "32-true") -> tuple[Experiment, list[Tensor]]:
    """An experiment whose first steps waited, and the log-probabilities of what is sampled again, once it is."""
    experiment, found = built("algorithm=grpo", "algorithm.group_size=2", "algorithm/dynamic_sampling=dapo"), []
    module = experiment.module
    module.trainer = trainer(precision)
    module.progress.generation_steps = STEPS
    collect = module.collect_responses

    def collected(queries: QueryBatch) -> ResponseBatch:
        responses = collect(queries)
        found.append(responses.engine_logprobs)
        return responses

    monkeypatch.setattr(module, "collect_responses", collected)
    return experiment, found


def sampled(experiment: Experiment, context: contextlib.AbstractContextManager[object]) -> Tensor:
    """Step II of the first step, as it was sampled at first."""
    module = experiment.module
    with context:
        queries = experiment.policy.look(module.data_flow.queries(0))
        return module.collect_responses(queries).engine_logprobs


def test_it_is_sampled_in_the_precision_in_which_it_was_at_first(
    built: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning's mixed precision lies around training_step alone. Other roundings are other draws, now and then."""
    experiment, found = resumed(built, monkeypatch, precision="bf16-mixed")
    experiment.module.on_train_start()
    assert capsys.readouterr().out == "Groups waited for an update: 3 generation steps are sampled again.\n"
    assert len(found) == STEPS
    assert torch.equal(found[0], sampled(experiment, torch.autocast("cpu", dtype=torch.bfloat16)))
    assert not torch.equal(found[0], sampled(experiment, contextlib.nullcontext()))


def test_a_run_that_is_asked_to_stop_samples_no_further_step(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM during the first: the loop asks should_stop before it makes a step, so none begins with half of what waited."""
    experiment, found = resumed(built, monkeypatch)
    module = experiment.module
    generate = module.generate_trajectory

    def interrupted(*args: object) -> object:
        module.trainer.should_stop = True
        return generate(*args)

    monkeypatch.setattr(module, "generate_trajectory", interrupted)
    module.on_train_start()
    assert len(found) == 1 and module.trainer.should_stop


def test_where_nothing_waits_nothing_is_sampled_or_said(
    built: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, found = resumed(built, monkeypatch)
    experiment.module.progress.waiting_since = STEPS
    experiment.module.on_train_start()
    assert found == [] and capsys.readouterr().out == ""
