"""The first page: what is said, pictured and planned, from verdicts held in memory."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from case_files import cases
from judged_studies import DECLARED, FIVE, arm, changed, declaring, evaluation, gained, judged, records, run_records
from usual import usual_settings

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.first_page.costs import amount
from vlm_rl.reports.first_page.decision import BADGES, DecisionPage, decision_page
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.first_page.headline import headline_of
from vlm_rl.reports.first_page.risks import control_risks
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.reading.training import Training
from vlm_rl.reports.tables.cost_tables import cost_table
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of

NO_CONTROLS = Table(name="blind_controls", title="", note="", columns=(), rows=())
LOSSES, OPEN = tuple(-gain for gain in FIVE), (0.05, -0.05, 0.1)
GRPO, RLOO, SFT = gained("grpo", *FIVE), gained("rloo", *FIVE), gained("sft", 0.0, 0.05, -0.05)
AGAINST_SFT = {"config": declaring(reference="sft")}
HOLDS_FOR = (
    "These results hold for new seeds and for questions like these, not for other models, other data or longer training."
)
JUDGED_BY = "Judged by the share of right single answers on test (pass@1, T = 0.6) at the epoch that val picks,"


def timed(one: Arm, *seconds: float) -> Arm:
    """The same arm whose runs took so long on one device, the last for all that are left."""
    left = iter(seconds)

    def change(run: Any) -> dict[str, Any]:
        cost = {"generation_steps": 1, "time/step4_policy_update": next(left, seconds[-1])}
        return {"cost": (cost,), "config": run.run.config | {"trainer": {"devices": 1, "num_nodes": 1}}}

    return changed(one, change)


def page_of(*arms: Arm, **changes: Any) -> DecisionPage:
    settings, study = usual_settings(**changes), records(*arms)
    choice = choose_endpoint(study)
    verdicts = verdicts_of(study, choice=choice, reference=settings.reference, smallest_effect=settings.smallest_effect)
    return decision_page(study, verdicts=verdicts, choice=choice, controls=NO_CONTROLS, settings=settings)


def best_on_val_at(*epochs: int) -> Arm:
    """Gains of 20, 25, 15, 20 points; val is best at the epoch of each seed, among two."""
    runs = [
        run_records(seed=seed, before=[0.4] * 40, after={at: (0.5 + 0.4 * (at == best), [0.4 + gain] * 40) for at in (1, 2)})
        for seed, (best, gain) in enumerate(zip(epochs, FIVE, strict=False))
    ]
    return Arm(label="grpo", runs=tuple(runs))


UNTESTED = arm("grpo", before=[None], after=[[0.5]])
STUDIES = {"untested": UNTESTED, "late": best_on_val_at(2, 2, 1), "half late": best_on_val_at(2, 2, 1, 1)}


def arm_of(case: dict[str, Any]) -> Arm:
    like = {key: case[key] for key in ("spread", "questions") if key in case}
    like |= {"config": declaring(smallest_effect=case["delta"])} if "delta" in case else {}
    one = STUDIES[case["study"]] if "study" in case else gained("grpo", *case["gains"], **like)
    return timed(one, *case["seconds"]) if "seconds" in case else one


@pytest.mark.parametrize("case", cases("first_page", "verdicts"))
def test_each_verdict_has_its_colour_its_headline_and_its_next_stage(case: dict[str, Any]) -> None:
    page = page_of(arm_of(case))
    (card,), (stage,) = page.verdicts, page.next_stage
    assert (f"{card.tone} {card.badge}", page.headline) == (case["badge"], case["headline"])
    assert stage.startswith(f"grpo: {case['next_stage']}")


@pytest.mark.parametrize("case", cases("first_page", "next_stage"))
def test_the_next_stage_has_its_size_its_hours_and_its_money(case: dict[str, Any]) -> None:
    (stage,) = page_of(arm_of(case), price_per_device_hour=2.0).next_stage
    assert [text for text in case["said"].split(" ... ") if text not in stage] == []
    assert ("More questions need no training" in stage) == ("More questions need no training" in case["said"])


@pytest.mark.parametrize("case", cases("first_page", "clears"))
def test_the_headline_says_whether_a_decided_effect_is_larger_than_the_smallest_that_matters(case: dict[str, Any]) -> None:
    assert page_of(arm_of(case), smallest_effect=case["delta"]).headline.endswith(f"). {case['said']}")


def test_two_trained_arms_are_compared_by_both_levels() -> None:
    gains = ((FIVE, (0.0, 0.05, -0.05, 0.0, 0.0)), (LOSSES, FIVE))
    pages = [page_of(gained("grpo", *grpo, **AGAINST_SFT), gained("sft", *sft, **AGAINST_SFT)) for grpo, sft in gains]
    assert [page.headline for page in pages] == [
        "Improvement: RL with GRPO (grpo) has 65.0 % accuracy on test, supervised fine-tuning (sft) 45.0 % "
        "(+20.0 points, 95 % interval +14.8 to +25.2). All of this interval lies beyond ±2 points, the smallest effect that matters.",
        "Harm: RL with GRPO (grpo) has 25.0 % accuracy on test, supervised fine-tuning (sft) 65.0 % "
        "(-40.0 points, 95 % interval -45.2 to -34.8). All of this interval lies beyond ±2 points, the smallest effect that matters.",
    ]


def test_the_cost_of_an_arm_is_that_of_a_run_of_all_runs_and_of_a_point() -> None:
    assert page_of(GRPO).cost == ("grpo: the time of its runs, or the number of their devices, is not known.",)
    assert page_of(timed(GRPO, 7200), price_per_device_hour=3.0).cost == (
        "grpo: 2.00 device hours (6.00 USD) a run, 10.0 device hours (30.0 USD) for all 5 runs. "
        "6.00 device minutes for each point over the vanilla model, all runs together.",
        "When 5 of 5 runs were at work is not known: time that they shared a machine is charged to each of them. "
        "Not included: the search for learning rates, the evaluation of the vanilla model and the controls.",
    )


def test_points_for_a_device_hour_are_those_of_the_cost_table_whatever_the_reference() -> None:
    """Gains of 20, 25, 15, 20, 20 points; four runs of an hour, one of four: 100 points in 8 hours."""
    config = declaring(reference="sft")
    grpo = timed(gained("grpo", *FIVE, config=config), 3600, 3600, 3600, 3600, 4 * 3600)
    arms = (grpo, gained("sft", 0.01, -0.01, 0.02, 0.0, -0.02, config=config))
    (row, *_) = cost_table(records(*arms), endpoint=choose_endpoint(records(*arms)).endpoint).rows
    assert row["points_per_device_hour"] == pytest.approx(12.5)
    said = page_of(*arms).cost
    assert said[0].endswith("4.80 device minutes for each point over the vanilla model, all runs together.")


def test_runs_of_one_arm_that_took_more_than_one_and_a_half_times_as_long_are_no_measure_of_the_arm() -> None:
    uneven, even = (page_of(timed(GRPO, 3600, 3600, 3600, 3600, last)).cost for last in (7200, 5400))
    assert uneven[0].startswith("grpo: 1.20 device hours a run (60.0 to 120 minutes), 6.00 device hours for all 5 runs.")
    assert ["do not compare arms by their time" in said[1] for said in (uneven, even)] == [True, False]


def test_what_all_verdicts_share_stands_once_above_them() -> None:
    page = page_of(*(changed(one, lambda run: AGAINST_SFT) for one in (GRPO, RLOO, SFT)))
    question = f"{JUDGED_BY} as the runs declared before they started."
    assert page.question == f"{question} The reference, sft, was declared by the runs before they started."
    assert page_of(GRPO, RLOO).question == question
    late = "The reference was chosen after the runs: it may have been chosen because it makes the other arms look good."
    assert [late in each.risks for each in (page, page_of(GRPO, SFT, reference="sft"))] == [False, True]
    once = ("What this study can miss:", "This does not cover rare collapse")
    assert [[sum(text.startswith(said) for text in card.more) for said in once] for card in page.verdicts] == [[1, 1], [1, 1]]
    assert not any(text in page.question for card in page.verdicts for text in card.more)
    assert page.forest is not None
    assert page.forest.title == "Effect on accuracy against sft, in points"
    assert [(row.label, row.color) for row in page.forest.rows] == [("grpo", 0), ("rloo", 1)]


def test_under_the_headline_stand_model_and_data_and_that_gains_of_arms_were_not_compared() -> None:
    tiny, big = ({"config": DECLARED | {"model": {"name": name}, "dataset": {"name": "shapes"}}} for name in ("tiny", "big"))
    assert page_of(GRPO).scope == HOLDS_FOR  # a manifest without names
    assert page_of(changed(GRPO, lambda run: tiny), changed(RLOO, lambda run: big)).scope == (
        f"Model: tiny, big; data: shapes. {HOLDS_FOR} The arms were not judged against each other: the difference between "
        "their gains is no verdict (report.reference=grpo compares them)."
    )
    three = page_of(GRPO, RLOO, gained("dapo", *FIVE)).scope
    assert three.endswith("all pairs are listed under “Which arms can be told apart”, none as a verdict.")
    assert "report.reference" not in three


def test_nothing_to_compare_makes_a_page_that_says_so() -> None:
    assert page_of(UNTESTED).forest is None
    empty = page_of()
    assert (empty.headline, empty.question, empty.scope, empty.cost) == (
        "No verdict: no trained run was evaluated beside its vanilla model.",
        f"{JUDGED_BY} the usual choice: not declared before the runs, so nothing here counts as an improvement.",
        "",
        ("Nothing was trained here.",),
    )
    assert "at least three seeds" in empty.next_stage[0]


def several_tries(*after: Sequence[float]) -> DecisionPage:
    """GRPO's, whose questions were also answered with several tries: half of them before training, and after it in each seed."""

    def change(run: Any) -> dict[str, Any]:
        tried = [evaluation(scores, epoch=at, split="test") for at, scores in enumerate(([0.5] * 40, after[run.run.seed]))]
        named = {(one.epoch, "test", "pass@8_t1.0"): replace(one, setting="pass@1_t1.0") for one in tried}
        return {"evaluations": run.evaluations | named}

    return page_of(changed(GRPO, change))


