"""From the runs that were found to records: all that they measured, grouped into arms. The one place that reads run folders whole."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation, EvaluationReader
from vlm_rl.reports.reading.gaps import gaps, mixtures
from vlm_rl.reports.reading.json_lines import read_json_lines
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.runs import Run, RunsFound, untrained_folder
from vlm_rl.reports.reading.training import count_training


def read_records(found: RunsFound, *, reflection: ReflectionRule | None, judge: Judging | None = None) -> Records:
    """Read what the runs measured, with everything that texts and verdicts give counted again.

    `reflection` None counts words by the rule that each run declares; `judge` None takes the verdicts as stored, and else
    (as Judge.judge) judges every stored response again.
    """
    reader = RunReader(reflection=reflection, rejudge=None if judge is None else Rejudge(judge))
    by_arm: dict[str, list[RunRecords]] = {}
    for run in found.runs:
        siblings = by_arm.setdefault(run.arm, [])
        twin = next((records.run for records in siblings if records.run.seed == run.seed), None)
        if twin is None:
            siblings.append(reader.read(run))
        else:
            problem = say("{run} repeats {twin} (same arm and seed) and is left out.", run=run.name, twin=twin.name)
            reader.problems.append(problem)
    labels = arm_labels([runs[0].run for runs in by_arm.values()])
    arms = [Arm(label=label, runs=tuple(runs)) for label, runs in zip(labels, by_arm.values(), strict=True)]
    arms.sort(key=lambda arm: (arm.is_untrained, arm.is_evaluated_only, arm.runs[0].run.algorithm == "sft", arm.label))
    return Records(arms=tuple(arms), problems=(*found.problems, *reader.problems, *gaps(arms), *mixtures(arms)))


class RunReader:
    """Reads run after run, and collects what was wrong with their files."""

    def __init__(self, *, reflection: ReflectionRule | None, rejudge: Rejudge | None) -> None:
        self.problems: list[str] = []
        self._reflection, self._rejudge = reflection, rejudge
        self._evaluations = EvaluationReader(rejudge=rejudge, problems=self.problems)

    def read(self, run: Run) -> RunRecords:
        """One run."""
        metrics, cost, alerts = (read_json_lines(run.path / name) for name in ("metrics.jsonl", "cost.jsonl", "alerts.jsonl"))
        training = count_training(
            [line for line in metrics.records if line.get("event") == "train"],
            run_folder=run.path,
            algorithm=run.algorithm,
            config=run.config,
            reflection=self._reflection,
            rejudge=self._rejudge,
        )
        self.problems += [*metrics.problems, *cost.problems, *alerts.problems, *training.problems]
        return RunRecords(
            run=run if self._rejudge is None else replace(run, judge_version=self._rejudge.version),
            evaluations={(e.epoch, e.split, e.setting): e for e in self._evaluations_of(run)},
            training=training.records,
            cost=cost.records,
            alerts=alerts.records,
            length_bins=training.length_bins,
            aha=training.aha,
            stored_steps=training.stored_steps,
            rule=training.rule,
        )

    def _evaluations_of(self, run: Run) -> list[Evaluation]:
        """Those of the untrained model of its seed at epoch 0, and its own."""
        untrained = untrained_folder(run)
        before = () if untrained is None else self._evaluations.read_folder(untrained)
        own = () if untrained == run.path else self._evaluations.read_folder(run.path)
        return [*(e for e in before if e.epoch == UNTRAINED_EPOCH), *own]


def _what(run: Run) -> str:
    """`reinforce_pp`, or `evaluated, blank` for a model that was shown something else than the figures."""
    image = run.config.get("evaluation", {}).get("scheme", {}).get("image", {}).get("_target_", "")
    control = image.rpartition(".")[2].lower()
    return run.algorithm if control in ("", "intact") else f"{run.algorithm}, {control}"


def arm_labels(firsts: Sequence[Run]) -> list[str]:
    """The shortest name that tells arms apart: algorithm, then variant, then study, then the arm's hash."""
    names: tuple[Callable[[Run], str], ...] = (
        _what,
        lambda run: f"{_what(run)} ({run.variant})",
        lambda run: f"{_what(run)} ({run.study}/{run.variant})",
    )
    labels = [f"{_what(run)} ({run.study}/{run.variant}, {run.arm[:8]})" for run in firsts]
    for name in reversed(names):
        count = Counter(map(name, firsts))
        labels = [name(run) if count[name(run)] == 1 else label for run, label in zip(firsts, labels, strict=True)]
    return labels
