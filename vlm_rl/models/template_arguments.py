"""model.chat_template: arguments of a model's chat template, such as whether it lets the model think first."""

import inspect
from collections.abc import Mapping

from jinja2 import meta
from transformers import ProcessorMixin

from vlm_rl.models.template_trial import environment

_OURS = {"messages", "add_generation_prompt", "tools", "documents", "continue_final_message", "tokenize", "chat_template"}
_DATA = (bool, int, float, str)


def check_arguments(processor: ProcessorMixin, given: Mapping[str, object], *, name: str) -> None:
    """Raise ValueError for a key that the template never reads, one that is set elsewhere, and a value that is no plain data."""
    used = used_arguments(processor)
    taken = _OURS | set(inspect.signature(processor.apply_chat_template).parameters)
    for key, value in given.items():
        if key in taken:
            raise ValueError(f"model.chat_template.{key} is set by vlm-rl itself. Leave it out.")
        if key not in used:
            has = f"It reads {', '.join(sorted(used))}" if used else "It reads no arguments: leave model.chat_template empty"
            raise ValueError(f"model.chat_template.{key}: the chat template of model.name={name} does not read it. {has}.")
        if not all(isinstance(item, _DATA) for item in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError(f"model.chat_template.{key}={value!r} is no number, text, true, false or a list of those.")


def used_arguments(processor: ProcessorMixin) -> set[str]:
    """The names that the template reads and that neither it nor Transformers sets."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    template = template.get("default") if isinstance(template, dict) else template
    if not template:
        return set()
    jinja = environment()
    names = meta.find_undeclared_variables(jinja.parse(template)) - _OURS - jinja.globals.keys()
    return {name for name in names if not name.endswith("_token")}
