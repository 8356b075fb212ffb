"""The models that training began from, each once, however many arms and studies share it: what a report calls Vanilla."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.runs import Run

Trial = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class UntrainedModel:
    """One model under one way to evaluate it; its seeds may be averaged."""

    label: Phrase
    trial: Trial
    folder_name: str  # the hash of all that its evaluation depends on but for the seed, and so the same in every study
    runs: tuple[RunRecords, ...]  # whose epoch 0 it is; several of a seed where arms or studies share it

    def by_seed(self, *, split: str, setting: str) -> dict[int, Evaluation]:
        """Its evaluation under each seed, once, in order of seeds."""
        found: dict[int, Evaluation] = {}
        for run in self.runs:
            if (evaluation := run.evaluations.get((UNTRAINED_EPOCH, split, setting))) is not None:
                found.setdefault(run.run.seed, evaluation)
        return dict(sorted(found.items()))


def trial_of(run: Run) -> Trial:
    """Data and model, by the names of their configs; empty where the manifest has none."""
    dataset, model = (str((run.config.get(group) or {}).get("name") or "") for group in ("dataset", "model"))
    return dataset, model


def untrained_models(records: Records) -> tuple[UntrainedModel, ...]:
    """Those of the trained arms, or all untrained ones where nothing was trained. What evaluate.py measured is an arm, not Vanilla."""
    trained = [run for arm in records.trained for run in arm.used]
    found: dict[tuple[Trial, str], list[RunRecords]] = {}
    for run in trained or [run for arm in records.arms if arm.is_untrained for run in arm.used]:
        if name := _folder_name(run.run):
            found.setdefault((trial_of(run.run), name), []).append(run)
    return tuple(
        UntrainedModel(label=label, trial=trial, folder_name=name, runs=tuple(runs))
        for label, ((trial, name), runs) in zip(_labels(found), found.items(), strict=True)
    )


def model_before(arm: Arm, *, models: Sequence[UntrainedModel]) -> UntrainedModel | None:
    """What an arm started from, or else the first of the same data and model."""
    run = arm.used[0].run
    alike = [model for model in models if model.trial == trial_of(run)]
    return next((model for model in alike if model.folder_name == _folder_name(run)), alike[0] if alike else None)


def evaluated_as_it_came(arm: Arm, *, split: str, setting: str) -> dict[int, Evaluation]:
    """What evaluate.py measured of a model that no run of ours trained, by seed; nothing for any other arm."""
    runs = [run for run in arm.used if run.run.is_evaluated_only and run.run.vanilla is None]
    found = {run.run.seed: run.evaluations.get((UNTRAINED_EPOCH, split, setting)) for run in runs}
    return {seed: evaluation for seed, evaluation in found.items() if evaluation is not None}


def _folder_name(run: Run) -> str:
    return run.variant if run.is_untrained else Path(run.vanilla or "").name


def _labels(keys: Iterable[tuple[Trial, str]]) -> list[Phrase]:
    """`Vanilla`, with as much of what it is as tells several apart."""
    keys = list(keys)
    if len(keys) == 1:
        return [say("Vanilla")]
    trials = [trial for trial, _ in keys]
    distinct = [(*trial, *([] if trials.count(trial) == 1 else [name])) for trial, name in keys]
    return [say("Vanilla ({what})", what=", ".join(filter(None, parts))) for parts in distinct]
