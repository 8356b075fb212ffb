"""What other designs would find, and which arms can be told apart, computed anew for recompute_report.py."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from recompute_compare import Anew
from recompute_statistics import MOST, Range, between, detectable, needed
from recompute_study import Study
from recompute_verdicts import Judged, judged, scores_of

PLANNED_SEEDS = (3, 5, 10, 20)
TIMES = 4
MOST_PLANNED_PAIRS = 45
SAID = {"improvement": "told apart", "harm": "told apart", "open": "not told apart"}


def power(found: Sequence[Judged]) -> Anew:
    """What each design finds in four studies of five."""
    rows = []
    for one in (one for one in found if one.effect is not None and not math.isnan(one.p)):
        effect, level = one.effect, one.first_level
        assert effect is not None
        for planned in (None, *(seeds for seeds in PLANNED_SEEDS if {seeds} != set(effect.n))):
            n = effect.n if planned is None else [planned] * len(effect.n)
            now, more = (detectable(effect, level, n=n, images=times * effect.images) for times in (1, TIMES))
            questions = needed(effect, level, size=one.delta, of="questions", n=n, images=effect.images)
            too_few = "none: fewer than three seeds" if min(n) < 3 else ""
            row = {"arm": one.label, "seeds": min(n), "questions": effect.images}
            row |= {"found": too_few or in_points(now), "found_with_more": too_few or in_points(more)}
            row |= {"questions_needed": counted(questions, "questions")}
            rows.append(row | {"found_share": now[0], "found_share_low": now[1], "found_share_high": now[2]})
    return Anew(name="power", keys=("arm", "seeds"), rows=rows)


def pairs(study: Study, *, rows: Sequence[dict[str, Any]]) -> Anew:
    """Every pair of trained arms; which of two is the first is taken from the report's `rows`, and so are refusals."""
    order = {frozenset((row["arm"], row["other"])): (row["arm"], row["other"]) for row in rows}
    refused = [f"{row['arm']} | {row['other']}" for row in rows if str(row["said"]).startswith("not told apart: ")]
    arms = {arm.label: scores_of(study, arm) for arm in study.arms}
    named = [order.get(frozenset(both), both) for both in combinations(arms, 2)]
    found = judged(study, [(f"{a} | {b}", arms[a], arms[b]) for a, b in named], reference=None, refused=refused)
    anew = []
    for one in found:
        row: dict[str, Any] = {"arm": one.label, "other": one.reference} | between("difference", one.ends(), one.seeds)
        row |= {"p_value": one.p, "adjusted_p": one.adjusted}
        row["seeds"] = " + ".join(map(str, one.effect.n)) if one.effect else ""
        row["said"] = SAID.get(one.outcome, f"not told apart, and less than {100 * one.delta:g} points apart")
        for name, size in (("seeds_for_delta", one.delta), ("seeds_as_measured", abs(one.ends()[0]))):
            if len(found) <= MOST_PLANNED_PAIRS:
                row[name] = seeds_for(one, size) if one.outcome == "open" else ""
        anew.append(row)
    why = {"said": "why arms are not judged rests on more than scores"} if refused else {}
    return Anew(name="pairs", keys=("arm", "other"), rows=anew, left_out=why)


def seeds_for(one: Judged, size: float) -> str:
    """Seeds of each arm that tell a pair apart."""
    effect = one.effect
    assert effect is not None
    return counted(needed(effect, one.first_level, size=size, of="seeds", n=effect.n, images=effect.images), "seeds")


def in_points(found: Range) -> str:
    """`about 3.1 (2.0 to 19.4)`."""
    return in_words([f"{100 * end:.1f}" if math.isfinite(end) else "more than 100" for end in found], found)


def counted(found: Range, of: str) -> str:
    """`about 9 (4 to 150)`."""
    beyond = f"more than {MOST[of]:,}"
    return (
        "out of reach"
        if math.isinf(found[1])
        else in_words([f"{int(n):,}" if math.isfinite(n) else beyond for n in found], found)
    )


def in_words(ends: Sequence[str], found: Range) -> str:
    """One number where both limits are the same."""
    return ends[0] if found[1] == found[2] else f"about {ends[0]} ({ends[1]} to {ends[2]})"


def scarcer(one: Judged) -> str:
    """What leaves more to chance."""
    assert one.effect is not None
    return "seeds" if one.effect.a >= one.effect.b else "questions"


def more_needed(one: Judged, size: float, times: int = 0) -> Range:
    """How many of what is scarcer find an effect, with `times` as many of the other (0: with the other as it is)."""
    effect = one.effect
    assert effect is not None
    n = [times * one.seeds] * len(effect.n) if times else effect.n
    images = effect.images
    if scarcer(one) == "seeds":
        n, images = effect.n, (times or 1) * images
    return needed(effect, one.first_level, size=size, of=scarcer(one), n=n, images=images)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The first design that decides: for the smallest effect that matters or the one that was measured."""

    size: float
    seeds: Range
    questions: Range


def plan_of(one: Judged) -> Plan | None:
    """None where nothing is open, or no design of a practical size decides."""
    if one.outcome != "open" or one.effect is None:
        return None
    for size in (one.delta, abs(one.effect.g)):
        for times in (1, TIMES):
            found = more_needed(one, size, times)
            if math.isfinite(found[0]):
                seeds, questions = ((float(times * now),) * 3 for now in (one.seeds, one.effect.images))
                is_seeds = scarcer(one) == "seeds"
                return Plan(size=size, seeds=found if is_seeds else seeds, questions=questions if is_seeds else found)
    return None
