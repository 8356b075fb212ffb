"""How models answer val and test: length, truncation, reflection, language. The one place where SFT and RL can be compared in this.

In training SFT writes no responses of its own. Texts are read at three epochs only: vanilla, selected by validation, and last.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.response_metrics import count_responses
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.phrase import names, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.files import UnreadableRows, over_files
from vlm_rl.reports.reading.rejudge import Rejudge, read_judged
from vlm_rl.reports.reading.results import BySeed, Results, over_seeds, results_of
from vlm_rl.reports.tables.table import Row, Table, table_of

COLUMNS = ("response", "accuracy", "verdict", "finish_reason", "response_length")
STAGES = names("stages")
FEWEST_RESPONSES = 20  # of all seeds together
FEWEST_SEEDS = 3  # that wrote any; all of them where an arm has fewer
TOO_FEW = say_named("too_few", responses=FEWEST_RESPONSES, seeds=FEWEST_SEEDS)
MEANS = ("reflection_ratio", "length", "truncated", "foreign_share")
AMONG = {"correct_ratio_in_reflection_texts": "reflective", "correct_ratio_in_no_reflection_texts": "plain"}  # what is counted


Texts = Mapping[str, float]  # of one evaluation: MEANS, the ratios AMONG and how many responses these are of


def evaluation_behaviour_table(records: Records, *, endpoint: Endpoint) -> Table:
    """Means over the seeds of each arm, split and stage, under the endpoint's setting; files that arms share are read once."""
    wanted = [
        ((results.arm.label, results.split, stage), (evaluation.path.resolve(), repr(rules[seed])), rules[seed])
        for results in results_of(records, endpoint=endpoint, setting=endpoint.setting)
        for rules in [{run.run.seed: run.training.rule for run in results.arm.used}]
        for stage, found in _stages(results).items()
        for seed, evaluation in found.items()
    ]
    files = {file: rule for _, file, rule in wanted}
    read = over_files(lambda item: _texts(item[0][0], rule=item[1], rejudge=records.rejudge), files.items())
    texts = dict(zip(files, read, strict=True))
    groups: dict[tuple[str, str, str], list[Texts]] = {}
    for key, file, _ in wanted:
        if texts[file]:
            groups.setdefault(key, []).append(texts[file])
    rows = (_row(*key, texts=of_seeds) for key, of_seeds in groups.items())
    return table_of("evaluation_behaviour", rows, setting=title_of(endpoint.setting), too_few=TOO_FEW)


def _stages(results: Results) -> dict[str, BySeed]:
    """By the keys of STAGES; `picked` and `last` may be the same epoch."""
    last = {run.run.seed: run.epochs(split=results.split, setting=results.setting)[-1:] for run in results.arm.used}
    at_last = results.at({seed: epochs[0] if epochs else None for seed, epochs in last.items()})
    return {"vanilla": results.vanilla, "picked": results.selected, "last": at_last}


def _texts(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> dict[str, float]:
    """Nothing where a file has gone bad since it was read for its scores."""
    return recall("texts", stamp_of(path), rule, rejudge, make=lambda: _count(path, rule=rule, rejudge=rejudge))


def _count(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> dict[str, float]:
    try:
        samples, _ = read_judged(path, columns=COLUMNS, rejudge=rejudge)
    except UnreadableRows:
        return {}
    counts = count_responses(samples, rule=rule)
    lengths = counts.length_metrics
    return counts.reflection.ratios() | {
        "length": lengths["response_length/mean"],
        "truncated": lengths["response_length/truncated"],
        "foreign_share": counts.foreign_share,
        "reflective": counts.reflection.num_reflective,
        "plain": counts.reflection.num_responses - counts.reflection.num_reflective,
    }


def _row(arm: str, split: str, stage: str, *, texts: Sequence[Texts]) -> Row:
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
