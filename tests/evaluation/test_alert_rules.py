"""Each rule on histories written by hand: silent just inside its limit, speaking just past it, with value, limit and advice."""

import math
from typing import Any

import pytest
from hydra.utils import instantiate

from vlm_rl.arm_hash import arm_of
from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.checks import checked_algorithm
from vlm_rl.commands.resolvers import variant
from vlm_rl.evaluation import alert_rules as rules
from vlm_rl.evaluation.alert_watch import AlertRule, Watch
from vlm_rl.evaluation.judge_alerts import AnswersNotJudged

WINDOW = 2


@pytest.fixture(scope="module")
def default_watch() -> Watch:
    """What a run is watched by when nothing is said."""
    watch: Watch = instantiate(composed([]).alerts)
    return watch


def history(metric: str, *numbers: float | None) -> list[dict[str, Any]]:
    """The lines of a run that logged one metric."""
    return [{"event": "train", "generation_steps": step, metric: number} for step, number in enumerate(numbers, start=1)]


def steps(rule: AlertRule, lines: list[dict[str, Any]], *, quiet: int = 0) -> list[int]:
    """When a rule speaks."""
    return [alert.generation_steps for alert in Watch(rules={"rule": rule}, quiet=quiet).alerts(lines)]


# (rule, metric, values, what it says at the last of them); at the one before, the mean is at its limit or there is none.
SPEAKING: list[tuple[AlertRule, str, list[float], str]] = [
    (rules.NonFiniteUpdate(), "policy/skipped_updates", [0, 2], "2 updates of this step"),
    (
        rules.NoRewardVariance(window=WINDOW, largest_share=0.9),
        "train/frac_reward_zero_std",
        [0.7, 0.8, 1.0],  # 0.75, then 0.9
        "90% of the groups",
    ),
    (
        rules.LengthExplosion(window=WINDOW, largest_factor=2.0),
        "response_length/mean",
        [100, 120, 200, 240, 241],  # 110 at first, then 220, then 240.5
        "have 240 tokens, 2.2 times the 110 of the first ones (limit 2 times)",
    ),
    (
        rules.Truncation(window=WINDOW, largest_share=0.25),
        "response_length/truncated",
        [0.25, 0.25, 0.5],  # 0.25, then 0.375
        "38% of the responses of the last 2 steps were cut off (limit 25%)",
    ),
    (rules.KlExplosion(window=WINDOW, largest=0.5), "policy/kl", [0.25, 0.75, 0.5], "is 0.625 nats a token (limit 0.5)"),
    (
        rules.EntropyCollapse(window=WINDOW, smallest_share=0.1),
        "policy/entropy",
        [2.0, 2.0, 0.2, 0.2, 0.1],  # a tenth, then less
        "is 0.15 nats a token, after 2 in the first ones (limit 10% of that)",
    ),
    (
        rules.EntropyExplosion(window=WINDOW, largest_rise=1.0),
        "policy/entropy",
        [1.0, 1.0, 2.0, 2.0, 2.5],
        "is 2.25 nats a token, after 1 in the first ones (limit +1)",
    ),
    (rules.JudgeFailures(window=WINDOW, largest_share=0.01), "judge/timed_out", [0.0, 0.02, 0.04], "timed out on 3.0%"),
    (
        AnswersNotJudged(largest=1),
        "train/not_judged",
        [0, 1, 3],
        "3 responses of this step were not judged and count as wrong (limit 1)",
    ),
    (rules.UnreadableAnswers(window=WINDOW, largest_share=0.5), "judge/unparsable", [0.5, 0.5, 0.75], "62% of the responses"),
    (
        rules.EngineMismatch(window=1, largest=0.05),
        "rollout/logprob_difference_mean",
        [0.05, 0.06],
        "0.06 nats a token (limit 0.05)",
    ),
    (
        rules.LanguageDrift(window=WINDOW, largest_rise=0.05),
        "language/foreign_share",
        [0.5, 0.5, 0.5, 0.5, 0.75],  # the change counts, not the level: a rise of 0, then 0.125
        "62.5% of the letters of the last 2 steps are neither Latin nor Greek, after 50.0%",
    ),
]


@pytest.mark.parametrize(("rule", "metric", "numbers", "says"), SPEAKING, ids=[type(rule).__name__ for rule, *_ in SPEAKING])
def test_a_rule_speaks_past_its_limit_and_not_at_it(rule: AlertRule, metric: str, numbers: list[float], says: str) -> None:
    (alert,) = Watch(rules={"mine": rule}, quiet=10).alerts(history(metric, *numbers))
    assert (alert.generation_steps, alert.name) == (len(numbers), "mine")
    assert says in alert.message


def test_the_share_of_groups_alerts_at_its_limit_because_all_groups_may_be_the_limit() -> None:
    rule = rules.NoRewardVariance(window=1, largest_share=1.0)
    assert steps(rule, history("train/frac_reward_zero_std", 0.99, 1.0)) == [2]


def test_reward_collapse_compares_with_the_best_earlier_level() -> None:
    rule = rules.RewardCollapse(window=2, largest_loss=0.5, largest_fall_in_errors=0.0)
    # Means of two: 0.5, 0.75, 0.625, 0.5, 0.5, 0.25. Half of the best, 0.375, is the limit.
    lines = history("train/reward", 0.25, 0.75, 0.75, 0.5, 0.5, 0.5, 0.0)
    assert steps(rule, lines) == [7]
    assert "is 0.250, after 0.750 at its best (limit 0.375)" in str(rule(lines))


