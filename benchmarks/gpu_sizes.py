"""What benchmarks/gpu.py runs: the sizes of the models and of the step, and a policy with random weights made on the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gpu_device import Device
from hydra.utils import instantiate
from memory_cases import BF16, CASES, SAVING, Case, overrides_of, qwen
from omegaconf import DictConfig
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models import loading, policy
from vlm_rl.models.loading import load_untrained
from vlm_rl.models.prompts import Prompts

STEP = 1  # generation step 0 would compare engine and trainer inside Step III; here that is measured beside it
TREMBLE = 0.01  # LoRA begins as no change at all; trained weights get so much noise, or gradients and KL would be 0
LEARNING = ("algorithm=grpo", "reward=random", "model.vision_cache=0", "model.lora.rank=64", "model.lora.alpha=128")
TEXT_TOY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
EYES_TOY = {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2, "fullatt_block_indexes": [1]}
VOCABULARY_TOY = 1000  # more than the tokenizer has words, as in the large shapes
DEEPER = 6  # layers of the second small model in which synchronisations are counted

REAL = [
    replace(
        case,
        name=name,
        num_words=100,
        batch_size=8,
        group_size=4,
        num_minibatches=1,
        overrides=(*LEARNING, *BF16, *SAVING),
    )
    for name, case in zip(("3B", "7B"), CASES["real"], strict=True)
]
TOY_CASE = partial(
    Case,
    picture=(112, 84),
    max_new_tokens=8,
    batch_size=2,
    group_size=2,
    num_minibatches=1,
    micro_batch_tokens=120,  # two responses
    overrides=(*LEARNING, *SAVING),
)
TOY = [
    TOY_CASE(name="toy-A", folder=qwen(TEXT_TOY, EYES_TOY, vocab=VOCABULARY_TOY)),
    TOY_CASE(name="toy-B", folder=qwen(TEXT_TOY, EYES_TOY, vocab=VOCABULARY_TOY, tied=False)),
]
MODELS = {"real": REAL, "toy": TOY}
SMALL = TOY_CASE(name="sync", batch_size=4)  # what synchronisations are counted on


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a part is given."""

    sizes: str  # "real" or "toy"
    device: Device
    work: Path  # a folder for models and runs, removed afterwards

    def case(self, name: str) -> Case:
        """One of the models of these sizes, with its folder written."""
        return at_folder(next(case for case in MODELS[self.sizes] if case.name == name), self.work)

    def small(self, *, num_layers: int) -> Case:
        """A small model in the precision of the large ones."""
        text = TEXT_TOY | {"num_hidden_layers": num_layers}
        precision = BF16 if self.sizes == "real" else ()
        folder = qwen(text, EYES_TOY, vocab=VOCABULARY_TOY)
        case = replace(SMALL, name=f"sync-{num_layers}", folder=folder, overrides=(*SMALL.overrides, *precision))
        return at_folder(case, self.work)


def at_folder(case: Case, work: Path) -> Case:
    """The case with its model's folder written, once."""
    folder = work / case.name
    if not (folder / "config.json").exists() and case.folder is not None:
        case.folder(folder)
    return replace(case, at=str(folder))


def config_of(case: Case, device: Device) -> DictConfig:
    """The config of a run of the case on this device."""
    accelerator = "gpu" if device.name == "cuda" else "cpu"
    return composed([*overrides_of(case), f"trainer.accelerator={accelerator}"])


def built(case: Case, device: Device) -> Experiment:
    """The objects of the run: no response ends before its last token, and what is trained is no longer zero."""
    with weights_on(device):
        experiment = build(config_of(case, device))
    experiment.policy.to(device.name)
    experiment.policy.train()
    experiment.policy.vlm.generation_config.eos_token_id = [experiment.policy.vlm.config.image_token_id]  # never written
    tremble(experiment.policy)
    return experiment


@contextmanager
def weights_on(device: Device) -> Iterator[None]:
    """Random weights are drawn on the device inside: on the host a model of 7B would take minutes and twice its memory."""
    with patch.object(loading, "load_untrained", partial(random_model, device=device)):
        yield


def random_model(name: str, *, device: Device, **settings: Any) -> PreTrainedModel:
    """The architecture of a folder with random weights, made on the device; `settings` as load_untrained takes them."""
    with torch.device(device.name):
        return load_untrained(name, **settings)


@torch.no_grad()
def tremble(trembling: policy.Policy) -> None:
    """Adds noise to what is trained, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    for parameter in trembling.parameters():
        if parameter.requires_grad:
            parameter.add_(TREMBLE * torch.randn(parameter.shape, generator=generator).to(parameter.device))


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A picture of one gradient, told apart by its number."""

    key: str
    size: tuple[int, int]

    def load(self) -> Image.Image:
        """The picture, RGB."""
        return Image.linear_gradient("L").rotate(37 * int(self.key)).resize(self.size).convert("RGB")


def rows_of(case: Case) -> list[Row]:
    """Rows of one length but for the first, which is a word shorter: so that there is padding. The picture comes first."""
    texts = ["<image>Find AB" + " and" * (case.num_words - (i == 0)) + "." for i in range(case.batch_size)]
    return [
        Row(id=str(i), question=text, answer="1", solution="1", images=(Slope(key=str(i), size=case.picture),))
        for i, text in enumerate(texts)
    ]


def prompts_of(case: Case, cfg: DictConfig) -> Prompts:
    """The prompts of the case; needs the processor, no weights."""
    return Prompts(processor=processor_of(case), dataset=instantiate(cfg.dataset))


def processor_of(case: Case) -> ProcessorMixin:
    """What makes ids and pixels of a prompt."""
    return loading.load_processor(case.at, {})
