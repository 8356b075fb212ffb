"""Tables of gains over the vanilla model, computed anew from evaluation files for recompute_report.py."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from recompute_compare import Anew
from recompute_scores import pairs
from recompute_statistics import Effect, between, effect_of, interval
from recompute_study import Asked, Study
from scipy import stats


def effect_of_pairs(found: list[tuple[Asked, Asked]]) -> Effect | None:
    """Trained minus vanilla, by seed; None where not all were asked the same questions with the same images."""
    first = found[0][1].questions["image"]
    if any(not one.questions["image"].equals(first) for pair in found for one in pair):
        return None
    return effect_of([np.array([(after.scores - before.scores).to_numpy() for before, after in found])], first.tolist())


def this_run(effect: Effect, before: Asked, after: Asked) -> tuple[float, float, float]:
    """What a single run gained, on other questions: t over questions, or Wilson's interval where the vanilla model got nothing right.

    That is for a share, and stands where t would leave 0 to 1 or have no width. It counts as many answers as the scores are worth.
    """
    half = stats.t.ppf(0.975, effect.images - 1) * math.sqrt(effect.question_variance / effect.images)
    low, high = effect.g - half, effect.g + half
    if before.scores.any() or 0 <= low < high <= 1:
        return effect.g, low, high
    scores, size = after.scores, len(after.scores)
    share = float(scores.mean())
    of_images = (scores - share).groupby(after.questions["image"])
    n0 = size**2 / float((of_images.size() ** 2).sum())
    n = n0 * (n0 * share * (1 - share) + 1) / (n0**2 * float((of_images.sum() ** 2).sum()) / size**2 + 1)
    z = stats.norm.ppf(0.975)
    centre, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return effect.g, (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def gain(study: Study) -> Anew:
    """At the picked epochs, paired by seed."""
    rows = []
    for arm, split, setting in product(study.arms, study.splits, study.settings):
        found = pairs(study, arm, split, setting)
        if not found:
            continue
        effect = effect_of_pairs(found)
        row: dict[str, Any] = {"arm": arm.label, "split": split, "setting": setting, "seeds": len(found)}
        row["epochs"] = ", ".join(str(after.epoch) for _, after in found)
        row |= interval("gain", [after.accuracy - before.accuracy for before, after in found])
        row |= {"new_questions": None} if len(found) < 2 else {"this_run_only": None}
        if effect is not None and len(found) > 1:
            row |= between("new_questions", effect.ends(), len(found))
        if effect is not None and len(found) == 1:
            row |= between("this_run_only", this_run(effect, *found[0]), 1)
        row["variance_seeds"] = effect.a if effect else math.nan
        row["variance_questions"] = effect.b if effect else math.nan
        rows.append(row)
    return Anew(name="gain", keys=("arm", "split", "setting"), rows=rows)


def parts_of(one: Asked) -> tuple[float, float, float, float]:
    """Of all samples: share right, share well-formed, share right of these, share right and not well-formed."""
    n, right, formed, both = (int(one.questions[name].sum()) for name in ("n", "right", "formed", "formed_right"))
    return right / n, formed / n, both / formed if formed else math.nan, (right - both) / n


def split_of(before: Asked, after: Asked) -> Iterator[float]:
    """Gain, format, reasoning and outside; format and reasoning are the means of both orders of change."""
    (old, f0, q0, r0), (new, f1, q1, r1) = parts_of(before), parts_of(after)
    q0, q1 = (q1 if math.isnan(q0) else q0), (q0 if math.isnan(q1) else q1)
    q0, q1 = (0.0, 0.0) if math.isnan(q0) else (q0, q1)
    yield from (new - old, ((f1 - f0) * q0 + (f1 - f0) * q1) / 2, ((q1 - q0) * f0 + (q1 - q0) * f1) / 2, r1 - r0)


def gain_split(study: Study) -> Anew:
    """Format or reasoning, at the picked epochs."""
    rows, setting = [], study.endpoint["setting"]
    for arm, split in product(study.arms, study.splits):
        if found := pairs(study, arm, split, setting):
            row: dict[str, Any] = {"arm": arm.label, "split": split, "seeds": len(found)}
            parts = list(zip(*(split_of(*pair) for pair in found), strict=True))
            for name, values in zip(("gain", "format", "reasoning", "outside"), parts, strict=True):
                row |= interval(name, values)
            for name, side in zip(("vanilla", "picked"), zip(*found, strict=True), strict=True):
                n, formed, both = (
                    sum(int(one.questions[key].sum()) for one in side) for key in ("n", "formed", "formed_right")
                )
                row |= {
                    f"well_formed_{name}": formed / n,
                    f"accuracy_if_well_formed_{name}": both / formed if formed else math.nan,
                }
                row["responses"] = n
            rows.append(row)
    return Anew(name="gain_split", keys=("arm", "split"), rows=rows)
