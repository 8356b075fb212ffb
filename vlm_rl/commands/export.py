"""`python export.py`: trained weights as a folder that others load without vlm-rl, with a model card. The run is only read."""

import json
import math
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from vlm_rl.callbacks.saved_steps import check_whole
from vlm_rl.commands import errors, resolvers, trust
from vlm_rl.commands.build import plain
from vlm_rl.commands.evaluation_target import Target, find, taken_out
from vlm_rl.commands.export_folder import whole, write_record
from vlm_rl.commands.known_warnings import silence_known_warnings
from vlm_rl.commands.model_card import PACKAGED, Card, is_local
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.placement import with_room
from vlm_rl.commands.setting_types import check_arguments
from vlm_rl.commands.storable import restored
from vlm_rl.commands.stored_verdict import StoredVerdict, verdict_on
from vlm_rl.models.attention import portable
from vlm_rl.models.folder_files import ADAPTER_CONFIG, WEIGHTS
from vlm_rl.models.loading import check_weights, load_model, load_pretrained, load_processor
from vlm_rl.models.precision import declare
from vlm_rl.models.quantization import dequantise
from vlm_rl.models.trained_weights import MergeDifference, assembled, check_adapter_of, check_scale, merge
from vlm_rl.run_folder import RunFolder

SHARED = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")  # of a checkpoint; no pickles


@dataclass(frozen=True, kw_only=True)
class Request:
    """The keys of conf/export.yaml."""

    folder: str
    report: str | None
    base_model: str | None
    license: str | None
    merge: bool
    dtype: str | None
    accelerator: str = "auto"
    push: str | None
    private: bool


def main() -> None:
    """The console command."""
    resolvers.register()
    errors.explained(_main)


def _main() -> None:
    sys.argv, trusted = trust.taken_out(sys.argv)
    sys.argv, checkpoint = taken_out(sys.argv)

    @hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="export")
    def run(cfg: DictConfig) -> None:
        silence_known_warnings()
        if OmegaConf.is_missing(cfg, "folder"):
            raise ValueError("folder=... is missing: where the weights go, as in folder=my-adapter.")
        check_arguments(Request, cfg)
        export(find(checkpoint, trusted=trusted), request=Request(**plain(cfg)))

    run()


def export(target: Target, *, request: Request) -> Path:
    """Writes the folder, pushes it if asked, and says what was done."""
    api = None if request.push is None else _api(request.push, private=request.private)  # before anything is computed
    if target.run is None or target.weights is None:
        raise ValueError(
            "checkpoint=... names a vanilla model: there is nothing trained to share. Name a run or a checkpoint in it."
        )
    check_weights(target.weights)
    check_whole(target.weights)
    manifest: dict[str, Any] = RunFolder(path=target.run).manifest or {}
    trust.stored_config(manifest, file=target.run / "manifest.json", parts=("dataset", "model", "reward"))
    verdict = verdict_on(target, manifest=manifest, report=None if request.report is None else Path(request.report))
    folder = Path(request.folder)
    with whole(folder) as unfinished:
        card = _fill(unfinished, target=target, manifest=manifest, request=request, verdict=verdict)
        (unfinished / "README.md").write_text(card.text(request.push or folder.resolve().name), encoding="utf-8")
        write_record(unfinished, _record(card, target=target))
    print(f"{target.weights} -> {folder}\n{verdict.said}")
    if card.is_adapter and is_local(card.base) and card.base != PACKAGED:
        print(f"The base model is a folder of this machine, {card.base}. base_model=OWNER/NAME says where others find it.")
    if api is not None and request.push is not None:
        address = api.create_repo(request.push, private=request.private, exist_ok=True)
        api.upload_folder(repo_id=request.push, folder_path=str(folder), commit_message="Exported by vlm-rl")
        print(f"Pushed to {address}")
    return folder


def _fill(folder: Path, *, target: Target, manifest: dict[str, Any], request: Request, verdict: StoredVerdict) -> Card:
    """Weights and processor; returns what the card will say of them."""
    assert target.run is not None and target.weights is not None
    model = restored(manifest["config"], "model")
    name = PACKAGED if model["name"] == "tiny" else manifest["config"]["model"]["name"]
    is_adapter = (target.weights / ADAPTER_CONFIG).exists()
    processor = load_processor(model["name"], model["processor"])
    processor.save_pretrained(folder)
    merged: MergeDifference | None = None
    _check_fit(target.weights, model, is_adapter=is_adapter)
    if is_adapter and request.merge:
        merged = merge(
            lambda: base_of(model, seed=manifest["seed"], accelerator=request.accelerator),
            adapter=target.weights,
            processor=processor,
            prompt=manifest["config"]["dataset"]["prompt"],
            folder=folder,
            dtype=request.dtype or model["dtype"],
            attention=portable(model["attention"]),
            chat_template=model.get("chat_template") or {},
        )
    elif (target.weights / WEIGHTS).is_dir():
        whole_model = assembled(target.weights)
        whole_model.save_pretrained(folder)
        declare(whole_model, folder=folder)
    else:
        _copy(target.weights, folder=folder, base=request.base_model or name)
    return Card(
        manifest=manifest,
        run=target.run,
        generation_steps=target.generation_steps,
        verdict=verdict,
        base=request.base_model or name,
        license=request.license,
        is_adapter=is_adapter and not request.merge,
        merged=merged,
        num_parameters=num_parameters(folder),
    )


