"""What the runs warned of, by arm and seed: as they told it while training, or again with other thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.reports.phrase import Phrase, paragraph, say
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.tables.table import Row, Table, number, text

ALWAYS_WATCHED = "non_finite_update"  # all that conf/alerts/none.yaml leaves


@dataclass(frozen=True, kw_only=True)
class _Raised:
    step: int
    name: str
    message: str


def alert_table(records: Records, *, watch: Watch | None = None) -> Table:
    """A row for each arm, alert and seed. With a `watch`, its rules look at the training again; without, alerts.jsonl counts."""
    rows = tuple(row for arm in records.trained for row in _arm_rows(arm, watch=watch))
    found = say("Each says that a person should look, not that a run is lost.") if rows else ""
    if watch is None:
        runs = [run for arm in records.trained for run in arm.runs]
        source = say("As told while training (alerts.jsonl); the thresholds are those of each run's config, key `alerts`.")
        found = paragraph(found, *silence(runs))
    else:
        source = say("Found in the training records by the thresholds of this report, not by those of the runs.")
        found = found or say("No run raised an alert.")
    return Table(
        name="alerts",
        title=say("Alerts while training"),
        note=paragraph(found, source),
        columns=(
            text("arm", title=say("Arm")),
            text("alert", title=say("Alert")),
            text("seeds", title=say("Seeds concerned")),
            number("seed", title=say("Seed")),
            number("step", title=say("First at step")),
            number("times", title=say("Times told")),
            text("message", title=say("What it said first")),
        ),
        rows=rows,
    )


def silence(runs: Sequence[RunRecords]) -> Iterator[Phrase]:
    """What it means that runs raised no alert: nobody may have watched them, or nobody may know."""
    unknown = [run for run in runs if run.alerts is None]
    raised = any(run.alerts for run in runs)
    unwatched = [run for run in runs if run.alerts is not None and not run.alerts and not is_watched(run)]
    if runs and not raised and not unknown and not unwatched:
        yield say("No run raised an alert (most rules look at means over several steps).")
    if unwatched:
        yield say(
            "{count} of {total} runs were not watched (alerts=none): only skipped updates would have raised an alert.",
            count=len(unwatched),
            total=len(runs),
        )
    if unknown:
        yield say(
            "{count} of {total} runs left no alerts.jsonl: whether anybody watched them is not known.",
            count=len(unknown),
            total=len(runs),
        )


def is_watched(run: RunRecords) -> bool:
    """Whether the config has any rule beside the one that no run can do without; a config without rules says nothing."""
    rules = (run.run.config.get("alerts") or {}).get("rules")
    return rules is None or bool(set(rules) - {ALWAYS_WATCHED})


def alert_title(name: str) -> Phrase:
    """The name of an alert as a person reads it; a rule of the user's own keeps its name."""
    titles = {
        "non_finite_update": say("Update skipped: not finite"),
        "reward_collapse": say("Reward collapsed"),
        "no_reward_variance": say("Rewards without variance"),
        "length_explosion": say("Responses grew long"),
        "truncation": say("Responses cut off"),
        "kl_explosion": say("KL ran away"),
        "entropy_collapse": say("Entropy collapsed"),
        "entropy_explosion": say("Entropy ran away"),
        "judge_failures": say("Judge failed"),
        "unreadable_answers": say("Answers unreadable"),
        "engine_mismatch": say("Engine and trainer differ"),
        "language_drift": say("Language drifted"),
        "run_stopped": say("Run stopped itself"),
    }
    return titles.get(name, say("{name}", name=name))


def _arm_rows(arm: Arm, *, watch: Watch | None) -> Iterator[Row]:
    raised = {run.run.seed: _alerts_of(run, watch=watch) for run in arm.runs}
    for name in sorted({alert.name for alerts in raised.values() for alert in alerts}):
        by_seed = {seed: [alert for alert in alerts if alert.name == name] for seed, alerts in raised.items()}
        concerned = sum(map(bool, by_seed.values()))
        seeds = say("{count} of {total}", count=concerned, total=len(arm.runs))
        for seed, alerts in sorted(by_seed.items()):
            if alerts:
                yield {"arm": arm.label, "alert": alert_title(name), "seeds": seeds, "seed": seed, **_first(alerts)}


def _first(alerts: Sequence[_Raised]) -> Row:
    first = min(alerts, key=lambda alert: alert.step)
    return {"step": first.step, "times": len(alerts), "message": first.message}


def _alerts_of(run: RunRecords, *, watch: Watch | None) -> list[_Raised]:
    if watch is not None:
        found = watch.alerts(run.training)
        return [_Raised(step=alert.generation_steps, name=alert.name, message=alert.message) for alert in found]
    return [
        _Raised(step=int(line["generation_steps"]), name=str(line["alert"]), message=str(line.get("message", "")))
        for line in run.alerts or ()
        if "alert" in line and isinstance(line.get("generation_steps"), int)
    ]
