"""The reader of completions as the page needs it: cases with marked words, and each picture once. completions.py does the choosing."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from vlm_rl.datasets.kept_pictures import SIGNATURE, damage_of_picture
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.phrase import Catalogue, Phrase, in_language, listed, names, paragraph, say, say_named
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Records
from vlm_rl.reports.reading.completions import Completion, completions_for_reader, find_images
from vlm_rl.reports.settings import ReaderSize

AROUND = 2  # characters on either side of a word that decide whether a rule counts it
SIGNS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"}
SIGNS |= dict.fromkeys([*range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\ufffd")
HYPHEN = "[-\u2010\u2011]"
TERMS = names("terms")
WORDS = names("reader") | {"count": say("Shown: {shown} of {found}.", shown="{shown}", found="{found}")}
ON_PAGE = (
    *("title", "arm", "seed", "phase", "at", "split", "verdict", "aha", "insight", "images"),
    *("question", "answer", "parts", "left_out", "scores", "length"),
)

Part = tuple[str, bool]  # a piece of a response; whether it is a reflection word
Case = Mapping[str, Any]  # one completion as it is read; words are phrases, all else is what model or data wrote


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Cases, and the pictures that they show."""

    note: str
    cases: tuple[Case, ...]
    images: Mapping[str, bytes]  # key -> PNG


def reader_of(records: Records, *, endpoint: Endpoint, size: ReaderSize) -> Reader:
    """Cases of every run, and their pictures as long as they fit."""
    chosen = completions_for_reader(records, endpoint=endpoint, size=size)
    insights_first = sorted(chosen, key=lambda one: (not one.is_aha, one.epoch == VANILLA_EPOCH))  # stable: else as chosen
    found: dict[str, Path] = {}
    for completion in insights_first:
        for path in find_images(completion):
            found.setdefault(path.stem, path)
    damaged = [key for key, path in found.items() if path.read_bytes().startswith(SIGNATURE) and damage_of_picture(path)]
    for key in damaged:
        del found[key]
    sizes = accumulate(path.stat().st_size for path in found.values())
    images = {key: found[key].read_bytes() for key, total in zip(found, sizes, strict=True) if total <= size.image_bytes}
    note = paragraph(
        say_named("reader.chosen", count=size.cases_per_group, setting=title_of(endpoint.setting)),
        say_named("reader.first"),
        say("Marked: the words that were counted as reflection. Every completion is kept in the run folders."),
        say("{count} pictures did not fit on the page.", count=len(found) - len(images)) if len(images) < len(found) else "",
        say("{count} pictures are damaged and are not shown.", count=len(damaged)) if damaged else "",
    )
    return Reader(note=note, cases=tuple(map(case_of, insights_first)), images=images)


def case_of(completion: Completion) -> Case:
    """One completion as report.json has it."""
    length = say("{tokens} tokens, cut off at the limit", tokens=completion.response_length)
    if completion.finish_reason == "stop":
        length = say("{tokens} tokens, ended by itself", tokens=completion.response_length)
    phase, at = say("evaluation"), say("epoch {epoch:g}", epoch=completion.epoch)
    if completion.phase == "training":
        phase, at = say("training"), say("step {step}", step=completion.generation_steps)
    left_out = completion.num_characters_left_out
    return {
        "arm": completion.arm,
        "seed": completion.run.run.seed,
        "phase": phase,
        "at": at,
        "split": completion.split,
        "setting": completion.setting,
        "verdict": completion.verdict,
        "is_aha": completion.is_aha,
        "images": completion.image_ids,
        "question": completion.question,
        "answer": completion.answer,
        "parts": marked_parts(completion.response, rule=completion.run.training.rule),
        "left_out": say("… and {count} more characters.", count=left_out) if left_out else "",
        "scores": _scores(completion),
        "length": length,
    }


def _scores(completion: Completion) -> Phrase:
    """Each reward term and their weighted sum; + 0.0 makes a penalty of -0 read as 0."""
    terms = [
        say("{term} {value:g}", term=TERMS.get(term, term), value=value + 0.0) for term, value in completion.rewards.items()
    ]
    if completion.score is not None and math.isfinite(completion.score):
        terms.append(say("weighted sum {value:g}", value=completion.score))
    return listed(terms) if terms else say("none: evaluations are judged, not rewarded")


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


def page_data(reader: Reader, *, catalogue: Catalogue) -> dict[str, Any]:
    """What the page shows of a reader, in one language, as reader.js takes it."""
    return {
        "cases": [_on_page(case, reader=reader, catalogue=catalogue) for case in reader.cases],
        "images": {key: f"data:image/png;base64,{base64.b64encode(png).decode()}" for key, png in reader.images.items()},
        "filters": [{"key": key, "title": in_language(title, catalogue=catalogue)} for key, title in names("filters").items()],
        "labels": {"verdict": _shown(names("marks"), catalogue=catalogue)},
        "words": _shown(WORDS, catalogue=catalogue),
    }


def _on_page(case: Case, *, reader: Reader, catalogue: Catalogue) -> dict[str, Any]:
    more = {
        "title": say("{arm}, seed {seed}, {at}, {split}", **case),
        "aha": case["is_aha"],
        "insight": WORDS["aha"] if case["is_aha"] else say("others"),
        "images": [key for key in case["images"] if key in reader.images],
    }
    whole = {**case, **more}
    return {key: _shown(whole[key], catalogue=catalogue) for key in ON_PAGE}


def _shown(value: Any, *, catalogue: Catalogue) -> Any:
    """Every text of a value in the language of the page, with control characters made visible."""
    if isinstance(value, str):
        return visible(in_language(value, catalogue=catalogue))
    if isinstance(value, Mapping):
        return {key: _shown(part, catalogue=catalogue) for key, part in value.items()}
    return [_shown(part, catalogue=catalogue) for part in value] if isinstance(value, list | tuple) else value


def visible(text: str) -> str:
    """Control characters as signs that can be seen; lone surrogates as U+FFFD. Line breaks and tabs stay."""
    return text.translate(SIGNS)


def script_json(data: Any) -> str:
    """Data for reader.js, safe inside a script element: no character of it can end the element or start a tag."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))  # also U+2028 and surrogates
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
