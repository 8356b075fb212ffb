"""One trained arm beside its reference on the endpoint: whether the two may be compared, and the difference if so. No verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.dynamics import far_from_siblings
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.statistics import Difference, paired_difference, unpaired_difference
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice, EndpointScores, trained_scores, untrained_scores

VANILLA = "vanilla"  # the reference that stands for each arm's own untrained model


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against its reference: scores of both, and their difference or the reason why there is none."""

    arm: Arm
    reference: Arm | None  # None: the untrained model of the same seeds
    choice: EndpointChoice
    scores: EndpointScores
    reference_scores: EndpointScores
    difference: Difference | None
    refusal: Phrase | None  # why nothing is compared
    flags: tuple[Phrase, ...]  # what to look at; none of it changes the verdict

    @property
    def dropped(self) -> tuple[Phrase, ...]:
        """Runs that should count and do not."""
        own, others = (*self.scores.dropped, *self.arm.absent), self.reference_scores.dropped
        if self.reference is not None:
            missing = (*others, *self.reference.absent)
            others = tuple(say("{what} ({arm})", what=what, arm=self.reference.label) for what in missing)
        return (*own, *others)

    @property
    def num_questions(self) -> int:
        """Questions, not images."""
        return next((evaluation.num_samples.size for evaluation in self.scores.evaluations.values()), 0)


def compare_all(records: Records, *, choice: EndpointChoice, reference: str | None) -> tuple[Comparison, ...]:
    """The declared family: each trained arm against the reference, not all pairs."""
    chosen = find_reference(records, name=reference)
    return tuple(compare(arm, reference=chosen, choice=choice) for arm in records.trained if arm is not chosen)


def find_reference(records: Records, *, name: str | None) -> Arm | None:
    """The arm with that label or variant; None for each arm's own untrained model."""
    if name is None or name == VANILLA:
        return None
    by_label = [arm for arm in records.trained if arm.label == name]
    found = by_label or [arm for arm in records.trained if any(run.run.variant == name for run in arm.runs)]
    if len(found) != 1:
        labels = ", ".join([VANILLA, *(arm.label for arm in records.trained)])
        problem = f"is the variant of {len(found)} arms" if found else "is no arm of these studies"
        raise ReportError(f"report.reference={name} {problem}. Pass one of: {labels}.")
    return found[0]


def compare(arm: Arm, *, reference: Arm | None, choice: EndpointChoice) -> Comparison:
    """Paired by seed against the untrained model, never paired against another trained arm."""
    scores = trained_scores(arm, endpoint=choice.endpoint)
    if reference is None:
        others = untrained_scores(arm, endpoint=choice.endpoint)
        both = tuple(seed for seed in scores.seeds if seed in others.seeds)
        scores, others = scores.only(both), others.only(both)
    else:
        others = trained_scores(reference, endpoint=choice.endpoint)
    used = [records for side in (arm, reference) if side is not None for records in side.used]
    refusal = (
        _refusal(arm, reference=reference, scores=scores, others=others)
        or _judged_differently(used, endpoint=choice.endpoint, scores=(scores, others))
        or _asked_differently(used, paired=reference is None, split=choice.endpoint.split, scores=(scores, others))
    )
    return Comparison(
        arm=arm,
        reference=reference,
        choice=choice,
        scores=scores,
        reference_scores=others,
        difference=None if refusal else _difference(scores, others=others, paired=reference is None),
        refusal=refusal,
        flags=() if refusal else tuple(_flags(arm, reference=reference, scores=(scores, others), used=used)),
    )


def _refusal(arm: Arm, *, reference: Arm | None, scores: EndpointScores, others: EndpointScores) -> Phrase | None:
    """What is missing for a comparison."""
    for side in (arm, reference):
        if side is not None and not any(records.run.finished for records in side.runs):
            return say("no run of {arm} has finished", arm=side.label)
    if not scores.seeds and not others.seeds:
        return say("no run has both the evaluations that are needed")
    if not others.seeds:
        return say("no evaluation of the reference was found")
    if not scores.seeds:
        return say("no finished run was evaluated on the endpoint")
    return None


def _judged_differently(
    used: Sequence[RunRecords], *, endpoint: Endpoint, scores: tuple[EndpointScores, EndpointScores]
) -> Phrase | None:
    """Whether different judges gave the scores that are compared, or those by which one run's epoch was picked.

    The files are asked, not the manifests: a run that is resumed after an update keeps its old evaluations.
    """
    compared = [evaluation for side in scores for evaluation in side.evaluations.values()]
    for evaluations in (
        compared,
        *(records.over_epochs(split=endpoint.picked_by, setting=endpoint.setting) for records in used),
    ):
        judges = sorted({version for evaluation in evaluations for version in evaluation.judge_versions})
        if len(judges) > 1:
            return say("the answers were judged by different versions of the judge ({versions})", versions=", ".join(judges))
    return None


def _asked_differently(
    used: Sequence[RunRecords], *, paired: bool, split: str, scores: tuple[EndpointScores, EndpointScores]
) -> Phrase | None:
    """What else makes two sides incomparable: other data, other questions, other figures."""
    runs = [records.run for records in used]
    if paired:
        runs += [records.untrained for records in used if records.untrained is not None]
    if len({run.data.get(split) for run in runs}) > 1:
        return say("the runs do not have the same {split} data", split=split)
    questions = [evaluation.questions for side in scores for evaluation in side.evaluations.values()]
    asked = {one.row_id for one in questions}
    if len(asked) > 1:
        sizes = ", ".join(str(size) for size in sorted({len(rows) for rows in asked}))
        return say("the runs were not all asked the same questions ({sizes} questions)", sizes=sizes)
    if len({one.image_id for one in questions}) > 1:
        return say("the same questions were asked with different figures")
    return None


def _difference(scores: EndpointScores, *, others: EndpointScores, paired: bool) -> Difference:
    images = next(iter(scores.evaluations.values())).questions.images()
    if paired:
        return paired_difference(scores.matrix(), before=others.matrix(), images=images)
    return unpaired_difference(scores.matrix(), reference=others.matrix(), images=images)


def _flags(
    arm: Arm, *, reference: Arm | None, scores: tuple[EndpointScores, EndpointScores], used: Sequence[RunRecords]
) -> Iterator[Phrase]:
    """What to look at; the untrained model has no siblings to lie far from."""
    yield from _far_runs(arm, scores=scores[0])
    if reference is not None:
        yield from _far_runs(reference, scores=scores[1])
    if len({records.run.data.get("train") for records in used}) > 1:
        yield say("The two sides were not trained on the same data: the difference may come from that.")


def _far_runs(arm: Arm, *, scores: EndpointScores) -> list[Phrase]:
    far = far_from_siblings(scores.matrix())
    return [
        say_named("comparison.far", seed=seed, arm=arm.label, accuracy=100 * scores.evaluations[seed].accuracy())
        for seed, is_far in zip(scores.seeds, far, strict=True)
        if is_far
    ]
