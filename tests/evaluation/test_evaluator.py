"""Evaluation on the tiny VLM: draws that depend on nothing but their names, and metrics by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from vlm_rl.commands.build import Experiment
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.evaluator import Scheme, accuracy, metrics
from vlm_rl.evaluation.image_control import Intact
from vlm_rl.evaluation.settings import GenerationSetting

SETTING = GenerationSetting(k=1, temperature=0.6, top_p=1.0, num_samples=2)


def evaluated(experiment: Experiment, *, step: int = 0) -> pa.Table:
    """Validation under one setting."""
    return experiment.evaluator.evaluate(experiment.policy, split="val", setting=SETTING, epoch=0.0, generation_steps=step)


@pytest.mark.slow
def test_each_question_has_each_sample_once_in_a_fixed_order_and_the_same_at_every_step_and_in_any_batches(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = evaluated(experiment)
    rows = sorted(row.id for row in experiment.dataset.split("val"))
    assert table["row_id"].to_pylist() == [row for row in rows for _ in range(2)]
    assert table["sample"].to_pylist() == [0, 1] * len(rows)
    monkeypatch.setattr(experiment.evaluator, "scheme", replace(experiment.evaluator.scheme, batch_rows=3))
    assert evaluated(experiment, step=9)["response"] == table["response"]


@pytest.mark.slow  # builds a model
def test_draws_differ_between_splits_settings_samples_and_from_training(experiment: Experiment) -> None:
    rows = experiment.dataset.split("val")
    other = GenerationSetting(k=1, temperature=1.0, top_p=1.0, num_samples=2)
    seeds = [experiment.evaluator.seeds(rows, split=split, setting=s) for split in ("val", "test") for s in (SETTING, other)]
    training = experiment.module._collection.seeds(experiment.module.data_flow.queries(0))
    drawn = [int(seed) for block in [*seeds, training] for seed in block.flatten()]
    assert len(drawn) == len(set(drawn))


def samples(row: str, *accuracies: int) -> list[dict[str, object]]:
    """The samples of one question."""
    return [{"row_id": row, "accuracy": float(value)} for value in accuracies]


def test_accuracy_is_the_mean_over_questions_of_pass_at_k() -> None:
    table = pa.Table.from_pylist(samples("a", 1, 0, 0, 0) + samples("b", 0, 0, 0, 0) + samples("c", 1, 1, 1, 1))
    assert accuracy(table, k=1) == pytest.approx((0.25 + 0 + 1) / 3)
    assert accuracy(table, k=2) == pytest.approx((0.5 + 0 + 1) / 3)  # 1 - C(3, 2) / C(4, 2)
    setting = GenerationSetting(k=2, temperature=1.0, top_p=1.0, num_samples=4)
    assert metrics({("val", setting.name): table}, settings=[setting]) == {"val/pass@2_t1.0/accuracy": pytest.approx(0.5)}


def scheme(*splits: str, settings: Sequence[GenerationSetting] = (SETTING,)) -> Scheme:
    """Judged on test under T = 0.6 at the epoch that val selects."""
    endpoint = Endpoint(split="test", setting=SETTING.name, picked_by="val")
    return Scheme(splits=splits, settings=settings, every_epochs=1, image=Intact(), batch_rows=8, endpoint=endpoint)


def test_an_endpoint_that_is_not_evaluated_is_refused_before_training() -> None:
    scheme("val", "test").check_endpoint()
    scheme("val").check_endpoint()  # a selection, which never opens its test
    with pytest.raises(ValueError, match=r"endpoint.picked_by=val is not evaluated.* Name one of test, or add it"):
        scheme("test").check_endpoint()
    with pytest.raises(ValueError, match=r"endpoint.split=test is not evaluated.* Name one of val, hard, or add it"):
        scheme("val", "hard").check_endpoint()
    warm = GenerationSetting(k=1, temperature=1.0, top_p=1.0, num_samples=2)
    with pytest.raises(ValueError, match=r"endpoint.setting=pass@1_t0.6 is not evaluated.* Name one of pass@1_t1.0, or add it"):
        scheme("val", "test", settings=[warm]).check_endpoint()
