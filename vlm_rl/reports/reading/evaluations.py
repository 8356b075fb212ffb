"""From evaluation files (a row for each sample) to scores by question. No text is kept here."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question
from vlm_rl.evaluation.records import by_question
from vlm_rl.evaluation.response_length import FormatCounts
from vlm_rl.evaluation.response_metrics import VERDICTS, is_correct
from vlm_rl.evaluation.settings import SETTING_NAME, k_of
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.files import UnreadableRows, over_files, read_object
from vlm_rl.reports.reading.rejudge import RIGHT, Rejudge, VerdictChanges, judged, read_stored

QUESTION_COLUMNS = ("row_id", "image_id", "kind", "modality", "fields")
NAMED = ("modality", "kind")  # what every row says of itself


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of a split, ordered by row id. Evaluations of the same questions share one object."""

    row_id: tuple[str, ...]
    image_id: tuple[str, ...]  # "" without a figure
    kind: tuple[str, ...]
    modality: tuple[str, ...]
    fields: tuple[str, ...]  # JSON object of what else is known of a row

    @property
    def asked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What must agree for answers to be compared: the questions and the figures shown with them."""
        return self.row_id, self.image_id

    def images(self) -> list[str]:
        """The cluster of each question: its image, or itself where it has none."""
        return [image or row for image, row in zip(self.image_id, self.row_id, strict=True)]

    def values(self, name: str) -> list[str]:
        """A field of each question, "" where it has none: `modality`, `kind` or any key of `fields`."""
        if name in NAMED:
            return list(getattr(self, name))
        return [fields.get(name, "") for fields in self._fields]

    @cached_property
    def _fields(self) -> list[Mapping[str, str]]:
        return [fields_of(text) for text in self.fields]


def fields_of(text: str) -> dict[str, str]:
    """The further fields of a row, from the column `fields`; what is no JSON object says nothing."""
    try:
        found = read_object(text)
    except ValueError:
        return {}
    return {name: text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for name, text in found.items()}


PLACE = ("epoch", "split", "setting")  # what every row says of the file that it is in
COLUMNS = (*QUESTION_COLUMNS, *PLACE, "verdict", "accuracy", "boxed", "finish_reason", "judge_version")
EVALUATION_FILE = re.compile(rf"(?P<split>.+?)_(?P<setting>{SETTING_NAME.pattern})\.parquet")

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AsStored:
    """What the rows of a file say themselves, whoever judges them now: it must agree with what was logged and configured."""

    accuracy: float  # pass@k by the accuracies in the file
    num_contradictions: int  # rows whose verdict and accuracy do not agree
    samples: tuple[int, int]  # the first and the last number of a sample
    is_in_place: bool  # whether the rows name the epoch, split and setting of their file


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
    stored: AsStored | None = None  # None for what was never in a file
    judged_again: VerdictChanges | None = None  # where the judge of this version did so

    @cached_property
    def run_folder(self) -> Path:
        """The run that was evaluated, which may be the vanilla model of several others."""
        return self.path.parents[2].resolve()

    def scores(self) -> NDArray[np.float64]:
        """pass@k of each question, with the setting's k."""
        return self._scores

    @cached_property
    def _scores(self) -> NDArray[np.float64]:
        found = pass_at_k_by_question(self.num_correct, num_samples=self.num_samples, k=k_of(self.setting))
        found.flags.writeable = False  # all who ask share it
        return found

    def accuracy(self) -> float:
        """pass@k averaged over questions."""
        return self._accuracy

    @cached_property
    def _accuracy(self) -> float:
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
    unreadable: dict[Path, tuple[Phrase, ...]] = field(default_factory=dict)  # by run folder: files that are left out, and why
    _questions: dict[Questions, Questions] = field(default_factory=lambda: recall("questions", make=dict))
    _read: dict[Path, tuple[Evaluation, ...]] = field(default_factory=dict)

    def read_folder(self, run_folder: Path) -> tuple[Evaluation, ...]:
        """Every complete evaluation of a run, in order of epochs; a folder that several arms share is read once."""
        folder = run_folder.resolve()
        if folder not in self._read:
            found = over_files(self._evaluation, sorted(run_folder.glob("evaluations/epoch-*/*.parquet")))
            self.unreadable[folder] = tuple(
                say("{problem} It is left out.", problem=why) for why in found if isinstance(why, str)
            )
            self.problems += self.unreadable[folder]
            self._read[folder] = tuple(one for one in found if isinstance(one, Evaluation))
        return self._read[folder]

    def _evaluation(self, path: Path) -> Evaluation | str:
        """The evaluation in a file, or what is wrong with it."""
        return recall("evaluation", stamp_of(path), self.rejudge, make=lambda: self._evaluate(path))

    def _evaluate(self, path: Path) -> Evaluation | str:
        named = EVALUATION_FILE.fullmatch(path.name)
        epoch = path.parent.name.removeprefix("epoch-")
        if named is None or not epoch.isdecimal():
            return say("{path} is not named <split>_<setting>.parquet in a folder epoch-<number>.", path=path)
        try:
            stored = read_stored(path, columns=COLUMNS, rejudge=self.rejudge)
        except UnreadableRows as error:
            return error.reason
        split, setting = named["split"], named["setting"]
        samples, changed = judged(stored, rejudge=self.rejudge)
        questions, counts = by_question(samples, keys=QUESTION_COLUMNS, counted=_counted(samples))
        if (fewest := int(counts["num_samples"].min())) < k_of(setting):
            return say("{path} has a question with {fewest} samples, too few for its k.", path=path, fewest=fewest)
        verdicts = {entry["values"]: entry["counts"] for entry in pc.value_counts(samples["verdict"]).to_pylist()}
        asked = Questions(**{name: tuple(values) for name, values in questions.to_pydict().items()})
        return Evaluation(
            path=path,
            epoch=int(epoch),
            split=split,
            setting=setting,
            questions=self._questions.setdefault(asked, asked),
            **counts,
            verdicts={verdict: verdicts.get(verdict, 0) for verdict in VERDICTS},
            num_truncated=pc.sum(pc.equal(samples["finish_reason"], "length")).as_py(),
            num_unboxed=samples.num_rows - pc.sum(samples["boxed"], min_count=0).as_py(),
            judge_versions=tuple(sorted(pc.unique(samples["judge_version"]).to_pylist())),
            stored=_as_stored(stored, epoch=int(epoch), split=split, setting=setting),
            judged_again=changed,
        )