def test_fewer_questions_solved_with_several_tries_are_a_risk_to_look_at_before_scaling_up() -> None:
    """Changes of -10, -5, -10, -5, -10 points: mean -8, standard deviation 2.74, t(4) = 2.776: half width 3.4."""
    page = several_tries(*([0.5 + change] * 40 for change in (-0.1, -0.05, -0.1, -0.05, -0.1)))
    risk, meaning = [risk for risk in page.risks if "several tries" in risk]
    assert "suggest that training made likely answers more likely" in meaning
    assert "pass@8, T = 1.0 on test changed by -8.0 points (95 % -11.4 to -4.6, new seeds and questions; secondary" in risk
    assert "Before that, look at the questions that several tries no longer solve (see the risks)." in page.next_stage[0]
    same = several_tries(*([0.5 + change] * 40 for change in (-0.1, 0.1, 0.0, 0.0, 0.0)))
    # All seeds lose 2, 3 or 4 of 40 questions, others win: seeds alone would be sure, new questions are not.
    other_questions = several_tries(*([0.0] * (lost + 10) + [1.0] * 10 + [0.5] * (20 - lost) for lost in (4, 3, 4, 3, 4)))
    assert not any("several tries" in said for page in (same, other_questions) for said in (*page.risks, *page.next_stage))


