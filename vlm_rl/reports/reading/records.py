"""From the runs that were found to records: all that they measured, grouped into arms. The one place that reads run folders whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.memory import recall, stamps_under
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.at_work import NOBODY, AtWork
from vlm_rl.reports.reading.evaluations import EvaluationReader
from vlm_rl.reports.reading.evidence import EvidenceReader
from vlm_rl.reports.reading.families import doubts_of_arm, not_passed, of_families, told
from vlm_rl.reports.reading.files import doubled_lines, read_json_lines
from vlm_rl.reports.reading.gaps import VANILLA_LABEL, gaps, mixtures
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.runs import INTACT, Run, RunsFound, read_or_say, vanilla_folder, vanilla_outside
from vlm_rl.reports.reading.states import LOG, states_of
from vlm_rl.reports.reading.training import Training, count_training
from vlm_rl.run_lock import HOLDER, LOCK

NOT_READ = ("wandb", HOLDER, LOCK, LOG)  # of a run folder


def read_records(
    found: RunsFound, *, reflection: ReflectionRule | None, judge: Judging | None = None, at_work: AtWork = NOBODY
) -> Records:
    """Read what the runs measured: what they logged, and from stored texts and verdicts what the logs lack.

    `reflection` None counts words by the rule that each run declares; `judge` None takes the verdicts as stored, and else
    (as Judge.judge) judges every stored response again. `at_work`: who trains now, so that nothing is judged before they have finished.
    """
    reader = EvaluationReader(rejudge=None if judge is None else Rejudge(judge))
    evidence = EvidenceReader(evaluations=reader)
    selection = select_runs(found)
    noticed: list[str] = [*found.problems, *selection.problems]
    recalled = partial(_recalled, evidence=evidence, noticed=noticed)
    by_arm = _by_arm(selection.runs, read=partial(recalled, read=partial(_read_run, reflection=reflection)))
    firsts = [runs[0].run for runs in by_arm.values()]
    arms = [
        _arm(label, runs, found=found, absent=selection.absent.get(arm, ()), at_work=at_work)
        for label, (arm, runs) in zip(arm_labels(firsts), by_arm.items(), strict=True)
    ]
    arms.sort(key=lambda arm: (arm.is_vanilla, arm.is_evaluated_only, arm.runs[0].run.role == "teacher", arm.label))
    beside = _beside(found, firsts=firsts, read=partial(recalled, read=_read_scores), at_work=at_work)
    noticed += (*gaps(arms), *mixtures(arms))
    problems = (*told([*arms, *beside], noticed=noticed), *of_families(arms, beside=beside, found=found))
    states = states_of(arms, found=found, at_work=at_work)
    return Records(arms=tuple(arms), problems=problems, rejudge=reader.rejudge, beside=beside, states=states)


def _by_arm(runs: Iterable[Run], *, read: Callable[[Run], RunRecords]) -> dict[str, list[RunRecords]]:
    by_arm: dict[str, list[RunRecords]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(read(run))
    return by_arm


def _recalled(run: Run, *, read: Callable[..., RunRecords], evidence: EvidenceReader, noticed: list[str]) -> RunRecords:
    """A run with all that it measured, read again where any of its files has changed, or of those of its vanilla model."""
    reader = evidence.evaluations

    def make() -> tuple[RunRecords, tuple[str, ...]]:
        reader.problems.clear()
        records = read(run, evidence=evidence)
        of_vanilla = () if records.vanilla is None else reader.unreadable.get(records.vanilla.path.resolve(), ())
        return records, tuple(dict.fromkeys((*reader.problems, *of_vanilla)))

    stamps = [stamps_under(folder, without=NOT_READ) for folder in (run.path, vanilla_folder(run)) if folder is not None]
    records, problems = recall("run", read, run, stamps, reader.rejudge, make=make)
    noticed += (problem for problem in problems if problem not in noticed)
    return records


def _arm(label: str, runs: Sequence[RunRecords], *, found: RunsFound, at_work: AtWork, absent: tuple[Phrase, ...] = ()) -> Arm:
    """An arm with all that speaks against it."""
    doubts = doubts_of_arm(label, runs=runs, found=found, at_work=at_work)
    return Arm(label=label, runs=tuple(runs), absent=absent, doubts=doubts)


def _beside(found: RunsFound, *, firsts: Sequence[Run], read: Callable[[Run], RunRecords], at_work: AtWork) -> tuple[Arm, ...]:
    """The trained arms of the same studies that were not passed; of their runs what verdicts need."""
    trained = [run for run in found.others if not run.is_vanilla and not run.is_evaluated_only]
    if not any(not run.is_vanilla and not run.is_evaluated_only for run in firsts):
        return ()
    runs = select_runs(replace(found, runs=tuple(trained), not_passed=())).runs
    by_arm = _by_arm(runs, read=read)
    labels = arm_labels([*firsts, *(of_arm[0].run for of_arm in by_arm.values())])[len(firsts) :]
    return tuple(
        _arm(label, of_arm, found=found, at_work=at_work) for label, of_arm in zip(labels, by_arm.values(), strict=True)
    )


def _read_run(run: Run, *, evidence: EvidenceReader, reflection: ReflectionRule | None) -> RunRecords:
    """All that one run measured; what was wrong with its files goes to the reader's problems."""
    scores, reader = _read_scores(run, evidence=evidence), evidence.evaluations
    cost, alerts = (read_json_lines(run.path / f"{name}.jsonl", problems=reader.problems) for name in ("cost", "alerts"))
    training = count_training(
        scores.training.records,
        run_folder=run.path,
        role=run.role,
        config=run.config,
        reflection=reflection,
        rejudge=reader.rejudge,
    )
    reader.problems += training.problems
    own = [one for one in scores.evaluations.values() if one.run_folder == run.path.resolve()]
    judged_by = ", ".join(sorted({version for one in own for version in one.judge_versions}))
    return replace(
        scores,
        run=replace(run, judge_version=reader.rejudge.version if reader.rejudge else judged_by or run.judge_version),
        training=training,
        cost=cost,
        alerts=alerts if (run.path / "alerts.jsonl").is_file() else None,
    )


