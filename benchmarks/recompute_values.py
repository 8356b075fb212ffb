"""What the sentences of the first page speak of, by name and in the units that they are printed in, for recompute_report.py."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from recompute_costs import alone, hours_of, is_whole_machine, per, points_of
from recompute_gains import effect_of_pairs
from recompute_plans import TIMES, Plan, more_needed, plan_of, scarcer
from recompute_scores import BY_SEED, models, pairs
from recompute_statistics import Range, detectable, exaggeration
from recompute_study import ArmRuns, Study, vanilla
from recompute_training import fifths
from recompute_verdicts import Judged, alone_if_single

Values = dict[str, float]


def of_arm(study: Study, arm: ArmRuns, one: Judged | None) -> Values:
    """Everything that may be said of one arm; `one` is None for the reference."""
    split, setting = study.endpoint["split"], study.endpoint["setting"]
    sides = {"cut_off_before": vanilla(arm, split, setting), "cut_off": study.picked(arm, split, setting)}
    cut = {name: share_cut_off(found) for name, found in sides.items()}
    values: Values = {"alarmed": sum(bool(run.alerts) for run in arm.runs), "runs": len(arm.runs), "used": len(arm.used)}
    values |= cut | solved(study, arm)
    foreign = [fifths(run, "language/foreign_share") for run in arm.used]
    for place, name in enumerate(("foreign_first", "foreign_last")):
        values[name] = 100 * mean([of_run[place] for of_run in foreign if not math.isnan(of_run[place])])
    hours = hours_of(study)
    if one is None:
        return values | costs(study, arm, hours=hours)
    values |= {"seeds_of_arm": len(one.scores), "seeds_of_reference": len(one.others)}
    values |= costs(study, arm, hours=hours) | cost_of_more(study, arm, one=one, hours=hours)
    values["late"] = sum(is_late(study, arm, seed) for seed in one.scores)
    return values | (effects(one) if one.effect is not None else {}) | (designs(one) if not math.isnan(one.p) else {})


def effects(one: Judged) -> Values:
    """The difference with its intervals, in points, and what it rests on."""
    values: Values = {"delta": 100 * one.delta, "family": one.family, "seeds": one.seeds, "look_level": 100 * one.look_level}
    intervals = {"": one.ends(one.confidence), "_alone": one.ends(), "_narrow": one.ends(1 - 2 * one.look_level)}
    for name, ends in (intervals | {"_same": one.ends(with_questions=False)}).items():
        values |= {f"low{name}": 100 * ends[1], f"high{name}": 100 * ends[2], "gain": 100 * ends[0], "size": abs(100 * ends[0])}
    values |= {
        "confidence": 100 * one.confidence,
        "narrow": 100 * (1 - 2 * one.look_level),
        "p": one.p,
        "adjusted_p": one.adjusted,
    }
    for name, side in (("before", one.others), ("after", one.scores)):
        values[name] = 100 * mean([asked.accuracy for asked in side.values()])
    assert one.effect is not None
    values |= {f"{end}_run": 100 * alone_if_single(one)[f"this_run_only_{end}"] for end in ("low", "high")}
    questions = num_questions(one)
    return values | {"questions": questions, "images": one.effect.images, "unseen": 100 * 0.8**one.seeds}


def designs(one: Judged) -> Values:
    """What this study would find, and what larger ones."""
    effect = one.effect
    assert effect is not None
    values = of_range("found", detectable(effect, one.first_level, n=effect.n, images=effect.images), scale=100)
    if one.outcome == "improvement":
        truth = max(one.delta, one.ends(one.confidence)[1])
        values |= {"truth": 100 * truth, "factor": exaggeration(effect, one.first_level, truth)}
    if one.outcome == "open":
        is_seeds = scarcer(one) == "seeds"
        now, other = (one.seeds, num_questions(one)) if is_seeds else (num_questions(one), one.seeds)
        values |= {"now": now, "four_times": TIMES * other}
        wanted = {"for_delta": (one.delta, 0), "for_measured": (abs(effect.g), 0), "with_four_times": (one.delta, TIMES)}
        for name, (size, times) in wanted.items():
            found = more_needed(one, size, times)
            values |= of_range(name, found if is_seeds else in_questions(one, found))
    return values


def num_questions(one: Judged) -> int:
    """That were asked of each seed."""
    return len(next(iter(one.scores.values())).questions)


def in_questions(one: Judged, images: Range) -> Range:
    """As many questions of each image as now; whole ones."""
    assert one.effect is not None
    each = num_questions(one) / one.effect.images
    first, low, high = (end if math.isinf(end) else float(math.ceil(round(each * end, 6))) for end in images)
    return first, low, high


def of_range(name: str, found: Range, *, scale: float = 1) -> Values:
    """Three numbers."""
    one, low, high = (scale * end for end in found)
    return {name: one, f"{name}_low": low, f"{name}_high": high}


def solved(study: Study, arm: ArmRuns) -> Values:
    """How the share of questions that most tries solve changed, in points."""
    split = study.endpoint["split"]
    tried = {cell[2]: asked.k for cell, asked in arm.used[0].cells.items() if cell[1] == split}
    found = pairs(study, arm, split, max(tried, key=lambda setting: tried[setting])) if tried else []
    effect = effect_of_pairs(found) if found else None
    if effect is None or len(found) < 2:
        return {}
    return dict(zip(("solved", "low_solved", "high_solved"), (100 * end for end in effect.ends()), strict=True))


def share_cut_off(found: BY_SEED) -> float:
    """In percent of all samples."""
    ended = [asked.samples["finish_reason"] == "length" for asked in found.values()]
    return 100 * sum(int(each.sum()) for each in ended) / max(1, sum(map(len, ended)))


def is_late(study: Study, arm: ArmRuns, seed: int) -> bool:
    """Whether validation picked the last of several epochs."""
    (run,) = (run for run in arm.used if run.seed == seed)
    epochs = [asked.epoch for asked in run.tried(study.endpoint["picked_by"], study.endpoint["setting"])]
    return len(epochs) > 1 and study.picked_epoch(run) == epochs[-1]


def costs(study: Study, arm: ArmRuns, *, hours: Mapping[str, float]) -> Values:
    """Of the runs that are there."""
    timed = [run for run in arm.used if not math.isnan(hours[str(run.folder)])]
    spent = [hours[str(run.folder)] for run in timed]
    values: Values = {"shortest": 60 * min(spent, default=math.nan), "longest": 60 * max(spent, default=math.nan)}
    rate = per([points_of(study, each) for each in timed], spent)
    values["minutes_of_a_point"] = 60 / rate if rate > 0 else math.nan
    return values | in_both_units({"one": mean(spent), "of_all_runs": mean(spent) * len(arm.used)})


def cost_of_more(study: Study, arm: ArmRuns, *, one: Judged, hours: Mapping[str, float]) -> Values:
    """Of runs that are missing, of all again, and of the plan that is recommended."""
    run = cost_of_a_run(arm, hours=hours)
    missing, plan = missing_of(one), plan_of(one)
    values: Values = {"missing_runs": missing}
    named = {"missing_cost": run * missing, "again": run * len(one.scores)}
    if plan is not None:
        asked = in_questions(one, plan.questions)
        values |= of_range("plan_seeds", plan.seeds) | of_range("plan_questions", asked)
        values |= {"planned_seeds": plan.seeds[0], "planned_questions": asked[0], "plan_size": 100 * plan.size}
        values["plan_runs"], named["plan_cost"] = of_plan(study, one, plan=plan, hours=hours)
    return values | in_both_units(named)


def cost_of_a_run(arm: ArmRuns, *, hours: Mapping[str, float]) -> float:
    """The mean of those that are known."""
    return mean([hours[str(run.folder)] for run in arm.used if not math.isnan(hours[str(run.folder)])])


def of_plan(study: Study, one: Judged, *, plan: Plan, hours: Mapping[str, float]) -> tuple[float, float]:
    """Runs that are missing on both sides, and what they take."""
    runs, spent = 0.0, 0.0
    for label, side in ((one.label, one.scores), (one.reference, one.others)):
        for arm in (arm for arm in study.arms if arm.label == label):
            missing = max(0.0, plan.seeds[0] - len(side))
            runs, spent = runs + missing, spent + (missing * cost_of_a_run(arm, hours=hours) if missing else 0.0)
    return runs, spent


def missing_of(one: Judged) -> int:
    """Runs up to three seeds of an arm, where seeds are what keeps it from being judged."""
    is_decided = one.outcome not in ("not_judged", "open")
    return 0 if is_decided or (one.scores and one.effect is None) else max(0, 3 - len(one.scores))


def in_both_units(hours: Mapping[str, float]) -> Values:
    """Costs are printed in minutes below an hour."""
    return {f"{name}_hours": value for name, value in hours.items()} | {
        f"{name}_minutes": 60 * value for name, value in hours.items()
    }


def mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def of_study(study: Study, *, judged: Sequence[Judged], problems: int) -> Values:
    """What is said of all arms together."""
    hours, outcomes = hours_of(study), Counter(one.outcome for one in judged)
    known = {
        arm.label: [hours[str(run.folder)] for run in arm.used if not math.isnan(hours[str(run.folder)])] for arm in study.arms
    }
    timed = [arm for arm in study.arms if known[arm.label]]
    of_a_run = [mean(known[arm.label]) for arm in timed]
    everything = math.fsum(mean(known[arm.label]) * len(arm.used) for arm in timed)
    named = {"all_cost": everything, "cheapest": min(of_a_run, default=math.nan), "dearest": max(of_a_run, default=math.nan)}
    named["all_missing_cost"] = math.fsum(missing_of(one) * mean(known[one.label]) for one in judged if missing_of(one))
    values: Values = {name: outcomes[name] for name in ("improvement", "harm", "no_difference", "open", "not_judged")}
    values |= {
        "all": len(judged),
        "arms_with_times": len(timed),
        "arms_without_times": len(study.arms) - len(timed),
        "all_runs": sum(len(arm.used) for arm in timed),
    }
    values |= {"other_improvements": outcomes["improvement"] - 1, "problems": problems}
    runs = [run for arm in study.arms for run in arm.runs if not math.isnan(alone(run))]
    untold = [
        run for run in runs if not run.manifest.get("history") and (is_whole_machine(run) or not run.manifest.get("machine"))
    ]
    finished = [run for arm in [*study.arms, *study.others] for run in arm.runs if run.manifest["status"] == "finished"]
    values |= {"told": len(runs), "untold": len(untold), "finished": len(finished)}
    values["unverified"] = sum(not (run.folder / "hashes.json").is_file() for run in finished)
    redone = {one.label: max(3, len(one.scores)) for one in judged if one.outcome in ("open", "not_judged") and one.effect}
    named["redone_cost"] = math.fsum(runs * mean(known[label]) for label, runs in redone.items())
    values["redone_runs"] = sum(redone.values())
    values["all_missing_runs"] = sum(map(missing_of, judged))
    return values | {"models": len(models(study)) + len(study.arms)} | in_both_units(named)
