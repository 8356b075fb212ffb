"""The guard for families that nobody has tried: a forward that is not the model's own refuses the run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

from vlm_rl.commands import evaluate, preflight, preflight_model, training
from vlm_rl.commands.build import Experiment, composed
from vlm_rl.commands.evaluation_target import find
from vlm_rl.commands.model_checks import (
    ForwardMismatch,
    check_causality,
    check_forward,
    check_model,
    check_norms,
    check_outputs,
    forward_differences,
)
from vlm_rl.commands.model_forwards import LoadedModel, by_training, examples, loaded_model, response_ids
from vlm_rl.datasets.row import Row
from vlm_rl.models import family
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.rollout import huggingface_engine
from vlm_rl.run_folder import RunFolder


def loaded(experiment: Experiment, rows: Sequence[Row], *, tolerance: float = 0.1) -> LoadedModel:
    """With an encoder that knows no prompt yet."""
    encoder = PromptEncoder(policy=experiment.policy, dataset=experiment.dataset)
    return LoadedModel(policy=experiment.policy, encoder=encoder, rows=list(rows), tolerance=tolerance)


def test_training_and_sampling_are_the_models_own_forward_with_and_without_images(
    experiment: Experiment, mixed_rows: list[Row]
) -> None:
    vlm = experiment.policy.vlm.train()
    found = forward_differences(loaded(experiment, mixed_rows))
    assert [len(of_rows) for of_rows in found.values()] == [3, 3]
    assert max(max(of_rows) for of_rows in found.values()) < 1e-5
    assert vlm.training  # the check leaves the mode as it was
    vlm.eval()


@pytest.mark.parametrize("broken", ["positions", "logits"])
def test_other_positions_or_another_scale_of_the_logits_are_refused(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "positions":  # 1-D positions where the model has multimodal ones: silent, only noisier
        counted = family.position_ids
        monkeypatch.setattr(
            family, "position_ids", lambda vlm, *rest: counted(vlm, *rest).amax(0, keepdim=True).cumsum(-1).expand(3, -1, -1)
        )
    else:
        monkeypatch.setattr(family, "head_of", lambda vlm: lambda hidden: 1.5 * vlm.get_output_embeddings()(hidden))
    model = loaded(experiment, mixed_rows[2:], tolerance=0.0005)
    with pytest.raises(
        ForwardMismatch,
        match=r"row 'three'.* in training differ .*Qwen2_5_VLForConditionalGeneration's own forward.*parity.tolerance=0.0005",
    ):
        check_forward(model)


def test_in_float32_a_difference_that_bfloat16_would_explain_is_refused(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "head_of", lambda vlm: lambda hidden: 1.02 * vlm.get_output_embeddings()(hidden))
    with pytest.raises(ForwardMismatch, match=r"more than float32 explains \(0\.001\)"):
        check_forward(loaded(experiment, mixed_rows))


def test_a_cache_that_forgets_is_refused_as_sampling(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask of the prompt is lost at each token, so padding is seen: training stays right."""
    hidden = Policy.hidden

    def without_mask(self: Policy, *, mask: Tensor, ids: Tensor, **rest: Any) -> Tensor:
        return hidden(self, mask=torch.ones_like(mask) if ids.shape[1] == 1 else mask, ids=ids, **rest)

    monkeypatch.setattr(huggingface_engine.Policy, "hidden", without_mask)
    with pytest.raises(ForwardMismatch, match="log-probabilities in sampling differ"):
        check_forward(loaded(experiment, mixed_rows))


