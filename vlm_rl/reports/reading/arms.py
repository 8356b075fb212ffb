"""Arms, the sets of runs that are equal but for the seed, with all that they measured. Reading and statistics lie elsewhere."""

from dataclasses import dataclass, field

from vlm_rl.evaluation.dynamics import LengthBins
from vlm_rl.evaluation.reflection import ReflectionRule, WholeWords
from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.json_lines import Record
from vlm_rl.reports.reading.rejudge import VerdictChanges
from vlm_rl.reports.reading.runs import Run
from vlm_rl.reports.reading.training import CompletionPlace

UNTRAINED_EPOCH = 0
MANY_ARMS = 3


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """One run and its measurements. Epoch 0 is the untrained model of the same seed."""

    run: Run
    evaluations: dict[tuple[int, str, str], Evaluation]  # (epoch, split, setting)
    training: tuple[Record, ...]  # one for each generation step, as in metrics.jsonl; counted again where texts are stored
    cost: tuple[Record, ...]
    alerts: tuple[Record, ...] | None  # None: no alerts.jsonl, so it is not known whether anybody watched
    length_bins: LengthBins | None = None  # of all training steps together; None without stored responses of its own
    aha: tuple[CompletionPlace, ...] = ()  # first right training responses with a reflection word
    stored_steps: tuple[int, ...] = ()  # generation steps whose completions could be read
    rule: ReflectionRule = field(default_factory=WholeWords)  # what its reflection words were counted by
    untrained: Run | None = None  # whose evaluations stand at epoch 0, wherever it lies; itself if it is untrained
    training_judged_again: VerdictChanges | None = None

    def epochs(self, *, split: str, setting: str) -> list[int]:
        """The epochs at which this run was evaluated, without the untrained one."""
        return sorted(e for e, s, name in self.evaluations if (s, name) == (split, setting) and e > UNTRAINED_EPOCH)

    def over_epochs(self, *, split: str, setting: str) -> list[Evaluation]:
        """Its evaluations after training began, in order of epochs."""
        return [self.evaluations[epoch, split, setting] for epoch in self.epochs(split=split, setting=setting)]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that differ in nothing but the seed."""

    label: str
    runs: tuple[RunRecords, ...]
    absent: tuple[
        Phrase, ...
    ] = ()  # runs of this arm that are not among `runs`: repeated seeds, and seeds that were not passed

    @property
    def used(self) -> tuple[RunRecords, ...]:
        """The runs that tables and means speak of: the finished ones, or all as long as none is finished."""
        return tuple(records for records in self.runs if records.run.finished) or self.runs

    @property
    def left_out(self) -> tuple[RunRecords, ...]:
        """Unfinished runs beside finished ones: listed and drawn, never averaged."""
        return tuple(records for records in self.runs if records not in self.used)

    @property
    def is_untrained(self) -> bool:
        """Whether this is the model before any training."""
        return all(records.run.is_untrained for records in self.runs)

    @property
    def is_evaluated_only(self) -> bool:
        """Whether this is what evaluate.py measured: no training of ours, and so no gain and no verdict."""
        return all(records.run.is_evaluated_only for records in self.runs)

    def last_epoch(self, *, split: str, setting: str) -> int | None:
        """The last epoch at which every used run was evaluated; None where there is none."""
        epochs = [set(records.epochs(split=split, setting=setting)) for records in self.used]
        return max(set.intersection(*epochs), default=None) if epochs else None

    def evaluated(self, *, epoch: int, split: str, setting: str) -> list[Evaluation]:
        """The evaluations of the used runs at one epoch, in order of seeds; runs without one are missing."""
        found = (records.evaluations.get((epoch, split, setting)) for records in self.used)
        return [evaluation for evaluation in found if evaluation is not None]


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that a report is made of: trained arms first, and what was odd on the way."""

    arms: tuple[Arm, ...]
    problems: tuple[str, ...]

    @property
    def trained(self) -> tuple[Arm, ...]:
        """The arms that learned something; the untrained model is their epoch 0."""
        return tuple(arm for arm in self.arms if not arm.is_untrained and not arm.is_evaluated_only)

    @property
    def has_many_arms(self) -> bool:
        """Whether three arms or more were trained: then each needs a panel of its own, and pairs need a table."""
        return len(self.trained) >= MANY_ARMS

    @property
    def shown(self) -> tuple[Arm, ...]:
        """The trained arms and what evaluate.py measured, or the untrained ones where nothing else is there."""
        return tuple(arm for arm in self.arms if not arm.is_untrained) or self.arms

    def splits(self) -> list[str]:
        """Every evaluated split, val before test before others."""
        splits = {split for arm in self.arms for records in arm.runs for _, split, _ in records.evaluations}
        return sorted(splits, key=lambda split: ({"val": 0, "test": 1}.get(split, 2), split))

    def settings(self) -> list[str]:
        """Every setting, in the paper's order: pass@8 first, then by falling temperature."""
        settings = {setting for arm in self.arms for records in arm.runs for _, _, setting in records.evaluations}
        return sorted(settings, key=lambda name: [-float(part) for part in name.removeprefix("pass@").split("_t")])
