"""Killed at random moments with each logger, started again by the same command: byte for byte what an undisturbed run leaves.

    python tests/torture/kills.py --kills 100 [--logger wandb] [--jobs 2]

Prints at which moments the kills came, by what lay in the folder afterwards.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from short_runs import ALGORITHMS, IN_RUN, RUN, SHORT, Finished, Forking, Whole, differences, undisturbed
from side_by_side import forking_processes, side_by_side

from vlm_rl.run_folder import RunFolder

LOGGERS: Mapping[str, Sequence[str]] = {
    "none": (),
    "csv": ("logger=csv",),
    "tensorboard": ("logger=tensorboard",),
    "wandb": ("logger=wandb", "logger.offline=true"),
}
NUM_STEPS = 12  # checkpoints after each, evaluated seven times
LONGER = ("dataset.epochs=6",)


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What became of the starts with one logger."""

    logger: str
    moments: Counter[str]
    starts: int
    ends: int
    wrong: Sequence[str]


def newest_step(cwd: Path) -> int:
    """The last generation step that metrics.jsonl tells of."""
    return max((line["generation_steps"] for line in RunFolder(path=cwd / RUN).lines("metrics.jsonl")), default=0)


def in_a_checkpoint(cwd: Path, begun: float) -> bool:
    """Whether one is being written."""
    return any(path.lstat().st_mtime >= begun for path in there(cwd, "checkpoints/*.tmp"))


def there(cwd: Path, pattern: str) -> list[Path]:
    """What is in the run's folder now."""
    return [path for path in (cwd / RUN).glob(pattern) if path.exists()]


def moment(cwd: Path) -> str:
    """What a killed run was doing, by what it left."""
    if not (cwd / RUN / "manifest.json").exists():
        return "start"
    if there(cwd, "checkpoints/*.tmp"):
        return "writing a checkpoint"
    if not there(cwd, "metrics.jsonl"):
        return "first evaluation"
    step = newest_step(cwd)
    return "after the last step" if step == NUM_STEPS else f"steps {step // 4 * 4} to {step // 4 * 4 + 3}"


Seen = Callable[[Path, float], bool]


def after(seconds: float) -> Seen:
    """When so much time has passed since the start."""
    return lambda cwd, begun: time.time() >= begun + seconds


def waits(drawn: random.Random, *, whole_s: float) -> Seen:
    """The next moment: any in the time that a whole run takes, or one that few of these hit."""
    kinds: Sequence[Callable[[], Seen]] = (
        lambda: after(drawn.uniform(0, whole_s)),
        lambda: in_a_checkpoint,
        lambda: after(drawn.uniform(0.4, 0.6) * whole_s),
        lambda: lambda cwd, begun: bool(list(cwd.glob("outputs/*/vanilla-*/seed-0/evaluations/*/*"))) and newest_step(cwd) == 0,
        lambda: lambda cwd, begun: newest_step(cwd) >= NUM_STEPS,
    )
    return drawn.choices(kinds, weights=(4, 2, 2, 1, 1))[0]()


def killed_often(forking: Forking, logger: str, *, kills: int, folder: Path, seed: int) -> Killed:
    """Kills until there were enough; a run that ends before is compared, removed and begun anew."""
    arguments = (*SHORT, *ALGORITHMS["reinforce_pp"], *IN_RUN, *LONGER, *LOGGERS[logger])
    drawn, moments, wrong, starts, ends = random.Random(f"{seed} {logger}"), Counter[str](), list[str](), 0, 0
    (folder / f"whole-{logger}").mkdir()
    begun = time.time()
    whole = undisturbed(forking, arguments, cwd=folder / f"whole-{logger}")
    whole_s = time.time() - begun
    cwd = folder / f"killed-{logger}"
    cwd.mkdir()
    while not wrong and (moments.total() < kills or (cwd / "outputs").exists()):
        starts += 1
        seen = waits(drawn, whole_s=whole_s) if moments.total() < kills else after(float("inf"))
        if killed(forking, whole, cwd=cwd, seen=seen):
            moments[moment(cwd)] += 1
            continue
        ends += 1
        wrong += differences_at_the_end(whole, cwd)
        if not wrong:
            shutil.rmtree(cwd / "outputs")
    return Killed(logger=logger, moments=moments, starts=starts, ends=ends, wrong=wrong)


def killed(forking: Forking, whole: Whole, *, cwd: Path, seen: Seen) -> bool:
    """Starts the command and kills it at a moment; whether it was killed, and not at its end before."""
    begun = time.time()
    command = forking.start("train.py", whole.arguments, cwd=cwd)
    command.wait_until(lambda: seen(cwd, begun))
    command.send(signal.SIGKILL)
    finished = command.wait()
    (cwd / "said.txt").write_text(finished.out + finished.err, encoding="utf-8")
    if finished.code not in (0, -signal.SIGKILL):
        raise AssertionError(f"exit code {finished.code} in {cwd}: {finished.out}{finished.err}")
    return finished.code == -signal.SIGKILL


def differences_at_the_end(whole: Whole, cwd: Path) -> list[str]:
    """What is wrong with a run that was killed often and has ended."""
    return differences(Finished(code=0, out="", err=""), cwd, whole)


def main() -> int:
    """The command line; 1 where any run differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--logger", choices=[*LOGGERS], action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    loggers = asked.logger or [*LOGGERS]
    shares = Counter(logger for logger, _ in zip(cycle(loggers), range(asked.kills), strict=False))

    def job(forking: Forking, logger: str) -> Killed:
        return killed_often(forking, logger, kills=shares[logger], folder=folder, seed=asked.seed)

    moments, is_wrong = Counter[str](), False
    with forking_processes(asked.jobs) as servers:
        for done in side_by_side(job, loggers, servers=servers):
            print(
                f"{done.logger}: {done.moments.total()} kills, {done.starts} starts, {done.ends} ends", *done.wrong, flush=True
            )
            moments += done.moments
            is_wrong |= bool(done.wrong)
    print("".join(f"  {number:4d} {name}\n" for name, number in sorted(moments.items())), end="", flush=True)
    if not is_wrong:
        shutil.rmtree(folder)
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main())
