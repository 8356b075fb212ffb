"""What is said of a trained arm, and why it is not: verdicts from scores held in memory."""

import math
from typing import Any

import numpy as np
import pytest
from judged_studies import FIVE, SETTING, arm, changed, declaring, gained, judged, records, run_records

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.verdicts.family import Judged
from vlm_rl.reports.verdicts.verdict_sentences import said, sentences

IMPROVEMENT, HARM, NO_DIFFERENCE, OPEN, NOT_JUDGED = Outcome
LOST = tuple(-gain for gain in FIVE)
WEAK = (0.0, 0.05, -0.05)  # variance 0.0025
OTHER_TEST = {"train": "a", "val": "b", "test": "another"}
OTHER_JUDGE = "judged by different versions of the judge (judge-1, judge-2)"
PAIRED = [f"image-{number // 2}" for number in range(40)]


def text_of(verdict: Judged) -> str:
    return " ".join((said(verdict, "headline"), *sentences(verdict), *verdict.comparison.notes))


def the(*arms: Arm, endpoint: Endpoint | None = None, reference: str | None = None) -> Judged:
    return next(one for one in judged(records(*arms), endpoint=endpoint, reference=reference) if one.arm == "grpo")


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


GRPO, NEWER_JUDGE = gained("grpo", *FIVE), gained("grpo", *FIVE, judge="judge-2")
CRASHED = changed(GRPO, lambda run: {"finished": False}, seeds=[4])
SEEDS_VARY, QUESTIONS_VARY = gained("grpo", *WEAK, 0.1, spread=0.0), gained("grpo", *[0.05] * 4, 0.1, spread=0.3)
ALIKE, TWO = one_question_off(5, before=0.5, after=0.5), one_question_off(2, before=0.1, after=0.5)
INTACT, BLANK = (gained("grpo", *FIVE, images=[f"{name}-{n}" for n in range(40)]) for name in ("a", "blank"))
TWO_EPOCHS, TWO_EPOCHS_NEWER = (
    Arm(label="grpo", runs=(run_records(seed=0, before=[0.5], after={1: (0.4, [0.5]), 2: (0.5, [0.5])}, judge=judge),))
    for judge in ("judge-1", "judge-2")
)


def test_a_steady_gain_is_an_improvement_with_both_intervals_by_hand() -> None:
    verdict = the(GRPO)
    assert verdict.difference is not None
    assert verdict.difference.variance_seeds == pytest.approx(0.00125 / 5)
    # Questions respond by +-0.1: variance 0.01 * 40 / 39 over 40 questions, and seeds add no noise to single ones.
    assert verdict.difference.variance_questions == pytest.approx(0.01 / 39)
    t_4, t_39 = 2.7764451, 2.0226909
    assert verdict.same_benchmark.low == pytest.approx(0.2 - t_4 * math.sqrt(0.00025))
    assert verdict.new_questions.low == pytest.approx(0.2 - math.sqrt(t_4**2 * 0.00025 + t_39**2 * 0.01 / 39))
    assert text_of(verdict).startswith(
        "grpo is an improvement over the untrained model: +20.0 points (95 % interval +14.5 to +25.5, new seeds and new "
        "questions). It rests on 5 seeds and 40 questions; each seed is compared with its own untrained model. With 95 %"
    )


