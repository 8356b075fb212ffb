"""From the completions that were chosen to cases of the reader: words marked, pictures found, right ones that reflect first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.page.reader import Case, Reader, marked_parts
from vlm_rl.reports.phrase import Phrase, listed, names, paragraph, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records
from vlm_rl.reports.reading.completions import Completion, completions_for_reader, find_images
from vlm_rl.reports.reading.rejudge import Judging
from vlm_rl.reports.settings import ReaderSize

TERMS = names("terms")
AS_THEY_ARE = ("arm", "seed", "split", "setting", "verdict", "is_aha", "question", "answer")  # of a completion


def reader_of(records: Records, *, endpoint: Endpoint, size: ReaderSize, judge: Judging | None) -> Reader:
    """Cases of every run, and their pictures as long as they fit."""
    chosen = completions_for_reader(
        records,
        endpoint=endpoint,
        cases_per_group=size.cases_per_group,
        aha_cases=size.aha_cases,
        longest=size.longest,
        judge=judge,
    )
    insights_first = sorted(chosen, key=lambda one: (not one.is_aha, one.epoch == UNTRAINED_EPOCH))  # stable: else as chosen
    images, left_out = _pictures(insights_first, records=records, most_bytes=size.image_bytes)
    rules = {run.run.name: run.rule for arm in records.arms for run in arm.runs}
    return Reader(
        note=_note(endpoint, size=size, left_out=left_out),
        cases=tuple(case_of(completion, rule=rules[completion.run]) for completion in insights_first),
        images=images,
    )


def _note(endpoint: Endpoint, *, size: ReaderSize, left_out: int) -> Phrase:
    return paragraph(
        say_named("reader.chosen", count=size.cases_per_group, setting=title_of(endpoint.setting)),
        say_named("reader.first"),
        say("Marked: the words that were counted as reflection. Every completion is kept in the run folders."),
        say("{count} pictures did not fit on the page.", count=left_out) if left_out else "",
    )


def case_of(completion: Completion, *, rule: ReflectionRule) -> Case:
    """One completion as it is read."""
    length = say("{tokens} tokens, cut off at the limit", tokens=completion.response_length)
    if completion.finish_reason == "stop":
        length = say("{tokens} tokens, ended by itself", tokens=completion.response_length)
    trained, left_out = completion.phase == "training", completion.num_characters_left_out
    return Case(
        phase=say("training") if trained else say("evaluation"),
        at=say("step {step}", step=completion.generation_steps) if trained else say("epoch {epoch:g}", epoch=completion.epoch),
        images=completion.image_ids,
        parts=marked_parts(completion.response, rule=rule),
        left_out=say("… and {count} more characters.", count=left_out) if left_out else "",
        scores=_scores(completion),
        length=length,
        **{name: getattr(completion, name) for name in AS_THEY_ARE},
    )


def _scores(completion: Completion) -> Phrase:
    """Each reward term and their weighted sum; + 0.0 makes a penalty of -0 read as 0."""
    terms = [
        say("{term} {value:g}", term=TERMS.get(term, term), value=value + 0.0) for term, value in completion.rewards.items()
    ]
    if completion.score is not None and math.isfinite(completion.score):
        terms.append(say("weighted sum {value:g}", value=completion.score))
    return listed(terms) if terms else say("none: evaluations are judged, not rewarded")


def _pictures(completions: Sequence[Completion], *, records: Records, most_bytes: int) -> tuple[Mapping[str, bytes], int]:
    """Each picture once, in the order of the cases until they are full, and how many did not fit."""
    found: dict[str, Path] = {}
    for completion in completions:
        found |= {path.stem: path for path in find_images(completion, records=records) if path.stem not in found}
    images: dict[str, bytes] = {}
    for key, path in _fitting(found.items(), most_bytes=most_bytes):
        images[key] = path.read_bytes()
    return images, len(found) - len(images)


def _fitting(found: Iterable[tuple[str, Path]], *, most_bytes: int) -> Iterable[tuple[str, Path]]:
    total = 0
    for key, path in found:
        total += path.stat().st_size
        if total > most_bytes:
            return
        yield key, path
