"""The command that starts a vLLM server for a config: `python -m vlm_rl.commands.serve_flags model=qwen dataset=geo`.

The words are those of train.py, of which the model and the data set matter. PORT and MEMORY_SHARE are variables of the environment.
"""

import itertools
import json
import os
import shlex
import sys

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands import errors, resolvers
from vlm_rl.commands.composing import composed
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
    cfg = composed(sys.argv[1:])
    dataset: Dataset = instantiate(cfg.dataset)
    print(serve_command(cfg, dataset, port=os.environ.get("PORT", "8000"), memory_share=os.environ.get("MEMORY_SHARE")))


if __name__ == "__main__":
    main()
