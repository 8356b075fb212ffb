"""What was trained and then damaged, cut off or changed is told by every command that reads it: exit code 2, the file, no traceback."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_runs import export_of
from forking import Finished, Forking
from lightning.pytorch.utilities.types import LRSchedulerConfig
from safetensors.torch import load_file, save_file
from tiny_commands import TINY, content, only_run, train
from tiny_runs import Hand

from vlm_rl.callbacks.checkpoint import Checkpoint
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.callbacks.recorder import Recorder
from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.checksums import HASHES
from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.commands.placement import trainer_of
from vlm_rl.models.loading import resolve
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow

Spoil = Callable[[Path], object]
STATE, ADAPTER, CONFIG = "trainer_state.pt", "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunFolder:
    """A copy of a run that was killed after its last checkpoint, to spoil."""
    shutil.copytree(whole / "outputs", tmp_path / "outputs")
    folder = only_run(tmp_path, study="whole")
    folder.write_manifest((folder.manifest or {}) | {"status": "running", "picked_step": None})
    return folder


def refused(finished: Finished, *, told: str) -> None:
    said = finished.err[finished.err.rindex("\nError: ") :] if "\nError: " in finished.err else finished.out + finished.err
    assert finished.code == 2, said
    assert told in said
    assert "Traceback" not in finished.err


def cut(name: str, share: float) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return spoil


def flip(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return spoil


def old_layout(folder: Path) -> None:
    tensors = {name.replace("language_model.", ""): tensor for name, tensor in load_file(folder / ADAPTER).items()}
    save_file(tensors, folder / ADAPTER, metadata={"format": "pt"})


def state(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Another state of the trainer."""

    def spoil(folder: Path) -> None:
        kept = torch.load(folder / STATE, weights_only=True)
        change(kept)
        torch.save(kept, folder / STATE)

    return spoil


def moments(kept: dict[str, Any]) -> dict[str, torch.Tensor]:
    first: dict[str, torch.Tensor] = kept["optimizer"]["state"][0]
    return first


def narrow(kept: dict[str, Any]) -> None:
    moments(kept)["exp_avg"] = moments(kept)["exp_avg"][:1]


def not_a_number(kept: dict[str, Any]) -> None:
    moments(kept)["exp_avg_sq"][0] = float("nan")


def fewer(kept: dict[str, Any]) -> None:
    kept["optimizer"]["param_groups"][0]["params"].pop()


