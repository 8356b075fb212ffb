"""What is missing in runs, and what makes arms hard to compare: other data, other questions, another judge. Said, never mended."""

from collections.abc import Iterator, Sequence

from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, RunRecords

Groups = dict[str, dict[str, None]]  # what differs -> labels of the arms that have it, each once, in order


def gaps(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """What single runs lack."""
    for arm in arms:
        cells = {cell for records in arm.used for cell in records.evaluations if cell[0] > UNTRAINED_EPOCH}
        for records in arm.runs:
            yield from _gaps_of(records, cells=cells)


def _gaps_of(records: RunRecords, *, cells: set[tuple[int, str, str]]) -> Iterator[Phrase]:
    run = records.run
    own = {cell for cell in records.evaluations if cell[0] > UNTRAINED_EPOCH or run.is_untrained or run.is_evaluated_only}
    if not run.finished:
        yield say("{run} is not finished: its manifest says so. Type its command again to go on.", run=run.name)
    if not own:
        yield say("{run} has no evaluation that could be read.", run=run.name)
    elif run.finished and (missing := sorted(cells - own)):
        names = ", ".join(f"epoch {epoch} {split} {setting}" for epoch, split, setting in missing[:3])
        yield say(
            "{run} lacks {count} evaluations that other runs of its arm have: {names}{more}.",
            run=run.name,
            count=len(missing),
            names=names,
            more=", ..." * (len(missing) > 3),
        )
    is_trained = not run.is_untrained and not run.is_evaluated_only
    if is_trained and not any(epoch == UNTRAINED_EPOCH for epoch, _, _ in records.evaluations):
        yield say("{run} has no evaluation of its untrained model, so no gain of its own can be given.", run=run.name)
    if is_trained and not records.training:
        yield say("{run} has no generation step in metrics.jsonl or completions.", run=run.name)


def mixtures(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """Why accuracies of arms may not be comparable, with the arms named."""
    judges: Groups = {}
    for arm in arms:
        for records in arm.runs:
            _add(judges, key=records.run.judge_version, arm=arm)
    if len(judges) > 1:
        yield say(
            "Runs were judged by different judge versions ({judges}); their accuracies are not comparable. "
            "Judge them all again: report.judge=current.",
            judges=_named(judges),
        )
    runs = [records.run for arm in arms for records in arm.runs]
    for split in sorted({split for run in runs for split in run.data}):
        yield from _other_data(arms, split=split)
    for split, setting in sorted({cell[1:] for arm in arms for records in arm.runs for cell in records.evaluations}):
        yield from _other_questions(arms, split=split, setting=setting)


def _other_data(arms: Sequence[Arm], *, split: str) -> Iterator[Phrase]:
    for seed in _seeds(arms):
        hashes: Groups = {}
        for arm, records in _runs_of(arms, seed=seed):
            if split in records.run.data:
                _add(hashes, key=str(records.run.data[split]), arm=arm)
        if len(hashes) > 1:
            yield say(
                "Runs of one seed have different {split} data ({arms}); their accuracies on {split} are not comparable.",
                split=split,
                arms=_named(hashes),
            )
            return


def _other_questions(arms: Sequence[Arm], *, split: str, setting: str) -> Iterator[Phrase]:
    for seed in _seeds(arms):
        asked: Groups = {}
        sizes: dict[tuple[str, ...], str] = {}
        for arm, records in _runs_of(arms, seed=seed):
            for cell, evaluation in records.evaluations.items():
                if cell[1:] == (split, setting):
                    ids = evaluation.questions.row_id
                    name = sizes.setdefault(ids, f"set {len(sizes) + 1} of {len(ids)} questions")
                    _add(asked, key=name, arm=arm)
        if len(asked) > 1:
            yield say(
                "On {split} ({setting}) not everyone was asked the same questions, seed {seed} ({arms}); "
                "accuracies there are not comparable.",
                split=split,
                setting=setting,
                seed=seed,
                arms=_named(asked),
            )
            return


def _seeds(arms: Sequence[Arm]) -> list[int]:
    return sorted({records.run.seed for arm in arms for records in arm.runs})


def _runs_of(arms: Sequence[Arm], *, seed: int) -> Iterator[tuple[Arm, RunRecords]]:
    return ((arm, records) for arm in arms for records in arm.runs if records.run.seed == seed)


def _add(groups: Groups, *, key: str, arm: Arm) -> None:
    groups.setdefault(key, {})[arm.label] = None


def _named(groups: Groups) -> str:
    """`a: grpo, rloo; b: sft`."""
    return "; ".join(f"{key or '?'}: {', '.join(labels)}" for key, labels in sorted(groups.items()))
