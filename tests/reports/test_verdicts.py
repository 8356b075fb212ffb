import math
from dataclasses import replace

import numpy as np
import pytest
from judged_studies import ENDPOINT, FIVE, SETTING, arm, gained, judged, records, run_records, shares

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.verdicts.family import ArmVerdict


def the(study: Records, *, endpoint: Endpoint | None = None, reference: str | None = None) -> ArmVerdict:
    (verdict,) = judged(study, endpoint=endpoint, reference=reference)
    return verdict


def text_of(verdict: ArmVerdict) -> str:
    return " ".join((verdict.headline, *verdict.sentences))


def test_a_steady_gain_is_an_improvement_with_both_intervals_by_hand() -> None:
    verdict = the(records(gained("grpo", *FIVE)))
    assert verdict.outcome is Outcome.IMPROVEMENT
    assert verdict.difference is not None
    assert verdict.difference.variance_seeds == pytest.approx(0.00125 / 5)
    # Questions respond by +-0.1: variance 0.01 * 40 / 39 over 40 questions, and seeds add no noise to single ones.
    assert verdict.difference.variance_questions == pytest.approx(0.01 / 39)
    t_4, t_39 = 2.7764451, 2.0226909
    assert verdict.same_benchmark.low == pytest.approx(0.2 - t_4 * math.sqrt(0.00025))
    assert verdict.new_questions.low == pytest.approx(0.2 - math.sqrt(t_4**2 * 0.00025 + t_39**2 * 0.01 / 39))
    assert verdict.headline == (
        "grpo is an improvement over the untrained model: +20.0 points "
        "(95 % interval +14.5 to +25.5, new seeds and new questions)."
    )


def test_every_verdict_says_what_it_rests_on_could_not_see_and_does_not_cover() -> None:
    said = text_of(the(records(gained("grpo", *FIVE))))
    assert "It rests on 5 seeds and 40 questions; each seed is compared with its own untrained model." in said
    assert "What this study could not have seen: a true gain below about 7.4 (5.8 to 17.6) points" in said
    assert "Not covered is rare collapse: if training collapsed for one seed in five, 33 % of studies with 5 seeds" in said


def test_every_sentence_can_be_said_in_another_language() -> None:
    study = records(gained("grpo", *FIVE), gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1))
    assert all(isinstance(said, Phrase) for verdict in judged(study) for said in (verdict.headline, *verdict.sentences))


def test_a_steady_loss_is_harm() -> None:
    verdict = the(records(gained("grpo", *(-gain for gain in FIVE))))
    assert verdict.outcome is Outcome.HARM
    assert "does harm, compared with the untrained model: -20.0 points" in verdict.headline


def test_a_narrow_interval_around_nothing_is_no_difference_that_matters() -> None:
    before, after = shares(gains=(0.0,) * 5, questions=400)
    for seed in range(5):
        after[seed, seed] += 0.05 * (-1) ** seed  # one question of 400: 0.0125 points
    verdict = the(records(arm("grpo", before=before, after=after)))
    assert verdict.outcome is Outcome.NO_DIFFERENCE
    assert "differ by less than 2 points" in verdict.headline
    assert "The 90 % interval lies inside ±2 points" in text_of(verdict)


def test_an_open_case_says_what_would_settle_it_for_the_effect_that_matters_and_the_one_measured() -> None:
    verdict = the(records(gained("grpo", 0.05, -0.05, 0.1, spread=0.0)))
    assert verdict.outcome is Outcome.OPEN
    said = text_of(verdict)
    assert "no evidence either way" in said
    assert "What would settle it: more seeds" in said
    assert "a true gain of 2 points at 80 % power takes about" in said
    assert "a gain of 3.3 points, as measured" in said


def test_where_questions_leave_more_to_chance_more_questions_are_asked_for() -> None:
    verdict = the(records(gained("grpo", 0.05, 0.05, 0.05, 0.05, 0.1, spread=0.3)))
    assert verdict.outcome is Outcome.OPEN
    said = text_of(verdict)
    assert "What would settle it: more questions, for most of the chance lies in which were asked (40 so far)." in said
    assert "That alone will not do for 2 points; with 20 seeds it takes about" in said


