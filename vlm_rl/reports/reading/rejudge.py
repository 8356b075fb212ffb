"""Judges stored responses again, each distinct text once, so that another judge version needs no new run."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vlm_rl.reports.phrase import say, say_named
from vlm_rl.reports.reading.files import UnreadableRows, read_rows
from vlm_rl.rewards.boxed import last_boxed
from vlm_rl.rewards.judge import JUDGE_VERSION, Verdict

Judging = Callable[[Sequence[str], Sequence[str]], Sequence[Verdict]]  # (responses, golds) -> verdicts, as Judge.judge

RIGHT = Verdict.CORRECT.value
SAMPLE = ("row_id", "sample")  # what no file has twice
CHANGED_KEPT = 8  # examples that a sum keeps; a report shows no more of an arm
LONGEST_SHOWN = 200  # characters of an answer


@dataclass(frozen=True, kw_only=True)
class ChangedVerdict:
    """One answer that the judge of this version takes otherwise."""

    gold: str
    answer: str  # what was boxed last, or the end of a response without a box; cut
    stored: str
    now: str


@dataclass(frozen=True, kw_only=True)
class VerdictChanges:
    """What judging again changed; it adds up over files."""

    num_judged: int = 0
    num_to_wrong: int = 0  # right before, now not
    num_to_right: int = 0
    num_other: int = 0  # as from unparsable to wrong: no accuracy changes
    stored_versions: frozenset[str] = frozenset()
    examples: tuple[ChangedVerdict, ...] = ()  # each once; those that change an accuracy first

    def __add__(self, other: "VerdictChanges") -> "VerdictChanges":
        both = dict.fromkeys((*self.examples, *other.examples))
        examples = sorted(both, key=lambda change: RIGHT not in (change.stored, change.now))
        return VerdictChanges(
            num_judged=self.num_judged + other.num_judged,
            num_to_wrong=self.num_to_wrong + other.num_to_wrong,
            num_to_right=self.num_to_right + other.num_to_right,
            num_other=self.num_other + other.num_other,
            stored_versions=self.stored_versions | other.stored_versions,
            examples=tuple(examples[:CHANGED_KEPT]),
        )


def changes(stored: pa.Table, *, again: pa.Table) -> VerdictChanges:
    """What differs between the rows of a file and the same rows judged again."""
    rows = stored.select(["answer", "response", "verdict"]).append_column("now", again["verdict"])
    changed = rows.filter(pc.not_equal(rows["verdict"], rows["now"])).to_pylist()
    num_to_wrong, num_to_right = (sum(row[side] == RIGHT for row in changed) for side in ("verdict", "now"))
    versions = pc.unique(stored["judge_version"]).to_pylist() if "judge_version" in stored.column_names else ()
    return VerdictChanges() + VerdictChanges(
        num_judged=stored.num_rows,
        num_to_wrong=num_to_wrong,
        num_to_right=num_to_right,
        num_other=len(changed) - num_to_wrong - num_to_right,
        stored_versions=frozenset(filter(None, versions)),
        examples=tuple(_example(**row) for row in changed),
    )


def _example(*, answer: str, response: str, verdict: str, now: str) -> ChangedVerdict:
    boxed = last_boxed(response)
    shown = response[-LONGEST_SHOWN:] if boxed is None else boxed[:LONGEST_SHOWN]
    return ChangedVerdict(gold=answer[:LONGEST_SHOWN], answer=shown, stored=verdict, now=now)


def all_changes(found: Iterable[VerdictChanges | None]) -> VerdictChanges | None:
    """The sum; None where nothing was judged again."""
    known = [each for each in found if each is not None]
    return sum(known, start=VerdictChanges()) if known else None


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
        with self._lock:
            verdicts = pa.array(self._verdicts(*(samples[name].to_pylist() for name in self.columns)), pa.string())
        judged = {
            "verdict": verdicts,
            "accuracy": pc.cast(pc.equal(verdicts, RIGHT), pa.float64()),
            "judge_version": pa.repeat(self.version, samples.num_rows),
        }
        return pa.table({name: judged.get(name, samples[name]) for name in samples.column_names})

    def _verdicts(self, responses: Sequence[str], golds: Sequence[str]) -> list[str]:
        keys = [_key(response, gold) for response, gold in zip(responses, golds, strict=True)]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            verdicts = self._judge([responses[place] for place in new.values()], [golds[place] for place in new.values()])
            self._known |= {key: verdict.value for key, verdict in zip(new, verdicts, strict=True)}
        return [self._known[key] for key in keys]


def read_judged(path: Path, *, columns: Sequence[str], rejudge: Rejudge | None) -> tuple[pa.Table, VerdictChanges | None]:
    """`read_stored` with the verdicts that count, and what judging again changed."""
    return judged(read_stored(path, columns=columns, rejudge=rejudge), rejudge=rejudge)


def read_stored(path: Path, *, columns: Sequence[str], rejudge: Rejudge | None) -> pa.Table:
    """`read_rows` of a file that has any.

    The columns that name a sample come, too, and those that a `rejudge` reads. Raises UnreadableRows, also where a sample is there twice.
    """
    samples = read_rows(path, columns=tuple(dict.fromkeys((*columns, *SAMPLE, *(rejudge.columns if rejudge else ())))))
    if not samples.num_rows:
        raise UnreadableRows(say("{path} has no rows.", path=path))
    if num_doubled := samples.num_rows - samples.group_by(list(SAMPLE)).aggregate([]).num_rows:
        raise UnreadableRows(say_named("gaps.doubled_rows", path=path, count=num_doubled))
    return samples


def judged(stored: pa.Table, *, rejudge: Rejudge | None) -> tuple[pa.Table, VerdictChanges | None]:
    """The rows with the verdicts that count, and what judging them again changed."""
    if rejudge is None:
        return stored, None
    again = rejudge(stored)
    return again, changes(stored, again=again)


def _key(response: str, gold: str) -> bytes:
    gold_bytes, response_bytes = (text.encode(errors="replace") for text in (gold, response))
    return hashlib.blake2b(b"%d:%b%b" % (len(gold_bytes), gold_bytes, response_bytes), digest_size=16).digest()
