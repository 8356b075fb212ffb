"""The tables of calibration_robustness.py and calibration_alternatives.py in Markdown, and the bar they are held against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from calibration_alternatives import METHODS, Alternatives
from calibration_robustness import NOT_COVERED
from calibration_studies import Exaggeration, Family, Harder, Looks, PickedEpoch, Study
from calibration_tables import Report, between, percent, table

from vlm_rl.evaluation.looks import error_of_looks

MOST_CLAIMS = 0.06
AnyStudy = TypeVar("AnyStudy")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A study and what came out of it."""

    study: Study
    figures: dict[str, float]

    def held_to_the_bar(self) -> dict[str, float]:
        """The shares of false claims that the rule answers for, by what they are."""
        match self.study:
            case Harder(name=name) if name not in NOT_COVERED:
                return {"claims": self.figures["claims"]}
            case Family():
                return {"false claims by Holm": self.figures["holm"]}
            case PickedEpoch():
                return {"claims at validation's epoch": self.figures["validation"]}
            case Looks():
                return {"claims, the level shared by the looks": self.figures["shared"]}
        return {}


def robustness_tables(results: Sequence[Result]) -> Report:
    """One table after another."""
    missed = tuple(missed_bars(results))
    parts = [
        _summary(results, missed=missed),
        *(_harder(results, paired=paired) for paired in (True, False)),
        _families(results),
        _picked(results),
        _looks(results),
        _exaggeration(results),
        _alternatives(results),
    ]
    return Report(text="\n\n".join(parts), missed=missed)


def missed_bars(results: Sequence[Result]) -> Iterator[str]:
    """A line for each study with too many false claims in a world that the rule covers."""
    for result in results:
        for name, share in result.held_to_the_bar().items():
            if share > MOST_CLAIMS:
                yield f"{_design(result.study)}: {name} {percent(share)} %, the bar is 6 %."


def _design(study: Study) -> str:
    own = (f"{field.name} {getattr(study, field.name)}" for field in fields(study) if field.name != "world")
    return ", ".join([type(study).__name__, "paired" if study.world.paired else "unpaired", *own])


def _summary(results: Sequence[Result], *, missed: Sequence[str]) -> str:
    worlds = [one for result in results if isinstance(result.study, Harder) for one in result.held_to_the_bar().values()]
    others = [one for result in results if not isinstance(result.study, Harder) for one in result.held_to_the_bar().values()]
    lines = [
        f"- Something claimed where the mean gain is 0, in the worlds that the rule covers: {between(worlds)} % (bar: at most 6 %).",
        f"- The same in families, at picked epochs and with a level shared by the looks: {between(others)} % (bar: at most 6 %).",
        f"- Bars missed: {len(missed) or 'none'}.",
    ]
    return "\n".join([*lines, *(f"  - {line}" for line in missed)])


def _of(results: Sequence[Result], kind: type[AnyStudy]) -> Iterator[tuple[AnyStudy, dict[str, float]]]:
    for result in results:
        if isinstance(result.study, kind):
            yield result.study, result.figures


def _harder(results: Sequence[Result], *, paired: bool) -> str:
    rows: dict[str, list[str]] = {}
    designs: dict[str, None] = {}
    for study, figures in _of(results, Harder):
        if study.world.paired == paired:
            designs[f"{study.seeds} seeds, {study.questions} questions"] = None
            claims = f"{percent(figures['claims'])} ({percent(figures['improvements'])})"
            marked = f"**{claims}**" if figures["claims"] > MOST_CLAIMS else claims
            rows.setdefault(study.name, [study.name, "no" if study.name in NOT_COVERED else "yes"]).append(marked)
    title = "the own vanilla model, paired by seed" if paired else "another trained arm, unpaired"
    return table(
        f"Claims where the mean gain is 0, % (false improvements alone): against {title}; bold above 6 %",
        head=("World", "Covered", *designs),
        rows=list(rows.values()),
        words=2,
    )


def _families(results: Sequence[Result]) -> str:
    rows = [
        [
            str(study.arms),
            str(study.with_gain),
            "own vanilla model" if study.world.paired else "trained arm",
            str(study.seeds),
            str(study.questions),
            percent(figures["alone"]),
            percent(figures["holm"]),
            percent(figures["found"]) if study.with_gain else "–",
        ]
        for study, figures in _of(results, Family)
    ]
    head = (
        "Arms",
        "… with a true gain of 10",
        "Against",
        "Seeds",
        "Questions",
        "Each arm alone, %",
        "Holm, %",
        "Gains found, %",
    )
    return table("Families: chance that anything false is claimed (seeds spread 2 points)", head=head, rows=rows)


def _picked(results: Sequence[Result]) -> str:
    rows = [
        [str(study.seeds), str(study.questions), str(study.epochs), percent(figures["validation"]), percent(figures["test"])]
        for study, figures in _of(results, PickedEpoch)
    ]
    head = ("Seeds", "Questions of each split", "Epochs", "Picked by validation, %", "Not allowed: picked by the test split, %")
    return table("Picked epochs: claims where no epoch has a mean gain (paired)", head=head, rows=rows)


def _looks(results: Sequence[Result]) -> str:
    rows = [
        [
            ", ".join(map(str, study.seeds)),
            str(study.questions),
            percent(figures["fresh"]),
            percent(error_of_looks(study.seeds)),
            percent(figures["shared"]),
        ]
        for study, figures in _of(results, Looks)
    ]
    head = (
        "Looks at seeds",
        "Questions",
        "A fresh 5 % test each, %",
        "… by seeds alone (looks.py), %",
        "5 % / looks each, %",
    )
    return table("Looks: chance that anything is ever claimed where there is no effect (paired)", head=head, rows=rows)


def _exaggeration(results: Sequence[Result]) -> str:
    rows: dict[float, list[str]] = {}
    designs: dict[str, None] = {}
    for study, figures in _of(results, Exaggeration):
        designs[f"{study.seeds} seeds, {study.questions} questions"] = None
        factor = f"× {figures['gains'] / figures['found']:.2f}" if figures["found"] else "–"
        rows.setdefault(study.world.gain, [percent(study.world.gain)]).append(f"{percent(figures['found'])} → {factor}")
    return table(
        "Exaggeration: improvements found, % → their mean measured gain over the true one (paired, seeds spread 2 points)",
        head=("True gain, points", *designs),
        rows=list(rows.values()),
    )


def _alternatives(results: Sequence[Result]) -> str:
    columns = list(_of(results, Alternatives))
    names = {"left-skewed": "Claims, skewed seeds", "normal": "Claims, normal seeds"}
    head = [f"{'Power' if study.world.gain else names[study.world.seeds_like]}, {study.seeds} seeds, %" for study, _ in columns]
    rows = [
        [method, *("–" if figures[method] != figures[method] else percent(figures[method]) for _, figures in columns)]
        for method in METHODS
    ]
    title = "Other rules (paired, 600 questions; power for normal seeds that spread 2 points)"
    return table(title, head=("Rule", *head), rows=rows, words=1)
