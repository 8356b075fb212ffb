"""What a model may be named, and which settings its processor takes; the rest is told in words before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_rl.models import loading
from vlm_rl.models.loading import load_config, load_pretrained, load_processor, load_untrained, resolve

WAYS_OUT = (
    r"is an adapter .* of someone/base, not a whole model\. .*evaluate\.py checkpoint=RUN.*export\.py checkpoint=RUN merge=true"
)
LOADS: list[Callable[[str], object]] = [
    load_config,
    lambda name: load_processor(name, {}),
    lambda name: load_pretrained(name, dtype="float32", attention="sdpa"),
    lambda name: load_untrained(name, dtype="float32", attention="sdpa", root_seed=0),
]
LEGAL = {  # by family: settings of its images, of its processor and of the way it is loaded
    "qwen2_vl": {"min_pixels": 3136, "max_pixels": 100_352, "use_fast": True},
    "qwen2_5_vl": {"size": {"shortest_edge": 3136, "longest_edge": 100_352}, "model_max_length": 4096},
    "qwen3_vl": {"min_pixels": 3136, "max_pixels": 100_352, "backend": "torchvision"},
    "gemma3": {"do_pan_and_scan": True, "pan_and_scan_max_num_crops": 2, "image_seq_length": 4},
    "smolvlm": {"do_image_splitting": False, "size": {"longest_edge": 42}, "image_seq_len": 4},
    "idefics3": {"do_image_splitting": False, "max_image_size": {"longest_edge": 28}},
    "llava_onevision": {"image_grid_pinpoints": [[28, 28], [28, 56]], "vision_aspect_ratio": "anyres_max_9"},
    "internvl": {"max_patches": 2, "min_patches": 1, "crop_to_patches": False, "revision": "main"},
}


def adapter_config(folder: Path) -> Path:
    """As PEFT writes it."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "someone/base"}))
    return file


@pytest.mark.parametrize("load", LOADS)
def test_an_adapter_in_a_folder_or_on_the_hub_is_told_with_the_ways_to_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]
) -> None:
    (tmp_path / "alone").mkdir()
    for folder in (tmp_path / "alone", Path(shutil.copytree(resolve("tiny"), tmp_path / "beside a model"))):
        file = adapter_config(folder)  # beside a model Transformers would add the adapter to it in silence
        with pytest.raises(ValueError, match=WAYS_OUT):
            load(str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # whatever the machine reaches
    monkeypatch.setattr(loading, "find_adapter_config_file", {"someone/adapter": str(file)}.get)
    with pytest.raises(ValueError, match=WAYS_OUT):
        load("someone/adapter")
    with pytest.raises((OSError, ValueError)) as told:
        load("someone/nothing")
    assert "adapter" not in str(told.value)


def test_legal_settings_of_each_family_are_taken(family: str, family_folder: Callable[[str], Path]) -> None:
    processor = load_processor(str(family_folder(family)), LEGAL[family])
    known = {**vars(processor.image_processor), **vars(processor), **processor.tokenizer.init_kwargs}
    assert all(key in known for key in LEGAL[family] if key not in ("use_fast", "backend", "revision"))


@pytest.mark.parametrize(
    ("of", "wrong", "hint"),
    [
        ("internvl", {"max_patchez": 2}, r"Did you mean max_patches\?"),
        ("qwen2_5_vl", {"do_image_splitting": False}, r"no such setting"),  # SmolVLM's
        ("gemma3", {"images_kwargs": {"do_pan_and_scan": True}}, r"no such setting"),  # only a call takes it
        ("smolvlm", {"xyzzy": 1}, r"For images it has .*do_image_splitting, .*size"),
    ],
)
def test_a_setting_that_no_class_knows_is_an_error_with_the_nearest_name(
    family_folder: Callable[[str], Path], of: str, wrong: dict[str, object], hint: str
) -> None:
    with pytest.raises(ValueError, match=rf"model\.processor\.{next(iter(wrong))}: \w+Processor with \w+ has .*{hint}"):
        load_processor(str(family_folder(of)), wrong)
