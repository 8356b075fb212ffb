"""Which checkpoints are kept, and that a half one is never taken for a whole one."""

from pathlib import Path

import pytest
import torch

from vlm_rl.callbacks.checkpoint import TRAINER_STATE, Checkpoint, save_whole
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.models.policy import Policy
from vlm_rl.module import Progress
from vlm_rl.run_folder import RunFolder


class FakePolicy(Policy):
    """Saves one small file, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        torch.nn.Module.__init__(self)
        self.fails = fails

    def save(self, path: Path) -> None:
        """Half a file before it fails."""
        (path / "adapter_model.safetensors").write_text("weights")
        if self.fails:
            raise OSError(28, "No space left on device")


class FakeSchedule(EvaluationSchedule):
    """Validation picked step 4; no further epoch ends."""

    def __init__(self) -> None:
        self.best_step = 4

    def is_due(self, progress: Progress) -> bool:
        """After no step."""
        return False


def save(folder: RunFolder, step: int, policy: Policy | None = None) -> None:
    """A checkpoint of a generation step."""
    save_whole(folder.path / "checkpoints" / f"step-{step:06d}", policy or FakePolicy(), {"generation_steps": step}, record={})


@pytest.mark.parametrize(("keep_newest", "keep_every", "kept"), [(1, None, [4, 9]), (2, None, [4, 8, 9]), (1, 3, [3, 4, 6, 9])])
def test_the_newest_the_picked_and_every_kth_are_kept(
    tmp_path: Path, keep_newest: int, keep_every: int | None, kept: list[int]
) -> None:
    folder = RunFolder(path=tmp_path)
    checkpoint = Checkpoint(folder=folder, schedule=FakeSchedule(), every=1, keep_newest=keep_newest, keep_every=keep_every)
    for step in range(1, 10):
        save(folder, step)
        checkpoint._drop_others(Progress(generation_steps=step))
    assert [saved.generation_steps for saved in saved_steps(folder)] == kept


def test_a_run_that_went_back_drops_the_later_checkpoints_and_keeps_what_it_saves(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path)
    checkpoint = Checkpoint(folder=folder, schedule=FakeSchedule(), every=1, keep_newest=2, keep_every=None)
    for step in (2, 4, 8, 9, 5):
        save(folder, step)
    checkpoint._drop_others(Progress(generation_steps=5))
    assert [saved.generation_steps for saved in saved_steps(folder)] == [4, 5]


def test_a_checkpoint_of_a_run_that_was_stopped_on_its_way_goes_with_the_next_one(tmp_path: Path) -> None:
    folder, left = RunFolder(path=tmp_path), []
    checkpoint = Checkpoint(folder=folder, schedule=FakeSchedule(), every=2, keep_newest=2, keep_every=None)
    for step in (2, 4, 5, 6):
        save(folder, step)
        checkpoint._drop_others(Progress(generation_steps=step))
        left.append([saved.generation_steps for saved in saved_steps(folder)])
    assert left == [[2], [2, 4], [4, 5], [4, 6]]


def test_a_save_that_fails_leaves_the_old_checkpoints_and_no_half_one(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path)
    save(folder, 1)
    with pytest.raises(OSError, match="No space left"):
        save(folder, 2, FakePolicy(fails=True))
    assert (tmp_path / "checkpoints" / "step-000002.tmp").is_dir()
    assert [saved.generation_steps for saved in saved_steps(folder)] == [1]
    assert torch.load(saved_steps(folder)[0].path / TRAINER_STATE) == {"generation_steps": 1}
    save(folder, 2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000001", "step-000002"]