@pytest.mark.parametrize(
    ("study", "outcome", "texts"),
    [
        (GRPO, IMPROVEMENT, "What this study could not have seen: a true gain below about 7.4 (5.8 to 17.6) points"),
        (GRPO, IMPROVEMENT, "Not covered is rare collapse: if training collapsed for one seed in five, 33 % of studies"),
        (gained("grpo", *LOST), HARM, "grpo does harm, compared with the untrained model: -20.0 points"),
        (ALIKE, NO_DIFFERENCE, "differ by less than 2 points ... The 90 % interval lies inside ±2 points"),
        (SEEDS_VARY, OPEN, "no evidence either way ... settle it: more seeds ... a gain of 2.5 points, as measured"),
        (SEEDS_VARY, OPEN, "a true gain of 2 points at 80 % power takes about"),
        (QUESTIONS_VARY, OPEN, "more questions, for most of the chance lies in which were asked (40 so far)"),
        (QUESTIONS_VARY, OPEN, "That alone will not do for 2 points; with 20 seeds it takes about"),
        (gained("grpo", 0.2), NOT_JUDGED, "is not judged: one seed shows one run, and says nothing about the next"),
        (gained("grpo", 0.2), NOT_JUDGED, "This run only: +20.0 points, between +16.8 and +23.2 on other questions like these"),
        (TWO, NOT_JUDGED, "the gain passes the test, but two seeds are too few to call it an improvement"),
        (TWO, NOT_JUDGED, "would settle it: ... could not have seen: any gain at all, since two seeds are too few"),
        (one_question_off(2, before=0.9, after=0.5), HARM, ""),
        (gained("grpo", 0.2, 0.2, 0.2), NOT_JUDGED, "all 3 seeds gained exactly the same ... Measured: +20.0 points."),
        (gained("grpo", 0.0, 0.0, spread=0.0), NOT_JUDGED, "a difference of exactly 0, as if nothing had been trained"),
        (arm("grpo", before=[[0.5]] * 2, after=[[0.5], [0.6]]), NOT_JUDGED, "one question shows no chance between questions"),
        (gained("grpo", *FIVE, config={}), NOT_JUDGED, "but what it is judged by was not declared before the runs"),
        (gained("grpo", *FIVE, finished=False), NOT_JUDGED, "no run of grpo has finished"),
        (CRASHED, IMPROVEMENT, "on 4 seeds ... Left out: seed 4 did not finish. If they are missing because training"),
        (arm("grpo", before=[None], after=[[0.5]]), NOT_JUDGED, "no run has both the evaluations that are needed"),
        (arm("grpo", before=[None], after=[[0.5]]), NOT_JUDGED, "seed 0 has no evaluation of its untrained model on test"),
        (gained("grpo", 0.2, 0.25, -0.2), OPEN, "on 3 seeds ... Seed 2 of grpo lies far from its siblings, at 25.0 %: look"),
        (gained("grpo", *FIVE, images=PAIRED), IMPROVEMENT, "40 questions on 20 images"),
        (changed(GRPO, lambda run: {"judge_version": "judge-2"}, seeds=[0]), IMPROVEMENT, ""),  # resumed after an update
        (other(GRPO, epoch=0, of=NEWER_JUDGE), NOT_JUDGED, OTHER_JUDGE),
        (other(GRPO, epoch=1, of=NEWER_JUDGE), NOT_JUDGED, OTHER_JUDGE),
        (other(TWO_EPOCHS, epoch=1, of=TWO_EPOCHS_NEWER, split="val"), NOT_JUDGED, OTHER_JUDGE),
        (INTACT, IMPROVEMENT, ""),
        (other(INTACT, epoch=0, of=BLANK), NOT_JUDGED, "the same questions were asked with different figures"),
    ],
)
def test_an_arm_against_its_untrained_models_is_judged_and_the_reason_said(study: Arm, outcome: Outcome, texts: str) -> None:
    verdict = the(study)
    assert verdict.outcome is outcome
    assert [text for text in texts.split(" ... ") if text not in text_of(verdict)] == []
    assert all(isinstance(text, Phrase) for text in (said(verdict, "headline"), *sentences(verdict)))  # for other languages


def test_an_untrained_model_on_other_data_is_refused_though_it_is_no_arm_of_the_report() -> None:
    untrained = gained("vanilla", *FIVE, data=OTHER_TEST).runs[0].run
    assert "the runs do not have the same test data" in text_of(the(changed(GRPO, lambda run: {"untrained": untrained})))


def test_what_has_no_chance_of_seeds_has_no_p_and_no_ends() -> None:
    one, alike = the(gained("grpo", 0.2)), the(gained("grpo", 0.2, 0.2, 0.2))
    assert all(map(math.isnan, (one.p_value, alike.p_value, alike.same_benchmark.low)))
    assert the(TWO).adjusted_p < 0.05


@pytest.mark.parametrize(("gains", "outcome"), [(FIVE, NOT_JUDGED), (LOST, HARM)])
def test_an_endpoint_chosen_after_the_runs_carries_no_improvement(gains: tuple[float, ...], outcome: Outcome) -> None:
    greedy = gained("grpo", *gains, config=declaring(setting="pass@1_t0.01"))
    assert the(greedy, endpoint=Endpoint(split="test", setting=SETTING, picked_by="val")).outcome is outcome


LATE = "The reference, sft, was chosen after the runs, so nothing here counts as an improvement over it."
LATE_GAIN = f"the gain passes the test, but the reference was chosen after the runs ... {LATE}"
OVER_SFT = "grpo is an improvement over sft ... The reference, sft, was declared by the runs before they started."
NOT_SFT = (
    "over the untrained model ... The runs declared sft as their reference; this is a comparison with the untrained model."
)


@pytest.mark.parametrize(
    ("gains", "declared", "reference", "outcome", "texts"),
    [
        (FIVE, None, "sft", NOT_JUDGED, LATE_GAIN),
        (LOST, None, "sft", HARM, LATE),
        (FIVE, "dapo", "sft", NOT_JUDGED, LATE_GAIN),
        (FIVE, "sft", "sft", IMPROVEMENT, OVER_SFT),
        (FIVE, "sft", "variant-sft", IMPROVEMENT, OVER_SFT),
        (FIVE, "sft", None, IMPROVEMENT, OVER_SFT),
        (FIVE, "sft", "vanilla", IMPROVEMENT, NOT_SFT),
    ],
)
def test_only_a_declared_reference_carries_an_improvement(
    gains: tuple[float, ...], declared: str | None, reference: str | None, outcome: Outcome, texts: str
) -> None:
    config = declaring(reference=declared)
    verdict = the(gained("grpo", *gains, config=config), gained("sft", *WEAK, config=config), reference=reference)
    assert verdict.outcome is outcome
    assert [text for text in texts.split(" ... ") if text not in text_of(verdict)] == []


