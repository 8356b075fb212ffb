"""From evaluation files (a row for each sample) to scores by question. No text is kept here."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question
from vlm_rl.evaluation.response_length import FormatCounts
from vlm_rl.evaluation.settings import SETTING_NAME, k_of
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.files import UnreadableRows, over_files, read_rows
from vlm_rl.reports.reading.rejudge import Rejudge, VerdictChanges, judged

QUESTION_COLUMNS = ("row_id", "image_id", "kind", "modality", "fields")
NAMED = ("modality", "kind")  # what every row says of itself


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of a split, ordered by row id. Evaluations of the same questions share one object."""

    row_id: tuple[str, ...]
    image_id: tuple[str, ...]  # "" without a figure
    kind: tuple[str, ...]
    modality: tuple[str, ...]
    fields: tuple[str, ...] = ()  # JSON object of what else is known of a row; none at all in older files

    @property
    def asked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What must agree for answers to be compared: the questions and the figures shown with them."""
        return self.row_id, self.image_id

    def images(self) -> list[str]:
        """The cluster of each question: its image, or itself where it has none."""
        return [image or row for image, row in zip(self.image_id, self.row_id, strict=True)]

    def names(self) -> tuple[str, ...]:
        """Every field of a row that says something: `modality`, `kind` and then any other, by name."""
        named = [name for name in NAMED if any(self.values(name))]
        return (*named, *sorted({name for fields in self._fields for name in fields} - set(NAMED)))

    def values(self, name: str) -> list[str]:
        """A field of each question, "" where it has none: `modality`, `kind` or any key of `fields`."""
        if name in NAMED:
            return list(self.modality if name == "modality" else self.kind)
        return [fields.get(name, "") for fields in self._fields] or [""] * len(self.row_id)

    @cached_property
    def _fields(self) -> list[Mapping[str, str]]:
        return [fields_of(text) for text in self.fields]


def fields_of(text: str) -> dict[str, str]:
    """The further fields of a row, from the column `fields`; what is no JSON object says nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    plain = found.items() if isinstance(found, dict) else ()
    return {name: text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for name, text in plain}


COLUMNS = (*QUESTION_COLUMNS, "verdict", "accuracy", "boxed", "finish_reason", "judge_version")
EVALUATION_FILE = re.compile(rf"(?P<split>.+?)_(?P<setting>{SETTING_NAME.pattern})\.parquet")
VERDICTS = ("correct", "wrong", "unparsable", "timed_out")

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one model scored on one split under one setting, summed up by question."""

    path: Path
    epoch: int
    split: str
    setting: str
    questions: Questions
    num_samples: Counts  # by question, as the counts below
    num_correct: Counts
    num_well_formed: Counts
    num_well_formed_correct: Counts
    verdicts: dict[str, int]
    num_truncated: int
    num_unboxed: int
    judge_versions: tuple[str, ...]  # each once; the manifest says what judged last, and a file may be older
    judged_again: VerdictChanges | None = None  # where the judge of this version did so

    def scores(self) -> NDArray[np.float64]:
        """pass@k of each question, with the setting's k."""
        return pass_at_k_by_question(self.num_correct, num_samples=self.num_samples, k=k_of(self.setting))

    def accuracy(self) -> float:
        """pass@k averaged over questions."""
        return float(self.scores().mean()) if self.num_samples.size else float("nan")

    def accuracy_of(self, chosen: Sequence[bool]) -> float:
        """The same over some of the questions; NaN without any."""
        return float(self.scores()[np.array(chosen)].mean()) if any(chosen) else float("nan")

    def pass_curve(self, most: int) -> NDArray[np.float64]:
        """pass@1 to pass@most of each question: (questions, k)."""
        return np.asarray(pass_at_1_to_k(self.num_correct, num_samples=self.num_samples, k=most))

    def under(self, setting: str) -> "Evaluation":
        """The same samples scored with the k of another setting of the same temperature."""
        return replace(self, setting=setting)

    def format_counts(self) -> FormatCounts:
        """Samples by format and correctness."""
        return FormatCounts(
            num_responses=int(self.num_samples.sum()),
            num_well_formed=int(self.num_well_formed.sum()),
            num_correct=int(self.num_correct.sum()),
            num_well_formed_correct=int(self.num_well_formed_correct.sum()),
        )


