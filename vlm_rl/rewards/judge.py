r"""The verifier: is the last `\boxed{}` of a response equal to the gold answer? It never sees the question.

docs/judge.md explains the rules with examples. Where each rule is implemented, in the order in which they apply:

1. The last box, too long, nothing to read: boxed.py, answers.py. No box and nothing readable are UNPARSABLE, too long is WRONG.
2. One spelling for texts that look the same: characters.py, latex.py.
3. Options by letter: options.py.
4. Names, equations and relations: names.py.
5. Units, degrees, per cent: units.py. A unit on one side only is ignored. Nothing is converted.
6. Lists, points, sets, matrices: splitting.py.
7. Ranges, dates, times, ratios, sequences, bases, products: forms.py.
8. Plain numbers, exactly and in this process: exact_numbers.py.
9. Algebra, in a worker process: expressions.py recognises it, algebra.py compares it.
10. Everything else is text: comparison.py, which also applies the rules in order.

An answer is TIMED_OUT, and not correct, if its algebra takes more than `timeout_s` CPU seconds (rounded up to whole seconds; the
load of the machine has no effect), takes more than 1 GiB, or kills its worker.
"""

import enum
import importlib.metadata
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from vlm_rl.rewards import judge_worker
from vlm_rl.rewards.answers import Part, read_gold
from vlm_rl.rewards.boxed import last_boxed
from vlm_rl.rewards.comparison import verdict
from vlm_rl.rewards.expressions import is_expression
from vlm_rl.rewards.judge_pool import WorkerPool

RULES_VERSION: Final = "2"  # goes up with every change of a rule above
JUDGE_VERSION: Final = f"{RULES_VERSION}-math_verify-{importlib.metadata.version('math-verify')}"
CACHE_SIZE: Final = 65536  # verdicts, a few hundred bytes each

Pair = tuple[str, str]  # gold, and the content of the box


class Verdict(enum.Enum):
    """The result for one response. Only CORRECT is rewarded."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # no readable answer
    TIMED_OUT = "timed_out"  # the answer exceeded CPU time or memory, or killed its worker


class Judge:
    """Judge responses against golds. Worker processes start when an answer first needs them; `close()` ends them."""

    def __init__(self, *, num_workers: int = 1, timeout_s: float = 2.0) -> None:
        if num_workers < 1 or timeout_s <= 0:
            raise ValueError(
                f"A judge needs num_workers >= 1 and timeout_s > 0 (CPU seconds for one answer), got {num_workers} and "
                f"{timeout_s}. Set them by reward.judge.num_workers=1 reward.judge.timeout_s=2."
            )
        self._pool = WorkerPool(num_workers=num_workers, cpu_s=timeout_s)
        self._timeout_s = timeout_s
        self._cache: dict[Pair, Verdict] = {}  # the oldest first

    def judge(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """One verdict for each response, in order. Never raises for what a text contains."""
        if len(responses) != len(golds):
            raise ValueError(f"{len(responses)} responses but {len(golds)} golds: give one gold for each response.")
        pairs = [(gold, last_boxed(response) or "") for response, gold in zip(responses, golds, strict=True)]
        known = {pair: self._without_worker(pair) for pair in dict.fromkeys(pairs)}
        by_worker = self._by_worker([pair for pair, verdict in known.items() if verdict is None])
        return [known[pair] or by_worker[pair] for pair in pairs]

    def are_parsable(self, golds: Sequence[str]) -> list[bool]:
        """Whether each gold can be read. With an unreadable gold every answer would be wrong."""
        texts = {gold: [text for part in read_gold(gold).parts for text in _expressions(part)] for gold in golds}
        tasks = [(text,) for text in dict.fromkeys(chain.from_iterable(texts.values()))]
        found = self._pool.map(partial(judge_worker.is_parsable, cpu_s=self._timeout_s), tasks)
        parsable = {text for (text,), is_parsable in zip(tasks, found, strict=True) if is_parsable}
        return [read_gold(gold).is_readable and parsable.issuperset(texts[gold]) for gold in golds]

    def close(self) -> None:
        """End the worker processes. The judge stays usable: it starts new ones when it needs them."""
        self._pool.close()

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _without_worker(self, pair: Pair) -> Verdict | None:
        """The verdict from the cache or by rules without algebra; None where algebra is needed."""
        if pair in self._cache:
            return self._cache[pair]
        try:
            return self._remember(pair, Verdict(verdict(*pair, equal=_needs_worker)))
        except _NeedsWorker:
            return None

    def _by_worker(self, pairs: list[Pair]) -> dict[Pair, Verdict]:
        results = self._pool.map(partial(judge_worker.compare, cpu_s=self._timeout_s), pairs)
        verdicts = [Verdict.TIMED_OUT if result is None else Verdict(result) for result in results]
        return {pair: self._remember(pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)}

    def _remember(self, pair: Pair, verdict: Verdict) -> Verdict:
        if len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        self._cache[pair] = verdict
        return verdict


class _NeedsWorker(Exception):
    pass


def _needs_worker(gold: Sequence[str], answer: Sequence[str]) -> bool:
    raise _NeedsWorker


def _expressions(part: Part) -> list[str]:
    """The texts of a part that algebra.py has to parse."""
    if part.elements:
        return [text for element in part.elements for text in _expressions(element)]
    if part.form is not None or part.value is not None:
        return []
    return [text for text in part.relation[::2] or (part.text,) if is_expression(text)]
