"""MiniCPM-V 4.6 and 4.7: numbered images cut into slices; the tower merges patches midway and at its end; Qwen3.5's decoder."""

from functools import partial

from transformers import (
    MiniCPMV4_6Config,
    MiniCPMV4_6ImageProcessor,
    MiniCPMV4_6Processor,
    MiniCPMV4_6VideoProcessor,
    MiniCPMV4_7Config,
    MiniCPMV4_7Processor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.qwen import rope
from families.qwen3_5 import LINEAR
from families.tokens import qwen_like

NAMED = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *NAMED.values())
PATCH, SCALE = 14, 56  # pixels
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '<|image_pad|>\n' if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
CLASSES = {  # of a name: both have the same image processor
    "minicpmv4_6": (MiniCPMV4_6Config, MiniCPMV4_6Processor),
    "minicpmv4_7": (MiniCPMV4_7Config, MiniCPMV4_7Processor),
}


def _processor(tokenizer: PreTrainedTokenizerBase, *, name: str) -> ProcessorMixin:
    sizes = {"scale_resolution": SCALE, "patch_size": PATCH, "max_slice_nums": 4}
    images, videos = MiniCPMV4_6ImageProcessor(**sizes), MiniCPMV4_6VideoProcessor(**sizes)
    made: ProcessorMixin = CLASSES[name][1](images, videos, tokenizer, chat_template=TEMPLATE)
    return made


def _config(tokenizer: PreTrainedTokenizerBase, *, name: str) -> PreTrainedConfig:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": SCALE,
        "patch_size": PATCH,
    }
    turning = rope(mrope_interleaved=True, mrope_section=[2, 1, 1], partial_rotary_factor=0.5)
    layers = ["linear_attention", "full_attention", "linear_attention"]
    text = text_config(tokenizer, "qwen3_5_text", head_dim=16, rope_parameters=turning, **{"layer_types": layers, **LINEAR})
    made: PreTrainedConfig = CLASSES[name][0](
        text_config=text,
        vision_config=vision,
        insert_layer_id=1,
        image_size=SCALE,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
    )
    return made


FAMILIES = {
    name: Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>", named=NAMED),
        processor=partial(_processor, name=name),
        config=partial(_config, name=name),
        stop_tokens=("<|im_end|>", "<|endoftext|>"),
    )
    for name in CLASSES
}
