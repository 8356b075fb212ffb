"""Another k from the samples that are stored: pass@4_t1.0 from ten samples at temperature 1.0 needs no new run."""

from collections.abc import Iterator
from dataclasses import replace

from vlm_rl.evaluation.settings import SETTING_NAME, k_of
from vlm_rl.reports.reading.arms import Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation


def with_setting(records: Records, *, setting: str) -> Records:
    """The same records, evaluated under `setting` too wherever enough samples of its temperature are stored."""
    arms = [replace(arm, runs=tuple(_with_setting(run, setting=setting) for run in arm.runs)) for arm in records.arms]
    return replace(records, arms=tuple(arms))


def _with_setting(run: RunRecords, *, setting: str) -> RunRecords:
    places = sorted({(epoch, split) for epoch, split, _ in run.evaluations})
    derived = {
        (epoch, split, setting): max(found, key=lambda e: int(e.num_samples.sum())).under(setting)
        for epoch, split in places
        if (found := list(_sources(run, epoch=epoch, split=split, setting=setting)))
    }
    return replace(run, evaluations=derived | run.evaluations)  # what was evaluated under this setting stays


def _sources(run: RunRecords, *, epoch: int, split: str, setting: str) -> Iterator[Evaluation]:
    for (at, of, name), evaluation in run.evaluations.items():
        is_same = (at, of, _temperature(name)) == (epoch, split, _temperature(setting))
        if is_same and (evaluation.num_samples >= k_of(setting)).all():
            yield evaluation


def _temperature(setting: str) -> float:
    match = SETTING_NAME.fullmatch(setting)
    return float(match["temperature"]) if match else float("nan")
