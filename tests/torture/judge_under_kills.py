"""The same answers judged undisturbed and while the machine does its worst: are the verdicts the same?

python tests/torture/judge_under_kills.py --answers 2000
"""

import argparse
import contextlib
import os
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from vlm_rl.rewards.judge import Judge, Verdict

PERIOD_S = 1.0  # or three times what two workers take to start, where they take long: else none would live to judge
LONG_START_S = 0.75
BOMBS = ("9^{9^{9^{9}}}", "8^{9^{9^{9}}}", "7^{8^{9^{9}}}")  # exceed the limit of CPU time; the last one takes 350 MB, too
RESIDENT_LIMIT_BYTES = 80 << 20  # of one process; a judging process that has met no bomb has 70
Answers = list[tuple[str, str]]  # gold, and the content of the box


def answers(count: int) -> Answers:
    """Plain numbers, algebra that is right or wrong, texts that cannot be read, and a bomb in each hundred."""
    draw = random.Random(17)
    kinds = [_plain, _root, _root, _fraction, _letters, _unreadable]
    made = [draw.choice(kinds)(draw) for _ in range(count)]
    for place in range(50, count, 100):
        made[place] = (str(place), draw.choice(BOMBS) + f"+{place}")  # each another one: none is remembered
    return made


def _plain(draw: random.Random) -> tuple[str, str]:
    number = draw.randrange(1000)
    return str(number), f"{number + draw.randrange(2)}.0"


def _root(draw: random.Random) -> tuple[str, str]:
    a, b = draw.randrange(2, 400), draw.randrange(2, 30)
    return rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b + draw.choice([0, 0, 1])}}}"


def _fraction(draw: random.Random) -> tuple[str, str]:
    a, b, c = (draw.randrange(2, 99) for _ in range(3))
    return rf"\frac{{{a}\pi}}{{{b}}}+{c}", rf"{c + draw.choice([0, 0, 1])}+{a}\pi/{b}"


def _letters(draw: random.Random) -> tuple[str, str]:
    a, b = draw.randrange(2, 99), draw.randrange(2, 99)
    return f"x^2+{a + b}x+{a * b}", f"(x+{a})(x+{b + draw.choice([0, 0, 1])})"


def _unreadable(draw: random.Random) -> tuple[str, str]:
    return str(draw.randrange(99)), rf"\frac{{{draw.randrange(99)}"


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    own: list[int] = []
    with contextlib.suppress(OSError):  # it has just ended
        own = [int(number) for task in Path(f"/proc/{pid}/task").glob("*/children") for number in task.read_text().split()]
    return [found for child in own if child not in BUSY for found in (child, *children(child))]


def kill_children() -> int:
    """SIGKILL to the workers."""
    return _signal([child for child in children(os.getpid()) if _parent(child) == os.getpid()], signal.SIGKILL)


def kill_all() -> int:
    """SIGKILL to the workers and to the processes that judge."""
    return _signal(children(os.getpid()), signal.SIGKILL)


def kill_the_largest() -> int:
    """What a kernel does where memory is short: the process with the most of it is ended."""
    sizes = {child: _resident(child) for child in children(os.getpid())}
    return _signal([child for child in sizes if sizes[child] == max(sizes.values()) > RESIDENT_LIMIT_BYTES], signal.SIGKILL)


def stop_all() -> int:
    """Half a second without any CPU time."""
    stopped = children(os.getpid())
    _signal(stopped, signal.SIGSTOP)
    time.sleep(0.5)
    return _signal(stopped, signal.SIGCONT)


def _signal(processes: list[int], number: int) -> int:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    return len(processes)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


