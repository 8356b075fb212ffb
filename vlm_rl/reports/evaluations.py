"""From evaluation files (a row for each sample) to scores by question. No text column is read here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlm_rl.evaluation.gain import FormatCounts
from vlm_rl.evaluation.pass_at_k import pass_at_k_by_question
from vlm_rl.evaluation.settings import SETTING_NAME, k_of

QUESTION_COLUMNS = ("row_id", "image_id", "kind", "modality")
COLUMNS = [*QUESTION_COLUMNS, "verdict", "accuracy", "boxed", "finish_reason"]
EVALUATION_FILE = re.compile(rf"(?P<split>.+?)_(?P<setting>{SETTING_NAME.pattern})\.parquet")
VERDICTS = ("correct", "wrong", "unparsable", "timed_out")

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of a split, ordered by row id. Evaluations of the same questions share one object."""

    row_id: tuple[str, ...]
    image_id: tuple[str, ...]  # "" without a figure
    kind: tuple[str, ...]
    modality: tuple[str, ...]

    def images(self) -> list[str]:
        """The cluster of each question: its image, or itself where it has none."""
        return [image or row for image, row in zip(self.image_id, self.row_id, strict=True)]


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

    def scores(self) -> NDArray[np.float64]:
        """pass@k of each question, with the setting's k."""
        return pass_at_k_by_question(self.num_correct, num_samples=self.num_samples, k=k_of(self.setting))

    def accuracy(self) -> float:
        """pass@k averaged over questions."""
        return float(self.scores().mean()) if self.num_samples.size else float("nan")

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

    problems: list[str] = field(default_factory=list)
    _questions: dict[Questions, Questions] = field(default_factory=dict)

    def read_folder(self, run_folder: Path) -> Iterator[Evaluation]:
        """Every complete evaluation of a run, in order of epochs."""
        for path in sorted(run_folder.glob("evaluations/epoch-*/*.parquet")):
            name = EVALUATION_FILE.fullmatch(path.name)
            epoch = path.parent.name.removeprefix("epoch-")
            if name is None or not epoch.isdigit():
                self.problems.append(
                    f"{path} is not named <split>_<setting>.parquet in a folder epoch-<number>, and is left out."
                )
                continue
            try:
                samples = pq.read_table(path, columns=COLUMNS)
            except (pa.ArrowException, OSError) as error:
                self.problems.append(f"{path} cannot be read and is left out: {str(error).splitlines()[0]}")
                continue
            if not samples.num_rows:
                self.problems.append(f"{path} has no rows and is left out.")
                continue
            yield self._summed(samples, path=path, epoch=int(epoch), split=name["split"], setting=name["setting"])

    def _summed(self, samples: pa.Table, *, path: Path, epoch: int, split: str, setting: str) -> Evaluation:
        by_question = _by_question(samples)
        questions = Questions(**{name: tuple(by_question[name].to_pylist()) for name in QUESTION_COLUMNS})
        verdicts = {entry["values"]: entry["counts"] for entry in pc.value_counts(samples["verdict"]).to_pylist()}
        return Evaluation(
            path=path,
            epoch=epoch,
            split=split,
            setting=setting,
            questions=self._questions.setdefault(questions, questions),
            num_samples=_counts(by_question["correct_count"]),
            num_correct=_counts(by_question["correct_sum"]),
            num_well_formed=_counts(by_question["well_formed_sum"]),
            num_well_formed_correct=_counts(by_question["well_formed_correct_sum"]),
            verdicts={verdict: verdicts.get(verdict, 0) for verdict in VERDICTS},
            num_truncated=int(pc.sum(pc.equal(samples["finish_reason"], "length")).as_py()),
            num_unboxed=int(pc.sum(pc.invert(samples["boxed"])).as_py()),
        )


def _by_question(samples: pa.Table) -> pa.Table:
    correct = pc.greater(samples["accuracy"], 0.5)
    well_formed = pc.and_(samples["boxed"], pc.equal(samples["finish_reason"], "stop"))
    columns = {name: samples[name] for name in QUESTION_COLUMNS} | {
        "correct": pc.cast(correct, pa.int64()),
        "well_formed": pc.cast(well_formed, pa.int64()),
        "well_formed_correct": pc.cast(pc.and_(correct, well_formed), pa.int64()),
    }
    sums = [("correct", "count"), ("correct", "sum"), ("well_formed", "sum"), ("well_formed_correct", "sum")]
    return pa.table(columns).group_by(list(QUESTION_COLUMNS)).aggregate(sums).sort_by("row_id")


def _counts(column: pa.ChunkedArray) -> Counts:
    return np.asarray(column.to_numpy(), dtype=np.int64)