def last(**changes: Any) -> Arm:
    return changed(GRPO, lambda run: changes, seeds=[4])


def cut_off(run: Any) -> dict[str, Any]:
    """80 of 40 x 20 answers after training, 8 before."""
    return {"evaluations": {key: replace(one, num_truncated=80 if key[0] else 8) for key, one in run.evaluations.items()}}


ALERT = {"alert": "kl_explosion", "generation_steps": 3, "message": "KL"}
UNWATCHED = DECLARED | {"alerts": {"rules": {"non_finite_update": {}}}}
DRIFT = tuple({"generation_steps": step, "language/foreign_share": 0.0 if step < 5 else 0.3} for step in range(10))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (GRPO, "No run raised an alert (most rules look at means over several steps)."),
        (last(alerts=None), "1 of 5 runs left no alerts.jsonl: whether anybody watched them is not known."),
        (last(config=UNWATCHED), "1 of 5 runs were not watched (alerts=none): only skipped updates would have raised"),
        (last(alerts=(ALERT, ALERT)), "grpo: alerts in 1 of 5 runs: KL ran away (2 times)."),
        (last(finished=False), "grpo: unfinished runs are left out of every mean and verdict: seed 4."),
        (last(config={}), "The endpoint was not fixed before the runs: it may have been chosen because its result is good."),
        (gained("grpo", 0.1, finished=False), "grpo: no run is finished yet (seed 0); what is said here may change."),
        (gained("grpo", 0.2, 0.25, -0.2), "grpo: Seed 2 of grpo lies far from the other seeds, at 25.0 %: look"),
        (changed(GRPO, cut_off), "grpo: 10 % of the responses on test were cut off at the length limit (Vanilla: 1 %)."),
        (
            changed(GRPO, lambda _: {"training": Training(records=DRIFT)}),
            "letters of other scripts went from 0.0 % to 30.0 % of what it wrote",
        ),
    ],
)
def test_what_is_odd_is_among_the_risks_and_only_there(one: Arm, said: str) -> None:
    found = [[said in risk for risk in page_of(each).risks].count(True) for each in (one, GRPO)]
    assert found == [1, int(one is GRPO)]


