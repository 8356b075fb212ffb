"""What the first page recommends, whom it names, and what it warns of: for the whole study, whatever the number of arms."""

import re
from typing import Any

import numpy as np
import pytest
from case_files import cases
from judged_studies import FIVE, changed, declaring, gained, judged, records
from test_decision import ALERT, LOSSES, OPEN, page_of, timed

from vlm_rl.reports.first_page.arms_in_words import few, name_of
from vlm_rl.reports.first_page.risks import exaggerated
from vlm_rl.reports.phrase import catalogue_of, in_language, say


@pytest.mark.parametrize("case", cases("first_page", "action"))
def test_one_action_is_recommended_with_its_reason_and_its_cost(case: dict[str, Any]) -> None:
    like = {key: case[key] for key in ("spread", "questions", "config") if key in case}
    like |= {"config": declaring(smallest_effect=case["delta"])} if "delta" in case else {}
    arms = [timed(gained(label, *gains, **like), 3600) for label, gains in case["arms"].items()]
    if case.get("config") == {}:  # `timed` gives each run a config of its own, which declares nothing here
        arms = [changed(arm, lambda run: {"config": {"trainer": {"devices": 1}}}) for arm in arms]
    assert case["said"] in page_of(*arms, smallest_effect=case.get("delta", 0.02), price_per_device_hour=2.0).action


@pytest.mark.parametrize("gains", [(0.05, -0.02), (0.03, 0.02), (-0.05, 0.02)])
def test_two_seeds_are_never_asked_for_more_than_a_third(gains: tuple[float, float]) -> None:
    page = page_of(gained("grpo", *gains))
    said = " ".join((page.action, *page.next_stage))
    assert said.count("one more seed") == 2 and "100,000" not in said and "second look" not in said


def test_seeds_of_a_reference_that_was_trained_are_planned_and_paid_for_too() -> None:
    config = declaring(reference="sft")
    short, full = (timed(gained("sft", *gains), 3600) for gains in ((0.0, 0.01), (0.0, 0.01, 0.02)))
    pages = [
        page_of(
            *(
                changed(arm, lambda run: {"config": run.run.config | config})
                for arm in (timed(gained("grpo", 0.02, 0.05, 0.0), 3600), sft)
            )
        )
        for sft in (short, full)
    ]
    assert pages[0].action.startswith("Train one more seed of supervised fine-tuning (sft), because three seeds")
    more = re.search(r"(\d+) more runs take ([\d.,]+) device hours", pages[1].next_stage[0])
    seeds = re.search(r"only with all (\d+) seeds", pages[1].next_stage[0])
    assert more and seeds and int(more[1]) == 2 * (int(seeds[1]) - 3) and float(more[2].replace(",", "")) == int(more[1])


NAMES = {"grpo": "RL with GRPO (grpo)", "sft": "supervised fine-tuning (sft)", "own": "own", "grpo_2": "grpo_2"}
NAMES |= {"reinforce_pp (lr-high)": "RL with REINFORCE++ (reinforce_pp, lr-high)", "a name of mine": "a name of mine"}


@pytest.mark.parametrize("label", NAMES)
def test_an_arm_has_a_name_in_plain_words_with_that_of_the_code_and_a_users_own_name_stays(label: str) -> None:
    algorithm = "grpo" if label == "a name of mine" else label.split(" ")[0]
    arm = changed(gained(label, 0.1), lambda run: {"algorithm": algorithm})
    assert name_of(arm) == NAMES[label]
    assert page_of(arm).verdicts[0].name == NAMES[label]
    assert page_of(arm).verdicts[0].arm == label  # what report.json knows it by


