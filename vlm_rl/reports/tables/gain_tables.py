"""What each arm gained over its own untrained model: by how much, how surely, and by format or by reasoning.

All of it is secondary: no verdict is made of it, and nothing here is called an improvement.
"""

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.response_length import GainSplit, split_gain
from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Difference, Interval, mean_interval, paired_difference
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.endpoint_scores import before_and_at_pick


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One arm at one epoch against the untrained models of the same seeds, on one split under one setting."""

    arm: Arm
    split: str
    setting: str
    epoch: int | None  # None: each seed at the epoch that validation picked
    before: tuple[Evaluation, ...]  # in the order of seeds, as `after`
    after: tuple[Evaluation, ...]

    def over_seeds(self) -> Interval:
        """The gain paired by seed, with its 95 % t-interval over seeds: new seeds, these questions."""
        pairs = zip(self.before, self.after, strict=True)
        return mean_interval([after.accuracy() - before.accuracy() for before, after in pairs])

    def difference(self) -> Difference | None:
        """Both sources of chance; None where the seeds were not all asked the same questions."""
        evaluations = (*self.before, *self.after)
        if len({evaluation.questions.asked for evaluation in evaluations}) > 1:
            return None
        after, before = (np.stack([evaluation.scores() for evaluation in side]) for side in (self.after, self.before))
        return paired_difference(after, before=before, images=self.after[0].questions.images())


def gain_of(arm: Arm, *, split: str, setting: str) -> Gain | None:
    """The gain at the last epoch that all used runs reached; None where there is no untrained model or no later epoch."""
    epoch = arm.last_epoch(split=split, setting=setting)
    if epoch is None:
        return None
    pairs = [
        (before, records.evaluations[epoch, split, setting])
        for records in arm.used
        if (before := records.evaluations.get((UNTRAINED_EPOCH, split, setting))) is not None
    ]
    return _gain(arm, split=split, setting=setting, epoch=epoch, pairs=pairs)


def gain_at_pick(arm: Arm, *, endpoint: Endpoint, split: str, setting: str) -> Gain | None:
    """The gain of each seed at the epoch that validation picked for it; None where there is nothing to compare."""
    pairs = before_and_at_pick(arm, endpoint=endpoint, split=split, setting=setting)
    return _gain(arm, split=split, setting=setting, epoch=None, pairs=pairs)


def _gain(
    arm: Arm, *, split: str, setting: str, epoch: int | None, pairs: Sequence[tuple[Evaluation, Evaluation]]
) -> Gain | None:
    if not pairs:
        return None
    befores, afters = zip(*pairs, strict=True)
    return Gain(arm=arm, split=split, setting=setting, epoch=epoch, before=befores, after=afters)


def gain_table(records: Records) -> Table:
    """Last epoch minus untrained model, paired by seed, with both intervals of statistics.md (item 4)."""
    keys = product(records.trained, records.splits(), records.settings())
    found = (gain_of(arm, split=split, setting=setting) for arm, split, setting in keys)
    rows = [_gain_row(gain) for gain in found if gain is not None]
    return table_of("gain", rows, without=() if any(row["seeds"] == 1 for row in rows) else ("this_run_only",))


def _gain_row(gain: Gain) -> Row:
    difference = gain.difference()
    return {
        "arm": gain.arm.label,
        "split": gain.split,
        "setting": gain.setting,
        "seeds": len(gain.after),
        "epoch": gain.epoch,
        "gain": gain.over_seeds(),
        "new_questions": difference.new_questions() if difference and len(gain.after) > 1 else None,
        "this_run_only": difference.this_run_only() if difference and len(gain.after) == 1 else None,
        "variance_seeds": math.nan if difference is None else difference.variance_seeds,
        "variance_questions": math.nan if difference is None else difference.variance_questions,
    }


def gain_split_table(records: Records, *, endpoint: Endpoint) -> Table:
    """How much of the gain at the picked epochs is format and how much is reasoning: split for each seed, averaged over seeds."""
    setting, places = endpoint.setting, product(records.trained, records.splits())
    found = (gain_at_pick(arm, endpoint=endpoint, split=split, setting=setting) for arm, split in places)
    return table_of("gain_split", (_split_row(gain) for gain in found if gain is not None), setting=title_of(endpoint.setting))


def _split_row(gain: Gain) -> Row:
    before, after = (
        functools.reduce(operator.add, (evaluation.format_counts() for evaluation in side))
        for side in (gain.before, gain.after)
    )
    splits = [split_gain(a.format_counts(), before=b.format_counts()) for b, a in zip(gain.before, gain.after, strict=True)]
    parts = {name: mean_interval([getattr(split, name) for split in splits]) for name in GainSplit.__dataclass_fields__}
    return {
        "arm": gain.arm.label,
        "split": gain.split,
        "seeds": len(splits),
        **parts,
        "well_formed_vanilla": before.well_formed,
        "well_formed_picked": after.well_formed,
        "accuracy_if_well_formed_vanilla": before.accuracy_if_well_formed,
        "accuracy_if_well_formed_picked": after.accuracy_if_well_formed,
        "responses": after.num_responses,
    }
