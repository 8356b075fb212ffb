"""benchmarks/scale_simulation.py on numbers worked out by hand, and how it reads what runs left behind."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
FREE = {
    **dict.fromkeys(("prompt", "optimizer", "encode", "judge", "record", "step", "latency", "tell", "load"), 0.0),
    **dict.fromkeys(("weight_bytes", "other_bytes", "trained_bytes", "checkpoint_bytes"), 0.0),
    **dict.fromkeys(("link", "network", "disk", "file_system"), 1.0),
}


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of the benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        import scale_costs
        import scale_cuts
        import scale_fit
        import scale_runs
        import scale_simulation

        yield SimpleNamespace(
            costs=scale_costs, cuts=scale_cuts, fit=scale_fit, runs=scale_runs, simulation=scale_simulation.Simulation
        )


def costs(bench: SimpleNamespace, **changed: Any) -> Any:
    """A second for each token of an update, and nothing else."""
    nothing, a_second = bench.costs.Pass(fixed=0, token=0), bench.costs.Pass(fixed=0, token=1)
    free = {"decode": nothing, "served": nothing, "forward": nothing, "update": a_second, "trained_tensors": 0}
    return bench.costs.Costs(**(FREE | free | {"is_asynchronous": False} | changed))


def workload(bench: SimpleNamespace, **changed: Any) -> Any:
    """Four queries, one mini-batch, two responses written at a time."""
    small = {"queries": 4, "prompt": 10, "mean": 5, "longest": 20, "num_minibatches": 1, "micro_batch_tokens": 30, "slots": 2}
    return replace(bench.costs.PAPER, **(small | {"splits": (4,), "batch_rows": 1, "samples": 2} | changed))


LENGTHS = np.array([10, 2, 4, 6])


def step(bench: SimpleNamespace, *, of_costs: Any = None, of_work: Any = None, **machine: Any) -> dict[str, float]:
    """Seconds of the parts of a step with LENGTHS."""
    work, given = of_work or workload(bench), of_costs or costs(bench)
    found: dict[str, float] = bench.simulation(work, given, bench.costs.Machine(**machine)).step(0, LENGTHS)
    return found


def test_slots_that_are_free_take_the_next_response(bench: SimpleNamespace) -> None:
    # one slot writes 10, the other one 2, 4 and then 6
    assert bench.cuts.decode_steps(LENGTHS, slots=2) == 12
    sampling = costs(bench, decode=bench.costs.Pass(fixed=3, token=1))
    assert step(bench, of_costs=sampling, ranks=1)["II sampling"] == 12 * 3 + 22
    assert step(bench, of_costs=replace(sampling, is_asynchronous=True), ranks=1)["II sampling"] == 36


def test_two_ranks_wait_for_the_one_with_more_tokens(bench: SimpleNamespace) -> None:
    # at most 30 tokens with padding: each response is a micro-batch of its own, as 4 with 10 would be 40, and 2 with 6 would be 32
    parts = step(bench, ranks=2)
    assert parts["IV update"] == ((20 + 14) + (12 + 16)) / 2
    assert parts["IV waiting"] == 34 - 31


def test_tokens_that_are_evened_out_make_the_wait_shorter(bench: SimpleNamespace) -> None:
    # queries by tokens, the longest first: 20 | 16, 14 -> 20 | 30 -> 12 to the first: 32 | 30
    parts = step(bench, ranks=2, is_balanced=True)
    assert parts["IV update"] + parts["IV waiting"] == pytest.approx(32)


def test_processes_share_cores(bench: SimpleNamespace) -> None:
    machine = bench.costs.Machine(ranks=3, cores=2)
    # three at 2/3 of a core until 1.5, then two alone on a core each for one more second, then one for another
    assert machine.wall([1, 2, 3]) == pytest.approx(3.5)
    assert bench.costs.Machine(ranks=2, cores=2, contention=1.5).wall([2, 2]) == pytest.approx(3)
    assert bench.costs.Machine(ranks=3).wall([1, 2, 3]) == 3


def test_an_all_reduce_is_two_gathers_and_a_message_for_each_tensor(bench: SimpleNamespace) -> None:
    sent = costs(bench, trained_bytes=8.0, trained_tensors=2, latency=1.0, link=4.0)
    # 2 x 8 bytes x 3/4 at 4 bytes a second; (3 sums + 2 tensors) x 2 doublings
    assert step(bench, of_costs=sent, ranks=4)["IV between ranks"] == pytest.approx(3 + 10)
    assert step(bench, of_costs=sent, ranks=1)["IV between ranks"] == 0


def test_fsdp_gathers_twice_in_an_update_on_every_rank(bench: SimpleNamespace) -> None:
    # layers of 120 bytes: 60 s a gather on two ranks, longer than any micro-batch. Two micro-batches on each rank: 2 x 2 x 60
    parts = step(bench, of_costs=costs(bench, weight_bytes=120.0), ranks=2, is_sharded=True)
    assert parts["IV update"] + parts["IV waiting"] == 240
    # on four ranks one each, of 90 s
    four = step(bench, of_costs=costs(bench, weight_bytes=120.0), ranks=4, is_sharded=True)
    assert four["IV update"] + four["IV waiting"] == 180


def test_servers_share_responses_and_read_the_adapter(bench: SimpleNamespace) -> None:
    served = costs(bench, served=bench.costs.Pass(fixed=1, token=0), trained_bytes=6.0, load=2.0, file_system=3.0)
    parts = step(bench, of_costs=served, ranks=1, servers=2)
    assert parts["II sampling"] == 10  # 10 and 4 on one, 2 and 6 on the other, all at once
    assert (
        parts["II adapter exchange"] == 6 + 6 + 2
    )  # written; two read 12 bytes at 3 a second, each no faster than 1; taken in


def test_ranks_take_whole_batches_of_questions_in_turn(bench: SimpleNamespace) -> None:
    constant = workload(bench, mean=5, spread=1e-9, splits=(3, 1))
    sampling = costs(bench, decode=bench.costs.Pass(fixed=1, token=0), judge=1.0)
    # batches of one question: two responses at a time, 5 steps each. Three and one on one rank; two, then one, on two ranks
    for ranks, seconds in ((1, 20 + 8), (2, 15 + 4)):
        machine = bench.costs.Machine(ranks=ranks)
        assert bench.simulation(constant, sampling, machine).evaluation() == seconds


def test_more_ranks_never_make_a_larger_part_of_their_time_useful(bench: SimpleNamespace) -> None:
    paper = replace(bench.costs.PAPER, micro_batch_tokens=1)  # each response by itself
    shares = []
    for ranks in (1, 2, 4, 16, 64):
        parts = bench.simulation(paper, costs(bench), bench.costs.Machine(ranks=ranks)).step(0)
        shares.append(parts["IV update"] / (parts["IV update"] + parts["IV waiting"]))
    assert shares[0] == 1 and all(after <= before for before, after in pairwise(shares))


def test_on_as_many_ranks_even_tokens_are_at_least_as_fast(bench: SimpleNamespace) -> None:
    paper = replace(bench.costs.PAPER, micro_batch_tokens=1)
    for ranks in (2, 8):
        fallen, even = (
            bench.simulation(paper, costs(bench), bench.costs.Machine(ranks=ranks, is_balanced=balanced)).step(0)
            for balanced in (False, True)
        )
        assert even["IV update"] + even["IV waiting"] < fallen["IV update"] + fallen["IV waiting"]


def test_costs_are_found_again_from_what_they_make(bench: SimpleNamespace) -> None:
    counts = [[1, 100], [2, 900], [3, 150], [1, 4000]]
    seconds = [0.5 * calls + 0.002 * tokens for calls, tokens in counts]
    assert bench.fit.costs_per_unit(counts, seconds) == pytest.approx([0.5, 0.002])


def test_a_run_is_read_from_what_it_left(bench: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "completions").mkdir()
    (tmp_path / "checkpoints" / "step-000001").mkdir(parents=True)
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {"trainer": {"devices": 2}}}))
    times = [f"time/{name}" for name in bench.runs.TIMES.values()]
    lines = [{"event": "train"} | dict.fromkeys(times, second) for second in (9.0, 1.0, 2.0)]
    lines += [{"event": "evaluation", "time/evaluation": 7.5}]
    (tmp_path / "cost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    hashes = tmp_path / "checkpoints" / "step-000001" / "hashes.json"
    hashes.write_text("12345")
    for number, end in ((1, 100.0), (2, 105.0), (3, 108.0)):
        table = pa.table({"response_length": [number, 2], "response": ["a", "b"], "answer": ["c", "d"]})
        file = tmp_path / "completions" / f"step-{number:06d}.parquet"
        pq.write_table(table, file)
        bench.runs.os.utime(file, (end, end))
    bench.runs.os.utime(hashes, (101.5, 101.5))
    run = bench.runs.read_run(tmp_path)
    assert (run.ranks, run.checkpoint, run.checkpoint_bytes, run.evaluation) == (2, 1.5, 5, 7.5)
    assert run.whole.tolist() == [3.5, 3.0] and run.seconds["II"].tolist() == [1.0, 2.0]
    assert [lengths.tolist() for lengths in run.lengths] == [[1, 2], [2, 2], [3, 2]]
    assert run.answered == [("a", "c"), ("b", "d")]


def test_a_table_of_worked_out_costs_can_be_made(bench: SimpleNamespace) -> None:
    machine = bench.costs.splits_of("72B", devices=16, is_balanced=True)[-1]
    assert (machine.ranks, machine.servers, machine.devices) == (12, 1, 16)
    epoch = bench.simulation(bench.costs.PAPER, bench.costs.COSTS["72B"], machine).epoch()
    assert 0 < epoch.useful < 1 and epoch.limit in epoch.parts and epoch.seconds > max(epoch.step.values())