def test_one_seed_is_this_run_only() -> None:
    verdict = the(records(gained("grpo", 0.2)))
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert math.isnan(verdict.p_value)
    assert "one seed shows one run, and says nothing about the next" in verdict.headline
    assert "This run only: +20.0 points, between +16.8 and +23.2 on other questions like these" in text_of(verdict)
    assert (verdict.this_run_only.low, verdict.this_run_only.high) == pytest.approx((0.1676, 0.2324), abs=1e-4)


def test_two_seeds_are_computed_and_never_an_improvement() -> None:
    before, after = shares(gains=(0.4, 0.4), questions=400)
    after[0, 0] -= 0.05  # one question of 400, so that the seeds are not the same
    verdict = the(records(arm("grpo", before=before, after=after)))
    assert verdict.adjusted_p < 0.05
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert "two seeds are too few to call it an improvement" in verdict.headline
    assert "What this study could not have seen: any gain at all, since two seeds are too few" in text_of(verdict)
    worse = the(records(arm("grpo", before=after, after=before)))
    assert worse.outcome is Outcome.HARM


def test_seeds_without_spread_give_no_verdict_and_no_interval() -> None:
    verdict = the(records(gained("grpo", 0.2, 0.2, 0.2)))
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert "all 3 seeds gained exactly the same" in verdict.headline
    assert math.isnan(verdict.same_benchmark.low)
    untouched = the(records(gained("grpo", 0.0, 0.0, 0.0, spread=0.0)))
    assert "a difference of exactly 0, as if nothing had been trained" in untouched.headline


def test_an_endpoint_chosen_after_the_runs_carries_no_improvement() -> None:
    undeclared = the(records(gained("grpo", *FIVE, config={})))
    assert undeclared.outcome is Outcome.NOT_JUDGED
    assert "what it is judged by was not declared before the runs" in undeclared.headline
    greedy = {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"setting": "pass@1_t0.01"}}}}
    afterwards = Endpoint(split="test", setting=SETTING, picked_by="val")
    up, down = (gained("grpo", *(sign * gain for gain in FIVE), config=greedy) for sign in (1, -1))
    assert the(records(up), endpoint=afterwards).outcome is Outcome.NOT_JUDGED
    assert the(records(down), endpoint=afterwards).outcome is Outcome.HARM


def test_a_reference_chosen_after_the_runs_carries_no_improvement_and_a_declared_one_does() -> None:
    def against_sft(sign: int = 1, *, declared: str | None, reference: str | None) -> ArmVerdict:
        config = {"evaluation": {"scheme": {"endpoint": ENDPOINT | {"reference": declared}}}}
        strong, weak = (sign * gain for gain in FIVE), (0.0, 0.05, -0.05)
        study = records(gained("grpo", *strong, config=config), gained("sft", *weak, config=config))
        return next(verdict for verdict in judged(study, reference=reference) if verdict.arm == "grpo")

    late = against_sft(declared=None, reference="sft")
    assert late.outcome is Outcome.NOT_JUDGED
    assert "the gain passes the test, but the reference was chosen after the runs" in late.headline
    assert "The reference, sft, was chosen after the runs, so nothing here counts as an improvement over it." in text_of(late)
    assert against_sft(-1, declared=None, reference="sft").outcome is Outcome.HARM
    assert against_sft(declared="dapo", reference="sft").outcome is Outcome.NOT_JUDGED
    for asked in ("sft", "variant-sft", None):
        declared = against_sft(declared="sft", reference=asked)
        assert declared.headline.startswith("grpo is an improvement over sft")
        assert "The reference, sft, was declared by the runs before they started." in text_of(declared)
    vanilla = against_sft(declared="sft", reference="vanilla")
    assert vanilla.headline.startswith("grpo is an improvement over the untrained model")
    assert "The runs declared sft as their reference; this is a comparison with the untrained model." in text_of(vanilla)


def test_trained_arms_are_compared_without_pairs_by_welch() -> None:
    strong, weak = gained("grpo", *FIVE), gained("sft", 0.0, 0.05, -0.05)
    verdict = the(records(strong, weak), reference="sft")
    assert verdict.arm == "grpo"
    assert verdict.difference is not None
    assert verdict.difference.seeds == (5, 3)
    a_arm, a_reference = 0.00125 / 5, 0.0025 / 3
    assert verdict.difference.variance_seeds == pytest.approx(a_arm + a_reference)
    assert verdict.difference.df_seeds == pytest.approx((a_arm + a_reference) ** 2 / (a_arm**2 / 4 + a_reference**2 / 2))
    assert "5 and 3 seeds" in text_of(verdict)
    assert the(records(strong, weak), reference="variant-sft").difference == verdict.difference


