"""The README.md of exported weights: what they are, the verdict of a report, how to use them, how they were trained."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vlm_rl.commands.export_folder import RECORD
from vlm_rl.commands.stored_verdict import NOT_JUDGED, StoredVerdict
from vlm_rl.models.loading import resolve
from vlm_rl.models.trained_weights import MergeDifference
from vlm_rl.run_folder import RunFolder

PACKAGED = "vlm_rl/models/tiny/weights"  # where the base model lies that vlm-rl ships
LOADED_ALONE = 'model = AutoModelForImageTextToText.from_pretrained({folder}, dtype="auto")'
LOADED_ON_BASE = (
    'model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained({base}, dtype="auto"), {folder})'
)
USE = """\
{imports}

processor = AutoProcessor.from_pretrained({folder})
{loaded}
messages = [{{"role": "user", "content": [{{"type": "image", "image": Image.open("figure.png")}}, {{"type": "text", "text": {text}}}]}}]
inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"{more})
print(processor.decode(model.generate(**inputs, max_new_tokens={tokens})[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""


def line(value: object) -> str:
    """On one line, without what cannot be seen."""
    seen = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(seen.split())


def code(value: object) -> str:
    """A code span, its fence longer than any row of backticks within."""
    text = line(value)
    fence = "`" * (1 + max((len(row) for row in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else "none"


def code_cell(value: object) -> str:
    """The same for a cell of a table, which a bar would end; what is no text is shown as JSON."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "none" if shown == "null" else code(shown).replace("|", "\\|")


def prose(value: object) -> str:
    """A sentence or a title, in a cell or outside."""
    text = re.sub(r"([\\`*\[\]<>|~])", r"\\\1", line(value))
    text = re.sub(r"&(?=[#\w]+;)", r"\\&", text)  # would be one letter
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it means itself
    text = re.sub(r"^([#+=-])", r"\\\1", text)  # begins a heading or a list
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


@dataclass(frozen=True, kw_only=True)
class Card:
    """The contents of a model card."""

    manifest: Mapping[str, Any]  # the run's manifest
    run: Path
    generation_steps: int
    verdict: StoredVerdict
    base: str  # the name by which the base model is found
    license: str | None
    is_adapter: bool
    merged: MergeDifference | None
    num_parameters: int  # in the files that are shared

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's, resolved."""
        config: Mapping[str, Any] = self.manifest["config"]
        return config

    def text(self, name: str) -> str:
        """The whole README.md; `name` is where the weights will lie, a folder or a hub name."""
        environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False)
        environment.filters |= {"prose": prose, "code": code, "code_cell": code_cell}
        return environment.get_template("model_card.md.j2").render(
            header=ModelCardData(**self._header()).to_yaml(),
            title=name.rpartition("/")[2],
            what=self._what(),
            verdict=self.verdict,
            measured=() if self.verdict.outcome == NOT_JUDGED else tuple(self._measured()),
            use=self._use(name),
            use_note=" ".join(self._use_notes()),
            training=tuple(self._training()),
            manifest=self.manifest,
            record=RECORD,
        )

    def _header(self) -> dict[str, Any]:
        lora = ["lora", "peft"] if self.is_adapter else []
        known = not is_local(self.base)  # the hub knows no folders of ours
        return {
            "library_name": "peft" if self.is_adapter else "transformers",
            "pipeline_tag": "image-text-to-text",
            "tags": [*lora, "vlm-rl", line(self.manifest["algorithm"])],
            "datasets": [line(self._data())],
            "base_model": line(self.base) if known else None,
            "base_model_relation": ("adapter" if self.is_adapter else "finetune") if known else None,
            "license": None if self.license is None else line(self.license),
        }

    def _data(self) -> str:
        """The data's name on the hub, if they come from there."""
        path = str(self.config["dataset"]["source"].get("path", ""))
        return (
            path if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not Path(path).exists() else str(self.config["dataset"]["name"])
        )

    def _what(self) -> str:
        kind = "An adapter in PEFT's format for" if self.is_adapter else "A whole model, trained from"
        what = (
            f"{kind} {code(self.base)}: {code(self.manifest['algorithm'])} on {code(self.config['dataset']['name'])}, one seed."
        )
        if self.merged is None:
            return what
        return (
            f"{what} The trained adapter is in its weights, merged in float32 and rounded once to {self.merged.dtype}: log-probabilities "
            f"differ from those with the adapter beside the base by {self.merged.mean:.1g} nats in the mean, {self.merged.largest:.1g} "
            f"at most ({self.merged.num_tokens} tokens of one answer). What was measured in training was measured with the adapter."
        )

    def _use(self, folder: str) -> str:
        imports = ["from PIL import Image", "from transformers import AutoModelForImageTextToText, AutoProcessor"]
        if self.is_adapter:
            imports.insert(0, "from peft import PeftModel")
        if self.is_adapter and self.base == PACKAGED:
            imports += ["from vlm_rl.models.loading import resolve"]
        base = 'resolve("tiny")' if self.base == PACKAGED else _quoted(self.base)
        dataset = self.config["dataset"]
        return USE.format(
            imports="\n".join(imports),
            loaded=(LOADED_ON_BASE if self.is_adapter else LOADED_ALONE).format(base=base, folder=_quoted(folder)),
            folder=_quoted(folder),
            text=_quoted(dataset["prompt"].replace("{question}", "YOUR QUESTION")),
            tokens=dataset["max_new_tokens"],
            more="".join(f", {key}={value!r}" for key, value in (self.config["model"].get("chat_template") or {}).items()),
        )

    def _use_notes(self) -> Iterator[str]:
        yield "On a GPU: `.to('cuda')` for model and inputs. Sampling follows the base model's generation config."
        if self.is_adapter and self.base == PACKAGED:
            yield f"The base model is part of vlm-rl; in its repository it is the folder {code(PACKAGED)}."
        elif self.is_adapter and is_local(self.base):
            yield f"The base model is a folder of the machine where it was trained, {code(self.base)}: put in yours."
        if (model := self.config["model"]).get("quantization") and self.is_adapter:
            yield (
                "In training the linear layers of the base's language part, its LM head apart, were in 4 bits. `quantization_config="
                'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype='
                f'"{model["dtype"]}", llm_int8_skip_modules=[...])` loads the same base; the list names tower, connector and LM head.'
            )
        if budget := self.config["dataset"].get("max_pixels"):
            yield f"In training, pictures of more than {budget:,} pixels were shrunk to that first; larger ones are new to it."

    def _measured(self) -> Iterator[tuple[str, str, str]]:
        """(split and setting, before, after), as the run itself measured them."""
        lines = [line for line in RunFolder(path=self.run).lines("metrics.jsonl") if line["event"] == "evaluation"]
        by_step = {line["generation_steps"]: line for line in lines}
        before, after = by_step.get(0, {}), by_step.get(self.generation_steps, {})
        for key, value in after.items():
            if key.endswith("/accuracy") and value is not None and before.get(key) is not None:
                name = key.removesuffix("/accuracy").replace("/", ", ")
                yield name, f"{100 * before[key]:.1f} %", f"{100 * value:.1f} %"

    def _training(self) -> Iterator[tuple[str, object]]:
        model, dataset, reward = (self.config[group] for group in ("model", "dataset", "reward"))
        yield "algorithm", self.manifest["algorithm"]
        yield "data", f"{dataset['name']}, rows {self.manifest['data']['train']}"
        yield "prompt", dataset["prompt"]
        weights = {"accuracy": reward["accuracy_weight"]} | {name: term["weight"] for name, term in reward["terms"].items()}
        yield "reward, weights", weights
        yield "steps", f"{self.generation_steps} generation steps of {dataset['batch_size']} questions"
        yield "learning rate", model["optimization"]["learning_rate"]
        yield "frozen parts", list(model["freeze"])
        yield "LoRA", model["lora"] and {key: value for key, value in model["lora"].items() if key != "_target_"}
        packed = model.get("quantization")
        yield "dtype of the base in training", f"{model['dtype']}, its language part in {packed}" if packed else model["dtype"]
        yield "parameters in these files", f"{self.num_parameters:,}"
        yield "seed", self.manifest["seed"]
        yield "arm", self.manifest["arm"]
        yield "commit of vlm-rl", self.manifest["git"]["commit"]


def is_local(base: str) -> bool:
    """Whether the base model is a folder, which others do not have."""
    return base == PACKAGED or Path(resolve(base)).is_dir()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a string of JSON is one of Python
