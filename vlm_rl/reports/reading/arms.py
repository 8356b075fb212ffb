"""Arms, the sets of runs that are equal but for the seed, with all that they measured. Reading and statistics lie elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlm_rl.evaluation.settings import SETTING_NAME, k_of
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.at_work import RunState
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.evidence import Evidence
from vlm_rl.reports.reading.files import Record
from vlm_rl.reports.reading.rejudge import Rejudge
from vlm_rl.reports.reading.runs import Run
from vlm_rl.reports.reading.training import Training

VANILLA_EPOCH = 0
MANY_ARMS = 3


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """One run and its measurements. Epoch 0 is the vanilla model of the same seed."""

    run: Run
    evaluations: dict[tuple[int, str, str], Evaluation]  # (epoch, split, setting)
    training: Training
    cost: tuple[Record, ...]
    alerts: tuple[Record, ...] | None  # None: no alerts.jsonl, so it is not known whether anybody watched
    vanilla: Run | None = None  # whose evaluations stand at epoch 0, wherever it lies; itself if it is vanilla
    evidence: Evidence = field(default_factory=Evidence)  # for and against all this
    sums: dict[str, float] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )  # of `cost`, once they are known

    def epochs(self, *, split: str, setting: str) -> list[int]:
        """The epochs at which this run was evaluated, without the vanilla one."""
        return sorted(e for e, s, name in self.evaluations if (s, name) == (split, setting) and e > VANILLA_EPOCH)

    def over_epochs(self, *, split: str, setting: str) -> list[Evaluation]:
        """Its evaluations after training began, in order of epochs."""
        return [self.evaluations[epoch, split, setting] for epoch in self.epochs(split=split, setting=setting)]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that differ in nothing but the seed."""

    label: str
    runs: tuple[RunRecords, ...]
    absent: tuple[Phrase, ...] = ()  # its runs that are not among `runs`: repeated seeds, and seeds that were not passed
    doubts: tuple[Doubt, ...] = ()  # of its runs and of their vanilla models

    @property
    def used(self) -> tuple[RunRecords, ...]:
        """The runs that tables and means speak of: the finished ones, or all as long as none is finished."""
        return tuple(records for records in self.runs if records.run.finished) or self.runs

    @property
    def left_out(self) -> tuple[RunRecords, ...]:
        """Unfinished runs beside finished ones: listed and drawn, never averaged."""
        return tuple(records for records in self.runs if records not in self.used)

    @property
    def is_vanilla(self) -> bool:
        """Whether this is the model before any training."""
        return all(records.run.is_vanilla for records in self.runs)

    @property
    def is_evaluated_only(self) -> bool:
        """Whether this is what evaluate.py measured: no training of ours, and so no gain and no verdict."""
        return all(records.run.is_evaluated_only for records in self.runs)

    def curves(self, *, split: str, setting: str) -> list[list[float]]:
        """Accuracy by epoch of each used run that was evaluated after training began."""
        curves = [run.over_epochs(split=split, setting=setting) for run in self.used]
        return [[evaluation.accuracy() for evaluation in curve] for curve in curves if curve]


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that a report is made of: trained arms first, and what was odd on the way."""

    arms: tuple[Arm, ...]
    problems: tuple[str, ...]
    rejudge: Rejudge | None = None  # what judged them again, and judges whatever text is read later
    beside: tuple[Arm, ...] = ()  # trained arms of the same studies that were not passed: of the family, and not shown
    states: tuple[RunState, ...] = ()  # what each run is doing

    @property
    def trained(self) -> tuple[Arm, ...]:
        """The arms that learned something; the vanilla model is their epoch 0."""
        return tuple(arm for arm in self.arms if not arm.is_vanilla and not arm.is_evaluated_only)

    @property
    def family(self) -> tuple[Arm, ...]:
        """All trained arms of the studies, whatever was passed: what is claimed of one is corrected for all."""
        return (*self.trained, *self.beside)

    @property
    def has_many_arms(self) -> bool:
        """Whether three arms or more were trained: then each needs a panel of its own, and pairs need a table."""
        return len(self.trained) >= MANY_ARMS

    @property
    def shown(self) -> tuple[Arm, ...]:
        """The trained arms and what evaluate.py measured, or the vanilla ones where nothing else is there."""
        return tuple(arm for arm in self.arms if not arm.is_vanilla) or self.arms

    def splits(self) -> list[str]:
        """Every evaluated split, val before test before others."""
        splits = {split for arm in self.arms for records in arm.runs for _, split, _ in records.evaluations}
        return sorted(splits, key=lambda split: ({"val": 0, "test": 1}.get(split, 2), split))

    def settings(self) -> list[str]:
        """Every setting, in the paper's order: pass@8 first, then by falling temperature."""
        settings = {setting for arm in self.arms for records in arm.runs for _, _, setting in records.evaluations}
        return sorted(settings, key=lambda name: [-float(part) for part in name.removeprefix("pass@").split("_t")])


