"""One scenario on the logical GPU, in a process and a folder of its own: `run_scenario.py NAME RESULT [CONTROL]`.

Commands run whole, in this process, as `main()` has them; RESULT gets what was found, as JSON. With a CONTROL a move is missing.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from families.build import build
from hydra.core.global_hydra import GlobalHydra
from logical.findings import Findings
from logical.gpu import group_of_one, logical_gpu
from logical.tags import on_gpu
from own_files import png, write_authors
from scenarios import CONTROLS, SCENARIOS, Command, Scenario

from vlm_rl.models import vision
from vlm_rl.module import GenerationStep, VLMReinforcement
from vlm_rl.types import ImageFeatures, Images

PICTURES = {"a.png": png(90, size=(84, 56)), "wide.png": png(200, size=(112, 56))}
ROWS: list[dict[str, Any]] = [
    {"id": "none", "question": "What is 1 + 1?", "answer": "2"},
    {"id": "one", "question": "<image>How long?", "answer": "3", "image": "a.png"},
    {"id": "two", "question": "<image> or <image>?", "answer": "9", "image": [*PICTURES]},
]


def write_data(folder: Path) -> None:
    """Rows with no picture, one and several; one row each to validate and to test."""
    held_out = {
        "val": [{"id": "val", "question": "<image>How wide?", "answer": "4", "image": "wide.png"}],
        "test": [{"id": "test", "question": "What is 2 + 2?", "answer": "4"}],
    }
    write_authors(folder, {"train": ROWS, **held_out}, pictures=PICTURES)


def run(command: Command) -> None:
    """`main()` of the command."""
    GlobalHydra.instance().clear()
    os.environ["VLM_RL_TRACEBACK"] = "1"  # errors are raised and not explained
    sys.argv = [f"{command.name}.py", *command.words]
    try:
        importlib.import_module(f"vlm_rl.commands.{command.name}").main()
    except SystemExit as end:
        if end.code:
            raise


@contextlib.contextmanager
def watched(findings: Findings, *, stopped_after: int | None) -> Iterator[None]:
    """Looks at each step: images of a batch stay on the CPU, and features reach the model where its own tower would have left
    them. Stops as a signal does, after some steps."""
    report, joined = VLMReinforcement.report, vision.joined

    def look(module: VLMReinforcement, step: GenerationStep) -> None:
        report(module, step)
        for images in (step.queries.images, step.scored.trajectory.images):
            if any(map(on_gpu, tensors_of(images))):
                findings.faults["images of a batch lie on the GPU, those of a real one can be tens of GB"] += 1
        if module.progress.generation_steps == stopped_after:
            module.trainer.should_stop = True

    def join(features: Sequence[ImageFeatures]) -> Any:
        if not all(on_gpu(tensor) for feature in features for tensor in feature.tensors):
            findings.faults["features on the CPU are handed to a model on the GPU"] += 1
        return joined(features)

    with mock.patch.object(VLMReinforcement, "report", look), mock.patch.object(vision, "joined", join):
        yield


def tensors_of(images: Images) -> Iterator[Any]:
    """Pixels or features."""
    for image in images:
        if image is not None:
            yield from (image.inputs or {}).values()
            yield from () if image.features is None else image.features.tensors


def found(scenario: Scenario) -> Findings:
    """What the logical GPU sees of all commands, run in this folder."""
    if scenario.family is not None:
        build(scenario.family, Path("model"))
    if scenario.has_data:
        write_data(Path("data"))
    with group_of_one(), logical_gpu() as findings:
        for command in scenario.commands:
            with watched(findings, stopped_after=command.stopped_after):
                run(command)
    return findings


def main(name: str, result: str, control: str | None = None) -> None:
    """The whole script."""
    with contextlib.nullcontext() if control is None else mock.patch(CONTROLS[control], lambda moved, *_, **__: moved):
        findings = found(SCENARIOS[name])
    Path(result).write_text(json.dumps(findings.as_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
