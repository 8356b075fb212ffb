"""What the runs warned of, by arm and seed: as they told it while training, or again with other thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.reports.phrase import Phrase, names, paragraph, say, told
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Row, Table, table_of

ALWAYS_WATCHED = "non_finite_update"  # all that conf/alerts/none.yaml leaves


@dataclass(frozen=True, kw_only=True)
class _Told:
    step: int
    name: str
    message: str


def alert_table(records: Records, *, watch: Watch | None = None) -> Table:
    """A row for each arm, alert and seed. With a `watch`, its rules look at the training again; without, alerts.jsonl counts."""
    rows = [row for arm in records.trained for row in _arm_rows(arm, watch=watch)]
    found = told("alerts.meaning") if rows else ""
    if watch is None:
        found = paragraph(found, *silence([run for arm in records.trained for run in arm.runs]))
    elif not rows:
        found = say("No run raised an alert.")
    return table_of("alerts", rows, found=found, source=told("alerts.as_told" if watch is None else "alerts.found_again"))


def silence(runs: Sequence[RunRecords]) -> Iterator[Phrase]:
    """What it means that runs raised no alert: nobody may have watched them, or nobody may know."""
    unknown = [run for run in runs if run.alerts is None]
    any_told = any(run.alerts for run in runs)
    unwatched = [run for run in runs if run.alerts is not None and not run.alerts and not is_watched(run)]
    if runs and not any_told and not unknown and not unwatched:
        yield say("No run raised an alert (most rules look at means over several steps).")
    if unwatched:
        yield told("alerts.unwatched", count=len(unwatched), total=len(runs))
    if unknown:
        yield told("alerts.unknown", count=len(unknown), total=len(runs))


def is_watched(run: RunRecords) -> bool:
    """Whether the config has any rule beside the one that no run can do without; a config without rules says nothing."""
    rules = (run.run.config.get("alerts") or {}).get("rules")
    return rules is None or bool(set(rules) - {ALWAYS_WATCHED})


def alert_title(name: str) -> Phrase:
    """The name of an alert as a person reads it; a rule of the user's own keeps its name."""
    return names("alerts").get(name, say("{name}", name=name))


def _arm_rows(arm: Arm, *, watch: Watch | None) -> Iterator[Row]:
    told = {run.run.seed: _told(run, watch=watch) for run in arm.runs}
    for name in sorted({alert.name for alerts in told.values() for alert in alerts}):
        by_seed = {seed: [alert for alert in alerts if alert.name == name] for seed, alerts in told.items()}
        concerned = sum(map(bool, by_seed.values()))
        seeds = say("{count} of {total}", count=concerned, total=len(arm.runs))
        for seed, alerts in sorted(by_seed.items()):
            if alerts:
                yield {"arm": arm.label, "alert": alert_title(name), "seeds": seeds, "seed": seed, **_first(alerts)}


def _first(alerts: Sequence[_Told]) -> Row:
    first = min(alerts, key=lambda alert: alert.step)
    return {"step": first.step, "times": len(alerts), "message": first.message}


def _told(run: RunRecords, *, watch: Watch | None) -> list[_Told]:
    if watch is not None:
        found = watch.alerts(run.training)
        return [_Told(step=alert.generation_steps, name=alert.name, message=alert.message) for alert in found]
    return [
        _Told(step=int(line["generation_steps"]), name=str(line["alert"]), message=str(line.get("message", "")))
        for line in run.alerts or ()
        if "alert" in line and isinstance(line.get("generation_steps"), int)
    ]
