"""What a study is judged by and compared with, which evaluations count, and what is said of a trained arm: scores held in memory."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from case_files import cases
from judged_studies import DECLARED, FIVE, SETTING, arm, changed, declaring, evaluation, gained, judged, records, run_records

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.verdicts.endpoint_scores import (
    USUAL,
    choose_endpoint,
    choose_reference,
    declared_endpoint,
    selected_epoch,
    trained_scores,
    vanilla_scores,
)
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of, sentences

WEAK = (0.0, 0.05, -0.05)  # variance 0.0025
OTHER_TEST = {"train": "a", "val": "b", "test": "another"}  # of a vanilla model that is no arm of the report


def texts_of(verdict: Judged) -> list[Phrase]:
    return [sentence_of(verdict, "headline"), *sentences(verdict), *verdict.comparison.notes]


def text_of(verdict: Judged) -> str:
    return " ".join(texts_of(verdict))


def the(*arms: Arm, **asked: Any) -> Judged:
    return next(one for one in judged(records(*arms), **asked) if one.arm == "grpo")


def came_out(verdict: Judged, case: dict[str, Any]) -> bool:
    """Whether the outcome is that of the case, and all is said that must be."""
    assert [part for part in case["said"].split(" ... ") if part not in text_of(verdict)] == []
    assert "unsaid" not in case or case["unsaid"] not in text_of(verdict)
    return verdict.outcome is Outcome[case["outcome"]]


def one_question_off(seeds: int, *, before: float, after: float) -> Arm:
    """400 questions; each seed answers one question of its own otherwise than the others: 0.0125 points up or down."""
    scores = np.full((seeds, 400), after)
    scores[range(seeds), range(seeds)] += [0.05 * (-1) ** seed for seed in range(seeds)]
    return arm("grpo", before=np.full((seeds, 400), before), after=scores)


def other(one: Arm, *, epoch: int, of: Arm, split: str = "test") -> Arm:
    """The arm with the evaluations that another one has at an epoch."""
    key = (epoch, split, SETTING)
    theirs = {run.run.seed: {key: run.evaluations[key]} for run in of.runs}
    return changed(one, lambda run: {"evaluations": run.evaluations | theirs[run.run.seed]})


def two_epochs(judge: str) -> Arm:
    return Arm(label="grpo", runs=(run_records(seed=0, before=[0.5], after={1: (0.4, [0.5]), 2: (0.5, [0.5])}, judge=judge),))


GRPO, NEWER_JUDGE = gained("grpo", *FIVE), gained("grpo", *FIVE, judge="judge-2")
INTACT, BLANK = (gained("grpo", *FIVE, images=[f"{name}-{n}" for n in range(40)]) for name in ("a", "blank"))
STUDIES = {
    "alike": one_question_off(5, before=0.5, after=0.5),
    "two": one_question_off(2, before=0.1, after=0.5),
    "two lost": one_question_off(2, before=0.9, after=0.5),
    "one question": arm("grpo", before=[[0.5]] * 2, after=[[0.5], [0.6]]),
    "untested": arm("grpo", before=[None], after=[[0.5]]),
    "crashed": changed(GRPO, lambda run: {"finished": False}, seeds=[4]),
    "paired": gained("grpo", *FIVE, images=[f"image-{number // 2}" for number in range(40)]),
    "resumed": changed(GRPO, lambda run: {"judge_version": "judge-2"}, seeds=[0]),
    "newer judge before": other(GRPO, epoch=0, of=NEWER_JUDGE),
    "newer judge after": other(GRPO, epoch=1, of=NEWER_JUDGE),
    "newer judge on val": other(two_epochs("judge-1"), epoch=1, of=two_epochs("judge-2"), split="val"),
    "other data before": changed(GRPO, lambda run: {"vanilla": gained("vanilla", *FIVE, data=OTHER_TEST).runs[0].run}),
    "intact": INTACT,
    "blank before": other(INTACT, epoch=0, of=BLANK),
}


def test_a_steady_gain_is_an_improvement_with_both_intervals_by_hand() -> None:
    """Questions respond by +-0.1: variance 0.01 * 40 / 39 over 40 questions, and seeds add no noise to single ones."""
    verdict, t_4, t_39 = the(GRPO), 2.7764451, 2.0226909
    assert verdict.difference is not None
    variances = (verdict.difference.variance_seeds, verdict.difference.variance_questions)
    assert variances == pytest.approx((0.00125 / 5, 0.01 / 39))
    half = (t_4 * math.sqrt(0.00025), math.sqrt(t_4**2 * 0.00025 + t_39**2 * 0.01 / 39))
    assert (verdict.same_benchmark.low, verdict.new_questions.low) == pytest.approx((0.2 - half[0], 0.2 - half[1]))
    assert text_of(verdict).startswith(
        "grpo is an improvement over the vanilla model: +20.0 points (95 % interval +14.5 to +25.5, new seeds and new "
        "questions). It rests on 5 seeds and 40 questions; each seed is compared with its own vanilla model. With 95 %"
    )


@pytest.mark.parametrize("case", cases("verdicts", "against_vanilla"))
def test_an_arm_against_its_vanilla_models_is_judged_and_the_reason_said(case: dict[str, Any]) -> None:
    changes = {key: value for key, value in case.items() if key not in ("gains", "outcome", "said", "unsaid")}
    verdict = the(STUDIES[case["study"]] if "study" in case else gained("grpo", *case["gains"], **changes))
    assert came_out(verdict, case)
    assert all(isinstance(text, Phrase) for text in texts_of(verdict))  # for other languages


def test_what_has_no_chance_of_seeds_has_no_p_and_no_ends() -> None:
    one, alike = the(gained("grpo", 0.2)), the(gained("grpo", 0.2, 0.2, 0.2))
    assert all(map(math.isnan, (one.p_value, alike.p_value, alike.same_benchmark.low)))
    assert the(STUDIES["two"]).adjusted_p < 0.05


@pytest.mark.parametrize("case", cases("verdicts", "against_arm"))
def test_only_a_declared_reference_carries_an_improvement(case: dict[str, Any]) -> None:
    config = declaring(reference=case.get("declared"))
    arms = (gained("grpo", *case["gains"], config=config), gained("sft", *WEAK, config=config))
    assert came_out(the(*arms, reference=case.get("reference")), case)


def test_trained_arms_are_compared_without_pairs_by_welch() -> None:
    strong, weak = GRPO, gained("sft", *WEAK)
    (verdict,) = judged(records(strong, weak), reference="sft")
    difference, a_arm, a_reference = verdict.difference, 0.00125 / 5, 0.0025 / 3
    assert difference is not None
    assert (verdict.arm, difference.seeds) == ("grpo", (5, 3))
    df = (a_arm + a_reference) ** 2 / (a_arm**2 / 4 + a_reference**2 / 2)
    assert (difference.variance_seeds, difference.df_seeds) == pytest.approx((a_arm + a_reference, df))
    assert "5 and 3 seeds" in text_of(verdict)


def test_a_reference_that_is_no_arm_is_refused_with_the_names_to_choose_from() -> None:
    with pytest.raises(ReportError, match=r"report.reference=sfd is no arm of these studies. Pass one of: vanilla, grpo, sft."):
        judged(records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05)), reference="sfd")
    twins = [gained(label, *FIVE, variant="twin") for label in ("grpo", "sft")]
    with pytest.raises(ReportError, match=r"report.reference=twin is the variant of 2 arms. Pass one of: vanilla, grpo, sft."):
        judged(records(*twins), reference="twin")


def test_the_family_is_every_arm_against_the_reference_and_holm_is_over_it() -> None:
    """A third arm with one seed has no p-value and makes no family larger."""
    grpo, sft, _ = verdicts = judged(records(GRPO, gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1)))
    assert [(verdict.arm, verdict.family) for verdict in verdicts] == [("grpo", 2), ("sft", 2), ("dapo", 2)]
    assert (grpo.adjusted_p, sft.adjusted_p, grpo.planning_level) == pytest.approx((2 * grpo.p_value, sft.p_value, 0.025))
    assert "With 2 arms compared it counts as p < 0.001 (Holm's correction)." in text_of(grpo)


@pytest.mark.parametrize("case", cases("verdicts", "refused"))
def test_arms_that_cannot_be_compared_are_refused_with_the_reason(case: dict[str, Any]) -> None:
    changes = {key: value for key, value in case.items() if key != "said"}
    verdict = the(GRPO, gained("sft", *WEAK, **changes), reference="sft")
    assert (verdict.outcome, verdict.difference) == (Outcome.NOT_JUDGED, None)
    assert case["said"] in sentence_of(verdict, "headline")


def test_what_is_odd_about_either_side_of_a_comparison_is_said_and_refuses_nothing() -> None:
    more = gained("grpo", *FIVE, data={"train": "more", "val": "b", "test": "c"})
    strong = Arm(label="grpo", runs=more.runs, absent=(say("{run} was not passed to the report", run="s/grpo/seed-5"),))
    same = gained("sft", 0.0, 0.0, 0.0)
    weak = Arm(label="sft", runs=same.runs, absent=(say("{run} repeats seed {seed}", run="t/sft/seed-0", seed=0),))
    text = text_of(the(strong, weak, reference="sft"))
    assert "Left out: s/grpo/seed-5 was not passed to the report, t/sft/seed-0 repeats seed 0 (sft)." in text
    assert "On one side all seeds scored exactly the same" in text
    assert "The two sides were not trained on the same data" in text


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
    """Those that count are among the cases of against_arm."""
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
