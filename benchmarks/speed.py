"""Ours against TRL's GRPOTrainer, in turn, A B A B, each in a process of its own: seconds of a generation step, memory, and the limits.

    python benchmarks/speed.py                                             # the tiny model, 1 and 32 updates, 5 pairs
    python benchmarks/speed.py --prompt-tokens 1000 --response-tokens 64   # larger pictures, every response of one length
    python benchmarks/speed.py --model small --group-size 16               # 8 layers x 512 with random weights
    python benchmarks/speed.py --against ../other-checkout                 # another checkout of ours in TRL's place
    python benchmarks/speed.py --grow                                      # ours alone: how the time grows
    python benchmarks/speed.py --pairs 0 --docs docs/performance.md        # nothing is measured; what lies in --out becomes the tables

Both sides get the same rows in the same order (the ids of the prompts are compared), pictures, LoRA of rank 16 on the same layers, AdamW,
GRPO with a KL term of 0.04, the same judge, sampling at temperature 1 and as many threads, in float32. The tiny model ends its responses
itself, so lengths agree on average; with --response-tokens or --fixed every response has the same length on both sides. The first
step of a process warms up; the median of the others counts. The learning rate is small, so that all steps sample alike.

TRL's settings leave out what costs it time (reasoned, not measured one by one):
no gradient checkpointing, no logging, float32 without autocast, prompts padded on the
left, ids of vision suppressed, pictures decoded beforehand, its fused AdamW. Its micro-batches are tried in a first round and the
fastest is kept (`--trl-rows`); where there are many updates there is one choice, all responses of an update. `use_liger_kernel` needs
Triton, which the CPU has not; continuous batching of Transformers takes no pictures. vLLM is not used on either side.

Memory is resident memory: the largest from the end of loading on, less what was resident then (Linux' VmHWM, set back, and VmRSS).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from gpu_device import Host  # noqa: E402 - what lies beside this file and above it
from marked_page import write_between  # noqa: E402
from memory_cases import EYES_SMALL, TEXT_SMALL, qwen  # noqa: E402
from speed_case import OWN_LENGTH, SpeedCase  # noqa: E402
from speed_growth import AXES, grown  # noqa: E402
from speed_growth import table as growth_table  # noqa: E402
from speed_page import cpu_seconds, settings, table  # noqa: E402

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
GROWTH = "growth.json"
SMALL_VOCABULARY = 32_000
SMALL_RESPONSE = 64  # tokens: random weights end no response


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs one side once, in a process of its own."""

    work: Path
    against: Path | None = None  # another checkout of ours, in TRL's place

    def ours(self, case: SpeedCase, *, checkout: Path = ROOT) -> dict[str, Any]:
        """Our steps."""
        return self._run("speed_ours.py", case, "ours.json" if checkout == ROOT else "other.json", checkout=checkout)

    def theirs(self, case: SpeedCase, *, rows: int) -> dict[str, Any]:
        """TRL's, on the rows that ours had last."""
        return self._run("speed_trl.py", case, "trl.json", str(self.work / "ours.json"), str(rows))

    def floor(self, case: SpeedCase) -> dict[str, Any]:
        """The bare calls on as many tokens as ours had last."""
        return self._run("speed_floor.py", case, "floor.json", str(self.work / "ours.json"))

    def _run(self, script: str, case: SpeedCase, result: str, *more: str, checkout: Path = ROOT) -> dict[str, Any]:
        file, log = self.work / result, self.work / f"{Path(script).stem}.log"
        command = [sys.executable, str(Path(__file__).with_name(script)), json.dumps(asdict(case)), str(file), *more]
        environment = os.environ | {"PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        with log.open("wb") as told:
            code = subprocess.run(command, env=environment, stdout=told, stderr=subprocess.STDOUT, cwd=self.work).returncode
        if code:
            sys.exit(f"{script} ended with exit code {code}:\n{log.read_text(errors='replace')[-2000:]}")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def micro_batches(case: SpeedCase, tried: Sequence[int]) -> list[int]:
    """Those that an update of the case can be made of; else the whole update."""
    of_update = case.num_responses // case.updates
    return [rows for rows in tried if of_update % rows == 0] or [of_update]


def fastest(case: SpeedCase, runner: Runner, *, tried: Sequence[int]) -> dict[int, float]:
    """CPU seconds of TRL's step by rows of a micro-batch, the fastest first. Where there is one choice it is not run."""
    if len(possible := micro_batches(case, tried)) == 1:
        return {possible[0]: 0.0}
    runner.ours(case)
    found = {}
    for rows in possible:
        found[rows] = median(map(cpu_seconds, runner.theirs(case, rows=rows)["steps"]))
        print(f"TRL with micro-batches of {rows}: {found[rows]:.2f} CPU seconds a step", flush=True)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def check_prompts(pair: dict[str, Any], case: SpeedCase) -> None:
    """Raises ValueError where the two sides read other ids in a step."""
    if case.group_size == 1:  # TRL has half of the prompts, see speed_trl.py
        return
    for ours, theirs in zip(pair["ours"]["steps"], pair["theirs"]["steps"], strict=True):
        if ours["prompts"] != theirs["prompts"]:
            raise ValueError("The two sides made other ids of the prompts: their steps cannot be compared.")


def compared(case: SpeedCase, runner: Runner, *, pairs: int, tried: Sequence[int]) -> dict[str, Any]:
    """All pairs of a case and its limits."""
    by_rows = {} if runner.against else fastest(case, runner, tried=tried)
    found = []
    for i in range(pairs):
        ours = runner.ours(case)
        other = runner.ours(case, checkout=runner.against) if runner.against else runner.theirs(case, rows=next(iter(by_rows)))
        found.append({"ours": ours, "theirs": other})
        check_prompts(found[-1], case)
        both = [median(step["seconds"] for step in side["steps"]) for side in (ours, other)]
        print(f"{case.name}, pair {i + 1}: {both[0]:.2f} s, {both[1]:.2f} s, ratio {both[0] / both[1]:.2f}", flush=True)
    return {
        "case": asdict(case),
        "rival": str(runner.against.name) if runner.against else "TRL",
        "is_ours_too": runner.against is not None,
        "trl_micro_batches": by_rows,
        "pairs": found,
        "floor": runner.floor(case),
        "machine": Host().words(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def cases_of(asked: argparse.Namespace, out: Path) -> list[SpeedCase]:
    """The cases that the options ask for."""
    is_small = asked.model == "small"
    if is_small and not (out / "small" / "config.json").exists():
        qwen(TEXT_SMALL, EYES_SMALL, vocab=SMALL_VOCABULARY)(out / "small")
    length = asked.response_tokens or (OWN_LENGTH if asked.fixed else SMALL_RESPONSE if is_small else None)
    first = SpeedCase(
        label=asked.model,
        model=str((out / "small").absolute()) if is_small else "tiny",
        image_tokens=asked.prompt_tokens,
        response_tokens=length,
        steps=asked.steps,
        threads=asked.threads,
    )
    return [
        replace(first, group_size=group, num_prompts=asked.responses // group, updates=updates)
        for group in asked.group_size
        for updates in asked.updates
    ]


def page(out: Path) -> str:
    """The tables of everything that lies in a folder."""
    reports = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*.json")) if file.name != GROWTH]
    parts = [f"{settings(report)}\n\n{table([report])}" for report in reports]
    if reports and len({settings(report) for report in reports}) == 1:
        parts = [f"{settings(reports[0])}\n\n{table(reports)}"]
    if (out / GROWTH).exists():
        parts.append(growth_table(json.loads((out / GROWTH).read_text(encoding="utf-8"))))
    return "\n\n".join(parts)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", choices=("tiny", "small"), default="tiny", help="small: 8 layers x 512, random weights")
    made.add_argument("--responses", type=int, default=128, help="of a step; prompts are these over the group size")
    made.add_argument("--group-size", type=int, nargs="+", default=[8])
    made.add_argument("--updates", type=int, nargs="+", default=[1, 32])
    made.add_argument("--prompt-tokens", type=int, help="image tokens of a prompt, about; else 24")
    made.add_argument("--response-tokens", type=int, help="of every response; else the model ends it itself")
    made.add_argument("--fixed", action="store_true", help=f"every response has {OWN_LENGTH} tokens")
    made.add_argument("--pairs", type=int, default=5)
    made.add_argument("--steps", type=int, default=3, help="measured in each process; one more warms up")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--trl-rows", type=int, nargs="+", default=[16, 32, 64, 128], help="micro-batches of TRL that are tried")
    made.add_argument("--against", type=Path, help="another checkout of ours in TRL's place")
    made.add_argument("--grow", action="store_true", help="ours alone: how the time grows")
    made.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES), help="what grows")
    made.add_argument("--out", type=Path, default=ROOT / "outputs" / "speed")
    made.add_argument("--docs", type=Path, help="a page with the marks of these tables")
    return made


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    asked = parser().parse_args(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    cases = cases_of(asked, asked.out)
    with tempfile.TemporaryDirectory() as work:
        runner = Runner(work=Path(work), against=asked.against and asked.against.absolute())
        if asked.grow:
            found = grown(runner.ours, around=replace(cases[0], updates=1), axes={axis: AXES[axis] for axis in asked.axes})
            (asked.out / GROWTH).write_text(json.dumps(found, indent=1), encoding="utf-8")
        for case in cases if asked.pairs and not asked.grow else ():
            report = compared(case, runner, pairs=asked.pairs, tried=asked.trl_rows)
            (asked.out / f"{case.name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    text = page(asked.out)
    (asked.out / "speed.md").write_text(f"{text}\n", encoding="utf-8")
    print(text)
    if asked.docs:
        write_between(asked.docs, text, begin=BEGIN, end=END)


if __name__ == "__main__":
    main()
