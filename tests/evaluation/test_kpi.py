"""Key figures by hand, and the page that shows how to add one."""

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import stats

from vlm_rl.commands.build import composed
from vlm_rl.evaluation.kpi import (
    Kpi,
    MinutesSaved,
    UncheckedShare,
    agreement_of,
    agreement_threshold,
    final_answer,
    final_answers,
    wilson_lower,
)

ROOT = Path(__file__).parents[2]


def samples(questions: dict[str, Sequence[str | None]], *, gold: str = "7") -> pa.Table:
    """By question the boxed answer of each sample, None for none; `gold` is right."""
    return pa.Table.from_pylist(
        [
            {
                "row_id": row,
                "sample": number,
                "response": "I give up." if answer is None else rf"So \boxed{{{answer}}}",
                "accuracy": float(answer is not None and final_answer(rf"\boxed{{{answer}}}") == gold),
                "finish_reason": "length" if answer is None else "stop",
                "response_length": 10,
            }
            for row, answers in questions.items()
            for number, answer in enumerate(answers)
        ]
    )


def unanimous(*, right: int, wrong: int) -> dict[str, Sequence[str | None]]:
    """Questions whose four samples agree."""
    return {f"r{i}": ["7"] * 4 for i in range(right)} | {f"w{i}": ["8"] * 4 for i in range(wrong)}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} and then \boxed{0.5}", "1/2"),
        (r"\boxed{\frac12}", "1/2"),
        (r"\boxed{ 1{,}000 }", "1000"),
        (r"\boxed{x = 3\text{ cm}}", "3"),
        (r"\boxed{2\sqrt{3}}", r"2\sqrt{3}"),
        (r"\boxed{}", None),
        (r"\boxed{7", None),
        ("7", None),
    ],
)
def test_equal_answers_are_spelled_alike(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_a_whole_column_gives_the_answers_of_its_texts_one_by_one() -> None:
    texts = [
        r"\boxed{7}", r"so \boxed{7.0}.", r"\\boxed{7}", r"\\\boxed{7}", r"\boxed{1} \boxed{2}", r"\boxed{\boxed{3}}", r"{ \boxed{4} }",
        r"\boxed {5}", r"\boxed{x_{1}}", r"\boxed{}", r"\boxed{6", r"boxed{6}", "a\n\\boxed{8\n}", r"\boxed{\frac12} boxed", "", "7",
        r"\fbox{\boxed{9}", r"\boxed{9}} }", r"\boxed{50\%}", "\u202e\\boxed{٣}", r"\boxed{a} \boxed{",
    ]  # fmt: skip
    assert final_answers(pa.chunked_array([texts[:5], texts[5:]])) == [final_answer(text) for text in texts]
    assert final_answers(pa.chunked_array([], pa.string())) == []


def test_agreement_is_the_share_of_samples_with_the_most_frequent_answer() -> None:
    table = samples(
        {
            "a": ["7", "7.0", "8", "9"],  # two of four, right
            "b": ["8", "8", "8", "7"],  # three of four, wrong
            "c": ["7", None, None, None],  # one of four: a missing answer agrees with nothing
            "d": [None] * 4,
            "e": ["8", "7", "7", "8"],  # a tie goes to the answer that came first
        }
    )
    for found in (agreement_of(table), agreement_of(table.take(np.random.default_rng(0).permutation(table.num_rows)))):
        assert found.share.tolist() == [0.5, 0.75, 0.25, 0.0, 0.5]
        assert found.is_right.tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(("right", "num"), [(0, 5), (18, 20), (25, 25)])
def test_the_lower_bound_is_wilsons(right: int, num: int) -> None:
    expected = stats.binomtest(right, num).proportion_ci(confidence_level=0.9, method="wilson").low  # 90 % two-sided
    assert wilson_lower(right, num=num) == pytest.approx(expected, abs=1e-12)


def test_a_few_right_answers_are_not_enough_to_leave_answers_unchecked() -> None:
    kpi = UncheckedShare(confidence=0.9, threshold=None)
    assert kpi(samples(unanimous(right=24, wrong=0))) == 0.0  # 24 / (24 + 2.706) = 0.899
    assert kpi(samples(unanimous(right=25, wrong=0))) == 1.0  # 25 / (25 + 2.706) = 0.902


def test_the_threshold_is_the_lowest_agreement_that_is_safe_enough() -> None:
    questions = unanimous(right=30, wrong=0)
    questions |= {f"s{i}": ["7", "7", "7", "8"] for i in range(30)}  # three of four, right
    questions |= {f"t{i}": ["8", "8", "7", "9"] for i in range(40)}  # two of four, wrong
    table = samples(questions)
    assert agreement_threshold(agreement_of(table), confidence=0.9) == 0.75
    assert UncheckedShare(confidence=0.9, threshold=None)(table) == pytest.approx(60 / 100)
    assert UncheckedShare(confidence=0.9, threshold=1.0)(table) == pytest.approx(30 / 100)
    assert UncheckedShare(confidence=0.97, threshold=None)(table) == 0.0
    assert math.isinf(agreement_threshold(agreement_of(table), confidence=0.97))


def test_minutes_saved_by_hand() -> None:
    unchecked = UncheckedShare(confidence=0.9, threshold=0.75)
    kpi = MinutesSaved(unchecked=unchecked, by_hand=5.0, to_check=1.0, for_a_slip=30.0)
    table = samples(
        {
            "a": ["7"] * 4,  # unseen and right: 0 minutes
            "b": ["8"] * 4,  # unseen and wrong: 30
            "c": ["7", "7", "8", "9"],  # checked and right: 1
            "d": ["8", "8", "7", "9"],  # checked and wrong: 1 + 5
        }
    )
    assert kpi(table) == pytest.approx(100 * (5 - (0 + 30 + 1 + 6) / 4))
    assert kpi(table) < 0


def test_without_a_question_nothing_is_defined_and_an_impossible_confidence_is_refused() -> None:
    unchecked = UncheckedShare(confidence=0.9, threshold=None)
    nothing = samples({"a": ["7"]}).slice(0, 0)
    assert math.isnan(unchecked(nothing))
    assert math.isnan(MinutesSaved(unchecked=unchecked, by_hand=1.0, to_check=1.0, for_a_slip=1.0)(nothing))
    with pytest.raises(ValueError, match="confidence=90"):
        UncheckedShare(confidence=90, threshold=None)


def test_the_report_has_both_and_takes_a_list_of_others() -> None:
    assert list(composed([], config_name="report").evaluation.kpi) == ["unchecked_share", "minutes_saved"]
    cfg = composed(["evaluation/kpi=[minutes_saved]"], config_name="report").evaluation.kpi
    kpi = instantiate(cfg.minutes_saved)
    assert isinstance(kpi, Kpi)
    assert (list(cfg), kpi.name, kpi.higher_is_better) == (["minutes_saved"], "time saved", True)


def test_the_example_of_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "kpi.md").read_text(encoding="utf-8")
    (code,), (config,) = (re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "yaml"))
    (tmp_path / "team_kpi.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    ((name, node),) = OmegaConf.create(config).items()
    built = instantiate(node)
    monkeypatch.delitem(sys.modules, "team_kpi")
    assert isinstance(built, Kpi)
    assert f"{name}.yaml" in page
    table = samples({"a": ["7", "8", None, "7"]})
    assert built(table) == 40 / 2
    assert type(built)(include_truncated=False)(table) == 30 / 2
    assert math.isnan(built(samples({"a": ["8"]})))
