"""When a run ends by its own training accuracy: numbers worked out by hand."""

import re
import runpy
from pathlib import Path

import pytest

from vlm_rl.evaluation.bottleneck_rule import BottleneckRule

ROOT = Path(__file__).parents[2]
RISING_THEN_FLAT = (0.50, 0.60, 0.66, 0.665, 0.655, 0.669, 0.60)


def rule(**changes: float) -> BottleneckRule:
    return BottleneckRule(**({"gain": 0.01, "epochs": 3, "first_epoch": 1} | changes))  # type: ignore[arg-type]


def test_the_best_of_the_last_epochs_is_held_against_the_best_before_them() -> None:
    """Epochs 4 to 6: the best is 66.9 %, 0.9 points above the 66 % of epoch 3. Epochs 3 to 5 still have the 66 % itself."""
    assert rule().end(RISING_THEN_FLAT, every_epochs=1) == 6
    assert not rule().is_met(RISING_THEN_FLAT[:5])
    assert (
        rule(gain=0.009).end(RISING_THEN_FLAT, every_epochs=1) == 7
    )  # 66.9 is a gain of exactly 0.9; 4 to 7 hold 66.9 no more


@pytest.mark.parametrize(
    ("accuracies", "changes", "end"),
    [
        ((0.5, 0.5, 0.5), {}, None),  # no epoch lies before the last three
        ((0.5, 0.5, 0.5, 0.5), {}, 4),
        ((0.5, 0.5, 0.5, 0.51), {}, None),  # a gain of exactly one point is one, whatever the rounding: 0.51 - 0.5 < 0.01
        ((0.5, 0.503, 0.506, 0.509), {}, 4),  # 0.9 points in three epochs
        ((0.5, 0.504, 0.508, 0.512, 0.516, 0.520), {}, None),  # 0.4 points an epoch are 1.2 in three
        ((0.6, 0.3, 0.4, 0.5, 0.6, 0.7), {"epochs": 4}, 5),  # it fell and would have risen again: a run is lost
        ((0.6, 0.3, 0.4, 0.5, 0.6, 0.7), {"epochs": 5}, None),
        ((0.5, 0.5, 0.9, 0.9), {"epochs": 1}, 2),
        ((0.5, 0.5, 0.9, 0.9), {"epochs": 1, "first_epoch": 3}, 4),
    ],
)
def test_the_end_of_a_run_by_hand(accuracies: tuple[float, ...], changes: dict[str, float], end: int | None) -> None:
    assert rule(**changes).end(accuracies, every_epochs=1) == end


def test_a_run_ends_only_after_an_epoch_that_is_evaluated() -> None:
    """The rule is met after epoch 4, and not after 6, where a gain of 5 points is seen; it is met again after 9."""
    accuracies = (0.5, 0.5, 0.5, 0.5, 0.55, 0.55, 0.55, 0.55, 0.55)
    assert rule().end(accuracies, every_epochs=1) == rule().end(accuracies, every_epochs=2) == 4
    assert rule().end(accuracies, every_epochs=3) == 9


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gain": 0.0}, "bottleneck.gain=0.0 is no gain of accuracy"),
        ({"gain": 1.0}, "bottleneck.gain=1.0 is no gain of accuracy"),
        ({"epochs": 0}, "bottleneck.epochs=0: give 1 or more"),
        ({"first_epoch": 0}, "bottleneck.first_epoch=0: give 1 or more"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        rule(**changes)


def test_a_rule_that_can_end_no_run_early_is_refused() -> None:
    rule().check_epochs(5, every_epochs=1)
    with pytest.raises(ValueError, match=r"after epoch 4 at the earliest, and dataset\.epochs=4"):
        rule().check_epochs(4, every_epochs=1)
    with pytest.raises(ValueError, match=r"after epoch 6 at the earliest, and dataset\.epochs=6"):
        rule().check_epochs(6, every_epochs=3)
    with pytest.raises(ValueError, match="after epoch 8 at the earliest"):
        rule(first_epoch=8).check_epochs(8, every_epochs=1)


@pytest.mark.slow
def test_the_page_shows_what_the_simulation_prints(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "benchmarks" / "bottleneck_rule.py"), run_name="__main__")
    table = capsys.readouterr().out
    assert table.count("\n") == 22 and table in (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
