"""Run folders with real weights and made-up histories, a report on them, and one question to any model."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlm_rl.callbacks.checkpoint import save_whole
from vlm_rl.commands.build import Experiment, plain
from vlm_rl.commands.evaluation_target import find
from vlm_rl.commands.export import Request, export
from vlm_rl.commands.manifest import versions
from vlm_rl.models.loading import load_processor
from vlm_rl.run_folder import RunFolder

PICKED, LAST = 2, 4
ARM = "0123456789abcdef"


def run_of(experiment: Experiment, path: Path) -> Path:
    """A finished run of that experiment; its accuracy on test rose from 42 to 90 %."""
    folder = RunFolder(path=path)
    for step in (PICKED, LAST):
        save_whole(path / "checkpoints" / f"step-{step:06d}", experiment.policy, {"generation_steps": step}, record={})
    for step, accuracy in ((0, 0.42), (PICKED, 0.9)):
        folder.append("metrics.jsonl", {"event": "evaluation", "generation_steps": step, "test/pass@1_t0.6/accuracy": accuracy})
    told = {"study": "s", "variant": "grpo", "seed": 0, "arm": ARM, "algorithm": "grpo", "status": "finished", "overrides": []}
    made = {"command": "python train.py", "versions": versions(), "git": {"commit": None}, "data": {"train": "aa"}}
    folder.write_manifest(told | made | {"picked_step": PICKED, "config": plain(experiment.cfg)})
    return path


def export_of(checkpoint: Path, folder: Path, **choices: Any) -> Path:
    """`python export.py checkpoint=... folder=...`, with the other keys as conf/export.yaml has them."""
    usual = {"report": None, "base_model": None, "license": None, "merge": False, "dtype": None, "push": None, "private": True}
    return export(find(str(checkpoint)), request=Request(folder=str(folder), **(usual | choices)))


def report_on(folder: Path, path: Path, *, age: float = -60, format: int = 2, arm: str = "rl", **changes: str) -> Path:
    """A report.json that calls the arm of the run an improvement; `age` is by how many seconds it is older than the run."""
    said = "{} is an improvement over the vanilla model: {} points (95 % interval {}, new seeds and new questions)."
    verdicts = [
        {"arm": "rl", "outcome": "improvement", "effect": 0.178, "said": said.format("rl", "+17.8", "+11.5 to +24.1")},
        {"arm": "sft", "outcome": "improvement", "effect": 0.2, "said": said.format("sft", "+20.0", "+15.0 to +25.0")},
    ]
    rests = "It rests on 5 seeds and 200 questions; each seed is compared with its own vanilla model."
    decision = {
        "question": "Judged by accuracy on test (pass@1, T = 0.6) at the epoch that val picks, as the runs declared before they started.",
        "scope": "Model: tiny; data: micro_geometry.",
        "verdicts": [verdict | {"more": [rests]} for verdict in verdicts],
        "risks": ["rl: 3 % of the responses were cut off.", "sft: unfinished runs are left out."],
    }
    row = {"arm": arm, "run": "s/grpo/seed-0", "hash": ARM[:8], "status": "finished"} | changes
    report = {
        "format": format,
        "command": "python report.py 'studies=[outputs/s]'",
        "decision": decision,
        "tables": {"runs": [row]},
    }
    path.write_text(json.dumps(report))
    written = (folder / "manifest.json").stat().st_mtime - age
    os.utime(path, (written, written))
    return path


@torch.no_grad()
def ask(model: torch.nn.Module) -> Tensor:
    """Log-probabilities of every token after each place of a prompt with a figure."""
    image = Image.radial_gradient("L").resize((112, 84)).convert("RGB")
    content = [{"type": "image", "image": image}, {"type": "text", "text": "In the figure, AB = 17 and BC = 25. What is AC?"}]
    inputs = load_processor("tiny", {}).apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    logprobs: Tensor = model.eval()(**inputs).logits.log_softmax(-1)
    return logprobs
