"""Accuracy by arm, split and setting, side by side as the paper's Table 3, and pass@1 to pass@n. Levels only, no verdicts."""

from collections.abc import Iterator, Sequence

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval, lucky_max, mean_interval
from vlm_rl.reports.phrase import paragraph, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.paper_numbers import CITATION, PaperRow, paper_row
from vlm_rl.reports.tables.table import Column, Row, Table, number, percent, text
from vlm_rl.reports.verdicts.endpoint_scores import picked_epoch
from vlm_rl.reports.verdicts.picks import at_pick

LUCKY_MAX_STREAM = 2007  # its own fixed stream: the same records give the same report
MOST_COLUMNS = 8  # of pass@k; with more samples k doubles from column to column


def accuracy_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Vanilla, mean and maximum over epochs, luck, the epoch that validation picks and the last one, each averaged over seeds."""
    keys = [(arm, split, name) for arm in records.shown for split in records.splits() for name in records.settings()]
    rows = (_accuracy_row(arm, endpoint=endpoint, split=split, setting=setting) for arm, split, setting in keys)
    return Table(
        name="accuracy",
        title=say("Accuracy by arm, split and setting (%)"),
        note=paragraph(
            say(
                "Each entry is an average over seeds; in brackets its two-sided 95 % t-interval over seeds, n in the column Seeds."
            ),
            say("Mean and maximum are over the epochs after training began."),
            say(
                "A maximum over epochs is lifted by noise alone: beside it stands the maximum that as many evaluations of the "
                "untrained model would show, resampled from its stored samples (missing where only one sample of a question is stored)."
            ),
            say(
                "Picked: each seed at the epoch where its accuracy on {split} ({setting}) is highest, the first of equals; "
                "this is what a user of the model would get.",
                split=endpoint.picked_by,
                setting=title_of(endpoint.setting),
            ),
        ),
        columns=(
            text("arm", title=say("Arm")),
            text("split", title=say("Split")),
            text("setting", title=say("Setting")),
            number("seeds", title=say("Seeds")),
            percent("vanilla", title=say("Vanilla")),
            percent("mean", title=say("Mean over epochs")),
            percent("max", title=say("Max over epochs")),
            percent("lucky_max", title=say("Max by luck alone")),
            percent("picked", title=say("Picked epoch")),
            text("picked_epochs", title=say("picked, by seed")),
            percent("last", title=say("Last epoch")),
            number("last_epoch", title=say("Epoch")),
        ),
        rows=tuple(row for found in rows for row in found),
    )


def _accuracy_row(arm: Arm, *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    untrained = arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    trained = _curves(arm, split=split, setting=setting)
    if not untrained and not trained:
        return
    last = arm.last_epoch(split=split, setting=setting)
    at_last = [] if last is None else arm.evaluated(epoch=last, split=split, setting=setting)
    picked = [at_pick(run, endpoint=endpoint, split=split, setting=setting) for run in arm.used]
    epochs = [picked_epoch(run, endpoint=endpoint) for run in arm.used]
    yield {
        "arm": arm.label,
        "split": split,
        "setting": setting,
        "seeds": len(trained) or len(untrained),
        "vanilla": accuracy_interval(untrained),
        "mean": mean_interval([float(np.mean(curve)) for curve in trained]),
        "max": mean_interval([max(curve) for curve in trained]),
        "lucky_max": _lucky_max(untrained, num_evaluations=max(map(len, trained), default=0)),
        "picked": accuracy_interval([evaluation for evaluation in picked if evaluation is not None]),
        "picked_epochs": ", ".join(str(epoch) for epoch in epochs if epoch is not None),
        "last": accuracy_interval(at_last),
        "last_epoch": last,
    }


def _curves(arm: Arm, *, split: str, setting: str) -> list[list[float]]:
    """Accuracy by epoch of each used run that was evaluated after training began."""
    curves = (_accuracies(records, split=split, setting=setting) for records in arm.used)
    return [curve for curve in curves if curve]


def _accuracies(records: RunRecords, *, split: str, setting: str) -> list[float]:
    epochs = records.epochs(split=split, setting=setting)
    return [records.evaluations[epoch, split, setting].accuracy() for epoch in epochs]


def accuracy_interval(evaluations: Sequence[Evaluation]) -> Interval:
    """Accuracy averaged over the seeds of an arm."""
    return mean_interval([evaluation.accuracy() for evaluation in evaluations])


def _lucky_max(untrained: Sequence[Evaluation], *, num_evaluations: int) -> Interval:
    """The control of a maximum, averaged over seeds; none where questions have unequal numbers of samples."""
    expected = []
    for evaluation in untrained:
        num_samples = int(evaluation.num_samples.max(initial=0))
        if (evaluation.num_samples != num_samples).any():
            continue
        scores = pass_at_k_by_question(np.arange(num_samples + 1), num_samples=num_samples, k=k_of(evaluation.setting))
        generator = np.random.Generator(np.random.Philox(key=LUCKY_MAX_STREAM))
        luck = lucky_max(evaluation.num_correct, score_by_correct=scores, num_evaluations=num_evaluations, generator=generator)
        expected.append(luck)
    return mean_interval(expected)


def table3_table(records: Records) -> Table:
    """The paper's Table 3: a row for each split and setting; Vanilla, then every arm's mean, then every arm's maximum over epochs."""
    arms = sorted(records.shown, key=lambda arm: arm.runs[0].run.algorithm != "sft")  # the paper's order: SFT before RL
    trials = list(dict.fromkeys(_trial(arm) for arm in arms))
    rows = [
        row
        for trial in trials
        for split in records.splits()
        for setting in records.settings()
        for row in _table3_row(arms, trial=trial, split=split, setting=setting)
    ]
    from_paper = any(key.startswith("paper_") for row in rows for key in row)
    cited = say("The paper's numbers ({citation}) are averages of three runs.", citation=CITATION) if from_paper else ""
    return Table(
        name="table_3",
        title=say("Vanilla and trained arms side by side, as the paper's Table 3 (%)"),
        note=paragraph(
            say(
                "Mean and maximum over epochs, averaged over seeds, with 95 % t-intervals over seeds (n in each arm's row of runs)."
            ),
            say("Maxima carry no verdict: noise alone lifts them."),
            cited,
        ),
        columns=(
            text("dataset", title=say("Data")),
            text("model", title=say("Model")),
            text("split", title=say("Split")),
            text("setting", title=say("Setting")),
            percent("vanilla", title=say("Vanilla")),
            *(percent(f"{arm.label}_mean", title=say("{arm}, mean", arm=arm.label)) for arm in arms if not arm.is_untrained),
            *(percent(f"{arm.label}_max", title=say("{arm}, max", arm=arm.label)) for arm in arms if not arm.is_untrained),
            *(_paper_columns() if from_paper else ()),
        ),
        rows=tuple(rows),
    )


