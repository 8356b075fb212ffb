"""What is missing in runs, and what makes arms hard to compare: other data, other questions, another judge. Said, never mended."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.runs import Run

Groups = dict[str, dict[str, None]]  # what differs -> labels of the arms that have it, each once, in order
UNTRAINED_LABEL = "vanilla"  # of an untrained model that is no arm of this report


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What was measured of one model: a run and its own evaluations."""

    label: str  # of its arm
    run: Run
    evaluations: list[Evaluation]


def gaps(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """What single runs lack."""
    for arm in arms:
        cells = {cell for records in arm.used for cell in records.evaluations if cell[0] > UNTRAINED_EPOCH}
        for records in arm.runs:
            yield from _gaps_of(records, cells=cells)
    runs = [records.run for arm in arms for records in arm.runs]
    if untraced := sum(not run.commit for run in runs):
        yield say_named("gaps.untraced", count=untraced, all=len(runs))


def _gaps_of(records: RunRecords, *, cells: set[tuple[int, str, str]]) -> Iterator[Phrase]:
    run = records.run
    own = {cell for cell in records.evaluations if cell[0] > UNTRAINED_EPOCH or run.is_untrained or run.is_evaluated_only}
    if not run.finished:
        yield say("{run} is not finished: its manifest says so. Type its command again to go on.", run=run.name)
    if not own:
        yield say("{run} has no evaluation that could be read.", run=run.name)
    elif run.finished and (missing := sorted(cells - own)):
        names = ", ".join(f"epoch {epoch} {split} {setting}" for epoch, split, setting in missing[:3])
        yield say_named(
            "gaps.lacks_evaluations", run=run.name, count=len(missing), names=names, more=", ..." * (len(missing) > 3)
        )
    is_trained = not run.is_untrained and not run.is_evaluated_only
    if is_trained and not any(epoch == UNTRAINED_EPOCH for epoch, _, _ in records.evaluations):
        yield say("{run} has no evaluation of its untrained model, so no gain of its own can be given.", run=run.name)
    if is_trained and not records.training:
        yield say("{run} has no generation step in metrics.jsonl or completions.", run=run.name)


def mixtures(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """Why accuracies of arms may not be comparable, with the arms named."""
    models = list(_models(arms))
    versions = ((model, {version for one in model.evaluations for version in one.judge_versions}) for model in models)
    judges = _grouped((version, model) for model, judged_by in versions for version in sorted(judged_by))
    if len(judges) > 1:
        yield say_named("gaps.other_judges", judges=_named(judges))
    for split in sorted({split for model in models for split in model.run.data}):
        yield from _other_data(models, split=split)
    for split, setting in sorted({(one.split, one.setting) for model in models for one in model.evaluations}):
        yield from _other_questions(models, split=split, setting=setting)


def _models(arms: Sequence[Arm]) -> Iterator[_Model]:
    """Each run with its own evaluations, and the untrained models behind them, which need not be arms of the report."""
    labels = {records.run.path.resolve(): arm.label for arm in arms for records in arm.runs}
    for arm in arms:
        for records in arm.runs:
            is_own = records.untrained is None or records.run.is_untrained or records.run.is_evaluated_only
            own = [one for one in records.evaluations.values() if is_own or one.epoch > UNTRAINED_EPOCH]
            yield _Model(label=arm.label, run=records.run, evaluations=own)
            if records.untrained is not None and not is_own:
                before = [one for one in records.evaluations.values() if one.epoch == UNTRAINED_EPOCH]
                label = labels.get(records.untrained.path.resolve(), UNTRAINED_LABEL)
                yield _Model(label=label, run=records.untrained, evaluations=before)


def _other_data(models: Sequence[_Model], *, split: str) -> Iterator[Phrase]:
    for of_seed in _by_seed(models):
        hashes = _grouped((str(model.run.data[split]), model) for model in of_seed if split in model.run.data)
        if len(hashes) > 1:
            yield say_named("gaps.other_data", split=split, arms=_named(hashes))
            return


def _other_questions(models: Sequence[_Model], *, split: str, setting: str) -> Iterator[Phrase]:
    for of_seed in _by_seed(models):
        asked = [
            (model, one.questions)
            for model in of_seed
            for one in model.evaluations
            if (one.split, one.setting) == (split, setting)
        ]
        where = {"split": split, "setting": setting, "seed": of_seed[0].run.seed}
        sets = _sets((model, questions.row_id) for model, questions in asked)
        if len(sets) > 1:
            yield say_named("gaps.other_questions", arms=_named(sets), **where)
            return
        for control in sorted(
            {model.run.image_control for model, _ in asked}
        ):  # what is shown other figures on purpose says so
            figures = _sets((model, questions.image_id) for model, questions in asked if model.run.image_control == control)
            if len(figures) > 1:
                yield say_named("gaps.other_figures", arms=_named(figures), **where)
                return


def _sets(asked: Iterable[tuple[_Model, tuple[str, ...]]]) -> Groups:
    """Who was given which questions, or figures, for each question one."""
    names: dict[tuple[str, ...], str] = {}
    return _grouped((names.setdefault(ids, f"set {len(names) + 1} of {len(ids)} questions"), model) for model, ids in asked)


def _by_seed(models: Sequence[_Model]) -> Iterator[list[_Model]]:
    for seed in sorted({model.run.seed for model in models}):
        yield [model for model in models if model.run.seed == seed]


def _grouped(pairs: Iterable[tuple[str, _Model]]) -> Groups:
    groups: Groups = {}
    for key, model in pairs:
        groups.setdefault(key, {})[model.label] = None
    return groups


def _named(groups: Groups) -> str:
    """`a: grpo, rloo; b: sft`."""
    return "; ".join(f"{key or '?'}: {', '.join(labels)}" for key, labels in sorted(groups.items()))
