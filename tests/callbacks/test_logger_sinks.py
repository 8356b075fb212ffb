"""What each logger is given besides numbers, read back from what it wrote."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vlm_rl.callbacks.logger_sinks import Sheet, as_markdown, send, show
from vlm_rl.callbacks.trackio_logger import TrackioLogger
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


def test_without_trackio_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vlm-rl\[trackio\]'"):
        TrackioLogger(project="p", name="n", group="g", version="v")


def test_trackio_keeps_numbers_config_tables_and_alerts_and_goes_on_with_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real, where the extra is installed: it asks for an older Pillow than the tested one, so it is no part of `dev`."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when trackio is imported, for the first time here
    trackio = pytest.importorskip("trackio")
    for start in (1, 2):  # two starts of one run
        logger = TrackioLogger(project="vlm-rl", name="study/default/seed-0", group="study", version="abc")
        logger.log_hyperparams({"seed": 0, "model": {"name": "tiny"}})
        logger.log_metrics({"train/reward": start / 4}, step=start)
        show(logger, SHEET)
        send(logger, ALERT)
        logger.finalize("success")
    (run,) = trackio.Api().runs("vlm-rl")
    assert run.name == "study/default/seed-0"
    assert (run.config["seed"], run.config["model"]["name"], run.config["_Group"]) == (0, "tiny", "study")
    assert {(alert["title"], alert["step"]) for alert in run.alerts()} == {("truncation", 7)}
    lines = trackio.sqlite_storage.SQLiteStorage.get_logs("vlm-rl", run.name)
    assert [(line["step"], line["train/reward"]) for line in lines if "train/reward" in line] == [(1, 0.25), (2, 0.5)]
    table = next(line["completions/val"] for line in lines if "completions/val" in line)["_value"]
    assert [row["response"] for row in table] == [row[2] for row in SHEET.rows]
    assert (tmp_path / "media" / table[0]["image"]["file_path"]).is_file()
