"""The completions that a reader of the report may page through: a bounded, fixed choice over runs, steps, epochs and verdicts."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records, RunRecords
from vlm_rl.reports.reading.evaluations import VERDICTS, Evaluation
from vlm_rl.reports.reading.files import SCORES, UnreadableRows, leads_out, over_files, read_rows, study_of
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.results import picked_epoch
from vlm_rl.reports.reading.training import step_file

COLUMNS = (
    *("row_id", "image_id", "kind", "modality", "split", "setting", "epoch", "generation_steps", "sample"),
    *("question", "answer", "response", "verdict", "finish_reason", "response_length", SCORES),
)
TRAINING_POINTS = 4  # generation steps of a run that are looked into: the first, the last and those evenly between
MOST_OF_A_RUN = 60
MOST_IN_ALL = 1500
UNTRAINED_LABEL = "vanilla"
IMAGE_KEY = re.compile(r"[\w-]+")  # nothing that could lead out of the folder of images

Phase = Literal["training", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One response, shortened if it is very long, with all that is known of it."""

    arm: str
    run: str  # study/variant/seed-0
    seed: int
    phase: Phase
    split: str
    setting: str
    epoch: float
    generation_steps: int
    row_id: str
    sample: int
    image_ids: tuple[str, ...]  # keys of its pictures
    kind: str
    modality: str
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
    run: str
    seed: int
    phase: Phase
    aha: tuple[int, ...] = ()  # rows to take in any case


