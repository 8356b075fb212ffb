"""How long a generation step and an epoch take on so many ranks and servers, and what the next limit is.

    python benchmarks/scale_simulation.py                     # 7B and 72B on 1 to 512 GPUs, from worked-out costs (scale_costs.py)
    python benchmarks/scale_runs.py                           # costs measured here, predictions for 1, 2 and 4 processes, and real runs

Responses get lengths from a lognormal distribution. They are cut into mini-batches and micro-batches by the project's own functions, so
which rank has which rows, and which one waits, is what a run does. Not simulated: failures, other jobs on the network, how costs spread.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scale_costs import COSTS, GPUS_OF_A_NODE, PAPER, Costs, Machine, Pass, Workload, splits_of
from scale_cuts import batches_of, by_rank, cut, decode_steps, lengths_of

TOLD_IN_A_STEP = (
    4  # objects that all ranks tell each other: whether to stop, the completions and their places, what was not judged
)
POOLED_IN_A_STEP = 8  # sums over ranks besides those of updates: parity, metrics of the engine, statistics of the advantages
POOLED_IN_AN_UPDATE = 3  # counts of tokens, sums of the loss, which tensors have gradients
LEARNING = ("III log-probabilities", "IV update", "IV waiting", "IV between ranks")
SERVED = ("II sampling", "II adapter exchange", "evaluation")
STEPS = 2  # whose mean is an epoch's
SIZES = (1, 8, 16, 64, 128, 512)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Seconds of the parts of an epoch and of one step of it; its own seconds are fewer than all parts where servers overlap."""

    step: Mapping[str, float]
    parts: Mapping[str, float]
    seconds: float
    useful: float  # share of all devices' time that one device alone, fully busy, would need
    limit: str


