"""A few completions for the loggers, and small copies of the rows' figures, named by content and shared by all runs of a study."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule, evaluation_file
from vlm_rl.callbacks.logger_sinks import Sheet, show
from vlm_rl.callbacks.recorder import step_records
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.kept_pictures import keep_picture
from vlm_rl.datasets.row import ImageSource, Row
from vlm_rl.evaluation.evaluator import Evaluator
from vlm_rl.module import Progress, VLMReinforcement, reinforcement
from vlm_rl.run_folder import RunFolder

MAX_SIDE = 384  # pixels of a picture
SHOWN = ("question", "response", "answer", "verdict", "finish_reason", "response_length")


class CompletionTables(lightning.Callback):
    """After the evaluation schedule. Validation shows the same questions at each epoch, so that one sees the model change."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        vanilla: RunFolder,
        schedule: EvaluationSchedule,
        evaluator: Evaluator,
        rows: int,
        every: int,
    ) -> None:
        self._folder, self._vanilla, self._schedule, self._evaluator = folder, vanilla, schedule, evaluator
        self._rows, self._every = rows, every

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = reinforcement(pl_module)
        if module.progress.generation_steps == 0:
            self._show(trainer, lambda: self._of_validation(module, self._vanilla))

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        module = reinforcement(pl_module)
        if module.progress.generation_steps % self._every == 0:
            self._show(trainer, lambda: self._of_training(module))
        if self._schedule.taken_in is not None:
            self._show(trainer, lambda: self._of_validation(module, self._folder))

    def _show(self, trainer: lightning.Trainer, make: Callable[[], Sheet]) -> None:
        if trainer.loggers and trainer.is_global_zero and self._rows:
            made = make()
            for logger in trainer.loggers:
                show(logger, made)

    def _of_training(self, module: VLMReinforcement) -> Sheet:
        """The first responses of this rank's share of the batch, with the score and its terms."""
        step, progress = module.last_step, module.progress
        assert step is not None
        table = step_records(step, epoch=progress.epoch, generation_steps=progress.generation_steps)
        return sheet("completions/train", table.slice(0, self._rows), rows=step.queries.rows, progress=progress)

    def _of_validation(self, module: VLMReinforcement, folder: RunFolder) -> Sheet:
        """The first sample of the first validation questions at the endpoint's setting."""
        scheme = self._evaluator.scheme
        split, setting = scheme.endpoint.picked_by, scheme.endpoint.setting
        table = pq.read_table(folder.path / evaluation_file(round(module.progress.epoch), split, setting))
        table = table.filter(pc.equal(table["sample"], 0)).slice(0, self._rows)
        return sheet(f"completions/{split}", table, rows=self._evaluator.rows(split), progress=module.progress)


def sheet(key: str, table: pa.Table, *, rows: Iterable[Row], progress: Progress) -> Sheet:
    """What a person wants to see of some records, with the figures of their rows."""
    scores = [name for name in table.column_names if name == "score" or name.startswith("reward_")]
    columns = [*SHOWN, *scores]
    pictures = {row.id: picture(row.images) for row in rows if row.id in set(table["row_id"].to_pylist())}
    cells = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return Sheet(
        key=key,
        generation_steps=progress.generation_steps,
        epoch=progress.epoch,
        columns=("row_id", "image", *columns),
        rows=tuple((row_id, pictures[row_id], *row) for row_id, row in zip(table["row_id"].to_pylist(), cells, strict=True)),
    )


def picture(images: Sequence[ImageSource]) -> Image.Image | None:
    """The figures of a row side by side, small; None for a row without any."""
    if not images:
        return None
    loaded = [image.load() for image in images]
    for image in loaded:
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    canvas = Image.new("RGB", (sum(image.width for image in loaded), max(image.height for image in loaded)), "white")
    left = 0
    for image in loaded:
        canvas.paste(image, (left, 0))
        left += image.width
    return canvas


class Pictures(lightning.Callback):
    """Keeps the figures of the evaluated splits at once, those of training rows when they are first sampled from."""

    def __init__(self, *, folder: Path, dataset: Dataset, splits: Iterable[str], max_side: int | None) -> None:
        self._folder, self._dataset, self._splits, self._max_side = folder, dataset, tuple(splits), max_side
        self._kept: set[str] = set()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            for split in self._splits:
                self._keep(self._dataset.split(split))

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any) -> None:
        step = reinforcement(pl_module).last_step
        assert step is not None
        self._keep(step.queries.rows)

    def _keep(self, rows: Iterable[Row]) -> None:
        if self._max_side is None:
            return
        for image in (image for row in rows for image in row.images if image.key not in self._kept):
            self._kept.add(image.key)
            keep_picture(image, folder=self._folder, max_side=self._max_side)
