"""What a study is judged by, as its runs declared it, and what each seed scored there at the epoch that validation selected."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from vlm_rl.arm_hash import PLAN
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.results import Results, selected_epoch
from vlm_rl.reports.reading.runs import ReportError

VANILLA = "vanilla"  # the reference that stands for each arm's own vanilla model
Origin = Literal["declared", "not_declared", "contradictory", "afterwards"]
MEASURE = ("split", "setting", "picked_by")
USUAL = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")  # where the runs declared none


@dataclass(frozen=True, kw_only=True)
class EndpointChoice:
    """What is judged, and what that is worth: only a declared one can carry an improvement."""

    endpoint: Endpoint
    origin: Origin  # when it was chosen
    declares_effect: bool = False  # whether all runs name one and the same smallest effect that matters

    @property
    def is_declared(self) -> bool:
        """Whether it was fixed before any result was seen."""
        return self.origin == "declared"

    @property
    def note(self) -> Phrase:
        """What is judged and since when that is fixed, as a sentence."""
        measure = "single_answers" if k_of(self.endpoint.setting) == 1 else "questions_solved"
        name = say_named(f"endpoint.{measure}", **values_of(self.endpoint))
        return say_named(f"endpoint.{self.origin}", endpoint=name)


def values_of(endpoint: Endpoint) -> dict[str, Any]:
    """What it is called in sentences."""
    return {"split": endpoint.split, "setting": title_of(endpoint.setting), "picked_by": endpoint.picked_by}


def choose_endpoint(records: Records, *, override: Endpoint | None = None) -> EndpointChoice:
    """The endpoint that all trained runs declared, or the usual one with what is wrong; an override counts as chosen afterwards.

    Of its plan (reference, smallest effect, seeds, looks) each part is the one that all of them declared, those of the reference too:
    nobody had seen how it would do. Where they differ it is the usual one.
    """
    found = {declared_endpoint(run.run.config) for arm in records.trained for run in arm.runs}
    plans = [{name: getattr(endpoint or USUAL, name) for name in PLAN} for endpoint in found]
    plan = {name: plans[0][name] for name in PLAN if len({plan[name] for plan in plans}) == 1}
    declared = {endpoint and replace(USUAL, **_measure_of(endpoint), **plan) for endpoint in found}
    (agreed,) = declared if len(declared) == 1 else (None,)
    names_effect = all("smallest_effect" in _declared(run.run.config) for arm in records.trained for run in arm.runs)
    declares_effect = agreed is not None and names_effect and "smallest_effect" in plan
    if override is not None and (override := replace(USUAL, **_measure_of(override), **plan)) != agreed:
        return EndpointChoice(endpoint=override, origin="afterwards", declares_effect=declares_effect)
    if agreed is not None:
        return EndpointChoice(endpoint=agreed, origin="declared", declares_effect=declares_effect)
    return EndpointChoice(endpoint=USUAL, origin="contradictory" if declared - {None} else "not_declared")


def _measure_of(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in MEASURE}


def _declared(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`evaluation.scheme.endpoint`; nothing where a config has none."""
    declared = config.get("evaluation", {}).get("scheme", {}).get("endpoint")
    return declared if isinstance(declared, Mapping) else {}


def declared_endpoint(config: Mapping[str, Any]) -> Endpoint | None:
    """`evaluation.scheme.endpoint` of a run's config; None where it has none, or one that no run would have been started with."""
    declared = _declared(config)
    is_plain = all(isinstance(declared.get(name), str | int | float | None) for name in (*MEASURE, *PLAN))
    if not set(MEASURE) <= declared.keys() or not is_plain:
        return None
    try:
        return Endpoint(**{key: declared[key] for key in (*MEASURE, *PLAN) if key in declared})
    except (ValueError, TypeError):  # of a manifest that somebody wrote by hand
        return None


def choose_reference(records: Records, *, choice: EndpointChoice, reference: str | None) -> Arm | None:
    """The arm whose label or variant `reference` is, else declared by the runs and one of several here; None: the vanilla models."""
    name = choice.endpoint.reference if reference is None else reference
    called = [arm for arm in records.family if is_called(arm, name=name)]
    found = [arm for arm in called if arm.label == name] or called
    if name in (None, VANILLA) or (reference is None and (not found or len(records.family) == 1)):
        return None
    if len(found) != 1:
        labels = ", ".join([VANILLA, *(arm.label for arm in records.family)])
        problem = f"is the variant of {len(found)} arms" if found else "is no arm of these studies"
        raise ReportError(f"report.reference={name} {problem}. Pass one of: {labels}.")
    return found[0]


def is_called(arm: Arm, *, name: str | None) -> bool:
    """Whether a name is the label or the variant of an arm."""
    return arm.label == name or any(run.run.variant == name for run in arm.runs)


@dataclass(frozen=True, kw_only=True)
class EndpointScores:
    """One side of a comparison: an evaluation for each seed, in order of seeds, and the runs that have none."""

    evaluations: dict[int, Evaluation]  # by seed
    dropped: tuple[Phrase, ...]

    def matrix(self) -> Float[np.ndarray, "seeds questions"]:
        """Mean score of each question in each seed; all seeds answered the same questions."""
        return np.stack([evaluation.scores() for evaluation in self.evaluations.values()])


def trained_scores(arm: Arm, *, endpoint: Endpoint) -> EndpointScores:
    """Each finished run at its selected epoch."""
    found = Results(arm=arm, split=endpoint.split, setting=endpoint.setting, endpoint=endpoint).selected
    unfinished = [say("seed {seed} did not finish", seed=run.run.seed) for run in arm.left_out]
    lacking = sorted((run for run in arm.used if run.run.seed not in found), key=lambda run: run.run.seed)
    dropped = (*unfinished, *(_what_it_lacks(run, endpoint=endpoint) for run in lacking))
    return EndpointScores(evaluations=found, dropped=dropped)


def _what_it_lacks(run: RunRecords, *, endpoint: Endpoint) -> Phrase:
    epoch = selected_epoch(run, endpoint=endpoint)
    if epoch is None:
        return say("seed {seed} has no evaluation on {split}", seed=run.run.seed, split=endpoint.picked_by)
    values = {"seed": run.run.seed, "split": endpoint.split, "epoch": epoch}
    return say("seed {seed} has no evaluation on {split} at epoch {epoch}", **values)


def vanilla_scores(arm: Arm, *, endpoint: Endpoint) -> EndpointScores:
    """The vanilla model under each seed of an arm."""
    found = Results(arm=arm, split=endpoint.split, setting=endpoint.setting, endpoint=endpoint).vanilla
    lacking = sorted({run.run.seed for run in arm.used} - found.keys())
    dropped = (
        say("seed {seed} has no evaluation of its vanilla model on {split}", seed=seed, split=endpoint.split)
        for seed in lacking
    )
    return EndpointScores(evaluations=found, dropped=tuple(dropped))
