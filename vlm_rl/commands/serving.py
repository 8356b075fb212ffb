"""Sampling servers around a command: taken up and checked before the first step, left at its end whatever happens."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from vlm_rl.commands.build import Experiment
from vlm_rl.commands.model_forwards import LoadedModel
from vlm_rl.commands.serve_flags import advice
from vlm_rl.commands.server_checks import check_servers
from vlm_rl.rollout.engine import ServedEngine
from vlm_rl.rollout.vllm_engine import VllmEngine


@contextlib.contextmanager
def connected(experiment: Experiment, model: LoadedModel, *, folder: Path) -> Iterator[None]:
    """Inside, the engines of an experiment that are servers can be used. Engines in the trainer need nothing."""
    dataset, served = experiment.dataset, [engine for engine in experiment.engines if isinstance(engine, ServedEngine)]
    how = advice(experiment.cfg, dataset) if served else ""
    try:
        for engine in served:
            engine.connect(experiment.policy, experiment.encoder.prompts, run=name_of(folder), advice=how)
            if isinstance(engine, VllmEngine):
                check_servers(engine, model, max_tokens=dataset.max_prompt_tokens + dataset.max_new_tokens, advice=how)
        yield
    finally:
        for engine in served:
            engine.close()


def name_of(folder: Path) -> str:
    """`study.variant.seed-0-1a2b3c`: no other run has it, whoever else uses the same servers."""
    path = folder.absolute()
    return f"{'.'.join(path.parts[-3:])}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
