"""How models answer val and test: length, truncation, reflection, language. The one place where SFT and RL can be compared in this.

In training SFT writes no responses of its own. Texts are read at three epochs only: untrained, picked by validation, and last.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionCounts, ReflectionRule, pool_reflection, reflective_counts
from vlm_rl.evaluation.response_length import ResponseLengths, count_response_lengths
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import names, say_named
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Records, RunRecords
from vlm_rl.reports.reading.files import UnreadableRows, over_files, read_rows
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.training import mean_foreign_share
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import picked_epoch

COLUMNS = ("response", "answer", "accuracy", "verdict", "finish_reason", "response_length")
STAGES = names("stages")
FEWEST_RESPONSES = 20  # of all seeds together
FEWEST_SEEDS = 3  # that wrote any; all of them where an arm has fewer
TOO_FEW = say_named("too_few", responses=FEWEST_RESPONSES, seeds=FEWEST_SEEDS)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What the responses of one evaluation say."""

    reflection: ReflectionCounts
    lengths: ResponseLengths
    foreign_share: float  # letters outside Latin and Greek, mean over responses


@dataclass(frozen=True, kw_only=True)
class EvaluationBehaviour:
    """The texts of one run at one of its three stages; picked and last may be the same epoch."""

    arm: str
    seed: int
    is_used: bool  # whether means speak of this run
    split: str
    stage: str  # a key of STAGES
    epoch: int
    texts: Texts


def evaluation_behaviour(
    records: Records, *, endpoint: Endpoint, judge: Judging | None = None
) -> tuple[EvaluationBehaviour, ...]:
    """Of every run, split and stage under the endpoint's setting; files that arms share are read once."""
    places = [(arm.label, run in arm.used, run) for arm in records.shown for run in arm.runs]
    wanted = [
        (label, is_used, run, split, stage, epoch)
        for label, is_used, run in places
        for split in records.splits()
        for stage, epoch in _stages(run, split=split, endpoint=endpoint)
    ]
    files = {
        (run.evaluations[epoch, split, endpoint.setting].path.resolve(), repr(run.rule)): run.rule
        for _, _, run, split, _, epoch in wanted
    }
    rejudge = None if judge is None else Rejudge(judge)
    read = over_files(lambda item: _texts(item[0][0], rule=item[1], rejudge=rejudge), files.items())
    texts = dict(zip(files, read, strict=True))
    return tuple(
        EvaluationBehaviour(arm=label, seed=run.run.seed, is_used=is_used, split=split, stage=stage, epoch=epoch, texts=known)
        for label, is_used, run, split, stage, epoch in wanted
        if (known := texts[run.evaluations[epoch, split, endpoint.setting].path.resolve(), repr(run.rule)]) is not None
    )


def _stages(run: RunRecords, *, split: str, endpoint: Endpoint) -> Iterator[tuple[str, int]]:
    epochs = run.epochs(split=split, setting=endpoint.setting)
    stages = {"untrained": UNTRAINED_EPOCH, "picked": picked_epoch(run, endpoint=endpoint), "last": max(epochs, default=None)}
    for stage, epoch in stages.items():
        if epoch is not None and (epoch, split, endpoint.setting) in run.evaluations:
            yield stage, epoch


def _texts(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> Texts | None:
    """None where a file has gone bad since it was read for its scores."""
    try:
        samples = read_rows(path, columns=COLUMNS)
    except UnreadableRows:
        return None
    if rejudge is not None:
        samples = rejudge(samples)
    correct = np.asarray(pc.fill_null(pc.greater(samples["accuracy"], 0.5), False))
    lengths = pc.fill_null(samples["response_length"], 0).to_pylist()
    return Texts(
        reflection=pool_reflection(reflective_counts(samples["response"], rule=rule), correct=correct, rule=rule),
        lengths=count_response_lengths(lengths, truncated=pc.equal(samples["finish_reason"], "length").to_pylist()),
        foreign_share=mean_foreign_share(samples["response"]),
    )


QUANTITIES: dict[str, Callable[[Texts], float]] = {
    "reflection_ratio": lambda texts: texts.reflection.ratios()["reflection_ratio"],
    "length": lambda texts: texts.lengths.metrics()["response_length/mean"],
    "truncated": lambda texts: texts.lengths.metrics()["response_length/truncated"],
    "foreign_share": lambda texts: texts.foreign_share,
}


def evaluation_behaviour_table(measured: Sequence[EvaluationBehaviour], *, endpoint: Endpoint) -> Table:
    """Means over the used seeds of each arm, split and stage."""
    groups: dict[tuple[str, str, str], list[EvaluationBehaviour]] = {}
    for behaviour in measured:
        if behaviour.is_used:
            groups.setdefault((behaviour.arm, behaviour.split, behaviour.stage), []).append(behaviour)
    return table_of(
        "evaluation_behaviour",
        (_row(key, group=group) for key, group in groups.items()),
        setting=title_of(endpoint.setting),
        too_few=TOO_FEW,
    )


def _row(key: tuple[str, str, str], *, group: Sequence[EvaluationBehaviour]) -> Row:
    arm, split, stage = key
    means = {name: mean_interval([of(behaviour.texts) for behaviour in group]) for name, of in QUANTITIES.items()}
    reflective = [behaviour.texts.reflection.num_reflective for behaviour in group]
    plain = [behaviour.texts.reflection.num_responses - behaviour.texts.reflection.num_reflective for behaviour in group]
    ratios = [behaviour.texts.reflection.ratios() for behaviour in group]
    right = {
        "correct_ratio_in_reflection_texts": reflective,
        "correct_ratio_in_no_reflection_texts": plain,
    }
    return {
        "arm": arm,
        "split": split,
        "stage": STAGES[stage],
        "seeds": len(group),
        "reflective": sum(reflective),
        **means,
        **{name: mean_if_enough([ratio[name] for ratio in ratios], counts=counts) for name, counts in right.items()},
    }


def mean_if_enough(values: Sequence[float] | FloatArray, *, counts: Sequence[int]) -> Interval:
    """Mean over seeds of a ratio among `counts` responses of each; missing where those are too few."""
    num_seeds = np.count_nonzero(counts)
    enough = sum(counts) >= FEWEST_RESPONSES and num_seeds >= min(FEWEST_SEEDS, len(counts))
    return mean_interval(values if enough else [])
