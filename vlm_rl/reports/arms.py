"""From runs to arms, the sets of runs that are equal but for the seed, with all that they measured. No statistics here."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.evaluations import Evaluation, EvaluationReader
from vlm_rl.reports.json_lines import JsonLines, Record, read_json_lines
from vlm_rl.reports.recount import recount_reflection
from vlm_rl.reports.runs import Run, RunsFound, untrained_folder

UNTRAINED_EPOCH = 0


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """One run and its measurements. Epoch 0 is the untrained model of the same seed."""

    run: Run
    evaluations: dict[tuple[int, str, str], Evaluation]  # (epoch, split, setting)
    training: tuple[Record, ...]  # the "train" lines of metrics.jsonl, one for each generation step
    cost: tuple[Record, ...]
    alerts: tuple[Record, ...]

    def epochs(self, *, split: str, setting: str) -> list[int]:
        """The epochs at which this run was evaluated, without the untrained one."""
        return sorted(e for e, s, name in self.evaluations if (s, name) == (split, setting) and e > UNTRAINED_EPOCH)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that differ in nothing but the seed."""

    label: str
    runs: tuple[RunRecords, ...]

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
        return tuple(arm for arm in self.arms if not arm.is_untrained)

    @property
    def shown(self) -> tuple[Arm, ...]:
        """The trained arms, or the untrained ones where nothing else is there."""
        return self.trained or self.arms

    def splits(self) -> list[str]:
        """Every evaluated split, val before test before others."""
        splits = {split for arm in self.arms for records in arm.runs for _, split, _ in records.evaluations}
        return sorted(splits, key=lambda split: ({"val": 0, "test": 1}.get(split, 2), split))

    def settings(self) -> list[str]:
        """Every setting, in the paper's order: pass@8 first, then by falling temperature."""
        settings = {setting for arm in self.arms for records in arm.runs for _, _, setting in records.evaluations}
        return sorted(settings, key=lambda name: [-float(part) for part in name.removeprefix("pass@").split("_t")])


def read_records(found: RunsFound, *, reflection: ReflectionRule | None) -> Records:
    """Read what the runs measured. With `reflection` the words are counted again in every completion, else taken as logged."""
    reader = EvaluationReader()
    problems = list(found.problems)
    by_arm: dict[str, list[RunRecords]] = {}
    for run in found.runs:
        siblings = by_arm.setdefault(run.arm, [])
        twin = next((records.run for records in siblings if records.run.seed == run.seed), None)
        if twin is None:
            siblings.append(_read_run(run, reader=reader, reflection=reflection, problems=problems))
        else:
            problems.append(f"{run.name} repeats {twin.name} (same arm and seed) and is left out.")
    labels = arm_labels([runs[0].run for runs in by_arm.values()])
    arms = [Arm(label=label, runs=tuple(runs)) for label, runs in zip(labels, by_arm.values(), strict=True)]
    arms.sort(key=lambda arm: (arm.is_untrained, arm.runs[0].run.algorithm == "sft", arm.label))
    return Records(arms=tuple(arms), problems=(*problems, *reader.problems, *_mixtures(arms)))


def arm_labels(firsts: Sequence[Run]) -> list[str]:
    """The shortest name that tells arms apart: algorithm, then variant, then study, then the arm's hash."""
    names: tuple[Callable[[Run], str], ...] = (
        lambda run: run.algorithm,
        lambda run: f"{run.algorithm} ({run.variant})",
        lambda run: f"{run.algorithm} ({run.study}/{run.variant})",
    )
    labels = [f"{run.algorithm} ({run.study}/{run.variant}, {run.arm[:8]})" for run in firsts]
    for name in reversed(names):
        count = Counter(map(name, firsts))
        labels = [name(run) if count[name(run)] == 1 else label for run, label in zip(firsts, labels, strict=True)]
    return labels


def _read_run(run: Run, *, reader: EvaluationReader, reflection: ReflectionRule | None, problems: list[str]) -> RunRecords:
    untrained = untrained_folder(run)
    evaluations: list[Evaluation] = []
    if untrained is not None:
        evaluations += [e for e in reader.read_folder(untrained) if e.epoch == UNTRAINED_EPOCH]
    if untrained != run.path:
        evaluations += reader.read_folder(run.path)
    metrics, cost, alerts = (read_json_lines(run.path / name) for name in ("metrics.jsonl", "cost.jsonl", "alerts.jsonl"))
    problems += _problems((metrics, cost, alerts))
    training = tuple(record for record in metrics.records if record.get("event") == "train")
    return RunRecords(
        run=run,
        evaluations={(e.epoch, e.split, e.setting): e for e in evaluations},
        training=training if reflection is None else recount_reflection(training, run_folder=run.path, rule=reflection),
        cost=cost.records,
        alerts=alerts.records,
    )


def _problems(files: Iterable[JsonLines]) -> list[str]:
    return [problem for file in files for problem in file.problems]


def _mixtures(arms: Sequence[Arm]) -> list[str]:
    """What makes arms hard to compare: another judge, other data."""
    runs = [records.run for arm in arms for records in arm.runs]
    judges = sorted({run.judge_version for run in runs})
    found = [f"Runs were judged by different judge versions ({', '.join(judges)}); their accuracies are not comparable."] * (
        len(judges) > 1
    )
    for split in sorted({split for run in runs for split in run.data}):
        hashes = {(run.seed, run.data.get(split)) for run in runs}
        if len(hashes) > len({seed for seed, _ in hashes}):
            found.append(f"Runs of one seed have different {split} data; compare their accuracies on {split} with care.")
    return found