def _as_stored(samples: pa.Table, *, epoch: int, split: str, setting: str) -> AsStored:
    correct, is_right = is_correct(samples), np.asarray(pc.equal(samples["verdict"], RIGHT))
    _, counts = by_question(samples, keys=("row_id",), counted={"correct": correct})
    scores = pass_at_k_by_question(counts["num_correct"], num_samples=counts["num_samples"], k=k_of(setting))
    numbers = pc.min_max(pc.fill_null(samples["sample"], -1)).as_py()
    epochs, splits, settings = (pc.unique(samples[name]).to_pylist() for name in PLACE)
    return AsStored(
        accuracy=float(scores.mean()),
        num_contradictions=int((correct != is_right).sum()),
        samples=(numbers["min"], numbers["max"]),
        is_in_place=({round(each or 0) for each in epochs}, splits, settings) == ({epoch}, [split], [setting]),
    )


def _counted(samples: pa.Table) -> dict[str, NDArray[np.bool_]]:
    """Which samples are right, which are well-formed (a box, and an end of their own), and which are both."""
    correct, boxed = is_correct(samples), np.asarray(pc.fill_null(samples["boxed"], False))
    well_formed = boxed & np.asarray(pc.equal(samples["finish_reason"], "stop"))
    return {"correct": correct, "well_formed": well_formed, "well_formed_correct": correct & well_formed}