RESUMED: dict[str, tuple[Spoil, str]] = {
    "cut weights": (cut(ADAPTER, 0.5), f"{ADAPTER} is cut off"),
    "cut header": (cut(ADAPTER, 0.001), f"{ADAPTER} is no safetensors file"),
    "cut state": (cut(STATE, 0.5), f"{STATE} is damaged"),
    "cut end of the state": (cut(STATE, 0.999), f"{STATE} is damaged"),
    "empty state": (cut(STATE, 0), f"{STATE} is damaged"),
    "no state": (lambda folder: (folder / STATE).unlink(), f"{STATE} is not there"),
    "cut config": (cut(CONFIG, 0.5), f"{CONFIG} is no JSON"),
    "no weights": (lambda folder: (folder / ADAPTER).unlink(), "holds no weights"),
    "another layout": (old_layout, "does not fit the model"),
    "moments of another shape": (state(narrow), f"{STATE} does not fit what is trained: exp_avg of tensor 0 has the shape"),
    "moments that are no numbers": (state(not_a_number), f"{STATE} does not fit what is trained: exp_avg_sq of tensor 0 holds NaN"),
    "fewer groups": (state(fewer), f"{STATE} does not fit what is trained: it has groups of"),
    "no groups": (state(lambda kept: kept.update(optimizer={})), "there is no state of an optimizer in it"),
    "no schedule": (state(lambda kept: kept.update(schedule=None)), f"{STATE} is damaged"),
    "no steps": (state(lambda kept: kept.update(generation_steps="8")), f"{STATE} is damaged"),
    "no callbacks": (state(lambda kept: kept.update(callbacks={})), f"{STATE} is damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def experiment() -> Iterator[Experiment]:
    """What the run was made of."""
    built = build(composed([*TINY, "study=whole"]), command="train")
    yield built
    built.reward.close()


def go_on(run: RunFolder, experiment: Experiment) -> None:
    """Load weights and state of the newest checkpoint, as train.py does."""
    schedule = EvaluationSchedule(evaluator=experiment.evaluator, folder=run, vanilla=run)
    hand, checkpoint = Hand(experiment), Checkpoint(folder=run, schedule=schedule, every=1, keep_newest=2, keep_every=None)
    checkpoint.resumed = saved_steps(run)[-1]
    experiment.policy.load(checkpoint.resumed.path)
    trainer = trainer_of(experiment.cfg.trainer, callbacks=[Recorder(folder=run, reflection=experiment.reflection)])
    trainer.strategy.optimizers = [hand.optimizer]
    trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(hand.stepper.schedule)]
    checkpoint.on_fit_start(trainer, experiment.module)


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_does_not_go_on_from_it(run: RunFolder, experiment: Experiment, case: str) -> None:
    spoil, message = RESUMED[case]
    go_on(run, experiment)  # nothing is wrong yet
    spoil(saved_steps(run)[-1].path)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        go_on(run, experiment)


def test_train_moves_it_aside_and_ends_as_if_nothing_had_happened(
    forking: Forking, run: RunFolder, whole: Path, tmp_path: Path
) -> None:
    newest = saved_steps(run)[-1].path
    cut(STATE, 0.5)(newest)
    finished = train(forking, tmp_path, *TINY, "study=whole")
    assert f"{STATE} is cut off" in finished.out
    aside = Path("damaged", newest.name)
    assert f"{aside}, and the run goes on from the one before it." in finished.out
    assert (run.path / aside / STATE).is_file()
    assert content(run) == content(only_run(whole, study="whole"))


READ = {case: RESUMED[case] for case in ("cut weights", "cut header", "cut config", "no weights")} | {
    "another layout": (old_layout, f"{ADAPTER} is cut off"),
    "one bit": (flip(ADAPTER), f"{ADAPTER} is not what was written: bytes have changed"),
    "no hashes": (lambda folder: (folder / HASHES).unlink(), f"{HASHES} is not there"),
}


@pytest.mark.parametrize("case", READ)
def test_it_is_neither_evaluated_nor_shared(forking: Forking, run: RunFolder, tmp_path: Path, case: str) -> None:
    spoil, message = READ[case]
    checkpoint = saved_steps(run)[-1].path
    spoil(checkpoint)
    for merge in (False, True):
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            export_of(checkpoint, tmp_path / "out", merge=merge)
    assert not (tmp_path / "out").exists()
    finished = forking.run("evaluate.py", (f"checkpoint={checkpoint}", "dataset.evaluation_rows=1"), cwd=tmp_path)
    refused(finished, told=message)


@pytest.mark.parametrize("changes", [{"lora_alpha": 1}, {"r": 4}, {"target_modules": ["q_proj"]}])
def test_an_adapter_whose_config_was_changed_is_not_shared(run: RunFolder, tmp_path: Path, changes: dict[str, Any]) -> None:
    checkpoint = saved_steps(run)[-1].path
    config = json.loads((checkpoint / CONFIG).read_text())
    (checkpoint / CONFIG).write_text(json.dumps(config | changes))
    for merge in (False, True):
        with pytest.raises(ValueError, match=re.escape(str(checkpoint))):
            export_of(checkpoint, tmp_path / "out", merge=merge)


@pytest.mark.parametrize(("script", "key"), [("train.py", "model.name"), ("evaluate.py", "checkpoint")])
def test_a_base_with_holes_is_not_taken_and_what_transformers_says_of_it_is_seen(
    forking: Forking, tmp_path: Path, script: str, key: str
) -> None:
    folder = Path(shutil.copytree(resolve("tiny"), tmp_path / "holes"))
    kept = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if ".layers.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    words = (f"{key}={folder}", *(TINY if script == "train.py" else ("dataset.evaluation_rows=1",)))
    finished = forking.run(script, words, cwd=tmp_path)
    refused(finished, told=f"{folder / 'model.safetensors'} does not fit the model: tensors of the model that it lacks: 12 (")
    assert "MISSING" in finished.err