class Simulation:
    """One workload with its costs on one machine."""

    def __init__(self, work: Workload, costs: Costs, machine: Machine, *, seed: int = 0) -> None:
        self.work, self.costs, self.machine, self._seed = work, costs, machine, seed

    def step(self, number: int, lengths: np.ndarray | None = None) -> dict[str, float]:
        """Seconds of the parts of a generation step; lengths are drawn where none are given."""
        work, costs, machine = self.work, self.costs, self.machine
        if lengths is None:
            lengths = lengths_of(work, count=work.num_responses, seed=[self._seed, number])
        own = by_rank(np.arange(len(lengths)), lengths, work, replace(machine, is_balanced=False))
        shares = np.array([len(rows) for rows in own])
        told = TOLD_IN_A_STEP * costs.tell + POOLED_IN_A_STEP * costs.latency
        scored = [
            self._seconds(cut(lengths, rows, work, max_tokens=work.forward_batch_tokens), costs.forward, 1) for rows in own
        ]
        return {
            "I data": machine.wall(shares / work.group_size * costs.encode),
            "II sampling": self._sampling([lengths[rows] for rows in own]),
            "II adapter exchange": self._adapter_exchange(),
            "III judge": machine.wall(shares * costs.judge),
            "III log-probabilities": work.passes * machine.wall(scored),
            **self._update(lengths, number),
            "records": costs.step + costs.record * len(lengths) + machine.message(told),
            "checkpoint": costs.checkpoint_bytes / costs.disk / work.checkpoint_every,
        }

    def _seconds(self, passes: list[int], one: Pass, num_gathers: int) -> float:
        """Of one rank; with FSDP2 its layers are gathered meanwhile, `num_gathers` times for each pass."""
        layers = self.costs.weight_bytes - self.costs.other_bytes if self.machine.is_sharded else 0.0
        gathering = num_gathers * self.machine.gather(layers, self.costs)
        return sum(max(one.seconds(tokens, is_asynchronous=self.costs.is_asynchronous), gathering) for tokens in passes)

    def _sampling(self, own: Sequence[np.ndarray]) -> float:
        """By servers, which get equally many responses of everything, or by each rank for its own queries."""
        if not self.machine.servers:
            return self.machine.wall(
                [self._written(lengths, len(lengths) / self.work.group_size, self.costs.decode) for lengths in own]
            )
        lengths, count = np.concatenate(own), self.machine.servers
        queries = len(lengths) / self.work.group_size / count
        return max(self._written(lengths[place::count], queries, self.costs.served) for place in range(count))

    def _written(self, lengths: np.ndarray, queries: float, decode: Pass) -> float:
        steps = decode_steps(lengths, slots=self.work.slots)
        writing = decode.seconds(int(lengths.sum()), calls=steps, is_asynchronous=self.costs.is_asynchronous)
        return writing + queries * self.work.prompt * self.costs.prompt

    def _adapter_exchange(self) -> float:
        """The first rank writes it, all servers read it at the same time."""
        costs, count = self.costs, self.machine.servers
        reading = max(costs.trained_bytes / costs.disk, count * costs.trained_bytes / costs.file_system)
        return costs.trained_bytes / costs.disk + reading + costs.load if count else 0.0

    def _update(self, lengths: np.ndarray, number: int) -> dict[str, float]:
        """All mini-batches: what ranks compute in the mean, how much longer the last one takes, and what they exchange."""
        work, costs, machine = self.work, self.costs, self.machine
        total, computed, batches = 0.0, 0.0, batches_of(work, step=number, seed=self._seed)
        for rows in batches:
            passes = [
                cut(lengths, own, work, max_tokens=work.micro_batch_tokens) for own in by_rank(rows, lengths, work, machine)
            ]
            most = max(map(len, passes)) if machine.is_sharded else 0  # ranks with fewer make empty forwards
            works = [self._seconds(own + [0] * (most - len(own)), costs.update, 2) + costs.optimizer for own in passes]
            total += machine.wall(works)
            computed += machine.wall([float(np.mean(works))] * machine.ranks)
        messages = costs.latency * (POOLED_IN_AN_UPDATE + costs.trained_tensors)
        gathered = machine.gather(costs.other_bytes, costs) if machine.is_sharded else 0.0
        between = machine.message(messages) + 2 * machine.gather(costs.trained_bytes, costs) + gathered
        return {"IV update": computed, "IV waiting": total - computed, "IV between ranks": len(batches) * between}

    def evaluation(self) -> float:
        """All splits once. Servers get them as one stream; ranks take whole batches of questions in turn, split by split."""
        work, drawn = self.work, list[np.ndarray]()
        for place, questions in enumerate(work.splits):
            sizes = [min(work.batch_rows, questions - start) for start in range(0, questions, work.batch_rows)]
            drawn += [
                lengths_of(work, count=size * work.samples, seed=[self._seed, place, batch, 1])
                for batch, size in enumerate(sizes)
            ]
        judging = self.costs.judge * sum(map(len, drawn)) / min(self.machine.ranks, len(drawn))
        if self.machine.servers:
            sampled = replace(work, group_size=work.samples)
            return Simulation(sampled, self.costs, self.machine)._sampling(drawn) + judging
        seconds, done = judging, 0
        for questions in work.splits:
            own = drawn[done : done + math.ceil(questions / work.batch_rows)]
            each = [self._written(lengths, len(lengths) / work.samples, self.costs.decode) for lengths in own]
            seconds += self.machine.wall([sum(each[rank :: self.machine.ranks]) for rank in range(self.machine.ranks)])
            done += len(own)
        return seconds

    def start(self) -> float:
        """Until the weights are read: DDP reads all of them on each rank, one rank of a machine after the other."""
        costs, ranks = self.costs, self.machine.ranks
        copies = 1 if self.machine.is_sharded else ranks
        of_machine = (
            costs.weight_bytes * min(copies, GPUS_OF_A_NODE) / (math.ceil(ranks / GPUS_OF_A_NODE) if copies == 1 else 1)
        )
        return max(of_machine / costs.disk, copies * costs.weight_bytes / costs.file_system)

    def epoch(self) -> Epoch:
        """With servers, sampling and evaluation go on while ranks learn; the longer of the two counts."""
        steps = [self.step(number) for number in range(STEPS)]
        step = {name: float(np.mean([each[name] for each in steps])) for name in steps[0]}
        parts = {name: self.work.steps_per_epoch * seconds for name, seconds in step.items()} | {
            "evaluation": self.evaluation()
        }
        sides = [parts]
        if (
            count := self.machine.servers
        ):  # an evaluation takes the slots that are free while the last responses of a step are written
            of_steps, of_evaluation = (seconds / count for seconds in self._busy())
            longer = max(0.0, of_evaluation - max(0.0, parts["II sampling"] - of_steps))
            served = {name: longer if name == "evaluation" else parts[name] for name in SERVED}
            sides = [served, {name: seconds for name, seconds in parts.items() if name not in SERVED}]
        longest = max(sides, key=lambda side: sum(side.values()))
        seconds = sum(longest.values())
        one = Simulation(self.work, self.costs, Machine(ranks=1)).step(0)
        learning = self.work.steps_per_epoch * sum(one[name] for name in LEARNING)
        useful = learning + sum(self._busy()) * (self.machine.devices_of_server if self.machine.servers else 1)
        return Epoch(
            step=step,
            parts=parts,
            seconds=seconds,
            useful=useful / (self.machine.devices * seconds),
            limit=max(longest, key=lambda name: longest[name]),
        )

    def _busy(self) -> tuple[float, float]:
        """Seconds of one engine, all of its slots full, for the steps of an epoch and for an evaluation."""
        work, costs = self.work, self.costs
        decode = costs.served if self.machine.servers else costs.decode
        token = decode.seconds(work.slots, calls=1, is_asynchronous=costs.is_asynchronous) / work.slots
        mean = float(lengths_of(work, count=10_000, seed=[0]).mean())
        steps, questions, prompt = work.steps_per_epoch, sum(work.splits), work.prompt * costs.prompt
        trained = steps * (work.num_responses * mean * token + work.queries * prompt)
        return trained, questions * (work.samples * mean * token + prompt)


