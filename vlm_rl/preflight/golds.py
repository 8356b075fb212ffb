"""Each distinct gold judged once against itself and its near misses, and, where it is fit, remembered for the judge's version."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vlm_rl.datasets.shown import shown
from vlm_rl.preflight.cache import Cache
from vlm_rl.rewards.gold_check import check_golds
from vlm_rl.rewards.judge import JUDGE_VERSION, Judge

SHOWN = 3  # golds named in a sentence
CUT = r"""'dataset.source.answer_pattern="(-?\d+)"'"""  # as bash and Hydra want it
CHUNK = 2_000  # golds; each is judged against itself and three near misses


@dataclass(frozen=True, kw_only=True)
class JudgedGolds:
    """Golds that are not as they should be."""

    unfit: frozenset[str]  # cannot be trained on
    not_reached: tuple[str, ...]  # hold more than a model would write in a box

    def sentences(self, dataset: str) -> Iterator[str]:
        """What is said of golds that no usual answer reaches."""
        if self.not_reached:
            examples = ", ".join(map(shown, self.not_reached[:SHOWN]))
            yield (
                f"{dataset}: {len(self.not_reached)} answers hold a number among other things, such as {examples}: only an answer "
                f"with all of it is right, the number alone is not. If the number is the answer, cut it out: {CUT}. docs/judge.md."
            )


def unfit_golds(golds: Iterable[str], *, judge: Judge, dataset: str, cache: Cache) -> set[str]:
    """The golds that cannot be trained on; `dataset` names the file of the cache."""
    return set(judged_golds(golds, judge=judge, dataset=dataset, cache=cache).unfit)


def judged_golds(golds: Iterable[str], *, judge: Judge, dataset: str, cache: Cache) -> JudgedGolds:
    """What `check_golds` says of each distinct gold; `dataset` names the file of the cache."""
    place = f"golds of {dataset}, judge {JUDGE_VERSION}"
    distinct = {_digest(gold): gold for gold in golds}
    known = cache.read(place)
    fit = {digest: True for digest in distinct if known.get(digest)}
    new = [(digest, gold) for digest, gold in distinct.items() if digest not in fit]
    not_reached: list[str] = []
    for start in range(0, len(new), CHUNK):
        chunk = new[start : start + CHUNK]
        check = check_golds(judge, [gold for _, gold in chunk])
        failing = set(check.failing)
        fit |= {digest: i not in failing for i, (digest, _) in enumerate(chunk)}
        not_reached += [chunk[i][1] for i in check.not_reached]
    said = {_digest(gold) for gold in not_reached}  # again each time
    cache.add(
        place, {digest: True for digest, _ in new if fit[digest] and digest not in said}
    )  # what failed may have met a busy judge
    unfit = frozenset(gold for digest, gold in distinct.items() if not fit[digest])
    return JudgedGolds(unfit=unfit, not_reached=tuple(not_reached))


def _digest(gold: str) -> str:
    return hashlib.sha256(gold.encode(errors="surrogatepass")).hexdigest()[:32]
