"""The costs that benchmarks/scale_simulation.py needs, from runs of one process of the tiny model and from messages between two."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from scale_costs import Costs, Pass, Workload
from scale_cuts import batches_of, cut, decode_steps
from scipy.optimize import nnls

from vlm_rl.rewards.judge import Judge

if TYPE_CHECKING:
    from scale_runs import Run

    from vlm_rl.commands.build import Experiment

REPEATS = 50
LARGE = 2**24  # bytes


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Between two processes."""

    latency: float
    tell: float
    link: float
    contention: float  # how much longer a process computes beside another one
    trained_tensors: int = 0
    trained_bytes: int = 0


def _built(words: Sequence[str]) -> "Experiment":
    from vlm_rl.commands.build import build, composed  # imports all libraries of a run, which the simulator does without

    return build(composed([*words]))


def of_prompts(words: Sequence[str]) -> int:
    """Tokens of a prompt, the mean of 32 training rows."""
    experiment = _built(words)
    rows = [experiment.dataset.train[place] for place in range(32)]
    return round(float(experiment.encoder.batch(rows, indices=range(32), step=0).attention_mask.sum(1).double().mean()))


def _seconds(call: object) -> float:
    assert callable(call)
    call()
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def _exchange(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    small, large, box = torch.zeros(256), torch.zeros(LARGE // 4), [None, None]
    latency = _seconds(lambda: dist.all_reduce(small))
    whole = _seconds(lambda: dist.all_reduce(large))
    tell = _seconds(lambda: dist.all_gather_object(box, list(range(32))))
    contention = _contention(rank)
    if rank == 0:
        Path(folder, "told").write_text(f"{latency} {tell} {LARGE / max(whole - latency, 1e-9)} {contention}")
    dist.destroy_process_group()


def _contention(rank: int) -> float:
    """A layer's work by one process and by both at a time, in turn, so that other work on the machine meets both."""
    layer, tokens = (
        torch.nn.Sequential(torch.nn.Linear(128, 512), torch.nn.SiLU(), torch.nn.Linear(512, 128)),
        torch.randn(1024, 128),
    )
    taken: dict[int, list[float]] = {1: [], 2: []}
    for count in (1, 2) * REPEATS:
        dist.barrier()
        begun = time.perf_counter()
        for _ in range(10) if rank < count else ():
            layer(tokens).sum().backward()
        taken[count].append(time.perf_counter() - begun)
    return float(np.median(taken[2]) / np.median(taken[1]))


def messages() -> Exchange:
    """Two processes of this machine, by gloo. An all-reduce of n bytes takes 2 n / link x (ranks - 1) / ranks, so n / link for two."""
    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_exchange, args=(folder,), nprocs=2)
        latency, tell, link, contention = map(float, Path(folder, "told").read_text().split())
    sizes = [parameter.nbytes for parameter in _built(["experiment=smoke"]).policy.trained_parameters]
    return Exchange(
        latency=latency, tell=tell, link=link, contention=contention, trained_tensors=len(sizes), trained_bytes=sum(sizes)
    )


def costs_per_unit(counts: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Non-negative costs of each kind of unit that explain the seconds; every row counts by its relative error."""
    weights = 1 / np.array(seconds)
    scale = np.array(counts, dtype=float).max(axis=0).clip(min=1e-12)  # so that costs of unlike sizes are found equally well
    found, _ = nnls(np.array(counts) / scale * weights[:, None], np.ones(len(weights)))
    return [float(cost) for cost in found / scale]


def fitted(runs: Sequence[tuple["Run", Workload]], *, exchange: Exchange) -> Costs:
    """One row for each step but the first of each run."""
    counts: dict[str, list[list[float]]] = {"I": [], "II": [], "III": [], "IV": [], "rest": []}
    seconds: dict[str, list[float]] = {name: [] for name in counts}
    judge = _judge([pair for run, _ in runs for pair in run.answered])
    for run, work in runs:
        parts = run.seconds | {"III": run.seconds["III"] - judge * work.num_responses}
        parts |= {"rest": (run.whole - sum(run.seconds.values())).clip(min=1e-3)}
        for place, lengths in enumerate(run.lengths[1:]):
            row = _counted(lengths, work, step=place + 1)
            for name in counts:
                counts[name].append(row[name])
                seconds[name].append(float(parts[name][place]))
    found = {name: costs_per_unit(counts[name], seconds[name]) for name in counts}
    disk = float(np.median([run.checkpoint_bytes / run.checkpoint for run, _ in runs]))
    decode, prompt = Pass(fixed=found["II"][1], token=found["II"][2]), found["II"][0]
    return Costs(
        prompt=prompt,
        decode=decode,
        served=decode,
        forward=Pass(fixed=found["III"][0], token=found["III"][1]),
        update=Pass(fixed=found["IV"][0], token=found["IV"][1]),
        optimizer=found["IV"][2],
        encode=found["I"][0],
        judge=judge,
        record=found["rest"][1],
        step=found["rest"][0],
        latency=exchange.latency,
        tell=exchange.tell,
        link=exchange.link,
        network=exchange.link,
        disk=disk,
        file_system=disk,
        load=0.0,
        weight_bytes=0.0,
        other_bytes=0.0,
        trained_bytes=exchange.trained_bytes,
        trained_tensors=exchange.trained_tensors,
        checkpoint_bytes=float(np.median([run.checkpoint_bytes for run, _ in runs])),
        is_asynchronous=False,
    )


def _counted(lengths: np.ndarray, work: Workload, *, step: int) -> dict[str, list[float]]:
    """How much of each kind a step of one process does."""
    rows, tokens = np.arange(len(lengths)), int(lengths.sum())
    scored = cut(lengths, rows, work, max_tokens=work.forward_batch_tokens) * work.passes
    learned = [
        size for batch in batches_of(work, step=step) for size in cut(lengths, batch, work, max_tokens=work.micro_batch_tokens)
    ]
    return {
        "I": [work.queries],
        "II": [work.queries * work.prompt, decode_steps(lengths, slots=work.slots), tokens],
        "III": [len(scored), sum(scored)],
        "IV": [len(learned), sum(learned), work.num_minibatches],
        "rest": [1, len(lengths)],
    }


def _judge(answered: Sequence[tuple[str, str]]) -> float:
    """Seconds for an answer, by a judge that has seen none of them."""
    judge = Judge()
    begun = time.perf_counter()
    judge.judge([response for response, _ in answered], [answer for _, answer in answered])
    return (time.perf_counter() - begun) / len(answered)