def _trial(arm: Arm) -> tuple[str, str]:
    """What must be the same for two arms to stand in one row: data and model, by the names of their configs."""
    config = arm.runs[0].run.config
    dataset, model = ((config.get(group) or {}).get("name") or "" for group in ("dataset", "model"))
    return str(dataset), str(model)


def _table3_row(arms: Sequence[Arm], *, trial: tuple[str, str], split: str, setting: str) -> Iterator[Row]:
    these = [arm for arm in arms if _trial(arm) == trial]
    untrained = {
        e.path.resolve(): e for arm in these for e in arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    }
    curves = {arm.label: _curves(arm, split=split, setting=setting) for arm in these}
    if not untrained and not any(curves.values()):
        return
    row: dict[str, Interval | str | float] = {
        "dataset": trial[0],
        "model": trial[1],
        "split": split,
        "setting": title_of(setting),
    }
    row["vanilla"] = accuracy_interval(list(untrained.values()))
    for label, found in curves.items():
        row[f"{label}_mean"] = mean_interval([float(np.mean(curve)) for curve in found])
        row[f"{label}_max"] = mean_interval([max(curve) for curve in found])
    paper = paper_row(these[0].runs[0].run.config, split=split, setting=setting)
    yield row | ({} if paper is None else {f"paper_{name}": getattr(paper, name) for name in PaperRow.__dataclass_fields__})


def _paper_columns() -> tuple[Column, ...]:
    return (
        percent("paper_vanilla", title=say("Paper: Vanilla")),
        percent("paper_sft_mean", title=say("Paper: SFT mean")),
        percent("paper_rl_mean", title=say("Paper: RL mean")),
        percent("paper_sft_max", title=say("Paper: SFT max")),
        percent("paper_rl_max", title=say("Paper: RL max")),
    )


def pass_at_table(records: Records, *, endpoint: Endpoint) -> Table:
    """pass@1 to pass@n wherever n > 1 samples are stored: the untrained model once, each arm at the epochs that validation picked."""
    rows = [
        row
        for split in records.splits()
        for setting in records.settings()
        for row in _pass_at_rows(records.shown, endpoint=endpoint, split=split, setting=setting)
    ]
    shown = sorted({int(key.removeprefix("pass@")) for row in rows for key in row if key.startswith("pass@")})
    return Table(
        name="pass_at_k",
        title=say("pass@1 to pass@n (%)"),
        note=paragraph(
            say(
                "Unbiased estimates 1 - C(n-c, k) / C(n, k) from n samples of each question, averaged over questions and seeds."
            ),
            say("In brackets the 95 % t-interval over seeds. Trained arms at the epochs that validation picked."),
        ),
        columns=(
            text("split", title=say("Split")),
            text("setting", title=say("Setting")),
            text("arm", title=say("Arm")),
            number("seeds", title=say("Seeds")),
            *(percent(f"pass@{k}", title=say("pass@{k}", k=k)) for k in shown),
        ),
        rows=tuple(rows),
    )


def _pass_at_rows(arms: Sequence[Arm], *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    untrained = {
        e.path.resolve(): e for arm in arms for e in arm.evaluated(epoch=UNTRAINED_EPOCH, split=split, setting=setting)
    }
    levels: list[tuple[str, list[Evaluation | None]]] = [(say("Vanilla"), [*untrained.values()])]
    for arm in arms:
        levels += [(arm.label, [at_pick(run, endpoint=endpoint, split=split, setting=setting) for run in arm.used])]
    for label, found in levels:
        evaluations = [evaluation for evaluation in found if evaluation is not None]
        num_samples = min((int(evaluation.num_samples.min()) for evaluation in evaluations), default=0)
        if num_samples < 2:
            continue
        curves = np.array([_pass_curve(evaluation, k=num_samples) for evaluation in evaluations])
        cells = {f"pass@{k}": mean_interval(curves[:, k - 1]) for k in _shown_k(num_samples)}
        yield {"split": split, "setting": title_of(setting), "arm": label, "seeds": len(evaluations), **cells}


def _pass_curve(evaluation: Evaluation, *, k: int) -> np.ndarray:
    return np.asarray(pass_at_1_to_k(evaluation.num_correct, num_samples=evaluation.num_samples, k=k).mean(axis=0))


def _shown_k(num_samples: int) -> list[int]:
    if num_samples <= MOST_COLUMNS:
        return list(range(1, num_samples + 1))
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples})
