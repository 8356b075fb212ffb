"""What `report.judge=current` changed: how many verdicts of each arm, and some of them to look at."""

from collections.abc import Iterator

from vlm_rl.reports.phrase import Phrase, names, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.rejudge import VerdictChanges, all_changes
from vlm_rl.reports.tables.table import Row, Table, table_of


def judged_again_table(records: Records) -> Table:
    """A row for the evaluations of each arm and one for its training responses; none where stored verdicts count."""
    return table_of(
        "judged_again",
        (
            {
                "arm": arm.label,
                "responses": source,
                "stored_judge": ", ".join(sorted(found.stored_versions)),
                "judged": found.num_judged,
                "to_wrong": found.num_to_wrong,
                "to_right": found.num_to_right,
                "other": found.num_other,
            }
            for arm in records.arms
            for source, found in _of_arm(arm)
        ),
    )


def changed_verdicts_table(records: Records) -> Table:
    """A few changed verdicts of each arm, those that change an accuracy first."""
    return table_of("changed_verdicts", (row for arm in records.arms for row in _examples(arm)))


def judged_again_problems(records: Records) -> Iterator[Phrase]:
    """One sentence for each arm whose accuracy is not what its runs stored."""
    for arm in records.arms:
        found = all_changes(changes for _, changes in _of_arm(arm))
        if found is not None and (found.num_to_wrong or found.num_to_right):
            yield say_named(
                "judged_again.changed",
                arm=arm.label,
                changed=found.num_to_wrong + found.num_to_right,
                judged=found.num_judged,
                to_wrong=found.num_to_wrong,
                to_right=found.num_to_right,
            )


def _of_arm(arm: Arm) -> Iterator[tuple[Phrase, VerdictChanges]]:
    evaluations = all_changes(evaluation.judged_again for run in arm.runs for evaluation in run.evaluations.values())
    training = all_changes(run.training_judged_again for run in arm.runs)
    sources = ((say("evaluations"), evaluations), (say("training"), training))
    yield from ((source, found) for source, found in sources if found is not None)


def _examples(arm: Arm) -> Iterator[Row]:
    for source, found in _of_arm(arm):
        for change in found.examples:
            verdicts = {
                key: names("verdicts").get(word, word) for key, word in (("stored", change.stored), ("now", change.now))
            }
            yield {"arm": arm.label, "responses": source, "gold": change.gold, "answer": change.answer} | verdicts
