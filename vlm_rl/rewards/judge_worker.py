r"""The functions of a judge's worker process: math-verify under limits of the kernel. Imports no torch.

math-verify's own timeouts (signal.alarm) are off. RLIMIT_CPU limits CPU time and also stops code that never returns to Python.
SIGXCPU keeps its default action: the worker dies and the pool starts another.
"""

import contextlib
import logging
import math
import os
import resource
import threading
import time
from collections.abc import Iterator

from vlm_rl.rewards import algebra
from vlm_rl.rewards.comparison import verdict

MEMORY_LIMIT_BYTES = 1 << 30  # of address space; a worker that has imported SymPy uses about a third of it
PARENT_POLL_S = 0.5


def prepare_worker(parent_pid: int) -> None:
    """Run once in each worker: watch the parent, import math-verify without a limit, then limit memory."""
    threading.Thread(target=_exit_without_parent, args=(parent_pid,), daemon=True).start()
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    compare(r"\frac{\sqrt{16}}{2}", "2", cpu_s=60.0)  # fills the caches of SymPy and the parser
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower_limit(resource.RLIMIT_AS, MEMORY_LIMIT_BYTES)


def compare(gold: str, answer: str, *, cpu_s: float) -> str:
    """`correct`, `wrong` or `unparsable` by the rules of comparison.py, with algebra.py for expressions."""
    with _cpu_limit(cpu_s):
        try:
            return verdict(gold, answer, equal=algebra.equal)
        except (
            algebra.Unreadable,
            ArithmeticError,
            ValueError,
            TypeError,
            AttributeError,
            NotImplementedError,
            RecursionError,
        ):
            return "unparsable"  # \cot 0, (-1)!


def is_parsable(text: str, *, cpu_s: float) -> bool:
    """Whether algebra.py can parse `text`."""
    with _cpu_limit(cpu_s):
        try:
            algebra.parsed(text)
        except algebra.Unreadable:
            return False
        return True


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
    """Poll the parent. PR_SET_PDEATHSIG would follow its thread, and pools start workers from short-lived threads."""
    while os.getppid() == parent_pid:
        time.sleep(PARENT_POLL_S)
    os._exit(1)
