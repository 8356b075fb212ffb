"""What a study is judged by, what it is compared with, and which evaluation of each run counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from case_files import cases
from judged_studies import DECLARED, SETTING, arm, declaring, evaluation, records, run_records

from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.verdicts.endpoint_scores import (
    USUAL,
    choose_endpoint,
    choose_reference,
    declared_endpoint,
    selected_epoch,
    trained_scores,
    vanilla_scores,
)

FLAT = [0.5, 0.5]
CONFIGS = {"usual": DECLARED, "nothing": {}, "best": declaring(picked_by="test"), "greedy": declaring(setting="pass@1_t0.01")}
CONFIGS |= {name: declaring(reference=name) for name in ("sft", "variant-sft", "dapo")}
CONFIGS |= {"of eight": declaring(setting="pass@8_t1.0"), "evaluation of nothing": {"evaluation": {}}}
CONFIGS |= {"half": {"evaluation": {"scheme": {"endpoint": {"split": "test"}}}}}


def two_arms(first: str, second: str) -> Records:
    declared = {"grpo": first, "sft": second}
    return records(*(arm(label, before=[FLAT], after=[FLAT], config=CONFIGS[name]) for label, name in declared.items()))


@pytest.mark.parametrize("case", cases("endpoints", "chosen"))
def test_an_endpoint_is_declared_where_all_runs_name_it_before_and_the_usual_one_stands_for_none(case: dict[str, Any]) -> None:
    override = declared_endpoint(CONFIGS[case["asked"]]) if "asked" in case else None
    choice = choose_endpoint(two_arms(*case["declared"]), override=override)
    found = (choice.origin, choice.is_declared, replace(choice.endpoint, reference=None))
    assert found == (case["origin"], case["origin"] == "declared", override or USUAL)
    assert case["said"] in choice.note


@pytest.mark.parametrize(
    ("declared", "reference", "found"),
    [(("sft", "sft"), "grpo", "grpo"), (("sft", "usual"), None, None), (("dapo", "dapo"), None, None)],
)
def test_a_reference_is_named_by_the_report_or_declared_by_all_runs_and_is_one_of_several_arms(
    declared: tuple[str, str], reference: str | None, found: str | None
) -> None:
    """Those that count are among the cases of test_verdicts.py."""
    study = two_arms(*declared)
    chosen = choose_reference(study, choice=choose_endpoint(study), reference=reference)
    assert (None if chosen is None else chosen.label) == found
    alone = records(two_arms("sft", "sft").arms[1])
    assert choose_reference(alone, choice=choose_endpoint(alone), reference=None) is None


def test_validation_picks_the_epoch_of_each_seed_and_the_first_of_equals_but_never_the_vanilla_model() -> None:
    epochs = {0: (0.9, FLAT), 1: (0.5, [0.9, 0.9]), 2: (0.7, [0.1, 0.3]), 3: (0.7, [1.0, 1.0])}
    late = {1: (0.2, [0.0, 0.0]), 2: (0.1, [1.0, 1.0]), 3: (0.3, [0.4, 0.6])}
    one = Arm(label="grpo", runs=tuple(run_records(seed=seed, before=FLAT, after=[epochs, late][seed]) for seed in (1, 0)))
    scores = trained_scores(one, endpoint=USUAL)
    assert [(seed, evaluation.epoch) for seed, evaluation in scores.evaluations.items()] == [(0, 2), (1, 3)]
    np.testing.assert_allclose(scores.matrix(), [[0.1, 0.3], [0.4, 0.6]])
    assert list(vanilla_scores(one, endpoint=USUAL).evaluations) == [0, 1]


def test_equal_totals_of_ten_samples_are_equals_whatever_their_last_bits() -> None:
    """3 of 20 right both times, as in tests/callbacks/test_evaluation_schedule.py, where the trainer picks by the same rule."""
    run = run_records(seed=0, before=FLAT, after={})
    for epoch, right in ((1, [1, 2]), (2, [0, 3])):
        counted = replace(evaluation([0, 0], epoch=epoch, split="val"), num_samples=np.full(2, 10), num_correct=np.array(right))
        run.evaluations[epoch, "val", SETTING] = counted
    first, second = (run.evaluations[epoch, "val", SETTING].accuracy() for epoch in (1, 2))
    assert first < second
    assert selected_epoch(run, endpoint=USUAL) == 1


def test_a_run_without_what_is_needed_is_dropped_by_name() -> None:
    complete, unfinished = (run_records(seed=n, before=FLAT, after={1: (0.5, FLAT)}, finished=n == 0) for n in (0, 1))
    bare, no_test = (run_records(seed=2, before=None, after={}), run_records(seed=3, before=FLAT, after={4: (0.5, FLAT)}))
    del no_test.evaluations[4, "test", SETTING]
    side = Arm(label="grpo", runs=(no_test, complete, unfinished, bare))
    scores = trained_scores(side, endpoint=USUAL)
    said = ("seed 1 did not finish", "seed 2 has no evaluation on val", "seed 3 has no evaluation on test at epoch 4")
    assert (list(scores.evaluations), scores.dropped) == ([0], said)
    assert vanilla_scores(side, endpoint=USUAL).dropped == ("seed 2 has no evaluation of its vanilla model on test",)
