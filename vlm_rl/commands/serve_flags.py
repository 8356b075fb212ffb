"""The command that starts a vLLM server for a config: `python -m vlm_rl.commands.serve_flags model=qwen dataset=geo`.

The words are those of train.py, sweeps included. Variables of the environment: PORT, of which there may be several (8000,8001: a
line for each), and MEMORY_SHARE, a part of the GPU's memory, or `auto` for what the trainer leaves free (memory_share.py).
"""

import contextlib
import itertools
import json
import os
import shlex
import sys
from collections.abc import Sequence

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands import errors, resolvers
from vlm_rl.commands.preflight_jobs import Job, jobs
from vlm_rl.commands.resolvers import variant
from vlm_rl.commands.swept_groups import left_to_jobs
from vlm_rl.datasets.dataset import SPLITS, Dataset
from vlm_rl.models.loading import resolve

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM knows for --max-lora-rank
NUM_SEARCHED = 1000  # rows of a split, for the most pictures of a prompt
ADAPTERS = 4  # in use at a time: of the step that is learned, the next one's, one that is evaluated, and one to spare
VARIABLES = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def serve_command(cfg: DictConfig, dataset: Dataset, *, port: int | str = 8000, memory_share: str | None = None) -> str:
    """One line for a shell."""
    words = ["vllm", "serve", resolve(cfg.model.name), *serve_flags(cfg, dataset), "--port", str(port)]
    if memory_share is not None:
        words += ["--gpu-memory-utilization", memory_share]
    return " ".join([*(f"{name}={value}" for name, value in VARIABLES.items()), *map(shlex.quote, words)])


def serve_flags(cfg: DictConfig, dataset: Dataset) -> list[str]:
    """All that changes what a server samples, or that it would refuse a request without."""
    rows = (row for split in SPLITS for row in itertools.islice(dataset.split(split), NUM_SEARCHED))
    pictures = max((len(row.images) for row in rows), default=1)
    settings = OmegaConf.to_container(cfg.model.processor, resolve=True)
    flags = {
        "--served-model-name": cfg.model.name,
        "--dtype": cfg.model.dtype,
        "--max-model-len": dataset.max_prompt_tokens + dataset.max_new_tokens,
        "--generation-config": "vllm",  # not the model's own temperature and penalties
        "--logprobs-mode": "processed_logprobs",
        "--limit-mm-per-prompt": json.dumps({"image": max(1, pictures), "video": 0}),
        **({"--mm-processor-kwargs": json.dumps(settings)} if settings else {}),
    }
    if cfg.model.lora is not None:
        rank = next((known for known in RANKS if known >= cfg.model.lora.rank), cfg.model.lora.rank)
        flags |= {"--max-lora-rank": rank, "--max-loras": ADAPTERS, "--max-cpu-loras": 2 * ADAPTERS}
    words = [word for flag, value in flags.items() for word in (flag, str(value))]
    return ["--enable-lora", *words] if cfg.model.lora is not None else words


def advice(cfg: DictConfig, dataset: Dataset) -> str:
    """The end of a message: how a server is started."""
    return f"\nA server for this run is started by\n  {serve_command(cfg, dataset)}\nThen the command of this run goes on."


def main() -> None:
    """Print the command."""
    resolvers.register()
    errors.explained(_main)


def _main() -> None:
    ports, share = os.environ.get("PORT", "8000").split(","), os.environ.get("MEMORY_SHARE") or None
    with contextlib.redirect_stdout(sys.stderr):  # the data set tells of its rows, and a shell reads our lines
        print("\n".join(_lines(jobs(left_to_jobs(sys.argv[1:])), ports=ports, share=share)), file=sys.__stdout__)


def _lines(runs: Sequence[Job], *, ports: Sequence[str], share: str | None) -> list[str]:
    """A command for each port. All runs of a sweep use the same servers, the largest trainer leaves them least."""
    datasets: list[Dataset] = [instantiate(run.cfg.dataset) for run in runs]
    commands = {serve_command(run.cfg, dataset, port="{port}"): run for run, dataset in zip(runs, datasets, strict=True)}
    if len(commands) > 1:
        one, other, *_ = (variant(run.overrides) for run in commands.values())
        raise ValueError(
            f"Runs of this sweep want servers with other flags: {one} and {other}. Type one command for each model and data set."
        )
    if share == "auto":
        from vlm_rl.commands.memory_share import memory_share  # with all that is trained

        share = min(memory_share(run.cfg, dataset) for run, dataset in zip(runs, datasets, strict=True))
    return [serve_command(runs[0].cfg, datasets[0], port=port, memory_share=share) for port in ports]


if __name__ == "__main__":
    main()
