"""What is missing in runs, and what makes arms hard to compare: other data, other questions, another judge. Reported, never corrected."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import VANILLA_EPOCH, Arm, RunRecords
from vlm_rl.reports.reading.early_ends import early_end
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.runs import Run

TRAIN = "train"  # the split that is learned from
VANILLA_LABEL = "vanilla"  # of a vanilla model that is no arm of this report


def gaps(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """What single runs lack."""
    for arm in arms:
        cells = {cell for records in arm.used for cell in records.evaluations if cell[0] > VANILLA_EPOCH}
        for records in arm.runs:
            yield from _gaps_of(records, cells=cells)
    runs = [records.run for arm in arms for records in arm.runs]
    if untraced := sum(not run.commit for run in runs):
        yield say_named("gaps.untraced", count=untraced, all=len(runs))


def _gaps_of(records: RunRecords, *, cells: set[tuple[int, str, str]]) -> Iterator[Phrase]:
    run = records.run
    is_trained, end = not run.is_vanilla and not run.is_evaluated_only, early_end(run)
    own = {cell for cell in records.evaluations if cell[0] > VANILLA_EPOCH or not is_trained}
    if not run.finished:
        yield say("{run} is not finished: its manifest says so. Type its command again to go on.", run=run.name)
    if not own:
        yield say("{run} has no evaluation that could be read.", run=run.name)
    elif run.finished and (missing := sorted(cell for cell in cells - own if end is None or cell[0] <= end.epoch)):
        names = ", ".join(f"epoch {epoch} {split} {setting}" for epoch, split, setting in missing[:3])
        more = ", ..." * (len(missing) > 3)
        yield say_named("gaps.lacks_evaluations", run=run.name, count=len(missing), names=names, more=more)
    if is_trained and len(own) == len(records.evaluations):
        yield say("{run} has no evaluation of its vanilla model, so no gain of its own can be given.", run=run.name)
    if is_trained and not records.training.records:
        yield say("{run} has no generation step in metrics.jsonl or completions.", run=run.name)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What was measured of one model: a run and its own evaluations."""

    label: str  # of its arm
    run: Run
    evaluations: list[Evaluation]

    def uses(self, split: str) -> bool:
        """Whether its accuracies on a split are known: on the training rows only those of a model that learned from them."""
        return split in self.run.data and (split != TRAIN or not (self.run.is_vanilla or self.run.is_evaluated_only))


def labels_by_folder(arms: Iterable[Arm]) -> dict[Path, str]:
    """Run folder -> label of the arm that the run belongs to."""
    return {records.run.path.resolve(): arm.label for arm in arms for records in arm.runs}


def _models(arms: Sequence[Arm]) -> Iterator[_Model]:
    """Each run with its own evaluations, and the vanilla models behind them, which need not be arms of the report."""
    labels = labels_by_folder(arms)
    for records in (records for arm in arms for records in arm.runs):
        runs = {run.path.resolve(): run for run in (records.run, records.vanilla) if run is not None}
        for folder, run in runs.items():
            own = [one for one in records.evaluations.values() if one.run_folder == folder]
            yield _Model(label=labels.get(folder, VANILLA_LABEL), run=run, evaluations=own)


def mixtures(arms: Sequence[Arm]) -> Iterator[Phrase]:
    """Why accuracies of arms may not be comparable, with the arms named. Data and questions may differ between seeds."""
    models = list(_models(arms))
    judged_by = ((model, {version for one in model.evaluations for version in one.judge_versions}) for model in models)
    if judges := _named_if_mixed((version, model.label) for model, versions in judged_by for version in sorted(versions)):
        yield say_named("gaps.other_judges", judges=judges)
    seeds = sorted({model.run.seed for model in models})
    by_seed = [[model for model in models if model.run.seed == seed] for seed in seeds]
    for split in sorted({split for model in models for split in model.run.data}):
        with_split = ([model for model in of_seed if model.uses(split)] for of_seed in by_seed)
        mixed = (_named_if_mixed((str(model.run.data[split]), model.label) for model in of_seed) for of_seed in with_split)
        if different := next(filter(None, mixed), ""):
            yield say_named("gaps.other_data", split=split, arms=different)
    for split, setting in sorted({(one.split, one.setting) for model in models for one in model.evaluations}):
        problems = (phrase for of_seed in by_seed for phrase in _other_questions(of_seed, split=split, setting=setting))
        yield from islice(problems, 1)


def _other_questions(models: Sequence[_Model], *, split: str, setting: str) -> Iterator[Phrase]:
    """Where models of one seed answered different questions, or saw different figures without being an image control."""
    evaluations = [
        (model, one) for model in models for one in model.evaluations if (one.split, one.setting) == (split, setting)
    ]
    where = {"split": split, "setting": setting, "seed": models[0].run.seed}
    if arms := _sets((model.label, one.questions.row_id) for model, one in evaluations):
        yield say_named("gaps.other_questions", arms=arms, **where)
    for control in sorted({model.run.image_control for model, _ in evaluations}):
        alike = ((model.label, one.questions.image_id) for model, one in evaluations if model.run.image_control == control)
        if arms := _sets(alike):
            yield say_named("gaps.other_figures", arms=arms, **where)


def _sets(given: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """Which arms were given which set of questions, or of figures; empty where all were given the same."""
    names: dict[tuple[str, ...], str] = {}
    return _named_if_mixed(
        (names.setdefault(ids, f"set {len(names) + 1} of {len(ids)} questions"), label) for label, ids in given
    )


def _named_if_mixed(pairs: Iterable[tuple[str, str]]) -> str:
    """`a: grpo, rloo; b: sft` for what (value, label of an arm) pairs hold; nothing where they have one value."""
    groups: dict[str, dict[str, None]] = {}  # each label once, in order
    for value, label in pairs:
        groups.setdefault(value, {})[label] = None
    named = (f"{value or '?'}: {', '.join(labels)}" for value, labels in sorted(groups.items()))
    return "; ".join(named) if len(groups) > 1 else ""
