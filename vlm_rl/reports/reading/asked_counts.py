"""Questions, samples and epochs of a run's evaluations against its manifest: the rows that it counted, the scheme that it was given."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.early_ends import epochs_of
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.files import count_of
from vlm_rl.reports.reading.logged_scores import Cell, named
from vlm_rl.reports.reading.runs import Run

MOST_EPOCHS = 100_000  # a manifest that asks for more is not believed


def asked_rows(run: Run, *, split: str) -> int | None:
    """The questions of a split: as the run counted them, or as the config of embedded data and subsets has them."""
    counts = run.manifest.get("rows")
    counted = counts.get("count") if isinstance(counts, dict) else None
    if isinstance(counted, dict) and (count := count_of(counted.get(split))) is not None:
        return count
    dataset = run.config.get("dataset", {})
    source, subset, chosen = (
        part if isinstance(part := dataset.get(key), dict) else {} for key in ("source", "subset", "filter")
    )
    rows = count_of(subset.get(split))
    if rows is None and not chosen.get(split):
        rows = count_of(source.get(f"{split}_rows"))
    most = count_of(dataset.get("evaluation_rows"))
    return rows if None in (rows, most) else min(rows, most)  # type: ignore[type-var]


def asked_samples(config: Mapping[str, Any]) -> dict[str, int]:
    """Setting -> samples of each question, by the scheme of a config."""
    settings = config.get("evaluation", {}).get("scheme", {}).get("settings")
    found: dict[str, int] = {}
    for setting in settings if isinstance(settings, list) else ():
        known = setting if isinstance(setting, dict) else {}
        k, num_samples, temperature = count_of(known.get("k")), count_of(known.get("num_samples")), known.get("temperature")
        if isinstance(temperature, int | float) and k and num_samples:
            found[f"pass@{k}_t{float(temperature)}"] = num_samples
    return found


def asked_cells(run: Run) -> set[Cell]:
    """Every evaluation that the config of a run asks for, of a vanilla model those of epoch 0; none where it does not say."""
    scheme, epochs = run.config.get("evaluation", {}).get("scheme", {}), epochs_of(run)
    every, splits = count_of(scheme.get("every_epochs")), scheme.get("splits")
    if not every or not epochs or epochs > MOST_EPOCHS or not isinstance(splits, list):
        return set()
    evaluated = [0] if run.is_vanilla else range(every, epochs + 1, every)
    return set(product(evaluated, (split for split in splits if isinstance(split, str)), asked_samples(run.config)))


def wrong_counts(run: Run, *, evaluations: Iterable[Evaluation]) -> Iterator[Phrase]:
    """Evaluations of a run that have other questions or samples than it was asked for, the first of each kind."""
    files = list(evaluations)
    rows = ((one, asked_rows(run, split=one.split), len(one.questions.row_id)) for one in files)
    if other := [(one, asked, found) for one, asked, found in rows if asked not in (None, found)]:
        one, asked, found = other[0]
        yield say_named("doubts.other_rows", run=run.name, count=len(other), path=one.path, asked=asked, found=found)
    settings = asked_samples(run.config)
    asked_of = ((one, settings.get(one.setting)) for one in files)
    if wrong := [(one, asked) for one, asked in asked_of if asked is not None and not _has_samples(one, asked)]:
        one, asked = wrong[0]
        yield say_named("doubts.other_samples", run=run.name, count=len(wrong), path=one.path, asked=asked)


def _has_samples(one: Evaluation, asked: int) -> bool:
    """Whether each question has the samples 0 to `asked` - 1; no sample is in a file twice."""
    return bool((one.num_samples == asked).all()) and (one.stored is None or one.stored.samples == (0, asked - 1))


def wrong_epochs(run: Run, *, cells: set[Cell]) -> Iterator[Phrase]:
    """Evaluations of a finished run that its config asks for and that are not there, and the other way round."""
    if not run.finished or not (asked := asked_cells(run)):
        return
    if missing := sorted(asked - cells):
        yield say_named("doubts.not_evaluated", run=run.name, count=len(missing), asked=len(asked), names=named(missing))
    if more := sorted(cells - asked):
        yield say_named("doubts.not_asked", run=run.name, count=len(more), names=named(more))
