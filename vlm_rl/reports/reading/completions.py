"""The completions that the report shows: a bounded, deterministic choice over runs, steps, epochs and verdicts."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.response_metrics import VERDICTS
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Records, RunRecords
from vlm_rl.reports.reading.files import SCORES, UnreadableRows, leads_out, over_files
from vlm_rl.reports.reading.gaps import VANILLA_LABEL, labels_by_folder
from vlm_rl.reports.reading.rejudge import Rejudge, read_judged
from vlm_rl.reports.reading.results import selected_epoch
from vlm_rl.reports.reading.training import step_file
from vlm_rl.reports.settings import ReaderSize

AS_STORED = (
    *("row_id", "split", "setting", "epoch", "generation_steps", "sample"),
    *("verdict", "finish_reason", "response_length"),
)
TEXTS = ("question", "answer", "response")  # cut if they are very long
TRAINING_POINTS = 4  # generation steps of a run that are read: the first, the last and some evenly between
MOST_OF_A_RUN = 60
MOST_IN_ALL = 1500
IMAGE_KEY = re.compile(r"[\w-]+")  # nothing that could lead out of the folder of images

Phase = Literal["training", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response, shortened if it is very long, with all that is known of it."""

    arm: str
    run: RunRecords
    phase: Phase
    split: str
    setting: str
    epoch: float
    generation_steps: int
    row_id: str
    sample: int
    image_ids: tuple[str, ...]  # keys of its pictures
    question: str
    answer: str  # the gold
    response: str
    num_characters_left_out: int  # of the response
    verdict: str
    score: float | None  # weighted sum of the terms; None where none was given
    rewards: dict[str, float]  # term -> unweighted score
    finish_reason: str
    response_length: int  # tokens
    is_aha: bool  # one of the first right answers of its run with a reflection word


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A file to choose from, and what is already known of its rows."""

    path: Path
    arm: str
    run: RunRecords
    phase: Phase
    aha: tuple[int, ...] = ()  # rows to take in any case


def completions_for_reader(
    records: Records,
    *,
    endpoint: Endpoint,
    size: ReaderSize,
    most_of_a_run: int = MOST_OF_A_RUN,
    most_in_all: int = MOST_IN_ALL,
) -> tuple[Completion, ...]:
    """Up to `size.cases_per_group` of each (run, phase, split, verdict), spread over steps or epochs, and the first aha cases.

    Training: the first step, the last and some between. Evaluation under the endpoint's setting: vanilla, at the epoch that
    validation selected, and last; the same questions come first everywhere, so that epochs can be compared.
    """
    runs = [(arm.label, run) for arm in records.shown for run in arm.runs]
    most = min(most_of_a_run, most_in_all // max(1, len(runs)))
    labels = labels_by_folder(records.arms)
    seen: set[Path] = set()  # evaluations of a vanilla model, which several arms share
    read = partial(_of_file, size=size, rejudge=records.rejudge)
    chosen: list[Completion] = []
    for arm, run in runs:
        of_training = _of_training(run, arm=arm, aha_cases=size.aha_cases)
        of_evaluation = _of_evaluation(run, endpoint=endpoint, labels=labels, seen=seen)
        files = over_files(read, (*of_training, *of_evaluation))
        chosen += _spread(files, cases_per_group=size.cases_per_group, most=most)
    return tuple(chosen)


def find_images(completion: Completion) -> tuple[Path, ...]:
    """The stored pictures of a completion, in order: `images/<key>.png` in its study's folder or deeper, the nearest of each.

    Missing ones are left out, and so are links to something outside of the study: a picture is shown as it is.
    """
    run = completion.run.run
    folders = _picture_folders(run.path, study=run.study_folder)
    found: list[Path] = []
    for key in filter(IMAGE_KEY.fullmatch, completion.image_ids):
        files = (folder / f"{key}.png" for folder in folders)
        kept = (file for file in files if file.is_file() and leads_out(file, folder=run.study_folder) is None)
        found += islice(kept, 1)
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def _picture_folders(run: Path, *, study: Path) -> tuple[Path, ...]:
    """Where pictures of a run's questions may lie, the nearest first."""
    return tuple(folder / "images" for folder in run.resolve().parents if folder.is_relative_to(study))


