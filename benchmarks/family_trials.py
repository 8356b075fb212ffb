"""What benchmarks/families.py runs of one class: without weights at its own sizes, in small on text, or the whole way."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import torch
from families.build import build
from families.tokens import llama_like
from families.whole_trial import whole_trial
from forking import Forking
from hydra.utils import instantiate
from tiny_runs import Sheet
from transformers import AutoConfig, AutoModelForImageTextToText, BatchFeature

from vlm_rl.commands.build import composed
from vlm_rl.commands.model_checks import model_refusals
from vlm_rl.commands.model_forwards import LoadedModel
from vlm_rl.datasets.row import Row
from vlm_rl.models import policy as policy_module
from vlm_rl.models.family import check_class
from vlm_rl.models.parts import Lora, prepare, sizes
from vlm_rl.models.policy import Policy
from vlm_rl.models.small_copy import make_loud, shrunk
from vlm_rl.types import QueryBatch

TOLERANCE = 2e-5  # nats in float32; of gradients, of their largest entry
TEXTS = ("What is 3 + 4?", "In a right triangle AB = 3 and BC = 4. How long is AC, the side across from the right angle?")


@dataclass(frozen=True, kw_only=True)
class AtDefaultSizes:
    """A class without weights."""

    billions: float | None = None
    reached: float | None = None
    refused: str = ""  # the sentence of our own
    unbuilt: str = ""  # why its default config builds nothing


def at_default_sizes(family: str) -> AtDefaultSizes:
    """Built on the meta device as its class is by default, with adapters on all of its language part."""
    try:
        config = AutoConfig.for_model(family)
        with torch.device("meta"):
            whole = AutoModelForImageTextToText.from_config(config)
    except Exception as error:
        return AtDefaultSizes(unbuilt=f"its default config builds no model: {type(error).__name__}: {error}")
    billions = whole.num_parameters() / 1e9
    try:
        check_class(whole, name=family)
        lora = Lora(rank=64, alpha=128, targets={"language": "all"})
        prepare(whole, freeze=["vision", "connector"], lora=lora, seed=0)
        (language,) = (size.coverage for size in sizes(whole) if size.part == "language")
    except ValueError as error:
        return AtDefaultSizes(billions=billions, refused=str(error))
    except Exception as error:
        return AtDefaultSizes(billions=billions, unbuilt=f"{type(error).__name__}: {error}")
    assert language is not None
    return AtDefaultSizes(billions=billions, reached=language.adapted_weights / language.weights)


def whole_way(family: str, folder: Path, *, forking: Forking) -> tuple[str, bool]:
    """What the whole trial of a small model found, and whether all of it is within the tolerance."""

    def train(words: Sequence[str], cwd: Path) -> None:
        finished = forking.run("train.py", words, cwd=cwd)
        assert finished.code == 0, (finished.out + finished.err)[-600:]

    (folder / "work").mkdir()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            trial = whole_trial(family, build(family, folder / "model"), mixed_rows(), work=folder / "work", train=train)
    except Exception as error:
        return f"{type(error).__name__}: {error}", False
    figures = {key: value for key, value in asdict(trial).items() if isinstance(value, float)}
    largest = max(figures, key=lambda key: figures[key])
    features = "" if trial.features is not None else "; pixels at every forward"
    is_right = figures[largest] <= TOLERANCE and trial.resumed_is_equal
    return f"pictures, five steps, resume, plain PEFT, merge: at most {figures[largest]:.1e} ({largest}){features}", is_right


def mixed_rows() -> list[Row]:
    """No image, one image and three images of different sizes."""
    sheets = [Sheet(i, width=84 + 28 * i) for i in range(4)]
    return [
        Row(id="none", question="What is 3 + 4?", answer="7", solution="7", images=()),
        Row(id="one", question="<image>Find AB in the figure above, please.", answer="1", solution="1", images=(sheets[0],)),
        Row(id="three", question="<image><image>Or <image>?", answer="2", solution="2", images=tuple(sheets[1:])),
    ]


def on_text(family: str, folder: Path) -> list[str]:
    """The sentences of all checks of a loaded model that refuse a small random one, on two texts."""
    shrunk(AutoConfig.for_model(family)).save_pretrained(folder)
    cfg = composed(["model=vlm", f"model.name={folder}"]).model
    words = {
        "untrained": True,
        "dtype": "float32",
        "gradient_checkpointing": False,
        "vision_cache": 0,
        "seed": 0,
        "temperature": 1.0,
    }
    with (
        mock.patch.object(policy_module, "load_processor", return_value=TextProcessor()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        policy: Policy = instantiate(cfg, **words)
    make_loud(policy.vlm)
    rows = [Row(id=str(i), question=text, answer="7", solution=None, images=()) for i, text in enumerate(TEXTS)]
    return model_refusals(LoadedModel(policy=policy, encoder=TextEncoder(policy), rows=rows, tolerance=0.1))  # type: ignore[arg-type]


class TextProcessor:
    """In the place of a class's own processor, which would need its tokenizer: texts alone."""

    image_token_ids: tuple[int, ...] = ()
    chat_template = None

    def __init__(self) -> None:
        self.tokenizer = llama_like(("<s>", "</s>", "<pad>"), eos="</s>", pad="<pad>", bos="<s>", writes_bos=False)

    def apply_chat_template(self, text: str) -> str:
        """As it is."""
        return text


class TextEncoder:
    """Prompts of text alone, as models/encoding.py makes them of rows."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.prompts = policy, self

    def process(self, row: Row) -> BatchFeature:
        """One prompt, as the model's own forward takes it."""
        return BatchFeature(
            dict(self._policy.processor.tokenizer([row.question], return_tensors="pt", return_token_type_ids=False))
        )

    def batch(self, rows: Sequence[Row], *, indices: Sequence[int], step: int) -> QueryBatch:
        """Left-padded."""
        encoded = [self.process(row)["input_ids"][0] for row in rows]
        width = max(map(len, encoded))
        ids = torch.full((len(rows), width), self._policy.pad_id)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        places = [self._policy.position_ids(of[None], torch.zeros_like(of[None]), {})[:, 0] for of in encoded]
        positions = torch.zeros(places[0].shape[0], len(rows), width, dtype=torch.long)
        for i, of in enumerate(encoded):
            ids[i, width - len(of) :], mask[i, width - len(of) :], positions[:, i, width - len(of) :] = of, True, places[i]
        return QueryBatch(
            rows=tuple(rows),
            indices=tuple(indices),
            step=step,
            query_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=torch.zeros_like(ids),
            position_ids=positions,
            next_positions=positions.amax(dim=(0, 2)) + 1,
            images=(None,) * len(rows),
        )
