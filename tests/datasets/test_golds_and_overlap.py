"""Golds are judged once and remembered; what stands in two splits is counted."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vlm_rl.datasets import row_scan as scan
from vlm_rl.datasets.picture_check import Cache
from vlm_rl.datasets.row_scan import judged_golds, overlap
from vlm_rl.datasets.split_check import SplitCheck
from vlm_rl.rewards.gold_check import GoldCheck, check_golds
from vlm_rl.rewards.judge import Judge


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The golds that the judge is asked about, as it happens."""
    seen: list[str] = []

    def counted(judge: Judge, texts: Sequence[str]) -> GoldCheck:
        seen.extend(texts)
        return check_golds(judge, texts)

    monkeypatch.setattr(scan, "check_golds", counted)
    return seen


def test_each_fit_gold_is_judged_once_in_a_lifetime(judge: Judge, judged: list[str], tmp_path: Path) -> None:
    texts = ["7", "", "1/2", "7", "7", ""]
    first = judged_golds(texts, judge=judge, dataset="d", cache=Cache(folder=str(tmp_path))).unfit
    assert (first, sorted(judged)) == ({""}, ["", "1/2", "7"])
    judged.clear()
    again = judged_golds([*texts, "8"], judge=judge, dataset="d", cache=Cache(folder=str(tmp_path))).unfit
    assert (again, judged) == ({""}, ["", "8"])  # what failed is asked again: the judge may have been out of time


def test_another_version_of_the_judge_judges_anew(
    judge: Judge, judged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder=str(tmp_path))
    judged_golds(["7"], judge=judge, dataset="d", cache=cache)
    monkeypatch.setattr(scan, "JUDGE_VERSION", "another")
    judged_golds(["7"], judge=judge, dataset="d", cache=cache)
    assert judged == ["7", "7"]


def test_golds_that_hold_more_than_the_answer_are_named_with_a_command_that_cuts_them(judge: Judge, tmp_path: Path) -> None:
    texts = ["The answer is 34", "7", "x" * 500 + " is 3"]
    found = judged_golds(texts, judge=judge, dataset="d", cache=Cache(folder=str(tmp_path)))
    (sentence,) = found.notices
    assert found.unfit == {"x" * 500 + " is 3"}  # too long to be an answer
    assert "d: 1 answers hold a number among other things, such as 'The answer is 34'" in sentence
    (typed,) = shlex.split(sentence.split("cut it out: ")[1].split(". docs")[0])
    override = OverridesParser.create().parse_override(typed)
    assert re.findall(override.value(), "The answer is 34") == ["34"]
    assert judged_golds(["7"], judge=judge, dataset="d", cache=Cache(folder=str(tmp_path))).notices == ()


def split(keys: str) -> SplitCheck:
    """Rows told apart by a letter."""
    none = np.array([], dtype=np.int64)
    return SplitCheck(
        num_rows=len(keys),
        problems=(),
        keys=tuple(key.encode() for key in keys),
        ids=(),
        places=none,
        text_tokens=none,
        image_tokens=none,
        solution_tokens=none,
    )


def test_training_loses_what_validation_or_test_have() -> None:
    """Of a b a c d, c is in val and d in test; a stands twice; c is in val and test."""
    found = overlap({"train": split("abacd"), "val": split("cx"), "test": split("dcd")}, dataset="set")
    assert (found.train_kept, found.train_left_out) == ((0, 1, 2), 2)
    assert found.sentences == (
        "set: 1 of 5 rows of train are repetitions of others.",
        "set: 1 of 3 rows of test are repetitions of others.",
        "set: 1 problems are in both val and test.",
        "set: 2 training rows are also in val or test and left out.",
    )
    found = overlap({"train": split("ab"), "val": split("c"), "test": split("")}, dataset="set")
    assert (found.train_kept, found.sentences) == ((0, 1), ())
