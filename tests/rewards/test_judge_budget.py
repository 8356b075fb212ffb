"""The budget of a batch: where it ends follows from the answers and their order, and from nothing else."""

import logging
import random
from collections.abc import Iterator

import pytest

from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.rewards.judge_batch import ATTEMPTS, Batch, Failure

C, W, U, T = Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE, Verdict.TIMED_OUT
LIMIT, LOST, OVER = Failure.LIMIT, Failure.LOST, Failure.OVER_BUDGET
BOMBS = [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{8^{9^{9^{9}}}}", r"\boxed{7^{9^{9^{9}}}}"]


def run(outcomes: str, *, known: str = "", max_limits: float, draw: random.Random, num_workers: int = 1) -> list[object]:
    """What a batch makes of tasks that are all worked on by `num_workers` and finish in a random order.

    `outcomes`: for each task L (limit), X (lost once, then a value) or a digit, its value. `known`: their places as digits.
    """
    result = {place: LIMIT if letter == "L" else letter for place, letter in enumerate(outcomes)}
    batch: Batch[str] = Batch(len(outcomes), known={int(place): result[int(place)] for place in known}, max_limits=max_limits)
    running: list[int] = []
    lost: set[int] = set()
    while batch.num_open:
        while len(running) < num_workers and batch.has_next():
            running.append(batch.start())
        place = running.pop(draw.randrange(len(running)))
        if outcomes[place] == "X" and place not in lost:
            lost.add(place)
            batch.lose(place)
        else:
            batch.finish(place, result[place])
    return list(batch.results())


def test_tasks_after_the_last_limit_of_the_budget_are_not_run() -> None:
    draw = random.Random(0)
    assert run("1L2L345", max_limits=2, draw=draw) == ["1", LIMIT, "2", LIMIT, OVER, OVER, OVER]
    assert run("1L2L345", max_limits=3, draw=draw) == ["1", LIMIT, "2", LIMIT, "3", "4", "5"]
    assert run("LL", max_limits=2, draw=draw) == [LIMIT, LIMIT]
    assert run("", max_limits=2, draw=draw) == []


def test_what_is_known_is_not_run_and_counts_like_others() -> None:
    batch: Batch[str] = Batch(4, known={0: LIMIT, 2: "2"}, max_limits=2)
    assert [batch.start(), batch.has_next(), batch.start(), batch.has_next()] == [1, True, 3, False]
    batch.finish(3, "3")
    batch.finish(1, LIMIT)
    assert batch.results() == [LIMIT, LIMIT, OVER, OVER]


def test_the_end_of_the_budget_depends_on_neither_the_workers_nor_what_is_known() -> None:
    draw = random.Random(1)
    seen = set()
    for _ in range(2000):
        outcomes = "".join(draw.choices("L1X", k=draw.randrange(10)))
        max_limits = draw.randrange(1, 4)
        known = "".join(str(place) for place in range(len(outcomes)) if draw.random() < 0.4)
        alone = run(outcomes, max_limits=max_limits, draw=draw)
        assert run(outcomes, known=known, max_limits=max_limits, draw=draw, num_workers=draw.randrange(1, 5)) == alone
        seen.add(OVER in alone)
    assert seen == {True, False}


def test_a_task_is_lost_after_its_last_attempt_and_costs_no_budget() -> None:
    batch: Batch[str] = Batch(2, known={}, max_limits=1)
    for _ in range(ATTEMPTS):
        assert batch.start() == 0
        batch.lose(0)
    assert batch.start() == 1
    batch.put_back(1)  # as often as it does not even start
    assert batch.start() == 1
    batch.finish(1, "1")
    assert batch.results() == [LOST, "1"]


@pytest.fixture(scope="module")
def poor() -> Iterator[Judge]:
    """A judge that affords two bombs a batch."""
    with Judge(num_workers=2, timeout_s=0.2, budget_s=0.4) as made:
        yield made


@pytest.mark.slow
def test_a_judge_that_remembers_decides_as_one_that_does_not(poor: Judge, caplog: pytest.LogCaptureFixture) -> None:
    """As a run that was stopped and resumed."""
    easy = [r"\boxed{\sqrt{4}}", r"\boxed{2.0}"]  # the second needs no worker, and so no budget
    step = [BOMBS[0], easy[0], BOMBS[0], BOMBS[1], *easy, BOMBS[2], r"\boxed{\sqrt{9}}"]
    expected = [T, C, T, T, C, C, T, T]
    assert poor.judge([easy[0], BOMBS[2]], ["2"] * 2) == [C, T]
    assert poor.num_not_judged == 0
    assert caplog.messages == []
    assert poor.judge(step, ["2"] * 8) == expected
    assert poor.num_not_judged == 2  # the third bomb, remembered though it is, and the root of 9
    assert "2 of 8 responses were not judged" in caplog.messages[0]
    with Judge(num_workers=1, timeout_s=0.2, budget_s=0.4) as resumed:
        assert resumed.judge(step, ["2"] * 8) == expected
        assert resumed.num_not_judged == 2
    assert poor.judge(step[-1:], ["2"]) == [W]  # not remembered as timed out
    assert poor.num_not_judged == 0


@pytest.mark.slow
def test_an_answer_that_is_killed_at_each_attempt_is_judged_the_next_time(
    poor: Judge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    pool = poor._pool
    with monkeypatch.context() as patch:
        patch.setattr(poor, "_pool", Killed())
        assert poor.judge([r"\boxed{\sqrt{16}}"] * 2, ["4"] * 2) == [T, T]
    assert poor.num_not_judged == 2
    assert "something killed the judge's processes" in caplog.messages[0]
    assert poor._pool is pool
    assert poor.judge([r"\boxed{\sqrt{16}}"], ["4"]) == [C]
    assert poor.num_not_judged == 0


class Killed:
    """A pool whose workers are killed at each attempt."""

    def map(self, function: object, tasks: list[object], **settings: object) -> list[Failure]:
        """Loses every task."""
        return [LOST] * len(tasks)


def test_a_budget_below_the_limit_of_one_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"budget_s >= timeout_s .* reward.judge.budget_s=300"):
        Judge(timeout_s=2.0, budget_s=1.0)
