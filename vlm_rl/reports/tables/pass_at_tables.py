"""pass@1 to pass@n by arm. Levels only, no verdicts."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.untrained_models import evaluated_as_it_came, untrained_models
from vlm_rl.reports.tables.table import Row, Table, percent, table_of
from vlm_rl.reports.verdicts.endpoint_scores import at_picks

MOST_COLUMNS = 8  # with more samples k doubles from column to column


def pass_at_table(records: Records, *, endpoint: Endpoint) -> Table:
    """pass@1 to pass@n wherever n > 1 samples are stored: the untrained model once, each arm at the epochs that validation picked."""
    keys = product(records.splits(), records.settings())
    rows = [row for split, name in keys for row in _rows(records, endpoint=endpoint, split=split, setting=name)]
    shown = sorted({int(key.removeprefix("pass@")) for row in rows for key in row if key.startswith("pass@")})
    more = [percent(f"pass@{k}", title=say("pass@{k}", k=k)) for k in shown]
    return table_of("pass_at_k", rows, more=more)


def pass_at_levels(
    records: Records, *, endpoint: Endpoint, split: str, setting: str
) -> list[tuple[str, dict[int, Evaluation]]]:
    """Whose samples are compared, by seed: each untrained model, then each arm at the epochs that validation picked."""
    levels: list[tuple[str, dict[int, Evaluation]]] = [
        (model.label, model.by_seed(split=split, setting=setting)) for model in untrained_models(records)
    ]
    for arm in records.shown:
        found = at_picks(arm, endpoint=endpoint, split=split, setting=setting)
        levels.append((arm.label, found or evaluated_as_it_came(arm, split=split, setting=setting)))
    return levels


def _rows(records: Records, *, endpoint: Endpoint, split: str, setting: str) -> Iterator[Row]:
    for label, found in pass_at_levels(records, endpoint=endpoint, split=split, setting=setting):
        evaluations = list(found.values())
        num_samples = min((int(evaluation.num_samples.min()) for evaluation in evaluations), default=0)
        if num_samples < 2:
            continue
        curves = np.array([one.pass_curve(num_samples).mean(axis=0) for one in evaluations])
        cells = {f"pass@{k}": mean_interval(curves[:, k - 1]) for k in _shown_k(num_samples)}
        yield {"split": split, "setting": title_of(setting), "arm": label, "seeds": len(evaluations), **cells}


def _shown_k(num_samples: int) -> list[int]:
    if num_samples <= MOST_COLUMNS:
        return list(range(1, num_samples + 1))
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples})
