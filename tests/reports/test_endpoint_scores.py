from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from judged_studies import DECLARED, SETTING, arm, declaring, evaluation, records, run_records

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.verdicts.endpoint_scores import (
    USUAL,
    choose_endpoint,
    choose_reference,
    declared_endpoint,
    picked_epoch,
    trained_scores,
    untrained_scores,
)

FLAT = [0.5, 0.5]
GREEDY = declaring(setting="pass@1_t0.01")
BEST = declaring(picked_by="test")
SFT, VARIANT, DAPO = (declaring(reference=name) for name in ("sft", "variant-sft", "dapo"))
OF_EIGHT = Endpoint(split="test", setting="pass@8_t1.0", picked_by="val")
NOTHING = ", so nothing here counts as an improvement."
JUDGED_BY = "the share of right single answers on test (pass@1, T = 0.6) at the epoch that val picks"


def two_arms(first: dict[str, Any], second: dict[str, Any]) -> Records:
    configs = {"grpo": first, "sft": second}
    return records(*(arm(label, before=[FLAT], after=[FLAT], config=config) for label, config in configs.items()))


@pytest.mark.parametrize(
    ("first", "second", "override", "origin", "note"),
    [
        (DECLARED, DECLARED, None, "declared", f"Judged by {JUDGED_BY}, as the runs declared before they started."),
        ({}, {}, None, "not_declared", f"Judged by {JUDGED_BY}, the usual choice: not declared before the runs{NOTHING}"),
        (BEST, BEST, None, "not_declared", "not declared before the runs"),  # a split that picks its own epoch
        (DECLARED, GREEDY, None, "contradictory", f"The runs declared different endpoints. Judged by {JUDGED_BY}, which not"),
        (DECLARED, {}, None, "contradictory", "declared different endpoints"),
        (DECLARED, DECLARED, declared_endpoint(GREEDY), "afterwards", "T = 0.01) at the epoch that val picks: chosen after"),
        (DECLARED, DECLARED, USUAL, "declared", ""),
        (SFT, SFT, USUAL, "declared", ""),
        (SFT, DECLARED, None, "declared", ""),  # the endpoint is still one and the same
        ({}, {}, USUAL, "afterwards", ""),
        ({}, {}, OF_EIGHT, "afterwards", "the share of questions solved on test"),
    ],
)
def test_an_endpoint_is_declared_where_all_runs_name_it_before_and_the_usual_one_stands_for_none(
    first: dict[str, Any], second: dict[str, Any], override: Endpoint | None, origin: str, note: str
) -> None:
    choice = choose_endpoint(two_arms(first, second), override=override)
    assert (choice.origin, choice.is_declared) == (origin, origin == "declared")
    assert replace(choice.endpoint, reference=None) == (override or USUAL)
    assert note in choice.note


@pytest.mark.parametrize(
    ("study", "asked", "found"),
    [
        (two_arms(SFT, SFT), None, "sft"),
        (two_arms(VARIANT, VARIANT), None, "sft"),
        (two_arms(SFT, SFT), "grpo", "grpo"),
        (two_arms(SFT, SFT), "vanilla", None),
        (two_arms(SFT, DECLARED), None, None),
        (two_arms(DAPO, DAPO), None, None),
        (records(arm("sft", before=[FLAT], after=[FLAT], config=SFT)), None, None),
    ],
)
def test_a_reference_is_what_was_asked_for_or_what_all_runs_declared_and_one_of_several_arms(
    study: Records, asked: str | None, found: str | None
) -> None:
    chosen = choose_reference(study, choice=choose_endpoint(study), asked=asked)
    assert (None if chosen is None else chosen.label) == found


@pytest.mark.parametrize("config", [{}, {"evaluation": None}, {"evaluation": {"scheme": {"endpoint": {"split": "test"}}}}])
def test_a_config_without_an_endpoint_declares_none(config: dict[str, Any]) -> None:
    assert declared_endpoint(config) is None


def test_validation_picks_the_epoch_of_each_seed_and_the_first_of_equals_but_never_the_untrained_model() -> None:
    run = run_records(
        seed=0, before=FLAT, after={0: (0.9, FLAT), 1: (0.5, [0.9, 0.9]), 2: (0.7, [0.1, 0.3]), 3: (0.7, [1.0, 1.0])}
    )
    late = run_records(seed=1, before=FLAT, after={1: (0.2, [0.0, 0.0]), 2: (0.1, [1.0, 1.0]), 3: (0.3, [0.4, 0.6])})
    assert picked_epoch(run, endpoint=USUAL) == 2
    scores = trained_scores(Arm(label="grpo", runs=(late, run)), endpoint=USUAL)
    assert list(scores.evaluations) == [0, 1]
    np.testing.assert_allclose(scores.matrix(), [[0.1, 0.3], [0.4, 0.6]])
    assert list(untrained_scores(Arm(label="grpo", runs=(late, run)), endpoint=USUAL).evaluations) == [0, 1]


def test_equal_totals_of_ten_samples_are_equals_whatever_their_last_bits() -> None:
    """3 of 20 right both times, as in tests/callbacks/test_evaluation_schedule.py, where the trainer picks by the same rule."""
    run = run_records(seed=0, before=FLAT, after={})
    for epoch, right in ((1, [1, 2]), (2, [0, 3])):
        counted = replace(evaluation([0, 0], epoch=epoch, split="val"), num_samples=np.full(2, 10), num_correct=np.array(right))
        run.evaluations[epoch, "val", SETTING] = counted
    first, second = (run.evaluations[epoch, "val", SETTING].accuracy() for epoch in (1, 2))
    assert first < second
    assert picked_epoch(run, endpoint=USUAL) == 1


def test_a_run_without_what_is_needed_is_dropped_by_name() -> None:
    complete = run_records(seed=0, before=FLAT, after={1: (0.5, FLAT)})
    unfinished = run_records(seed=1, before=FLAT, after={1: (0.5, FLAT)}, finished=False)
    bare = run_records(seed=2, before=None, after={})
    no_test = run_records(seed=3, before=FLAT, after={4: (0.5, FLAT)})
    del no_test.evaluations[4, "test", SETTING]
    side = Arm(label="grpo", runs=(no_test, complete, unfinished, bare))
    assert list(trained_scores(side, endpoint=USUAL).evaluations) == [0]
    assert trained_scores(side, endpoint=USUAL).dropped == (
        "seed 1 did not finish",
        "seed 2 has no evaluation on val",
        "seed 3 has no evaluation on test at epoch 4",
    )
    assert untrained_scores(side, endpoint=USUAL).dropped == ("seed 2 has no evaluation of its untrained model on test",)