@dataclass(kw_only=True)
class EvaluationReader:
    """Reads the evaluations of many runs, and remembers their questions once and what could not be read."""

    rejudge: Rejudge | None = None
    problems: list[str] = field(default_factory=list)
    _questions: dict[Questions, Questions] = field(default_factory=dict)
    _read: dict[Path, tuple[Evaluation, ...]] = field(default_factory=dict)

    def read_folder(self, run_folder: Path) -> tuple[Evaluation, ...]:
        """Every complete evaluation of a run, in order of epochs; a folder that several arms share is read once."""
        folder = run_folder.resolve()
        if folder not in self._read:
            paths = sorted(run_folder.glob("evaluations/epoch-*/*.parquet"))
            self._read[folder] = tuple(self._kept(over_files(self._evaluation, paths)))
        return self._read[folder]

    def _kept(self, found: Iterable[Evaluation | str]) -> Iterator[Evaluation]:
        for evaluation in found:
            if isinstance(evaluation, str):
                self.problems.append(say("{problem} It is left out.", problem=evaluation))
            else:
                yield replace(evaluation, questions=self._questions.setdefault(evaluation.questions, evaluation.questions))

    def _evaluation(self, path: Path) -> Evaluation | str:
        """The evaluation in a file, or what is wrong with it."""
        name = EVALUATION_FILE.fullmatch(path.name)
        epoch = path.parent.name.removeprefix("epoch-")
        if name is None or not epoch.isdecimal():
            return say("{path} is not named <split>_<setting>.parquet in a folder epoch-<number>.", path=path)
        try:
            samples = read_rows(path, columns=(*COLUMNS, *(self.rejudge.columns if self.rejudge else ())))
        except UnreadableRows as error:
            return error.reason
        samples, changed = judged(samples, rejudge=self.rejudge)
        evaluation = _summed(samples, path=path, epoch=int(epoch), split=name["split"], setting=name["setting"])
        fewest = int(evaluation.num_samples.min(initial=k_of(name["setting"])))
        if not samples.num_rows:
            return say("{path} has no rows.", path=path)
        if fewest < k_of(name["setting"]):
            return say("{path} has a question with {fewest} samples, too few for its k.", path=path, fewest=fewest)
        return replace(evaluation, judged_again=changed)


def _summed(samples: pa.Table, *, path: Path, epoch: int, split: str, setting: str) -> Evaluation:
    by_question = _by_question(samples)
    verdicts = {entry["values"]: entry["counts"] for entry in pc.value_counts(samples["verdict"]).to_pylist()}
    return Evaluation(
        path=path,
        epoch=epoch,
        split=split,
        setting=setting,
        questions=Questions(**{name: tuple(by_question[name].to_pylist()) for name in QUESTION_COLUMNS}),
        num_samples=_counts(by_question["correct_count"]),
        num_correct=_counts(by_question["correct_sum"]),
        num_well_formed=_counts(by_question["well_formed_sum"]),
        num_well_formed_correct=_counts(by_question["well_formed_correct_sum"]),
        verdicts={verdict: verdicts.get(verdict, 0) for verdict in VERDICTS},
        num_truncated=_number_of(pc.equal(samples["finish_reason"], "length")),
        num_unboxed=samples.num_rows - _number_of(samples["boxed"]),
        judge_versions=tuple(sorted(pc.unique(samples["judge_version"]).to_pylist())),
    )


def _by_question(samples: pa.Table) -> pa.Table:
    correct = pc.fill_null(pc.greater(samples["accuracy"], 0.5), False)
    well_formed = pc.and_(pc.fill_null(samples["boxed"], False), pc.equal(samples["finish_reason"], "stop"))
    columns = {name: samples[name] for name in QUESTION_COLUMNS} | {
        "correct": pc.cast(correct, pa.int64()),
        "well_formed": pc.cast(well_formed, pa.int64()),
        "well_formed_correct": pc.cast(pc.and_(correct, well_formed), pa.int64()),
    }
    sums = [("correct", "count"), ("correct", "sum"), ("well_formed", "sum"), ("well_formed_correct", "sum")]
    return pa.table(columns).group_by(list(QUESTION_COLUMNS), use_threads=False).aggregate(sums).sort_by("row_id")


def _number_of(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _counts(column: pa.ChunkedArray) -> Counts:
    return np.asarray(column.to_numpy(), dtype=np.int64)