Trial = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class VanillaModel:
    """One model under one way to evaluate it; its seeds may be averaged."""

    label: Phrase
    trial: Trial
    folder_name: str  # the hash of all that its evaluation depends on but for the seed, and so the same in every study
    runs: tuple[RunRecords, ...]  # whose epoch 0 it is; several of a seed where arms or studies share it

    def by_seed(self, *, split: str, setting: str) -> dict[int, Evaluation]:
        """Its evaluation under each seed, once, in order of seeds."""
        found: dict[int, Evaluation] = {}
        for run in self.runs:
            if (evaluation := run.evaluations.get((VANILLA_EPOCH, split, setting))) is not None:
                found.setdefault(run.run.seed, evaluation)
        return dict(sorted(found.items()))


def trial_of(run: Run) -> Trial:
    """Data and model, by the names of their configs; empty where the manifest has none."""
    dataset, model = (str(run.config.get(group, {}).get("name") or "") for group in ("dataset", "model"))
    return dataset, model


def vanilla_models(records: Records) -> tuple[VanillaModel, ...]:
    """Those of the trained arms, or all vanilla ones where nothing was trained. What evaluate.py measured is an arm, not Vanilla."""
    trained = [run for arm in records.trained for run in arm.used]
    found: dict[tuple[Trial, str], list[RunRecords]] = {}
    for run in trained or [run for arm in records.arms if arm.is_vanilla for run in arm.used]:
        if name := _folder_name(run.run):
            found.setdefault((trial_of(run.run), name), []).append(run)
    return tuple(
        VanillaModel(label=label, trial=trial, folder_name=name, runs=tuple(runs))
        for label, ((trial, name), runs) in zip(_labels(found), found.items(), strict=True)
    )


def model_before(arm: Arm, *, models: Sequence[VanillaModel]) -> VanillaModel | None:
    """What an arm started from, or else the first of the same data and model."""
    run = arm.used[0].run
    alike = [model for model in models if model.trial == trial_of(run)]
    return next((model for model in alike if model.folder_name == _folder_name(run)), alike[0] if alike else None)


def evaluated_as_it_came(arm: Arm, *, split: str, setting: str) -> dict[int, Evaluation]:
    """What evaluate.py measured of a model that no run of ours trained, by seed; nothing for any other arm."""
    runs = [run for run in arm.used if run.run.is_evaluated_only and run.run.vanilla is None]
    found = {run.run.seed: run.evaluations.get((VANILLA_EPOCH, split, setting)) for run in runs}
    return {seed: evaluation for seed, evaluation in found.items() if evaluation is not None}


def _folder_name(run: Run) -> str:
    return run.variant if run.is_vanilla else Path(run.vanilla or "").name


def _labels(keys: Iterable[tuple[Trial, str]]) -> list[Phrase]:
    """`Vanilla`, with as much of what it is as tells several apart."""
    keys = list(keys)
    if len(keys) == 1:
        return [say("Vanilla")]
    trials = [trial for trial, _ in keys]
    distinct = [(*trial, *([] if trials.count(trial) == 1 else [name])) for trial, name in keys]
    return [say("Vanilla ({what})", what=", ".join(filter(None, parts))) for parts in distinct]


def with_setting(records: Records, *, setting: str) -> Records:
    """The same records, evaluated under `setting` too wherever enough samples of its temperature are stored: another k, no new run."""
    arms = [replace(arm, runs=tuple(_with_setting(run, setting=setting) for run in arm.runs)) for arm in records.arms]
    return replace(records, arms=tuple(arms))


def _with_setting(run: RunRecords, *, setting: str) -> RunRecords:
    derived: dict[tuple[int, str, str], Evaluation] = {}
    most_first = sorted(run.evaluations.items(), key=lambda item: -item[1].num_samples.sum())
    for (epoch, split, name), found in most_first:
        if _temperature(name) == _temperature(setting) and (found.num_samples >= k_of(setting)).all():
            derived.setdefault((epoch, split, setting), found.under(setting))
    return replace(run, evaluations=derived | run.evaluations)  # what was evaluated under this setting stays


def _temperature(setting: str) -> float:
    match = SETTING_NAME.fullmatch(setting)
    return float(match["temperature"]) if match else float("nan")
