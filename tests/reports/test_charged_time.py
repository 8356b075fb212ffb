"""What runs are charged for that shared a machine, by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_manifest
from hand_training import run_of

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.runs import read_run
from vlm_rl.reports.reading.starts import Start, starts_of
from vlm_rl.reports.tables.charged_time import STEPS, charged_hours, device_hours
from vlm_rl.reports.tables.cost_tables import cost_table, unknown_times

CPU = "Linux x86_64, 2 CPU cores, no GPU"
GPUS = "Linux x86_64, 16 CPU cores, NVIDIA H200"
ENDPOINT = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
ENTRY = {"time": "2026-11-30T10:00:00+00:00", "host": "a", "generation_steps": 0, "changed": {}}


def ran(
    seed: int, *, begin: float, minutes: float, host: str = "a", machine: str = CPU, vanilla: float = 0.0, **trainer: Any
) -> RunRecords:
    """A run that began after so many minutes and was at work for `minutes`, half of them evaluating, beside those of the vanilla model."""
    run = run_of(seed=seed)
    config = {"trainer": {"devices": 1} | trainer}
    starts = (Start(time=1e9 + 60 * begin, host=host, generation_steps=0),) if host else ()
    cost = [{"generation_steps": 0, "time/evaluation": 60 * vanilla}]
    cost += [{"generation_steps": step, STEPS[3]: 60 * minutes / 4, "time/evaluation": 60 * minutes / 4} for step in (1, 2)]
    return replace(run, cost=tuple(cost), run=replace(run.run, config=config, machine=machine, starts=starts))


def study(*runs: RunRecords) -> Records:
    return Records(arms=(Arm(label="grpo", runs=runs),), problems=())


def minutes_of(*runs: RunRecords) -> list[float]:
    hours = charged_hours(study(*runs))
    return [60 * hours[run.run.path] for run in runs]


def test_four_runs_side_by_side_are_charged_the_time_of_the_machine_and_not_four_times_as_much() -> None:
    """79 minutes of work in 22 minutes by the clock: alone from 20 to 22, two from 18 to 20, three from 17 to 18, else four."""
    lasted = (22, 20, 18, 17)
    charged = minutes_of(*(ran(seed, begin=0, minutes=each) for seed, each in enumerate(lasted)))
    last = 17 / 4
    assert charged == pytest.approx([last + 1 / 3 + 1 + 2, last + 1 / 3 + 1, last + 1 / 3, last])
    assert sum(charged) == pytest.approx(22)
    table = cost_table(study(*(ran(seed, begin=0, minutes=each) for seed, each in enumerate(lasted))), endpoint=ENDPOINT)
    assert 60 * 4 * table.rows[0]["device_hours"].estimate == pytest.approx(22)


@pytest.mark.parametrize(
    ("second", "charged"),
    [
        ({"begin": 10, "minutes": 10}, [10, 10]),  # one after the other
        ({"begin": 5, "minutes": 10}, [7.5, 7.5]),  # together for five minutes
        ({"begin": 5, "minutes": 10, "host": "b"}, [10, 10]),  # on another machine
        ({"begin": 5, "minutes": 10, "host": ""}, [10, 10]),  # nobody knows when
        ({"begin": 0, "minutes": 10, "vanilla": 5}, [7.5, 7.5]),  # its vanilla model, which is not charged, came first
        ({"begin": 5, "minutes": 10, "machine": GPUS}, [10, 10]),  # a card of its own
        ({"begin": 5, "minutes": 10, "machine": GPUS, "accelerator": "cpu"}, [7.5, 7.5]),  # the machine without its cards
        ({"begin": 5, "minutes": 10, "devices": "auto"}, [7.5, 7.5]),  # a machine without cards is one device
    ],
)
def test_only_time_that_was_shared_is_split(second: dict[str, Any], charged: list[float]) -> None:
    assert minutes_of(ran(0, begin=0, minutes=10), ran(1, **second)) == pytest.approx(charged)


def test_a_run_that_went_on_later_has_a_time_for_each_start() -> None:
    """Step 1 from minute 0, step 2 from minute 100, when another run was at work."""
    run = ran(0, begin=0, minutes=20)
    later = Start(time=1e9 + 6000, host="a", generation_steps=1)
    run = replace(run, run=replace(run.run, starts=(*run.run.starts, later)))
    assert minutes_of(run, ran(1, begin=50, minutes=10)) == pytest.approx([20, 10])
    assert minutes_of(run, ran(1, begin=100, minutes=10)) == pytest.approx([15, 5])


def test_unknown_times_are_said_where_runs_may_have_shared_a_machine() -> None:
    known, unknown, card = (
        ran(0, begin=0, minutes=10),
        ran(1, begin=0, minutes=10, host=""),
        ran(2, begin=0, minutes=9, machine=GPUS, host=""),
    )
    assert unknown_times(study(known, unknown, card)).startswith("When 1 of 3 runs were at work is not known:")
    assert [unknown_times(study(*runs)) for runs in ((known, card), (unknown,))] == ["", ""]
    assert "When 1 of 2 runs" in cost_table(study(known, unknown), endpoint=ENDPOINT).note
    assert device_hours(ran(0, begin=0, minutes=30, num_nodes=2, devices=3)) == pytest.approx(3)


def test_starts_are_read_from_the_manifest_and_a_history_that_is_none_is_no_start(tmp_path: Path) -> None:
    run = tmp_path / "study" / "variant" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None, history=[ENTRY, ENTRY | {"generation_steps": 7}])
    first, second = read_run(run).starts
    assert (first.host, first.time, second.generation_steps) == ("a", 1796032800.0, 7)
    for broken in (
        None,
        3,
        "x",
        [3],
        [{}],
        [ENTRY | {"time": "then"}],
        [ENTRY | {"host": 3}],
        [ENTRY, ENTRY | {"generation_steps": None}],
    ):
        assert starts_of(json.loads(json.dumps({"history": broken}))) == ()
