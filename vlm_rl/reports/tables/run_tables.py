"""Which runs a report speaks of, also those that no mean speaks of."""

import math
from collections.abc import Iterator, Mapping, Sequence

from vlm_rl.reports.phrase import Phrase, names, paragraph, say, say_named
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.at_work import RunState
from vlm_rl.reports.reading.early_ends import early_end
from vlm_rl.reports.reading.files import Record
from vlm_rl.reports.reading.hashed_files import State
from vlm_rl.reports.reading.rejudge import VerdictChanges, all_changes
from vlm_rl.reports.tables.table import Row, Table, table_of

FILES: Mapping[State, Phrase] = {  # against the hashes that the run wrote
    "verified": say("verified"),
    "unverified": say("unverified"),
    "changed": say("changed"),
}


OF_SOME_RUNS = ("staleness", "ended", "saved_steps", "saved_hours")  # columns that are left out where no run has them


def run_table(records: Records) -> Table:
    """Every run, also those that no mean speaks of."""
    rows = [_run_row(run, arm=arm) for arm in records.arms for run in arm.runs]
    without = [column for column in OF_SOME_RUNS if not any(column in row for row in rows)]
    return table_of("runs", rows, without=without, early_ends="" if "ended" in without else say_named("early_ends.decided"))


def state_table(states: Sequence[RunState]) -> Table:
    """What each run is doing; empty as soon as all have finished, for then the table of runs says it."""
    return table_of("states", map(_state_row, states if any(one.state != "finished" for one in states) else ()))


def _state_row(one: RunState) -> Row:
    left = None if math.isnan(one.seconds_left) else one.seconds_left / 60
    row: Row = {"run": one.run, "state": names("states")[one.state], "step": one.step, "steps": one.steps}
    return {**row, "minutes_left": left, "what": one.what}


def _run_row(records: RunRecords, *, arm: Arm) -> Row:
    run = records.run
    used = records in arm.used
    status = say("finished") if run.finished else say("unfinished, used") if used else say("unfinished, left out")
    return {
        "arm": arm.label,
        "run": run.name,
        "status": status,
        "files": FILES[records.evidence.files],
        "generation_steps": len(records.training.records),
        "epochs": len({epoch for epoch, _, _ in records.evaluations if epoch > VANILLA_EPOCH}),
        "vanilla": say("yes") if any(epoch == VANILLA_EPOCH for epoch, _, _ in records.evaluations) else say("no"),
        "alerts": None if records.alerts is None else len(records.alerts),
        "judge": run.judge_version,
        "commit": run.commit[:10],
        "hash": run.arm[:8],
        **_staleness(records),
        **_early_end(records),
    }


def _staleness(records: RunRecords) -> Row:
    """How old the weights were that sampled; nothing of a run that sampled in the trainer."""
    logged = [value for line in records.training.records if (value := line.get("rollout/staleness")) is not None]
    return {"staleness": float(sum(logged) / len(logged))} if logged else {}


def _early_end(records: RunRecords) -> Row:
    """Where a run ended by its bottleneck; nothing of one that went on to its last epoch."""
    end = early_end(records.run)
    if end is None:
        return {}
    when = say("{epoch} of {of_epochs}", epoch=end.epoch, of_epochs=end.of_epochs)
    return {"ended": when, "saved_steps": end.saved_steps, "saved_hours": end.saved_hours}


ALWAYS_WATCHED = "non_finite_update"  # all that conf/alerts/none.yaml leaves


def alert_table(records: Records) -> Table:
    """A row for each arm, alert and seed, as the runs told it in alerts.jsonl."""
    rows = [row for arm in records.trained for row in _alert_rows(arm)]
    meaning = say_named("alerts.meaning") if rows else ""
    return table_of("alerts", rows, found=paragraph(meaning, *silence([run for arm in records.trained for run in arm.runs])))


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
    rules = run.run.config.get("alerts", {}).get("rules")
    return rules is None or bool(set(rules) - {ALWAYS_WATCHED})


def alert_title(name: str) -> Phrase:
    """The name of an alert as a person reads it; a rule of the user's own keeps its name."""
    return names("alerts").get(name, say("{name}", name=name))


def _alert_rows(arm: Arm) -> Iterator[Row]:
    raised = {run.run.seed: [line for line in run.alerts or () if _is_alert(line)] for run in arm.runs}
    for name in sorted({str(line["alert"]) for lines in raised.values() for line in lines}):
        by_seed = {seed: [line for line in lines if str(line["alert"]) == name] for seed, lines in sorted(raised.items())}
        seeds = say("{count} of {total}", count=sum(map(bool, by_seed.values())), total=len(arm.runs))
        for seed, lines in by_seed.items():
            if lines:
                first = min(lines, key=lambda line: line["generation_steps"])
                when = {"step": first["generation_steps"], "times": len(lines), "message": str(first.get("message", ""))}
                yield {"arm": arm.label, "alert": alert_title(name), "seeds": seeds, "seed": seed, **when}


def _is_alert(line: Record) -> bool:
    return "alert" in line and isinstance(line.get("generation_steps"), int)


def judged_again_table(records: Records) -> Table:
    """A row for the evaluations of each arm and one for its training responses; none where stored verdicts count."""
    found = ((arm, source, changes) for arm in records.arms for source, changes in _changes(arm))
    return table_of("judged_again", (_judged_row(*each) for each in found))


def _judged_row(arm: Arm, source: Phrase, changes: VerdictChanges) -> Row:
    return {
        "arm": arm.label,
        "responses": source,
        "stored_judge": ", ".join(sorted(changes.stored_versions)),
        "judged": changes.num_judged,
        "to_wrong": changes.num_to_wrong,
        "to_right": changes.num_to_right,
        "other": changes.num_other,
    }


def changed_verdicts_table(records: Records) -> Table:
    """A few changed verdicts of each arm, those that change an accuracy first."""
    return table_of("changed_verdicts", (row for arm in records.arms for row in _examples(arm)))


def judged_again_problems(records: Records) -> Iterator[Phrase]:
    """One sentence for each arm whose accuracy is not what its runs stored."""
    for arm in records.arms:
        found = all_changes(changes for _, changes in _changes(arm)) or VerdictChanges()
        if changed := found.num_to_wrong + found.num_to_right:
            counts = {"judged": found.num_judged, "to_wrong": found.num_to_wrong, "to_right": found.num_to_right}
            yield say_named("judged_again.changed", arm=arm.label, changed=changed, **counts)


def _changes(arm: Arm) -> Iterator[tuple[Phrase, VerdictChanges]]:
    evaluations = all_changes(evaluation.judged_again for run in arm.runs for evaluation in run.evaluations.values())
    training = all_changes(run.training.judged_again for run in arm.runs)
    sources = ((say("evaluations"), evaluations), (say("training"), training))
    yield from ((source, found) for source, found in sources if found is not None)


def _examples(arm: Arm) -> Iterator[Row]:
    for source, changes in _changes(arm):
        for one in changes.examples:
            stored, now = (names("verdicts").get(verdict, verdict) for verdict in (one.stored, one.now))
            yield {"arm": arm.label, "responses": source, "gold": one.gold, "answer": one.answer, "stored": stored, "now": now}
