"""Holds runs against all that was written of them when they were made. What does not agree becomes a doubt, in words."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading import asked_counts, logged_scores, own_manifest
from vlm_rl.reports.reading.doubts import Doubt, Kind
from vlm_rl.reports.reading.evaluations import EvaluationReader
from vlm_rl.reports.reading.files import Record
from vlm_rl.reports.reading.hashed_files import State, file_evidence
from vlm_rl.reports.reading.logged_scores import Evaluations
from vlm_rl.reports.reading.runs import Run

AXES = ("generation_steps", "gradient_steps", "epoch")  # alike in every run of an arm


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for and against a run, its vanilla model included."""

    files: State = "unverified"  # its own, by their hashes
    doubts: tuple[Doubt, ...] = ()
    training: str | None = None  # hash of what it logged and scored in training; None where nothing varied


@dataclass(kw_only=True)
class EvidenceReader:
    """Checks run folders, each once: several arms share a vanilla model."""

    evaluations: EvaluationReader
    _known: dict[Path, Evidence] = field(default_factory=dict)

    def of_folder(self, run: Run) -> Evidence:
        """The files and the manifest of a run, by themselves."""
        folder = run.path.resolve()
        if folder not in self._known:
            own = self.evaluations.read_folder(run.path)
            cells = {(one.epoch, one.split, one.setting) for one in own}
            files = file_evidence(run)
            asked = () if run.is_evaluated_only else asked_counts.wrong_counts(run, evaluations=own)
            epochs = () if run.is_evaluated_only else asked_counts.wrong_epochs(run, cells=cells)
            found: dict[Kind, Sequence[Phrase]] = {
                "changed_files": [
                    *self.evaluations.unreadable[folder],
                    *logged_scores.against_itself(run.name, evaluations=own),
                ],
                "other_counts": [*asked, *epochs],
                "changed_config": [*own_manifest.against_config(run)],
            }
            self._known[folder] = Evidence(files=files.state, doubts=(*files.doubts, *_doubts(found)))
        return self._known[folder]

    def of_run(self, run: Run, *, lines: Sequence[Record], evaluations: Evaluations, vanilla: Run | None) -> Evidence:
        """A run with its log, `lines` of metrics.jsonl, and its vanilla model, whose `evaluations` are there, too."""
        own = self.of_folder(run)
        if run.is_vanilla or run.is_evaluated_only:
            return own
        logged = logged_scores.against_log(run.name, lines=lines, evaluations=evaluations, is_finished=run.finished)
        found: dict[Kind, Sequence[Phrase]] = {
            "changed_files": [*logged],
            "changed_config": [*own_manifest.against_log(run, lines=lines, evaluations=evaluations)],
        }
        before = () if vanilla is None else self.of_folder(vanilla).doubts
        doubts = (*own.doubts, *_doubts(found), *before)
        return Evidence(files=own.files, doubts=doubts, training=_training(lines, evaluations=evaluations))


def _doubts(found: Mapping[Kind, Sequence[Phrase]]) -> Iterator[Doubt]:
    yield from (Doubt(kind=kind, said=said) for kind, sentences in found.items() for said in sentences)


def _training(lines: Sequence[Record], *, evaluations: Evaluations) -> str | None:
    """A hash of all numbers that a run logged in training, and of what it answered in each trained epoch."""
    steps = [
        [(key, value) for key, value in sorted(line.items()) if key not in AXES]
        for line in lines
        if line.get("event") == "train"
    ]
    if len({json.dumps(step) for step in steps}) < 2:
        return None
    counts = [(cell, evaluations[cell].num_correct.tolist()) for cell in sorted(evaluations) if cell[0] > 0]
    return hashlib.sha256(json.dumps([steps, counts]).encode(errors="replace")).hexdigest()


def repeated_runs(label: str, *, trained: Mapping[int, Evidence]) -> Iterator[Doubt]:
    """Seeds of an arm, by seed, that logged and answered the very same."""
    first: dict[str, int] = {}
    for seed, evidence in sorted(trained.items()):
        if evidence.training is not None and (other := first.setdefault(evidence.training, seed)) != seed:
            yield Doubt(kind="repeated_run", said=say_named("doubts.repeated", arm=label, first=other, second=seed))