def _check_fit(weights: Path, model: Mapping[str, Any], *, is_adapter: bool) -> None:
    """Raises ValueError where a checkpoint holds something else than what its run trained."""
    lora = model.get("lora")
    if is_adapter != (lora is not None):
        raise ValueError(
            f"{weights} holds {'an adapter' if is_adapter else 'no adapter'}, but its run has model.lora={'set' if lora else 'null'} "
            "in manifest.json. Copy the checkpoint again, with all of its files."
        )
    if not is_adapter and (weights / WEIGHTS).is_dir():
        return  # checked when they are put together
    if not is_adapter:
        load_pretrained(str(weights), dtype="float32", attention=portable(model["attention"]))
        return
    if isinstance(lora, Mapping) and {"rank", "alpha"} <= lora.keys():  # a team may have a class of its own
        check_scale(weights, {"r": lora["rank"], "lora_alpha": lora["alpha"]})
    check_adapter_of(model["name"], weights)


def base_of(model: Mapping[str, Any], *, seed: int, accelerator: str = "auto") -> PreTrainedModel:
    """The model that a run began with, in float32, on a GPU that has room for it; weights in 4 bits as the numbers that they stand for."""
    quantization = model.get("quantization")
    base = load_model(
        model["name"],
        untrained=model["untrained"],
        dtype="float32",
        attention=portable(model["attention"]),
        root_seed=seed,
        quantization=quantization,
    )
    base = base if quantization is None else dequantise(base)
    device = with_room(accelerator, num_bytes=sum(p.nbytes for p in base.parameters()))
    moved: PreTrainedModel = base.to(device)
    return moved


def _copy(weights: Path, *, folder: Path, base: str) -> None:
    """The checkpoint's files that make the model; an adapter learns the name by which others find its base."""
    for pattern in SHARED:
        for file in weights.glob(pattern):
            shutil.copyfile(file, folder / file.name)  # safetensors writes for its owner alone
    if (weights / ADAPTER_CONFIG).exists():
        settings = json.loads((weights / ADAPTER_CONFIG).read_text())
        settings["base_model_name_or_path"] = base
        (folder / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True))


def num_parameters(folder: Path) -> int:
    """Numbers in all safetensors files of a folder, read from their headers."""
    return sum(_numbers(file) for file in folder.glob("*.safetensors"))


def _numbers(file: Path) -> int:
    try:
        with safe_open(file, framework="pt") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118 - no dict
    except SafetensorError as error:
        raise ValueError(f"{file.name} of the checkpoint is no safetensors file: {error}.") from None


def _record(card: Card, *, target: Target) -> dict[str, Any]:
    """What a program may want to know of the card."""
    kept = [
        "study",
        "variant",
        "seed",
        "arm",
        "algorithm",
        "config",
        "command",
        "git",
        "versions",
        "data",
        "status",
        "picked_step",
    ]
    return {
        "run": {key: card.manifest.get(key) for key in kept},
        "checkpoint": {"generation_steps": target.generation_steps, "chosen": target.chosen},
        "base_model": card.base,
        "merged": None if card.merged is None else asdict(card.merged),
        "verdict": asdict(card.verdict),
    }


def _api(name: str, *, private: bool) -> HfApi:
    """The hub, where there is an account, and no public repository in the place of a private one."""
    if get_token() is None:
        raise ValueError(
            "push=... needs an account on the Hugging Face hub and there is no token here: type `hf auth login`, or set HF_TOKEN. "
            "Without push=... the folder is made all the same."
        )
    api = HfApi()
    try:
        is_public = private and not api.repo_info(name).private
    except RepositoryNotFoundError:
        is_public = False
    if is_public:
        raise ValueError(
            f"push={name}: that repository is there and public, so that everybody would see what is pushed. "
            "private=false says that this is meant; or name another repository."
        )
    return api
