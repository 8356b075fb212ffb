"""What one arm scored on one split under one setting, by seed: the tidy records that tables and figures of accuracy are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.endpoint import Endpoint, for_selection
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation

BySeed = dict[int, Evaluation]
Pairs = Sequence[tuple[Evaluation, Evaluation]]  # (vanilla, trained) of each seed that has both


@dataclass(frozen=True, kw_only=True)
class Results:
    """The evaluations of the used runs of an arm; a run that has none is missing."""

    arm: Arm
    split: str
    setting: str
    endpoint: Endpoint  # its split and setting choose the epoch of each seed

    def at(self, epochs: Mapping[int, int | None]) -> BySeed:
        """Each seed at an epoch of its own, in order of seeds; None: nowhere."""
        found: BySeed = {}
        for run in sorted(self.arm.used, key=lambda run: run.run.seed):
            epoch = epochs[run.run.seed]
            if epoch is not None and (cell := (epoch, self.split, self.setting)) in run.evaluations:
                found[run.run.seed] = run.evaluations[cell]
        return found

    @property
    def vanilla(self) -> BySeed:
        """Before training."""
        return self.at({run.run.seed: VANILLA_EPOCH for run in self.arm.used})

    @property
    def selected_epochs(self) -> dict[int, int | None]:
        """The epoch that validation selected for each seed; None where it was never asked."""
        return {run.run.seed: selected_epoch(run, endpoint=self.endpoint) for run in self.arm.used}

    @property
    def selected(self) -> BySeed:
        """At the epoch that validation selected for each seed."""
        return self.at(self.selected_epochs)

    @property
    def last_epoch(self) -> int | None:
        """The last epoch at which every used run was evaluated; None where there is none."""
        epochs = [set(run.epochs(split=self.split, setting=self.setting)) for run in self.arm.used]
        return max(set.intersection(*epochs), default=None) if epochs else None

    @property
    def last(self) -> BySeed:
        """At the last epoch that all have."""
        return self.at(dict.fromkeys((run.run.seed for run in self.arm.used), self.last_epoch))

    @property
    def curves(self) -> list[list[float]]:
        """Accuracy by epoch of each run that was evaluated after training began."""
        return self.arm.curves(split=self.split, setting=self.setting)

    @property
    def num_evaluations(self) -> dict[int, int]:
        """How often each used run was evaluated after training began; one that ended early fewer times."""
        return {run.run.seed: len(run.epochs(split=self.split, setting=self.setting)) for run in self.arm.used}

    def gained(self, after: BySeed) -> Pairs:
        """What differences paired by seed are made of: (vanilla, `after`)."""
        before = self.vanilla
        return [(before[seed], evaluation) for seed, evaluation in after.items() if seed in before]


def results_of(
    records: Records, *, endpoint: Endpoint, setting: str | None = None, arms: Sequence[Arm] | None = None
) -> Iterator[Results]:
    """Every arm that is shown, or `arms`, on every split under every setting, or one."""
    for arm in records.shown if arms is None else arms:
        for split in records.splits():
            for name in records.settings() if setting is None else [setting]:
                yield Results(arm=arm, split=split, setting=name, endpoint=endpoint)


def selected_epoch(run: RunRecords, *, endpoint: Endpoint) -> int | None:
    """The epoch after training began at which the selecting split scored highest, the first of equals."""
    tried = run.over_epochs(split=endpoint.picked_by, setting=endpoint.setting)
    best = max(
        tried, key=lambda evaluation: for_selection(evaluation.accuracy()), default=None
    )  # max keeps the first of equals
    return None if best is None else best.epoch


def mean_accuracy(evaluations: BySeed) -> Interval:
    """Accuracy averaged over seeds."""
    return mean_interval([evaluation.accuracy() for evaluation in evaluations.values()])


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Each quantity of the runs averaged over seeds, with its 95 % t-interval."""
    return {name: mean_interval([run[name] for run in runs]) for name in (runs[0] if runs else ())}
