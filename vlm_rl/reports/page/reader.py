"""The reader of completions as the page needs it: cases with marked words, and each picture once. completions.py does the choosing."""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.phrase import Catalogue, Phrase, in_language, listed, names, paragraph, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records
from vlm_rl.reports.reading.completions import Completion, completions_for_reader, find_images
from vlm_rl.reports.reading.rejudge import Judging
from vlm_rl.reports.settings import ReaderSize

SHOWN_WITHOUT_SCRIPT = 6
AROUND = 2  # characters on either side of a word that decide whether a rule counts it
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
HYPHEN = "[-\u2010\u2011]"
VERDICT_LABELS = names("marks")

Part = tuple[str, bool]  # a piece of a response; whether it is a reflection word


@dataclass(frozen=True, kw_only=True)
class Case:
    """One completion as it is read; words are phrases, all else is what model or data wrote."""

    arm: str
    seed: int
    phase: Phrase  # training or evaluation
    at: Phrase  # step 12, epoch 3
    split: str
    setting: str
    verdict: str
    is_aha: bool
    images: tuple[str, ...]  # keys
    question: str
    answer: str
    parts: tuple[Part, ...]
    left_out: str
    scores: str
    length: Phrase

    @property
    def title(self) -> Phrase:
        """Where it comes from."""
        return say("{arm}, seed {seed}, {at}, {split}", arm=self.arm, seed=self.seed, at=self.at, split=self.split)

    @property
    def verdict_label(self) -> str:
        """The verdict as a person reads it."""
        return VERDICT_LABELS.get(self.verdict, self.verdict)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Cases, and the pictures that they show."""

    note: str
    cases: tuple[Case, ...]
    images: Mapping[str, bytes]  # key -> PNG

    @property
    def first(self) -> tuple[Case, ...]:
        """What is read where no script runs."""
        return self.cases[:SHOWN_WITHOUT_SCRIPT]


FILTERS = names("filters")
WORDS = names("reader") | {"count": say("Shown: {shown} of {found}.", shown="{shown}", found="{found}")}


def marked_parts(text: str, *, rule: ReflectionRule) -> tuple[Part, ...]:
    """The response cut at the words that the rule counts, so that what is marked is what was counted."""
    parts: list[Part] = []
    end = 0
    for match in _candidates(rule.words).finditer(text):
        if _is_counted(match, text=text, rule=rule):
            parts += [(text[end : match.start()], False), (match[0], True)]
            end = match.end()
    return tuple(part for part in (*parts, (text[end:], False)) if part[0])


def _is_counted(match: re.Match[str], *, text: str, rule: ReflectionRule) -> bool:
    """Whether the rule finds less once this occurrence is blanked out; what stands further away plays no part."""
    before, after = text[max(0, match.start() - AROUND) : match.start()], text[match.end() : match.end() + AROUND]
    found, without = (rule.count(f"{before}{middle}{after}") for middle in (match[0], " "))
    return sum(found.values()) > sum(without.values())


def _candidates(words: Sequence[str]) -> re.Pattern[str]:
    """Every spelling of every word, long ones first; none where no word is looked for."""
    spelled = [re.escape(word).replace(r"\ ", r"\s+").replace(r"\-", HYPHEN) for word in sorted(words, key=len, reverse=True)]
    return re.compile("|".join(spelled) or r"(?!)", re.IGNORECASE)


def visible(text: str) -> str:
    """Control characters as signs that can be seen; lone surrogates as U+FFFD. Line breaks and tabs stay."""
    return UNSEEN.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 32 else "\ufffd"


def reader_json(reader: Reader, *, catalogue: Catalogue) -> str:
    """Data for reader.js, safe inside a script element: no character of it can end the element or start a tag."""
    labels = {key: in_language(label, catalogue=catalogue) for key, label in VERDICT_LABELS.items()}
    data = {
        "cases": [_case(case, images=reader.images, catalogue=catalogue) for case in reader.cases],
        "images": {key: f"data:image/png;base64,{base64.b64encode(png).decode()}" for key, png in reader.images.items()},
        "filters": [{"key": key, "title": in_language(title, catalogue=catalogue)} for key, title in FILTERS.items()],
        "labels": {"verdict": labels},
        "words": {key: in_language(word, catalogue=catalogue) for key, word in WORDS.items()},
    }
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))  # also U+2028 and surrogates
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _case(case: Case, *, images: Mapping[str, bytes], catalogue: Catalogue) -> dict[str, Any]:
    def words(text: str) -> str:
        return in_language(text, catalogue=catalogue)

    return {
        "title": words(case.title),
        "arm": case.arm,
        "seed": case.seed,
        "phase": words(case.phase),
        "at": words(case.at),
        "split": case.split,
        "verdict": case.verdict,
        "aha": case.is_aha,
        "insight": words(WORDS["aha"] if case.is_aha else say("others")),
        "images": [key for key in case.images if key in images],
        "question": visible(case.question),
        "answer": visible(case.answer),
        "parts": [(visible(text), is_marked) for text, is_marked in case.parts],
        "left_out": words(case.left_out),
        "scores": words(case.scores),
        "length": words(case.length),
    }


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
