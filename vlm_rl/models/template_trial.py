"""The child process of chat_templates.py: compiles one chat template and renders two prompts, within limits of time and memory.

Run as a script, isolated. It knows jinja2 alone, so that it starts in a tenth of a second: no torch, no Transformers. Its
environment is the one that Transformers builds (utils/chat_template_utils.py). It reads an order from stdin and writes an
answer to stdout, both JSON.
"""

import contextlib
import json
import resource
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

FAILS = "fails with a first prompt:"
MESSAGES = [  # one turn of text, one with an image: in parts, as vlm_rl.models.prompts writes them
    [{"role": "user", "content": [{"type": "text", "text": "What is 17 + 25? Think step by step."}]}],
    [
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "In the figure, AB = 17 and BC = 25.\nWhat is AC?"}],
        }
    ],
]


class _Generation(jinja2.ext.Extension):
    """The block `generation` of Transformers: only what is in it counts here."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
        """The statements up to endgeneration."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Dict:
    """`dict` without its attributes, but for fromkeys."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        """As dict.fromkeys."""
        return dict.fromkeys(*values)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """As Transformers has it."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = _tojson
    now = lambda format: datetime.now().strftime(format)  # noqa: E731
    made.globals |= {"raise_exception": _raise_exception, "strftime_now": now, "dict": _Dict()}
    return made


def limit(*, cpu_seconds: int, num_bytes: int) -> None:
    """From here on: the kernel ends what takes longer, and refuses memory beyond what is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    _lower(resource.RLIMIT_CPU, soft=cpu_seconds, hard=cpu_seconds + 1)
    space = pages * resource.getpagesize() + num_bytes
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit; time is limited all the same
        _lower(resource.RLIMIT_AS, soft=space, hard=space)
    _lower(resource.RLIMIT_CORE, soft=0, hard=0)


def _lower(which: int, *, soft: int, hard: int) -> None:
    """Never raises a limit that stands already."""
    _, old = resource.getrlimit(which)
    allowed = hard if old == resource.RLIM_INFINITY else min(hard, old)
    resource.setrlimit(which, (min(soft, allowed), allowed))


def problem(template: str, *, special: dict[str, str], max_chars: int) -> str:
    """What is wrong with the template, as the end of a sentence; empty where it renders one of the prompts."""
    compiled = environment().from_string(template)
    errors = []
    for messages in MESSAGES:
        num_chars = 0
        try:
            for piece in compiled.generate(
                messages=messages, tools=None, documents=None, add_generation_prompt=True, **special
            ):
                num_chars += len(piece)
                if num_chars > max_chars:
                    return f"writes over {max_chars} characters for a first prompt"
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a template may rightly want an image in each prompt
            errors.append(failure(error))
    return errors[0] if len(errors) == len(MESSAGES) else ""


def failure(error: Exception) -> str:
    """The same of an error of the template."""
    return f"{FAILS} {type(error).__name__}: {str(error)[:500]}"


def main() -> None:
    """One order. MemoryError and RecursionError end the process; chat_templates.py reads their names."""
    order = json.loads(sys.stdin.read())
    limit(cpu_seconds=order["cpu_seconds"], num_bytes=order["num_bytes"])
    try:
        answer = problem(order["template"], special=order["special"], max_chars=order["max_chars"])
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the template is no valid one
        answer = failure(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
