"""How models answer val and test: length, truncation, reflection, language. The one place where SFT and RL can be compared in this.

In training SFT writes no responses of its own. Texts are read at three epochs only: untrained, picked by validation, and last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.response_metrics import count_responses
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import names, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.files import UnreadableRows, over_files, read_rows
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.results import over_seeds, picked_epoch
from vlm_rl.reports.tables.table import Row, Table, table_of

COLUMNS = ("response", "answer", "accuracy", "verdict", "finish_reason", "response_length")
STAGES = names("stages")
FEWEST_RESPONSES = 20  # of all seeds together
FEWEST_SEEDS = 3  # that wrote any; all of them where an arm has fewer
TOO_FEW = say_named("too_few", responses=FEWEST_RESPONSES, seeds=FEWEST_SEEDS)
MEANS = ("reflection_ratio", "length", "truncated", "foreign_share")
AMONG = {"correct_ratio_in_reflection_texts": "reflective", "correct_ratio_in_no_reflection_texts": "plain"}  # what is counted


@dataclass(frozen=True, kw_only=True)
class EvaluationBehaviour:
    """What the texts of one run say at one of its three stages; picked and last may be the same epoch."""

    arm: str
    seed: int
    split: str
    stage: str  # a key of STAGES
    epoch: int
    texts: dict[str, float]  # MEANS, the ratios AMONG and how many responses these are of


def evaluation_behaviour(
    records: Records, *, endpoint: Endpoint, judge: Judging | None = None
) -> tuple[EvaluationBehaviour, ...]:
    """Of every used run, split and stage under the endpoint's setting; files that arms share are read once."""
    wanted = [
        (arm, run, split, stage, evaluation)
        for arm in records.shown
        for run in arm.used
        for split in records.splits()
        for stage, evaluation in _stages(run, split=split, endpoint=endpoint)
    ]
    files = {(evaluation.path.resolve(), repr(run.rule)): run.rule for _, run, _, _, evaluation in wanted}
    rejudge = None if judge is None else Rejudge(judge)
    read = over_files(lambda item: _texts(item[0][0], rule=item[1], rejudge=rejudge), files.items())
    texts = dict(zip(files, read, strict=True))
    return tuple(
        EvaluationBehaviour(arm=arm.label, seed=run.run.seed, split=split, stage=stage, epoch=evaluation.epoch, texts=known)
        for arm, run, split, stage, evaluation in wanted
        if (known := texts[evaluation.path.resolve(), repr(run.rule)])
    )


def _stages(run: RunRecords, *, split: str, endpoint: Endpoint) -> Iterator[tuple[str, Evaluation]]:
    epochs = run.epochs(split=split, setting=endpoint.setting)
    stages = {"untrained": UNTRAINED_EPOCH, "picked": picked_epoch(run, endpoint=endpoint), "last": max(epochs, default=None)}
    for stage, epoch in stages.items():
        if epoch is not None and (found := run.evaluations.get((epoch, split, endpoint.setting))) is not None:
            yield stage, found


def _texts(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> dict[str, float]:
    """Nothing where a file has gone bad since it was read for its scores."""
    try:
        samples = read_rows(path, columns=COLUMNS)
    except UnreadableRows:
        return {}
    counts = count_responses(samples if rejudge is None else rejudge(samples), rule=rule)
    lengths = counts.response_lengths.metrics()
    return counts.reflection.ratios() | {
        "length": lengths["response_length/mean"],
        "truncated": lengths["response_length/truncated"],
        "foreign_share": counts.foreign_share,
        "reflective": counts.reflection.num_reflective,
        "plain": counts.reflection.num_responses - counts.reflection.num_reflective,
    }


def evaluation_behaviour_table(measured: Sequence[EvaluationBehaviour], *, endpoint: Endpoint) -> Table:
    """Means over the seeds of each arm, split and stage."""
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for one in measured:
        groups.setdefault((one.arm, one.split, one.stage), []).append(one.texts)
    rows = (_row(*key, texts=texts) for key, texts in groups.items())
    return table_of("evaluation_behaviour", rows, setting=title_of(endpoint.setting), too_few=TOO_FEW)


def _row(arm: str, split: str, stage: str, *, texts: Sequence[dict[str, float]]) -> Row:
    means = over_seeds(texts)
    counts = {name: [int(of_run[kind]) for of_run in texts] for name, kind in AMONG.items()}
    return {
        "arm": arm,
        "split": split,
        "stage": STAGES[stage],
        "seeds": len(texts),
        "reflective": sum(counts["correct_ratio_in_reflection_texts"]),
        **{name: means[name] for name in MEANS},
        **{name: mean_if_enough([of_run[name] for of_run in texts], counts=counts[name]) for name in AMONG},
    }


def mean_if_enough(values: Sequence[float] | FloatArray, *, counts: Sequence[int] | NDArray[np.int64]) -> Interval:
    """Mean over seeds of a ratio among `counts` responses of each; missing where those are too few."""
    num_seeds = np.count_nonzero(counts)
    enough = sum(counts) >= FEWEST_RESPONSES and num_seeds >= min(FEWEST_SEEDS, len(counts))
    return mean_interval(values if enough else [])
