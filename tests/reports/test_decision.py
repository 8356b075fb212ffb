"""The first page: what is said, pictured and planned, from verdicts held in memory."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hand_runs import estimate
from judged_studies import DECLARED, ENDPOINT, FIVE, arm, evaluation, gained, judged, records, run_records
from usual import usual_settings

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.decision import decision_page
from vlm_rl.reports.first_page.decision_page import Card, DecisionPage, headline_of
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.first_page.next_stage import amount
from vlm_rl.reports.first_page.risks import control_risks
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.cost_tables import cost_table
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of

NO_CONTROLS = Table(name="blind_controls", title="", note="", columns=(), rows=())
AGAINST_SFT = {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"reference": "sft"}}}}
ONE_DEVICE = {"trainer": {"devices": 1, "num_nodes": 1}}


def timed(one: Arm, *, seconds: float) -> Arm:
    """The same arm whose every run took so long on one device."""
    cost = ({"generation_steps": 1, "time/step4_policy_update": seconds},)
    runs = [replace(run, cost=cost, run=replace(run.run, config=run.run.config | ONE_DEVICE)) for run in one.runs]
    return replace(one, runs=tuple(runs))


def page_of(study: Records, *, controls: Table = NO_CONTROLS, **changes: Any) -> DecisionPage:
    settings = usual_settings(**changes)
    return decision_page(
        study,
        verdicts=judged(study, reference=settings.reference),
        choice=choose_endpoint(study),
        controls=controls,
        settings=settings,
    )


def test_an_improvement_is_said_first_with_its_cost_and_the_next_stage_is_to_scale_up() -> None:
    page = page_of(records(timed(gained("grpo", *FIVE), seconds=7200)), price_per_device_hour=3.0)
    assert page.headline == "grpo raised accuracy on test from 45.0 % to 65.0 % (+20.0 points)."
    (card,) = page.cards
    assert (card.outcome, card.tone, card.badge) == (Outcome.IMPROVEMENT, "good", "Improvement")
    assert page.cost == (
        "grpo: 2.00 device hours (6.00 USD) a run, 10.0 device hours (30.0 USD) for all 5 runs. "
        "About 6.00 device minutes of a run for each point gained over the untrained model.",
        "Without the search for learning rates, the evaluation of the untrained model and the controls.",
    )
    assert page.next_stage[0].startswith("grpo: scale up;")
    assert "5 runs, takes 10.0 device hours (30.0 USD)" in page.next_stage[0]


def test_points_for_a_device_hour_are_those_of_the_cost_table_whatever_the_reference() -> None:
    """Gains of 20, 25, 15, 20, 20 points; four runs of an hour, one of four: (20 + 25 + 15 + 20 + 5) / 5 = 17 in an hour, not 20 / 1.6."""
    for reference in (None, "sft"):
        config = {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"reference": reference}}}}
        usual, slow = (timed(gained("grpo", *FIVE, config=config), seconds=seconds) for seconds in (3600, 4 * 3600))
        grpo = replace(usual, runs=(*usual.runs[:4], slow.runs[4]))
        study = records(grpo, gained("sft", 0.01, -0.01, 0.02, 0.0, -0.02, config=config))
        (row, *_) = cost_table(study, endpoint=choose_endpoint(study).endpoint).rows
        assert estimate(row["points_per_device_hour"]) == pytest.approx(17)
        said = page_of(study, reference=reference).cost
        assert said[0].endswith("About 3.53 device minutes of a run for each point gained over the untrained model.")


def test_silence_means_something_only_where_somebody_watched() -> None:
    one = gained("grpo", *FIVE)

    def said(**changes: Any) -> list[str]:
        runs = (*one.runs[:4], replace(one.runs[4], **changes))
        return [str(risk) for risk in page_of(records(replace(one, runs=runs))).risks if "alert" in risk]

    assert said() == ["No run raised an alert (most rules look at means over several steps)."]
    assert said(alerts=None) == ["1 of 5 runs left no alerts.jsonl: whether anybody watched them is not known."]
    off = {"alerts": {"rules": {"non_finite_update": {}}}}
    assert said(run=replace(one.runs[4].run, config=one.runs[4].run.config | off)) == [
        "1 of 5 runs were not watched (alerts=none): only skipped updates would have raised an alert."
    ]


def test_two_trained_arms_are_compared_by_both_levels() -> None:
    study = records(gained("grpo", *FIVE, config=AGAINST_SFT), gained("sft", 0.0, 0.05, -0.05, 0.0, 0.0, config=AGAINST_SFT))
    assert page_of(study).headline == "grpo beats sft on test: accuracy 65.0 % against 45.0 % (+20.0 points)."
    turned = page_of(
        records(gained("sft", *FIVE, config=AGAINST_SFT), gained("grpo", *(-gain for gain in FIVE), config=AGAINST_SFT))
    )
    assert turned.headline == "grpo does worse than sft on test: accuracy 25.0 % against 65.0 % (-40.0 points)."


def test_what_all_verdicts_share_stands_once_above_them_and_the_forest_names_the_reference() -> None:
    study = records(*(gained(label, *FIVE, config=AGAINST_SFT) for label in ("grpo", "rloo", "sft")))
    page = page_of(study)
    declared = "The reference, sft, was declared by the runs before they started."
    assert declared in page.question
    assert not any(declared in card.more for card in page.cards)
    assert page.forest is not None
    assert page.forest.title == "Effect on accuracy against sft, in points"


def test_three_arms_are_sent_to_the_table_of_pairs_for_what_lies_between_them() -> None:
    scope = page_of(records(*(gained(label, *FIVE) for label in ("dapo", "grpo", "rloo")))).scope
    assert "all pairs stand under “Which arms can be told apart”, none as a verdict." in scope
    assert "report.reference" not in scope


def test_under_the_headline_stand_model_and_data_and_that_gains_of_arms_were_not_compared() -> None:
    named = DECLARED | {"model": {"name": "tiny"}, "dataset": {"name": "shapes"}}
    both = page_of(
        records(gained("grpo", *FIVE, config=named), gained("rloo", *FIVE, config=named | {"model": {"name": "big"}}))
    )
    assert both.scope.startswith("Model: tiny, big; data: shapes. All of this speaks of new seeds and of questions like these;")
    assert "not judged against each other" in both.scope
    assert "report.reference=grpo compares them" in both.scope
    one = page_of(records(gained("grpo", *FIVE)))  # a manifest without names
    assert one.scope.startswith("All of this speaks of new seeds")
    assert "each other" not in one.scope
    assert page_of(records()).scope == ""


def test_runs_of_one_arm_that_took_unequal_times_are_no_measure_of_the_arm() -> None:
    """3600 and 7200 seconds: a factor of 2, more than the 1.5 that is let pass."""
    one = gained("grpo", *FIVE)
    slow = replace(one, runs=(*timed(one, seconds=3600).runs[:4], *timed(one, seconds=7200).runs[4:]))
    page = page_of(records(slow))
    assert page.cost[0].startswith("grpo: 1.20 device hours a run (60.0 to 120 minutes), 6.00 device hours for all 5 runs.")
    assert "do not compare arms by their time" in "\n".join(page.cost)
    even = replace(one, runs=(*timed(one, seconds=3600).runs[:4], *timed(one, seconds=5400).runs[4:]))
    assert "do not compare" not in "\n".join(page_of(records(even)).cost)


def with_several_tries(one: Arm, *, changes: Sequence[float]) -> Arm:
    """The same arm whose pass@8, half before training, changed by so much in each seed; questions alike."""
    runs = []
    for run, change in zip(one.runs, changes, strict=True):
        tried = {
            epoch: replace(evaluation([0.5 + share] * 40, epoch=epoch, split="test"), setting="pass@1_t1.0")
            for epoch, share in ((0, 0.0), (1, change))
        }
        runs.append(
            replace(run, evaluations=run.evaluations | {(epoch, "test", "pass@8_t1.0"): kept for epoch, kept in tried.items()})
        )
    return replace(one, runs=tuple(runs))


def test_fewer_questions_solved_with_several_tries_are_a_risk_to_look_at_before_scaling_up() -> None:
    """Changes of -10, -5, -10, -5, -10 points: mean -8, standard deviation 2.74, t(4) = 2.776: half width 3.4."""
    page = page_of(records(with_several_tries(gained("grpo", *FIVE), changes=(-0.1, -0.05, -0.1, -0.05, -0.1))))
    risk, meaning = [risk for risk in page.risks if "several tries" in risk]
    assert "suggests that training sharpened the model" in meaning
    assert "pass@8, T = 1.0 on test changed by -8.0 points (95 % -11.4 to -4.6, new seeds and questions; secondary" in risk
    assert "Before that: look at what several tries no longer solve (risks)." in page.next_stage[0]
    same = page_of(records(with_several_tries(gained("grpo", *FIVE), changes=(-0.1, 0.1, 0.0, 0.0, 0.0))))
    assert not any("several tries" in said for said in (*same.risks, *same.next_stage))


def test_fewer_solved_among_these_very_questions_alone_is_no_risk() -> None:
    """All seeds lose 2, 3 or 4 of 40 questions, others win: seeds alone would be sure, new questions are not."""
    one = gained("grpo", *FIVE)
    runs = []
    for run, lost in zip(one.runs, (4, 3, 4, 3, 4), strict=True):
        after = [0.0] * (lost + 10) + [1.0] * 10 + [0.5] * (20 - lost)
        tried = {0: [0.5] * 40, 1: after}
        kept = {
            (epoch, "test", "pass@8_t1.0"): replace(evaluation(scores, epoch=epoch, split="test"), setting="pass@1_t1.0")
            for epoch, scores in tried.items()
        }
        runs.append(replace(run, evaluations=run.evaluations | kept))
    assert not any("several tries" in risk for risk in page_of(records(replace(one, runs=tuple(runs)))).risks)


def test_an_accuracy_that_peaked_at_the_last_epoch_leaves_longer_training_untested() -> None:
    def studied(*peaks: int) -> str:
        """Gains of 20, 25, 15 points; val is best at the peak of each seed, among two epochs."""
        runs = [
            run_records(
                seed=seed,
                before=[0.4] * 40,
                after={epoch: (0.9 if epoch == peak else 0.5, [0.4 + gain] * 40) for epoch in (1, 2)},
            )
            for seed, (peak, gain) in enumerate(zip(peaks, (0.2, 0.25, 0.15), strict=True))
        ]
        return page_of(records(Arm(label="grpo", runs=tuple(runs)))).next_stage[0]

    assert "Accuracy on val was highest at the last epoch for 2 of 3 seeds: longer training is untested." in studied(2, 2, 1)
    assert "untested" not in studied(2, 1, 1)


def test_the_endpoint_is_named_once_above_all_cards_and_the_design_s_limits_in_each() -> None:
    page = page_of(records(gained("grpo", *FIVE), gained("rloo", *FIVE)))
    assert (
        page.question == "Judged by the share of right single answers on test (pass@1, T = 0.6) at the epoch that val picks, "
        "as the runs declared before they started."
    )
    for card in page.cards:
        assert page.question not in card.more
        assert any(sentence.startswith("What this study could not have seen:") for sentence in card.more)
        assert any(sentence.startswith("Not covered is rare collapse") for sentence in card.more)


def test_an_open_case_is_planned_in_seeds_and_questions_with_their_hours_and_money() -> None:
    """Gains of 5, 0, -5, 5, -5 points, questions alike: only seeds leave anything to chance."""
    study = records(timed(gained("grpo", 0.05, 0.0, -0.05, 0.05, -0.05, spread=0.0, questions=400), seconds=3600))
    page = page_of(study, price_per_device_hour=2.0)
    assert page.headline == "grpo: no evidence either way."
    (plan,) = page.next_stage
    assert plan.startswith("grpo: decide whether a gain of 2.0 points is worth finding: about 51 (")
    assert "(now 5) and 400 questions (now 400)" in plan
    assert plan.endswith("46 more seeds take 46.0 device hours (92.0 USD).")


def test_what_more_seeds_alone_cannot_find_is_planned_with_more_questions_too() -> None:
    (plan,) = page_of(records(gained("grpo", 0.1, -0.05, 0.05, 0.05, 0.0, questions=40))).next_stage
    assert "160 questions (now 40)" in plan
    assert "take an unknown time" in plan
    assert plan.endswith("More questions need no training: evaluate.py asks the runs that are there.")


def test_harm_means_stop_and_find_out_why() -> None:
    page = page_of(records(gained("grpo", *(-gain for gain in FIVE))))
    assert page.headline == "grpo did harm: accuracy on test fell from 45.0 % to 25.0 % (-20.0 points)."
    assert page.next_stage[0].startswith("grpo: stop, and find out why accuracy fell")
    assert page.cards[0].tone == "bad"


def test_no_difference_means_stop() -> None:
    study = records(gained("grpo", 0.05, -0.05, 0.05, -0.05, 0.0, spread=0.0, questions=400))
    (card,) = page_of(study).cards
    assert card.outcome is Outcome.OPEN  # within 2 points it is not
    wide = decision_page(
        study,
        verdicts=verdicts_of(study, endpoint=None, reference=None, smallest_effect=0.1),
        choice=choose_endpoint(study),
        controls=NO_CONTROLS,
        settings=usual_settings(smallest_effect=0.1),
    )
    assert wide.headline == "grpo makes no difference larger than 10 points."
    assert wide.next_stage[0].startswith("grpo: stop. Whatever it does is smaller than 10 points")


def test_fewer_than_three_seeds_ask_for_the_rest() -> None:
    page = page_of(records(timed(gained("grpo", 0.2), seconds=360)))
    assert page.cards[0].outcome is Outcome.NOT_JUDGED
    assert page.next_stage[0] == (
        "grpo: 2 more seeds, as three are the fewest that can show an improvement; they take 12.0 device minutes."
    )
    assert page.forest is not None
    assert not page.forest.rows[0].has_interval
    two = page_of(records(timed(gained("grpo", 0.2, 0.25, spread=0.0), seconds=360)))
    assert two.forest is not None
    assert two.forest.rows[0].has_interval


def test_nothing_to_compare_makes_a_page_that_says_so() -> None:
    page = page_of(records(arm("grpo", before=[None], after=[[0.5] * 4])))
    assert page.headline == "grpo: not judged."
    assert page.forest is None
    empty = page_of(records())
    assert empty.headline == "No verdict: no trained run was evaluated beside its untrained model."
    assert empty.cost == ("Nothing was trained here.",)
    assert "at least three seeds" in empty.next_stage[0]


def test_risks_name_alerts_unfinished_runs_and_an_undeclared_endpoint() -> None:
    one = gained("grpo", *FIVE)
    alert = {"alert": "kl_explosion", "generation_steps": 3, "message": "KL"}
    first = replace(one.runs[0], alerts=(alert, alert))
    last = replace(one.runs[4], run=replace(one.runs[4].run, finished=False))
    undeclared = [replace(run, run=replace(run.run, config={})) for run in (first, *one.runs[1:4], last)]
    risks = "\n".join(page_of(records(replace(one, runs=tuple(undeclared)))).risks)
    assert "The endpoint was not fixed before the runs" in risks
    assert "grpo: alerts in 1 of 5 runs: KL ran away (2 times)." in risks
    assert "grpo: unfinished runs are left out of every mean and verdict: seed 4." in risks


def test_risks_name_a_reference_that_was_chosen_after_the_runs() -> None:
    study = records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05, -0.05))
    assert "The reference was chosen after the runs" in "\n".join(page_of(study, reference="sft").risks)
    assert "The reference was chosen after the runs" not in "\n".join(page_of(study).risks)


def test_risks_name_responses_cut_off_and_language_drift() -> None:
    one = gained("grpo", *FIVE)
    runs = []
    for run in one.runs:
        cut = {key: replace(found, num_truncated=80 if key[0] else 8) for key, found in run.evaluations.items()}
        drift = tuple({"generation_steps": step, "language/foreign_share": 0.0 if step < 5 else 0.3} for step in range(10))
        runs.append(replace(run, evaluations=cut, training=drift))
    risks = "\n".join(page_of(records(replace(one, runs=tuple(runs)))).risks)
    assert "grpo: 10 % of the responses on test were cut off at the length limit (Vanilla: 1 %)." in risks  # 80 of 40 x 20
    assert "language drift: letters of other scripts went from 0.0 % to 30.0 %" in risks


def test_blind_controls_that_are_missing_or_fail_are_risks() -> None:
    def row(**changes: Any) -> dict[str, Any]:
        values = {"model": "grpo", "split": "test", "modality": "vision", "chance": 0.1, "to_do": ""}
        return values | {"blank": mean_interval([0.12, 0.14]), "shuffled": mean_interval([math.nan])} | changes

    def said(*rows: dict[str, Any]) -> list[str]:
        return list(control_risks(replace(NO_CONTROLS, rows=rows), split="test"))

    assert said(row()) == []
    (needless,) = said(row(blank=mean_interval([0.5, 0.52])))
    assert "still answers 51 % of the questions" in needless
    (missing,) = said(row(to_do="python evaluate.py ..."), row(split="val", to_do="x", model="sft"))
    assert missing.startswith("Blind controls are missing for grpo:")


def test_of_many_arms_a_few_of_one_verdict_are_named_in_the_headline_and_more_are_counted() -> None:
    outcomes = [Outcome.IMPROVEMENT, *[Outcome.OPEN] * 4, Outcome.HARM, Outcome.HARM]
    cards = [
        Card(arm=f"a{place}", outcome=outcome, effect=0.1, short=say("x"), said="", more=())
        for place, outcome in enumerate(outcomes)
    ]
    assert headline_of(cards) == "Improvement: a0. Harm: a5, a6. No evidence either way: 4 of 7 arms."


def test_the_forest_shows_every_seed_and_the_band_on_one_scale() -> None:
    row = ForestRow(label="a", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.05, 0.15), text=say("x"), detail="")
    forest = Forest(title=say("t"), caption=say("c"), delta=0.02, rows=(row, replace(row, low=math.nan, high=math.nan)))
    low, high = forest.ends
    np.testing.assert_allclose((low, high), (-0.02 - 0.06 * 0.22, 0.2 + 0.06 * 0.22))
    assert forest.place(low) == 0
    assert forest.place(high) == 100
    assert forest.width(high - low) == 100
    np.testing.assert_allclose(forest.ticks, [0, 0.05, 0.1, 0.15, 0.2])
    assert [one.has_interval for one in forest.rows] == [True, False]


def test_seeds_in_the_forest_are_paired_with_their_own_untrained_model() -> None:
    runs = [
        run_records(seed=seed, before=[old] * 4, after={1: (0.5, [new] * 4)})
        for seed, (old, new) in enumerate([(0.2, 0.5), (0.4, 0.5), (0.3, 0.35)])
    ]
    page = page_of(records(Arm(label="grpo", runs=tuple(runs))))
    assert page.forest is not None
    np.testing.assert_allclose(page.forest.rows[0].seeds, [0.3, 0.1, 0.05])


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345.0, "12,300"), (0.0, "0")]
)
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert amount(value) == text


def test_the_glossary_explains_the_words_of_the_page_and_no_others() -> None:
    page = page_of(records(gained("grpo", *FIVE)))
    terms = [str(term) for term, _ in page.glossary]
    assert {"Seed", "RL", "Point", "95 % interval", "Collapse"} <= set(terms)
    assert not {"SFT", "Language drift", "Cut off"} & set(terms)
