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

An answer is TIMED_OUT, and not correct, if its algebra takes more than `timeout_s` CPU seconds in a fresh process (the load of the
machine has no effect), takes more than 1 GiB, or crashes. It is TIMED_OUT for this time, and not remembered, if it was not judged:
the batch had used up `budget_s`, or something outside killed its process three times.
"""

import enum
import importlib.metadata
import logging
import math
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeVar

from vlm_rl.rewards import judge_worker
from vlm_rl.rewards.answers import Part, read_gold
from vlm_rl.rewards.boxed import last_boxed
from vlm_rl.rewards.comparison import verdict
from vlm_rl.rewards.expressions import is_expression
from vlm_rl.rewards.judge_batch import Failure
from vlm_rl.rewards.judge_pool import WorkerPool

RULES_VERSION: Final = "3"  # goes up with every change of a rule above
JUDGE_VERSION: Final = f"{RULES_VERSION}-math_verify-{importlib.metadata.version('math-verify')}"
CACHE_SIZE: Final = 65536  # verdicts, a few hundred bytes each

NOT_JUDGED: Final = (Failure.LOST, Failure.OVER_BUDGET)
NOT_JUDGED_WARNING: Final = (
    "%d of %d responses were not judged and count as wrong: answers that exceed reward.judge.timeout_s used up "
    "reward.judge.budget_s, or something killed the judge's processes again and again. Raise reward.judge.budget_s, or give "
    "the machine more memory (`dmesg` shows what its kernel killed)."
)

T = TypeVar("T")
Pair = tuple[str, str]  # gold, and the content of the box

_log = logging.getLogger(__name__)


class Verdict(enum.Enum):
    """The result for one response. Only CORRECT is rewarded."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # no readable answer
    TIMED_OUT = "timed_out"  # the answer exceeded CPU time or memory, crashed, or was not judged


class Judge:
    """Judge responses against golds. Worker processes start when an answer first needs them; `close()` ends them."""

    def __init__(self, *, num_workers: int = 1, timeout_s: float = 2.0, budget_s: float = 300.0) -> None:
        if num_workers < 1 or timeout_s <= 0 or budget_s < timeout_s:
            raise ValueError(
                f"A judge needs num_workers >= 1, timeout_s > 0 (CPU seconds for one answer) and budget_s >= timeout_s (for the "
                f"answers of one batch that exceed it), got {num_workers}, {timeout_s} and {budget_s}. Set them by "
                "reward.judge.num_workers=1 reward.judge.timeout_s=2 reward.judge.budget_s=300."
            )
        self.num_not_judged = 0  # responses of the last call of judge()
        self._pool = WorkerPool(num_workers=num_workers, cpu_s=timeout_s)
        self._max_limits = math.ceil(budget_s / timeout_s)
        self._by_rules: dict[Pair, Verdict | None] = {}  # None: algebra is needed. The oldest first, here and below
        self._by_algebra: dict[Pair, str | Failure] = {}

    def judge(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """One verdict for each response, in order. Never raises for what a text contains.

        After answers that exceed their limit have used up `budget_s`, those behind them in the batch that need algebra are not
        judged, whether remembered or not: so a resumed run decides as one that was never stopped. `num_not_judged` counts them.
        """
        if len(responses) != len(golds):
            raise ValueError(f"{len(responses)} responses but {len(golds)} golds: give one gold for each response.")
        pairs = [(gold, last_boxed(response) or "") for response, gold in zip(responses, golds, strict=True)]
        known = {pair: self._without_worker(pair) for pair in dict.fromkeys(pairs)}
        found = self._with_worker([pair for pair, verdict in known.items() if verdict is None])
        self.num_not_judged = sum(found.get(pair) in NOT_JUDGED for pair in pairs)
        if self.num_not_judged:
            _log.warning(NOT_JUDGED_WARNING, self.num_not_judged, len(pairs))
        return [known[pair] or _verdict_of(found[pair]) for pair in pairs]

    def are_parsable(self, golds: Sequence[str]) -> list[bool]:
        """Whether each gold can be read. With an unreadable gold every answer would be wrong."""
        texts = {gold: [text for part in read_gold(gold).parts for text in _expressions(part)] for gold in golds}
        tasks = [(text,) for text in dict.fromkeys(chain.from_iterable(texts.values()))]
        found = self._pool.map(judge_worker.is_parsable, tasks)
        parsable = {text for (text,), is_parsable in zip(tasks, found, strict=True) if is_parsable is True}
        return [read_gold(gold).is_readable and parsable.issuperset(texts[gold]) for gold in golds]

    def close(self) -> None:
        """End the worker processes. The judge stays usable: it starts new ones when it needs them."""
        self._pool.close()

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _without_worker(self, pair: Pair) -> Verdict | None:
        """The verdict by rules without algebra; None where algebra is needed."""
        if pair not in self._by_rules:
            try:
                found = Verdict(verdict(*pair, equal=_needs_worker))
            except _NeedsWorker:
                found = None
            _remember(self._by_rules, pair, found)
        return self._by_rules[pair]

    def _with_worker(self, pairs: Sequence[Pair]) -> dict[Pair, str | Failure]:
        """What the workers say of distinct pairs, or said before."""
        known = {place: self._by_algebra[pair] for place, pair in enumerate(pairs) if pair in self._by_algebra}
        results = self._pool.map(judge_worker.compare, pairs, known=known, max_limits=self._max_limits)
        for place, (pair, result) in enumerate(zip(pairs, results, strict=True)):
            if place not in known and result not in NOT_JUDGED:
                _remember(self._by_algebra, pair, result)
        return dict(zip(pairs, results, strict=True))


class _NeedsWorker(Exception):
    pass


def _needs_worker(gold: Sequence[str], answer: Sequence[str]) -> bool:
    raise _NeedsWorker


def _verdict_of(result: str | Failure) -> Verdict:
    return Verdict.TIMED_OUT if isinstance(result, Failure) else Verdict(result)


def _remember(cache: dict[Pair, T], pair: Pair, value: T) -> None:
    if len(cache) >= CACHE_SIZE:
        del cache[next(iter(cache))]
    cache[pair] = value


def _expressions(part: Part) -> list[str]:
    """The texts of a part that algebra.py has to parse."""
    if part.elements:
        return [text for element in part.elements for text in _expressions(element)]
    if part.form is not None or part.value is not None:
        return []
    return [text for text in part.relation[::2] or (part.text,) if is_expression(text)]
