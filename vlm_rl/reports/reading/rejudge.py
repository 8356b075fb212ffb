"""Judges stored responses again, each distinct text once, so that another judge version needs no new run."""

import hashlib
import threading
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.rewards.judge import JUDGE_VERSION, Verdict

Judging = Callable[[Sequence[str], Sequence[str]], Sequence[Verdict]]  # (responses, golds) -> verdicts, as Judge.judge


class Rejudge:
    """Replaces the verdicts of sample rows. What was rewarded in training stays as it was: it is what the run learned from."""

    columns = ("response", "answer")  # what it reads of a file
    version = f"{JUDGE_VERSION}, judged again"

    def __init__(self, judge: Judging) -> None:
        self._judge = judge
        self._known: dict[bytes, str] = {}  # by digest: texts of millions of responses would not fit into memory
        self._lock = threading.Lock()  # a judge is no judge for two threads

    def __call__(self, samples: pa.Table) -> pa.Table:
        """The rows with the columns `verdict`, `accuracy` and, where it is there, `judge_version` as this judge says."""
        responses, golds = (samples[name].to_pylist() for name in self.columns)
        with self._lock:
            verdicts = pa.array(self._verdicts(responses, golds), pa.string())
        judged = {"verdict": verdicts, "accuracy": pc.cast(pc.equal(verdicts, Verdict.CORRECT.value), pa.float64())}
        judged["judge_version"] = pa.repeat(self.version, samples.num_rows)
        return pa.table({name: judged.get(name, samples[name]) for name in samples.column_names})

    def _verdicts(self, responses: Sequence[str], golds: Sequence[str]) -> list[str]:
        keys = [_key(response, gold) for response, gold in zip(responses, golds, strict=True)]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            verdicts = self._judge([responses[place] for place in new.values()], [golds[place] for place in new.values()])
            self._known |= {key: verdict.value for key, verdict in zip(new, verdicts, strict=True)}
        return [self._known[key] for key in keys]


def _key(response: str, gold: str) -> bytes:
    gold_bytes, response_bytes = (text.encode(errors="replace") for text in (gold, response))
    return hashlib.blake2b(b"%d:%b%b" % (len(gold_bytes), gold_bytes, response_bytes), digest_size=16).digest()
