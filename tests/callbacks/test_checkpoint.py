"""Which checkpoints are kept, and that a half one is never taken for a whole one."""

from pathlib import Path

import pytest
import torch

from vlm_rl.callbacks.checkpoint import TRAINER_STATE, Checkpoint, save_whole, saved_steps
from vlm_rl.callbacks.evaluation_schedule import EvaluationSchedule
from vlm_rl.models.policy import Policy
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
    """Validation picked step 4."""

    def __init__(self) -> None:
        self.best_step = 4


def save(folder: RunFolder, step: int, policy: Policy | None = None) -> None:
    """A checkpoint of a generation step."""
    save_whole(folder.path / "checkpoints" / f"step-{step:06d}", policy or FakePolicy(), {"generation_steps": step})


@pytest.mark.parametrize(("keep_every", "kept"), [(None, [4, 9]), (3, [3, 4, 6, 9])])
def test_the_last_the_picked_and_every_kth_are_kept(tmp_path: Path, keep_every: int | None, kept: list[int]) -> None:
    folder = RunFolder(path=tmp_path)
    checkpoint = Checkpoint(folder=folder, schedule=FakeSchedule(), every=1, keep_every=keep_every)
    for step in range(1, 10):
        save(folder, step)
        checkpoint._drop_old()
    assert [saved.generation_steps for saved in saved_steps(folder)] == kept


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
