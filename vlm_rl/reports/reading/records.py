"""From the runs that were found to records: all that they measured, grouped into arms. The one place that reads run folders whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation, EvaluationReader
from vlm_rl.reports.reading.files import read_json_lines
from vlm_rl.reports.reading.gaps import UNTRAINED_LABEL, gaps, mixtures
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.runs import INTACT, Run, RunsFound, read_or_say, untrained_folder, vanilla_outside
from vlm_rl.reports.reading.training import count_training


def read_records(found: RunsFound, *, reflection: ReflectionRule | None, judge: Judging | None = None) -> Records:
    """Read what the runs measured, with everything that texts and verdicts give counted again.

    `reflection` None counts words by the rule that each run declares; `judge` None takes the verdicts as stored, and else
    (as Judge.judge) judges every stored response again.
    """
    reader = RunReader(reflection=reflection, rejudge=None if judge is None else Rejudge(judge))
    selection = select_runs(found)
    by_arm: dict[str, list[RunRecords]] = {}
    for run in selection.runs:
        by_arm.setdefault(run.arm, []).append(reader.read(run))
    labels = arm_labels([runs[0].run for runs in by_arm.values()])
    arms = [
        Arm(label=label, runs=tuple(runs), absent=selection.absent.get(arm, ()))
        for label, (arm, runs) in zip(labels, by_arm.items(), strict=True)
    ]
    arms.sort(key=lambda arm: (arm.is_untrained, arm.is_evaluated_only, arm.runs[0].run.role == "teacher", arm.label))
    problems = (*found.problems, *selection.problems, *reader.problems, *gaps(arms), *mixtures(arms))
    return Records(arms=tuple(arms), problems=tuple(dict.fromkeys(problems)))  # arms may share what is wrong


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
            role=run.role,
            config=run.config,
            reflection=self._reflection,
            rejudge=self._rejudge,
        )
        if (outside := vanilla_outside(run)) is not None:
            self.problems.append(outside)
        self.problems += [*metrics.problems, *cost.problems, *alerts.problems, *training.problems]
        untrained, own = self._untrained_of(run), self._own_evaluations(run)
        before = () if untrained is None else self._evaluations.read_folder(untrained.path)
        return RunRecords(
            run=replace(run, judge_version=self._judged_by(own) or run.judge_version),
            evaluations={(e.epoch, e.split, e.setting): e for e in (*filter(_is_untrained, before), *own)},
            training=training.records,
            cost=cost.records,
            alerts=alerts.records if (run.path / "alerts.jsonl").is_file() else None,
            length_bins=training.length_bins,
            aha=training.aha,
            stored_steps=training.stored_steps,
            rule=training.rule,
            untrained=untrained,
            training_judged_again=training.judged_again,
        )

    def _untrained_of(self, run: Run) -> Run | None:
        """The untrained model of its seed, which need not be among the runs of the report."""
        folder = untrained_folder(run)
        if folder is None or run.is_untrained:
            return run if run.is_untrained else None
        return read_or_say(folder, problems=self.problems)

    def _own_evaluations(self, run: Run) -> tuple[Evaluation, ...]:
        found = self._evaluations.read_folder(run.path)
        return tuple(filter(_is_untrained, found)) if run.is_untrained else found

    def _judged_by(self, evaluations: Iterable[Evaluation]) -> str:
        """Every judge version that its evaluations hold: the manifest only says which one was there when it was last resumed."""
        if self._rejudge is not None:
            return self._rejudge.version
        return ", ".join(sorted({version for evaluation in evaluations for version in evaluation.judge_versions}))


def _is_untrained(evaluation: Evaluation) -> bool:
    return evaluation.epoch == UNTRAINED_EPOCH


def _what(run: Run) -> str:
    """`reinforce_pp`, or `evaluated, blank` for a model that was shown something else than the figures."""
    return run.algorithm if run.image_control == INTACT else f"{run.algorithm}, {run.image_control}"


def arm_labels(firsts: Sequence[Run]) -> list[str]:
    """The shortest name that tells arms apart: algorithm, then variant, then study, then the arm's hash.

    The untrained model's name is its own, also where that is no arm: a team may call an algorithm so.
    """
    names: tuple[Callable[[Run], str], ...] = (
        _what,
        lambda run: f"{_what(run)} ({run.variant})",
        lambda run: f"{_what(run)} ({run.study}/{run.variant})",
    )
    labels = [f"{_what(run)} ({run.study}/{run.variant}, {run.arm[:8]})" for run in firsts]
    taken = [] if any(run.is_untrained for run in firsts) else [UNTRAINED_LABEL]
    for name in reversed(names):
        count = Counter([*map(name, firsts), *taken])
        labels = [name(run) if count[name(run)] == 1 else label for run, label in zip(firsts, labels, strict=True)]
    return labels


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs that count, and the others."""

    runs: tuple[Run, ...]
    absent: dict[str, tuple[Phrase, ...]]  # arm -> its runs that do not count, to be named in its verdict
    problems: tuple[Phrase, ...]


def select_runs(found: RunsFound) -> Selection:
    """The finished run of those with the same arm and seed, the first of several; what lies beside them is only named."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(found.runs, key=lambda run: not run.finished):  # stable: the first of the finished ones
        kept.setdefault((run.arm, run.seed), run)
    absent: dict[str, list[Phrase]] = {}
    problems: list[Phrase] = []
    for run in found.runs:
        twin = kept[run.arm, run.seed]
        if twin is run or (
            run.is_untrained and run.data == twin.data
        ):  # each study has its Vanilla, and its arms read that one
            continue
        problems.append(say("{run} repeats {twin} (same arm and seed) and is left out.", run=run.name, twin=twin.name))
        absent.setdefault(run.arm, []).append(say("{run} repeats seed {seed}", run=run.name, seed=run.seed))
    for run in found.not_passed:
        problems.append(say_named("gaps.not_passed", run=run.name, study=run.study, variant=run.variant))
        absent.setdefault(run.arm, []).append(say("{run} was not passed to the report", run=run.name))
    return Selection(
        runs=tuple(run for run in found.runs if kept[run.arm, run.seed] is run),
        absent={arm: tuple(runs) for arm, runs in absent.items()},
        problems=tuple(problems),
    )
