"""Every prompt of every model config, with that family's own template and processor: what is in it, and how long it is."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from families.idefics import LLAMA_TILE
from families.trials import CONFIGS, processed
from hydra.utils import instantiate
from tiny_runs import Sheet
from transformers import ProcessorMixin

from vlm_rl.commands.build import composed
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts

FAMILY_OF = {  # of each file in conf/model; None: its weights are here
    **{option: family for family, option in CONFIGS.items()},
    "vlm": "qwen2_5_vl",  # what the others inherit
    "tiny": None,
    "tiny_untrained": None,
    "qwen2_vl_2b": "qwen2_vl",
    "qwen2_5_vl_3b": "qwen2_5_vl",
    "qwen2_5_vl_7b": "qwen2_5_vl",
    "qwen3_vl_8b": "qwen3_vl",
    "qwen3_5_27b": "qwen3_5",
    "glm4_6v": "glm4v_moe",
    "gemma4_26b_a4b": "gemma4",
    "aya_vision_8b": "aya_vision",
    "idefics3_8b": "idefics3",
}
NO_SMALL_MODEL = {"gemma3n_e4b"}  # its tower comes from timm, which the tests do not need otherwise
MODELS = sorted({path.stem for path in Path(CONF_DIR, "model").glob("*.yaml")} - NO_SMALL_MODEL)  # each needs its family above
DATASETS = sorted(path.stem for path in Path(CONF_DIR, "dataset").glob("*.yaml"))
ENDINGS = (
    *("<|im_start|>assistant\n", "<start_of_turn>model\n", "Assistant:", "<|assistant|>\n", "<think>\n", "<think>"),
    *("<|turn>model\n", "ASSISTANT:", "[/INST]", "<|CHATBOT_TOKEN|>", "<|header_start|>assistant<|header_end|>\n"),
)
IDEFICS3_TILE = 364  # pixels, of the published model
SIZES = ((28, 28), (57, 331), (640, 480), (1000, 100))  # width, height


@pytest.fixture(scope="session")
def processor_of(family_folder: Callable[[str], Path]) -> Callable[[str], ProcessorMixin]:
    """The processor of a model config, with the settings that the config has for it; sizes in tiles of the small family."""

    @cache
    def load(option: str) -> ProcessorMixin:
        model, family = composed([f"model={option}"]).model, FAMILY_OF[option]
        settings = {str(key): value for key, value in model.processor.items()}
        if "size" in settings:
            assert family == "idefics3"
            settings["size"] = {edge: pixels * LLAMA_TILE // IDEFICS3_TILE for edge, pixels in settings["size"].items()}
        return load_processor(model.name if family is None else str(family_folder(family)), settings)

    return load


@pytest.fixture(scope="session")
def datasets() -> list[Dataset]:
    """The prompt texts of all data sets over the embedded one; nobody asks for their rows."""
    embedded = instantiate(composed(["dataset=micro_geometry"]).dataset)
    return [replace(embedded, name=name, prompt=composed([f"dataset={name}"]).dataset.prompt) for name in DATASETS]


@pytest.mark.slow
@pytest.mark.parametrize("option", MODELS)
def test_question_and_images_are_in_the_prompt(
    option: str, processor_of: Callable[[str], ProcessorMixin], datasets: list[Dataset], mixed_rows: list[Row]
) -> None:
    processor = processor_of(option)
    marker = processor.image_token
    for dataset in datasets:
        for row in mixed_rows:
            text = Prompts(processor=processor, dataset=dataset).render(row)
            assert text.endswith(ENDINGS)
            assert text.count(marker) == len(row.images)
            pieces = [piece.strip() for piece in dataset.prompt_for(row).split(IMAGE_MARKER)]
            places = [text.index(piece) for piece in pieces if piece]
            assert places == sorted(places)
            if FAMILY_OF[option] == "llava_onevision":  # its template puts the images first
                assert row.images == () or text.rindex(marker) < places[0]
            else:
                found = [piece.strip() for piece in text.split(marker)]
                assert all(piece in around for piece, around in zip(pieces, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("option", MODELS)
def test_lengths_are_those_of_the_ids_that_transformers_makes(
    option: str, processor_of: Callable[[str], ProcessorMixin], datasets: list[Dataset], mixed_rows: list[Row]
) -> None:
    processor, dataset = processor_of(option), replace(datasets[0], max_pixels=None)
    prompts = Prompts(processor=processor, dataset=dataset)
    odd = [Sheet(i, width=width, height=height) for i, (width, height) in enumerate(SIZES)]
    rows = [*mixed_rows, *(replace(mixed_rows[1], images=(image,)) for image in odd)]
    rows.append(replace(mixed_rows[1], question="<image> and <image><image>\n<image>?", images=tuple(odd)))
    ids = [processed(processor, [dataset.prompt_for(row)], [row])["input_ids"][0] for row in rows]
    for row, expected, length in zip(rows, ids, prompts.lengths(rows), strict=True):
        assert prompts.process(row)["input_ids"][0].tolist() == expected.tolist()
        assert length.total == len(expected)
        assert length.image == sum(int(i) in processor.image_token_ids for i in expected)


@pytest.mark.slow
def test_a_pixel_budget_shortens_prompts_and_pictures_alike(
    processor_of: Callable[[str], ProcessorMixin], datasets: list[Dataset], mixed_rows: list[Row]
) -> None:
    row = replace(mixed_rows[1], images=(Sheet(0, width=640, height=480),))
    whole, half = (Prompts(processor=processor_of("qwen"), dataset=replace(datasets[0], max_pixels=n)) for n in (None, 76_800))
    assert whole.lengths([row])[0].image == 23 * 17  # 644 x 476 in cells of 28 x 28
    assert half.lengths([row])[0].image == 11 * 9  # 320 x 240, to 308 x 252
    assert (half.process(row)["input_ids"] == processor_of("qwen").image_token_id).sum() == 11 * 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "size", "num_tokens"),
    [
        ("internvl3_2b", (84, 56), 4 * (3 * 2 + 1)),  # up to 6 tiles and the whole
        ("idefics3_8b", (200, 200), 4 * (3 * 3 + 1)),  # the small idefics3, as smolvlm; 4 tokens a tile
        ("smolvlm", (200, 200), 4 * (2 * 2 + 1)),
        ("lfm2_vl_1_6b", (320, 64), 4 * 5 + 7),  # not 4 x 1 tiles, the small lfm2_vl's own; the whole as 112 x 16
    ],
)
def test_processor_settings_of_a_model_config_say_how_many_tiles_a_picture_gets(
    option: str,
    size: tuple[int, int],
    num_tokens: int,
    processor_of: Callable[[str], ProcessorMixin],
    datasets: list[Dataset],
    mixed_rows: list[Row],
) -> None:
    row = replace(mixed_rows[1], images=(Sheet(0, width=size[0], height=size[1]),))
    prompts = Prompts(processor=processor_of(option), dataset=replace(datasets[0], max_pixels=None))
    written = prompts.process(row)["input_ids"][0].tolist()
    assert written.count(processor_of(option).image_token_id) == num_tokens
