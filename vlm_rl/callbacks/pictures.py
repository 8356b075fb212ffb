"""Small copies of a study's figures, `outputs/<study>/images/<key>.png`, named by content: the first run writes each one, whole."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import ImageSource, Row
from vlm_rl.module import reinforcement
from vlm_rl.run_folder import write_whole


class Pictures(lightning.Callback):
    """Keeps the figures of the evaluated splits at once, those of training rows when they are first sampled from."""

    def __init__(self, *, folder: Path, dataset: Dataset, splits: Iterable[str], max_side: int | None) -> None:
        self._folder, self._dataset, self._splits, self._max_side = folder, dataset, tuple(splits), max_side
        self._kept: set[str] = set()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            for split in self._splits:
                self._keep(self._dataset.split(split))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = reinforcement(pl_module).last_step
        assert step is not None
        self._keep(step.queries.rows)

    def _keep(self, rows: Iterable[Row]) -> None:
        if self._max_side is None:
            return
        for image in (image for row in rows for image in row.images if image.key not in self._kept):
            self._kept.add(image.key)
            keep_picture(image, folder=self._folder, max_side=self._max_side)


def keep_picture(image: ImageSource, *, folder: Path, max_side: int) -> Path:
    """A PNG whose longer side has at most `max_side` pixels; one that is there already is left as it is."""
    path = folder / f"{image.key}.png"
    if not path.exists():
        picture = image.load()
        picture.thumbnail((max_side, max_side))
        write_whole(path, lambda file: picture.save(file, format="PNG"))
    return path
