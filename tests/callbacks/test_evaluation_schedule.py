"""Which generation step the trainer picks, by the rule that the report applies to the stored evaluations."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.evaluator import Evaluator, Scheme, metrics
from vlm_rl.evaluation.image_control import Intact
from vlm_rl.evaluation.settings import GenerationSetting
from vlm_rl.run_folder import RunFolder

SETTING = GenerationSetting(k=1, temperature=0.6, top_p=1.0, num_samples=10)


class FakeEvaluator(Evaluator):
    """Has a scheme and evaluates nothing."""

    def __init__(self) -> None:
        endpoint = Endpoint(split="test", setting=SETTING.name, picked_by="val")
        self.scheme = Scheme(
            splits=["val", "test"], settings=[SETTING], every_epochs=1, image=Intact(), batch_rows=1, endpoint=endpoint
        )


def schedule() -> EvaluationSchedule:
    folder = RunFolder(path=Path("nowhere"))
    return EvaluationSchedule(evaluator=FakeEvaluator(), folder=folder, vanilla=folder)


def evaluated(*right: int, step: int, split: str = "val") -> dict[str, Any]:
    """The line of an evaluation in which each question has so many right answers of ten."""
    rows = [{"row_id": str(q), "accuracy": float(s < count)} for q, count in enumerate(right) for s in range(10)]
    return {"generation_steps": step} | metrics({(split, SETTING.name): pa.Table.from_pylist(rows)}, settings=[SETTING])


def test_the_first_of_equals_is_picked_though_ten_samples_leave_float_dust() -> None:
    """3 of 20 both times: the mean of 0.1 and 0.2 comes out below that of 0 and 0.3 in the last bits."""
    first, second = evaluated(1, 2, step=10), evaluated(0, 3, step=20)
    assert first["val/pass@1_t0.6/accuracy"] < second["val/pass@1_t0.6/accuracy"]
    picking = schedule()
    for line in (first, second, evaluated(1, 1, step=30)):
        picking.consider(line)
    assert picking.best_step == 10
    picking.consider(evaluated(2, 2, step=40))
    assert picking.best_step == 40


def test_a_pick_goes_on_from_a_checkpoint_that_kept_the_dust() -> None:
    picking = schedule()
    picking.load_state_dict({"best_step": 10, "best_value": 0.14999999999999997})
    picking.consider(evaluated(0, 3, step=20))
    assert picking.best_step == 10


def test_without_the_split_that_picks_no_step_is_picked() -> None:
    picking = schedule()
    picking.consider(evaluated(9, 9, step=10, split="test"))
    assert picking.best_step is None