def test_a_reference_that_is_no_arm_is_refused_with_the_names_to_choose_from() -> None:
    with pytest.raises(ReportError, match=r"report.reference=sfd is no arm of these studies. Pass one of: vanilla, grpo, sft."):
        judged(records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05)), reference="sfd")


def test_the_family_is_every_arm_against_the_reference_and_holm_is_over_it() -> None:
    """A third arm with one seed has no p-value and makes no family larger."""
    verdicts = judged(records(gained("grpo", *FIVE), gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1)))
    by_arm = {verdict.arm: verdict for verdict in verdicts}
    assert {verdict.family for verdict in verdicts} == {2}
    assert by_arm["grpo"].adjusted_p == pytest.approx(2 * by_arm["grpo"].p_value)
    assert by_arm["sft"].adjusted_p == pytest.approx(by_arm["sft"].p_value)
    assert by_arm["grpo"].planning_level == 0.025
    assert "With 2 arms compared it counts as p < 0.001 (Holm's correction)." in text_of(by_arm["grpo"])


def test_an_unfinished_run_is_dropped_by_name_in_the_sentence() -> None:
    whole = gained("grpo", *FIVE)
    crashed = replace(whole.runs[4], run=replace(whole.runs[4].run, finished=False))
    verdict = the(records(replace(whole, runs=(*whole.runs[:4], crashed))))
    assert verdict.seeds == (0, 1, 2, 3)
    assert "Left out: seed 4 did not finish. If they are missing because training went wrong" in text_of(verdict)


def test_an_arm_without_a_finished_run_is_not_judged() -> None:
    verdict = the(records(gained("grpo", *FIVE, finished=False)))
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert "no run of grpo has finished" in verdict.headline


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"judge": "judge-2"}, "judged by different versions of the judge (judge-1, judge-2)"),
        ({"data": {"train": "a", "val": "b", "test": "another"}}, "do not have the same test data"),
        ({"prefix": "other"}, "not all asked the same questions"),
        ({"questions": 20}, "not all asked the same questions (20, 40 questions)"),
        ({"images": ["blank"] * 40}, "the same questions were asked with different figures"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused_with_the_reason(changes: dict, reason: str) -> None:
    verdict = the(records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05, -0.05, **changes)), reference="sft")
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert verdict.difference is None
    assert reason in verdict.headline


def with_evaluations(whole: Arm, *, epoch: int, split: str, judge: str) -> Arm:
    """The arm whose evaluations at one epoch were judged by another judge."""
    changed = []
    for run in whole.runs:
        key = (epoch, split, SETTING)
        changed.append(
            replace(run, evaluations=run.evaluations | {key: replace(run.evaluations[key], judge_versions=(judge,))})
        )
    return replace(whole, runs=tuple(changed))


@pytest.mark.parametrize(("epoch", "split"), [(0, "test"), (1, "test")])
def test_answers_of_another_judge_on_one_side_are_refused_whatever_the_manifests_say(epoch: int, split: str) -> None:
    """A run that is resumed after an update has the new version in its manifest and its old evaluations on disk."""
    verdict = the(records(with_evaluations(gained("grpo", *FIVE), epoch=epoch, split=split, judge="judge-2")))
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert "judged by different versions of the judge (judge-1, judge-2)" in verdict.headline


def test_an_epoch_picked_among_evaluations_of_two_judges_is_refused() -> None:
    scores = [0.5] * 20
    runs = tuple(run_records(seed=seed, before=scores, after={1: (0.4, scores), 2: (0.5, scores)}) for seed in range(3))
    verdict = the(records(with_evaluations(Arm(label="grpo", runs=runs), epoch=1, split="val", judge="judge-2")))
    assert "judged by different versions of the judge (judge-1, judge-2)" in verdict.headline


def test_a_manifest_that_names_a_newer_judge_than_all_evaluations_refuses_nothing() -> None:
    whole = gained("grpo", *FIVE)
    resumed = replace(whole.runs[0], run=replace(whole.runs[0].run, judge_version="judge-2"))
    assert the(records(replace(whole, runs=(resumed, *whole.runs[1:])))).outcome is Outcome.IMPROVEMENT