def test_a_response_that_sees_its_future_is_refused(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention over all tokens, as over the prefix of some families: training and the model's own forward agree."""
    model = loaded(experiment, mixed_rows)
    check_causality(model)
    ids = response_ids(model)
    with torch.no_grad():
        before = by_training(model, ids)
    assert before.shape[:2] == (3, len(ids) + 1)

    def both_ways(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | {"attention_mask": None, "is_causal": False}

    monkeypatch.setattr(modeling_qwen2_5_vl, "create_causal_mask", lambda **settings: None)
    hooks = [
        module.register_forward_pre_hook(both_ways, with_kwargs=True)
        for module in experiment.policy.vlm.modules()
        if type(module).__name__ == "Qwen2_5_VLAttention"
    ]
    try:
        with pytest.raises(
            ValueError, match=r"row '.*' other tokens later in a response change .* Take a model with causal attention"
        ):
            check_causality(model)
    finally:
        for hook in hooks:
            hook.remove()


def test_a_norm_that_would_learn_its_statistics_is_refused(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(experiment, mixed_rows)
    check_norms(model)
    experiment.policy.vlm.add_module("late", nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match=r"1 norms with running statistics would change while training \(late"):
        check_norms(model)
    del experiment.policy.vlm.late


def test_what_a_models_own_code_raises_is_told_with_its_class(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'layers'")

    monkeypatch.setattr(experiment.policy.vlm.model, "forward", broken)
    with pytest.raises(
        ValueError, match=r"Qwen2_5_VLForConditionalGeneration cannot be trained or evaluated here: .*no attribute 'layers'"
    ):
        check_forward(loaded(experiment, mixed_rows))


def test_the_line_says_how_far_and_how_long(
    experiment: Experiment, mixed_rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    check_model(loaded(experiment, mixed_rows))
    assert "agree with its own forward in Transformers (" in capsys.readouterr().out


def test_a_prompt_of_each_kind_is_looked_at_as_text_alone_would_not_show_wrong_positions(mixed_rows: list[Row]) -> None:
    none, one, three = mixed_rows
    assert [row.id for row in examples([none, none, three, one, three])] == ["none", "three", "one"]
    assert [row.id for row in examples([one])] == ["one"]


def test_where_all_rows_are_of_one_kind_a_second_one_makes_the_shorter_prompt_padded(experiment: Experiment) -> None:
    model = loaded_model(experiment.policy, experiment.encoder, replace(experiment.dataset), tolerance=0.1)
    first, second = model.rows
    assert len(first.question) != len(second.question)


def test_an_output_of_the_processor_that_grows_with_the_prompt_is_refused(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mask of which image each token of the prompt may see: too short as soon as a response follows."""
    model = loaded(experiment, mixed_rows)
    check_outputs(model)
    process = model.encoder.prompts.process

    def with_mask(row: Row) -> Any:
        output = process(row)
        return type(output)({**output, "cross_attention_mask": torch.ones(1, output["input_ids"].shape[1], 1, 4)})

    monkeypatch.setattr(model.encoder.prompts, "process", with_mask)
    with pytest.raises(ValueError, match=r"its processor returns cross_attention_mask, which is as long as the prompt"):
        check_outputs(model)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "dry run", "evaluate", "preflight"])
def test_all_four_commands_refuse_a_model_whose_logits_are_not_its_own(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = composed(["experiment=smoke", "num_threads=1", *(["dry_run=rollouts"] if command == "dry run" else [])])
    monkeypatch.setattr(family, "head_of", lambda vlm: lambda hidden: 1.5 * vlm.get_output_embeddings()(hidden))
    monkeypatch.setattr(preflight, "estimates", lambda *_, **__: ())
    monkeypatch.setattr(
        training, "again", lambda *_, **__: ()
    )  # words to start other ranks by, which Hydra's main function knows
    message = "log-probabilities in training differ by"
    if command == "preflight":
        (problem,) = preflight.preflight(cfg, title="t").problems
        assert (
            problem.startswith("A small random model of the same classes shows: After the prompt of row") and message in problem
        )
        return
    target = replace(find("tiny"), out=tmp_path / "out")
    begin = (
        (lambda: evaluate.evaluate(cfg, target))
        if command == "evaluate"
        else lambda: training.train(cfg, folder=RunFolder(path=tmp_path))
    )
    with pytest.raises(ForwardMismatch, match=message):
        begin()
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.slow
def test_preflight_says_why_it_could_not_run_the_model_in_small(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TypeError("unsupported operand")

    cfg = composed(["experiment=smoke", "num_threads=1"])
    monkeypatch.setattr(preflight, "estimates", lambda *_, **__: ())
    preflight.preflight(cfg, title="t")
    assert "On a small random Qwen2_5_VLForConditionalGeneration, training and sampling agree" in capsys.readouterr().out
    monkeypatch.setattr(preflight_model, "write_small_copy", fail)
    verdict = preflight.preflight(cfg, title="t")
    assert verdict.reservations == [
        "the forward of Qwen2_5_VLForConditionalGeneration was not checked (no small copy: TypeError: unsupported operand)"
    ]
