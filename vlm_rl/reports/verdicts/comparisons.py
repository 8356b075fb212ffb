"""One trained arm beside its reference on the endpoint: whether the two may be compared, and the difference if so. No verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

from vlm_rl.evaluation.dynamics import far_from_other_seeds
from vlm_rl.evaluation.statistics import Difference, paired_difference, unpaired_difference
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import Arm, RunRecords
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.verdicts.endpoint_scores import (
    VANILLA,
    EndpointChoice,
    EndpointScores,
    is_called,
    trained_scores,
    vanilla_scores,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against its reference: scores of both, and their difference or the reason why there is none."""

    arm: Arm
    reference: Arm | None  # None: the vanilla model of the same seeds
    choice: EndpointChoice
    scores: EndpointScores
    reference_scores: EndpointScores

    @cached_property
    def refusal(self) -> Phrase | None:
        """Why nothing is compared."""
        return next(self._obstacles(), None)

    @cached_property
    def difference(self) -> Difference | None:
        """Paired by seed against the vanilla model, never paired against another trained arm."""
        if self.refusal is not None:
            return None
        scores, others = self.scores.matrix(), self.reference_scores.matrix()
        images = next(iter(self.scores.evaluations.values())).questions.images()
        if self.reference is None:
            return paired_difference(scores, before=others, images=images)
        return unpaired_difference(scores, reference=others, images=images)

    @property
    def flags(self) -> list[Phrase]:
        """Warnings that do not change the verdict. Vanilla models are not checked for seeds far from the others."""
        if self.refusal is not None:
            return []
        found = [
            say_named("comparison.far", seed=seed, arm=arm.label, accuracy=100 * evaluation.accuracy())
            for arm, scores in zip(self._sides, (self.scores, self.reference_scores), strict=False)
            for seed, evaluation in compress(scores.evaluations.items(), far_from_other_seeds(scores.matrix()))
        ]
        if len({records.run.data.get("train") for records in self._used}) > 1:
            found.append(say("The two sides were not trained on the same data: the difference may come from that."))
        return found

    @property
    def dropped(self) -> tuple[Phrase, ...]:
        """Why runs of either side are left out."""
        own, others = (*self.scores.dropped, *self.arm.absent), self.reference_scores.dropped
        if self.reference is not None:
            missing = (*others, *self.reference.absent)
            others = tuple(say("{what} ({arm})", what=what, arm=self.reference.label) for what in missing)
        return (*own, *others)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Of both sides; and that fewer seeds are there than were planned, where no look was planned before they all are."""
        doubts = [doubt for arm in self._sides for doubt in arm.doubts]
        planned, found = self.choice.endpoint.planned_seeds, len(self.scores.evaluations)
        if planned is not None and found < planned and self.choice.endpoint.planned_looks == 1:
            doubts.append(Doubt(kind="missing_seeds", said=say_named("doubts.planned", planned=planned, found=found)))
        return tuple(dict.fromkeys(doubts))

    @property
    def num_questions(self) -> int:
        """Questions, not images."""
        return next((evaluation.num_samples.size for evaluation in self.scores.evaluations.values()), 0)

    @property
    def reference_name(self) -> str:
        """The reference, as a word in a sentence."""
        return say("the vanilla model") if self.reference is None else self.reference.label

    @property
    def has_late_reference(self) -> bool:
        """Whether not all runs named the reference as theirs; each arm's own vanilla model is no choice to be made."""
        return self.reference is not None and not is_called(self.reference, name=self.choice.endpoint.reference)

    @property
    def notes(self) -> tuple[Phrase, ...]:
        """The endpoint, the judge and the reference, where chosen later or declared; nothing on the vanilla model, the default."""
        found = [self.choice.note]
        again = [(set(one.judge_versions), one.judged_again.stored_versions) for one in self._compared if one.judged_again]
        if late := sorted(set().union(*(now for now, stored in again if stored - now))):
            found.append(say_named("judged_again.afterwards", versions=", ".join(late)))
        declared = self.choice.endpoint.reference
        if self.reference is not None:
            since = "chosen_afterwards" if self.has_late_reference else "declared"
            found.append(say_named(f"reference.{since}", reference=self.reference.label))
        elif declared not in (None, VANILLA):
            found.append(say_named("reference.not_this", reference=declared))
        return tuple(found)

    @property
    def _sides(self) -> list[Arm]:
        return [arm for arm in (self.arm, self.reference) if arm is not None]

    @property
    def _compared(self) -> list[Evaluation]:
        return [*self.scores.evaluations.values(), *self.reference_scores.evaluations.values()]

    @property
    def _used(self) -> list[RunRecords]:
        return [records for arm in self._sides for records in arm.used]

    def _obstacles(self) -> Iterator[Phrase]:
        """What is missing; then other judges, data, questions or figures on the two sides.

        Judge versions come from the evaluation files, not the manifests: a run resumed after an update keeps its old evaluations.
        """
        for arm in self._sides:
            if not any(records.run.finished for records in arm.runs):
                yield say("no run of {arm} has finished", arm=arm.label)
        if not self.scores.evaluations and not self.reference_scores.evaluations:
            yield say("no run has both the evaluations that are needed")
        if not self.reference_scores.evaluations:
            yield say("no evaluation of the reference was found")
        if not self.scores.evaluations:
            yield say("no finished run was evaluated on the endpoint")
        endpoint, compared = self.choice.endpoint, self._compared
        picking = (records.over_epochs(split=endpoint.picked_by, setting=endpoint.setting) for records in self._used)
        for evaluations in (compared, *picking):  # those by which one run's epoch was selected, too
            judges = sorted({version for evaluation in evaluations for version in evaluation.judge_versions})
            if len(judges) > 1:
                yield say("the answers were judged by different versions of the judge ({versions})", versions=", ".join(judges))
        vanilla = [records.vanilla for records in self._used if records.vanilla and self.reference is None]
        if len({run.data.get(endpoint.split) for run in (*vanilla, *(records.run for records in self._used))}) > 1:
            yield say("the runs do not have the same {split} data", split=endpoint.split)
        question_sets = {evaluation.questions.row_id for evaluation in compared}
        if len(question_sets) > 1:
            sizes = ", ".join(str(size) for size in sorted({len(rows) for rows in question_sets}))
            yield say("the runs were not all asked the same questions ({sizes} questions)", sizes=sizes)
        if len({evaluation.questions.image_id for evaluation in compared}) > 1:
            yield say("the same questions were asked with different figures")


def compare(arm: Arm, *, reference: Arm | None, choice: EndpointChoice) -> Comparison:
    """Against the vanilla model only the seeds that have both evaluations count."""
    scores = trained_scores(arm, endpoint=choice.endpoint)
    if reference is None:
        others = vanilla_scores(arm, endpoint=choice.endpoint)
        both = [seed for seed in scores.evaluations if seed in others.evaluations]
        scores, others = (
            replace(side, evaluations={seed: side.evaluations[seed] for seed in both}) for side in (scores, others)
        )
    else:
        others = trained_scores(reference, endpoint=choice.endpoint)
    return Comparison(arm=arm, reference=reference, choice=choice, scores=scores, reference_scores=others)