def best(model: str, *, devices: int, is_balanced: bool) -> tuple[Machine, Epoch] | None:
    """The split of so many GPUs into ranks and servers with the shortest epoch."""
    machines = splits_of(model, devices=devices, is_balanced=is_balanced)
    found = [(machine, Simulation(PAPER, COSTS[model], machine).epoch()) for machine in machines]
    return min(found, key=lambda pair: pair[1].seconds, default=None)


def table(model: str, *, is_balanced: bool) -> list[str]:
    """Markdown: seconds of a step by part, of an evaluation and of an epoch."""
    shown = ("I data", "II sampling", "II adapter exchange", *LEARNING, "records", "checkpoint")
    lines = [f"| GPUs | ranks + servers | {' | '.join(shown)} | evaluation | epoch | useful | limit | start |"]
    lines.append("|---" * (len(shown) + 7) + "|")
    for devices in SIZES:
        found = best(model, devices=devices, is_balanced=is_balanced)
        if found is None:
            lines.append(f"| {devices} | does not fit |" + " |" * (len(shown) + 5))
            continue
        machine, epoch = found
        cells = [f"{epoch.step[name]:.1f}" for name in shown] + [f"{epoch.parts['evaluation']:.0f}", f"{epoch.seconds:.0f}"]
        more = [f"{100 * epoch.useful:.0f} %", epoch.limit, f"{Simulation(PAPER, COSTS[model], machine).start():.0f}"]
        lines.append(f"| {devices} | {machine.ranks} + {machine.servers} | {' | '.join(cells + more)} |")
    return lines


if __name__ == "__main__":
    for name in COSTS:
        for is_balanced in (False, True):
            rows = "by tokens" if is_balanced else "as they fall"
            print(
                f"\n{name}, worked out, not measured; rows of a mini-batch on ranks {rows}; seconds of a step, an evaluation, an epoch\n"
            )
            print("\n".join(table(name, is_balanced=is_balanced)))
