"""Every image-text-to-text class of the installed Transformers: what works, what is refused and with which sentence, what is untested.

    python benchmarks/families.py                           # all, about a quarter of an hour on 2 cores
    python benchmarks/families.py --only qwen3_5 llava      # some
    python benchmarks/families.py --docs docs/models.md     # and the table into that page

Each class is built at its default sizes without weights: is it one that the loop can train, and what would adapters reach? Those of
which the tests have a small model go the whole way, from the first forward to merged weights (tests/models/families/whole_trial.py).
The others are cut down and read text: training and sampling against the model's own forward, and whether a token sees later ones.
"""

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / folder) for folder in ("", "commands", "models"))]

import transformers  # noqa: E402 - what the tests share lies outside of the path
from families.build import FAMILIES, NEW_FAMILIES  # noqa: E402
from family_trials import TOLERANCE, at_default_sizes, on_text, whole_way  # noqa: E402
from forking import Forking  # noqa: E402
from marked_page import write_between  # noqa: E402
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES  # noqa: E402

BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
WORDS = {"works": "works", "text": "works on text", "refused": "refused", "untested": "untested"}
FAILS = "a forward over prompt and response fails"
MOST_CHARS = 230  # of a sentence in the table


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was found of one class."""

    family: str
    outcome: str  # a key of WORDS
    said: str  # figures, the sentence of a refusal, or why nothing could be run
    billions: float | None  # of parameters, at the sizes of the class itself
    reached: float | None  # share of the language part's matrices that adapters reach with `all`


def line_of(family: str, *, forking: Forking) -> Line:
    """All that can be run of a class."""
    size = at_default_sizes(family)
    common = {"family": family, "billions": size.billions, "reached": size.reached}
    is_known = family in (*FAMILIES, *NEW_FAMILIES)
    if size.refused and not is_known:  # by default some classes have no vision part, or none that reads pictures
        return Line(outcome="refused", said=size.refused, **common)
    with tempfile.TemporaryDirectory() as folder:
        if is_known:
            said, is_right = whole_way(family, Path(folder), forking=forking)
            return Line(outcome="works" if is_right else "WRONG", said=said, **common)
        if size.unbuilt:
            return Line(outcome="untested", said=size.unbuilt, **common)
        try:
            refusals = on_text(family, Path(folder))
        except Exception as error:  # a class may want more than text, or not stand being cut down
            reason = f"small model not built or not run: {type(error).__name__}: {error}"
            return Line(outcome="untested", said=reason, **common)
    if refusals and FAILS in refusals[0]:
        return Line(outcome="untested", said=f"its default config in small: {refusals[0].partition(FAILS)[2]}", **common)
    if refusals:
        return Line(outcome="refused", said=refusals[0], **common)
    return Line(outcome="text", said="small random model, text alone; pictures untested", **common)


def table(lines: Sequence[Line]) -> str:
    """The page's part, in Markdown."""
    counts = {word: sum(line.outcome == key for line in lines) for key, word in WORDS.items()}
    rows = [
        f"| {line.family} | {WORDS.get(line.outcome, line.outcome)} | {_cell(line.billions, '.1f')} | "
        f"{_cell(None if line.reached is None else 100 * line.reached, '.0f')} | {_short(line.said)} |"
        for line in sorted(lines, key=lambda line: ([*WORDS, line.outcome].index(line.outcome), line.family))
    ]
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return "\n".join(
        [
            f"Transformers {transformers.__version__}, {datetime.now(UTC):%Y-%m-%d}, {len(lines)} classes: {told}. Differences are the "
            f"largest of the whole way, in nats; {TOLERANCE:g} is allowed. Size: of the class's own default config, in billions of "
            "parameters. `all`: the share of the language part's weights in matrices that adapters reach with it, in %.",
            "",
            "| class | result | size | `all` | what was seen |",
            "|---|---|---:|---:|---|",
            *rows,
        ]
    )


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _short(text: str) -> str:
    """One line for a cell: no folder of this machine, nothing that Markdown reads."""
    plain = re.sub(r"model\.name=/\S+ is a", "it is a", " ".join(text.split()))
    plain = re.sub(r"/\S*/(?=\S)", "", plain).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return plain if len(plain) <= MOST_CHARS else f"{plain[:MOST_CHARS].rsplit(' ', 1)[0]} ..."


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES))
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "families.json")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    forking, lines = Forking(), []
    try:
        for family in asked.only or MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            lines.append(line_of(family, forking=forking))
            print(f"{family}: {lines[-1].outcome}. {_short(lines[-1].said)}", flush=True)
    finally:
        forking.close()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps([asdict(line) for line in lines], indent=1), encoding="utf-8")
    if asked.docs:
        write_between(asked.docs, table(lines), begin=BEGIN, end=END)
    wrong = [line.family for line in lines if line.outcome == "WRONG"]
    sys.exit(f"Differences above {TOLERANCE:g}: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
