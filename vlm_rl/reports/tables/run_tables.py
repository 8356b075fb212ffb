"""Which runs a report speaks of, also those that no mean speaks of."""

from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.reports.phrase import Phrase, names, paragraph, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.files import Record
from vlm_rl.reports.reading.rejudge import VerdictChanges, all_changes
from vlm_rl.reports.tables.table import Row, Table, table_of


def run_table(records: Records) -> Table:
    """Every run, also those that no mean speaks of."""
    return table_of("runs", (_run_row(run, arm=arm) for arm in records.arms for run in arm.runs))


def _run_row(records: RunRecords, *, arm: Arm) -> Row:
    run = records.run
    used = records in arm.used
    status = say("finished") if run.finished else say("unfinished, used") if used else say("unfinished, left out")
    return {
        "arm": arm.label,
        "run": run.name,
        "status": status,
        "generation_steps": len(records.training),
        "epochs": len({epoch for epoch, _, _ in records.evaluations if epoch > UNTRAINED_EPOCH}),
        "untrained": say("yes") if any(epoch == UNTRAINED_EPOCH for epoch, _, _ in records.evaluations) else say("no"),
        "alerts": None if records.alerts is None else len(records.alerts),
        "judge": run.judge_version,
        "commit": run.commit[:10],
        "hash": run.arm[:8],
    }


ALWAYS_WATCHED = "non_finite_update"  # all that conf/alerts/none.yaml leaves


def alert_table(records: Records, *, watch: Watch | None = None) -> Table:
    """A row for each arm, alert and seed. With a `watch`, its rules look at the training again; without, alerts.jsonl counts."""
    rows = [row for arm in records.trained for row in _arm_rows(arm, watch=watch)]
    found = say_named("alerts.meaning") if rows else ""
    if watch is None:
        found = paragraph(found, *silence([run for arm in records.trained for run in arm.runs]))
    elif not rows:
        found = say("No run raised an alert.")
    return table_of("alerts", rows, found=found, source=say_named("alerts.as_told" if watch is None else "alerts.found_again"))


def silence(runs: Sequence[RunRecords]) -> Iterator[Phrase]:
    """What it means that runs raised no alert: nobody may have watched them, or nobody may know."""
    unknown = [run for run in runs if run.alerts is None]
    any_raised = any(run.alerts for run in runs)
    unwatched = [run for run in runs if run.alerts is not None and not run.alerts and not is_watched(run)]
    if runs and not any_raised and not unknown and not unwatched:
        yield say("No run raised an alert (most rules look at means over several steps).")
    if unwatched:
        yield say_named("alerts.unwatched", count=len(unwatched), total=len(runs))
    if unknown:
        yield say_named("alerts.unknown", count=len(unknown), total=len(runs))


def is_watched(run: RunRecords) -> bool:
    """Whether the config has any rule beside the one that no run can do without; a config without rules says nothing."""
    rules = (run.run.config.get("alerts") or {}).get("rules")
    return rules is None or bool(set(rules) - {ALWAYS_WATCHED})


def alert_title(name: str) -> Phrase:
    """The name of an alert as a person reads it; a rule of the user's own keeps its name."""
    return names("alerts").get(name, say("{name}", name=name))


def _arm_rows(arm: Arm, *, watch: Watch | None) -> Iterator[Row]:
    raised = {run.run.seed: _lines(run, watch=watch) for run in arm.runs}
    for name in sorted({line["alert"] for lines in raised.values() for line in lines}):
        by_seed = {seed: [line for line in lines if line["alert"] == name] for seed, lines in raised.items()}
        seeds = say("{count} of {total}", count=sum(map(bool, by_seed.values())), total=len(arm.runs))
        for seed, lines in sorted(by_seed.items()):
            if lines:
                first = min(lines, key=lambda line: line["generation_steps"])
                when = {"step": first["generation_steps"], "times": len(lines), "message": first["message"]}
                yield {"arm": arm.label, "alert": alert_title(name), "seeds": seeds, "seed": seed, **when}


def _lines(run: RunRecords, *, watch: Watch | None) -> list[Record]:
    """Lines of alerts.jsonl, or what a watch finds in their shape."""
    if watch is not None:
        found = watch.alerts(run.training)
        return [{"generation_steps": one.generation_steps, "alert": one.name, "message": one.message} for one in found]
    return [
        {key: kind(line.get(key, "")) for key, kind in (("generation_steps", int), ("alert", str), ("message", str))}
        for line in run.alerts or ()
        if "alert" in line and isinstance(line.get("generation_steps"), int)
    ]


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
