"""Alerts as a run tells them: once, in its folder and to its loggers, and the same after it was cut back and resumed."""

from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from vlm_rl.callbacks import logger_sinks
from vlm_rl.callbacks.logger_sinks import Alerts, LoggerSetup
from vlm_rl.callbacks.recorder import Recorder, reward_spread
from vlm_rl.evaluation.alert_rules import LengthExplosion, Truncation
from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.evaluation.reflection import WholeWords
from vlm_rl.module import Progress, VLMReinforcement
from vlm_rl.pipeline.step3_trajectory_generation import EngineMismatch
from vlm_rl.pipeline.step4_policy_update import NonFiniteUpdates
from vlm_rl.run_folder import RunFolder

WATCH = Watch(
    rules={
        "length": LengthExplosion(window=2, largest_factor=1.5),
        "truncation": Truncation(window=1, largest_share=0.5),
    },
    quiet=2,
)
LENGTHS = [10, 10, 14, 18, 18, 10, 10, 10, 10, 30]  # means of two: 10, 12, 16 (step 4), 18, 14, 10, 10, 10, 20 (step 10)
TRUNCATED = [0, 0.6, 0, 0.6, 0, 0, 0, 0.6, 0.6, 0]  # told at 2 and 8: at 4 it has been gone for one step only
TOLD = [(2, "truncation"), (4, "length"), (8, "truncation"), (10, "length")]


class FakeModule(VLMReinforcement):
    """Only counts."""

    def __init__(self) -> None:
        lightning.LightningModule.__init__(self)
        self.progress = Progress()


class FakeRun:
    """Keeps alerts."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def alert(self, *, title: str, **_: str) -> None:
        """One alert."""
        self.titles.append(title)


def train(folder: RunFolder, *, begin: int, end: int, logger: Any = False) -> None:
    """Some steps of a run that logs the numbers above."""
    trainer = lightning.Trainer(logger=logger, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    recorder, module = Recorder(folder=folder, reflection=WholeWords()), FakeModule()
    alerts = Alerts(folder=folder, recorder=recorder, watch=WATCH)
    alerts.on_train_start(trainer, module)
    for step in range(begin, end + 1):
        module.progress.generation_steps = step
        numbers = {"response_length/mean": LENGTHS[step - 1], "response_length/truncated": TRUNCATED[step - 1]}
        recorder.last_line = {"event": "train", "generation_steps": step, **numbers}
        folder.append("metrics.jsonl", recorder.last_line)
        folder.append("metrics.jsonl", {"event": "evaluation", "generation_steps": step})
        alerts.on_train_batch_end(trainer, module, None, None, 0)


def told(folder: RunFolder) -> list[tuple[int, str]]:
    """What alerts.jsonl says."""
    return [(line["generation_steps"], line["alert"]) for line in folder.lines("alerts.jsonl")]


def test_alerts_are_written_printed_and_sent_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: Any = FakeRun()
    train(RunFolder(path=tmp_path), begin=1, end=10, logger=WandbLogger(experiment=run))
    assert told(RunFolder(path=tmp_path)) == TOLD
    assert run.titles == [name for _, name in TOLD]
    assert (
        "ALERT at generation step 4, length: Responses of the last 2 steps have 16 tokens, 1.6 times" in capsys.readouterr().out
    )


def test_alerts_go_to_people_with_the_name_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(logger_sinks, "notify", lambda title, *, body: sent.append((title, body)))
    train(RunFolder(path=tmp_path / "s" / "default" / "seed-0"), begin=1, end=2)
    ((title, body),) = sent
    assert title == "s/default/seed-0: truncation" and body.startswith("Generation step 2: 60")


@pytest.mark.parametrize("checkpoint", [0, 3, 4, 9])
def test_a_run_that_is_cut_back_at_any_step_and_resumed_tells_the_same(tmp_path: Path, checkpoint: int) -> None:
    folder = RunFolder(path=tmp_path)
    train(folder, begin=1, end=checkpoint)
    record = folder.record()
    train(folder, begin=checkpoint + 1, end=9)
    folder.cut_back(record, generation_steps=checkpoint)
    train(folder, begin=checkpoint + 1, end=10)
    assert told(folder) == TOLD


@pytest.mark.parametrize("reason", [EngineMismatch, NonFiniteUpdates])
def test_a_run_that_stops_itself_says_why_and_forgets_it_when_it_is_resumed(tmp_path: Path, reason: type[Exception]) -> None:
    folder, trainer, module = RunFolder(path=tmp_path), lightning.Trainer(logger=False, accelerator="cpu"), FakeModule()
    alerts = Alerts(folder=folder, recorder=Recorder(folder=folder, reflection=WholeWords()), watch=WATCH)
    module.progress.generation_steps = 6
    alerts.on_exception(trainer, module, KeyboardInterrupt())
    alerts.on_exception(trainer, module, reason("That is why."))
    line = {"generation_steps": 7, "alert": "run_stopped", "message": "That is why."}
    assert list(folder.lines("alerts.jsonl")) == [line]
    folder.cut_back({}, generation_steps=6)
    assert told(folder) == []


@pytest.mark.parametrize(
    ("scores", "group_size", "std", "share"),
    [
        ([1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 2, 0.5, 2 / 3),  # 1 1, 0 0 and 0 1
        ([1.0, 1.0, 1.0, 0.0, 0.0, 1.0], 3, 8**0.5 / 6, 1 / 2),
        ([1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 1, 0.5, 0.0),  # answers that stand alone are compared with the whole batch
        ([0.25, 0.25], 1, 0.0, 1.0),
    ],
)
def test_the_spread_of_rewards_and_groups_without_variance(
    scores: list[float], group_size: int, std: float, share: float
) -> None:
    spread = reward_spread(scores, group_size=group_size)
    assert spread == pytest.approx({"train/reward_std": std, "train/frac_reward_zero_std": share})


def test_a_resumed_csv_file_holds_the_steps_before_the_checkpoint(tmp_path: Path) -> None:
    folder, module = RunFolder(path=tmp_path), FakeModule()
    for step in (1, 2):
        folder.append("metrics.jsonl", {"event": "train", "generation_steps": step, "train/reward": step / 4})
        folder.append("cost.jsonl", {"event": "train", "generation_steps": step, "tokens/response": 100 * step})
    folder.append("metrics.jsonl", {"event": "evaluation", "generation_steps": 2, "val/accuracy": 0.5})
    logger = CSVLogger(save_dir=tmp_path, name="csv", version="1", flush_logs_every_n_steps=1)
    trainer = lightning.Trainer(logger=logger, accelerator="cpu", enable_checkpointing=False)
    module.progress.generation_steps = 2
    LoggerSetup(folder=folder, config={}).on_train_start(trainer, module)
    assert (tmp_path / "csv" / "1" / "metrics.csv").read_text().splitlines() == [
        "generation_steps,step,tokens/response,train/reward,val/accuracy",
        "1,1,100,0.25,",
        "2,2,200,0.5,",
        "2,2,,,0.5",
    ]
