"""What a study is judged by, as its runs declared it, and what each seed scored there at the epoch that validation picked."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.results import picked_epoch

USUAL = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")  # where the runs declared none


class Origin(enum.Enum):
    """When the endpoint was chosen; only a declared one can carry an improvement."""

    DECLARED = "declared by the runs before they started"
    NOT_DECLARED = "not declared before the runs"
    CONTRADICTORY = "declared differently by different runs"
    AFTERWARDS = "chosen after the runs"


@dataclass(frozen=True, kw_only=True)
class EndpointChoice:
    """What is judged, and what that is worth."""

    endpoint: Endpoint
    origin: Origin

    @property
    def is_declared(self) -> bool:
        """Whether it was fixed before any result was seen."""
        return self.origin is Origin.DECLARED

    def declares(self, reference: Arm | None) -> bool:
        """Whether all runs named this arm as their reference; None, each arm's own untrained model, is no choice to be made."""
        return reference is None or is_called(reference, name=self.endpoint.reference)

    @property
    def name(self) -> Phrase:
        """`the share of right single answers on test (pass@1, T = 0.6) at the epoch that val picks`."""
        if k_of(self.endpoint.setting) == 1:
            return say_named("endpoint.single_answers", **values_of(self.endpoint))
        return say_named("endpoint.questions_solved", **values_of(self.endpoint))

    @property
    def note(self) -> Phrase:
        """What is judged and since when that is fixed, as a sentence."""
        return say_named(f"endpoint.{self.origin.name.lower()}", endpoint=self.name)


def values_of(endpoint: Endpoint) -> dict[str, Any]:
    """What it is called in sentences."""
    return {"split": endpoint.split, "setting": title_of(endpoint.setting), "picked_by": endpoint.picked_by}


def choose_endpoint(records: Records, *, override: Endpoint | None = None) -> EndpointChoice:
    """The endpoint that all trained runs declared, or the usual one with what is wrong; an override counts as chosen afterwards.

    Its reference is the one that all of them declared, those of the reference too: nobody had seen how it would do.
    """
    found = {declared_endpoint(run.run.config) for arm in records.trained for run in arm.runs}
    references = {None if endpoint is None else endpoint.reference for endpoint in found}
    reference = next(iter(references)) if len(references) == 1 else None
    declared = {None if endpoint is None else replace(endpoint, reference=reference) for endpoint in found}
    agreed = next(iter(declared)) if len(declared) == 1 else None
    if override is not None and (override := replace(override, reference=reference)) != agreed:
        return EndpointChoice(endpoint=override, origin=Origin.AFTERWARDS)
    if agreed is not None:
        return EndpointChoice(endpoint=agreed, origin=Origin.DECLARED)
    return EndpointChoice(endpoint=USUAL, origin=Origin.CONTRADICTORY if declared - {None} else Origin.NOT_DECLARED)


def declared_endpoint(config: Mapping[str, Any]) -> Endpoint | None:
    """`evaluation.scheme.endpoint` of a run's config; None where an older run has none, or one whose judged split picks."""
    scheme = (config.get("evaluation") or {}).get("scheme") or {}
    declared = scheme.get("endpoint")
    if not isinstance(declared, Mapping) or not {"split", "setting", "picked_by"} <= declared.keys():
        return None
    if declared["split"] == declared["picked_by"]:
        return None
    kept = {key: declared[key] for key in ("split", "setting", "picked_by")}
    return Endpoint(**kept, reference=declared.get("reference"))


def declared_reference(records: Records, *, choice: EndpointChoice) -> str | None:
    """The reference that the runs declared, where it is one of several arms here; None: each arm's own untrained model."""
    name = choice.endpoint.reference
    return name if len(records.trained) > 1 and any(is_called(arm, name=name) for arm in records.trained) else None


def is_called(arm: Arm, *, name: str | None) -> bool:
    """Whether a name is the label or the variant of an arm."""
    return arm.label == name or any(run.run.variant == name for run in arm.runs)


@dataclass(frozen=True, kw_only=True)
class EndpointScores:
    """One side of a comparison: an evaluation for each seed, in order of seeds, and the runs that have none."""

    evaluations: dict[int, Evaluation]  # by seed
    dropped: tuple[Phrase, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that count."""
        return tuple(self.evaluations)

    def matrix(self) -> Float[np.ndarray, "seeds questions"]:
        """Mean score of each question in each seed; all seeds answered the same questions."""
        return np.stack([evaluation.scores() for evaluation in self.evaluations.values()])

    def only(self, seeds: tuple[int, ...]) -> "EndpointScores":
        """The same for some of the seeds."""
        kept = {seed: evaluation for seed, evaluation in self.evaluations.items() if seed in seeds}
        return EndpointScores(evaluations=kept, dropped=self.dropped)


def trained_scores(arm: Arm, *, endpoint: Endpoint) -> EndpointScores:
    """Each finished run at its picked epoch."""
    found: dict[int, Evaluation] = {}
    dropped = [say("seed {seed} did not finish", seed=records.run.seed) for records in arm.left_out]
    for records in sorted(arm.used, key=lambda records: records.run.seed):
        epoch = picked_epoch(records, endpoint=endpoint)
        evaluation = None if epoch is None else records.evaluations.get((epoch, endpoint.split, endpoint.setting))
        if evaluation is not None:
            found[records.run.seed] = evaluation
        elif epoch is None:
            dropped.append(say("seed {seed} has no evaluation on {split}", seed=records.run.seed, split=endpoint.picked_by))
        else:
            missing = {"seed": records.run.seed, "split": endpoint.split, "epoch": epoch}
            dropped.append(say("seed {seed} has no evaluation on {split} at epoch {epoch}", **missing))
    return EndpointScores(evaluations=found, dropped=tuple(dropped))


def untrained_scores(arm: Arm, *, endpoint: Endpoint) -> EndpointScores:
    """The untrained model under each seed of an arm."""
    key = (UNTRAINED_EPOCH, endpoint.split, endpoint.setting)
    used = sorted(arm.used, key=lambda records: records.run.seed)
    found = {records.run.seed: records.evaluations[key] for records in used if key in records.evaluations}
    dropped = tuple(
        say("seed {seed} has no evaluation of its untrained model on {split}", seed=records.run.seed, split=endpoint.split)
        for records in used
        if records.run.seed not in found
    )
    return EndpointScores(evaluations=found, dropped=dropped)
