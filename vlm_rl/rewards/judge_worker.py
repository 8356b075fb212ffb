r"""What runs in a judge's worker process: math-verify under limits that the kernel enforces. Imports no torch.

math-verify's own timeouts (signal.alarm) are off: CPU time is limited by RLIMIT_CPU, which also stops code that never
returns to Python. SIGXCPU keeps its default action, so the worker dies and the pool starts another.
"""

import contextlib
import importlib
import logging
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

MEMORY_LIMIT_BYTES = 1 << 30  # of address space; a worker that has imported SymPy uses about a third of it
PARENT_POLL_S = 0.5


def prepare_worker(parent_pid: int) -> None:
    """Once for each worker: watch the parent, import math-verify outside any budget, then limit memory."""
    threading.Thread(target=_exit_without_parent, args=(parent_pid,), daemon=True).start()
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    compare(r"\frac{\sqrt{16}}{2}", "2", cpu_s=60.0)  # fills SymPy's and the parser's tables
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower_limit(resource.RLIMIT_AS, MEMORY_LIMIT_BYTES)


def compare(gold: str, answer: str, *, cpu_s: float) -> str:
    """`correct`, `wrong` or `unparsable` by math-verify. Both texts are normalised LaTeX without dollars."""
    with _cpu_limit(cpu_s):
        parsed_gold, parsed_answer = _parse(gold), _parse(answer)
        if not parsed_gold or not parsed_answer:
            return "unparsable"
        is_equal = _math_verify().verify(parsed_gold, parsed_answer, timeout_seconds=None)  # the gold comes first
        return "correct" if is_equal else "wrong"


def is_parsable(text: str, *, cpu_s: float) -> bool:
    """Whether math-verify makes an expression of `text`."""
    with _cpu_limit(cpu_s):
        return bool(_parse(text))


def loaded_modules() -> list[str]:
    """The names in this worker's `sys.modules`: a test looks for torch among them."""
    return list(sys.modules)


def _math_verify() -> Any:
    """Imported by workers only: the parent, which knows this module too, has no need of SymPy."""
    return importlib.import_module("math_verify")


def _parse(text: str) -> list[object]:
    """The expression as a list of one, or of none. Only LaTeX, only the whole text, no search for numbers in prose."""
    math_verify = _math_verify()
    normalisation = math_verify.LatexNormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    extraction = math_verify.LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalisation)
    parsed: list[object] = math_verify.parse(
        f"${text}$",
        extraction_config=[extraction],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return parsed


@contextlib.contextmanager
def _cpu_limit(cpu_s: float) -> Iterator[None]:
    """The kernel kills this process `cpu_s` CPU seconds from now, rounded up to a whole second."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + cpu_s)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))  # an idle worker must not run out


def _lower_limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _exit_without_parent(parent_pid: int) -> None:
    """PR_SET_PDEATHSIG follows the parent's *thread*, and pools start workers from threads: the parent is polled."""
    while os.getppid() == parent_pid:
        time.sleep(PARENT_POLL_S)
    os._exit(1)
