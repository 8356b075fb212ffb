"""The first page: what is said, pictured and planned, from verdicts held in memory."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from judged_studies import FIVE, arm, gained, judged, records, run_records
from usual import usual_settings

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.control_risks import control_risks
from vlm_rl.reports.first_page.decision import decision_page
from vlm_rl.reports.first_page.decision_page import Card, DecisionPage, headline_of
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.first_page.next_stage import amount
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of

NO_CONTROLS = Table(name="blind_controls", title="", note="", columns=(), rows=())
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
    assert page.headline == "grpo improved accuracy by 20.0 points."
    (card,) = page.cards
    assert (card.outcome, card.tone, card.badge) == (Outcome.IMPROVEMENT, "good", "Improvement")
    assert page.cost[0] == "grpo: 2.00 device hours (6.00 USD) a run, 10.0 device hours (30.0 USD) for all 5 runs."
    assert page.cost[1] == "grpo: 10.0 points gained for each device hour of a run, over the untrained model."
    assert page.next_stage[0].startswith("grpo: scale up.")
    assert "5 runs, takes 10.0 device hours (30.0 USD)" in page.next_stage[0]


def test_the_endpoint_is_named_once_above_all_cards_and_the_design_s_limits_in_each() -> None:
    page = page_of(records(gained("grpo", *FIVE), gained("rloo", *FIVE)))
    assert (
        page.question
        == "Judged by accuracy on test (pass@1, T = 0.6) at the epoch that val picks, as the runs declared before they started."
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
    assert page.headline == "grpo did harm: accuracy fell by 20.0 points."
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


def test_many_arms_are_counted_in_the_headline() -> None:
    outcomes = [Outcome.IMPROVEMENT, Outcome.OPEN, Outcome.OPEN, Outcome.HARM]
    cards = [Card(arm=f"a{place}", outcome=outcome, effect=0.1, said="", more=()) for place, outcome in enumerate(outcomes)]
    assert headline_of(cards, smallest_effect=0.02) == (
        "1 of 4 arms: Improvement. 1 of 4 arms: Harm. 2 of 4 arms: No evidence either way."
    )


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
