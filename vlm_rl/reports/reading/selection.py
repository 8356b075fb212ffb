"""Which of the runs that were found count: one for each arm and seed. Who does not count is said, for no seed is chosen in silence."""

from dataclasses import dataclass

from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.runs import Run, RunsFound


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
