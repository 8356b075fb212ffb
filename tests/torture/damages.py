"""Every damage of every file of a run, stopped in the middle and finished: continued rightly, or refused in words.

    python tests/torture/damages.py [--stage middle] [--only metrics.jsonl] [--sample N] [--jobs 2]

Prints file, damage, outcome and the first line that was said of it.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from disk import Record, State, states
from PIL import Image
from short_runs import ALGORITHMS, CONTENT, IN_RUN, ROOT, SHORT, Finished, Forking, Whole, differences, last_words, undisturbed
from side_by_side import forking_processes, side_by_side
from spoiling import Damage, every_damage
from states import recorded

STAGES = ("middle", "finished")
WAY_OUT = re.compile(r"\b(remove|move|copy|put|give|take|set|restore|rename|ask|delete|install|type|make)\b", re.IGNORECASE)
ARGUMENTS = (
    *(word for word in SHORT if "_rows" not in word and not word.startswith("experiment")),
    *ALGORITHMS["reinforce_pp"],
    *IN_RUN,
    "model=tiny",
    "model.name=./weights",
    "dataset=jsonl",
    "dataset.source.folder=data",
    "dataset.max_pixels=12544",
    "dataset.epochs=2",
    "algorithm.num_minibatches=2",
    "checkpoint.every=1",
    "preflight.cache=null",
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run at some stage with one damage."""

    stage: str
    state: State
    end: State  # of the run that nothing disturbed
    damage: Damage
    cwd: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the same command made of it; `wrong` is empty where that is right."""

    trial: Trial
    ended: str
    said: str
    wrong: Sequence[str]


def write_inputs(cwd: Path) -> None:
    """Rows, pictures and a copy of the tiny model, found by relative paths: a copy of the folder is the same run."""
    shutil.copytree(ROOT / "vlm_rl" / "models" / "tiny" / "weights", cwd / "weights")
    (cwd / "data" / "images").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (56, 56), colour).save(cwd / "data" / "images" / name)
    rows = {"train": [2, 3, 5, 7], "val": [11], "test": [13]}
    for split, numbers in rows.items():
        lines = [
            {"id": f"{split}{n}", "question": f"What is {n} + {n}?", "answer": f"{2 * n}", "solution": f"It is {2 * n}."}
            for n in numbers
        ]
        if split == "val":
            lines = [{**line, "question": f"<image>{line['question']}", "image": "images/a.png"} for line in lines]
        (cwd / "data" / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def stages(record: Record) -> dict[str, State]:
    """The last moment before the last checkpoint is begun, and the end."""
    killed = [state for state in states(record) if state.kind == "killed"]
    middle = [state for state in killed if not any("step-000004" in path and "checkpoints" in path for path in state.files)]
    return {"middle": middle[-1], "finished": killed[-1]}


def tried(forking: Forking, trial: Trial, *, whole: Whole) -> Outcome:
    """Makes the stage, spoils one file, types the same command."""
    trial.cwd.mkdir()
    trial.state.make(trial.cwd)
    path = trial.cwd / trial.damage.path
    trial.damage.spoil(path)
    damaged = path.read_bytes() if path.is_file() else None
    finished = forking.run("train.py", whole.arguments, cwd=trial.cwd)
    said = (finished.out + finished.err).replace(str(trial.cwd) + "/", "")
    if finished.code == 2:
        ended, wrong = "refused", refused_wrongly(finished, trial.damage)
    else:
        ended, wrong = (
            "went on" if "Resuming" in said else "said nothing to do" if "nothing to do" in said else "began anew",
            [],
        )
        wrong += [sentence for sentence in differences(finished, trial.cwd, whole) if not beside(sentence)]
        wrong = [sentence for sentence in wrong if not is_told_loss(sentence, trial, said=said)]
        wrong += believed(trial, damaged, said=said)
    if wrong:
        (trial.cwd / "said.txt").write_text(said, encoding="utf-8")
    else:
        shutil.rmtree(trial.cwd)
    return Outcome(trial=trial, ended=ended, said=about(said, trial.damage, finished), wrong=wrong)


def refused_wrongly(finished: Finished, damage: Damage) -> list[str]:
    """A refusal is a sentence that says what, where and the way out."""
    wrong = ["a traceback was shown"] if "Traceback" in finished.err else []
    wrong += [] if any(name in finished.err for name in damage.names) else [f"none of {', '.join(damage.names)} is named"]
    return wrong + ([] if WAY_OUT.search(finished.err) else ["no way out is told"])


def beside(sentence: str) -> bool:
    """Whether a difference is the copy that was put beside a file: what does not belong there may stay."""
    return " (copy)" in sentence or "/backup/" in sentence


def is_told_loss(sentence: str, trial: Trial, *, said: str) -> bool:
    """Whether what is missing is a checkpoint that was damaged, which no newer state needs, and the command said what became of it."""
    lost = re.search(r"/checkpoints/(step-\d+)/\S+: missing$", sentence)
    if lost is None or "checkpoints" not in trial.damage.path.parts:
        return False
    step = lost[1]
    return any(words in said for words in (f"{step} was removed since", f"{step}, is not there any more", f"damaged/{step}."))


def believed(trial: Trial, damaged: bytes | None, *, said: str) -> list[str]:
    """Whether a file that no equality covers is, at the end, still as it was damaged, and nothing was said of it."""
    damage, path = trial.damage, trial.cwd / trial.damage.path
    if damage.path.parts[0] != "outputs":
        return ["went on with other inputs"] if trial.stage == "middle" else []
    if damage.told is not None:
        return [] if damage.told in said else [f"nothing was said of {damage.told}"]
    before = trial.state.files.get(str(damage.path))
    if trial.stage == "finished" and damage.path.parent.name == "images":
        return []  # nothing reads it but a report, which verifies it, as check=true does
    covered = any(path.match(f"outputs/*/*/seed-*/{pattern}") for pattern in CONTENT)
    if covered or damaged == before or not isinstance(before, bytes):
        return []
    if any(name in said for name in damage.names):
        return []
    if damaged is None:
        return ["is not there and nothing was said"] if str(damage.path) in trial.end.files and not path.exists() else []
    now = path.read_bytes() if path.exists() else b""
    end = trial.end.files.get(str(damage.path), b"")
    rightful = set(before.splitlines()) | set(end.splitlines() if isinstance(end, bytes) else ())
    new_lines = set(damaged.splitlines()) - rightful
    is_believed = new_lines & set(now.splitlines()) if path.suffix in (".json", ".jsonl") else now == damaged
    return ["the damage is believed"] if is_believed else []


def about(said: str, damage: Damage, finished: Finished) -> str:
    """The first line that names the damaged file, else the last words."""
    lines = sorted(said.splitlines(), key=lambda line: not line.startswith("Error: "))
    return next((line for line in lines if any(name in line for name in damage.names)), last_words(finished))


def table_of(record: Record, *, folder: Path, only: str = "") -> list[Trial]:
    """Every damage of both stages whose name has some text in it."""
    trials: list[Trial] = []
    both = stages(record)
    for stage, state in both.items():
        (folder / stage).mkdir()
        state.make(folder / stage)
        for damage in every_damage(folder / stage):
            cwd = folder / f"{stage}-{len(trials):04d}"
            trials += (
                [Trial(stage=stage, state=state, end=both["finished"], damage=damage, cwd=cwd)] if only in str(damage) else []
            )
    return trials


def prepared(forking: Forking, *, folder: Path) -> tuple[Whole, Record]:
    """The undisturbed run, and the same under the recorder."""
    for name in ("whole", "recorded"):
        write_inputs(folder / name)
    whole = undisturbed(forking, ARGUMENTS, cwd=folder / "whole")
    return whole, recorded(forking, ARGUMENTS, folder=folder)


def main() -> int:
    """The command line; 1 where any damage is not handled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--only", default="", help="a part of `path: damage`")
    parser.add_argument("--sample", type=int, default=1, help="every n-th")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="damages-"))
    with forking_processes(asked.jobs) as servers:
        whole, record = prepared(servers[0], folder=folder)
        trials = [trial for trial in table_of(record, folder=folder, only=asked.only) if asked.stage in (None, trial.stage)]
        print(f"{len(trials)} damages", flush=True)
        outcomes = []
        for outcome in side_by_side(lambda f, t: tried(f, t, whole=whole), trials[:: asked.sample], servers=servers):
            show(outcome)
            outcomes.append(outcome)
    return summary(outcomes, folder=folder)


def show(outcome: Outcome) -> None:
    """One row of the table."""
    trial = outcome.trial
    verdict = "WRONG: " + "; ".join(outcome.wrong[:3]) + f" ({trial.cwd})" if outcome.wrong else outcome.ended
    print(f"{trial.stage} | {trial.damage} | {verdict} | {outcome.said[:200]}", flush=True)


def summary(outcomes: Sequence[Outcome], *, folder: Path) -> int:
    """How many of each outcome; 1 where any is wrong."""
    counts: Mapping[str, int] = Counter("wrong" if outcome.wrong else outcome.ended for outcome in outcomes)
    print(f"{len(outcomes)} damages: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())), flush=True)
    if not counts.get("wrong"):
        shutil.rmtree(folder)
    return int(bool(counts.get("wrong")))


if __name__ == "__main__":
    sys.exit(main())