def test_a_fall_that_the_spread_between_steps_explains_is_no_collapse() -> None:
    falls = history("train/reward", 0.5, 1.0, 0.25, 0.0)  # means 0.75 and 0.125; variances 1/8 and 1/32
    error = math.sqrt((1 / 8 + 1 / 32) / 2)  # 0.2795: the fall of 0.625 is 2.236 of them
    assert math.isclose(rules.difference_error([0.5, 1.0], [0.25, 0.0]), error)
    narrow, wide = (rules.RewardCollapse(window=2, largest_loss=0.3, largest_fall_in_errors=z) for z in (2.2, 2.3))
    assert (narrow(falls) is None, wide(falls) is None) == (False, True)


def test_a_collapse_is_seen_where_rewards_are_penalties() -> None:
    rule = rules.RewardCollapse(window=1, largest_loss=0.5, largest_fall_in_errors=0.0)
    assert steps(rule, history("train/reward", -0.5, -0.75, -0.76)) == [3]


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_was_not_measured_is_no_alert(default_watch: Watch, missing: float | None) -> None:
    lines = [{"event": "train", "generation_steps": step} for step in range(1, 30)]
    empty = [line | dict.fromkeys({metric for _, metric, *_ in SPEAKING} | {"train/reward"}, missing) for line in lines]
    watch = Watch(rules={name: rule for name, rule in default_watch.rules.items() if name != "non_finite_update"}, quiet=0)
    assert watch.alerts(lines) == watch.alerts(empty) == []


def test_values_logged_now_and_then_are_averaged_where_they_are() -> None:
    rule = rules.EngineMismatch(window=3, largest=1.0)
    assert steps(rule, history("rollout/logprob_difference_mean", 5.0, None)) == []  # fewer lines than the window
    assert "differ by 2 nats" in str(rule(history("rollout/logprob_difference_mean", 9.0, None, 1.0, 3.0)))


def test_a_rule_speaks_again_only_after_its_condition_has_been_gone_for_some_steps() -> None:
    truncation = rules.Truncation(window=1, largest_share=0.5)
    wrong = "0111010011" + "0001"
    lines = history("response_length/truncated", *map(float, wrong))
    assert steps(truncation, lines, quiet=0) == [step + 1 for step, bit in enumerate(wrong) if bit == "1"]
    assert steps(truncation, lines, quiet=1) == [2, 6, 9, 14]
    assert steps(truncation, lines, quiet=2) == [2, 9, 14]  # gone for one step (5) is too short, for two (7, 8) is not
    assert steps(truncation, lines, quiet=3) == [2, 14]
    assert steps(truncation, lines, quiet=4) == [2]


@pytest.mark.parametrize("quiet", [0, 10])
def test_step_by_step_the_same_alerts_come_as_over_the_whole_history(quiet: int) -> None:
    lines = [
        {"generation_steps": step, "train/reward": math.sin(step / 7) + 1, "response_length/truncated": (step * 37 % 11) / 11}
        for step in range(1, 80)
    ]
    watch = Watch(
        rules={
            "collapse": rules.RewardCollapse(window=3, largest_loss=0.2, largest_fall_in_errors=1.0),
            "truncation": rules.Truncation(window=1, largest_share=0.8),
        },
        quiet=quiet,
    )
    whole = watch.alerts(lines)
    stepwise = [alert for end in range(1, len(lines) + 1) for alert in watch.alerts(lines[:end], first=end - 1)]
    assert whole == stepwise
    assert {alert.name for alert in whole} == {"collapse", "truncation"}


def test_the_default_watches_for_everything_and_none_for_skipped_updates_alone(default_watch: Watch) -> None:
    kinds = {type(rule) for rule in default_watch.rules.values()}
    assert kinds == {rules.RewardCollapse} | {type(rule) for rule, *_ in SPEAKING}
    assert list(composed(["alerts=none"]).alerts.rules) == ["non_finite_update"]


@pytest.mark.slow
def test_the_advised_reward_terms_can_be_added_as_advised() -> None:
    """With the score at EOS a response that is cut off has none, and these terms are refused."""
    advice = [str(rule(history(metric, *numbers))) for rule, metric, numbers, _ in SPEAKING]
    terms = ("length", "truncation")
    advised = [text for text in advice if any(f"reward term `{term}`" in text for term in terms)]
    (place,) = {word for text in advised for word in text.split() if "score_at=" in word}
    added = [f"+reward/term@reward.terms.{term}={term}" for term in terms]
    assert len(advised) == 2
    checked_algorithm("train", composed([*added, place]))
    checked_algorithm("train", composed([*added, "algorithm=grpo"]))  # which has no such key
    with pytest.raises(ValueError, match=r"reward\.terms\.length is against long responses"):
        checked_algorithm("train", composed(added))


@pytest.mark.slow
def test_alerts_and_tables_change_no_result_and_so_neither_arm_nor_folder() -> None:
    overrides = ["alerts.rules.truncation.largest_share=0.5", "~alerts.rules.kl_explosion", "completion_tables.rows=0"]
    changed = composed(overrides)
    assert changed.alerts.rules.truncation.largest_share == 0.5
    assert "kl_explosion" not in changed.alerts.rules
    assert arm_of(plain(changed)) == arm_of(plain(composed([]))) != arm_of(plain(composed(["algorithm=grpo"])))
    assert variant(overrides) == "default"