def test_a_language_that_drifts_back_is_no_risk() -> None:
    back = tuple({"generation_steps": step, "language/foreign_share": 0.3 - 0.02 * step} for step in range(10))
    assert not [
        risk for risk in page_of(changed(GRPO, lambda _: {"training": Training(records=back)})).risks if "other scripts" in risk
    ]


LEVELS = {"blank": mean_interval([0.12, 0.14]), "shuffled": mean_interval([math.nan])}
VISION = {"model": "grpo", "split": "test", "modality": "vision", "chance": 0.1, "to_do": ""} | LEVELS
SURE = {"blank": mean_interval([0.5, 0.52])}


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({}, []),
        (SURE, ["still answers 51 % of the questions"]),
        (SURE | {"modality": "text"}, []),
        ({"to_do": "python evaluate.py ..."}, ["Blind controls are missing for grpo:"]),
    ],
)
def test_blind_controls_that_are_missing_or_fail_are_risks(changes: dict[str, Any], texts: list[str]) -> None:
    rows = (VISION | changes, VISION | {"split": "val", "to_do": "x", "model": "sft"})
    found = list(control_risks(replace(NO_CONTROLS, rows=rows), split="test"))
    assert [text for said, text in zip(found, texts, strict=True) if text not in said] == []


def test_of_many_arms_a_few_of_one_verdict_are_named_in_the_headline_and_more_are_counted() -> None:
    gains = [FIVE, *[OPEN] * 4, LOSSES, LOSSES]
    verdicts = judged(records(*(gained(f"a{place}", *of_arm) for place, of_arm in enumerate(gains))))
    assert headline_of(verdicts, badges=BADGES) == (
        "Improvement: a0 (+20.0 points, widened 99 % interval +11.5 to +28.5). "
        "Harm: a5 (-20.0 points, widened 99.3 % interval -29.2 to -10.8), "
        "a6 (-20.0 points, widened 99.2 % interval -28.9 to -11.1). No evidence either way: 4 of 7 arms."
    )
    assert headline_of(verdicts[:4], badges=BADGES) == (
        "Improvement: a0 (+20.0 points, widened 99 % interval +11.5 to +28.5). No evidence either way: a1, a2, a3."
    )


def test_the_forest_shows_every_seed_and_the_band_on_one_scale() -> None:
    row = ForestRow(label="a", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.05, 0.15))
    forest = Forest(title=say("t"), delta=0.02, rows=(row, replace(row, low=math.nan, high=math.nan)))
    low, high = forest.ends
    np.testing.assert_allclose((low, high), (-0.02 - 0.06 * 0.22, 0.2 + 0.06 * 0.22))
    assert (forest.place(low), forest.place(high), forest.width(high - low)) == (0, 100, 100)
    np.testing.assert_allclose(forest.ticks, [0, 0.05, 0.1, 0.15, 0.2])
    assert [(one.text, one.detail) for one in forest.rows] == [
        ("+10.0 points", "+0.0 to +20.0; n = 2"),
        ("+10.0 points", "no interval; n = 2"),
    ]
    assert "grey band: ±2 points" in forest.caption


def test_seeds_in_the_forest_are_paired_with_their_own_vanilla_model_or_the_mean_of_the_reference() -> None:
    grpo = arm("grpo", before=[[0.2] * 4, [0.4] * 4, [0.3] * 4], after=[[0.5] * 4, [0.5] * 4, [0.35] * 4])
    sft = arm("sft", before=[[0.2] * 4] * 2, after=[[0.2] * 4, [0.3] * 4])
    paired, unpaired = page_of(grpo).forest, page_of(grpo, sft, reference="sft").forest
    assert paired is not None and unpaired is not None
    np.testing.assert_allclose([one.rows[0].seeds for one in (paired, unpaired)], [[0.3, 0.1, 0.05], [0.25, 0.25, 0.1]])
    assert paired.rows[0].detail == "-17.9 to +47.9; n = 3"  # t(2) = 4.303 times 13.2 points over the root of 3


def test_amounts_have_three_digits() -> None:
    texts = {0.01234: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 12345.0: "12,300", 0.0: "0"}
    assert {value: amount(value) for value in texts} == texts


def test_the_glossary_explains_the_words_of_the_page_and_no_others() -> None:
    terms = {str(term) for term, _ in page_of(GRPO).glossary}
    asked = {"Seed", "RL", "Point", "95 % interval", "Collapse", "SFT", "Language drift", "Cut off"}
    assert asked & terms == {"Seed", "RL", "Point", "95 % interval", "Collapse"}
