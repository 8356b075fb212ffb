"""A run goes on only with its own config; a switch that came later, and is off, changes nothing."""

import pytest

from vlm_rl.commands.same_config import _differ


@pytest.mark.parametrize(
    ("before", "now", "differs"),
    [
        ({"lr": 1}, {"lr": 1}, False),
        ({"lr": 1}, {"lr": 2}, True),
        ({}, {"dataset.source.ordered_lists": False}, False),
        ({}, {"dataset.source.ordered_lists": True}, True),
        ({}, {"dataset.source.answer_pattern": None}, False),
        ({}, {"dataset.epochs": 0}, True),
        ({"dataset.source.ordered_lists": True}, {"dataset.source.ordered_lists": False}, True),
        ({"old": False}, {}, True),
    ],
)
def test_only_what_changes_the_run_differs(before: dict[str, object], now: dict[str, object], differs: bool) -> None:
    (key,) = before.keys() | now.keys()
    assert _differ(before, now, key) is differs