def test_an_untrained_model_on_other_data_is_refused_though_it_is_no_arm_of_the_report() -> None:
    whole = gained("grpo", *FIVE)
    other = replace(whole.runs[0].run, algorithm="vanilla", data={"train": "a", "val": "b", "test": "another"})
    verdict = the(records(replace(whole, runs=tuple(replace(run, untrained=other) for run in whole.runs))))
    assert "the runs do not have the same test data" in verdict.headline


def test_an_untrained_model_that_was_shown_other_figures_is_refused() -> None:
    intact, blank = (gained("grpo", *FIVE, images=[f"{name}{number}" for number in range(40)]) for name in ("", "blank-"))
    key = (0, "test", SETTING)
    runs = [
        replace(run, evaluations=run.evaluations | {key: other.evaluations[key]})
        for run, other in zip(intact.runs, blank.runs, strict=True)
    ]
    assert the(records(intact)).outcome is Outcome.IMPROVEMENT
    refused = the(records(replace(intact, runs=tuple(runs))))
    assert refused.outcome is Outcome.NOT_JUDGED
    assert "the same questions were asked with different figures" in refused.headline


def test_runs_that_are_not_among_those_compared_are_named_in_the_sentence() -> None:
    strong = replace(gained("grpo", *FIVE), absent=(say("{run} was not passed to the report", run="s/grpo/seed-5"),))
    weak = replace(gained("sft", 0.0, 0.05, -0.05), absent=(say("{run} repeats seed {seed}", run="t/sft/seed-0", seed=0),))
    assert "Left out: s/grpo/seed-5 was not passed to the report." in text_of(the(records(strong)))
    said = text_of(the(records(strong, weak), reference="sft"))
    assert "Left out: s/grpo/seed-5 was not passed to the report, t/sft/seed-0 repeats seed 0 (sft)." in said


def test_other_training_data_is_a_flag_and_no_refusal() -> None:
    other = {"train": "more", "val": "b", "test": "c"}
    verdict = the(records(gained("grpo", *FIVE, data=other), gained("sft", 0.0, 0.05, -0.05)), reference="sft")
    assert verdict.difference is not None
    assert "The two sides were not trained on the same data" in text_of(verdict)


def test_a_run_far_from_its_siblings_is_flagged_and_kept() -> None:
    verdict = the(records(gained("grpo", 0.2, 0.25, -0.2)))
    assert verdict.seeds == (0, 1, 2)
    assert verdict.flags == ("Seed 2 of grpo lies far from its siblings, at 25.0 %: look at it before trusting a mean.",)


def test_questions_on_one_image_count_as_one() -> None:
    images = [f"image-{number // 2}" for number in range(40)]
    verdict = the(records(gained("grpo", *FIVE, images=images)))
    assert verdict.difference is not None
    assert verdict.difference.num_questions == 20
    assert "40 questions on 20 images" in text_of(verdict)


def test_an_arm_without_its_untrained_model_is_not_judged() -> None:
    lonely = Arm(label="grpo", runs=tuple(run_records(seed=seed, before=None, after={1: (0.5, [0.5])}) for seed in range(3)))
    verdict = the(records(lonely))
    assert verdict.outcome is Outcome.NOT_JUDGED
    assert "no run has both the evaluations that are needed" in verdict.headline
    assert "seed 0 has no evaluation of its untrained model on test" in text_of(verdict)


def test_one_side_whose_seeds_all_score_the_same_is_said() -> None:
    study = records(gained("grpo", *FIVE), gained("sft", 0.0, 0.0, 0.0))
    assert "On one side all seeds scored exactly the same" in text_of(the(study, reference="sft"))


def test_where_nothing_is_gained_an_improvement_is_rare_through_the_whole_of_it() -> None:
    """Sixty studies of three seeds: at 2.5 % each 1.5 are expected, and seven or more have a chance of 0.1 %."""
    generator = np.random.default_rng(11)
    level = generator.uniform(0.2, 0.8, size=40)
    found = 0
    for _ in range(60):
        before, after = (np.round(20 * np.clip(level + generator.normal(0, 0.1, size=(3, 40)), 0, 1)) / 20 for _ in range(2))
        found += the(records(arm("grpo", before=before, after=after))).outcome is Outcome.IMPROVEMENT
    assert found < 7
