"""Two ranks by every command that README, docs and launchers tell people to type: fresh and resumed, `-m` in front and behind,
with a signal to either rank. One study goes through all of them, and ends as if it had been run once, undisturbed.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from forking import Forking
from safetensors.torch import load_file
from tiny_commands import NUM_STEPS, TINY, content, only_run, train, trained_steps
from torch import Tensor
from typed import AS_MODULE, INSTALLED, TORCHRUN, TRAIN, Ended, Words, interrupted, typed

from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.run_folder import RunFolder

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
RUN: Words = (*TINY, "checkpoint.every=1", "checkpoint.keep_every=2", "dataset.evaluation_rows=2", "trainer.devices=2")
MOST_SECONDS = 60.0  # from a signal to the end of the last process


@dataclass(frozen=True, kw_only=True)
class Start:
    """One line that is typed, and the signal that ends it: its number and the rank that gets it."""

    words: Words
    seed: int
    by: tuple[signal.Signals, int]


CHAIN = (
    Start(words=(*AS_MODULE, *RUN, "-m"), seed=0, by=(INT, 0)),
    Start(words=(*TORCHRUN, *RUN), seed=0, by=(TERM, 1)),
    Start(words=(*INSTALLED, *RUN), seed=0, by=(KILL, 1)),
    Start(words=(*TRAIN, "-m", *RUN, "seed=range(2)"), seed=1, by=(KILL, 0)),
    Start(words=(*TRAIN, *RUN, "seeds=paper"), seed=2, by=(TERM, 0)),
)


def run_of(cwd: Path, start: Start) -> RunFolder | None:
    """The run that a start works on, once it is there."""
    folders = (cwd / "outputs" / "typed").glob(f"*/seed-{start.seed}")
    paths = [path for path in folders if not path.parent.name.startswith("vanilla-")]
    return RunFolder(path=paths[0]) if paths else None


def done(cwd: Path, start: Start) -> int:
    """Steps of it that are on the disk."""
    run = run_of(cwd, start)
    return trained_steps(run)[-1] if run is not None and trained_steps(run) else 0


def performed(start: Start, *, cwd: Path) -> Ended:
    """Types the line, and sends the signal after another step or two."""
    words, before = list(start.words), done(cwd, start)
    words.insert(words.index(RUN[0]), "study=typed")
    number, rank = start.by
    return interrupted(words, cwd=cwd, number=number, rank=rank, when=lambda: done(cwd, start) > before)


def check_end(start: Start, ended: Ended, *, cwd: Path) -> None:
    """What a person finds afterwards."""
    run, by_torchrun = run_of(cwd, start), start.words[: len(TORCHRUN)] == TORCHRUN
    assert run is not None
    assert ended.seconds < MOST_SECONDS
    if start.by[0] != KILL:
        assert not list(run.path.glob("checkpoints/*.tmp"))
        assert f"Stopped at generation step {saved_steps(run)[-1].generation_steps}. To continue:" in ended.out, ended.out
        assert saved_steps(run)[-1].generation_steps == done(cwd, start) < NUM_STEPS
        assert by_torchrun or ended.code == 130, ended.out
    else:
        gone = "Rank 1 was killed by SIGKILL" if start.by[1] == 1 else "The first rank is gone"
        assert f"Error: {gone}, so this run cannot go on. The same command goes on from the last checkpoint." in ended.out


def adapter(run: RunFolder, *, step: int) -> dict[str, Tensor]:
    """What a checkpoint has learned."""
    return load_file(run.path / "checkpoints" / f"step-{step:06d}" / "adapter_model.safetensors")


def check_against_one_rank(two: RunFolder, one: RunFolder) -> None:
    """The same answers, and adapters that differ by rounding."""
    for name in ("completions/*.parquet", "evaluations/*/*.parquet"):
        files = [file.relative_to(one.path) for file in sorted(one.path.glob(name))]
        assert files
        assert all((one.path / file).read_bytes() == (two.path / file).read_bytes() for file in files)
    for step, most in ((2, 1e-6), (NUM_STEPS, 1e-5)):  # AdamW divides by small gradients: rounding grows from step to step
        left, right = (adapter(run, step=step) for run in (one, two))
        moved = max(float(tensor.abs().max()) for name, tensor in left.items() if "lora_B" in name)  # they begin at 0
        largest = max(float((left[name] - right[name]).abs().max()) for name in left)
        print(f"step {step}: largest difference of the adapters {largest:.2e}, largest weight {moved:.2e}")
        assert moved > 1e-4
        assert largest < most


@pytest.mark.slow
def test_after_every_way_to_start_and_stop_it_a_study_is_the_undisturbed_one(forking: Forking, tmp_path: Path) -> None:
    """Bit for bit that of two ranks whom nobody disturbed, and up to rounding that of one rank. One test: its parts share runs."""
    for start in CHAIN:
        check_end(start, performed(start, cwd=tmp_path), cwd=tmp_path)
    ended = typed((*TRAIN, *RUN, "study=undisturbed"), cwd=tmp_path)
    assert ended.code == 0, ended.out
    assert content(only_run(tmp_path, study="typed")) == content(only_run(tmp_path, study="undisturbed"))
    train(forking, tmp_path, *(word for word in RUN if not word.startswith("trainer.")), "seed=1", "study=one")
    check_against_one_rank(*(only_run(tmp_path, study=study, seed=1) for study in ("typed", "one")))
    manifests = [only_run(tmp_path, study="typed", seed=seed).manifest or {} for seed in range(3)]
    assert [manifest["status"] for manifest in manifests] == ["finished", "finished", "running"]
    assert manifests[2]["command"].endswith("trainer.devices=2 seeds=paper")  # what was typed, whichever process says it