def completions_for_reader(
    records: Records,
    *,
    endpoint: Endpoint,
    cases_per_group: int,
    aha_cases: int,
    longest: int,
    judge: Judging | None = None,
    most_of_a_run: int = MOST_OF_A_RUN,
    most_in_all: int = MOST_IN_ALL,
) -> tuple[Completion, ...]:
    """Up to `cases_per_group` of each (run, phase, split, verdict), spread over steps or epochs, and the first aha cases.

    Training: the first step, the last and some between. Evaluation under the endpoint's setting: untrained, at the epoch that
    validation picked, and last; the same questions come first everywhere, so that epochs can be compared. `longest` is in characters.
    """
    runs = [(arm.label, run) for arm in records.shown for run in arm.runs]
    most = min(most_of_a_run, most_in_all // max(1, len(runs)))
    seen: set[Path] = set()  # evaluations of an untrained model, which several arms share
    untrained = {run.run.path.resolve(): arm.label for arm in records.arms if arm.is_untrained for run in arm.runs}
    sources = [
        list(_sources(run, arm=arm, endpoint=endpoint, aha_cases=aha_cases, untrained=untrained, seen=seen))
        for arm, run in runs
    ]
    rejudge = None if judge is None else Rejudge(judge)
    read = partial(_of_file, cases_per_group=cases_per_group, longest=longest, rejudge=rejudge)
    found = iter(over_files(read, chain.from_iterable(sources)))
    by_run = [list(islice(found, len(of_run))) for of_run in sources]
    return tuple(chain.from_iterable(_spread(of_run, cases_per_group=cases_per_group, most=most) for of_run in by_run))


def find_images(completion: Completion, *, records: Records) -> tuple[Path, ...]:
    """The stored pictures of a completion, in order: `images/<key>.png` in its study's folder or deeper. Missing ones are left out."""
    run = next((run.run for arm in records.arms for run in arm.runs if run.run.name == completion.run), None)
    if run is None:
        return ()
    study = study_of(run.path.resolve(), run.variant)
    folders = [parent / "images" for parent in run.path.resolve().parents if parent.is_relative_to(study)]  # none above it
    keys = [key for key in completion.image_ids if IMAGE_KEY.fullmatch(key)]
    found = (next((file for folder in folders if _is_kept(file := folder / f"{key}.png", study=study)), None) for key in keys)
    return tuple(file for file in found if file is not None)


def _is_kept(file: Path, *, study: Path) -> bool:
    """Whether a picture is there, and is no link to something outside of the study: it is shown as it is."""
    return file.is_file() and leads_out(file, folder=study) is None


def _sources(
    run: RunRecords, *, arm: str, endpoint: Endpoint, aha_cases: int, untrained: Mapping[Path, str], seen: set[Path]
) -> Iterator[_Source]:
    def source(path: Path, *, phase: Phase, label: str = arm, aha: tuple[int, ...] = ()) -> _Source:
        return _Source(path=path, arm=label, run=run.run.name, seed=run.run.seed, phase=phase, aha=aha)

    aha: dict[int, tuple[int, ...]] = {}
    for step, row in run.aha[:aha_cases]:
        aha[step] = (*aha.get(step, ()), row)
    evenly = np.linspace(0, len(run.stored_steps) - 1, num=min(TRAINING_POINTS, len(run.stored_steps))).round().astype(int)
    for step in sorted({*(run.stored_steps[place] for place in evenly), *aha}):
        yield source(step_file(run.run.path, step=step), phase="training", aha=aha.get(step, ()))
    for evaluation in _evaluations(run, endpoint=endpoint):
        path = evaluation.path.resolve()
        is_own = run.run.path.resolve() in path.parents
        if path not in seen:
            seen.add(path)
            yield source(path, phase="evaluation", label=arm if is_own else untrained.get(path.parents[2], UNTRAINED_LABEL))


def _evaluations(run: RunRecords, *, endpoint: Endpoint) -> Iterator[Evaluation]:
    """On every split: untrained, picked and last."""
    for split in sorted({split for _, split, name in run.evaluations if name == endpoint.setting}):
        epochs = run.epochs(split=split, setting=endpoint.setting)
        for epoch in sorted({UNTRAINED_EPOCH, picked_epoch(run, endpoint=endpoint) or UNTRAINED_EPOCH, *epochs[-1:]}):
            evaluation = run.evaluations.get((epoch, split, endpoint.setting))
            if evaluation is not None:
                yield evaluation


def _of_file(source: _Source, *, cases_per_group: int, longest: int, rejudge: Rejudge | None) -> list[Completion]:
    """The first rows of each verdict by row id and sample, after the aha cases; none of a file that has gone bad since."""
    try:
        samples = read_rows(source.path, columns=COLUMNS)
    except UnreadableRows:
        return []
    if rejudge is not None:
        samples = rejudge(samples)
    in_order = _in_order(samples)
    places = [place for verdict in VERDICTS for place in in_order[verdict][:cases_per_group] if place not in source.aha]
    rows = samples.take(pa.array([*source.aha, *places], pa.int64())).to_pylist()
    aha = [True] * len(source.aha) + [False] * len(places)
    return [_completion(row, source=source, is_aha=is_aha, longest=longest) for row, is_aha in zip(rows, aha, strict=True)]


def _in_order(rows: pa.Table) -> dict[str, list[int]]:
    order = pc.sort_indices(rows, sort_keys=[("row_id", "ascending"), ("sample", "ascending")])
    verdicts = rows["verdict"].take(order)
    return {verdict: order.filter(pc.equal(verdicts, verdict)).to_pylist() for verdict in VERDICTS}


def _spread(files: Iterable[list[Completion]], *, cases_per_group: int, most: int) -> list[Completion]:
    """In each group the first of every file, then the second of every file; aha cases always; in reading order again at the end."""
    ordered = [completion for of_file in files for completion in of_file]
    groups: dict[tuple[str, ...], dict[str, list[Completion]]] = {}
    for case in ordered:
        if not case.is_aha:
            group = groups.setdefault((case.arm, case.phase, case.split, case.verdict), {})
            group.setdefault(f"{case.generation_steps} {case.epoch}", []).append(case)
    chosen = [list(islice(_in_turn(group.values()), cases_per_group)) for group in groups.values()]
    aha = [case for case in ordered if case.is_aha]
    kept = {id(case) for case in islice(chain(aha, _in_turn(chosen)), most)}
    return [case for case in ordered if id(case) in kept]


def _in_turn(lists: Iterable[list[Completion]]) -> Iterator[Completion]:
    return (case for cases in zip_longest(*lists) for case in cases if case is not None)


def _completion(row: dict[str, Any], *, source: _Source, is_aha: bool, longest: int) -> Completion:
    response = row.pop("response")
    rewards = {name.removeprefix("reward_"): row.pop(name) for name in list(row) if name.startswith("reward_")}
    image_ids, score, answer, question = (row.pop(name, None) for name in ("image_id", "score", "answer", "question"))
    return Completion(
        arm=source.arm,
        run=source.run,
        seed=source.seed,
        phase=source.phase,
        image_ids=tuple(key for key in image_ids.split("+") if key),
        question=question[:longest],
        answer=answer[:longest],
        response=response[:longest],
        num_characters_left_out=max(0, len(response) - longest),
        score=score,
        rewards={name: value for name, value in rewards.items() if value is not None},
        is_aha=is_aha,
        **row,
    )