def _of_training(run: RunRecords, *, arm: str, aha_cases: int) -> Iterator[_Source]:
    """Steps from the first to the last, and those of the first aha cases."""
    training = run.training
    by_step = groupby(training.aha[:aha_cases], key=itemgetter(0))
    aha = {step: tuple(row for _, row in places) for step, places in by_step}
    num_steps = len(training.stored_steps)
    evenly = np.linspace(0, num_steps - 1, num=min(TRAINING_POINTS, num_steps)).round().astype(int)
    for step in sorted({*(training.stored_steps[place] for place in evenly), *aha}):
        path = step_file(run.run.path, step=step)
        yield _Source(path=path, arm=arm, run=run, phase="training", aha=aha.get(step, ()))


def _of_evaluation(run: RunRecords, *, endpoint: Endpoint, labels: Mapping[Path, str], seen: set[Path]) -> Iterator[_Source]:
    """On every split: vanilla, selected and last, each file once; a vanilla model goes under its own label."""
    for split in sorted({split for _, split, name in run.evaluations if name == endpoint.setting}):
        last = run.epochs(split=split, setting=endpoint.setting)[-1:]
        for epoch in sorted({VANILLA_EPOCH, selected_epoch(run, endpoint=endpoint) or VANILLA_EPOCH, *last}):
            evaluation = run.evaluations.get((epoch, split, endpoint.setting))
            if evaluation is not None and (path := evaluation.path.resolve()) not in seen:
                seen.add(path)
                label = labels.get(evaluation.run_folder, VANILLA_LABEL)
                yield _Source(path=path, arm=label, run=run, phase="evaluation")


def _of_file(source: _Source, *, size: ReaderSize, rejudge: Rejudge | None) -> list[Completion]:
    """The first rows of each verdict by row id and sample, after the aha cases; none of a file that has gone bad since."""
    key = ("rows", stamp_of(source.path), source.aha, size, rejudge)
    rows = recall(*key, make=lambda: _rows_of(source.path, aha=source.aha, size=size, rejudge=rejudge))
    first = len(source.aha)
    return [_completion(row, source=source, is_aha=place < first, longest=size.longest) for place, row in enumerate(rows)]


def _rows_of(path: Path, *, aha: Sequence[int], size: ReaderSize, rejudge: Rejudge | None) -> list[dict[str, Any]]:
    try:
        samples, _ = read_judged(path, columns=(*AS_STORED, *TEXTS, "image_id", SCORES), rejudge=rejudge)
    except UnreadableRows:
        return []
    order = pc.sort_indices(samples, sort_keys=[("row_id", "ascending"), ("sample", "ascending")])
    verdicts = samples["verdict"].take(order)
    in_order = (order.filter(pc.equal(verdicts, verdict))[: size.cases_per_group].to_pylist() for verdict in VERDICTS)
    places = [*aha, *(place for of_verdict in in_order for place in of_verdict if place not in aha)]
    rows: list[dict[str, Any]] = samples.take(pa.array(places, pa.int64())).to_pylist()
    return rows


def _completion(row: Mapping[str, Any], *, source: _Source, is_aha: bool, longest: int) -> Completion:
    rewards = {name.removeprefix("reward_"): value for name, value in row.items() if name.startswith("reward_")}
    return Completion(
        arm=source.arm,
        run=source.run,
        phase=source.phase,
        image_ids=tuple(filter(None, row["image_id"].split("+"))),
        num_characters_left_out=max(0, len(row["response"]) - longest),
        score=row.get("score"),
        rewards={name: value for name, value in rewards.items() if value is not None},
        is_aha=is_aha,
        **{name: row[name] for name in AS_STORED},
        **{name: row[name][:longest] for name in TEXTS},
    )


def _spread(files: Sequence[list[Completion]], *, cases_per_group: int, most: int) -> list[Completion]:
    """In each group the first of every file, then the second of every file; aha cases always; in reading order again at the end."""
    ordered = list(chain.from_iterable(files))
    groups: dict[tuple[str, ...], dict[int, list[Completion]]] = defaultdict(lambda: defaultdict(list))
    for number, of_file in enumerate(files):
        for case in of_file:
            if not case.is_aha:
                groups[case.arm, case.phase, case.split, case.verdict][number].append(case)
    chosen = [list(islice(_in_turn(group.values()), cases_per_group)) for group in groups.values()]
    aha = [case for case in ordered if case.is_aha]
    kept = {id(case) for case in islice(chain(aha, _in_turn(chosen)), most)}
    return [case for case in ordered if id(case) in kept]


def _in_turn(lists: Iterable[list[Completion]]) -> Iterator[Completion]:
    return (case for cases in zip_longest(*lists) for case in cases if case is not None)
