"""What goes to Lightning's loggers besides numbers, in the form that each of them can show. Unknown loggers get nothing."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from vlm_rl.evaluation.alert_watch import Alert


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A few completions of one generation step, a row for each; pictures are PIL images."""

    key: str
    generation_steps: int
    epoch: float
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@singledispatch
def show(logger: Logger, sheet: Sheet) -> None:
    """Completions, as a table with pictures where there are such tables."""


@show.register
def _(logger: WandbLogger, sheet: Sheet) -> None:
    import wandb

    rows = [[wandb.Image(cell) if isinstance(cell, Image.Image) else cell for cell in row] for row in sheet.rows]
    table = wandb.Table(columns=list(sheet.columns), data=rows)
    axes = {"generation_steps": sheet.generation_steps, "epoch": sheet.epoch}
    logger.log_metrics({sheet.key: table, **axes}, step=sheet.generation_steps)  # type: ignore[dict-item]


@show.register
def _(logger: TensorBoardLogger, sheet: Sheet) -> None:
    logger.experiment.add_text(sheet.key, as_markdown(sheet), sheet.generation_steps)
    for number, row in enumerate(sheet.rows):
        for cell in row:
            if isinstance(cell, Image.Image):
                pixels = torch.frombuffer(bytearray(cell.tobytes()), dtype=torch.uint8).view(cell.height, cell.width, 3)
                logger.experiment.add_image(f"{sheet.key}/{number}", pixels, sheet.generation_steps, dataformats="HWC")


@singledispatch
def send(logger: Logger, alert: Alert) -> None:
    """An alert, where a logger can bring it to a person's attention."""


@send.register
def _(logger: WandbLogger, alert: Alert) -> None:
    text = f"Generation step {alert.generation_steps}: {alert.message}"
    logger.experiment.alert(title=alert.name, text=text, level="WARN")


def as_markdown(sheet: Sheet) -> str:
    """A list: responses have line breaks and bars, which a Markdown table cannot hold. Text is indented, so nothing in it is markup."""
    parts = []
    for number, row in enumerate(sheet.rows):
        parts.append(f"**{number}**\n")
        for column, cell in zip(sheet.columns, row, strict=True):
            if not isinstance(cell, Image.Image) and cell is not None:
                lines = str(cell).splitlines() or [""]
                parts.append(f"{column}:\n\n" + "\n".join(f"    {line}" for line in lines) + "\n")
    return "\n".join(parts)