@contextlib.contextmanager
def repeated(disturb: Callable[[], int], *, period_s: float) -> Iterator[Counter[str]]:
    """Disturbs beside the judge; counts what was done."""
    done, is_over = Counter[str](), threading.Event()

    def repeat() -> None:
        while not is_over.wait(period_s):
            done["processes"] += disturb()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield done
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def address_space_of_this_process() -> Iterator[None]:
    """A limit of memory for the judge's process, which its children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (800 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def busy_cpus() -> Iterator[None]:
    """Two processes for each CPU that do nothing but compute."""
    started = [
        os.posix_spawn(sys.executable, [sys.executable, "-c", "while True: pass"], os.environ)
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    BUSY.update(started)
    try:
        yield
    finally:
        for process in started:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        BUSY.clear()


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What happens while answers are judged."""

    name: str
    disturb: Callable[[], int] = lambda: 0  # returns how many processes it met
    period_s: float | None = None  # None: PERIOD_S
    around: tuple[Callable[[], AbstractContextManager[None]], ...] = ()
    num_workers: int = 2
    is_shuffled: bool = False


BUSY: set[int] = set()  # processes that are not the judge's
SCENES = (
    Scene(name="undisturbed"),
    Scene(name="in another order, one worker", num_workers=1, is_shuffled=True),
    Scene(name="SIGKILL of all children", disturb=kill_children),
    Scene(name="SIGKILL of them and of theirs", disturb=kill_all),
    Scene(name="a limit of address space of the parent", around=(address_space_of_this_process,)),
    Scene(name="memory for nobody above 80 MiB", disturb=kill_the_largest, period_s=0.05),
    Scene(name="SIGSTOP for half of the time, busy CPUs", disturb=stop_all, around=(busy_cpus,)),
)


def period() -> float:
    """Seconds between two disturbances."""
    start = time.monotonic()
    with Judge(num_workers=2) as judge:
        judge.judge([r"\boxed{\sqrt{4}}", r"\boxed{\sqrt{9}}"], ["2", "3"])
    started_s = time.monotonic() - start
    period_s = PERIOD_S if started_s <= LONG_START_S else max(PERIOD_S, 3 * started_s)
    print(f"Two workers take {started_s:.1f} s to start; every {period_s:.1f} s something happens.", flush=True)
    return period_s


def judged(pairs: Answers, scene: Scene, *, period_s: float) -> tuple[dict[tuple[str, str], Verdict], str]:
    """The verdict of each answer, and how it went."""
    ordered = random.Random(1).sample(pairs, len(pairs)) if scene.is_shuffled else pairs
    start, own = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with contextlib.ExitStack() as stack:
        judge = stack.enter_context(Judge(num_workers=scene.num_workers, budget_s=1e6))
        for context in scene.around:
            stack.enter_context(context())
        done = stack.enter_context(repeated(scene.disturb, period_s=scene.period_s or period_s))
        verdicts = judge.judge([rf"\boxed{{{answer}}}" for _, answer in ordered], [gold for gold, _ in ordered])
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = cpu.ru_utime + cpu.ru_stime - own.ru_utime - own.ru_stime
    told = f"{time.monotonic() - start:6.0f} s | {cpu_s:6.0f} | {done['processes']:9} | {judge.num_not_judged:10}"
    return dict(zip(ordered, verdicts, strict=True)), told


def main() -> int:
    """1 if a verdict differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=2000)
    pairs, period_s = answers(parser.parse_args().answers), period()
    print(f"{'':40} |    clock |  CPU s | processes | not judged | other verdicts", flush=True)
    expected: dict[tuple[str, str], Verdict] = {}
    is_same = True
    for scene in SCENES:
        verdicts, told = judged(pairs, scene, period_s=period_s)
        expected = expected or verdicts
        others = [(*pair, verdicts[pair].value) for pair in expected if verdicts[pair] is not expected[pair]]
        is_same = is_same and not others
        print(f"{scene.name:40} | {told} | {len(others):6} {others[:3] or ''}", flush=True)
    counts = Counter(expected[pair].value for pair in pairs)
    print(
        f"{len(pairs)} answers, {len(expected)} distinct: {', '.join(f'{number} {name}' for name, number in counts.items())}."
    )
    assert counts["correct"] > 0.1 * len(pairs), "the answers show nothing"
    return int(not is_same)


if __name__ == "__main__":
    sys.exit(main())
