"""What preflight finds out about a model's code, which it runs in small: widths and layers cut down, weights drawn at random."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from vlm_rl.commands.build import plain
from vlm_rl.commands.model_checks import model_refusals
from vlm_rl.commands.model_forwards import loaded_model
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.models.attention import portable
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.models.small_copy import make_loud, write_small_copy
from vlm_rl.preflight.data_page import Verdict


def model_lines(cfg: DictConfig, policy: Policy, dataset: Dataset, *, verdict: Verdict) -> Iterator[str]:
    """The checks of model_checks.py on a small random model of the same classes; `policy` is on the meta device."""
    name = type(policy.vlm).__name__
    try:
        small = small_policy(cfg, policy)
    except Exception as error:  # configs have no common schema: some do not stand being cut down
        verdict.reservations.append(f"the forward of {name} was not checked (no small copy: {type(error).__name__}: {error})")
        return
    encoder = PromptEncoder(policy=small, dataset=dataset)
    model = loaded_model(small, encoder, dataset, tolerance=cfg.parity.tolerance)
    rows = [replace(row, images=tuple(Shade(key=image.key, size=image.size) for image in row.images)) for row in model.rows]
    problems = model_refusals(replace(model, rows=rows))
    verdict.problems.extend(f"A small random model of the same classes shows: {problem}" for problem in problems)
    if not problems:
        yield (
            f"On a small random {name}, training and sampling agree with its own forward in Transformers, and no token sees a later "
            "one. The weights themselves were not read; the run makes the same checks with them."
        )


@dataclass(frozen=True, kw_only=True)
class Shade:
    """A gradient in the place of a picture, of the same size: a row's own may not be whole, and preflight may be told not to open it."""

    key: str
    size: tuple[int, int]

    def load(self) -> Image.Image:
        """The picture."""
        return Image.linear_gradient("L").resize(self.size).convert("RGB")


def small_policy(cfg: DictConfig, policy: Policy) -> Policy:
    """The policy of the config over a small copy of the model, in float32 on the CPU, adapters drawn too."""
    with TemporaryDirectory() as folder:
        write_small_copy(policy.vlm.config, Path(folder), processor=policy.processor)
        settings = {"name": folder, "untrained": True, "dtype": "float32", "autocast": False, "gradient_checkpointing": False}
        settings |= (
            {"quantization": None} if "quantization" in cfg.model else {}
        )  # what it does to weights is no matter of the code
        small: Policy = instantiate(
            cfg.model,
            **settings,
            attention=portable(plain(cfg.model)["attention"]),
            vision_cache=0,
            temperature=cfg.rollout.temperature,
            seed=cfg.seed,
        )
    make_loud(small.vlm)
    return small
