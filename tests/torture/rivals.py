"""Two processes for one run folder: the same command twice at once, the same sweep twice, a sweep whose parent is killed.

    python tests/torture/rivals.py --trials 50 [--kind twice]

After each trial the command is typed again until it says that the run is finished. Then no record is doubled or lost, and the second
of two has said who holds the folder.
"""

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
from short_runs import ALGORITHMS, IN_RUN, SHORT, Finished, Forking, Whole, differences, last_words, undisturbed
from side_by_side import forking_processes

SECOND_STARTS_AFTER_S = 2.5  # at most; a run takes as long
ORPHANS_END_WITHIN_S = 20.0  # one that still imports its libraries ends when it has; the others within a second
MOST_STARTS = 5
HELD = re.compile(r"is being trained by process \d+ on ")
SAID_FINISHED = "is finished; nothing to do"
SINGLE = (*SHORT, *ALGORITHMS["reinforce_pp"], *IN_RUN)
ONE_AFTER_THE_OTHER = (*SHORT, *ALGORITHMS["reinforce_pp"], "seed=0,1", "-m")
SWEEP = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *ONE_AFTER_THE_OTHER)


def twice(forking: Forking, cwd: Path, *, drawn: random.Random) -> list[str]:
    """The same command, twice at once."""
    return both(forking, SINGLE, cwd=cwd, wait_s=drawn.uniform(0, SECOND_STARTS_AFTER_S))


def two_sweeps(forking: Forking, cwd: Path, *, drawn: random.Random) -> list[str]:
    """The same sweep, twice at once."""
    return both(forking, SWEEP, cwd=cwd, wait_s=drawn.uniform(0, 2 * SECOND_STARTS_AFTER_S))


def both(forking: Forking, arguments: Sequence[str], *, cwd: Path, wait_s: float) -> list[str]:
    """Starts one after some time beside the other and waits for both."""
    first = forking.start("train.py", arguments, cwd=cwd)
    time.sleep(wait_s)
    second = forking.start("train.py", arguments, cwd=cwd)
    ended = [first.wait(), second.wait()]
    wrong = [sentence for finished in ended for sentence in wrong_end(finished)]
    return wrong if any(finished.code == 0 for finished in ended) or arguments == SWEEP else [*wrong, "neither has ended well"]


def wrong_end(finished: Finished) -> list[str]:
    """Whoever does not end well has said who holds the folder."""
    if finished.code == 0:
        return []
    wrong = [] if finished.code == 2 else [f"exit code {finished.code}"]
    wrong += [] if HELD.search(finished.err) else [f"nobody was named: {last_words(finished)}"]
    return wrong + (["a traceback was shown"] if "Traceback" in finished.err else [])


def orphaned(forking: Forking, cwd: Path, *, drawn: random.Random) -> list[str]:
    """A sweep whose parent is killed while its workers train, and started again at once."""
    command = forking.start("train.py", SWEEP, cwd=cwd)
    begun = command.wait_until(lambda: bool(list(cwd.glob("outputs/*/*/seed-*/metrics.jsonl"))))
    time.sleep(drawn.uniform(0, 0.5))
    workers = psutil.Process(command.pid).children(recursive=True) if begun and command.poll() is None else []
    command.send(signal.SIGKILL)
    second = forking.start("train.py", SWEEP, cwd=cwd)
    _, alive = psutil.wait_procs(workers, timeout=ORPHANS_END_WITHIN_S)
    wrong = [f"{len(alive)} processes of the killed sweep live on"] if alive else []
    for worker in alive:
        worker.kill()
    command.wait()
    return wrong + wrong_end(second.wait())


Trial = Callable[..., list[str]]
KINDS: Mapping[str, tuple[Trial, Sequence[str], float]] = {  # the trial, what is typed again, its share of all trials
    "twice": (twice, SINGLE, 0.6),
    "two_sweeps": (two_sweeps, ONE_AFTER_THE_OTHER, 0.2),
    "orphaned": (orphaned, ONE_AFTER_THE_OTHER, 0.2),
}


def typed_until_finished(forking: Forking, arguments: Sequence[str], *, cwd: Path, num_runs: int) -> list[str]:
    """The same command until all runs were finished before it; nobody else is there any more."""
    for _ in range(MOST_STARTS):
        finished = forking.run("train.py", arguments, cwd=cwd)
        if finished.code != 0:
            return [f"typed again: exit code {finished.code}: {last_words(finished)}"]
        if finished.out.count(SAID_FINISHED) == num_runs:
            return []
    return [f"not finished after {MOST_STARTS} starts"]


def trial(forking: Forking, kind: str, *, whole: Whole, cwd: Path, drawn: random.Random) -> list[str]:
    """What is wrong at the end of one trial."""
    disturb, again, _ = KINDS[kind]
    cwd.mkdir()
    wrong = disturb(forking, cwd, drawn=drawn)
    wrong += typed_until_finished(forking, again, cwd=cwd, num_runs=1 if again is SINGLE else 2)
    return wrong + differences(Finished(code=0, out="", err=""), cwd, whole)


def main() -> int:
    """The command line; 1 where any trial went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--kind", choices=[*KINDS], help="only this; without it three of five are `twice`")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder, failed, done = Path(tempfile.mkdtemp(prefix="rivals-")), Counter[str](), Counter[str]()
    shares = {kind: share for kind, (_, _, share) in KINDS.items()}
    drawn = random.Random(asked.seed)
    with forking_processes(1) as (forking,):
        wholes = {}
        for name, arguments in (("single", SINGLE), ("sweep", ONE_AFTER_THE_OTHER)):
            (folder / name).mkdir()
            wholes[arguments] = undisturbed(forking, arguments, cwd=folder / name)
        for number in range(asked.trials):
            kind = asked.kind or max(shares, key=lambda name: shares[name] * (number + 1) - done[name])
            cwd = folder / f"trial-{number:03d}"
            wrong = trial(forking, kind, whole=wholes[KINDS[kind][1]], cwd=cwd, drawn=drawn)
            done[kind] += 1
            failed[kind] += bool(wrong)
            if wrong:
                print(f"  {kind} {cwd}: " + "; ".join(wrong[:4]), flush=True)
            else:
                shutil.rmtree(cwd)
    print(f"{asked.trials} trials {dict(done)}, wrong: {dict(+failed) or 0}", flush=True)
    if not failed.total():
        shutil.rmtree(folder)
    return int(bool(failed.total()))


if __name__ == "__main__":
    sys.exit(main())