def test_trained_arms_are_compared_without_pairs_by_welch() -> None:
    strong, weak = gained("grpo", *FIVE), gained("sft", *WEAK)
    (verdict,) = judged(records(strong, weak), reference="sft")
    assert verdict.arm == "grpo"
    assert verdict.difference is not None
    assert verdict.difference.seeds == (5, 3)
    a_arm, a_reference = 0.00125 / 5, 0.0025 / 3
    assert verdict.difference.variance_seeds == pytest.approx(a_arm + a_reference)
    assert verdict.difference.df_seeds == pytest.approx((a_arm + a_reference) ** 2 / (a_arm**2 / 4 + a_reference**2 / 2))
    assert "5 and 3 seeds" in text_of(verdict)
    assert the(strong, weak, reference="variant-sft").difference == verdict.difference


def test_a_reference_that_is_no_arm_is_refused_with_the_names_to_choose_from() -> None:
    with pytest.raises(ReportError, match=r"report.reference=sfd is no arm of these studies. Pass one of: vanilla, grpo, sft."):
        judged(records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05)), reference="sfd")
    twins = [gained(label, *FIVE, variant="twin") for label in ("grpo", "sft")]
    with pytest.raises(ReportError, match=r"report.reference=twin is the variant of 2 arms. Pass one of: vanilla, grpo, sft."):
        judged(records(*twins), reference="twin")


def test_the_family_is_every_arm_against_the_reference_and_holm_is_over_it() -> None:
    """A third arm with one seed has no p-value and makes no family larger."""
    grpo, sft, _ = verdicts = judged(records(gained("grpo", *FIVE), gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1)))
    assert [(verdict.arm, verdict.family) for verdict in verdicts] == [("grpo", 2), ("sft", 2), ("dapo", 2)]
    assert (grpo.adjusted_p, sft.adjusted_p) == pytest.approx((2 * grpo.p_value, sft.p_value))
    assert grpo.planning_level == 0.025
    assert "With 2 arms compared it counts as p < 0.001 (Holm's correction)." in text_of(grpo)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"judge": "judge-2"}, OTHER_JUDGE),
        ({"data": OTHER_TEST}, "do not have the same test data"),
        ({"prefix": "other"}, "not all asked the same questions"),
        ({"questions": 20}, "not all asked the same questions (20, 40 questions)"),
        ({"images": ["blank"] * 40}, "the same questions were asked with different figures"),
        ({"finished": False}, "no run of sft has finished"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused_with_the_reason(changes: dict[str, Any], text: str) -> None:
    verdict = the(gained("grpo", *FIVE), gained("sft", *WEAK, **changes), reference="sft")
    assert (verdict.outcome, verdict.difference) == (NOT_JUDGED, None)
    assert text in said(verdict, "headline")


def test_what_is_odd_about_either_side_of_a_comparison_is_said_and_refuses_nothing() -> None:
    more = gained("grpo", *FIVE, data={"train": "more", "val": "b", "test": "c"})
    strong = Arm(label="grpo", runs=more.runs, absent=(say("{run} was not passed to the report", run="s/grpo/seed-5"),))
    same = gained("sft", 0.0, 0.0, 0.0)
    weak = Arm(label="sft", runs=same.runs, absent=(say("{run} repeats seed {seed}", run="t/sft/seed-0", seed=0),))
    text = text_of(the(strong, weak, reference="sft"))
    assert "Left out: s/grpo/seed-5 was not passed to the report, t/sft/seed-0 repeats seed 0 (sft)." in text
    assert "On one side all seeds scored exactly the same" in text
    assert "The two sides were not trained on the same data" in text
    assert "Left out: s/grpo/seed-5 was not passed to the report." in text_of(the(strong))


def test_where_nothing_is_gained_an_improvement_is_rare_through_the_whole_of_it() -> None:
    """Sixty studies of three seeds: at 2.5 % each 1.5 are expected, and seven or more have a chance of 0.1 %."""
    generator = np.random.default_rng(11)
    level = generator.uniform(0.2, 0.8, size=40)
    found = 0
    for _ in range(60):
        before, after = (np.round(20 * np.clip(level + generator.normal(0, 0.1, size=(3, 40)), 0, 1)) / 20 for _ in range(2))
        found += the(arm("grpo", before=before, after=after)).outcome is IMPROVEMENT
    assert found < 7
