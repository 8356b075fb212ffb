"""The doubts of whole arms, and what is said of doubts, of runs without hashes and of arms that were not passed."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain

from vlm_rl.evaluation.sequential.decisions import MARK
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.reading.arms import Arm, RunRecords
from vlm_rl.reports.reading.at_work import NOBODY, AtWork
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.evidence import repeated_runs
from vlm_rl.reports.reading.expected_seeds import fewer_seeds, missing_arms, missing_seeds, unexplained_vanilla
from vlm_rl.reports.reading.files import read_object
from vlm_rl.reports.reading.runs import Run, RunsFound


def doubts_of_arm(label: str, *, runs: Sequence[RunRecords], found: RunsFound, at_work: AtWork = NOBODY) -> tuple[Doubt, ...]:
    """What speaks against an arm, each once: its runs, their vanilla models, seeds that are not there, a study that still grows."""
    of_runs = chain.from_iterable(run.evidence.doubts for run in runs)
    own = [run.run for run in runs]
    if any(run.is_vanilla or run.is_evaluated_only for run in own):
        return tuple(dict.fromkeys(of_runs))
    elsewhere = (*found.not_passed, *found.others)
    study_runs = (*found.runs, *elsewhere)
    missing = [
        *(not_passed(run) for run in found.not_passed if run.arm == own[0].arm),
        *missing_seeds(label, runs=own, others=study_runs),
        *unexplained_vanilla(own, study_runs=study_runs),
    ]
    repeated = repeated_runs(label, trained={run.run.seed: run.evidence for run in runs})
    seeds = (Doubt(kind="missing_seeds", said=said) for said in missing)
    return tuple(dict.fromkeys((*_growing(own, at_work=at_work), *_staged(own), *of_runs, *seeds, *repeated)))


def _growing(runs: Sequence[Run], *, at_work: AtWork) -> Iterator[Doubt]:
    """That somebody is at work on a study of these runs, on whichever arm: whoever looks now chose the moment."""
    for study in sorted({run.study_folder for run in runs} & set(at_work.growing)):
        names = at_work.names(study)
        yield Doubt(
            kind="growing", said=say_named("doubts.growing", study=study.name, runs=listed(names) if names else study.name)
        )


def _staged(runs: Sequence[Run]) -> Iterator[Doubt]:
    """That a plan judges these runs, at looks and by boundaries of its own: any other test of them is one too many."""
    for study in sorted({run.study_folder for run in runs}):
        if (study / MARK).is_file():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                mark = read_object((study / MARK).read_text(encoding="utf-8"))
                looks = ", ".join(map(str, mark["looks"]))
                yield Doubt(
                    kind="staged", said=say_named("doubts.staged", study=study.name, plan=str(mark["study"]), looks=looks)
                )


def not_passed(run: Run) -> Phrase:
    """A run of an arm of this report that was left out of it."""
    return say_named("gaps.not_passed", run=run.name, study=run.study, variant=run.variant)


def told(arms: Sequence[Arm], *, noticed: Sequence[str]) -> tuple[str, ...]:
    """What was `noticed`, and all other doubts, with the kinds that report.accept takes; each once: arms may share what is wrong."""
    doubts = [doubt for arm in arms for doubt in arm.doubts if doubt.said not in noticed]
    return tuple(dict.fromkeys((*noticed, *(say("{doubt} [{kind}]", doubt=one.said, kind=one.kind) for one in doubts))))


def of_families(arms: Sequence[Arm], *, beside: Sequence[Arm], found: RunsFound) -> Iterator[Phrase]:
    """What is no doubt and yet to be known: arms that were not passed, arms with fewer seeds."""
    if beside:
        yield say_named("gaps.beside", arms=listed(arm.label for arm in beside))
    trained = [arm for arm in arms if not arm.is_vanilla and not arm.is_evaluated_only]
    for arm in trained:
        if not any(doubt.kind == "missing_seeds" for doubt in arm.doubts):
            runs = [run.run for run in arm.runs]
            yield from fewer_seeds(arm.label, runs=runs, study_runs=(*found.runs, *found.others))
    all_runs = (*found.runs, *found.not_passed, *found.others)
    yield from missing_arms([run for run in all_runs if not run.is_vanilla and not run.is_evaluated_only])


def unverified(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """How many runs no hash can verify, because they were made before runs wrote hashes."""
    finished = [run for arm in arms for run in arm.runs if run.run.finished and run.run.manifest]
    if count := sum(run.evidence.files == "unverified" for run in finished):
        yield say_named("risks.unverified", count=count, all=len(finished))
