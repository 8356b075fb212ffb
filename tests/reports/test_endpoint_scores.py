from dataclasses import replace

import numpy as np
import pytest
from judged_studies import DECLARED, ENDPOINT, SETTING, arm, evaluation, records, run_records

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.verdicts.endpoint_scores import (
    USUAL,
    Origin,
    choose_endpoint,
    declared_endpoint,
    declared_reference,
    picked_epoch,
    trained_scores,
    untrained_scores,
)

FLAT = [0.5, 0.5]
GREEDY = Endpoint(split="test", setting="pass@1_t0.01", picked_by="val")


def two_arms(first: dict, second: dict) -> list[Arm]:
    return [arm(name, before=[FLAT], after=[FLAT], config=config) for name, config in (("grpo", first), ("sft", second))]


def test_what_all_runs_declared_is_the_endpoint() -> None:
    choice = choose_endpoint(records(*two_arms(DECLARED, DECLARED)))
    assert choice.origin is Origin.DECLARED
    assert choice.endpoint == Endpoint(split="test", setting=SETTING, picked_by="val")
    assert choice.note == (
        "Judged by the share of right single answers on test (pass@1, T = 0.6) at the epoch that val picks, "
        "as the runs declared before they started."
    )


def test_runs_that_declared_none_or_different_ones_are_judged_by_the_usual_and_said_so() -> None:
    other = {"evaluation": {"scheme": {"endpoint": {"split": "test", "setting": "pass@1_t0.01", "picked_by": "val"}}}}
    none, mixed, half = (
        choose_endpoint(records(*two_arms(*configs))) for configs in (({}, {}), (DECLARED, other), (DECLARED, {}))
    )
    assert (none.origin, mixed.origin, half.origin) == (Origin.NOT_DECLARED, Origin.CONTRADICTORY, Origin.CONTRADICTORY)
    assert none.endpoint == mixed.endpoint == USUAL
    assert "not declared before the runs" in none.note
    assert "declared different endpoints" in mixed.note


def test_an_override_counts_as_chosen_after_the_runs_unless_it_is_what_was_declared() -> None:
    study = records(*two_arms(DECLARED, DECLARED))
    assert choose_endpoint(study, override=GREEDY).origin is Origin.AFTERWARDS
    assert choose_endpoint(study, override=USUAL).origin is Origin.DECLARED
    assert choose_endpoint(records(*two_arms({}, {})), override=USUAL).origin is Origin.AFTERWARDS


def declaring(**changes: str | None) -> dict:
    return {"evaluation": {"scheme": {"endpoint": ENDPOINT | changes}}}


def test_a_declared_reference_is_that_of_all_runs_and_one_of_several_arms() -> None:
    def found(first: dict, second: dict) -> tuple[str | None, Origin]:
        study = records(*two_arms(first, second))
        choice = choose_endpoint(study)
        return declared_reference(study, choice=choice), choice.origin

    sft = declaring(reference="sft")
    assert found(sft, sft) == ("sft", Origin.DECLARED)
    assert found(declaring(reference="variant-sft"), declaring(reference="variant-sft")) == ("variant-sft", Origin.DECLARED)
    assert found(sft, DECLARED) == (None, Origin.DECLARED)  # the endpoint is still one and the same
    assert found(declaring(reference="dapo"), declaring(reference="dapo")) == (None, Origin.DECLARED)
    alone = records(arm("sft", before=[FLAT], after=[FLAT], config=sft))
    assert declared_reference(alone, choice=choose_endpoint(alone)) is None
    assert choose_endpoint(records(*two_arms(sft, sft)), override=USUAL).is_declared


def test_a_run_that_declared_a_split_that_picks_its_own_epoch_declared_nothing() -> None:
    best = declaring(picked_by="test")
    assert declared_endpoint(best) is None
    assert choose_endpoint(records(*two_arms(best, best))).origin is Origin.NOT_DECLARED


@pytest.mark.parametrize("config", [{}, {"evaluation": None}, {"evaluation": {"scheme": {"endpoint": {"split": "test"}}}}])
def test_a_config_without_an_endpoint_declares_none(config: dict) -> None:
    assert declared_endpoint(config) is None


def test_validation_picks_the_epoch_of_each_seed_and_the_first_of_equals() -> None:
    by_epoch = {1: (0.5, [0.9, 0.9]), 2: (0.7, [0.1, 0.3]), 3: (0.7, [1.0, 1.0])}
    run = run_records(seed=0, before=FLAT, after=by_epoch)
    assert picked_epoch(run, endpoint=USUAL) == 2
    late = run_records(seed=1, before=FLAT, after={1: (0.2, [0.0, 0.0]), 2: (0.1, [1.0, 1.0]), 3: (0.3, [0.4, 0.6])})
    scores = trained_scores(Arm(label="grpo", runs=(late, run)), endpoint=USUAL)
    assert scores.seeds == (0, 1)
    np.testing.assert_allclose(scores.matrix(), [[0.1, 0.3], [0.4, 0.6]])


def test_equal_totals_of_ten_samples_are_equals_whatever_their_last_bits() -> None:
    """3 of 20 right both times, as in tests/callbacks/test_evaluation_schedule.py, where the trainer picks by the same rule."""
    run = run_records(seed=0, before=FLAT, after={})
    for epoch, right in ((1, [1, 2]), (2, [0, 3])):
        counted = replace(evaluation([0, 0], epoch=epoch, split="val"), num_samples=np.full(2, 10), num_correct=np.array(right))
        run.evaluations[epoch, "val", SETTING] = counted
    first, second = (run.evaluations[epoch, "val", SETTING].accuracy() for epoch in (1, 2))
    assert first < second
    assert picked_epoch(run, endpoint=USUAL) == 1


def test_the_untrained_model_is_never_picked() -> None:
    run = run_records(seed=0, before=FLAT, after={0: (0.9, [0.2, 0.2]), 1: (0.1, [0.3, 0.3])})
    assert picked_epoch(run, endpoint=USUAL) == 1


def test_a_run_without_what_is_needed_is_dropped_by_name() -> None:
    complete = run_records(seed=0, before=FLAT, after={1: (0.5, FLAT)})
    unfinished = run_records(seed=1, before=FLAT, after={1: (0.5, FLAT)}, finished=False)
    bare = run_records(seed=2, before=None, after={})
    no_test = run_records(seed=3, before=FLAT, after={4: (0.5, FLAT)})
    del no_test.evaluations[4, "test", SETTING]
    side = Arm(label="grpo", runs=(complete, unfinished, bare, no_test))
    scores = trained_scores(side, endpoint=USUAL)
    assert scores.seeds == (0,)
    assert scores.dropped == (
        "seed 1 did not finish",
        "seed 2 has no evaluation on val",
        "seed 3 has no evaluation on test at epoch 4",
    )
    assert untrained_scores(side, endpoint=USUAL).dropped == ("seed 2 has no evaluation of its untrained model on test",)