def _read_scores(run: Run, *, evidence: EvidenceReader) -> RunRecords:
    """The evaluations of a run, what it logged in training, and the evidence: all that a verdict needs."""
    reader = evidence.evaluations
    if (outside := vanilla_outside(run)) is not None:
        reader.problems.append(outside)
    metrics = read_json_lines(run.path / "metrics.jsonl", problems=reader.problems)
    reader.problems += doubled_lines(metrics, path=run.path / "metrics.jsonl")
    vanilla = _vanilla_of(run, problems=reader.problems)
    own = [one for one in reader.read_folder(run.path) if one.epoch == VANILLA_EPOCH or not run.is_vanilla]
    before = [] if vanilla is None else [one for one in reader.read_folder(vanilla.path) if one.epoch == VANILLA_EPOCH]
    evaluations = {(one.epoch, one.split, one.setting): one for one in (*before, *own)}
    return RunRecords(
        run=run,
        evaluations=evaluations,
        training=Training(records=tuple(line for line in metrics if line.get("event") == "train")),
        cost=(),
        alerts=None,
        vanilla=vanilla,
        evidence=evidence.of_run(run, lines=metrics, evaluations=evaluations, vanilla=vanilla),
    )


def _vanilla_of(run: Run, *, problems: list[str]) -> Run | None:
    """The vanilla model of its seed, which need not be among the runs of the report."""
    if run.is_vanilla:
        return run
    folder = vanilla_folder(run)
    return None if folder is None else read_or_say(folder, problems=problems)


def arm_labels(firsts: Sequence[Run]) -> list[str]:
    """The shortest name that tells arms apart: algorithm, then variant, then study, then the arm's hash.

    The vanilla model's name is its own, also where that is no arm: a team may call an algorithm so.
    """
    names = [_names(run) for run in firsts]
    taken = [] if any(run.is_vanilla for run in firsts) else [VANILLA_LABEL]
    count = Counter(chain(*names, taken))
    return [next((name for name in of_arm if count[name] == 1), of_arm[-1]) for of_arm in names]


def _names(run: Run) -> tuple[str, ...]:
    """`reinforce_pp`, or `evaluated, blank` for a model that was shown something else than the figures, and longer ones."""
    what = run.algorithm if run.image_control == INTACT else f"{run.algorithm}, {run.image_control}"
    place = f"{run.study}/{run.variant}"
    return what, f"{what} ({run.variant})", f"{what} ({place})", f"{what} ({place}, {run.arm[:8]})"


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
    absent: dict[str, tuple[Phrase, ...]] = {}
    problems: list[Phrase] = []
    for run in found.runs:
        twin = kept[run.arm, run.seed]
        if twin is run or (run.is_vanilla and run.data == twin.data):  # each study has its Vanilla, which its arms read
            continue
        problems.append(say("{run} repeats {twin} (same arm and seed) and is left out.", run=run.name, twin=twin.name))
        absent[run.arm] = (*absent.get(run.arm, ()), say("{run} repeats seed {seed}", run=run.name, seed=run.seed))
    for run in found.not_passed:
        problems.append(not_passed(run))
        absent[run.arm] = (*absent.get(run.arm, ()), say("{run} was not passed to the report", run=run.name))
    runs = tuple(run for run in found.runs if kept[run.arm, run.seed] is run)
    return Selection(runs=runs, absent=absent, problems=tuple(problems))
