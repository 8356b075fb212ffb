"""One trained arm beside its reference on the endpoint: whether the two may be compared, and the difference if so. No verdicts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vlm_rl.evaluation.siblings import far_from_siblings
from vlm_rl.evaluation.statistics import Difference, paired_difference, unpaired_difference
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.runs import ReportError, Run
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
        others = self.reference_scores.dropped
        if self.reference is not None:
            others = tuple(say("{what} ({arm})", what=what, arm=self.reference.label) for what in others)
        return (*self.scores.dropped, *others)

    @property
    def num_questions(self) -> int:
        """Questions, not images."""
        return next((evaluation.num_samples.size for evaluation in self.scores.evaluations.values()), 0)


def compare_all(records: Records, *, choice: EndpointChoice, reference: str | None) -> tuple[Comparison, ...]:
    """The declared family: each trained arm against the reference, not all pairs."""
    chosen = find_reference(records, name=reference)
    untrained = [run.run for arm in records.arms if arm.is_untrained for run in arm.runs]
    return tuple(
        compare(arm, reference=chosen, choice=choice, untrained=untrained) for arm in records.trained if arm is not chosen
    )


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


def compare(arm: Arm, *, reference: Arm | None, choice: EndpointChoice, untrained: Iterable[Run] = ()) -> Comparison:
    """Paired by seed against the untrained model, never paired against another trained arm."""
    scores = trained_scores(arm, endpoint=choice.endpoint)
    if reference is None:
        others = untrained_scores(arm, endpoint=choice.endpoint)
        both = tuple(seed for seed in scores.seeds if seed in others.seeds)
        scores, others = scores.only(both), others.only(both)
    else:
        others = trained_scores(reference, endpoint=choice.endpoint)
    runs = _runs_behind(arm, reference=reference, untrained=untrained)
    refusal = _refusal(arm, reference=reference, scores=scores, others=others) or _mismatch(
        runs, split=choice.endpoint.split, scores=(scores, others)
    )
    return Comparison(
        arm=arm,
        reference=reference,
        choice=choice,
        scores=scores,
        reference_scores=others,
        difference=None if refusal else _difference(scores, others=others, paired=reference is None),
        refusal=refusal,
        flags=() if refusal else tuple(_flags(arm, reference=reference, scores=(scores, others), runs=runs)),
    )


def _runs_behind(arm: Arm, *, reference: Arm | None, untrained: Iterable[Run]) -> list[Run]:
    trained = [records.run for side in (arm, reference) if side is not None for records in side.used]
    if reference is not None:
        return trained
    wanted = {(run.study, run.vanilla, run.seed) for run in trained}
    return trained + [run for run in untrained if (run.study, run.variant, run.seed) in wanted]


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


def _mismatch(runs: list[Run], *, split: str, scores: tuple[EndpointScores, EndpointScores]) -> Phrase | None:
    """What makes two sides incomparable: other judge, other data, other questions."""
    judges = sorted({run.judge_version for run in runs})
    if len(judges) > 1:
        return say("the answers were judged by different versions of the judge ({versions})", versions=", ".join(judges))
    if len({run.data.get(split) for run in runs}) > 1:
        return say("the runs do not have the same {split} data", split=split)
    asked = {evaluation.questions.row_id for side in scores for evaluation in side.evaluations.values()}
    if len(asked) > 1:
        sizes = ", ".join(str(size) for size in sorted({len(rows) for rows in asked}))
        return say("the runs were not all asked the same questions ({sizes} questions)", sizes=sizes)
    return None


def _difference(scores: EndpointScores, *, others: EndpointScores, paired: bool) -> Difference:
    images = next(iter(scores.evaluations.values())).questions.images()
    if paired:
        return paired_difference(scores.matrix(), before=others.matrix(), images=images)
    return unpaired_difference(scores.matrix(), reference=others.matrix(), images=images)


def _flags(
    arm: Arm, *, reference: Arm | None, scores: tuple[EndpointScores, EndpointScores], runs: list[Run]
) -> Iterator[Phrase]:
    """What to look at; the untrained model has no siblings to lie far from."""
    yield from _far_runs(arm, scores=scores[0])
    if reference is not None:
        yield from _far_runs(reference, scores=scores[1])
    yield from _other_training_data(runs)


def _far_runs(arm: Arm, *, scores: EndpointScores) -> list[Phrase]:
    far = far_from_siblings(scores.matrix())
    return [
        say(
            "Seed {seed} of {arm} lies far from its siblings, at {accuracy:.1f} %: look at it before trusting a mean.",
            seed=seed,
            arm=arm.label,
            accuracy=100 * scores.evaluations[seed].accuracy(),
        )
        for seed, is_far in zip(scores.seeds, far, strict=True)
        if is_far
    ]


def _other_training_data(runs: list[Run]) -> list[Phrase]:
    if len({run.data.get("train") for run in runs if not run.is_untrained}) < 2:
        return []
    return [say("The two sides were not trained on the same data: the difference may come from that.")]
