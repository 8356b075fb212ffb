"""A model's chat templates are programs: each is tried in a process with limits before one is rendered in this process.

Jinja's sandbox keeps a template from files and modules, but not from loops and memory without end. Tried are two prompts as
runs make them. Not covered: a template that is quick for these and slow for others, and one that depends on the clock or on chance.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from transformers import ProcessorMixin

from vlm_rl.models.template_trial import FAILS

CPU_SECONDS = 10
PATIENCE_S = 120.0  # by the clock, on a machine that does much else
NUM_BYTES = 2**30  # beyond what the process takes at its start
MAX_TEMPLATE_CHARS = 2**20
MAX_CHARS = 2**20  # of a rendered prompt
TRIAL = Path(__file__).with_name("template_trial.py")
WAY_OUT = "Correct that template, or take another model."


def check_templates(name: str, folder: Path, processor: ProcessorMixin) -> None:
    """Raises ValueError for a template of processor or tokenizer that takes too much with a first prompt, and for the one that
    makes the prompts where it fails: others may need tools."""
    held = getattr(processor.tokenizer, "special_tokens_map", {})  # given to a template beside the messages
    texts = {key: str(value) for key, value in held.items() if value is not None and not isinstance(value, list | dict)}
    special, used = json.dumps(texts, sort_keys=True), getattr(processor, "chat_template", None)
    used = used.get("default") if isinstance(used, dict) else used
    for which, template in _templates(processor):
        wrong = _trial(template, special, CPU_SECONDS, NUM_BYTES)
        if wrong and (template == used or not wrong.startswith(FAILS)):
            raise ValueError(f"model.name={name}: the chat template{which} in {_origin(folder)} {wrong}. {WAY_OUT}")


def _templates(processor: ProcessorMixin) -> Iterator[tuple[str, str]]:
    """Each one and, where there are several, its name."""
    seen = set[str]()
    for holder in (processor, processor.tokenizer):
        held = getattr(holder, "chat_template", None)
        for which, template in held.items() if isinstance(held, dict) else [("", held)]:
            if isinstance(template, str) and template not in seen:
                seen.add(template)
                yield (f" {str(which)[:100]!r}" if which else ""), template


def _origin(folder: Path) -> str:
    """Those of the files that may hold the template which exist, in the order in which Transformers prefers them."""
    names = ("chat_template.jinja", "additional_chat_templates", "chat_template.json", "tokenizer_config.json")
    there = [name for name in names if (folder / name).exists()]
    return f"{folder} ({' or '.join(there)})" if there else f"{folder} (chat_template.jinja or tokenizer_config.json)"


@cache
def _trial(template: str, special: str, cpu_seconds: int, num_bytes: int) -> str:
    """What is wrong with it, as the end of a sentence; empty where nothing is."""
    if len(template) > MAX_TEMPLATE_CHARS:
        return f"has {len(template)} characters, where {MAX_TEMPLATE_CHARS} are allowed"
    order = {"template": template, "special": json.loads(special), "cpu_seconds": cpu_seconds}
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(TRIAL)],
            input=json.dumps(order | {"num_bytes": num_bytes, "max_chars": MAX_CHARS}),
            capture_output=True,
            text=True,
            env={key: value for key, value in os.environ.items() if key in ("PATH", "LD_LIBRARY_PATH")},
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"took over {PATIENCE_S:.0f} s for a first prompt"
    return _sentence(ended, cpu_seconds=cpu_seconds, num_bytes=num_bytes)


def _sentence(ended: "subprocess.CompletedProcess[str]", *, cpu_seconds: int, num_bytes: int) -> str:
    if ended.returncode == -signal.SIGXCPU:
        return f"took over {cpu_seconds} s of computing for a first prompt"
    if ended.returncode < 0:
        return f"ended the process that tried it (signal {-ended.returncode})"
    if ended.returncode == 0:
        answer: str = json.loads(ended.stdout)
        return answer
    last = (ended.stderr.strip().splitlines() or [""])[-1]
    if last.startswith("MemoryError"):
        return f"took over {num_bytes / 2**30:.3g} GiB of memory for a first prompt"
    return "nests or calls itself too deeply" if last.startswith("RecursionError") else f"could not be tried: {last[:300]}"
