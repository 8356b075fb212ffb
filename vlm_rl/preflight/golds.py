"""Each distinct gold judged once against itself and its near misses, and, where it is fit, remembered for the judge's version."""

import hashlib
from collections.abc import Iterable

from vlm_rl.preflight.cache import Cache
from vlm_rl.rewards.gold_check import check_golds
from vlm_rl.rewards.judge import JUDGE_VERSION, Judge

CHUNK = 2_000  # golds; each is judged against itself and three near misses


def unfit_golds(golds: Iterable[str], *, judge: Judge, dataset: str, cache: Cache) -> set[str]:
    """The golds that cannot be trained on; `dataset` names the file of the cache."""
    place = f"golds of {dataset}, judge {JUDGE_VERSION}"
    distinct = {_digest(gold): gold for gold in golds}
    known = cache.read(place)
    fit = {digest: True for digest in distinct if known.get(digest)}
    new = [(digest, gold) for digest, gold in distinct.items() if digest not in fit]
    for start in range(0, len(new), CHUNK):
        chunk = new[start : start + CHUNK]
        failing = set(check_golds(judge, [gold for _, gold in chunk]).failing)
        found = {digest: i not in failing for i, (digest, _) in enumerate(chunk)}
        fit |= found
    cache.add(place, {digest: True for digest, _ in new if fit[digest]})  # what failed may have met a busy judge
    return {gold for digest, gold in distinct.items() if not fit[digest]}


def _digest(gold: str) -> str:
    return hashlib.sha256(gold.encode(errors="surrogatepass")).hexdigest()[:32]
