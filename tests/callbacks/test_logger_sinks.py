"""What each logger is given besides numbers, read back from what it wrote."""

import io
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vlm_rl.callbacks.logger_sinks import Sheet, as_markdown, send, show
from vlm_rl.evaluation.alert_watch import Alert

PICTURE = Image.new("RGB", (30, 20), (255, 0, 0))
ALERT = Alert(generation_steps=7, name="truncation", message="38% were cut off.")
SHEET = Sheet(
    key="completions/val",
    generation_steps=4,
    epoch=2.0,
    columns=("row_id", "image", "response", "score"),
    rows=(("val-0", PICTURE, "So 5 | 6.\n<script>x</script>", 1.0), ("val-1", None, "", 0.0)),
)


class FakeRun:
    """Keeps what a W&B run is given."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []

    def log(self, values: dict[str, Any]) -> None:
        """One history line."""
        self.logged.append(values)

    def alert(self, **values: Any) -> None:
        """One alert."""
        self.alerts.append(values)


def test_wandb_gets_a_table_with_pictures_and_its_axes() -> None:
    run: Any = FakeRun()
    show(WandbLogger(experiment=run), SHEET)
    ((line),) = run.logged
    table = line["completions/val"]
    assert isinstance(table, wandb.Table)
    assert table.columns == list(SHEET.columns)
    assert isinstance(table.data[0][1], wandb.Image)
    assert [row[2] for row in table.data] == [row[2] for row in SHEET.rows]
    assert (line["generation_steps"], line["epoch"]) == (4, 2.0)


def test_wandb_is_alerted() -> None:
    run: Any = FakeRun()
    send(WandbLogger(experiment=run), ALERT)
    assert run.alerts == [{"title": "truncation", "text": "Generation step 7: 38% were cut off.", "level": "WARN"}]


def test_tensorboard_gets_text_and_pictures(tmp_path: Path) -> None:
    logger = TensorBoardLogger(save_dir=tmp_path, name="tensorboard", version="1")
    show(logger, SHEET)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "1"))
    events.Reload()
    (text,) = events.Tensors("completions/val/text_summary")
    assert text.step == 4
    assert text.tensor_proto.string_val[0].decode() == as_markdown(SHEET)
    (image,) = events.Images("completions/val/0")
    drawn = Image.open(io.BytesIO(image.encoded_image_string))
    assert (drawn.size, drawn.convert("RGB").getpixel((3, 3))) == ((30, 20), (255, 0, 0))


def test_text_of_a_model_is_no_markup() -> None:
    markdown = as_markdown(SHEET)
    assert "    So 5 | 6.\n    <script>x</script>\n" in markdown  # indented by four: code
    assert markdown.count("response:") == 2


@pytest.mark.parametrize("say", [lambda logger: show(logger, SHEET), lambda logger: send(logger, ALERT)], ids=["show", "send"])
def test_a_logger_that_shows_numbers_only_gets_nothing(tmp_path: Path, say: Any) -> None:
    say(CSVLogger(save_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