def test_lines_that_differ_only_in_the_arm_are_one_and_others_of_their_kind_are_counted() -> None:
    same = [say("{arm}: stop.", arm=f"a{place}") for place in range(5)]
    other = [say("{arm}: {share} % cut off.", arm=f"a{place}", share=place) for place in range(5)]
    assert list(few([*other[:3], *same])) == [*other[:3], "5 arms: stop."]
    assert list(few([same[0], *other, same[1]])) == [
        "a0, a1: stop.",
        "a0: 0 % cut off. The same holds, with other figures, for 4 more.",
    ]
    assert list(few([say("Alone."), same[0], same[0]])) == ["Alone.", "a0: stop."]
    far = [say("{arm}: {flag}", arm=f"a{place}", flag=say("Look at {arm}.", arm="sft")) for place in range(2)]
    assert list(few([*far, say("{arm}: {flag}", arm="a2", flag=say("Other data."))])) == [
        "a0, a1: Look at sft.",
        "a2: Other data.",
    ]


def test_twelve_arms_have_a_handful_of_lines_each_for_cost_risks_and_next_stage() -> None:
    gains = [FIVE] * 4 + [OPEN] * 6 + [LOSSES] * 2
    arms = [timed(gained(f"a{place}", *of_arm), 3600 * (1 + place)) for place, of_arm in enumerate(gains)]
    arms = [changed(arm, lambda run: {"alerts": (ALERT,) * (1 + run.run.seed)}) for arm in arms]
    page = page_of(*arms)
    assert max(map(len, (page.cost, page.risks, page.next_stage))) <= 5
    assert page.cost[0].startswith(
        "12 arms, 48 runs: 300 device hours together. A run takes from 1.00 device hours (a0) to 12.0 device hours (a11)"
    )
    assert "4 arms: alerts in 5 of 5 runs" in " ".join(page.risks) or "6 arms: alerts in 3 of 3 runs" in " ".join(page.risks)
    assert [line.split(":")[0] for line in page.next_stage][2:] == ["a10, a11"]
    assert len([risk for risk in page.as_json()["risks"] if "alerts in" in risk]) == 12  # a file has them one by one


NOTHING = (0.0, 0.05, -0.05, 0.05, -0.05)


@pytest.mark.parametrize("gains", [FIVE, LOSSES, OPEN, tuple(-gain for gain in OPEN), NOTHING, (0.2,), (-0.2,), (0.02, -0.06)])
def test_a_loss_is_never_called_a_gain_and_no_number_has_two_signs(gains: tuple[float, ...]) -> None:
    page = page_of(gained("grpo", *gains, spread=0.0 if gains == NOTHING else 0.1))
    said = [page.headline, page.action, *page.risks, *page.next_stage]
    japanese = [in_language(text, catalogue=catalogue_of("ja")) for text in said]
    measured = f"{abs(100 * np.mean(gains)):.1f}"
    if np.mean(gains) <= 0:
        assert not [text for text in said if re.search(rf"\bgain\b[^.]*\b{re.escape(measured)} points", text)]
        assert not [
            text for text in japanese if "上が" in text or re.search(rf"向上[^。]*{re.escape(measured)} ポイント", text)
        ]
    assert not [text for text in (*said, *japanese) if re.search(r"[-+−]{2}|下が[^。]*ポイント|ポイント[^。]*下が|-0\.0", text)]
    assert ("lower than that of" in page.action) == (gains == LOSSES)


def test_a_claimed_gain_near_what_the_design_finds_is_said_to_be_exaggerated_and_one_far_above_is_not() -> None:
    """Three seeds of 10, 12, 5 points on 40 questions, which find about 10 points; five seeds of 20 points find 7.4."""
    near, far, loss = (
        judged(records(gained("near", 0.1, 0.12, 0.05))),
        judged(records(gained("far", *FIVE))),
        judged(records(gained("loss", *LOSSES))),
    )
    (said,) = exaggerated(near[0])
    assert said.startswith(
        "near: the measured gain (+8.3 points) is probably larger than the true one. If the true gain is 2.0 points,"
    )
    assert said.values["factor"] > 2
    assert not [*exaggerated(far[0]), *exaggerated(loss[0])]
    assert said in page_of(gained("near", 0.1, 0.12, 0.05)).risks


def test_the_page_shows_the_action_under_the_headline(fake_page: str) -> None:
    assert fake_page.index("<h1>") < fake_page.index('class="action"') < fake_page.index('class="lead"')
