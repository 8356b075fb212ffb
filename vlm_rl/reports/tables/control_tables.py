"""Blind controls: accuracy without the right figures, as `evaluate.py ... evaluation/image=blank|shuffled` left it beside each model.

A control lies in `evaluate/*/seed-*/` under the folder of the run, or of the untrained model, that it evaluated.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records, RunRecords, UntrainedModel, untrained_models
from vlm_rl.reports.reading.evaluations import Evaluation, EvaluationReader
from vlm_rl.reports.reading.files import read_rows
from vlm_rl.reports.reading.rejudge import Rejudge
from vlm_rl.reports.reading.results import picked_epoch
from vlm_rl.reports.reading.runs import read_or_say, untrained_folder
from vlm_rl.reports.tables.table import Row, Table, known_word, table_of

CONTROLS = ("blank", "shuffled")  # as the config group evaluation/image names them
EVERYTHING = ""  # all modalities together

Seen = dict[str, Evaluation]  # intact, blank, shuffled -> what one seed scored


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of seeds: an arm at the epochs that validation picked, or the untrained model."""

    label: str
    seeds: tuple[Seen, ...]
    folder: Path | None  # of the first seed, to be evaluated without its figures

    def compared(self) -> tuple[Seen, ...]:
        """The seeds that have all that any has, so that a row adds up; every seed where none has all."""
        names = {name for seen in self.seeds for name in seen}
        return tuple(seen for seen in self.seeds if seen.keys() == names) or self.seeds

    def missing(self) -> list[str]:
        """The controls that no seed has."""
        return [control for control in CONTROLS if not any(control in seen for seen in self.seeds)]


def control_table(records: Records, *, endpoint: Endpoint, rejudge: Rejudge | None = None) -> Table:
    """Each model with the right figures, with blank ones and with those of other problems, by modality."""
    reader = EvaluationReader(rejudge=rejudge)
    rows = [row for split in records.splits() for row in _rows(records, reader=reader, endpoint=endpoint, split=split)]
    return table_of("blind_controls", rows, setting=title_of(endpoint.setting))


def _rows(records: Records, *, reader: EvaluationReader, endpoint: Endpoint, split: str) -> Iterator[Row]:
    trained = (arm for arm in records.shown if not arm.is_untrained and control_of(arm.used[0].run.config) not in CONTROLS)
    arms = [
        Model(
            label=arm.label,
            seeds=tuple(_seen(run, reader=reader, endpoint=endpoint, split=split) for run in arm.used),
            folder=arm.used[0].run.path,
        )
        for arm in trained
    ]
    untrained = [_untrained(model, reader=reader, endpoint=endpoint, split=split) for model in untrained_models(records)]
    for model in (*untrained, *arms):
        first = next((evaluation for seen in model.seeds for evaluation in seen.values()), None)
        if first is None:
            continue
        for modality in (*sorted(set(first.questions.modality) - {""}), EVERYTHING):
            yield _row(model, split=split, modality=modality, first=first)


def _row(model: Model, *, split: str, modality: str, first: Evaluation) -> Row:
    by_seed = [
        {name: one.accuracy_of(_chosen(one, modality=modality)) for name, one in seen.items()} for seen in model.compared()
    ]
    levels = {name: mean_interval([shares[name] for shares in by_seed if name in shares]) for name in ("intact", *CONTROLS)}
    drops = {
        f"drop_{name}": mean_interval(
            [shares["intact"] - shares[name] for shares in by_seed if {"intact", name} <= shares.keys()]
        )
        for name in CONTROLS
    }
    missing = model.missing() if modality == EVERYTHING else []
    commands = [f"python evaluate.py checkpoint={model.folder} evaluation/image={control}" for control in missing]
    return {
        "model": model.label,
        "split": split,
        "modality": known_word(modality) or say("anywhere"),
        "questions": sum(_chosen(first, modality=modality)),
        "seeds": max(level.num_seeds for level in levels.values()),
        **levels,
        **drops,
        "chance": chance(first.path, modality=modality),
        "to_do": " ; ".join(commands),
    }


def _chosen(evaluation: Evaluation, *, modality: str) -> list[bool]:
    return [modality in (EVERYTHING, own) for own in evaluation.questions.modality]


def chance(path: Path, *, modality: str = EVERYTHING) -> float:
    """The share of questions whose gold answer is the most frequent one, as it is spelled."""
    asked = read_rows(path, columns=("row_id", "modality", "answer")).to_pylist()
    answers = {row["row_id"]: row["answer"].strip() for row in asked if modality in (EVERYTHING, row["modality"])}
    return Counter(answers.values()).most_common(1)[0][1] / len(answers) if answers else float("nan")


def _seen(run: RunRecords, *, reader: EvaluationReader, endpoint: Endpoint, split: str) -> Seen:
    epoch = picked_epoch(run, endpoint=endpoint) or UNTRAINED_EPOCH
    intact = run.evaluations.get((epoch, split, endpoint.setting))
    return ({} if intact is None else {"intact": intact}) | found_controls(
        run.run.path, reader=reader, epoch=epoch, split=split, setting=endpoint.setting
    )


def _untrained(model: UntrainedModel, *, reader: EvaluationReader, endpoint: Endpoint, split: str) -> Model:
    """One untrained model, each of its seeds once."""
    folders = {
        folder.resolve(): (folder, run.run.seed) for run in model.runs if (folder := untrained_folder(run.run)) is not None
    }
    intact = model.by_seed(split=split, setting=endpoint.setting)
    seeds: dict[int, Seen] = {seed: {"intact": evaluation} for seed, evaluation in intact.items()}
    for folder, seed in folders.values():
        found = found_controls(folder, reader=reader, epoch=UNTRAINED_EPOCH, split=split, setting=endpoint.setting)
        seeds[seed] = found | seeds.get(seed, {})
    typed = [min(folder, Path(os.path.relpath(folder)), key=lambda path: len(str(path))) for folder, _ in folders.values()]
    return Model(label=model.label, seeds=tuple(seeds.values()), folder=next(iter(typed), None))


def found_controls(folder: Path, *, reader: EvaluationReader, epoch: int, split: str, setting: str) -> Seen:
    """Blind evaluations of this very model, by the name of the control; the newest of several."""
    found: Seen = {}
    for manifest in sorted(folder.glob("evaluate/*/seed-*/manifest.json"), key=lambda path: path.stat().st_mtime):
        run = read_or_say(manifest.parent, problems=[], within=folder)
        control = "" if run is None else control_of(run.config)
        for evaluation in reader.read_folder(manifest.parent) if control in CONTROLS else ():
            if (evaluation.epoch, evaluation.split, evaluation.setting) == (epoch, split, setting):
                found[control] = evaluation
    return found


def control_of(config: dict[str, Any]) -> str:
    """`blank`, `shuffled` or `intact`, as the config of an evaluation has it."""
    target: str = ((config.get("evaluation") or {}).get("image") or {}).get("_target_", "")
    return target.rpartition(".")[2].lower()
