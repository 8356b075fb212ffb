"""`python benchmarks/start_time.py`: from Enter to the first step of the shipped tiny model, and what goes on beside the steps.

A run of experiment=smoke, or of what more words make of it. CPU seconds, so that other work on the machine counts little; the evaluation
of the vanilla model before the first step is a line of its own. `--imports` times the imports alone, with their end.
"""

import argparse
import contextlib
import functools
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

WORDS = ("experiment=smoke", "hydra.run.dir={folder}/study/arm/seed-0")
STEPS = ("collect_responses", "generate_trajectory", "update_policy")


class Clock:
    """Seconds by name: of the CPU, all threads of this process; on the wall, where waiting for disk and workers counts."""

    def __init__(self) -> None:
        self.cpu, self.wall = defaultdict[str, float](float), defaultdict[str, float](float)

    @contextlib.contextmanager
    def measure(self, title: str) -> Iterator[None]:
        """Adds what is inside to `title`."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu[title] += time.process_time() - cpu
            self.wall[title] += time.perf_counter() - wall

    def timed(self, owner: Any, name: str, *, title: str) -> None:
        """Adds what each call of a method or function takes to `title`."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.measure(title):
                return original(*args, **kwargs)

        setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="more words for train.py")
    parser.add_argument("--imports", type=int, metavar="N", help="N times, a process that only imports")
    arguments = parser.parse_args()
    if arguments.imports:
        imports(arguments.imports)
        return
    with TemporaryDirectory() as folder:
        table(run([word.format(folder=folder) for word in WORDS] + arguments.words))


def imports(repeats: int) -> None:
    """CPU seconds of a process that imports what reads a command line, and what a run needs: as `train.py` does, and plainly."""
    heavy = "from vlm_rl.commands import training"
    programs = {
        "the command's own": "import vlm_rl.commands.train",
        "a run's": f"from vlm_rl.commands.many_imports import without_collections\nwith without_collections():\n    {heavy}",
        "a run's, with collections": heavy,
    }
    seconds = defaultdict[str, list[float]](list)
    for _ in range(repeats):
        for name, program in programs.items():
            before = os.times()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            after = os.times()
            used = after.children_user - before.children_user + after.children_system - before.children_system
            seconds[name].append(used)
    for name, used in seconds.items():
        print(f"| {name} | {sorted(used)[len(used) // 2]:.2f} | {min(used):.2f} |")


def run(words: list[str]) -> Clock:
    """A whole run in this process."""
    from vlm_rl.commands import train
    from vlm_rl.commands.many_imports import without_collections

    clock = Clock()
    clock.cpu["command: imports"] = time.process_time()
    with clock.measure("run: imports"), without_collections():
        from vlm_rl.commands import training
    watch(clock, training)
    sys.argv = [str(Path(train.__file__).parents[2] / "train.py"), *words]
    train.main()
    return clock


def watch(clock: Clock, training: Any) -> None:
    """Where the stretches of the table begin and end."""
    from vlm_rl import module
    from vlm_rl.callbacks import checkpoint, completion_tables, display, evaluation_schedule, logger_sinks, recorder
    from vlm_rl.commands import build
    from vlm_rl.rewards.judge import Judge

    clock.timed(build, "placed_policy", title="start: model")
    clock.timed(build, "check_rows", title="start: rows and gold answers")
    clock.timed(training, "check_model", title="start: checks of the model")
    clock.timed(training, "begin", title="start: manifest")
    clock.timed(evaluation_schedule.EvaluationSchedule, "evaluate_vanilla", title="evaluation of the vanilla model")
    for step in STEPS:
        clock.timed(module.VLMReinforcement, step, title="steps II to IV")
    clock.timed(Judge, "judge", title="beside: judge (that of evaluations, too)")
    for part in (
        recorder.Recorder,
        checkpoint.Checkpoint,
        logger_sinks.Alerts,
        display.Display,
        completion_tables.CompletionTables,
    ):
        clock.timed(part, "on_train_batch_end", title=f"beside: {part.__name__}")


def table(clock: Clock) -> None:
    """Markdown: CPU seconds, and what goes on beside the steps as a share of their time on the wall."""
    steps = clock.wall["steps II to IV"]
    for name, seconds in clock.cpu.items():
        share = f"{clock.wall[name] / steps:.1%} of the steps" if name.startswith("beside") else ""
        print(f"| {name} | {seconds:.2f} | {share} |")


if __name__ == "__main__":
    main()
