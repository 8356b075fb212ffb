"""Blind controls: accuracy without the right figures, as `evaluate.py ... evaluation/image=blank|shuffled` left it beside each model.

A control lies in `evaluate/*/seed-*/` under the folder of the run, or of the vanilla model, that it evaluated.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Records, vanilla_models
from vlm_rl.reports.reading.evaluations import Evaluation, EvaluationReader
from vlm_rl.reports.reading.files import read_rows
from vlm_rl.reports.reading.results import selected_epoch
from vlm_rl.reports.reading.runs import read_or_say, vanilla_folder
from vlm_rl.reports.tables.table import Row, Table, known_word, table_of

CONTROLS = ("blank", "shuffled")  # as the config group evaluation/image names them
EVERYTHING = ""  # all modalities together

Seen = dict[str, Evaluation]  # intact, blank, shuffled -> what one seed scored


@dataclass(frozen=True, kw_only=True)
class Model:
    """An arm at the epochs that validation selected, or a vanilla model."""

    label: str
    seeds: tuple[Seen, ...]
    folder: Path | None  # of the first seed, to be evaluated without its figures


def control_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Each model with the right figures, with blank ones and with those of other problems, by modality."""
    reader = EvaluationReader(rejudge=records.rejudge)
    rows = [
        row
        for split in records.splits()
        for model in _models(records, reader=reader, endpoint=endpoint, split=split)
        for row in _rows(model, split=split)
    ]
    return table_of("blind_controls", rows, setting=title_of(endpoint.setting))


def _models(records: Records, *, reader: EvaluationReader, endpoint: Endpoint, split: str) -> Iterator[Model]:
    for model in vanilla_models(records):
        folders = {folder.resolve(): (folder, run.run.seed) for run in model.runs if (folder := vanilla_folder(run.run))}
        seeds: dict[int, Seen] = {
            seed: {"intact": one} for seed, one in model.by_seed(split=split, setting=endpoint.setting).items()
        }
        for folder, seed in folders.values():
            cell = (VANILLA_EPOCH, split, endpoint.setting)
            seeds[seed] = found_controls(folder, reader=reader, cell=cell) | seeds.get(seed, {})
        first = next(iter(folders.values()), (None, 0))[0]
        typed = first and min(first, Path(os.path.relpath(first)), key=lambda path: len(str(path)))
        yield Model(label=model.label, seeds=tuple(seeds.values()), folder=typed)
    for arm in records.shown:
        if not arm.is_vanilla and arm.used[0].run.image_control not in CONTROLS:
            cells = [(selected_epoch(run, endpoint=endpoint) or VANILLA_EPOCH, split, endpoint.setting) for run in arm.used]
            seen = tuple(
                ({"intact": run.evaluations[cell]} if cell in run.evaluations else {})
                | found_controls(run.run.path, reader=reader, cell=cell)
                for run, cell in zip(arm.used, cells, strict=True)
            )
            yield Model(label=arm.label, seeds=seen, folder=arm.used[0].run.path)


def _rows(model: Model, *, split: str) -> Iterator[Row]:
    """The seeds that have all that any has, so that a row adds up; every seed where none has all."""
    present = {name for seen in model.seeds for name in seen}
    compared = [seen for seen in model.seeds if seen.keys() == present] or model.seeds
    missing = [control for control in CONTROLS if control not in present]
    first = next((evaluation for seen in model.seeds for evaluation in seen.values()), None)
    if first is None:
        return
    for modality in (*sorted(set(first.questions.modality) - {""}), EVERYTHING):
        shares = [{name: one.accuracy_of(_chosen(one, modality=modality)) for name, one in seen.items()} for seen in compared]
        levels = {name: mean_interval([of[name] for of in shares if name in of]) for name in ("intact", *CONTROLS)}
        drops = {
            f"drop_{name}": mean_interval([of["intact"] - of[name] for of in shares if {"intact", name} <= of.keys()])
            for name in CONTROLS
        }
        commands = [f"python evaluate.py checkpoint={model.folder} evaluation/image={control}" for control in missing]
        yield {
            "model": model.label,
            "split": split,
            "modality": known_word(modality) or say("anywhere"),
            "questions": sum(_chosen(first, modality=modality)),
            "seeds": max(level.num_seeds for level in levels.values()),
            **levels,
            **drops,
            "chance": chance(first.path, modality=modality),
            "to_do": " ; ".join(commands) if modality == EVERYTHING else "",  # once for each model
        }


def _chosen(evaluation: Evaluation, *, modality: str) -> list[bool]:
    return [modality in (EVERYTHING, own) for own in evaluation.questions.modality]


def chance(path: Path, *, modality: str = EVERYTHING) -> float:
    """The share of questions whose gold answer is the most frequent one, as it is spelled."""
    rows = read_rows(path, columns=("row_id", "modality", "answer")).to_pylist()
    answers = {row["row_id"]: row["answer"].strip() for row in rows if modality in (EVERYTHING, row["modality"])}
    return Counter(answers.values()).most_common(1)[0][1] / len(answers) if answers else float("nan")


def found_controls(folder: Path, *, reader: EvaluationReader, cell: tuple[int, str, str]) -> Seen:
    """Blind evaluations of this very model at (epoch, split, setting), by the name of the control; the newest of several."""
    found: Seen = {}
    for manifest in sorted(folder.glob("evaluate/*/seed-*/manifest.json"), key=lambda path: path.stat().st_mtime):
        run = read_or_say(manifest.parent, problems=[], within=folder)
        if run is not None and run.image_control in CONTROLS:
            for evaluation in reader.read_folder(manifest.parent):
                if (evaluation.epoch, evaluation.split, evaluation.setting) == cell:
                    found[run.image_control] = evaluation
    return found
